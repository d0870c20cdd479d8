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


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("outputs", "inputs", "batch"), [(256, 256, 64), (129, 97, 130), (50, 700, 200)])
def test_a_product_in_tiles_rounds_as_those_of_its_tiles(outputs, inputs, batch, transposed):
    """Only some processors cut large products; here each cuts them."""
    weight, x = drawn(np.float32, (outputs, inputs), (inputs, batch))
    factor, leading = (np.ascontiguousarray(weight.T), outputs) if transposed else (weight, inputs)
    whole, tile = np.empty((outputs, batch), np.float32), np.empty((24, batch), np.float32)
    in_tiles = compiled(products.in_tiles.py_func)
    in_tiles(transposed, batch, outputs, inputs, x, 0, batch, factor, leading, 0, whole, batch)
    np.testing.assert_allclose(whole, weight @ x, rtol=0, atol=1e-3)
    rows = slice(0, 24)
    part, leading = (np.ascontiguousarray(factor[:, rows]), 24) if transposed else (factor[rows].copy(), inputs)
    if 64 * 48 * inputs > products.SMALL:  # then a tile has 24 rows
        in_tiles(transposed, batch, 24, inputs, x, 0, batch, part, leading, 0, tile, batch)
        assert (whole[rows] == tile).all()


@compiled
def products_from(place, parameters, outputs, gradient, x, y, input_gradient, direct):
    """All products with weights, and gradients of weights, that begin at some place of a larger array."""
    weight = parameters[place : place + outputs * len(x)].reshape(outputs, len(x))
    weight_gradient = direct[place : place + weight.size].reshape(weight.shape)
    products.forward_product(weight, x, y)
    products.input_product(weight, gradient, input_gradient, 0)
    products.weight_product(gradient, x, weight_gradient)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("outputs", "inputs", "batch"), [*SIZES, (16, 512, 128), (272, 17, 272), (513, 511, 16)])
def test_a_product_rounds_the_same_at_every_place_in_memory(outputs, inputs, batch, dtype):
    """A replica's place in a stack decides where its weights begin."""
    weight, x, gradient = drawn(dtype, (outputs, inputs), (inputs, batch), (outputs, batch))
    found = []
    for place in (0, 1, 2, 5, 15, 16, 17, 31):
        parameters, direct = (np.zeros(weight.size + 32, dtype) for _ in range(2))
        parameters[place : place + weight.size] = weight.ravel()
        y, input_gradient = np.empty_like(gradient), np.empty_like(x)
        products_from(place, parameters, outputs, gradient, x, y, input_gradient, direct)
        found.append((y, input_gradient, direct[place : place + weight.size]))
    for others in found[1:]:
        assert all((one == other).all() for one, other in zip(found[0], others, strict=True))


@given(rows=st.integers(1, 70), columns=st.integers(1, 70), double=st.booleans())
def test_the_transposed_copy_has_every_number_in_its_place(rows, columns, double):
    x = np.arange(rows * columns, dtype=np.float64 if double else np.float32).reshape(rows, columns)
    y = np.full((columns + 2, rows), -1, x.dtype)  # with a row before and after, which stay
    compiled(transpose.py_func)(x, y[1:-1])
    assert (y[1:-1] == x.T).all() and (y[0] == -1).all() and (y[-1] == -1).all()


def test_the_libraries_have_names():
    assert blas.library()["internal_api"] in blas.description()
    assert (f"mkl {blas.MKL}" in blas.description()) == bool(blas.MKL)


def test_mkl_multiplies_on_intel_processors_with_avx_512_alone(monkeypatch):
    """On others OpenBLAS is faster, and a torch without MKL has none to offer."""
    assert bool(blas.MKL) == (blas.HAS_SMALL and not blas.ON_AMD and bool(blas.mkl_version()))
    monkeypatch.setattr(blas.torch.__config__, "show", lambda: "PyTorch built with:\n  - OpenBLAS")
    assert blas.mkl_version() == ""
