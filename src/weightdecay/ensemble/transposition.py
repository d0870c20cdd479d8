"""A transposed copy, by blocks that the processor turns in its vector registers."""

from __future__ import annotations

from llvmlite import ir
from numba import float32, types
from numba.extending import intrinsic, overload

from weightdecay.ensemble.compiler import compiled

BLOCKS = {True: 16, False: 8}  # rows and columns of a block: of float32 and of float64, 64 bytes either way


def side_of(array):
    """Return how many rows and columns a block of the array's numbers has."""
    return BLOCKS[array.itemsize == 4]


@overload(side_of)
def _side_of(array):
    side = BLOCKS[array.dtype == float32]
    return lambda array: side


@compiled
def transpose(x, y):
    """Write `x` `[M, N]` into `y` `[N, M]`; both are contiguous."""
    rows, columns = x.shape
    side = side_of(x)
    if rows < side or columns < side:
        for i in range(rows):
            for j in range(columns):
                y[j, i] = x[i, j]
        return
    for above in range(0, rows, side):
        i = min(above, rows - side)  # the last block overlaps the one before
        for left in range(0, columns, side):
            j = min(left, columns - side)
            transpose_block(x, i * columns + j, columns, y, j * rows + i, rows)


@intrinsic
def transpose_block(typing, x, x_start, x_columns, y, y_start, y_columns):
    """Transpose one square block of `side_of(x)` rows: where it starts in each array, and how long their rows are."""
    return types.void(x, x_start, x_columns, y, y_start, y_columns), _turn


def _turn(context, builder, signature, arguments):
    """Interleave rows i and i + side/2 for all i, as often as it takes to halve the side to one."""
    dtype = signature.args[0].dtype
    side = BLOCKS[dtype == float32]
    vector = ir.VectorType(context.get_value_type(dtype), side)

    def place(matrix, row):
        array = context.make_array(signature.args[matrix])(context, builder, arguments[matrix])
        offset = builder.mul(arguments[matrix + 2], arguments[matrix + 2].type(row))
        start = builder.gep(array.data, [builder.add(arguments[matrix + 1], offset)])
        return builder.bitcast(start, vector.as_pointer())

    def indices(start):
        numbers = [number for pair in range(start, start + side // 2) for number in (pair, pair + side)]
        return ir.Constant(ir.VectorType(ir.IntType(32), side), numbers)

    alignment = context.get_abi_sizeof(context.get_value_type(dtype))
    rows = [builder.load(place(0, row), align=alignment) for row in range(side)]
    for _ in range(side.bit_length() - 1):
        pairs = zip(rows[: side // 2], rows[side // 2 :], strict=True)
        rows = [builder.shuffle_vector(*pair, indices(start)) for pair in pairs for start in (0, side // 2)]
    for row, values in enumerate(rows):
        builder.store(values, place(3, row), align=alignment)
    return context.get_dummy_value()
