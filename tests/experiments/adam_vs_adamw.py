"""Synthetic grids of η × λ: results whose basins and laws are known, made to satisfy the claims or to violate one."""

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd

from tests.programs import EXPERIMENTS
from tests.rows import defaults
from weightdecay.config import Config, load_config
from weightdecay.results import Results
from weightdecay.run import Run

CONFIG: Config = load_config(EXPERIMENTS / "adam_vs_adamw" / "config.yaml")
RATES = [0.02 * 2.0**k for k in range(-4, 5)]  # η, the middle one best
DECAYS = [0.5 * 2.0**k for k in range(-4, 5)]  # λ: ηλ = .01 in the middle
STEPS = 12  # √12 · .01 = .035, a λ_norm between .025 and .05
SETTINGS = [(50, 1000, 200), (20, 1000, 200), (125, 1000, 200), (50, 250, 200), (50, 4000, 200), (50, 1000, 50)]
SCHEDULES = ("constant", "cosine")
METHODS = [("adam", "decoupled"), ("adam", "l2"), ("sgd", "decoupled"), ("sgd", "l2")]


@dataclass(frozen=True)
class World:
    """The truth; with the defaults all is reproduced but O7, which a basin along an axis cannot satisfy as well."""

    residual: float = 2e-16
    slope: float = -0.9  # of log decay against log gradient, Adam + L2
    spread: float = 1.0  # AdamW: largest over smallest decay
    distance: float = 0.05  # between L2 and decoupled, momentum and a schedule
    shrinkage: float = 0.5  # of the norm under a schedule, over that without
    coupled_angle: float = -26.565  # of the basin's longer axis, against λ: as far from an axis against ηλ
    decoupled_angle: float = 90.0  # along an axis against either
    across: float = 1.8  # half-width of the basin where the error doubles
    along: float = 5.0  # and half its length
    gain: float = 0.8  # AdamW's lowest error over that of Adam + L2
    wide: float = 1.5  # how much longer AdamW's basin is, both ways
    product: float = 1.0  # best ηλ over .01
    powers: tuple[float, float, float] = (0.5, -0.5, -0.5)  # of the best λ in b, B, T
    norm: float = 0.035  # λ_norm
    narrower: float = 0.8  # spread of weights, with decay over without
    wider: float = 1.5
    classifier_gain: float = 0.8
    diverged: bool = False  # the largest η of AdamW
    noise: float = 0.002
    unrest: float = 0.3  # how much a seed shifts the error of AdamW's grids, over what it shifts the others'
    formula: float = 1.0  # what a step of torch.optim.Adam takes off, over αλw
    saturated: bool = False  # the addition task: no cell has an error, but losses differ as errors do elsewhere


def synthetic(world: World = World(), seeds: int = 3, addition: bool = False) -> Results:
    """Runs and histories of small grids on the data sets, of the law's settings, and the computed tables."""
    rows, history = [], []
    for run, row in (pair for seed in range(seeds) for pair in _runs(seed, addition)):
        diverged = world.diverged and run.decay == "decoupled" and run.learning_rate == RATES[-1]
        rows.append(row | {"diverged_at": 3.0 if diverged else np.nan})
        for metric, value in _errors(run, row["run"], world).items():
            history.append((row["run"], 0, metric, 0.5))
            if not diverged:
                history.append((row["run"], run.steps, metric, value))
    history = pd.DataFrame(history, columns=["run", "step", "metric", "value"])
    metadata = {"config_hash": "0" * 64, "scale": "laptop", "device": "cpu", "wall_seconds": 100.0}
    return Results(pd.DataFrame(rows), history, metadata, _computed(world, seeds))


@cache
def _runs(seed: int, addition: bool) -> list[tuple[Run, dict]]:
    """The runs of a seed, each with its row of runs.parquet: the same in every world."""
    fixed = {"experiment": "adam_vs_adamw", **defaults(CONFIG), "seed": seed}
    datasets = ["mnist1d", "digits", *(["addition"] if addition else [])]
    logging = {"log_every": STEPS, "log_dense_every": STEPS}
    runs = []
    for dataset, (optimizer, decay), schedule in itertools.product(datasets, METHODS, SCHEDULES):
        grid = fixed | logging | {"sweep": dataset, "dataset": dataset, "optimizer": optimizer, "schedule": schedule}
        grid |= {"steps": STEPS}
        for η, λ in itertools.product(RATES, DECAYS):
            runs.append(Run(**grid | {"decay": decay, "learning_rate": η, "weight_decay": λ}))
        if decay == "l2":
            runs += [Run(**grid | {"decay": "none", "learning_rate": η, "weight_decay": 0.0}) for η in RATES]
    for (b, B, T), λ in itertools.product(SETTINGS, [0.01 * 2.0**k for k in range(14)]):
        steps = B * T // b
        law = {"sweep": "law", "optimizer": "adam", "decay": "decoupled", "schedule": "cosine", "learning_rate": 0.01}
        law |= {"batch_size": b, "train_size": B, "steps": steps, "log_every": steps, "log_dense_every": steps}
        runs.append(Run(**fixed | law | {"weight_decay": λ}))
    return [(run, run.model_dump() | {"run": run.id}) for run in runs]


def _errors(run: Run, id: str, world: World) -> dict[str, float]:
    generator = np.random.default_rng([run.seed, int(id[:8], 16)])
    found = {}
    grids_of_adamw = (run.optimizer, run.decay) == ("adam", "decoupled")
    shift = 0.03 * np.sin(2.0 * run.seed + 1) * (world.unrest if grids_of_adamw else 1.0) * (run.sweep != "law")
    for split in ("validation", "test"):
        error = _law(run, world) if run.sweep == "law" else _basin(run, world)
        error = min(error * np.exp(generator.normal(shift, world.noise)), 0.99)
        right = 1.0 if world.saturated and run.sweep == "addition" else 1 - error
        found |= {f"{split}_accuracy": right, f"{split}_loss": error}
    return found


def _basin(run: Run, world: World) -> float:
    """An elliptic valley; without decay nothing but the rate matters."""
    x = np.log(run.learning_rate / RATES[4])
    if run.decay == "none":
        return 0.25 * (1 + 0.1 * x**2)
    y = np.log(run.weight_decay / (DECAYS[4] * world.product))
    decoupled = run.decay == "decoupled"
    angle = np.radians(world.decoupled_angle if decoupled else world.coupled_angle)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    adamw = decoupled and run.optimizer == "adam"
    size = world.wide if adamw else 1.0
    lowest = 0.2 * (world.gain if adamw else 1.0)
    return lowest * (1 + (along / (world.along * size)) ** 2 + (across / (world.across * size)) ** 2)


def _law(run: Run, world: World) -> float:
    b, B = run.batch_size, run.train_size
    T = run.steps * b / B
    at = world.norm / run.learning_rate / np.sqrt(4000)  # at b = 50, B = 1000, T = 200
    best = at * np.prod(np.array([b / 50, B / 1000, T / 200]) ** np.array(world.powers))
    return 0.2 * (1 + 0.2 * np.log(run.weight_decay / best) ** 2)


def _computed(world: World, seeds: int) -> dict[str, pd.DataFrame]:
    rows = {name: [] for name in ("identities", "schedules", "decay_rates", "classifier", "torch_optimizers")}
    for seed in range(seeds):
        off = 1 + 0.01 * seed
        for optimizer, rate in (("Adam", world.formula * (1 + 1e-3 * seed)), ("AdamW", 1.0), ("SGD", 1.0)):
            about = {"seed": seed, "optimizer": optimizer, "learning_rate": 0.01}
            rows["torch_optimizers"].append(about | {"rate": rate})
        for convention in ("S0", "S2", "S2 second", "S3"):
            residuals = {"update": world.residual * off, "run": 2 * world.residual * off}
            rows["identities"].append({"seed": seed, "convention": convention, **residuals})
        for schedule, momentum in itertools.product(("constant", "step", "cosine"), (0.0, 0.9)):
            about = {"seed": seed, "schedule": schedule, "momentum": momentum}
            distance = world.distance * off if momentum else 1e-15
            shrinkage = 0.1 * off if schedule == "constant" else 0.1 * world.shrinkage
            rows["schedules"].append(about | {"distance": distance, "shrinkage": shrinkage})
        for number in range(20):
            gradient = 1e-3 * 1.3**number
            for decay, slope, spread in (("l2", world.slope * off, 1.1), ("decoupled", 0.0, world.spread)):
                rate = (gradient / 1e-3) ** slope
                about = {"seed": seed, "decay": decay, "bin": number, "slope": slope, "counted": 0.99}
                means = {
                    "gradient": gradient,
                    "rate": rate,
                    "low": rate / np.sqrt(spread),
                    "high": rate * np.sqrt(spread),
                }
                rows["decay_rates"].append(about | means)
        for network, stage in itertools.product(("adam_l2", "adamw", "adam", "sgd_l2", "sgd"), ("before", "after")):
            undecayed = 0.02 * (world.wider if stage == "after" else 1.0)
            decayed = stage == "after" and network in ("adam_l2", "adamw", "sgd_l2")
            spread = undecayed * (world.narrower if decayed else 1.0) * off
            error = 0.05 * (world.classifier_gain if network == "adamw" else 1.0) + 1e-4 * seed
            about = {"seed": seed, "network": network, "stage": stage, "spread": spread, "test_error": error}
            for left in (-0.3, -0.1, 0.1):
                rows["classifier"].append(about | {"left": left, "right": left + 0.2, "share": 1 / 3})
    return {name: pd.DataFrame(table) for name, table in rows.items()}
