"""One step of Adam for all replicas."""

import triton
import triton.language as tl
from torch import Tensor

from weightdecay.ensemble.triton.arithmetic import coefficient, divide, flushed, moved, root, with_penalty

BLOCK = 1024  # parameters that one program updates


def update(parameters: Tensor, gradients: Tensor, first: Tensor, second: Tensor, coefficients: Tensor, decayed: int):
    """Update all tensors, `[R, P]` each, in place; this moves 28 bytes for each float32 parameter.

    `coefficients` `[11, R]` are those of `optimizers.adam`. `decayed`: the number of columns that λ applies to.
    """
    replicas, size = parameters.shape
    grid = (triton.cdiv(size, BLOCK), replicas)
    _update[grid](parameters, gradients, first, second, coefficients, replicas, size, decayed, BLOCK)


@triton.jit
def _update(
    parameters, gradients, first, second, coefficients, replicas, size, decayed, BLOCK: tl.constexpr
):  # fmt: skip
    replica = tl.program_id(1)
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, decays = columns < size, columns < decayed
    at = replica.to(tl.int64) * size + columns
    rate = coefficient(coefficients, 4, replicas, replica)
    beta1, rest1 = coefficient(coefficients, 5, replicas, replica), coefficient(coefficients, 6, replicas, replica)
    beta2, rest2 = coefficient(coefficients, 7, replicas, replica), coefficient(coefficients, 8, replicas, replica)
    correction, eps = coefficient(coefficients, 9, replicas, replica), coefficient(coefficients, 10, replicas, replica)
    weight = tl.load(parameters + at, mask=inside, other=0)
    gradient = tl.load(gradients + at, mask=inside, other=0)
    m = tl.load(first + at, mask=inside, other=0)
    v = tl.load(second + at, mask=inside, other=0)
    gradient = with_penalty(gradient, weight, coefficients, replicas, replica, decays)
    m = beta1 * m + rest1 * gradient
    v = beta2 * v + rest2 * (gradient * gradient)
    change = divide(rate * m, root(v) * correction + eps)
    tl.store(first + at, flushed(m), mask=inside)
    tl.store(second + at, flushed(v), mask=inside)
    tl.store(parameters + at, moved(weight, change, coefficients, replicas, replica, decays), mask=inside)
