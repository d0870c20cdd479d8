"""Data sets. Each module has a function of a seed that returns named splits, made offline and checked by checksums."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Split(NamedTuple):
    """The examples of one split: floats `inputs` `[N, F]` and `targets` `[N, K]`, one-hot for K classes."""

    inputs: Tensor
    targets: Tensor


Splits = dict[str, Split]  # "train", "validation", "test"


class DataSet(NamedTuple):
    """How many numbers an example of a data set has. The data set's name is that of its file.

    The data of a row that names it must have these sizes. With K classes, `outputs` is K.
    """

    name: str
    inputs: int
    outputs: int
