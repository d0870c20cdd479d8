"""A synthetic curve fitting: results whose truth is known, made to satisfy the claims or to violate one of them."""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd

from tests.programs import EXPERIMENTS
from tests.rows import defaults
from weightdecay.config import Config, load_config
from weightdecay.results import Results
from weightdecay.run import Run
from weightdecay.table import config_hash

CONFIG: Config = load_config(EXPERIMENTS / "curve_fitting" / "config.yaml")
POINTS, WEIGHT_BINS, GRADIENT_BINS = np.linspace(-1, 1, 41), 42, 46  # of the measured curve and histograms
RATES = (0.05, 0.2, 0.8)
OUTLIER_RATES = (0.05, 0.1, 0.2, 0.4, 0.8)
LOSSES = ("squared_error", "absolute_error", "smooth_l1")
STEPS = np.array([0, 1000, 2000])
SPREAD = 0.005  # standard deviation over runs, relative


@dataclass(frozen=True)
class World:
    """The truth; with the defaults every claim is reproduced but C13, which is where C2 is not: `stays` = 1.2, say."""

    rough: float = 0.5  # with decay over without
    test: float = 0.8
    contracts: float = 0.3  # standard deviation of layer 2, end over start, with decay
    stays: float = 1.0  # and without
    moved: float = 0.01
    small_norm: float = 0.9  # with decay over without, S2's program
    demo_norm: float = 0.3
    largest: float = 0.5  # gradient, with decay over without
    steadier: bool = True  # with decay the next larger learning rate is the first that diverges
    falls: float = 5.0  # test error over the best: degree 0, highest, and highest with a ridge
    rises: float = 100.0
    ridged: float = 1.1
    fits: float = 0.01
    residual: float = 1e-15
    solver: float = 1e-7
    multiplier: float = 1e-6
    distances: tuple[float, float, float] = (0.12, 0.2, 1.5)  # with outliers: L1, smooth L1, L2; without: .1
    network: tuple[float, float, float] = (0.5, 0.7, 1.0)
    several: tuple[float, ...] = (1.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0)  # L1: constant, even and odd, line; L2
    power: float = -1.0
    vanishes: float = 1e-5  # norm of the network at λ = 100, end over start
    calm: float = 0.5  # zigzag of the fit at λ = 100 over that at λ = .01
    steep: float = 0.2  # sensitivity of the highest degree, with the λ chosen over without
    surface: float = 1e-12
    inside: float = 1e-7
    ball: float = 0.7  # error in the best ball over that of the free optimum
    limits: tuple[float, float, float] = (0.1, 0.8, 0.8)  # diverging η with an outlier: L2, L1, smooth L1; 9: none
    restless: tuple[float, float, float] = (0.5, 0.1, 0.0)  # of the loss: L2 and L1 with an outlier, L2 without
    extreme: float = 2.0  # largest weight of layer 2 without decay, end over start
    tamed: float = 0.8  # with decay over without
    moves: float = 3.0  # of the line: L1 over L2


def table(seeds: int) -> list[Run]:
    """The runs of every sweep, on a grid of its own: the tests are not those of the config's grid."""
    blocks = [("weight_decay", {"weight_decay": λ}) for λ in (0.0, 0.01, 100.0, 1000.0)]
    blocks += [("learning_rate", {"learning_rate": rate, "weight_decay": λ}) for rate in RATES for λ in (0.0, 0.01)]
    blocks += [("losses", {"loss": loss, "dataset": "line_outlier"}) for loss in LOSSES]
    blocks += [("losses", {"loss": loss}) for loss in LOSSES[1:]]
    blocks += [
        ("outlier_rates", {"loss": loss, "dataset": "line_outlier", "learning_rate": rate})
        for loss, rate in itertools.product(LOSSES, OUTLIER_RATES)
    ]
    blocks += [("small", {"dataset": "noise", "width": 5, "weight_decay": λ}) for λ in (0.0, 1e-4)]
    fixed = {"experiment": "curve_fitting", **defaults(CONFIG)}
    return [Run(**{**fixed, "sweep": sweep, **block, "seed": seed}) for sweep, block in blocks for seed in range(seeds)]


def synthetic(world: World = World(), seeds: int = 4) -> Results:
    """Histories of the runs of `table` in the given world, and the tables of what is computed."""
    rows, frames = [], []
    runs = table(seeds)
    for run in runs:
        limit = RATES[1 + (world.steadier and run.weight_decay > 0)]
        if run.sweep == "outlier_rates":
            limit = dict(zip(LOSSES, world.limits, strict=True))[run.loss]
        diverged = run.learning_rate >= limit or run.weight_decay == 1000
        curves = _curves(run, world)
        values = np.stack(list(curves.values()))  # [metrics, steps]
        if diverged:
            values[:, -1] = np.nan
        names, steps = np.repeat(list(curves), len(STEPS)), np.tile(STEPS, len(curves))
        frames.append(pd.DataFrame({"run": run.id, "step": steps, "metric": names, "value": values.ravel()}))
        # logged after the first step is the gradient at the start, which decay has not touched and C4 does not ask for
        frames.append(pd.DataFrame({"run": [run.id], "step": 1, "metric": "gradient_norm", "value": 100.0}))
        last = dict(zip(curves, values[:, -1], strict=True))
        rows.append(run.model_dump() | last | {"run": run.id, "diverged_at": 1500.0 if diverged else np.nan})
    metadata = {"config_hash": config_hash(runs), "scale": "laptop", "device": "cpu", "wall_seconds": 100.0}
    tables = {
        "polynomials": _polynomials(world, seeds),
        "constraints": _constraints(world, seeds),
        "outliers": _outliers(world, seeds),
        "minimisers": _minimisers(world, 5 * seeds),  # shares of seeds need many
        "balls": _balls(world, seeds),
        "nudges": _nudges(world, seeds),
    }
    return Results(pd.DataFrame(rows), pd.concat(frames, ignore_index=True), metadata, tables)


def _curves(run: Run, world: World) -> dict[str, np.ndarray]:
    """Values of every metric at STEPS."""
    generator = np.random.default_rng([run.seed, int(run.id[:8], 16)])
    jitter = np.exp(generator.normal(0, SPREAD))
    decays, small = run.weight_decay > 0, run.dataset == "noise"
    norm = (world.small_norm if small else world.demo_norm) if decays else 1.0
    norm = world.vanishes if run.weight_decay >= 100 else norm
    offsets = dict(zip(("absolute_error", "smooth_l1", "squared_error"), world.network, strict=True))
    offset = jitter * (offsets[run.loss] if run.dataset == "line_outlier" else 0.1)
    zigzag = 0.1 * jitter * (world.rough if decays else 1.0) * (-1.0) ** np.arange(len(POINTS))
    zigzag *= world.calm if run.weight_decay >= 100 else 1.0
    rise = world.restless[2] if run.dataset == "line" else world.restless[1 if run.loss == "absolute_error" else 0]
    largest = world.extreme * (world.tamed if decays else 1.0) * jitter
    moved = world.moved * jitter if not decays else 0.7
    histogram = np.zeros((len(STEPS), WEIGHT_BINS))
    histogram[:, 20], histogram[:, 5] = 1000 * (1 - moved), 1000 * moved
    histogram[0, 20], histogram[0, 5] = 1000, 0
    spread = world.contracts if decays else world.stays
    flat = np.ones(len(STEPS))
    metrics = {
        "train_loss": flat * 0.01,
        "train_loss_batch": 0.01 * np.array([np.nan, 1 + rise * jitter, 0.5]),
        "test_loss": flat * 0.3 * jitter * (world.test if decays else 1.0),
        "weight_norm": 16 * np.array([1, (1 + norm) / 2, norm * jitter]),
        "layer2_weight_std": 0.04 * np.array([1, (1 + spread) / 2, spread * jitter]),
        "layer2_weight_largest": 0.07 * np.array([1, 1, largest]),
        "gradient_norm": jitter * (world.largest if decays else 1.0) * np.array([np.nan, 1, 0.5]),
    }
    metrics |= {f"fit_{i:02}": flat * y for i, y in enumerate(1.5 * POINTS + offset + zigzag)}
    metrics |= {f"layer2_weight_bin_{i:02}": column for i, column in enumerate(histogram.T)}
    return metrics | {f"layer2_gradient_bin_{i:02}": flat * (10 + i) for i in range(GRADIENT_BINS)}


def _polynomials(world: World, seeds: int) -> pd.DataFrame:
    """Of degree 14 the norm is 3, 2, 1 over λ; validation chooses the λ in the middle."""
    rows = []
    train = {0: 0.99 * world.falls, 1: 0.9, 7: 0.8, 14: world.fits}
    for seed, degree, (place, λ) in itertools.product(range(seeds), train, enumerate((0.0, 0.1, 1.0))):
        jitter = np.exp(np.random.default_rng([seed, degree]).normal(0, SPREAD))
        highest = (world.rises, world.ridged, 0.9 * world.ridged)[place]
        test = {0: world.falls, 1: 1.0, 7: 1.6, 14: highest}[degree]
        losses = {"train_loss": jitter * train[degree], "test_loss": jitter * test}
        losses["validation_loss"] = (2.0, 1.0, 1.5)[place]
        row = {"seed": seed, "degree": degree, "weight_decay": λ, **losses, "norm": 3.0 - place, "sensitivity": 1.0}
        if degree == 14:
            row["sensitivity"] = jitter * (1.0, world.steep, 0.5 * world.steep)[place]
        elif λ == 0:
            row |= {"norm": 0.1 * degree, "sensitivity": 0.1 * degree}
        rows.append(row | {f"weight_{power:02}": 1.0 for power in range(degree + 1)})
    return pd.DataFrame(rows)


def _constraints(world: World, seeds: int) -> pd.DataFrame:
    rows = []
    for seed, λ in itertools.product(range(seeds), (1e-3, 0.1, 10.0, 1e3, 1e4)):
        jitter = np.exp(np.random.default_rng([seed, 9]).normal(0, SPREAD))
        errors = {name: jitter * getattr(world, name) for name in ("residual", "solver", "multiplier")}
        row = {"seed": seed, "weight_decay": λ, "norm": jitter * λ**world.power, "loss": 1.0, **errors}
        rows.append(row | {f"weight_{power:02}": λ**world.power for power in (1, 2, 3)})
    return pd.DataFrame(rows)


def _outliers(world: World, seeds: int) -> pd.DataFrame:
    rows = []
    losses = ("absolute_error", "smooth_l1", "squared_error")
    for seed, shift, (loss, distance) in itertools.product(
        range(seeds), (0.0, 10.0), zip(losses, world.distances, strict=True)
    ):
        jitter = np.exp(np.random.default_rng([seed, int(shift)]).normal(0, SPREAD))
        found = jitter * (distance if shift else 0.1)
        rows.append({"seed": seed, "shift": shift, "loss": loss, "distance": found, "constant": found, "slope": 1.5})
    return pd.DataFrame(rows)


def _minimisers(world: World, seeds: int) -> pd.DataFrame:
    kinds = itertools.product(("absolute_error", "squared_error"), ("constant", "line"), (10, 11))
    return pd.DataFrame(
        [
            {"seed": seed, "problem": problem, "size": size, "loss": loss, "several": float(several)}
            for (loss, problem, size), several in zip(kinds, world.several, strict=True)
            for seed in range(seeds)
        ]
    )


def _balls(world: World, seeds: int) -> pd.DataFrame:
    rows = []
    for seed, radius in itertools.product(range(seeds), (0.5, 0.8, 1.0, 2.0)):
        jitter = np.exp(np.random.default_rng([seed, 8]).normal(0, SPREAD))
        row = {"seed": seed, "radius": radius, "norm": min(radius, 1.0)}
        row |= {"surface": jitter * world.surface, "apart": jitter * world.inside}
        row["validation_loss"] = 1.0 if radius == 0.8 else 2.0
        rows.append(row | {"error": jitter * world.ball if radius == 0.8 else 1.0})
    return pd.DataFrame(rows)


def _nudges(world: World, seeds: int) -> pd.DataFrame:
    moves = dict(zip(LOSSES, (0.25, 0.25 * world.moves, 0.3), strict=True))
    return pd.DataFrame(
        [
            {"seed": seed, "loss": loss, "moved": moved * np.exp(np.random.default_rng([seed]).normal(0, SPREAD))}
            for seed, (loss, moved) in itertools.product(range(seeds), moves.items())
        ]
    )
