"""Binary addition as S1's text describes it: digits are bits, where its code has decimal ones (`binary_addition`)."""

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
    """Trained on all pairs of 2-bit and all of 4-bit numbers, tested on all pairs of 3-bit numbers.

    A d-bit number has its leading bit set, as a d-digit number has in the decimal reading: 4 + 64 training and 16 test
    pairs. (Allowing leading zeros would put every test pair into the training set.) The seed orders the examples.
    Inputs `[N, 64]`, targets `[N, 32]`, all 0 or 1.
    """

    def every(bits: int) -> np.ndarray:
        numbers = np.arange(2 ** (bits - 1), 2**bits)
        return np.stack(np.meshgrid(numbers, numbers), axis=-1).reshape(-1, 2)

    train = np.random.default_rng(seed).permutation(np.concatenate([every(2), every(4)]))
    return {"train": encode(train), "test": encode(every(3))}
