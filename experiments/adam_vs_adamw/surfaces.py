"""The errors on the grids of η × λ, their basins and their best cells."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from weightdecay.claims.judging import NOT_RUN, joined
from weightdecay.results import Results
from weightdecay.statistics import basins
from weightdecay.statistics.basins import at_cells, best_cells
from weightdecay.statistics.estimates import Estimate
from weightdecay.statistics.measures import finals
from weightdecay.statistics.separability import Shear, shear

from . import finding

DATASETS = {"mnist1d": "Mnist", "digits": "Digits", "addition": "Addition"}  # sweep -> word in a part's name
METHODS = {  # name -> optimiser, kind of decay
    "AdamW": ("adam", "decoupled"),
    "Adam + L2": ("adam", "l2"),
    "SGDW": ("sgd", "decoupled"),
    "SGD + L2": ("sgd", "l2"),
}
LETTERS = {"AdamW": "AdamW", "Adam + L2": "AdamL", "SGDW": "SgdW", "SGD + L2": "SgdL"}
UNDECAYED = {"Adam": ("adam", "none"), "SGD": ("sgd", "none")}
COORDINATES = ("λ", "ηλ")  # by their place: the shear at which η and this coordinate are separable
SCHEDULES = ("constant", "step", "cosine")
# An error of 0 counts as this in logarithms: half an example of MNIST-1D's 2,000, and less in the smaller data sets.
LEAST_ERROR = 1 / 4000
TIE = 1e-6  # the weight of the loss in an error, to break ties: less than one example makes in any mean over seeds
RESAMPLES = 1000  # of the seeds, for the interval of a shear
Errors = TypeVar("Errors", float, pd.Series)


@finding.measured
class Grids:
    """The grids of η × λ: final errors `[seeds, cells]` of each data set, method and schedule.

    `results`: the results that the errors come from, which also have the sweep `law` and the tables of compute.py.
    """

    def __init__(self, results: Results):
        self.results = results
        self.runs = results.runs[results.runs["sweep"].isin(DATASETS)]
        values = finals(
            self.runs, results.history, [f"{split}_{of}" for split in SPLITS for of in ("accuracy", "loss")]
        )
        errors = pd.DataFrame({split: 1 - values[f"{split}_accuracy"] for split in SPLITS})
        losses = pd.DataFrame({split: values[f"{split}_loss"] for split in SPLITS})
        table = self.runs[[*KEYS, "seed", "learning_rate", "weight_decay"]].assign(
            test=errors["test"],
            validation=untied(errors["validation"], losses["validation"]),
            held_out=untied(errors.mean(axis=1), losses.mean(axis=1, skipna=False)),
        )
        self._groups = {key: group for key, group in table.groupby(KEYS)}
        self._nothing = table.iloc[:0]
        self._errors: dict[tuple[str, str, str, str], pd.DataFrame] = {}
        self._shears: dict[tuple, Shear] = {}

    def errors(self, dataset: str, method: str, schedule: str, split: str) -> pd.DataFrame:
        """Return the errors on "validation", "test" or "held_out"; columns are (learning_rate, weight_decay).

        Choices are made by validation and held-out errors, so their ties are broken (`untied`). Test errors stay as
        they are. Empty if the grid was not run.
        """
        key = dataset, method, schedule, split
        if key not in self._errors:
            group = self._groups.get((dataset, *{**METHODS, **UNDECAYED}[method], schedule), self._nothing)
            table = group.pivot(index="seed", columns=["learning_rate", "weight_decay"], values=split)
            self._errors[key] = table.sort_index(axis=1)
        return self._errors[key]

    def schedules(self, dataset: str, method: str = "AdamW") -> list[str]:
        """Return the schedules that were run, in the order of SCHEDULES."""
        key = (dataset, *{**METHODS, **UNDECAYED}[method])
        return [schedule for schedule in SCHEDULES if (*key, schedule) in self._groups]

    def missing(self) -> str:
        """Say for a note which data sets were not run."""
        return joined(*(f"{dataset}: {NOT_RUN}" for dataset in DATASETS if not self.schedules(dataset)))

    def surfaces(self, method: str) -> list[tuple[str, str]]:
        """Return (data set, schedule) for every grid of a method."""
        return [(dataset, schedule) for dataset in DATASETS for schedule in self.schedules(dataset, method)]

    def best(self, dataset: str, method: str, schedules: Sequence[str]) -> pd.Series:
        """Return per seed the test error at the cell (schedule, η, λ) that is best on the other seeds' validation."""
        tables = [
            pd.concat({name: self.errors(dataset, method, name, split) for name in schedules}, axis=1)
            for split in ("validation", "test")
        ]
        return at_cells(tables[1], best_cells(tables[0]))

    def usable(self, dataset: str, method: str, schedule: str, within: float) -> pd.Index:
        """Return the η whose lowest mean validation error over λ is at most `within` times the lowest of all."""
        lowest = self.errors(dataset, method, schedule, "validation").mean().groupby("learning_rate").min()
        return lowest.index[lowest <= within * lowest.min()]

    def held_out(self, method: str, surfaces: Iterable[tuple[str, str]]) -> list[pd.DataFrame]:
        """Return the held-out errors of a method on each of these (data set, schedule)."""
        return [self.errors(dataset, method, schedule, "held_out") for dataset, schedule in surfaces]

    def shear(self, method: str, surfaces: Iterable[tuple[str, str]], within: float) -> Shear:
        """Return the common shear of a method's basins on these (data set, schedule); see `separability.shear`."""
        key = method, tuple(surfaces), within
        if key not in self._shears:
            self._shears[key] = shear(self.held_out(method, key[1]), within, RESAMPLES)
        return self._shears[key]

    def areas(self, dataset: str, method: str, schedule: str, tolerance: float) -> pd.Series:
        """Return per seed the area of the basin with errors up to `tolerance` times that of the best cell.

        The best cell is chosen on the other seeds.
        """
        errors = self.errors(dataset, method, schedule, "held_out")
        return basins.areas(errors, at_cells(errors, best_cells(errors)), tolerance)

    def at_edges(self, method: str, tolerance: float) -> list[pd.Series]:
        """Return for each surface and seed which share of the boundary of the basin of `areas` is the grid's edge."""
        shares = []
        for dataset, schedule in self.surfaces(method):
            errors = self.errors(dataset, method, schedule, "held_out")
            shares.append(basins.at_edges(errors, at_cells(errors, best_cells(errors)), tolerance))
        return shares


KEYS = ["sweep", "optimizer", "decay", "schedule"]
SPLITS = ("validation", "test")


def untied(errors: pd.Series, losses: pd.Series) -> pd.Series:
    """Return the errors, at least LEAST_ERROR, plus a tiny term of the loss that breaks ties.

    An unknown loss counts as the largest.
    """
    return errors.clip(lower=LEAST_ERROR) + TIE * (losses / (1 + losses)).fillna(1.0)


def log_error(errors: Errors) -> Errors:
    """Return the logarithm of errors, which count as at least LEAST_ERROR."""
    return np.log(np.maximum(errors, LEAST_ERROR))


def over_surfaces(per_seed: Iterable[pd.Series]) -> pd.Series:
    """Return per seed the mean of a number over surfaces, for the seeds that all surfaces have.

    It is NaN if the number is unknown on any surface: otherwise different seeds would average different surfaces. Empty
    without surfaces.
    """
    surfaces = list(per_seed)
    return pd.concat(surfaces, axis=1, join="inner").mean(axis=1, skipna=False) if surfaces else pd.Series(dtype=float)


def computed(value: float) -> Estimate:
    """Return an estimate without interval, for a number that all seeds give together."""
    return Estimate(value, np.nan, np.nan, 0 if np.isnan(value) else 1)
