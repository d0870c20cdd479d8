"""Small runs for the trainer's tests."""

from collections.abc import Sequence

import torch

from tests.ensemble.reference import LAST_NORM
from weightdecay.datasets import Split, Splits
from weightdecay.datasets.binary_addition import binary_addition
from weightdecay.ensemble.layer import Layer
from weightdecay.ensemble.networks import cnn, mlp, residual_mlp, scale_invariant_cnn, scale_invariant_mlp
from weightdecay.ensemble.state import Protocol
from weightdecay.run import Run

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
    """A run with the given settings, otherwise a small binary-addition network: what has no effect is left out."""
    chosen = dict(DEFAULTS)
    if settings.get("optimizer") == "sgd":
        chosen |= {"beta2": 0.999, "eps": 1e-8}
    if settings.get("decay") == "none":
        chosen["weight_decay"] = 0.0
    if settings.get("dropout"):
        chosen["network"] = "mlp"
    if settings.get("network", chosen["network"]) in ("mlp", "cnn"):
        chosen["batch_norm_eps"] = None
    if settings.get("network") in ("cnn", "scale_invariant_cnn"):
        chosen["blocks"] = 3
    return Run(**chosen | settings)


def splits(run: Run) -> Splits:
    if run.dataset == "classes":
        return classes(run.seed, run.train_size)
    return binary_addition(run.seed, run.train_size, run.label_noise)


def classes(seed: int, size: int) -> Splits:
    """Noisy signals of length 40 in ten classes, one-hot: the shape of MNIST-1D."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 10, (size,), generator=generator)
    centres = torch.randn(10, 40, generator=generator)
    inputs = centres[labels] + torch.randn(size, 40, generator=generator)
    split = Split(inputs, torch.nn.functional.one_hot(labels, 10).float())
    return {"train": split, "test": split}


def network(runs: Sequence[Run]) -> Layer:
    run = runs[0]
    inputs, outputs = (40, 10) if run.dataset == "classes" else (64, 32)
    eps = None if run.batch_norm_eps is None else torch.tensor([run.batch_norm_eps for run in runs])
    if run.network == "mlp":
        return mlp(inputs, outputs, run.width, run.blocks, dropout=any(run.dropout for run in runs))
    if run.network == "cnn":
        return cnn(inputs, outputs, run.width)
    if run.network == "scale_invariant_cnn":
        return scale_invariant_cnn(inputs, outputs, run.width, eps, LAST_NORM)
    if run.network == "scale_invariant_mlp":
        return scale_invariant_mlp(inputs, outputs, run.width, run.blocks, eps, LAST_NORM)
    return residual_mlp(inputs, outputs, run.width, run.blocks, eps)


PROTOCOL = Protocol(splits, network)
