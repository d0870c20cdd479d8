"""A program's source text as a syntax tree, with the names that it defines and imports."""

import ast
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from weightdecay.errors import ConfigError


@dataclass
class Module:
    """A file's syntax tree, its functions, every name that it defines, and where it imports names from."""

    path: Path
    tree: ast.Module
    functions: dict[str, ast.FunctionDef] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)  # name -> module, name there
    names: set[str] = field(default_factory=set)


@cache
def _parsed(path: Path, changed: int, size: int) -> Module:
    try:
        module = Module(path, ast.parse(path.read_bytes(), filename=str(path)))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ConfigError(f"{path}{line}, is not Python.") from error
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
