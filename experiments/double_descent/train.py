"""How a row of the table is trained."""

from weightdecay.datasets import Splits
from weightdecay.datasets.mnist1d import TEST_POOL, mnist1d
from weightdecay.ensemble.state import Protocol
from weightdecay.run import Run, require

SETS = {  # dataset -> kind of label noise, validation examples, test examples
    "mnist1d": ("incorrect", 1_000, 2_000),
    "mnist1d_notebook": ("resampled", 2_000, TEST_POOL),
}


def splits(run: Run) -> Splits:
    """Return the examples and noisy labels of the run's seed, the same for every width and λ."""
    check(run)
    noise, validation_size, test_size = SETS[run.dataset]
    return mnist1d(run.seed, run.train_size, validation_size, test_size, run.label_noise, noise)


def check(run: Run) -> None:
    """Raise ConfigError for a row with settings that this finding does not train."""
    require(run, dataset=SETS, network=("mlp", "cnn"))


PROTOCOL = Protocol(splits)
