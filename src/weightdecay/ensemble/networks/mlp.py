"""The multilayer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from weightdecay.ensemble import layers
from weightdecay.ensemble.network import HIDDEN_LAYERS, NO_BATCH_NORM, Network
from weightdecay.registry import NETWORKS
from weightdecay.run import Run


def mlp(inputs: int, outputs: int, width: int, hidden: int, dropout: bool = False) -> layers.Layer:
    """Return `hidden` layers Linear, ReLU (and Dropout) of one width, then Linear: outputs `[R, B, outputs]`."""
    after_each = (layers.ReLU, layers.Dropout) if dropout else (layers.ReLU,)
    body = [
        layer
        for before, after in pairwise([inputs, *[width] * hidden])
        for layer in (layers.Linear(before, after), *(make() for make in after_each))
    ]
    return layers.Sequential(*body, layers.Linear(width, outputs))


def build(runs: Sequence[Run], inputs: int, outputs: int) -> layers.Layer:
    """Build an MLP of `blocks` hidden layers, with Dropout if any of the runs has it."""
    return mlp(inputs, outputs, runs[0].width, runs[0].blocks, dropout=any(run.dropout for run in runs))


def weights(run: Run) -> int:
    """Estimate the weights that an example meets, as if there were 50 inputs and 10 outputs."""
    return 60 * run.width + max(0, run.blocks - 1) * run.width**2


NETWORKS.register(Network("mlp", build, (NO_BATCH_NORM, HIDDEN_LAYERS), weights))
