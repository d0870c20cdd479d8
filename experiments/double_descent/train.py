"""How a row of the table is trained."""

from collections.abc import Sequence

from weightdecay.datasets import Splits
from weightdecay.datasets.mnist1d import CLASSES, LENGTH, TEST_POOL, mnist1d
from weightdecay.ensemble.layer import Layer
from weightdecay.ensemble.networks.cnn import cnn
from weightdecay.ensemble.networks.mlp import mlp
from weightdecay.ensemble.state import Protocol
from weightdecay.run import Run, require

SETS = {  # dataset -> kind of label noise, validation examples, test examples
    "mnist1d": ("incorrect", 1_000, 2_000),
    "mnist1d_notebook": ("resampled", 2_000, TEST_POOL),
}


def splits(run: Run) -> Splits:
    """The examples and noisy labels of the run's seed: the same for every width and λ."""
    check(run)
    noise, validation_size, test_size = SETS[run.dataset]
    return mnist1d(run.seed, run.train_size, validation_size, test_size, run.label_noise, noise)


def network(runs: Sequence[Run]) -> Layer:
    """`mlp` with `blocks` hidden layers, or the notebook's `cnn` with `width` channels."""
    run = runs[0]
    return cnn(LENGTH, CLASSES, run.width) if run.network == "cnn" else mlp(LENGTH, CLASSES, run.width, run.blocks)


def check(run: Run) -> None:
    """ConfigError for a row that asks for what is not trained here."""
    require(run, dataset=SETS, network=("mlp", "cnn"))


PROTOCOL = Protocol(splits, network)
