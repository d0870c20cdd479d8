"""Data sets: each module a function of a seed that returns named splits, generated offline and checked by checksum."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Split(NamedTuple):
    """Examples of one split: float32 `inputs` `[N, F]` and `targets` `[N, ...]`."""

    inputs: Tensor
    targets: Tensor


Splits = dict[str, Split]  # "train", "validation", "test"
