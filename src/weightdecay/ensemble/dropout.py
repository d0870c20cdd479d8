"""What dropout drops, by a counter-based generator: Philox 4×32-10 (Salmon et al. 2011, "Parallel random numbers").

A factor, 0 or 1/(1 − p), is a function of the run's seed, the step, the layer and the place in it, and of nothing else:
there is no state to save, no order in which numbers must be drawn, and no other run that could take some. Here it is
written in torch operations, for GPUs, and in `kernels.dropout_factors` for CPUs, with the same result to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from weightdecay.ensemble.constants import DROPOUT_LEVELS, PHILOX_MULTIPLIERS, PHILOX_ROUNDS, PHILOX_WEYL, WORD
from weightdecay.run import Run


def words_of(runs: Sequence[Run], device: torch.device) -> Tensor:
    """Per run the two words of its key, hashed from its seed, and how many of `DROPOUT_LEVELS` are dropped: `[R, 3]`.

    As integers, of which float32 holds all: a rate means the same factors in every precision.
    """
    keys = [np.random.SeedSequence([run.seed, 0, 1]).generate_state(2).tolist() for run in runs]
    dropped = [min(round(run.dropout * DROPOUT_LEVELS), DROPOUT_LEVELS - 1) for run in runs]
    return torch.tensor([[*key, level] for key, level in zip(keys, dropped, strict=True)], device=device)


def factors(words: Tensor, step: Tensor, layer: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """The factors of one step, `shape` = `[R, B, H]`; `step`: `[1]`, counted from 0, on the device of `words` `[R, 3]`.

    Four features share a counter: (example, feature // 4, step, layer).
    """
    low, high, dropped = words.T[:, :, None, None]
    _, batch, features = shape
    examples = torch.arange(batch, device=words.device)[:, None]
    groups = torch.arange(-(-features // 4), device=words.device)
    numbers = philox((examples, groups, step, torch.full_like(step, layer)), (low, high))
    levels = torch.stack(torch.broadcast_tensors(*numbers), -1).flatten(2)[:, :, :features] >> 8  # 24 bits
    kept = torch.div(DROPOUT_LEVELS - dropped, torch.full_like(dropped, DROPOUT_LEVELS, dtype=dtype))
    return kept.reciprocal_().expand(shape).masked_fill(levels < dropped, 0.0)


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Four words of 32 bits from four and a key of two; int64 tensors of any shapes that broadcast."""
    a, b, c, d = counter
    low, high = key
    for _ in range(PHILOX_ROUNDS):
        first, second = a * PHILOX_MULTIPLIERS[0], c * PHILOX_MULTIPLIERS[1]  # modulo 2⁶⁴, whatever the sign
        a, b, c, d = (second >> 32 & WORD) ^ b ^ low, second & WORD, (first >> 32 & WORD) ^ d ^ high, first & WORD
        low, high = low + PHILOX_WEYL[0] & WORD, high + PHILOX_WEYL[1] & WORD
    return a, b, c, d
