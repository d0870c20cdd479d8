"""Dropout: the factors are drawn and applied in one sweep."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from weightdecay.ensemble.philox import DROPOUT_LEVELS, MULTIPLIERS, ROUNDS, WEYL, WORD
from weightdecay.ensemble.triton.arithmetic import divide

BLOCK = 1024  # groups of four features whose factors one program draws
M0, M1, W0, W1, MASK = map(tl.constexpr, (*MULTIPLIERS, *WEYL, WORD))
TIMES, LEVELS, LEVEL = map(tl.constexpr, (ROUNDS, DROPOUT_LEVELS, 1 / DROPOUT_LEVELS))  # a power of two: exact


def forward(x: Tensor, words: Tensor, step: Tensor, layer: int) -> Tensor:
    """Multiply `x` `[R, B, H]` by the factors in place, and return the factors (`layers.dropout.factors`)."""
    replicas, batch, features = x.shape
    factors = torch.empty_like(x)
    assert x.is_contiguous() and words.is_contiguous()
    grid = (triton.cdiv(batch * triton.cdiv(features, 4), BLOCK), replicas)
    _dropout[grid](x, factors, words, step, layer, batch, features, BLOCK)
    return factors


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
    for _ in tl.static_range(TIMES):
        first, second = a * M0, c * M1  # modulo 2⁶⁴, whatever the sign
        a, b = ((second >> 32) & MASK) ^ b ^ low, second & MASK
        c, d = ((first >> 32) & MASK) ^ d ^ high, first & MASK
        low, high = (low + W0) & MASK, (high + W1) & MASK
    dtype = x.dtype.element_ty
    one = tl.full([BLOCK], 1, dtype)
    scale = divide(one, (-dropped + LEVELS).to(dtype) * LEVEL * one)
    for lane in tl.static_range(4):
        word = a if lane == 0 else b if lane == 1 else c if lane == 2 else d
        factor = tl.where((word >> 8) < dropped, 0, scale)
        column = 4 * group + lane
        inside = (example < batch) & (column < features)
        at = (replica * batch + example) * features + column
        tl.store(factors + at, factor, mask=inside)
        tl.store(x + at, tl.load(x + at, mask=inside) * factor, mask=inside)
