"""One step of SGD for all replicas."""

import triton
import triton.language as tl
from torch import Tensor

from weightdecay.ensemble.triton.arithmetic import coefficient, flushed, moved, with_penalty

BLOCK = 1024  # parameters that one program updates


def update(parameters: Tensor, gradients: Tensor, momentum: Tensor, coefficients: Tensor, decayed: int):
    """Update all tensors, `[R, P]` each, in place; `coefficients` `[6, R]` are those of `optimizers.sgd`."""
    replicas, size = parameters.shape
    grid = (triton.cdiv(size, BLOCK), replicas)
    _update[grid](parameters, gradients, momentum, coefficients, replicas, size, decayed, BLOCK)


@triton.jit
def _update(parameters, gradients, momentum, coefficients, replicas, size, decayed, BLOCK: tl.constexpr):
    replica = tl.program_id(1)
    columns = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside, decays = columns < size, columns < decayed
    at = replica.to(tl.int64) * size + columns
    rate, factor = coefficient(coefficients, 4, replicas, replica), coefficient(coefficients, 5, replicas, replica)
    weight = tl.load(parameters + at, mask=inside, other=0)
    gradient = tl.load(gradients + at, mask=inside, other=0)
    velocity = tl.load(momentum + at, mask=inside, other=0)
    velocity = factor * velocity + with_penalty(gradient, weight, coefficients, replicas, replica, decays)
    tl.store(momentum + at, flushed(velocity), mask=inside)
    tl.store(parameters + at, moved(weight, rate * velocity, coefficients, replicas, replica, decays), mask=inside)
