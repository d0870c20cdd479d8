"""Data sets: each module a function of a seed that returns named splits, generated offline and checked by checksum."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Split(NamedTuple):
    """Examples of one split: floats, `inputs` `[N, F]` and `targets` `[N, K]`; of K classes the targets are one-hot."""

    inputs: Tensor
    targets: Tensor


Splits = dict[str, Split]  # "train", "validation", "test"


class DataSet(NamedTuple):
    """What is known of a data set by its name, which is its file's: how many numbers an example has.

    A row that names it is held to that. Of K classes `outputs` is K.
    """

    name: str
    inputs: int
    outputs: int
