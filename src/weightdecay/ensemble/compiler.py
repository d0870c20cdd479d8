"""Numba's compiler, with a cache on disk that is made anew when any of the compiled code changes."""

from __future__ import annotations

import ast
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from weightdecay.ensemble import blas
from weightdecay.ensemble.cache import version_folder
from weightdecay.errors import ConfigError

if numba.config.DISABLE_JIT:
    raise ConfigError("NUMBA_DISABLE_JIT is set, but a CPU can only train with compiled loops: unset it.")

HERE = Path(__file__).parent
# Files and folders that have no compiled code. All others count as compiled code.
OTHERS = {
    *("array_checks.py", "backend.py", "checkpoint.py", "checks.py", "cpu.py", "data.py", "gpu.py", "literal.py"),
    *("network.py", "networks", "progress.py", "stack.py", "stacking.py", "state.py", "structure.py", "training.py"),
    *("triton", "warm_up.py"),
}


def compiled(function: Callable, keep: bool = False) -> Any:
    """Compile a function with vectorised sums and fused multiply-add.

    NaN and infinity are kept, as they show that training diverges. Everything is inlined into the loops that Python
    calls, and only these loops are kept on disk (`keep`). If inner functions were kept too, a process that has just
    compiled one would round differently from a process that loads the outer loop, which holds its own optimised copy.
    """
    before, keep = numba.config.CACHE_DIR, keep and bool(FOLDER)
    numba.config.CACHE_DIR = FOLDER or before
    try:
        return numba.njit(cache=keep, forceinline=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})(
            function
        )
    finally:
        numba.config.CACHE_DIR = before


def _folder() -> str:
    """Return the folder that keeps machine code, or "". Numba itself notices changes only in a function's own file."""
    code = [path for path in sorted(HERE.rglob("*.py")) if path.relative_to(HERE).parts[0] not in OTHERS]
    trees = "".join(ast.dump(ast.parse(path.read_bytes())) for path in code)  # without comments and layout
    digest = hashlib.sha256((trees + blas.description()).encode()).hexdigest()
    return str(version_folder(digest, _parents()) or "")


def _parents() -> dict[Path, bool]:
    """Return the cache folders to try, each with whether the user named it. ~/.cache is missing if there is no home."""
    if numba.config.CACHE_DIR:
        return {Path(numba.config.CACHE_DIR): True}
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):  # the XDG specification says to ignore relative paths
        return {HERE / "__pycache__": False, Path(named): True}
    try:
        return {HERE / "__pycache__": False, Path.home() / ".cache": False}
    except RuntimeError:
        return {HERE / "__pycache__": False}


FOLDER = _folder()
