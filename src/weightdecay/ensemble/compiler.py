"""Numba's compiler, with a cache on disk that knows all the code it was made from."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numba

from weightdecay.ensemble.cache import version_folder
from weightdecay.errors import ConfigError
from weightdecay.fingerprint import sources

if numba.config.DISABLE_JIT:
    raise ConfigError("NUMBA_DISABLE_JIT is set, but a CPU can only train with compiled loops: unset it.")


def compiled(function: Callable) -> Callable:
    """Sums in vector lanes, fused multiply-add; NaN and infinity stay what they are: divergence is told by them.

    All is inlined into the loops that Python calls. Otherwise a process that has just compiled a function would round
    differently from one that has its callers from the cache, which hold copies optimised for themselves.
    """
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = FOLDER or before
    try:
        return numba.njit(
            cache=bool(FOLDER), forceinline=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"}
        )(function)
    finally:
        numba.config.CACHE_DIR = before


def _folder() -> str:
    """Where their machine code is kept, or nothing. Numba itself sees a change only in a function's own file."""
    here = Path(__file__).parent
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources([here / "loops.py"]))).hexdigest()
    return str(version_folder(digest, _parents(here)) or "")


def _parents(here: Path) -> dict[Path, bool]:
    """The cache folders to try, and whether the user named them; the last is left out where there is no home."""
    if numba.config.CACHE_DIR:
        return {Path(numba.config.CACHE_DIR): True}
    named = os.environ.get("XDG_CACHE_HOME", "")
    if os.path.isabs(named):  # the specification has relative ones ignored
        return {here / "__pycache__": False, Path(named): True}
    try:
        return {here / "__pycache__": False, Path.home() / ".cache": False}
    except RuntimeError:
        return {here / "__pycache__": False}


FOLDER = _folder()
