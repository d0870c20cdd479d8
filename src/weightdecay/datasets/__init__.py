"""Data sets: each module a function of a seed that returns named splits, generated offline and checked by checksum."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Split(NamedTuple):
    """Examples of one split: floats, `inputs` `[N, F]` and `targets` `[N, K]`; of K classes the targets are one-hot."""

    inputs: Tensor
    targets: Tensor


Splits = dict[str, Split]  # "train", "validation", "test"

# What an example has of the data sets that are named so: inputs and targets. A row that names one is held to it.
SHAPES = {
    "binary_addition": (64, 32),
    "binary_addition_bits": (64, 32),
    "digits": (64, 10),
    "digits_28": (784, 10),
    "mnist": (784, 10),
    "mnist1d": (40, 10),
}
