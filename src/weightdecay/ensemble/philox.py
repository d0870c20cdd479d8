"""A counter-based random generator: Philox 4×32-10 (Salmon et al. 2011, "Parallel random numbers").

A number is a function of the run's seed, the step, the layer and the position in the layer, and of nothing else. So
there is no state to save, numbers can be drawn in any order, and no run depends on the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from weightdecay.run import Run

MULTIPLIERS, WEYL, ROUNDS = (0xD2511F53, 0xCD9E8D57), (0x9E3779B9, 0xBB67AE85), 10  # Philox's own
WORD = 0xFFFFFFFF  # a word's 32 bits
DROPOUT_LEVELS = 2**24  # a rate of dropout is a multiple of 1 / DROPOUT_LEVELS


def words_of(runs: Sequence[Run], device: torch.device) -> Tensor:
    """Return for each run the two words of its key, hashed from its seed, and its rate of dropout: `[R, 3]`.

    The rate is rounded to a whole number of levels, of which `DROPOUT_LEVELS` make 1. Float32 holds it exactly, so it
    means the same in every precision.
    """
    keys = [np.random.SeedSequence([run.seed, 0, 1]).generate_state(2).tolist() for run in runs]
    dropped = [min(round(run.dropout * DROPOUT_LEVELS), DROPOUT_LEVELS - 1) for run in runs]
    return torch.tensor([[*key, level] for key, level in zip(keys, dropped, strict=True)], device=device)


def philox(counter: tuple[Tensor, ...], key: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    """Return four random words of 32 bits from a counter of four words and a key of two.

    All are int64 tensors, whose shapes must broadcast.
    """
    a, b, c, d = counter
    low, high = key
    for _ in range(ROUNDS):
        first, second = a * MULTIPLIERS[0], c * MULTIPLIERS[1]  # modulo 2⁶⁴, whatever the sign
        a, b, c, d = (second >> 32 & WORD) ^ b ^ low, second & WORD, (first >> 32 & WORD) ^ d ^ high, first & WORD
        low, high = low + WEYL[0] & WORD, high + WEYL[1] & WORD
    return a, b, c, d
