"""What a GPU does in one sweep through memory instead of many, compiled by Triton: dropout, BatchNorm, Adam and SGD.

The same formulas stand as torch operations in `dropout`, `layers` and `optimizers`, for machines where Triton is
missing, and the tests hold one to the other. Every replica's numbers come from programs of its own, which sum in a
fixed order. Divisions and roots are rounded as IEEE 754 asks, as torch's are: Triton's own are approximations in
float32. Subnormal weights and states of the optimiser become 0, as a CPU makes them in training: what decays for long
ends at exactly 0 on either.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from weightdecay.ensemble.constants import DROPOUT_LEVELS, PHILOX_MULTIPLIERS, PHILOX_ROUNDS, PHILOX_WEYL, WORD

ROWS = 64  # of the batch at a time
COLUMNS = 32  # × 4 bytes: one line of the cache
BLOCK = 1024  # parameters a program updates, or groups of four features whose factors of dropout it draws
M0, M1, W0, W1, MASK = map(tl.constexpr, (*PHILOX_MULTIPLIERS, *PHILOX_WEYL, WORD))
NORMAL32, NORMAL64 = map(tl.constexpr, (2.0**-126, 2.0**-1022))  # the smallest normal numbers
ROUNDS, LEVELS, LEVEL = map(tl.constexpr, (PHILOX_ROUNDS, DROPOUT_LEVELS, 1 / DROPOUT_LEVELS))  # a power of two: exact


def works() -> bool:
    """Whether a kernel can be compiled and run here: Triton needs a GPU it knows, and a C compiler."""
    try:
        tensors = [torch.zeros(1, 1, dtype=torch.float32, device="cuda") for _ in range(3)]
        sgd(*tensors, torch.zeros(6, 1, dtype=torch.float32, device="cuda"), 1)
    except Exception:  # of many kinds, from many places; without our kernels torch's operations do the same
        return False
    return True


def adam(parameters: Tensor, gradients: Tensor, first: Tensor, second: Tensor, coefficients: Tensor, decayed: int):
    """One step of Adam for all replicas, `[R, P]` each, in place: 28 bytes a float32 parameter.

    `coefficients`: `[11, R]`, as `optimizers.Adam.coefficients` has them; `decayed`: columns that λ applies to.
    """
    replicas, size = parameters.shape
    grid = (triton.cdiv(size, BLOCK), replicas)
    _adam[grid](parameters, gradients, first, second, coefficients, replicas, size, decayed, BLOCK)


def sgd(parameters: Tensor, gradients: Tensor, momentum: Tensor, coefficients: Tensor, decayed: int):
    """One step of SGD for all replicas, `[R, P]` each, in place; `coefficients`: `[6, R]`."""
    replicas, size = parameters.shape
    grid = (triton.cdiv(size, BLOCK), replicas)
    _sgd[grid](parameters, gradients, momentum, coefficients, replicas, size, decayed, BLOCK)


def dropout(x: Tensor, words: Tensor, step: Tensor, layer: int) -> Tensor:
    """`x` `[R, B, H]` becomes x · factors; returns them (`dropout.factors`)."""
    replicas, batch, features = x.shape
    factors = torch.empty_like(x)
    assert x.is_contiguous() and words.is_contiguous()
    grid = (triton.cdiv(batch * triton.cdiv(features, 4), BLOCK), replicas)
    _dropout[grid](x, factors, words, step, layer, batch, features, BLOCK)
    return factors


def batch_norm_forward(x, weight, bias, eps, momentum, running_mean, running_variance, inverse_std, y):
    """`x` `[R, B, H]` becomes x − mean; `y` `[R, B, H]` and `inverse_std` `[R, H]` are written, running statistics too.

    `weight` and `bias` `[R, H]` have rows of one stride; `eps` `[R, 1]` and the statistics `[R, H]` have another.
    """
    replicas, batch, features = x.shape
    assert x.is_contiguous() and y.is_contiguous() and weight.stride() == bias.stride()
    assert eps.stride(0) == running_mean.stride(0) == running_variance.stride(0) == inverse_std.stride(0)
    _batch_norm_forward[(triton.cdiv(features, COLUMNS), replicas)](
        *(x, y, weight, bias, eps, running_mean, running_variance, inverse_std),
        *(features, weight.stride(0), eps.stride(0), batch, momentum, ROWS, COLUMNS),
    )
    return y


def batch_norm_backward(gradient, centred, weight, inverse_std, weight_gradient, bias_gradient):
    """The parameters' gradients `[R, H]` are written; `centred` `[R, B, H]` becomes the gradient of the input."""
    replicas, batch, features = centred.shape
    assert gradient.is_contiguous() and centred.is_contiguous()
    assert weight_gradient.stride() == bias_gradient.stride()
    _batch_norm_backward[(triton.cdiv(features, COLUMNS), replicas)](
        *(gradient, centred, weight, inverse_std, weight_gradient, bias_gradient, features),
        *(weight.stride(0), inverse_std.stride(0), weight_gradient.stride(0), batch, ROWS, COLUMNS),
    )
    return centred


@triton.jit
def _adam(
    parameters, gradients, first, second, coefficients, replicas, size, decayed, BLOCK: tl.constexpr
):  # fmt: skip
    replica = tl.program_id(1)
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < size
    at = replica.to(tl.int64) * size + columns
    l2 = tl.load(coefficients + replica)
    kept = tl.load(coefficients + replicas + replica)
    l1 = tl.load(coefficients + 2 * replicas + replica)
    threshold = tl.load(coefficients + 3 * replicas + replica)
    rate = tl.load(coefficients + 4 * replicas + replica)
    beta1 = tl.load(coefficients + 5 * replicas + replica)
    rest1 = tl.load(coefficients + 6 * replicas + replica)
    beta2 = tl.load(coefficients + 7 * replicas + replica)
    rest2 = tl.load(coefficients + 8 * replicas + replica)
    correction = tl.load(coefficients + 9 * replicas + replica)
    eps = tl.load(coefficients + 10 * replicas + replica)
    weight = tl.load(parameters + at, mask=inside, other=0)
    gradient = tl.load(gradients + at, mask=inside, other=0)
    m = tl.load(first + at, mask=inside, other=0)
    v = tl.load(second + at, mask=inside, other=0)
    gradient += tl.where(columns < decayed, l2, 0) * weight + tl.where(columns < decayed, l1, 0) * _sign(weight)
    m = beta1 * m + rest1 * gradient
    v = beta2 * v + rest2 * (gradient * gradient)
    weight *= tl.where(columns < decayed, kept, 1)
    weight -= _divide(rate * m, _root(v) * correction + eps)
    weight -= _clamped(weight, tl.where(columns < decayed, threshold, 0))
    tl.store(first + at, _flushed(m), mask=inside)
    tl.store(second + at, _flushed(v), mask=inside)
    tl.store(parameters + at, _flushed(weight), mask=inside)


@triton.jit
def _sgd(parameters, gradients, momentum, coefficients, replicas, size, decayed, BLOCK: tl.constexpr):
    replica = tl.program_id(1)
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = columns < size
    at = replica.to(tl.int64) * size + columns
    l2 = tl.load(coefficients + replica)
    kept = tl.load(coefficients + replicas + replica)
    l1 = tl.load(coefficients + 2 * replicas + replica)
    threshold = tl.load(coefficients + 3 * replicas + replica)
    rate = tl.load(coefficients + 4 * replicas + replica)
    factor = tl.load(coefficients + 5 * replicas + replica)
    weight = tl.load(parameters + at, mask=inside, other=0)
    gradient = tl.load(gradients + at, mask=inside, other=0)
    velocity = tl.load(momentum + at, mask=inside, other=0)
    gradient += tl.where(columns < decayed, l2, 0) * weight + tl.where(columns < decayed, l1, 0) * _sign(weight)
    velocity = factor * velocity + gradient
    weight = weight * tl.where(columns < decayed, kept, 1) - rate * velocity
    weight -= _clamped(weight, tl.where(columns < decayed, threshold, 0))
    tl.store(momentum + at, _flushed(velocity), mask=inside)
    tl.store(parameters + at, _flushed(weight), mask=inside)


@triton.jit
def _dropout(x, factors, words, step, layer, batch, features, BLOCK: tl.constexpr):
    replica = tl.program_id(1).to(tl.int64)
    groups = (features + 3) // 4
    index = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    example, group = index // groups, index % groups
    low, high = tl.load(words + 3 * replica), tl.load(words + 3 * replica + 1)
    dropped = tl.load(words + 3 * replica + 2)
    a, b = example.to(tl.int64), group.to(tl.int64)
    c, d = tl.zeros([BLOCK], tl.int64) + tl.load(step), tl.zeros([BLOCK], tl.int64) + layer
    for _ in tl.static_range(ROUNDS):
        first, second = a * M0, c * M1  # modulo 2⁶⁴, whatever the sign
        a, b = ((second >> 32) & MASK) ^ b ^ low, second & MASK
        c, d = ((first >> 32) & MASK) ^ d ^ high, first & MASK
        low, high = (low + W0) & MASK, (high + W1) & MASK
    dtype = x.dtype.element_ty
    one = tl.full([BLOCK], 1, dtype)
    scale = _divide(one, (-dropped + LEVELS).to(dtype) * LEVEL * one)
    for lane in tl.static_range(4):
        word = a if lane == 0 else b if lane == 1 else c if lane == 2 else d
        factor = tl.where((word >> 8) < dropped, 0, scale)
        column = 4 * group + lane
        inside = (example < batch) & (column < features)
        at = (replica * batch + example) * features + column
        tl.store(factors + at, factor, mask=inside)
        tl.store(x + at, tl.load(x + at, mask=inside) * factor, mask=inside)


@triton.jit
def _batch_norm_forward(
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
    mean = _divide(tl.sum(total, 0), count)

    total = tl.zeros([ROWS, COLUMNS], dtype)
    for row in range(0, batch, ROWS):
        inside = (row + rows < batch)[:, None] & known[None, :]
        centred = tl.load(x + start + row * features + tile, mask=inside, other=0) - mean[None, :]
        total += tl.where(inside, centred * centred, 0)
    square = tl.sum(total, 0)

    one = tl.full([COLUMNS], 1, dtype)
    inverse = _divide(one, _root(_divide(square, count) + tl.load(eps + replica * buffers)))
    statistics = replica * buffers + columns
    tl.store(inverse_std + statistics, inverse, mask=known)
    old = tl.load(running_mean + statistics, mask=known)
    tl.store(running_mean + statistics, old + momentum * (mean - old), mask=known)
    old = tl.load(running_variance + statistics, mask=known)
    tl.store(running_variance + statistics, old + momentum * (_divide(square, count - 1) - old), mask=known)

    scale = inverse * tl.load(weight + replica * stride + columns, mask=known)
    shift = tl.load(bias + replica * stride + columns, mask=known)
    for row in range(0, batch, ROWS):
        inside = (row + rows < batch)[:, None] & known[None, :]
        at = start + row * features + tile
        centred = tl.load(x + at, mask=inside, other=0) - mean[None, :]
        tl.store(x + at, centred, mask=inside)
        tl.store(y + at, centred * scale[None, :] + shift[None, :], mask=inside)


@triton.jit
def _batch_norm_backward(
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
    sums = _divide(sums * scale, count)
    products = _divide(products * scale * inverse * inverse, count)
    for row in range(0, batch, ROWS):
        inside = (row + rows < batch)[:, None] & known[None, :]
        at = start + row * features + tile
        upstream = tl.load(gradient + at, mask=inside, other=0)
        value = tl.load(centred + at, mask=inside, other=0)
        value = upstream * scale[None, :] - sums[None, :] - value * products[None, :]
        tl.store(centred + at, value, mask=inside)


@triton.jit
def _sign(x):
    return tl.where(x > 0, 1, 0) - tl.where(x < 0, 1, 0)


@triton.jit
def _flushed(x):
    if x.dtype == tl.float32:
        return tl.where(tl.abs(x) < NORMAL32, 0, x)
    else:
        return tl.where(tl.abs(x) < NORMAL64, 0, x)


@triton.jit
def _clamped(x, limit):
    return tl.where(x > limit, limit, tl.where(x < -limit, -limit, x))


@triton.jit
def _divide(x, y):
    if x.dtype == tl.float32:
        return tl.div_rn(x, y)
    else:
        return x / y


@triton.jit
def _root(x):
    if x.dtype == tl.float32:
        return tl.sqrt_rn(x)
    else:
        return tl.sqrt(x)
