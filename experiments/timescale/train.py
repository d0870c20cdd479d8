"""How a row of the table is trained."""

from weightdecay.datasets import Splits
from weightdecay.datasets.binary_addition import binary_addition
from weightdecay.ensemble.state import Protocol
from weightdecay.run import Run, require


def splits(run: Run) -> Splits:
    """Return the run's data; ConfigError for a row with settings that this finding does not train."""
    require(run, dataset="binary_addition", network="residual_mlp", label_noise=0.0)
    return binary_addition(run.seed, run.train_size, run.label_noise)


PROTOCOL = Protocol(splits)
