"""Double descent across model width, and what weight decay does to it. (S1, "The modern regime"; S0; S2; claims D1-D15)

Two protocols on MNIST-1D. The small one: few training samples, one hidden layer, squared error, full-batch Adam, wrong
labels as Nakkiran et al. draw them; its interpolation threshold, as many parameters as there are n K numbers to fit,
lies within the widths that are trained. The notebook's: 4,000 samples, two hidden layers or a 1-D CNN, cross-entropy,
SGD with momentum, labels drawn anew. Settings and their sources: config.yaml beside this file. The exact check without
training: compute.py.
"""

from collections.abc import Sequence

from weightdecay.datasets import Splits
from weightdecay.datasets.mnist1d import CLASSES, LENGTH, TEST_POOL, mnist1d
from weightdecay.ensemble.layers import Layer
from weightdecay.ensemble.networks.cnn import cnn
from weightdecay.ensemble.networks.mlp import mlp
from weightdecay.ensemble.state import Protocol
from weightdecay.experiment import main
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

if __name__ == "__main__":
    main(PROTOCOL)
