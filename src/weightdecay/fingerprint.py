"""Fingerprints: a hash of everything that a result depends on, that is rows of the table, code and versions.

Code counts by what it does: comments, docstrings, layout and the times of files play no part. A fingerprint covers the
files of this project that a program imports, directly or through other files, and the versions of other packages.
Imports are read from the source text, so nothing is imported, and an import that is put together at run time is missed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from weightdecay.errors import ConfigError

PACKAGE = Path(__file__).parent
# Files of `ensemble` that run on one device only: a CPU's results do not depend on a GPU's kernels, and vice versa.
ONLY = {
    "cpu": ("cpu.py", "loops.py", "compiler.py", "cache.py", "blas.py", "products.py", "transposition.py"),
    "cuda": ("gpu.py", "triton/"),
}
COMPILED = ("compiled", "overload")  # decorators of functions that Numba compiles, which a GPU does not run
COMPILERS = {"numba", "llvmlite"}
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML"}  # whose modules have another name than they
LAYERS = PACKAGE / "ensemble" / "layers"
# Files that check, report or find files, but compute no number of a result.
IDLE = {
    PACKAGE / f"{name}.py"
    for name in (
        "__init__ blocks checksums commit config criteria errors files finding fingerprint refusals registry "
        "setting_types shorthand surroundings version yaml_file ensemble/array_checks ensemble/cache "
        "ensemble/checkpoint ensemble/checks ensemble/progress ensemble/structure"
    ).split()
}


@dataclass(frozen=True)
class Fingerprint:
    """Everything that a result depends on: name -> digest or version. Equal fingerprints mean the same result."""

    parts: Mapping[str, str]

    @property
    def text(self) -> str:
        """One line for each part, sorted. Where two texts differ, the lines tell why a result is made again."""
        return "".join(f"{value}  {name}\n" for name, value in sorted(self.parts.items()))

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def fingerprint(programs: Iterable[Path], device: str | None = None, **more: str) -> Fingerprint:
    """Return the fingerprint of running `programs` on a device (None: any), and of `more` that a result depends on."""
    files = [path for path in sources(programs) if device is None or not _is_of_another(path, device)]
    parts = {_name(path): _digest(path, device == "cuda") for path in files}
    others = {name for path in files for name in _read(path).others} - (COMPILERS if device == "cuda" else set())
    parts |= {f"version of {name}": _version(name) for name in others}
    return Fingerprint({**parts, "version of python": platform.python_version(), **more})


def sources(programs: Iterable[Path]) -> list[Path]:
    """Return the programs and all files of this project that they import, sorted."""
    found: set[Path] = set()
    waiting = [Path(program).resolve() for program in programs]
    while waiting:
        path = waiting.pop()
        if path not in found | IDLE and path.is_file():
            found.add(path)
            waiting.extend(_read(path).ours)
    return sorted(found)


def _is_of_another(path: Path, device: str) -> bool:
    inside = path.relative_to(PACKAGE / "ensemble").as_posix() if PACKAGE / "ensemble" in path.parents else ""
    return any(inside.startswith(start) for other, starts in ONLY.items() if other != device for start in starts)


def _name(path: Path) -> str:
    """Return the path within the project: src/weightdecay/... or experiments/..."""
    root = PACKAGE.parents[1] if PACKAGE in path.parents else _experiments(path).parent
    return path.relative_to(root).as_posix()


@cache
def _digest(path: Path, without_compiled: bool) -> str:
    """Return the SHA-256 of a file's code, without docstrings."""
    if not without_compiled:
        return _read(path).digest
    tree = parsed(path)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [each for each in body if not _is_compiled(each)]
    return _digest_of(tree, ast.walk(tree))


def _digest_of(tree: ast.Module, nodes: Iterable[ast.AST]) -> str:
    """Take the docstrings off a syntax tree with these nodes, and return the SHA-256 of what is left."""
    for node in nodes:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and node.body and _is_text(node.body[0]):
            del node.body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def parsed(path: Path) -> ast.Module:
    """Return the syntax tree of a file, without code for type checkers; ConfigError if it is not valid Python."""
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except (SyntaxError, ValueError) as error:
        line = f", line {error.lineno}," if isinstance(error, SyntaxError) and error.lineno else ""
        raise ConfigError(f"{path}{line} is not Python.") from error
    tree.body = [
        node for node in tree.body if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    ]
    return tree


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _is_compiled(node: ast.stmt) -> bool:
    return isinstance(node, ast.FunctionDef) and any(
        ast.unparse(one).startswith(COMPILED) for one in node.decorator_list
    )


@cache
def _version(name: str) -> str:
    """The version of the package whose modules have that top-level name."""
    with suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(DISTRIBUTIONS.get(name, name))
    for distribution in importlib.metadata.packages_distributions().get(name, []):  # reads all that is installed: 3 s
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(distribution)
    return "not installed"


@dataclass(frozen=True)
class _Program:
    """A file, read once: what it imports, and the digest of its code."""

    ours: tuple[Path, ...]
    others: tuple[str, ...]  # top-level names of other packages
    digest: str


@cache
def _read(path: Path) -> _Program:
    """Read a file, and return what it imports and its digest."""
    tree = parsed(path)
    nodes = list(ast.walk(tree))
    names = set(_imported(nodes, path))
    ours = {file for name in names for file in _files(name, _experiments(path)) if file.is_file()}
    tops = {name.split(".")[0] for name in names} - {"weightdecay", "experiments", ""}
    return _Program(tuple(sorted(ours)), tuple(sorted(tops - sys.stdlib_module_names)), _digest_of(tree, nodes))


def _imported(nodes: Iterable[ast.AST], path: Path) -> Iterator[str]:
    """Yield the dotted names that may be modules: those in import statements, and attributes of imported packages."""
    modules: dict[str, str] = {}  # variable -> dotted name
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            modules |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            of = _absolute(node, path)
            yield of
            for alias in node.names:
                yield from _spellings(of, alias.name)
                modules[alias.asname or alias.name] = f"{of}.{alias.name}"
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield from _spellings(modules[node.value.id], node.attr)


def _spellings(of: str, name: str) -> Iterator[str]:
    """Yield the modules that `of.name` may mean: `of.name` itself, or the file of a class `name` imported on demand."""
    yield f"{of}.{name}"
    yield f"{of}.{re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()}"


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    """Return the full dotted name of the module that a `from` imports from, also if it is relative."""
    if not node.level:
        return node.module or ""
    root = PACKAGE.parent if PACKAGE in path.parents else _experiments(path).parent
    package = path.parents[node.level - 1].relative_to(root).parts
    return ".".join([*package, *([node.module] if node.module else [])])


def _experiments(path: Path) -> Path:
    """Return the folder experiments/ that holds a finding's program."""
    return next((folder for folder in path.parents if folder.name == "experiments"), path.parents[1])


@cache
def _files(name: str, experiments: Path) -> list[Path]:
    """Return the files that importing a dotted name runs: the module, and the __init__.py of packages around it."""
    top, *parts = name.split(".")
    folder = {PACKAGE.name: PACKAGE, "experiments": experiments}.get(top)
    if folder is None:
        return []
    packages = [folder.joinpath(*parts[:depth], "__init__.py").resolve() for depth in range(len(parts) + 1)]
    module = folder.joinpath(*parts).with_suffix(".py").resolve() if parts else folder
    if module.parent == LAYERS and parts[-1][0].isupper():  # a class, whose file may have another name
        return [*packages, *(file for file in LAYERS.glob("*.py") if _defines(file, parts[-1]))]
    return [*packages, module]


@cache
def _defines(file: Path, name: str) -> bool:
    """Return whether a file defines a class of that name."""
    return any(isinstance(node, ast.ClassDef) and node.name == name for node in parsed(file).body)
