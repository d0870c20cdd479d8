"""A counter-based random generator: Philox 4×32-10 (Salmon et al. 2011, "Parallel random numbers").

A number is a function of the run's seed, the step, the layer and the place in it, and of nothing else: there is no
state to save, no order in which numbers must be drawn, and no other run that could take some.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from weightdecay.run import Run

MULTIPLIERS, WEYL, ROUNDS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), 10  # Philox's own
WORD = 0xFFFFFFFF  # a word's 32 bits
DROPOUT_LEVELS = 2**24  # of a rate of dropout


def words_of(runs: Sequence[Run], device: torch.device) -> Tensor:
    """Return of each run the two words of its key, hashed from its seed, and its rate of dropout in levels: `[R, 3]`.

    The rate is a whole number of `DROPOUT_LEVELS`, which float32 holds: it means the same in every precision.
    """
    keys = [np.random.SeedSequence([run.seed, 0, 1]).generate_state(2).tolist() for run in runs]
    dropped = [min(round(run.dropout * DROPOUT_LEVELS), DROPOUT_LEVELS - 1) for run in runs]
    return torch.tensor([[*key, level] for key, level in zip(keys, dropped, strict=True)], device=device)


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Return four words of 32 bits from four and a key of two; int64 tensors of any shapes that broadcast."""
    a, b, c, d = counter
    low, high = key
    for _ in range(ROUNDS):
        first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]  # modulo 2⁶⁴, whatever the sign
        a, b, c, d = (second >> 32 & WORD) ^ b ^ low, second & WORD, (first >> 32 & WORD) ^ d ^ high, first & WORD
        low, high = low + WEYL[0] & WORD, high + WEYL[1] & WORD
    return a, b, c, d
