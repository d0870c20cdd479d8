"""Synthetic BatchNorm with decay: results whose truth is known, made to satisfy the claims or to violate some."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from tests.programs import EXPERIMENTS
from tests.rows import defaults
from weightdecay.config import Config, load_config
from weightdecay.results import Results
from weightdecay.run import Run
from weightdecay.table import config_hash

CONFIG: Config = load_config(EXPERIMENTS / "batchnorm_periodicity" / "config.yaml")
RATES, DECAYS = (0.1, 0.4), (0.001, 0.004)
ADDITION = CONFIG.scales.smoke.sweeps["addition"][0]


@dataclass(frozen=True)
class World:
    """The truth; with the defaults every claim is reproduced but B6, as no world has both it and B8."""

    collapses: int = 3  # of the addition network at eps 1e-5 and below
    length: int = 40_000  # of its runs
    falls: float = 0.2  # test accuracy in a collapse, as a share of that before
    base: float = 0.88  # test accuracy before the first collapse
    cured: bool = True  # by eps 1e-2
    without_decay: int = 0  # the seeds, from 0 on, that collapse without decay too
    converged: float = 2000.0  # step at which the addition network's training accuracy passes .97
    without_norm: bool = False  # an MLP on digits collapses without BatchNorm
    period: float = 0.5  # in τ
    power: float = -1.0  # of ηλ, that the period goes as
    fall: float = 1.0  # slope of log ρ between jumps, in −ηλ
    common: str = "rate"  # what has a value of its own at a jump: the effective "rate", or the "divisor"
    held: bool = False  # periods with the norm held
    gain: float = 0.04  # in test accuracy, at each collapse
    thrown: float = 1.3  # factor of ρ at a collapse of the addition network
    faster: float = 3.0  # steps to fit without BatchNorm over with it
    faster_undecayed: float = 1.5  # the same without decay
    diverged: bool = False  # seed 0 of two settings of the grid


def table(seeds: int, everything: bool, length: int) -> list[Run]:
    """Runs of every sweep, on grids of their own; those of the addition network have this length."""
    τ = {(η, λ): round(1 / (η * λ)) for η in RATES for λ in DECAYS}
    grid = [
        {"learning_rate": η, "weight_decay": λ, "steps": 6 * steps, "log_dense_every": max(1, steps // 100)}
        for (η, λ), steps in τ.items()
    ]
    one = {"learning_rate": 0.4, "weight_decay": 0.001, "steps": 15000, "log_dense_every": 25}
    addition = ADDITION | {"steps": length, "log_dense_every": 100}
    sweeps = {
        "addition": [addition | {"batch_norm_eps": eps} for eps in (1e-7, 1e-5, 1e-3, 1e-2)],
        "addition_no_decay": [addition | {"batch_norm_eps": 1e-5, "weight_decay": 0.0, "decay": "none"}],
        "addition_no_norm": [addition | {"batch_norm_eps": None}],
        "grid": grid,
    }
    if everything:
        sweeps |= {
            "addition_stronger": [addition | {"batch_norm_eps": 1e-5, "weight_decay": 0.2}],
            "addition_neither": [addition | {"batch_norm_eps": None, "weight_decay": 0.0, "decay": "none"}],
            "addition_rates": [addition | {"batch_norm_eps": 1e-5, "learning_rate": 2e-3}],
            "mnist1d": [block | {"dataset": "mnist1d"} for block in grid],
            "eps": [one | {"batch_norm_eps": eps} for eps in (1e-7, 1e-1)],
            "momentum": [one | {"learning_rate": 0.04, "momentum": 0.9}],
            "held": [one | {"hold_norm": "start"}],
            "held_above": [one | {"hold_norm": "start", "learning_rate": 3.2}],
            "no_decay": [one | {"weight_decay": 0.0, "decay": "none"}],
            "no_norm": [one | {"network": "mlp", "batch_norm_eps": None}],
        }
    fixed = {"experiment": "batchnorm_periodicity", **defaults(CONFIG)}
    return [
        Run(**{**fixed, "sweep": sweep, **block, "seed": seed})
        for sweep, blocks in sweeps.items()
        for block in blocks
        for seed in range(seeds)
    ]


def synthetic(world: World = World(), seeds: int = 3, everything: bool = True) -> Results:
    """Histories of the runs of `table` in the given world."""
    runs, rows, frames = table(seeds, everything, world.length), [], []
    for run in runs:
        steps = np.arange(0, run.steps + 1, run.log_dense_every, dtype=float)
        made = _addition if run.network == "residual_mlp" else _digits
        curves = pd.DataFrame(made(run, world, steps), index=pd.Index(steps, name="step"))
        lost = world.diverged and (run.sweep, run.seed, run.steps) == ("grid", 0, 15000)
        frames.append((curves[:6] if lost else curves).assign(run=run.id))
        rows.append(run.model_dump() | {"run": run.id, "diverged_at": 150.0 if lost else np.nan})
    metadata = {"config_hash": config_hash(runs), "scale": "laptop", "device": "cpu", "wall_seconds": 100.0}
    history = pd.concat(frames).reset_index().melt(["run", "step"], var_name="metric").dropna(subset="value")
    return Results(pd.DataFrame(rows).astype({"batch_norm_eps": float}), history, metadata)


def _digits(run: Run, world: World, steps: np.ndarray) -> dict[str, np.ndarray]:
    """A sawtooth of ρ whose lower ends are where the world has its jumps."""
    generator = np.random.default_rng([run.seed, int(run.id[:8], 16)])
    η = run.learning_rate / (1 - run.momentum)
    τ = 1 / (η * (run.weight_decay or 0.001))
    accuracy = np.ones(len(steps))
    noise = np.exp(generator.normal(0, 0.01, (3, len(steps))))
    jumps = run.decay != "none" and run.hold_norm == "never" and run.network != "mlp" and run.batch_norm_eps < 0.1
    lowest = np.sqrt(η / 0.02) if world.common == "rate" else 1.0
    log_rho = np.full(len(steps), np.log(3 * lowest))
    loss = 1e-3 * noise[0]
    falls = world.held if run.hold_norm == "start" else world.without_norm and run.network == "mlp"
    starts = np.arange(2, 6) * τ if falls else np.empty(0)
    if jumps:
        spacing = world.period * τ * (τ / 2500) ** (-1 - world.power)
        starts = np.cumsum(spacing * generator.uniform(0.95, 1.05, 40)) + 0.15 * τ
        next_start = np.append(starts, np.inf)[np.searchsorted(starts, steps)]
        log_rho = np.log(lowest) + world.fall * (np.minimum(next_start, run.steps) - steps) / τ
    for start in starts:
        after = (steps > start) & (steps <= start + 0.03 * τ)
        loss[after] *= 100
        accuracy[after] = 0.9
    rho = np.exp(log_rho) * np.exp(generator.normal(0, 1e-4, len(steps)))
    curves = {"train_loss_batch": loss, "train_accuracy_batch": accuracy, "test_accuracy": accuracy}
    if run.network == "mlp":
        return curves
    variances = {f"smallest_variance_{k}": 1e-3 * k * rho**2 * noise[k] for k in (1, 2)}
    return curves | variances | {"rho": rho, "gradient_norm": 1e-2 * noise[0] / rho}


def _addition(run: Run, world: World, steps: np.ndarray) -> dict[str, np.ndarray]:
    """Accuracies that collapse at even distances: one that is high, and stairs of test accuracy."""
    generator = np.random.default_rng([run.seed, int(run.id[:8], 16)])
    fitted, slower = (1500, world.faster_undecayed) if run.decay == "none" else (2000, world.faster)
    fitted *= slower if run.batch_norm_eps is None else 1.0
    accuracy = np.clip(steps / fitted, 0, 1)
    accuracy[steps < world.converged] = np.minimum(accuracy, 0.97)[steps < world.converged]
    prone = run.batch_norm_eps is not None and run.batch_norm_eps < (1e-4 if world.cured else 1.0)
    prone &= run.decay != "none" or run.seed < world.without_decay
    prone &= run.weight_decay < 0.2  # of another protocol, which must not be mixed in
    starts = np.linspace(4000, 19000, world.collapses + 2)[1:-1] if prone else np.empty(0)
    starts = starts + generator.uniform(-200, 200, len(starts))
    test = world.base + world.gain * np.searchsorted(starts, steps) + generator.normal(0, 1e-3, len(steps))
    test *= np.clip(steps / 2000, 0, 1)
    for start in starts:
        fallen = (steps > start) & (steps <= start + 500)
        accuracy[fallen] = 0.3
        test[fallen] *= world.falls
    rho = 20 * np.exp(-steps / 20000) if run.decay != "none" else np.full(len(steps), 20.0)
    rho = rho * world.thrown ** np.searchsorted(starts, steps)
    curves = {"train_loss_batch": 1e-2 * (2 - accuracy), "train_accuracy_batch": accuracy, "test_accuracy": test}
    if run.batch_norm_eps is None:
        return curves
    variances = {f"smallest_variance_{k}": 1e-5 * k * rho**2 for k in (1, 2)}
    return curves | variances | {"rho": rho, "gradient_norm": 1e-2 / rho}
