"""Batch normalisation, forward and backward."""

import triton
import triton.language as tl

from weightdecay.ensemble.triton.arithmetic import divide, root

ROWS = 64  # of the batch at a time
COLUMNS = 32  # × 4 bytes: one line of the cache


def forward(x, weight, bias, eps, momentum, running_mean, running_variance, inverse_std, y):
    """Normalise in place: `x` `[R, B, H]` becomes x − mean; `y`, `inverse_std` and running statistics are written.

    `y` is `[R, B, H]`, `inverse_std` `[R, H]`. `weight` and `bias` `[R, H]` share one stride of rows; `eps` `[R, 1]`
    and the statistics `[R, H]` share another.
    """
    replicas, batch, features = x.shape
    assert x.is_contiguous() and y.is_contiguous() and weight.stride() == bias.stride()
    assert eps.stride(0) == running_mean.stride(0) == running_variance.stride(0) == inverse_std.stride(0)
    _forward[(triton.cdiv(features, COLUMNS), replicas)](
        *(x, y, weight, bias, eps, running_mean, running_variance, inverse_std),
        *(features, weight.stride(0), eps.stride(0), batch, momentum, ROWS, COLUMNS),
    )
    return y


def backward(gradient, centred, weight, inverse_std, weight_gradient, bias_gradient):
    """Write the gradients of the parameters `[R, H]`; `centred` `[R, B, H]` becomes the gradient of the input."""
    replicas, batch, features = centred.shape
    assert gradient.is_contiguous() and centred.is_contiguous()
    assert weight_gradient.stride() == bias_gradient.stride()
    _backward[(triton.cdiv(features, COLUMNS), replicas)](
        *(gradient, centred, weight, inverse_std, weight_gradient, bias_gradient, features),
        *(weight.stride(0), inverse_std.stride(0), weight_gradient.stride(0), batch, ROWS, COLUMNS),
    )
    return centred


@triton.jit
def _forward(
    x, y, weight, bias, eps, running_mean, running_variance, inverse_std, features, stride, buffers,
    batch: tl.constexpr, momentum: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    replica = tl.program_id(1).to(tl.int64)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    known = columns < features
    rows = tl.arange(0, ROWS)
    start = replica * batch * features
    tile = rows[:, None] * features + columns[None, :]
    dtype = x.dtype.element_ty
    count = tl.full([COLUMNS], 0, dtype) + batch

    total = tl.zeros([ROWS, COLUMNS], dtype)
    for row in range(0, batch, ROWS):
        inside = (row + rows < batch)[:, None] & known[None, :]
        total += tl.load(x + start + row * features + tile, mask=inside, other=0)
    mean = divide(tl.sum(total, 0), count)

    total = tl.zeros([ROWS, COLUMNS], dtype)
    for row in range(0, batch, ROWS):
        inside = (row + rows < batch)[:, None] & known[None, :]
        centred = tl.load(x + start + row * features + tile, mask=inside, other=0) - mean[None, :]
        total += tl.where(inside, centred * centred, 0)
    square = tl.sum(total, 0)

    one = tl.full([COLUMNS], 1, dtype)
    inverse = divide(one, root(divide(square, count) + tl.load(eps + replica * buffers)))
    statistics = replica * buffers + columns
    tl.store(inverse_std + statistics, inverse, mask=known)
    old = tl.load(running_mean + statistics, mask=known)
    tl.store(running_mean + statistics, old + momentum * (mean - old), mask=known)
    old = tl.load(running_variance + statistics, mask=known)
    tl.store(running_variance + statistics, old + momentum * (divide(square, count - 1) - old), mask=known)

    scale = inverse * tl.load(weight + replica * stride + columns, mask=known)
    shift = tl.load(bias + replica * stride + columns, mask=known)
    for row in range(0, batch, ROWS):
        inside = (row + rows < batch)[:, None] & known[None, :]
        at = start + row * features + tile
        centred = tl.load(x + at, mask=inside, other=0) - mean[None, :]
        tl.store(x + at, centred, mask=inside)
        tl.store(y + at, centred * scale[None, :] + shift[None, :], mask=inside)


@triton.jit
def _backward(
    gradient, centred, weight, inverse_std, weight_gradient, bias_gradient, features, stride, buffers, gradients,
    batch: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    replica = tl.program_id(1).to(tl.int64)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    known = columns < features
    rows = tl.arange(0, ROWS)
    start = replica * batch * features
    tile = rows[:, None] * features + columns[None, :]
    dtype = centred.dtype.element_ty
    count = tl.full([COLUMNS], 0, dtype) + batch

    total = tl.zeros([ROWS, COLUMNS], dtype)
    product = tl.zeros([ROWS, COLUMNS], dtype)
    for row in range(0, batch, ROWS):
        inside = (row + rows < batch)[:, None] & known[None, :]
        at = start + row * features + tile
        upstream = tl.load(gradient + at, mask=inside, other=0)
        total += upstream
        product += upstream * tl.load(centred + at, mask=inside, other=0)
    sums, products = tl.sum(total, 0), tl.sum(product, 0)

    inverse = tl.load(inverse_std + replica * buffers + columns, mask=known)
    parameters = replica * gradients + columns
    tl.store(bias_gradient + parameters, sums, mask=known)
    tl.store(weight_gradient + parameters, products * inverse, mask=known)
    scale = inverse * tl.load(weight + replica * stride + columns, mask=known)
    sums = divide(sums * scale, count)
    products = divide(products * scale * inverse * inverse, count)
    for row in range(0, batch, ROWS):
        inside = (row + rows < batch)[:, None] & known[None, :]
        at = start + row * features + tile
        upstream = tl.load(gradient + at, mask=inside, other=0)
        value = tl.load(centred + at, mask=inside, other=0)
        value = upstream * scale[None, :] - sums[None, :] - value * products[None, :]
        tl.store(centred + at, value, mask=inside)
