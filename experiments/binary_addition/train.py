"""How a row of the table is trained."""

from weightdecay.datasets import Splits
from weightdecay.datasets.binary_addition import binary_addition
from weightdecay.datasets.binary_addition_bits import TRAIN_SIZE, binary_addition_bits
from weightdecay.ensemble.state import Protocol
from weightdecay.run import Run, require


def splits(run: Run) -> Splits:
    """Return the run's data, with decimal digits as in S1's code, or with bits as in its text."""
    check(run)
    if run.dataset == "binary_addition_bits":
        return binary_addition_bits(run.seed)
    return binary_addition(run.seed, run.train_size, run.label_noise)


def check(run: Run) -> None:
    """Raise ConfigError for a row with settings that this finding does not train."""
    require(run, dataset=("binary_addition", "binary_addition_bits"), network="residual_mlp")
    if run.dataset == "binary_addition_bits":
        require(run, train_size=TRAIN_SIZE, label_noise=0.0)


PROTOCOL = Protocol(splits)
