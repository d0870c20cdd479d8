"""The products of compiled loops are those of linear algebra, in pieces of any size, and touch nothing else."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightdecay.ensemble import blas, products
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.transposition import transpose

# One number, less than a vector, uneven, whole tiles, what is cut once and twice, and sums too long for any tile.
SIZES = [
    (1, 1, 1),
    (3, 5, 7),
    (10, 64, 100),
    (48, 64, 64),
    (129, 97, 130),
    (256, 256, 64),
    (50, 700, 200),
    (64, 1100, 64),
]


def drawn(dtype, *shapes):
    generator = np.random.default_rng(0)
    return [generator.normal(size=shape).astype(dtype) for shape in shapes]


@compiled
def all_products(weight, x, gradient, y, input_gradient, direct, by_rows, scratch, added):
    products.forward_product(weight, x, y)
    products.input_product(weight, gradient, input_gradient, added)
    products.weight_product(gradient, x, direct)
    products.weight_product_of_rows(gradient, products.as_rows(x, scratch), 0, x.shape[0], by_rows, added)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("outputs", "inputs", "batch"), SIZES)
@pytest.mark.parametrize("added", [0, 1])
def test_products_are_those_of_numpy(outputs, inputs, batch, dtype, added):
    weight, x, gradient = drawn(dtype, (outputs, inputs), (inputs, batch), (outputs, batch))
    # What is only written may hold anything before, NaN too.
    before = dtype(2) if added else dtype(np.nan)
    y, direct = np.full_like(gradient, np.nan), np.full_like(weight, np.nan)
    input_gradient, by_rows = np.full_like(x, before), np.full_like(weight, before)
    all_products(weight, x, gradient, y, input_gradient, direct, by_rows, np.empty(x.size, dtype), added)
    start = 2 if added else 0
    tolerance = {"rtol": 0, "atol": 60 * np.finfo(dtype).eps * np.sqrt(max(outputs, inputs, batch))}
    exact = [each.astype(np.float64) for each in (weight, x, gradient)]
    np.testing.assert_allclose(y, exact[0] @ exact[1], **tolerance)
    np.testing.assert_allclose(input_gradient, start + exact[0].T @ exact[2], **tolerance)
    np.testing.assert_allclose(direct, exact[2] @ exact[1].T, **tolerance)
    np.testing.assert_allclose(by_rows, start + exact[2] @ exact[1].T, **tolerance)


def test_a_window_of_rows_is_a_product_of_its_columns():
    """As in a convolution, whose windows overlap."""
    rows, gradient = drawn(np.float32, (130, 90), (20, 130))
    found = np.empty((20, 33), np.float32)
    compiled(products.weight_product_of_rows.py_func)(gradient, rows, 50, 33, found, 0)
    np.testing.assert_allclose(found, gradient @ rows[:, 50:83], rtol=0, atol=1e-4)


def test_a_large_product_is_cut_where_small_ones_are_faster():
    """Where it is cut, a row of the result rounds as in the product of its tile alone."""
    if not products.CUTS_ALL:
        pytest.skip("only Wᵀ g is cut on this processor, or nothing")
    weight, x = drawn(np.float32, (256, 256), (256, 64))
    whole, tile = np.empty((256, 64), np.float32), np.empty((48, 64), np.float32)
    forward = compiled(products.forward_product.py_func)
    forward(weight, x, whole)
    forward(weight[48:96].copy(), x, tile)
    assert (whole[48:96] == tile).all()
    assert 48 * 64 * 256 <= products.SMALL < whole.size * 256


@given(rows=st.integers(1, 70), columns=st.integers(1, 70), double=st.booleans())
def test_the_transposed_copy_has_every_number_in_its_place(rows, columns, double):
    x = np.arange(rows * columns, dtype=np.float64 if double else np.float32).reshape(rows, columns)
    y = np.full((columns + 2, rows), -1, x.dtype)  # with a row before and after, which stay
    compiled(transpose.py_func)(x, y[1:-1])
    assert (y[1:-1] == x.T).all() and (y[0] == -1).all() and (y[-1] == -1).all()


def test_the_library_has_a_name():
    assert blas.library()["internal_api"]
