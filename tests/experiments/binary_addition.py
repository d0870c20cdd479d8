"""A synthetic binary addition: results whose truth is known, made to satisfy A1-A12 or to violate one of them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from tests.histories import history
from tests.programs import EXPERIMENTS
from tests.rows import defaults
from weightdecay.config import Config, load_config
from weightdecay.results import Results
from weightdecay.run import Run
from weightdecay.table import config_hash

FOLDER = EXPERIMENTS / "binary_addition"
LAMBDAS = [0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 0.45, 0.6, 1.0]


@dataclass(frozen=True)
class World:
    """The truth of a synthetic experiment; the defaults satisfy every claim."""

    small_fits: float = 1.0  # train accuracy at λ <= .003
    small_test: float = 0.01
    plateau: float = 0.98  # final test accuracy at λ = .1
    large: float = 0.02  # train and test accuracy at λ = 1
    exponents: tuple[float, float] = (-1.0, -1.0)  # of the delay, in η and λ
    delay: float = 5000.0  # steps at η = 1e-3, λ = .1
    norm_floor: float = 0.4  # where decay takes the norm, as a share
    growth: float = 1.1  # of the norm without decay
    held_test: float = 0.02  # final test accuracy with the norm held
    clean_dip: float = 0.0
    noisy_dip: float = 0.2
    spread: float = 0.005  # standard deviation over seeds
    relapse: float = 1.0  # train accuracy for a while after fitting, as a share
    diverged: tuple[float, ...] = ()  # values of λ at which seed 0 diverges at step 1000


def table(
    config: Config, seeds: int = 3, lambdas: list[float] | None = None, steps: dict[float, int] | None = None
) -> list[Run]:
    """The runs of every sweep of the experiment, on a grid of its own: the tests are not those of the config's grid.

    `steps`: lengths of the runs at some λ of the λ sweep.
    """
    grid = lambdas or LAMBDAS
    sweeps = {
        "weight_decay": [{"weight_decay": λ, "steps": (steps or {}).get(λ, 30030)} for λ in grid],
        "constant_norm": [{"hold_norm": "saturation"}],
        "delay": [
            {"weight_decay": 0.2},  # a λ that is not in the λ sweep, at its learning rate
            *({"learning_rate": η, "weight_decay": λ} for η in (5e-4, 2e-3) for λ in (0.03, 0.1, 0.3)),
        ],
        "label_noise": [{"label_noise": 0.05, "weight_decay": λ} for λ in grid],
        "bits": [{"dataset": "binary_addition_bits", "weight_decay": λ} for λ in (0.0, 0.1)],
    }
    fixed = {"experiment": config.experiment, **defaults(config), "steps": 30030}
    return [
        Run(**{**fixed, "sweep": sweep, **block, "seed": seed})
        for sweep, blocks in sweeps.items()
        for block in blocks
        for seed in range(seeds)
    ]


def synthetic(runs: list[Run], world: World = World()) -> Results:
    """Histories of the given runs in the given world, logged as the trainer logs."""
    rows, logged = [], []
    for run in runs:
        noise = np.random.default_rng([run.seed, int(run.id[:8], 16)])
        steps = np.unique(np.append(np.arange(0, run.steps + 1, run.log_dense_every), run.steps)).astype(float)
        diverged = 1000.0 if run.seed == 0 and run.weight_decay in world.diverged and run.label_noise == 0 else np.nan
        curves = _curves(run, world, steps, noise)
        curves["train_accuracy"] = curves["train_accuracy_batch"][steps % run.log_every == 0]
        final = {}
        for metric, values in curves.items():
            at = steps[steps % run.log_every == 0] if metric == "train_accuracy" else steps
            keep = np.ones(len(at), bool) if np.isnan(diverged) else at < diverged
            logged.append((run.id, metric, at[keep].astype(int), values[keep]))
            final[metric] = values[keep][-1]
        rows.append(run.model_dump() | final | {"run": run.id, "diverged_at": diverged})
    metadata = {"config_hash": config_hash(runs), "scale": "laptop", "device": "cpu", "wall_seconds": 100.0}
    return Results(pd.DataFrame(rows), history(logged), metadata)


def _curves(run: Run, world: World, steps: np.ndarray, noise: np.random.Generator) -> dict[str, np.ndarray]:
    λ, η = run.weight_decay, run.learning_rate
    jitter = np.exp(noise.normal(0, 10 * world.spread, 2))
    train = np.interp(λ, [0.003, 0.01, 0.3, 0.45, 0.6, 1.0], [world.small_fits, 1.0, 1.0, 0.8, 0.4, world.large])
    test = np.interp(
        λ, [0.003, 0.01, 0.1, 0.3, 0.45, 0.6, 1.0], [world.small_test, 0.9, world.plateau, 0.98, 0.75, 0.3, world.large]
    )
    # The dip is cut into the curve where interpolation ends, so that larger λ are better again.
    depth = world.noisy_dip if run.label_noise else world.clean_dip
    validation = np.interp(
        λ, [0, 0.1, 0.3, 0.45, 0.6, 1.0], [0.9, 0.9, 0.9 - depth, 0.85 - depth / 2, 0.85, world.large]
    )
    test = test - depth * (λ == 0.3) - (λ == 0.45) * depth / 2 + depth * (λ == 0.6)
    if run.hold_norm != "never":
        test = world.held_test
    fit = 2000 * jitter[0] * (1e-3 / η)
    a, b = world.exponents
    delay = np.inf if λ == 0 or run.hold_norm != "never" else world.delay * jitter[1] * (η / 1e-3) ** a * (λ / 0.1) ** b
    level = noise.normal(0, world.spread, 3)

    def rise(end: float, at: float, offset: float) -> np.ndarray:
        if not np.isfinite(at):
            return np.full(len(steps), np.clip(end if run.hold_norm != "never" else world.small_test, 0, 1))
        value = end if end >= 1 else np.clip(end + offset, 0, 1)  # a fitted training set is fitted exactly
        return value * np.clip((np.log((steps + 1) / at)) / 0.2 + 0.5, 0, 1)

    test_curve = rise(test, fit + delay, level[0]) if λ == 0 or λ > 0.003 else np.full(len(steps), world.small_test)
    decayed = world.norm_floor + (1 - world.norm_floor) * np.exp(-np.maximum(steps - fit, 0) * η * λ)
    grown = 1 + (world.growth - 1) * steps / steps[-1]
    share = np.ones(len(steps)) if run.hold_norm != "never" else grown if λ == 0 else decayed
    train_curve, validation_curve = rise(train, fit, level[1]), rise(validation, fit, level[2])
    train_curve = np.where((steps > 2 * fit) & (steps < 3 * fit), world.relapse, 1) * train_curve
    curves = {"train_accuracy_batch": train_curve, "test_accuracy": test_curve, "validation_accuracy": validation_curve}
    losses = {name.replace("accuracy", "loss"): 0.25 * (1.001 - curve) for name, curve in curves.items()}
    return curves | losses | {"weight_norm_sum": 117 * share, "weight_norm": 20 * share}


@pytest.fixture(scope="session")
def config() -> Config:
    return load_config(FOLDER / "config.yaml")


@pytest.fixture(scope="session")
def results_of(config):
    """`results_of(seeds, lambdas, steps, **world)`: synthetic results in a world that differs so from the default."""
    return lambda seeds=3, lambdas=None, steps=None, **world: synthetic(
        table(config, seeds, lambdas, steps), World(**world)
    )


@pytest.fixture(scope="session")
def world() -> type[World]:
    return World
