"""How a row of the table is trained."""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from weightdecay.datasets import Splits
from weightdecay.datasets.binary_addition import binary_addition
from weightdecay.datasets.digits import PIXELS, digits
from weightdecay.datasets.mnist1d import LENGTH, mnist1d
from weightdecay.ensemble.layers import BatchNorm
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.run import Run, require

DATASETS = {  # network -> what it is trained on
    "residual_mlp": ("binary_addition",),
    "mlp": ("digits", "mnist1d"),
    "scale_invariant_mlp": ("digits", "mnist1d"),
    "scale_invariant_cnn": ("mnist1d",),
}
INPUTS = {"digits": PIXELS, "mnist1d": LENGTH}
TEST_SIZE = {"digits": 300, "mnist1d": 500}  # evaluated at every logged step, of which there are many
VALIDATION_SIZE = 200  # nothing is tuned here


def splits(run: Run) -> Splits:
    """Clean labels; training and test examples alone, as no setting is chosen by results."""
    check(run)
    return data(run.dataset, run.seed, run.train_size)


@lru_cache(maxsize=64)  # the same object for every run of a seed, which the trainer then holds once
def data(dataset: str, seed: int, train_size: int) -> Splits:
    if dataset == "binary_addition":
        splits = binary_addition(seed, train_size, 0.0)
    elif dataset == "digits":
        splits = digits(seed, train_size, VALIDATION_SIZE, TEST_SIZE["digits"])
    else:
        splits = mnist1d(seed, train_size, VALIDATION_SIZE, TEST_SIZE["mnist1d"], 0.0, "incorrect")
    return {name: split for name, split in splits.items() if name != "validation"}


def measures(ensemble: Ensemble) -> dict[str, Tensor]:
    """Of the weights that stand before a BatchNorm: `rho`, their norm, and `gradient_norm`, that of the last batch's
    gradient. Of every BatchNorm k: `smallest_variance_k` and `median_variance_k` over its features, of the last batch,
    and `scale_k`, the root mean square of γ where it is trained.
    """
    layers = ensemble.stack.leaves
    before = [layer for layer, after in pairwise(layers) if isinstance(after, BatchNorm)]
    if not before:
        return {}
    measured = {"rho": norm([layer.weight for layer in before])}
    if ensemble.step == 0:
        return measured
    measured["gradient_norm"] = norm([layer.weight_gradient for layer in before if layer.weight_gradient is not None])
    for k, layer in enumerate((layer for layer in layers if isinstance(layer, BatchNorm)), 1):
        variance = (layer.inverse_std.double() ** -2 - layer.eps.double()).clamp_min(0).to(layer.inverse_std.dtype)
        measured[f"smallest_variance_{k}"] = variance.amin(1)
        measured[f"median_variance_{k}"] = variance.median(1).values
        if layer.trained:
            measured[f"scale_{k}"] = layer.weight.square().mean(1).sqrt()
    return measured


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """L2 norm over all entries of tensors `[R, ...]`: `[R]`."""
    return torch.stack([torch.linalg.vector_norm(tensor.flatten(1), dim=1) for tensor in tensors]).norm(dim=0)


def check(run: Run) -> None:
    """ConfigError for a row that asks for what is not trained here."""
    require(run, network=DATASETS, label_noise=0.0)
    require(run, dataset=DATASETS[run.network])


PROTOCOL = Protocol(splits, measures=measures)
