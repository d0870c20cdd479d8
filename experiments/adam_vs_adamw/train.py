"""How a row of the table is trained."""

from weightdecay.datasets import Splits
from weightdecay.datasets.binary_addition import binary_addition
from weightdecay.datasets.digits import digits
from weightdecay.datasets.mnist1d import mnist1d
from weightdecay.ensemble.state import Protocol
from weightdecay.errors import ConfigError
from weightdecay.run import Run, require

HELD_OUT = {"mnist1d": (2_000, 2_000), "digits": (600, 700)}  # numbers of validation and test examples


def splits(run: Run) -> Splits:
    """Return the examples of the run's seed, the same for every optimiser, schedule, η and λ. Labels are clean."""
    check(run)
    if run.dataset == "binary_addition":
        return binary_addition(run.seed, run.train_size)
    if run.dataset == "digits":
        return digits(run.seed, run.train_size, *HELD_OUT["digits"])
    return mnist1d(run.seed, run.train_size, *HELD_OUT["mnist1d"], 0.0, "incorrect")


def check(run: Run) -> None:
    """Raise ConfigError for a row with settings that this finding does not train."""
    require(run, dataset=(*HELD_OUT, "binary_addition"), label_noise=0.0)
    addition = run.dataset == "binary_addition"
    require(run, network="residual_mlp" if addition else "mlp")
    if addition and run.batch_norm_eps is None:
        raise ConfigError("batch_norm_eps is None, but addition needs a number here.")


PROTOCOL = Protocol(splits)
