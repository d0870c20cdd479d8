"""What a program is made of: the files of this package, and beside it, that it imports, directly or through others.

The pipeline lists them as the inputs of the rule that runs the program, so that a change reruns what it can affect and
nothing else. Read from the source text: plain import statements count, names put together at run time do not.
"""

import ast
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[1]


def sources(program: str | Path) -> list[Path]:
    """`program` and the files of this package and of its own folder that it imports, sorted."""
    found: set[Path] = set()
    waiting = [Path(program)]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting.extend(_imported(path) if path.is_file() else [])
    return sorted(found)


def changed(program: str | Path) -> float:
    """When the newest of its sources was changed: nothing that the program makes may be older."""
    return max(path.stat().st_mtime for path in sources(program))


@cache
def _imported(path: Path) -> list[Path]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)  # a name may be a submodule
    files = [file for name in names for file in _files(name.split("."))]
    beside = [path.with_name(f"{name}.py") for name in names if "." not in name]
    return files + [file for file in beside if PACKAGE not in path.parents and file.is_file()]


def _files(parts: list[str]) -> list[Path]:
    """The files that importing a dotted name runs: the module and the __init__.py of the packages around it."""
    if parts[0] != PACKAGE.name:
        return []
    packages = [PACKAGE.joinpath(*parts[1:depth], "__init__.py") for depth in range(1, len(parts) + 1)]
    module = PACKAGE.joinpath(*parts[1:]).with_suffix(".py")
    return [file for file in (*packages, module) if file.is_file()]
