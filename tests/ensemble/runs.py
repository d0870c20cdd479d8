"""Small runs for the trainer's tests."""

from collections.abc import Callable, Sequence

import torch

from weightdecay.datasets import Split, Splits
from weightdecay.datasets.binary_addition import binary_addition
from weightdecay.ensemble.layer import Layer
from weightdecay.ensemble.program import Program, program_of
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.registry import NETWORKS as KNOWN
from weightdecay.run import Run

CPU = torch.device("cpu")
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


OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "adam": {"optimizer": "adam"},
    "adam with default eps": {"optimizer": "adam", "eps": 1e-8, "beta2": 0.999},
}
DECAYS = {
    "none": {"decay": "none", "weight_decay": 0.0},
    "l2": {"decay": "l2", "weight_decay": 0.01},
    "decoupled": {"decay": "decoupled", "weight_decay": 0.1},
    "decoupled, matrices only": {"decay": "decoupled", "weight_decay": 0.1, "decay_exclude": "bias_and_norm"},
    "l1": {"decay": "l1", "weight_decay": 1e-4},  # small: where a weight changes its sign, rounding decides the step
    "proximal l1": {"decay": "proximal_l1", "weight_decay": 0.01},
    "elastic net, matrices only": {
        **{"decay": "elastic_net", "weight_decay": 0.05, "l1_ratio": 0.2, "decay_exclude": "bias_and_norm"}
    },
}
NETWORKS = {
    "batch norm": {"batch_norm_eps": 1e-2},
    "batch norm, default eps": {"batch_norm_eps": 1e-5, "blocks": 1, "width": 48},
    "plain": {"batch_norm_eps": None},
    "shuffled, cosine": {"shuffle": True, "schedule": "cosine"},
}
CNN = {"width": 4, "blocks": 3}
OTHER_NETWORKS = {  # one-hot classes
    "mlp, cross-entropy": {"network": "mlp", "loss": "cross_entropy", "batch_norm_eps": None, "shuffle": True},
    "mlp, dropout": {"network": "mlp", "loss": "cross_entropy", "batch_norm_eps": None, "dropout": 0.3, "width": 30},
    "mlp, squared error": {"network": "mlp", "loss": "squared_error", "batch_norm_eps": None, "blocks": 1},
    "mlp, absolute error": {"network": "mlp", "loss": "absolute_error", "batch_norm_eps": None, "blocks": 1},
    "mlp, smooth l1": {"network": "mlp", "loss": "smooth_l1", "batch_norm_eps": None, "blocks": 1},
    "cnn": {**CNN, "network": "cnn", "loss": "cross_entropy", "batch_norm_eps": None},
    "scale-invariant": {"network": "scale_invariant_mlp", "loss": "cross_entropy", "batch_norm_eps": 1e-5},
    "scale-invariant cnn": {
        **{**CNN, "network": "scale_invariant_cnn", "loss": "cross_entropy", "batch_norm_eps": 1e-5},
    },
}
NETWORKS |= {name: settings | {"dataset": "classes"} for name, settings in OTHER_NETWORKS.items()}


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
    sizes = (40, 10) if runs[0].dataset == "classes" else (64, 32)
    return KNOWN.get(runs[0].network).build(runs, *sizes)


PROTOCOL = Protocol(splits, network)


def program(
    runs: Sequence[Run],
    dtype: torch.dtype = torch.float32,
    protocol: Protocol = PROTOCOL,
    kind: Callable[[Ensemble], Program] = program_of,
) -> Program:
    """The CPU's program for runs, or another `kind`, on the CPU."""
    return kind(Ensemble(runs, protocol, dtype, CPU))


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours.double() - theirs.double()).norm() / theirs.double().norm().clamp_min(1e-30)).item()
