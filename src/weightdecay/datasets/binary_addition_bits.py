"""Binary addition as S1's text describes it: digits are bits. S1's code has decimal digits (`binary_addition`)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from weightdecay.datasets import DataSet, Splits
from weightdecay.datasets.binary_addition import BITS, encode
from weightdecay.registry import DATASETS

TRAIN_SIZE = 4 + 64  # all pairs of two-bit and of four-bit numbers
DATASETS.register(DataSet("binary_addition_bits", inputs=2 * BITS, outputs=BITS))


@lru_cache(maxsize=32)  # the same object for every λ, which the trainer then holds once
def binary_addition_bits(seed: int) -> Splits:
    """Return all pairs of 2-bit and of 4-bit numbers for training, and all pairs of 3-bit numbers for testing.

    The leading bit of a d-bit number is 1, just as a d-digit number has no leading zero. This gives 4 + 64 training
    pairs and 16 test pairs. (With leading zeros, every test pair would be in the training set.) The seed orders the
    examples. Inputs `[N, 64]`, targets `[N, 32]`, all 0 or 1.
    """

    def every(bits: int) -> np.ndarray:
        numbers = np.arange(2 ** (bits - 1), 2**bits)
        return np.stack(np.meshgrid(numbers, numbers), axis=-1).reshape(-1, 2)

    train = np.random.default_rng(seed).permutation(np.concatenate([every(2), every(4)]))
    return {"train": encode(train), "test": encode(every(3))}
