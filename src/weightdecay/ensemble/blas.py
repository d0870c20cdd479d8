"""Matrix products of two libraries, as compiled loops call them: in place, on any block of an array.

SciPy brings OpenBLAS and PyTorch, on x86, MKL. Which of them multiplies what is decided in `products`.
"""

from __future__ import annotations

import ctypes
import re
from functools import partial
from pathlib import Path
from typing import Any

import llvmlite.binding
import torch
from llvmlite import ir
from numba import float32, float64, types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic
from threadpoolctl import threadpool_info

ROUTINES = {float32: "sgemm", float64: "dgemm"}


def library() -> dict[str, str]:
    """What threadpoolctl knows of the BLAS that SciPy brings: its name, version and architecture."""
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return next((library for library in blas if "scipy.libs" in library["filepath"]), blas[-1] if blas else {})


def description() -> str:
    """Name the libraries, with their versions and the kind of processor they take this for."""
    used = library()
    names = [str(used[key]) for key in ("internal_api", "version", "architecture") if used.get(key)]
    return " ".join([*(names or ["a BLAS without a name"]), *(["and mkl", MKL] if MKL else [])])


def mkl_version() -> str:
    """Return the version of the MKL that torch is linked with, or "" if it has none that can be called."""
    found = re.search(r"Math Kernel Library Version (\d[\d.]*)", torch.__config__.show())
    return found[1] if found and all(map(_mkl_address, ROUTINES.values())) else ""


def _mkl_address(routine: str) -> int | None:
    path = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        return ctypes.cast(ctypes.CDLL(str(path))[f"{routine}_"], ctypes.c_void_p).value
    except (OSError, AttributeError):
        return None


def _product_by(prefix: str) -> Any:
    """Return the product of the library whose routines are known to LLVM by this prefix."""

    @intrinsic
    def gemm(typing, transpose_a, transpose_b, m, n, k, a, a_start, lda, b, b_start, ldb, beta, c, c_start, ldc):
        """C ← op(A)·op(B) + βC as in BLAS: column-major, with C `[m, n]` and k the length of the sums.

        A matrix is an array, the place of its first number there and its leading dimension; op transposes where
        `transpose_a` or `transpose_b` is true. Nothing is checked.
        """
        arguments = (transpose_a, transpose_b, m, n, k, a, a_start, lda, b, b_start, ldb, beta, c, c_start, ldc)
        return types.void(*arguments), partial(_call_gemm, prefix)

    return gemm


def _call_gemm(prefix, context, builder, signature, arguments):
    dtype = signature.args[5].dtype
    number, whole, letter = context.get_value_type(dtype), ir.IntType(32), ir.IntType(8)

    def cell(kind, value):
        pointer = cgutils.alloca_once(builder, kind)
        builder.store(value, pointer)
        return pointer

    def integer(position):
        return cell(whole, context.cast(builder, arguments[position], signature.args[position], types.int32))

    def operation(position):
        true = context.cast(builder, arguments[position], signature.args[position], types.boolean)
        return cell(letter, builder.select(true, letter(ord("T")), letter(ord("N"))))

    def matrix(position):
        array = context.make_array(signature.args[position])(context, builder, arguments[position])
        return builder.gep(array.data, [arguments[position + 1]])

    beta = context.cast(builder, arguments[11], signature.args[11], dtype)
    kinds = [letter, letter, whole, whole, whole, number, number, whole, number, whole, number, number, whole]
    function_type = ir.FunctionType(ir.VoidType(), [kind.as_pointer() for kind in kinds])
    function = cgutils.get_or_insert_function(builder.module, function_type, f"{prefix}_{ROUTINES[dtype]}")
    builder.call(
        function,
        [
            *(operation(0), operation(1), integer(2), integer(3), integer(4), cell(number, number(1.0))),
            *(matrix(5), integer(7), matrix(8), integer(10), cell(number, beta), matrix(12), integer(14)),
        ],
    )
    return context.get_dummy_value()


HAS_SMALL = library().get("architecture") in ("SkylakeX", "Cooperlake", "SapphireRapids")  # kernels, which need AVX-512
ON_AMD = llvmlite.binding.get_host_cpu_name().startswith("znver")
MKL = mkl_version() if HAS_SMALL and not ON_AMD else ""  # the version, where MKL is faster
for _name in ROUTINES.values():  # machine code from the cache looks for them when it is loaded
    llvmlite.binding.add_symbol(f"openblas_{_name}", get_cython_function_address("scipy.linalg.cython_blas", _name))
    if MKL:
        llvmlite.binding.add_symbol(f"mkl_{_name}", _mkl_address(_name))
gemm = _product_by("openblas")
gemm_of_mkl = _product_by("mkl") if MKL else gemm
