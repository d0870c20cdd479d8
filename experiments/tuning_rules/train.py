"""How a row of the table is trained."""

import re
from functools import lru_cache

import torch

from weightdecay.datasets import Split, Splits
from weightdecay.datasets.mnist1d import mnist1d
from weightdecay.ensemble.state import Protocol
from weightdecay.errors import ConfigError
from weightdecay.run import Run, require

VALIDATION, TEST = 1_000, 2_000  # numbers of examples, for every size of the training set
FOLD = re.compile(r"mnist1d_fold(\d+)of(\d+)")


def splits(run: Run) -> Splits:
    """Return the examples of the run's seed, the same for every λ; a fold of cross-validation holds some out."""
    check(run)
    fold = FOLD.fullmatch(run.dataset)
    if fold is None:
        return mnist1d(run.seed, run.train_size, VALIDATION, TEST, 0.0, "incorrect")
    return held_out(run.seed, run.train_size, *map(int, fold.groups()))


@lru_cache(maxsize=64)  # all λ share one object, which the trainer holds once
def held_out(seed: int, size: int, fold: int, folds: int) -> Splits:
    """Hold out every `folds`-th of the `size` training examples for validation; the first is number `fold`, from 1."""
    inputs, targets = mnist1d(seed, size, VALIDATION, TEST, 0.0, "incorrect")["train"]
    out = torch.arange(size) % folds == fold - 1
    return {"train": Split(inputs[~out], targets[~out]), "validation": Split(inputs[out], targets[out])}


def train_examples(run: Run) -> int:
    """Return `train_size`, or for a fold the number of examples that are not held out."""
    fold = FOLD.fullmatch(run.dataset)
    return run.train_size - (len(range(int(fold[1]) - 1, run.train_size, int(fold[2]))) if fold else 0)


def check(run: Run) -> None:
    """Raise ConfigError for a row with settings that this finding does not train."""
    require(run, network=("mlp", "residual_mlp"), label_noise=0.0)
    fold = FOLD.fullmatch(run.dataset)
    if run.dataset != "mnist1d" and not (fold and 1 <= int(fold[1]) <= int(fold[2]) and int(fold[2]) >= 2):
        raise ConfigError(
            f"dataset is {run.dataset!r}, but must be mnist1d or mnist1d_fold<k>of<K> with 1 <= k <= K, K at least 2."
        )


PROTOCOL = Protocol(splits, train_examples=train_examples)
