"""Numba's compiler, with a cache on disk that knows all the code it was made from."""

import hashlib
from pathlib import Path

import numba

SOURCES = (
    "compiler.py",
    "kernels.py",
    "loops.py",
    "layers.py",
    "../grid.py",
)  # compiled, or with constants compiled in


def _cache() -> str:
    """A folder for these sources alone: Numba checks the file that a function is in, but not those that it calls."""
    here = Path(__file__).parent
    digest = hashlib.sha256(b"".join((here / name).read_bytes() for name in SOURCES)).hexdigest()[:16]
    folder = here / "__pycache__" / digest
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # installed where we may not write
        folder = Path.home() / ".cache" / "weightdecay" / digest
    return str(folder)


numba.config.CACHE_DIR = _cache()

# Sums in vector lanes and fused multiply-add; NaN and infinity stay what they are, as divergence is told by them.
compiled = numba.njit(cache=True, error_model="numpy", fastmath={"reassoc", "contract", "nsz"})
