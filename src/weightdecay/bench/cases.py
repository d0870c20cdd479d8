"""What the benchmark trains: networks of the paper's findings, each with its batch, loss and optimiser.

The binary-addition network has AdamW, as in S1. The MLPs and the CNN have SGD with momentum, as in MNIST-1D's notebook
(learning rate .01, momentum .9). It moves fewer bytes than the other optimisers, so these cases compare matrix products
and dispatch. All replicas see the same data, but each has its own copy of every batch `[R, B, F]`, because in a finding
each replica has its own order. Batches are cut before the clock starts and come in a fixed order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from weightdecay.datasets import Split, Splits
from weightdecay.datasets.binary_addition import BITS, binary_addition
from weightdecay.ensemble.layer import Layer
from weightdecay.ensemble.stack import Stack
from weightdecay.ensemble.state import Protocol, generator_of
from weightdecay.registry import LOSSES, NETWORKS
from weightdecay.run import Run

SIGNAL, CLASSES, SIGNALS = 40, 10, 4000  # the shape of MNIST-1D
ADDITION = {
    **{"dataset": "binary_addition", "train_size": 5000, "network": "residual_mlp", "width": 256, "blocks": 2},
    **{"batch_norm_eps": 1e-2, "loss": "sigmoid_squared_error", "optimizer": "adam", "learning_rate": 1e-3},
    **{"beta2": 0.98, "eps": 1e-3, "decay": "decoupled", "weight_decay": 0.1},
}
SIGNALS_SGD = {
    **{"dataset": "signals", "train_size": SIGNALS, "blocks": 2, "batch_norm_eps": None, "loss": "cross_entropy"},
    **{"optimizer": "sgd", "learning_rate": 0.01, "momentum": 0.9, "decay": "l2", "weight_decay": 5e-4},
}
MLP_WIDTHS = (4, 16, 64, 128, 256, 512)


@dataclass(frozen=True)
class Case:
    """`run`: the settings that all replicas share; they differ in their seeds."""

    name: str
    title: str
    run: Run

    def runs(self, replicas: int) -> list[Run]:
        return [self.run.model_copy(update={"seed": seed}) for seed in range(replicas)]

    def splits(self) -> Splits:
        """Return the training data, which are the same for every replica."""
        return _addition(self.run.train_size) if self.run.dataset == "binary_addition" else _signals()

    def protocol(self) -> Protocol:
        """Return a protocol that gives every run its own copy of the data: the trainer would hold shared data once."""
        return Protocol(lambda run: dict(self.splits()), _network)


def _case(name: str, title: str, **settings: Any) -> Case:
    fixed = {"experiment": "bench", "sweep": "bench", "seed": 0, "shuffle": False}
    long = dict.fromkeys(("steps", "log_every", "log_dense_every"), 10**9)
    return Case(name, title, Run(**fixed, **long, **settings))


_ALL = [
    _case("residual_64", "residual MLP of width 256 with BatchNorm, batch 64, AdamW", **ADDITION, batch_size=64),
    _case("residual_272", "the same, batch 272", **ADDITION, batch_size=272),
    *(
        _case(
            f"mlp_{width}",
            f"MLP 40-{width}-{width}-10, batch 128, SGD with momentum",
            **SIGNALS_SGD | {"network": "mlp", "width": width, "batch_size": 128},
        )
        for width in MLP_WIDTHS
    ),
    _case(
        "cnn",
        "1-D CNN of 25 channels, batch 100, SGD with momentum",
        **SIGNALS_SGD | {"network": "cnn", "width": 25, "blocks": 3, "batch_size": 100},
    ),
    _case(
        "scale_invariant",
        "MLP of 3 hidden layers of 64, BatchNorm without affine, frozen last layer, batch 128, SGD",
        **SIGNALS_SGD
        | {"network": "scale_invariant_mlp", "width": 64, "blocks": 3, "batch_size": 128}
        | {"batch_norm_eps": 1e-5, "momentum": 0.0},
    ),
]
CASES = {case.name: case for case in _ALL}


def _network(runs: Sequence[Run]) -> Layer:
    sizes = (2 * BITS, BITS) if runs[0].dataset == "binary_addition" else (SIGNAL, CLASSES)
    return NETWORKS.get(runs[0].network).build(runs, *sizes)


def initial_network(case: Case, replicas: int) -> Layer:
    """Return our network of that many replicas before training, on the CPU: layers with `[R, ...]` parameters."""
    runs = case.runs(replicas)
    network = _network(runs)
    Stack(network, [generator_of(run.seed, 0) for run in runs], torch.float32, torch.device("cpu"))
    return network


def batches(case: Case) -> list[tuple[Tensor, Tensor]]:
    """Return the batches of an epoch, `[B, ...]` each, as our trainer cuts them; targets suit the literal loss."""
    size, (inputs, targets) = case.run.batch_size, case.splits()["train"]
    targets, full = LOSSES.get(case.run.loss).literal_targets(targets), len(inputs) // size * size
    return list(zip(inputs[:full].split(size), targets[:full].split(size), strict=True))


@cache
def _addition(train_size: int) -> Splits:
    return {"train": binary_addition(0, train_size)["train"]}


@cache
def _signals() -> Splits:
    """Make noisy signals of length 40 in ten classes, one-hot."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, CLASSES, (SIGNALS,), generator=generator)
    centres = torch.randn(CLASSES, SIGNAL, generator=generator)
    inputs = centres[labels] + torch.randn(SIGNALS, SIGNAL, generator=generator)
    return {"train": Split(inputs, torch.nn.functional.one_hot(labels, CLASSES).float())}
