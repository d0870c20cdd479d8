"""A synthetic double descent: results whose truth is known, made to satisfy the claims or to violate one of them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tests.histories import history
from tests.programs import EXPERIMENTS
from tests.rows import defaults
from weightdecay.config import Config, load_config
from weightdecay.results import Results
from weightdecay.run import Run
from weightdecay.table import config_hash

WIDTHS = [2, 4, 8, 12, 16, 20, 25, 32, 40, 50, 63, 80, 100, 128, 160]
SAMPLES = (100, 200, 400)  # the main sweep has the second
LOWEST = 0.9  # test loss of a network that neither over- nor underfits
CONFIG: Config = load_config(EXPERIMENTS / "double_descent" / "config.yaml")


@dataclass(frozen=True)
class World:
    """The truth; with the defaults every claim is reproduced but D5, since D7 has decay gain most at the peak."""

    narrow: float = 0.35  # of test loss at the narrowest width, with and without decay
    bump: float = 2.0  # of test loss without decay, at the peak
    shift: float = 1.0  # width of the peak over the threshold
    moves: float = 1.0  # power of n that the peak goes as
    clean_bump: float = 0.0
    second: float = 0.25  # share by which the widest are worse without decay
    left: float = 0.3  # share of the bump that λ = 1 leaves
    left_most: float = 0.0  # and λ = 10
    harm: float = 0.6  # of λ = 1 to narrow networks
    overfit: float = 1.4  # validation and test loss at the end over its lowest, without decay
    wander: float = 0.3  # of the losses' waves in the second half, the share that decay leaves
    drift: float = 0.0  # logarithm by which losses with decay still rise after fitting
    forgets: float = 0.1  # training error with decay; none without
    drop: float = 0.0  # of test accuracy after the lowest loss, at the widest
    epoch_bump: float = 0.05  # of test error over time, at the widest
    features_at: float = 1.0  # number of features at the exact peak, over n
    ridge_left: float = 0.0  # share of the exact peak that the best ridge leaves
    rough_bump: float = 3.0  # of roughness and weight norm, where the exact peak is
    ridge_rough: float = 0.5  # roughness with the best ridge over that without, far from the peak
    convolutional_bump: float = 2.0
    diverged: bool = False  # seed 0 of the widest network without decay
    spread: float = 0.005  # standard deviation over runs, relative


def table(seeds: int, widths: Sequence[int], notebook: bool) -> list[Run]:
    """The runs of every sweep, on a grid of its own: the tests are not those of the config's grid."""
    few = {"width": list(widths), "steps": 200, "log_every": 10, "log_dense_every": 10, "log_dense_until": 0}
    blocks = {"width": [few | {"train_size": 200, "weight_decay": λ} for λ in (0.0, 1.0, 10.0)]}
    blocks["clean"] = [few | {"train_size": 200, "label_noise": 0.0}]
    blocks["samples"] = [few | {"train_size": n} for n in SAMPLES if n != 200]
    blocks["small_cnn"] = [few | {"network": "cnn", "blocks": 3, "train_size": 200}]
    if notebook:
        other = few | {"dataset": "mnist1d_notebook", "loss": "cross_entropy", "train_size": 200, "blocks": 2}
        blocks["notebook"] = [other, other | {"weight_decay": 10.0}, other | {"label_noise": 0.0}]
        blocks["cnn"] = [other | {"network": "cnn", "blocks": 3}]
    fixed = {"experiment": "double_descent", **defaults(CONFIG)}
    return [
        Run(**{**fixed, "sweep": sweep, **block, "width": width, "seed": seed})
        for sweep, sweeps in blocks.items()
        for block in sweeps
        for width in block["width"]
        for seed in range(seeds)
    ]


def synthetic(world: World = World(), seeds: int = 3, widths: Sequence[int] = WIDTHS, notebook: bool = True) -> Results:
    """Histories of the runs of `table` in the given world, and the table of exact random features."""
    runs, rows, logged = table(seeds, widths, notebook), [], []
    for run in runs:
        steps = np.arange(0, 201, 10)
        diverged = world.diverged and (run.seed, run.width, run.weight_decay) == (0, max(widths), 0.0)
        kept = steps < 50 if diverged else steps >= 0
        curves = _curves(run, world, steps, max(widths))
        logged += [(run.id, metric, steps[kept], values[kept]) for metric, values in curves.items()]
        rows.append(run.model_dump() | {"run": run.id, "diverged_at": 50.0 if diverged else np.nan})
    metadata = {"config_hash": config_hash(runs), "scale": "laptop", "device": "cpu", "wall_seconds": 100.0}
    exact = {"random_features": _random_features(world, seeds)}
    return Results(pd.DataFrame(rows), history(logged), metadata, exact)


def _curves(run: Run, world: World, steps: np.ndarray, widest: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng([run.seed, int(run.id[:8], 16)])
    loss = _final_loss(run, world) * np.exp(generator.normal(0, world.spread))
    error = 0.4 + 0.1 * np.log(loss / LOWEST) + generator.normal(0, world.spread / 5)
    threshold = run.train_size * 10 / 51
    train = 0.01 * (threshold / run.width) ** 3 * np.exp(generator.normal(0, world.spread))
    done = steps / steps[-1]
    lowest = loss / (world.overfit if run.weight_decay == 0 else 1.0)
    valley = np.interp(done, [0, 0.2, 0.5, 1], [3.0, lowest, loss, loss])
    waves = 0.02 * np.sin(10 * np.pi * done) * ((done >= 0.5) & (done < 0.8))
    valley = valley * np.exp(waves * (world.wander if run.weight_decay else 1.0))
    valley = valley * np.exp(world.drift * (np.clip(done, 0.3, 0.9) - 0.9) / 0.6 * (run.weight_decay > 0))
    over_time = error + world.epoch_bump * np.interp(done, [0, 0.2, 0.4, 0.8, 1], [2, 0, 1, 0, 0]) * (
        run.width == widest
    )
    over_time = over_time + world.drop * (done > 0.25) * (run.width == widest)
    fitted = np.where(done < 0.8, train + np.exp(-20 * done), train)
    ended = {"train_loss": fitted, "train_loss_batch": fitted, "validation_loss": valley, "test_loss": valley}
    right = np.where(done < 0.3, 0.5, 1.0 - world.forgets * (run.weight_decay > 0))  # fitted at .3 of the run
    accuracies = {"train_accuracy": right, "train_accuracy_batch": right}
    return ended | accuracies | {"validation_accuracy": 1 - over_time, "test_accuracy": 1 - over_time}


def _final_loss(run: Run, world: World) -> float:
    """Each region has a λ of its own that does best: 0 for narrow networks, 10 near the peak, 1 for wide ones."""
    at = 200 * 10 / 51 * (run.train_size / 200) ** world.moves * world.shift
    away = np.log(run.width / at)
    height = world.bump if run.label_noise else world.clean_bump
    height = world.convolutional_bump if run.network == "cnn" else height
    bump = height * np.exp(-(away**2) / (2 * 0.4**2))
    narrow, wide = away < -np.log(3), away > np.log(3)
    excess = {
        0.0: bump + world.second * wide * (run.label_noise > 0),
        1.0: world.left * bump + world.harm * narrow,
        10.0: world.left_most * bump + 2.5 * world.harm * narrow + 0.3 * wide,
    }[run.weight_decay]
    return LOWEST * (1 + excess + world.narrow * np.exp(-(run.width - 2) / 1.5))


def _random_features(world: World, seeds: int) -> pd.DataFrame:
    rows = []
    for seed in range(seeds):
        generator = np.random.default_rng(seed)
        for features in (10, 20, 30, 36, 40, 44, 60, 80, 160):
            for ridge, left in ((0.0, 1.0), (1.0, world.ridge_left)):
                bump = left * np.exp(-(np.log(features / (40 * world.features_at)) ** 2) / 0.1)
                loss = (1 + 3.0 * bump) * np.exp(generator.normal(0, 1e-3)) * (0.98 if ridge else 1.0)
                rough = (1 + world.rough_bump * bump) * (world.ridge_rough if ridge else 1.0)
                rough *= np.exp(generator.normal(0, 1e-3))
                row = {"seed": seed, "train_size": 40, "features": features, "ridge": ridge}
                row |= {"weight_norm": 5 * rough, "squared_gradient": rough**2}
                rows.append(row | {f"{split}_loss": loss for split in ("train", "validation", "test")})
    return pd.DataFrame(rows)
