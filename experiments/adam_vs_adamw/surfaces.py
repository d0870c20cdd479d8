"""What is measured: errors of the grids of η × λ, the basins in them, and the best λ over b, B and T with its laws."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from weightdecay.analysis.basins import Shape, area, at_cells, best_cells, good_cells, shape
from weightdecay.analysis.claims import combine, judge_interval
from weightdecay.analysis.measures import finals
from weightdecay.analysis.shapes import valley
from weightdecay.analysis.statistics import every_seed, power_law

DATASETS = {"mnist1d": "Mnist", "digits": "Digits", "addition": "Addition"}  # sweep -> word in a part's name
METHODS = {  # name -> optimiser, kind of decay
    "AdamW": ("adam", "decoupled"),
    "Adam + L2": ("adam", "l2"),
    "SGDW": ("sgd", "decoupled"),
    "SGD + L2": ("sgd", "l2"),
}
LETTERS = {"AdamW": "AdamW", "Adam + L2": "AdamL", "SGDW": "SgdW", "SGD + L2": "SgdL"}
UNDECAYED = {"Adam": ("adam", "none"), "SGD": ("sgd", "none")}
SCHEDULES = ("constant", "step", "cosine")
LAWS = {  # exponents of the best λ in b, B and T
    "Norm": ("λ_norm", (0.5, -0.5, -0.5)),
    "Epochs": ("constant timescale in epochs", (1.0, -1.0, 0.0)),
    "Share": ("constant share of the run", (1.0, -1.0, -1.0)),
}
FACTORS = ("batch", "points", "epochs")  # b, B, T


class Grids:
    """The grids of η × λ: final errors `[seeds, cells]` of a data set, a method and a schedule."""

    def __init__(self, results: Any):
        self.runs = results.runs[results.runs["sweep"].isin(DATASETS)]
        accuracies = finals(self.runs, results.history, ("validation_accuracy", "test_accuracy"))
        errors = (1 - accuracies).set_axis(["validation", "test"], axis=1)
        table = pd.concat([self.runs, errors.assign(held_out=errors.mean(axis=1))], axis=1)
        keys = ["sweep", "optimizer", "decay", "schedule"]
        self._groups = {key: group for key, group in table.groupby(keys)}

    def errors(self, dataset: str, method: str, schedule: str, split: str) -> pd.DataFrame:
        """Errors on "validation", "test" or "held_out"; columns (learning_rate, weight_decay)."""
        group = self._groups[dataset, *{**METHODS, **UNDECAYED}[method], schedule]
        return group.pivot(index="seed", columns=["learning_rate", "weight_decay"], values=split).sort_index(axis=1)

    def schedules(self, dataset: str, method: str = "AdamW") -> list[str]:
        """Those that were run, in the order of SCHEDULES."""
        key = (dataset, *{**METHODS, **UNDECAYED}[method])
        return [schedule for schedule in SCHEDULES if (*key, schedule) in self._groups]

    def surfaces(self, method: str) -> list[tuple[str, str]]:
        """(data set, schedule) of every grid of a method."""
        return [(dataset, schedule) for dataset in DATASETS for schedule in self.schedules(dataset, method)]

    def best(self, dataset: str, method: str, schedules: Sequence[str]) -> pd.Series:
        """Per seed the test error at the cell (schedule, η, λ) with the lowest validation error on the other seeds."""
        tables = [
            pd.concat({name: self.errors(dataset, method, name, split) for name in schedules}, axis=1)
            for split in ("validation", "test")
        ]
        return at_cells(tables[1], best_cells(tables[0]))

    def shapes(self, dataset: str, method: str, schedule: str, coordinate: str) -> dict[int, Shape]:
        """Per seed the shape of the good basin in the coordinate "λ" or "ηλ"."""
        errors = self.errors(dataset, method, schedule, "held_out")
        return {seed: shape(good_cells(row), errors.columns, coordinate) for seed, row in errors.iterrows()}

    def tilts(self, method: str, coordinate: str) -> pd.Series:
        """Per seed the tilt of the basin, averaged over schedules and data sets."""
        return over_surfaces(
            pd.Series({seed: found.tilt for seed, found in self.shapes(dataset, method, schedule, coordinate).items()})
            for dataset, schedule in self.surfaces(method)
        )

    def areas(self, dataset: str, method: str, schedule: str, tolerance: float) -> pd.Series:
        """Per seed the area of the good basin: errors up to `tolerance` times that of the cell best on other seeds."""
        errors = self.errors(dataset, method, schedule, "held_out")
        best = at_cells(errors, best_cells(errors))
        return pd.Series({seed: area(errors.loc[seed], best[seed], tolerance) for seed in best.index}, dtype=float)

    def best_decays(self, dataset: str, method: str, schedule: str, usable: float) -> pd.DataFrame:
        """The best λ `[seeds, η]` by validation error, over the η whose best mean is ≤ `usable` times the lowest."""
        errors = self.errors(dataset, method, schedule, "validation")
        lowest = errors.mean().groupby("learning_rate").min()
        kept = lowest.index[lowest <= usable * lowest.min()]
        return pd.DataFrame({η: errors[η].apply(valley, axis=1) for η in kept})


def best_by_setting(results: Any, metric: str) -> pd.DataFrame:
    """The best λ of the sweep `law`, indexed by (batch, points, epochs, seed): columns `best, learning_rate, steps`.

    By validation error, or loss, whichever `metric` names; NaN at an end of the grid.
    """
    runs = results.runs[results.runs["sweep"] == "law"]
    values = finals(runs, results.history, (metric,))[metric]
    epochs = runs["steps"] * runs["batch_size"] // runs["train_size"]
    table = runs.assign(
        value=1 - values if "accuracy" in metric else values,
        **dict(zip(FACTORS, (runs["batch_size"], runs["train_size"], epochs), strict=True)),
    )
    rows = {}
    for key, group in table.groupby([*FACTORS, "seed"]):
        best = valley(group.set_index("weight_decay")["value"].sort_index())
        rows[key] = {"best": best, "learning_rate": group["learning_rate"].iloc[0], "steps": group["steps"].iloc[0]}
    return pd.DataFrame(rows).T.rename_axis([*FACTORS, "seed"])


def exponents_of(law: pd.DataFrame) -> pd.DataFrame:
    """Exponents of the best λ `[seeds, factors]`, fitted jointly to those known; NaN where they determine none."""
    rows = {}
    for seed, group in law.dropna(subset="best").reset_index().groupby("seed"):
        factors = {factor: group[factor] for factor in FACTORS}
        rows[seed] = power_law(factors, group["best"], np.full(len(group), True))
    return pd.DataFrame(rows, index=[*FACTORS, "constant"]).T.astype(float)


def residuals_of(law: pd.DataFrame) -> pd.DataFrame:
    """Log of the spread of the best λ about each law `[seeds, laws]`, the law's constant fitted."""
    logs = np.log(law["best"].unstack("seed"))  # [settings, seeds]
    settings = np.log(logs.index.to_frame())
    apart = {name: logs.sub(settings @ np.array(exponents), axis=0) for name, (_, exponents) in LAWS.items()}
    return pd.DataFrame({name: table.std() for name, table in apart.items()})


def law_verdict(exponents: pd.DataFrame, law: Sequence[float], t: Mapping[str, float]) -> str:
    """The verdict on all three exponents being those of a law."""
    return combine(
        judge_interval(every_seed(exponents[factor]), expected - t["tolerance"], expected + t["tolerance"])
        for factor, expected in zip(FACTORS, law, strict=True)
    )


def over_surfaces(per_seed: Iterable[pd.Series]) -> pd.Series:
    """The mean over surfaces of one number a seed, over those where it is known; of the seeds that all have."""
    return pd.concat(list(per_seed), axis=1, join="inner").mean(axis=1)


def slope(best: pd.Series) -> float:
    """Exponent of the best λ against η; NaN where fewer than three are known."""
    known = best.dropna()
    return float(np.polyfit(np.log(known.index.to_numpy(float)), np.log(known), 1)[0]) if len(known) >= 3 else np.nan
