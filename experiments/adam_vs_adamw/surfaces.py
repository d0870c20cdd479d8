"""The errors on the grids of η × λ, their basins and best cells, and how noise changes the shape of a basin."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import TypeVar

import numpy as np
import pandas as pd

from weightdecay.claims.judging import NOT_RUN, joined
from weightdecay.results import Results
from weightdecay.statistics import basins
from weightdecay.statistics.basins import Shape, at_cells, best_cells, noise_tilts, renoised, tilts
from weightdecay.statistics.estimates import Estimate
from weightdecay.statistics.measures import finals

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
SCHEDULES = ("constant", "step", "cosine")
# An error of 0 counts as this in logarithms: half an example of MNIST-1D's 2,000, and less in the smaller data sets.
LEAST_ERROR = 1 / 4000
TIE = 1e-6  # the weight of the loss in an error, to break ties: less than one example makes in any mean over seeds
Errors = TypeVar("Errors", float, pd.Series)
DRAWS = 400  # surfaces of noise


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
        self.tilts, self.added_by_noise = cache(self._tilts), cache(self._added_by_noise)

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

    def shapes(self, dataset: str, method: str, schedule: str, coordinate: str) -> dict[int, Shape]:
        """Return per seed the shape of the basin of good cells in the coordinate "λ" or "ηλ"."""
        return basins.shapes(self.errors(dataset, method, schedule, "held_out"), coordinate)

    def _tilts(self, method: str, coordinate: str) -> pd.Series:
        """Return per seed the tilt of the basin, averaged over schedules and data sets."""
        tables = [self.errors(*surface_of(method, surface), "held_out") for surface in self.surfaces(method)]
        return over_surfaces(
            pd.Series(tilts(errors.to_numpy(), errors.columns, coordinate), errors.index) for errors in tables
        )

    def noise_tilt(self, method: str, coordinate: str) -> float:
        """Return what `tilts` would be on average if all cells of all surfaces were pure noise."""
        generator = np.random.default_rng(0)
        grids = [self.errors(*surface_of(method, surface), "held_out").columns for surface in self.surfaces(method)]
        found = [noise_tilts(grid, coordinate, DRAWS, generator).mean() for grid in grids]
        return float(np.mean(found)) if found else np.nan

    def _added_by_noise(self, method: str, coordinate: str) -> float:
        """Return the degrees that noise adds to a tilt: the tilt of the mean surface plus noise, less its own tilt."""
        generator, added = np.random.default_rng(0), []
        for surface in self.surfaces(method):
            errors = self.errors(*surface_of(method, surface), "held_out")
            if len(errors) < 2:
                return np.nan
            noisy = tilts(renoised(errors, DRAWS, generator), errors.columns, coordinate).mean()
            added.append(noisy - tilts(np.log(errors).mean().to_numpy()[None], errors.columns, coordinate)[0])
        return float(np.mean(added)) if added else np.nan

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


def surface_of(method: str, surface: tuple[str, str]) -> tuple[str, str, str]:
    """Return the arguments of `Grids.errors` for a method and a (data set, schedule)."""
    return surface[0], method, surface[1]


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
