"""How a row of the table is trained."""

import numpy as np
import torch
from torch import Tensor

from weightdecay.datasets import Split, Splits
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.run import Run, require

INPUTS, RELEVANT, UNITS = 20, 3, 4  # inputs; the first inputs, which are relevant; hidden units of the teacher
NOISE = 0.5  # standard deviation; that of the target without noise is 1
SIZES = {"validation": 500, "test": 2000}
SMALL = 1e-3


def splits(run: Run) -> Splits:
    """Draw x ~ N(0, 1) and y = Σ a relu(w · x + b) over the units of the seed's teacher, standardised, plus noise."""
    check(run)
    generator = np.random.default_rng([run.seed, 6])
    weights, biases = generator.normal(size=(RELEVANT, UNITS)), generator.normal(0, 0.5, UNITS)
    outputs = generator.choice([-1.0, 1.0], UNITS)

    def teacher(x: np.ndarray) -> np.ndarray:
        return np.maximum(x[:, :RELEVANT] @ weights + biases, 0) @ outputs

    many = teacher(generator.normal(size=(10_000, INPUTS)))
    found = {}
    for name, size in {"train": run.train_size, **SIZES}.items():
        x = generator.normal(size=(size, INPUTS))
        y = (teacher(x) - many.mean()) / many.std() + generator.normal(0, NOISE, size)
        found[name] = Split(*(torch.tensor(part, dtype=torch.float32) for part in (x, y[:, None])))
    return found


def measures(ensemble: Ensemble) -> dict[str, Tensor]:
    """Measure shares `[R]` of what is exactly 0 (`zero_`) or smaller than 1e-3 (`small_`).

    A hidden unit (`units`) counts if all of its incoming or all of its outgoing weights are so. An irrelevant input
    (`inputs`) counts if all of its weights are so. `weights` are those of the first layer.
    """
    first, last = (layer.weight.abs() for layer in ensemble.stack.leaves)  # [R, H, I], [R, 1, H]
    found = {}
    for name, limit in {"zero": 0.0, "small": SMALL}.items():
        units = (first <= limit).all(2) | (last <= limit).all(1)
        found[f"{name}_units"] = units.to(first).mean(1)
        found[f"{name}_inputs"] = (first[:, :, RELEVANT:] <= limit).all(1).to(first).mean(1)
        found[f"{name}_weights"] = (first <= limit).to(first).mean((1, 2))
    return found


def check(run: Run) -> None:
    """Raise ConfigError for a row with settings that this finding does not train."""
    require(run, dataset="teacher", network="mlp", blocks=1, label_noise=0.0)


PROTOCOL = Protocol(splits, measures=measures)
