"""Addition of binary-encoded integers (S1: andylolu2/ml-weight-decay, `src/datasets/binary_add.py`).

Both operands of a pair have the same number of digits d. Training pairs have 2 or 4 digits and test pairs 3, so the
test measures extrapolation to an unseen length. Digits are decimal in the original's code, although its text says bits.
Here we follow the code; `binary_addition_bits` follows the text.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from weightdecay.datasets import DataSet, Split, Splits
from weightdecay.registry import DATASETS

BITS = 32
DATASETS.register(DataSet("binary_addition", inputs=2 * BITS, outputs=BITS))
VALIDATION_SIZE = 500


@lru_cache(maxsize=32)  # the same object for every λ, which the trainer then holds once
def binary_addition(seed: int, train_size: int = 5000, label_noise: float = 0.0) -> Splits:
    """Draw `train_size` + 500 pairs of 2 or 4 decimal digits with P(d) ∝ 10^d, and 500 test pairs of 3 digits.

    The split `validation` holds the 500 pairs of the same draw, `test` those of the unseen length. `label_noise` is the
    share of *training* label bits that are drawn anew, so half of these flip. The original also drew the bits of its
    validation labels anew; we keep them right to measure generalisation. Inputs `[N, 64]`, targets `[N, 32]`, all 0 or
    1.
    """
    generator = np.random.default_rng(seed)
    digits = np.array([2, 4])
    total = train_size + VALIDATION_SIZE
    counts = generator.multinomial(n=total, pvals=10.0**digits / np.sum(10.0**digits))
    pairs = np.concatenate([_pairs(generator, d, count) for d, count in zip(digits, counts, strict=True)])
    order = generator.permutation(total)
    train, validation = order[:train_size], order[train_size:]
    test = _pairs(np.random.default_rng(seed), 3, VALIDATION_SIZE)
    splits = {"train": encode(pairs[train]), "validation": encode(pairs[validation]), "test": encode(test)}
    return splits | {"train": with_noise(splits["train"], label_noise, generator)}


def encode(pairs: np.ndarray) -> Split:
    """Write pairs of integers `[N, 2]` as bits, least significant first, operands interleaved; targets are the sums."""
    powers = np.arange(BITS)
    operand_bits = (pairs[:, None, :] >> powers[:, None]) & 1  # [N, 32, 2]
    sum_bits = (pairs.sum(1)[:, None] >> powers) & 1
    inputs, targets = operand_bits.reshape(len(pairs), 2 * BITS), sum_bits
    return Split(torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(targets.astype(np.float32)))


def decode(bits: torch.Tensor) -> np.ndarray:
    """Return the integers `[N]` that the bits `[N, 32]` spell, least significant first."""
    return (bits.numpy() > 0.5).astype(np.int64) @ (1 << np.arange(BITS, dtype=np.int64))


def _pairs(generator: np.random.Generator, digits: int, count: int) -> np.ndarray:
    """Draw integers `[count, 2]` of that many decimal digits.

    Each column is drawn without replacement, as in the original. When all integers are used up, a new permutation
    follows, where the original would have failed.
    """
    numbers = np.arange(10 ** (digits - 1), 10**digits)

    def column() -> np.ndarray:
        rounds = [len(numbers)] * (count // len(numbers)) + [count % len(numbers)]
        return np.concatenate([generator.choice(numbers, size=size, replace=False) for size in rounds])

    return np.stack([column(), column()], axis=-1)


def with_noise(split: Split, share: float, generator: np.random.Generator) -> Split:
    """Draw a share of the label bits anew, so that half of these flip."""
    resampled = generator.random(split.targets.shape) < share
    noise = generator.integers(0, 2, split.targets.shape).astype(np.float32)
    return Split(split.inputs, torch.where(torch.from_numpy(resampled), torch.from_numpy(noise), split.targets))
