"""What a finding's modules say, read off their text: they need not be imported, which may load torch for seconds."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from weightdecay.errors import ConfigError
from weightdecay.fingerprint import parsed, sources


@dataclass(frozen=True)
class Signature:
    """What a function takes by name: whether it needs the argument, and whether it takes any others."""

    needed: dict[str, bool]
    takes_others: bool


def computations(program: Path) -> dict[str, Signature]:
    """The functions marked `@finding.computation` in compute.py and what it imports; ConfigError for two of a name."""
    found: dict[str, Signature] = {}
    for node in (node for path in _own(program) for node in ast.walk(parsed(path))):
        if isinstance(node, ast.FunctionDef) and any(_marks_computation(each) for each in node.decorator_list):
            if node.name in found:
                raise ConfigError(f"{program} has two computations of the name {node.name}.")
            found[node.name] = _signature(node.args)
    return found


def writes(program: Path, name: str) -> bool:
    """Whether a name stands as a text in a module or in what it imports. f"{loss}Limit" is any name that ends so.

    Texts in decorators do not count, as these only speak of what is named elsewhere.
    """
    return any(re.fullmatch(text, name) for path in _own(program) for text in _texts(path))


def _own(program: Path) -> list[Path]:
    """A module and the files of its finding that it imports."""
    program = program.resolve()
    return [path for path in sources([program]) if program.parent in path.parents]


def _marks_computation(decorator: ast.expr) -> bool:
    return isinstance(decorator, ast.Attribute) and decorator.attr == "computation"


def _signature(own: ast.arguments) -> Signature:
    free = len(own.posonlyargs) + len(own.args) - len(own.defaults)  # the last ones have defaults
    needed = {each.arg: place < free for place, each in enumerate(own.args, len(own.posonlyargs))}
    needed |= {each.arg: default is None for each, default in zip(own.kwonlyargs, own.kw_defaults, strict=True)}
    return Signature(needed, own.kwarg is not None)


@cache
def _texts(path: Path) -> set[str]:
    """The texts of a file outside decorators, as regular expressions."""
    return set(_texts_in(parsed(path)))


def _texts_in(tree: ast.Module) -> Iterator[str]:
    for decorated in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]:
        decorated.decorator_list = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield re.escape(node.value)
        elif isinstance(node, ast.JoinedStr) and any(isinstance(part, ast.Constant) for part in node.values):
            parts = [re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".*" for part in node.values]
            yield "".join(parts)
