"""Handwritten digits of 28 × 28 pixels without MNIST's files: the 8 × 8 digits of scikit-learn, enlarged."""

from __future__ import annotations

from functools import lru_cache

import torch

from weightdecay.datasets import DataSet, Split, Splits
from weightdecay.datasets.digits import CLASSES, digits
from weightdecay.registry import DATASETS

SIDE = 28
DATASETS.register(DataSet("digits_28", inputs=SIDE * SIDE, outputs=CLASSES))


@lru_cache(maxsize=32)
def digits_28(seed: int, train_size: int, validation_size: int, test_size: int) -> Splits:
    """Draw the splits of `digits`, enlarged to 28 × 28: inputs `[N, 784]` in [0, 1], one-hot targets `[N, 10]`."""
    splits = digits(seed, train_size, validation_size, test_size)
    return {name: Split(enlarged(split.inputs), split.targets) for name, split in splits.items()}


def enlarged(images: torch.Tensor) -> torch.Tensor:
    """Enlarge square images `[N, side²]` to `[N, 784]`, interpolating bilinearly between the centres of pixels."""
    side = round(images.shape[1] ** 0.5)
    square = images.view(-1, 1, side, side)
    return torch.nn.functional.interpolate(square, size=(SIDE, SIDE), mode="bilinear").flatten(1)
