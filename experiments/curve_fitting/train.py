"""How a row of the table is trained."""

import numpy as np
import torch
from torch import Tensor

from weightdecay.datasets import Split, Splits
from weightdecay.ensemble.stack import Stack
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.run import Run, require

from .demo import GRADIENT_EDGES, GRID, STREAM, WEIGHT_EDGES, line

LINES = ("line", "line_outlier")
FEATURES = 10  # in S2's example
SPREAD_EVERY = 20  # steps: C4 needs the gradient's norm at every step, but the rest would cost more than the step


def splits(run: Run) -> Splits:
    """Return S3's points, or S2's inputs and targets, which are independent standard normal numbers."""
    check(run)
    if run.dataset in LINES:
        x, train, test = line(run.seed, run.train_size, outlier=run.dataset == "line_outlier")
        columns = [torch.tensor(values, dtype=torch.float32)[:, None] for values in (x, train, test)]
        return {"train": Split(columns[0], columns[1]), "test": Split(columns[0], columns[2])}
    generator = np.random.default_rng([run.seed, STREAM])

    def noise() -> Split:
        draws = generator.normal(size=(run.train_size, FEATURES + 1)).astype(np.float32)
        return Split(torch.tensor(draws[:, :FEATURES]), torch.tensor(draws[:, FEATURES:]))

    return {"train": noise(), "test": noise()}


def measures(ensemble: Ensemble) -> dict[str, Tensor]:
    """Measure the gradient's norm at every step, layer 2's spread every SPREAD_EVERY steps, and more at full logging.

    All measures are `[R]`. At steps that are logged in full there are also `fit_00`, ..., the network's outputs on
    GRID, and the counts `layer2_weight_bin_00`, ... and `layer2_gradient_bin_00`, ... between the edges in demo.py,
    with an extra bin at either end.
    """
    stack, layer = ensemble.stack, ensemble.stack.leaves[1]
    full = ensemble.log_steps[ensemble.step]
    found = {"gradient_norm": stack.gradients.norm(dim=1)} if ensemble.step else {}
    if not full and ensemble.step % SPREAD_EVERY:
        return found
    assert layer.weight_gradient is not None
    weights, gradients = layer.weight.flatten(1), layer.weight_gradient.flatten(1)
    found |= {"layer2_weight_std": weights.std(1), "layer2_weight_largest": weights.abs().amax(1)}
    if full and ensemble.run.dataset in LINES:
        grid = torch.tensor(GRID, dtype=weights.dtype, device=weights.device)
        found |= named("fit", torch.stack([curve(stack, replica, grid) for replica in range(len(weights))]))
        found |= named("layer2_weight_bin", counts(weights.contiguous(), WEIGHT_EDGES))
        if ensemble.step:
            found |= named("layer2_gradient_bin", counts(gradients.abs().log10(), GRADIENT_EDGES))
    return found


def curve(stack: Stack, replica: int, grid: Tensor) -> Tensor:
    """Return one network's outputs on `grid` `[N]`. A product over all replicas would round by their number."""
    x = grid[:, None]
    for index, layer in enumerate(stack.leaves):
        assert layer.bias is not None
        x = torch.addmm(layer.bias[replica], x.relu_() if index else x, layer.weight[replica].T)
    return x[:, 0]


def counts(values: Tensor, edges: np.ndarray) -> Tensor:
    """Count how many of `values` `[R, N]` lie below, between and above E edges, `[R, E + 1]`."""
    bins = torch.bucketize(values, torch.tensor(edges, dtype=values.dtype, device=values.device))
    return values.new_zeros(len(values), len(edges) + 1).scatter_add_(1, bins, torch.ones_like(values))


def named(name: str, columns: Tensor) -> dict[str, Tensor]:
    """Return columns `[R, N]` as metrics `<name>_00`, `<name>_01`, ..."""
    return {f"{name}_{number:02}": column for number, column in enumerate(columns.T)}


def check(run: Run) -> None:
    """Raise ConfigError for a row with settings that this finding does not train."""
    require(run, dataset=(*LINES, "noise"), network="mlp", label_noise=0.0)


PROTOCOL = Protocol(splits, measures=measures)
