"""Handwritten digits (Alpaydin & Kaynak 1998): 1,797 images of 8 × 8 pixels in ten classes, shipped with scikit-learn.

There is one data set, and the seed splits it. Nothing is downloaded; the bytes are checked when they are loaded.
"""

from __future__ import annotations

import hashlib
from functools import cache, lru_cache

import numpy as np
import torch

from weightdecay.datasets import DataSet, Split, Splits
from weightdecay.errors import ConfigError
from weightdecay.registry import DATASETS

CLASSES, PIXELS, EXAMPLES = 10, 64, 1_797
LEVELS = 16  # a pixel is an integer from 0 to 16
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"  # of pixels, then labels, as bytes
DATASETS.register(DataSet("digits", inputs=PIXELS, outputs=CLASSES))


@lru_cache(maxsize=32)  # the same object for every run of a seed, which the trainer then holds once
def digits(seed: int, train_size: int, validation_size: int, test_size: int) -> Splits:
    """Draw the splits of a seed, without replacement: inputs `[N, 64]` in [0, 1], one-hot targets `[N, 10]`.

    Test examples are drawn first and validation examples next, so neither changes with the size of the training set. A
    smaller training set is the beginning of a larger one. ConfigError if there are not enough examples.
    """
    sizes = {"test": test_size, "validation": validation_size, "train": train_size}
    if min(sizes.values()) < 1 or sum(sizes.values()) > EXAMPLES:
        asked = ", ".join(f"{name}_size {size}" for name, size in sizes.items())
        raise ConfigError(
            f"{asked}: each must be at least 1, and together at most {EXAMPLES}, the digits that there are."
        )
    images, labels = pool()
    order = np.random.default_rng([seed, 0]).permutation(EXAMPLES)
    targets, splits, start = np.eye(CLASSES, dtype=np.float32), {}, 0
    for name, size in sizes.items():
        chosen = order[start : start + size]
        splits[name] = Split(torch.from_numpy(images[chosen]), torch.from_numpy(targets[labels[chosen]]))
        start += size
    return {name: splits[name] for name in ("train", "validation", "test")}


@cache
def pool() -> tuple[np.ndarray, np.ndarray]:
    """Return all images `[1797, 64]` in float32 from 0 to 1, and their labels `[1797]`."""
    from sklearn.datasets import load_digits  # takes a second

    found = load_digits()
    images, labels = found.data.astype(np.uint8), found.target.astype(np.uint8)
    if hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest() != SHA256:
        raise ConfigError("scikit-learn's handwritten digits are not those of version 1.9.1: install that version.")
    return (images / np.float32(LEVELS)).astype(np.float32), labels
