"""How a row of the table is trained."""

from functools import lru_cache

import numpy as np

from weightdecay.datasets import Splits
from weightdecay.datasets.binary_addition import binary_addition, with_noise
from weightdecay.ensemble.state import Protocol
from weightdecay.run import Run, require

TEST_NOISE = 1  # a stream of its own for each seed: the data are those of experiments/binary_addition


def splits(run: Run) -> Splits:
    """Return the run's data; ConfigError for a row with settings that this finding does not train.

    Beside the clean split `test` there is `noisy_test`, whose label bits are drawn anew with the share of the training
    labels, as S1's code does.
    """
    require(run, dataset="binary_addition", network="residual_mlp")
    return with_noisy_test(run.seed, run.train_size, run.label_noise)


@lru_cache(maxsize=32)  # the same object for every λ and width, which the trainer then holds once
def with_noisy_test(seed: int, train_size: int, label_noise: float) -> Splits:
    data = binary_addition(seed, train_size, label_noise)
    return {**data, "noisy_test": with_noise(data["test"], label_noise, np.random.default_rng([seed, TEST_NOISE]))}


PROTOCOL = Protocol(splits)
