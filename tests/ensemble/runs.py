"""Small runs for the trainer's tests."""

from collections.abc import Sequence

import torch

from weightdecay.datasets import Splits
from weightdecay.datasets.binary_addition import binary_addition
from weightdecay.ensemble.layers import Layer
from weightdecay.ensemble.losses import sigmoid_squared_error
from weightdecay.ensemble.networks import residual_mlp
from weightdecay.ensemble.training import Protocol
from weightdecay.grid import Run

DEFAULTS = {
    "experiment": "test",
    "sweep": "test",
    "seed": 0,
    "dataset": "binary_addition",
    "train_size": 200,
    "network": "residual_mlp",
    "width": 32,
    "blocks": 2,
    "batch_norm_eps": 1e-2,
    "loss": "sigmoid_squared_error",
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "beta2": 0.98,
    "eps": 1e-3,
    "decay": "decoupled",
    "weight_decay": 0.1,
    "batch_size": 64,
    "shuffle": False,
    "steps": 100,
    "log_every": 50,
    "log_dense_every": 10,
    "log_dense_until": 30,
}


def make(**settings) -> Run:
    """A run with the given settings, otherwise a small binary-addition network."""
    return Run(**{**DEFAULTS, **settings})


def splits(run: Run) -> Splits:
    return binary_addition(run.seed, run.train_size, run.label_noise)


def network(runs: Sequence[Run]) -> Layer:
    eps = None if runs[0].batch_norm_eps is None else torch.tensor([run.batch_norm_eps for run in runs])
    return residual_mlp(64, 32, runs[0].width, runs[0].blocks, eps)


PROTOCOL = Protocol(splits, network, sigmoid_squared_error)
