"""Synthetic tuning: losses that are parabolas in log λ, so that the best λ of every setting is known exactly."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tests.programs import EXPERIMENTS
from tests.rows import defaults
from weightdecay.config import Config, load_config
from weightdecay.results import Results
from weightdecay.run import Run
from weightdecay.table import config_hash

CONFIG: Config = load_config(EXPERIMENTS / "tuning_rules" / "config.yaml")
SIZES = (250, 500, 1000, 2000, 4000)
DECAYS = ("decoupled", "l2")
SEARCHED = (1e-5, 1e-4, 1e-3, 1e-2)  # S0's
LAMBDAS = (*SEARCHED, 0.1, 1.0, 10.0)
STEPS = np.array([0, 600, 900, 1000])


@dataclass(frozen=True)
class World:
    """The truth; with the defaults every claim is reproduced but T11, which T10 excludes, and T17, which T7 does."""

    best: float = 0.003  # λ at n = 1,000
    power: float = -1.0  # of n that it goes as
    dropout: float = 0.4  # best λ with dropout over that without
    cosine: float = 2.0  # and under a cosine schedule over that under a constant rate
    spared: float = 1.0  # loss with biases and normalisation left out of decay, over that with all decayed
    spared_error: float = 0.0  # and what it adds to the error
    none: float = 1.4  # loss without decay, over that at the best λ
    stopping: float = 1.2  # the same at step 600, before it rises
    dropped: float = 1.25  # loss with dropout alone
    together: float = 0.9  # loss at the best λ with dropout, over that without
    hump: float = 1.0  # what multiplies the loss at λ = .01, between small λ and a best one that is large
    learns: float = 0.0  # by how much the error without decay falls each time n doubles
    norms: float = 0.0  # power of n that the norm at the best λ goes as
    free: float = 2.0  # norm without decay, over that at the best λ and n = 1,000
    underfit: float = 0.02  # training error, times the square of log λ over the best
    misled: float = 1.0  # what the folds take for the best λ, over the best
    diverged: tuple[float, ...] = ()  # λ at which seed 0 diverges at n = 1,000
    spread: float = 1e-3  # standard deviation over runs, relative


def table(seeds: int, sizes: Sequence[int] = SIZES, rates: Sequence[float] = (0.2, 0.5)) -> list[Run]:
    """The runs of every sweep on a grid of its own: the tests are not those of the config's grid."""

    def decayed(lambdas: Sequence[float], kinds: Sequence[str] = DECAYS) -> Iterator[dict]:
        yield {"decay": "none", "weight_decay": 0.0}
        yield from ({"decay": kind, "weight_decay": λ} for kind, λ in itertools.product(kinds, lambdas))

    batch_norm = {"network": "residual_mlp", "batch_norm_eps": 1e-5, "blocks": 1}
    spared = {"decay_exclude": "bias_and_norm"}
    blocks = [
        *({"train_size": n} | own for n in sizes for own in decayed(LAMBDAS)),
        *({"dropout": rate} | own for rate in rates for own in decayed(LAMBDAS, ["decoupled"])),
        *({"schedule": "cosine"} | own for own in decayed(LAMBDAS)),
        *(base | own for base in ({}, batch_norm) for own in decayed(LAMBDAS, ["decoupled"])),
        *(base | spared | own for base in ({}, batch_norm) for own in decayed(LAMBDAS, ["decoupled"])),
        *({"dataset": f"mnist1d_fold{k}of2"} | own for k in (1, 2) for own in decayed(SEARCHED)),
    ]
    fixed = {"experiment": "tuning_rules", "sweep": "size", **defaults(CONFIG), "steps": int(STEPS[-1])}
    runs = {run.id: run for seed in range(seeds) for run in (Run(**{**fixed, **own, "seed": seed}) for own in blocks)}
    return list(runs.values())


def synthetic(world: World = World(), seeds: int = 3, **options: Sequence) -> Results:
    """Histories of the runs of `table` in the given world."""
    runs, rows, histories = table(seeds, **options), [], []
    for run in runs:
        diverged = (run.seed, run.train_size) == (0, 1000) and run.weight_decay in world.diverged
        rows.append(run.model_dump() | {"run": run.id, "diverged_at": 700.0 if diverged else np.nan})
        for metric, final in finals(run, world).items():
            values = np.where(STEPS >= 900, final, 2.0)
            values[STEPS == 600] = stopped(run, world).get(metric, 2.0)
            kept = STEPS < 700 if diverged else STEPS >= 0
            histories.append({"run": run.id, "step": STEPS[kept], "metric": metric, "value": values[kept]})
    history = pd.DataFrame(histories).explode(["step", "value"], ignore_index=True)
    history = history.astype({"step": "int64", "value": "float64"})
    metadata = {"config_hash": config_hash(runs), "scale": "laptop", "device": "cpu", "wall_seconds": 100.0}
    return Results(pd.DataFrame(rows), history, metadata)


def best(run: Run, world: World) -> float:
    """The best λ of a run's setting."""
    found = world.best * (run.train_size / 1000) ** world.power
    found *= world.dropout if run.dropout else 1.0
    found *= world.cosine if run.schedule == "cosine" else 1.0
    return found * (world.misled if "_fold" in run.dataset else 1.0)


def finals(run: Run, world: World) -> dict[str, float]:
    noise = np.random.default_rng([run.seed, int(run.id[:8], 16)]).normal(0, world.spread, 3)
    away = 0.0 if run.weight_decay == 0 else np.log(run.weight_decay / best(run, world))
    spared = run.decay_exclude != "nothing" and run.weight_decay > 0
    loss = (world.dropped if run.dropout else world.none) if run.weight_decay == 0 else 1 + 0.02 * away**2
    loss *= world.spared if spared else 1.0
    loss *= world.together if run.dropout and run.weight_decay else 1.0
    loss *= world.hump if run.weight_decay == 0.01 else 1.0
    train = min(0.95, world.underfit * away**2) if away > 0 else 0.0
    error = 0.4 + 0.04 * (loss - 1) + 0.5 * train * (away > 2) + world.spared_error * spared
    error -= world.learns * np.log2(run.train_size / 1000) * (run.weight_decay == 0)
    norm = world.free if run.weight_decay == 0 else (run.train_size / 1000) ** world.norms * np.exp(-0.1 * away)
    losses = {"train_loss": 0.1, "validation_loss": loss * np.exp(noise[0]), "test_loss": loss * np.exp(noise[1])}
    test = 1 - error - noise[2]
    accuracies = {"train_accuracy": 1 - train, "validation_accuracy": 1 - error, "test_accuracy": test}
    return losses | accuracies | {"weight_norm": 10 * norm}


def stopped(run: Run, world: World) -> dict[str, float]:
    """What is logged at step 600 without decay and dropout."""
    if run.weight_decay or run.dropout:
        return {}
    losses = dict.fromkeys(("validation_loss", "test_loss"), world.stopping)
    return losses | {"test_accuracy": 0.6 - 0.04 * (world.stopping - 1)}
