"""A program's source text as a syntax tree, with the names that it defines and imports, and the texts in it."""

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from weightdecay.errors import ConfigError

TO_FILL = re.compile(r"%[sdr]|\{[^}]*\}")  # where "%s_low" and "{}_low" are filled in
HOLE = "[a-z0-9_]+"  # with part of a name


@dataclass
class Module:
    """A file's syntax tree, its functions, every name that it defines, and where it imports names from."""

    path: Path
    tree: ast.Module
    nodes: list[ast.AST]  # all of the tree
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> module, name there
    names: set[str] = field(default_factory=set)
    uses: set[str] = field(default_factory=set)  # the modules that it imports, or imports names from


@cache
def _parsed(path: Path, changed: int, size: int) -> Module:
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ConfigError(f"{path}{line}, is not Python.") from error
    module = Module(path, tree, list(ast.walk(tree)))
    for node in module.nodes:
        if isinstance(node, ast.Import):
            module.uses.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module.uses.update((node.module or "", *(alias.name for alias in node.names)))
    for node in module.tree.body:
        if isinstance(node, ast.FunctionDef):
            module.functions[node.name] = node
            module.names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names if node.level == 0 else ():
                module.imported[alias.asname or alias.name] = (node.module or "", alias.name)
                module.names.add(alias.asname or alias.name)
        elif isinstance(node, ast.Assign):
            module.names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return module


def module_of(path: Path) -> Module:
    """A program's module; ConfigError where it is not Python."""
    state = path.stat()
    return _parsed(path, state.st_mtime_ns, state.st_size)


def modules_of(folder: Path, *needed: str) -> dict[str, Module]:
    """Modules of a folder by name, and what they import of it; ConfigError where one of them is not Python."""
    found: dict[str, Module] = {}
    waiting = list(needed)
    while waiting:
        name = waiting.pop(0)
        path = folder.joinpath(*name.split(".")).with_suffix(".py")
        if name and name not in found and path.is_file():
            found[name] = module_of(path)
            waiting += sorted(found[name].uses)
    return found


def texts(node: ast.AST | None) -> list[str]:
    """The texts that an expression may be, where it is one, or one of two."""
    if isinstance(node, ast.IfExp):
        return [*texts(node.body), *texts(node.orelse)]
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


class Texts:
    """What is written in modules, what they may make of it, and the names of arguments, as `f(**t)` writes none."""

    def __init__(self, modules: Iterable[Module]):
        nodes = [node for module in modules for node in module.nodes]
        self.whole = {text for node in nodes for text in texts(node)}
        self.whole |= {node.arg for node in nodes if isinstance(node, ast.arg)}
        self.whole |= {ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)}
        self.made = re.compile("|".join({pattern for node in nodes for pattern in _made(node)}) or "(?!)")

    def __contains__(self, name: str) -> bool:
        return name in self.whole or self.made.fullmatch(name) is not None


def _made(node: ast.AST) -> Iterator[str]:
    """Patterns of the texts that an expression may put together."""
    if isinstance(node, ast.JoinedStr) and any(map(texts, node.values)):
        yield "".join(re.escape(*texts(part)) if texts(part) else HOLE for part in node.values)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from (HOLE + re.escape(text) for text in texts(node.right) if text)
        yield from (re.escape(text) + HOLE for text in texts(node.left) if text)
    template = node.left if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod) else None
    template = node.value if isinstance(node, ast.Attribute) and node.attr == "format" else template
    for parts in map(TO_FILL.split, texts(template)):
        if any(parts):
            yield HOLE.join(map(re.escape, parts))
