"""The matrix products of compiled loops: `W x` forward, `Wᵀ g` and `g xᵀ` backward. Activations have the batch last.

OpenBLAS has kernels for small products that pack nothing. Where it has them for this processor, no library is faster at
small products. A large product goes to MKL on an Intel processor, and is cut into small ones on others. OpenBLAS's
kernels are slow, however, if the sums run along the rows of both factors, as in `g xᵀ`; so x is transposed first, which
is soon done. docs/performance.md has the measurements.
"""

from __future__ import annotations

from weightdecay.ensemble import blas
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.transposition import transpose

SMALL = 10**6  # multiplications, up to which OpenBLAS takes its small kernels
CUTS = blas.HAS_SMALL and not blas.MKL
ROWS, COLUMNS, FEWER_COLUMNS = 64, 48, 24  # of a tile of the result, column-major, as the kernels like it
ENOUGH = 16  # rows of g that make a transposition pay, and the shortest side of a product by MKL


@compiled
def forward_product(weight, x, y):
    """y = W x: `[O, I]`, `[I, B]`, `[O, B]`."""
    outputs, inputs = weight.shape
    batch = x.shape[1]
    product(False, False, batch, outputs, inputs, x, 0, batch, weight, inputs, 0, y, batch)


@compiled
def input_product(weight, gradient, input_gradient, added):
    """Wᵀ g: `[O, I]`, `[O, B]`, `[I, B]`; `added` to what `input_gradient` holds, if it is 1, or written there if 0."""
    outputs, inputs = weight.shape
    batch = gradient.shape[1]
    product(False, True, batch, inputs, outputs, gradient, 0, batch, weight, inputs, added, input_gradient, batch)


@compiled
def weight_product(gradient, x, weight_gradient):
    """g xᵀ: `[O, B]`, `[I, B]`, `[O, I]`."""
    outputs, batch = gradient.shape
    inputs = x.shape[0]
    product(True, False, inputs, outputs, batch, x, 0, batch, gradient, batch, 0, weight_gradient, inputs)


@compiled
def weight_product_of_rows(gradient, rows, start, inputs, weight_gradient, added):
    """The same of x in rows `[B, ...]`, `inputs` columns from column `start` on; `added` as in `input_product`."""
    outputs, batch = gradient.shape
    width = rows.shape[1]
    product(False, False, inputs, outputs, batch, rows, start, width, gradient, batch, added, weight_gradient, inputs)


@compiled
def as_rows(x, scratch):
    """Return `x` `[I, B]` as rows `[B, I]`, in `scratch`."""
    inputs, batch = x.shape
    rows = scratch[: x.size].reshape(batch, inputs)
    transpose(x, rows)
    return rows


@compiled
def pays_as_rows(gradient, inputs):
    """Say whether g xᵀ is faster with x in rows: `[O, B]`, and the rows of x."""
    return blas.HAS_SMALL and len(gradient) >= ENOUGH and (CUTS or gradient.size * inputs <= SMALL)


@compiled
def product(transpose_a, transpose_b, m, n, k, a, a_start, lda, b, ldb, beta, c, ldc):
    """`blas.gemm` by the fastest way; b and c start at their first number, and at most one factor is transposed."""
    large = m * n * k > SMALL
    if blas.MKL and large and min(m, n, k) >= ENOUGH:
        blas.gemm_of_mkl(transpose_a, transpose_b, m, n, k, a, a_start, lda, b, 0, ldb, beta, c, 0, ldc)
    elif CUTS and large and not transpose_a and ROWS * FEWER_COLUMNS * k <= SMALL:
        in_tiles(transpose_b, m, n, k, a, a_start, lda, b, ldb, beta, c, ldc)
    else:
        blas.gemm(transpose_a, transpose_b, m, n, k, a, a_start, lda, b, 0, ldb, beta, c, 0, ldc)


@compiled
def in_tiles(transpose_b, m, n, k, a, a_start, lda, b, ldb, beta, c, ldc):
    """The same by products that are small: A is not transposed, and its sums are not too long."""
    columns = COLUMNS if ROWS * COLUMNS * k <= SMALL else FEWER_COLUMNS
    step = 1 if transpose_b else ldb
    for j in range(0, n, columns):
        width = min(columns, n - j)
        for i in range(0, m, ROWS):
            height, at = min(ROWS, m - i), j * ldc + i
            blas.gemm(
                False, transpose_b, height, width, k, a, a_start + i, lda, b, j * step, ldb, beta, c, at, ldc
            )  # fmt: skip
