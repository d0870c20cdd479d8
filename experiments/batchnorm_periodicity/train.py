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
TEST_SIZE = {"digits": 300, "mnist1d": 500}  # few, as they are evaluated at many logged steps
VALIDATION_SIZE = 200  # not used, as nothing is tuned here


def splits(run: Run) -> Splits:
    """Return training and test examples with clean labels; no setting is chosen, so there is no validation split."""
    check(run)
    return data(run.dataset, run.seed, run.train_size)


@lru_cache(maxsize=64)  # all runs of a seed share one object, which the trainer holds once
def data(dataset: str, seed: int, train_size: int) -> Splits:
    if dataset == "binary_addition":
        splits = binary_addition(seed, train_size, 0.0)
    elif dataset == "digits":
        splits = digits(seed, train_size, VALIDATION_SIZE, TEST_SIZE["digits"])
    else:
        splits = mnist1d(seed, train_size, VALIDATION_SIZE, TEST_SIZE["mnist1d"], 0.0, "incorrect")
    return {name: split for name, split in splits.items() if name != "validation"}


def measures(ensemble: Ensemble) -> dict[str, Tensor]:
    """Measure the weights before BatchNorm, and the BatchNorm layers.

    `rho` is the norm of the weights that a BatchNorm follows, and `gradient_norm` the norm of their gradient on the
    last batch. For every BatchNorm k there are `smallest_variance_k` and `median_variance_k`, over its features and on
    the last batch, and `scale_k`, the root mean square of γ if γ is trained.
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
    """Return the L2 norm `[R]` over all entries of tensors `[R, ...]`."""
    return torch.stack([torch.linalg.vector_norm(tensor.flatten(1), dim=1) for tensor in tensors]).norm(dim=0)


def check(run: Run) -> None:
    """Raise ConfigError for a row with settings that this finding does not train."""
    require(run, network=DATASETS, label_noise=0.0)
    require(run, dataset=DATASETS[run.network])


PROTOCOL = Protocol(splits, measures=measures)
