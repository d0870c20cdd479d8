"""The BLAS that SciPy brings, as compiled loops call it: in place, on any block of an array."""

from __future__ import annotations

import llvmlite.binding
from llvmlite import ir
from numba import float32, float64, types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic
from threadpoolctl import threadpool_info

ROUTINES = {float32: "sgemm", float64: "dgemm"}
for _name in ROUTINES.values():  # machine code from the cache looks for it when it is loaded
    _address = get_cython_function_address("scipy.linalg.cython_blas", _name)
    llvmlite.binding.add_symbol(f"weightdecay_{_name}", _address)


def library() -> dict[str, str]:
    """What threadpoolctl knows of the BLAS that SciPy brings: its name, version and architecture."""
    blas = [library for library in threadpool_info() if library["user_api"] == "blas"]
    return next((library for library in blas if "scipy.libs" in library["filepath"]), blas[-1] if blas else {})


@intrinsic
def gemm(typing, transpose_a, transpose_b, m, n, k, a, a_start, lda, b, b_start, ldb, beta, c, c_start, ldc):
    """C ← op(A)·op(B) + βC as in BLAS: column-major, with C `[m, n]` and k the length of the sums.

    A matrix is an array, the place of its first number there and its leading dimension; op transposes where
    `transpose_a` or `transpose_b` is true. Nothing is checked.
    """
    arguments = (transpose_a, transpose_b, m, n, k, a, a_start, lda, b, b_start, ldb, beta, c, c_start, ldc)
    return types.void(*arguments), _call_gemm


def _call_gemm(context, builder, signature, arguments):
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
    function = cgutils.get_or_insert_function(builder.module, function_type, f"weightdecay_{ROUTINES[dtype]}")
    builder.call(
        function,
        [
            *(operation(0), operation(1), integer(2), integer(3), integer(4), cell(number, number(1.0))),
            *(matrix(5), integer(7), matrix(8), integer(10), cell(number, beta), matrix(12), integer(14)),
        ],
    )
    return context.get_dummy_value()
