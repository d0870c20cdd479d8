"""What a result depends on, as a hash that anyone can print: rows of the table, code that runs, versions.

Code counts by what it does: comments, docstrings, layout and the times of files play no part. Of this project's files
those count that a program imports, directly or through others; of other packages their versions. Imports are read from
the source text, so a file can be named before it is imported, and what is put together at run time goes unseen.
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
# What one device alone runs, in `ensemble`: a CPU's results do not depend on a GPU's kernels, nor the other way round.
ONLY = {
    "cpu": ("cpu.py", "loops.py", "compiler.py", "cache.py", "blas.py", "products.py", "transposition.py"),
    "cuda": ("gpu.py", "triton/"),
}
COMPILED = ("compiled", "overload")  # the decorators of what Numba compiles, of no use to a GPU
COMPILERS = {"numba", "llvmlite"}
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML"}  # whose modules have another name than they
LAYERS = PACKAGE / "ensemble" / "layers"
# What refuses, reports or finds files, and computes no number of a result.
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
    """What a result depends on: name -> digest or version. Two results of equal fingerprints are the same result."""

    parts: Mapping[str, str]

    @property
    def text(self) -> str:
        """One line a part, sorted: two texts differ in the lines that tell why something is made again."""
        return "".join(f"{value}  {name}\n" for name, value in sorted(self.parts.items()))

    @property
    def digest(self) -> str:
        """SHA-256 of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def fingerprint(programs: Iterable[Path], device: str | None = None, **more: str) -> Fingerprint:
    """The fingerprint of running `programs` on `device`, cpu, cuda or any, and of `more` that it depends on."""
    files = [path for path in sources(programs) if device is None or not _is_of_another(path, device)]
    parts = {_name(path): _digest(path, device == "cuda") for path in files}
    others = {name for path in files for name in _read(path).others} - (COMPILERS if device == "cuda" else set())
    parts |= {f"version of {name}": _version(name) for name in others}
    return Fingerprint({**parts, "version of python": platform.python_version(), **more})


def sources(programs: Iterable[Path]) -> list[Path]:
    """The programs and all files of this project that they import, sorted."""
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
    """The path as people know it: src/weightdecay/... or experiments/..."""
    root = PACKAGE.parents[1] if PACKAGE in path.parents else _experiments(path).parent
    return path.relative_to(root).as_posix()


@cache
def _digest(path: Path, without_compiled: bool) -> str:
    """SHA-256 of what a file does."""
    tree = parsed(path)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            if without_compiled:
                body[:] = [each for each in body if not _is_compiled(each)]
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and body and _is_text(body[0]):
                del body[0]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()


def parsed(path: Path) -> ast.Module:
    """A file's syntax tree, without what only a type checker reads; ConfigError where it is not Python."""
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
class _Imports:
    ours: tuple[Path, ...]
    others: tuple[str, ...]  # top-level names of other packages


@cache
def _read(path: Path) -> _Imports:
    """What a file imports."""
    tree = parsed(path)
    names = set(_imported(tree, path))
    ours = {file for name in names for file in _files(name, path) if file.is_file()}
    tops = {name.split(".")[0] for name in names} - {"weightdecay", "experiments", ""}
    return _Imports(tuple(sorted(ours)), tuple(sorted(tops - sys.stdlib_module_names)))


def _imported(tree: ast.AST, path: Path) -> Iterator[str]:
    """The dotted names that may be modules: of import statements, and of what is taken out of imported packages."""
    modules: dict[str, str] = {}  # variable -> dotted name
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            modules |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            of = _absolute(node, path)
            yield of
            for alias in node.names:
                yield from _spellings(of, alias.name)
                modules[alias.asname or alias.name] = f"{of}.{alias.name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules:
            yield from _spellings(modules[node.value.id], node.attr)


def _spellings(of: str, name: str) -> Iterator[str]:
    """A module `of.name`, or the one that `name` comes from where a package imports its files only when asked."""
    yield f"{of}.{name}"
    yield f"{of}.{re.sub('(?<=[a-z0-9])(?=[A-Z])', '_', name).lower()}"


def _absolute(node: ast.ImportFrom, path: Path) -> str:
    """The dotted name that an import is from, wherever it stands."""
    if not node.level:
        return node.module or ""
    root = PACKAGE.parent if PACKAGE in path.parents else _experiments(path).parent
    package = path.parents[node.level - 1].relative_to(root).parts
    return ".".join([*package, *([node.module] if node.module else [])])


def _experiments(path: Path) -> Path:
    """The folder experiments/ that holds a finding's program."""
    return next((folder for folder in path.parents if folder.name == "experiments"), path.parents[1])


def _files(name: str, path: Path) -> list[Path]:
    """The files that importing a dotted name runs: the module and the __init__.py of the packages around it."""
    top, *parts = name.split(".")
    folder = {PACKAGE.name: PACKAGE, "experiments": _experiments(path)}.get(top)
    if folder is None:
        return []
    packages = [folder.joinpath(*parts[:depth], "__init__.py").resolve() for depth in range(len(parts) + 1)]
    module = folder.joinpath(*parts).with_suffix(".py").resolve() if parts else folder
    if module.parent == LAYERS and parts[-1][0].isupper():  # a class, whose file may have another name
        return [*packages, *(file for file in LAYERS.glob("*.py") if _defines(file, parts[-1]))]
    return [*packages, module]


@cache
def _defines(file: Path, name: str) -> bool:
    """Whether a file defines a class of that name."""
    return any(isinstance(node, ast.ClassDef) and node.name == name for node in parsed(file).body)
