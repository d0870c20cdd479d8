"""Errors of the grids of η × λ, the basins in them, their best cells, and what the noise of cells makes of a basin."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np
import pandas as pd

from weightdecay.claims.judging import NOT_RUN, joined
from weightdecay.results import Results
from weightdecay.statistics.basins import (
    Shape,
    area,
    at_cells,
    at_edge,
    best_cells,
    good_cells,
    noise_tilts,
    renoised,
    shape,
    tilts,
)
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
LEAST_ERROR = 1 / 4000  # what an error of 0 is where its logarithm is taken: half of one of MNIST-1D's 2,000 examples,
# and less of one of the other data sets, which have fewer
TIE = 1e-6  # of a loss between 0 and 1 in an error: less than one example makes in any mean over seeds
Errors = TypeVar("Errors", float, pd.Series)
DRAWS = 400  # of surfaces of noise


@finding.measured
class Grids:
    """The grids of η × λ: final errors `[seeds, cells]` of a data set, a method and a schedule.

    `results`: those that they are of, with the sweep `law` and the tables of compute.py.
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

    def errors(self, dataset: str, method: str, schedule: str, split: str) -> pd.DataFrame:
        """Errors on "validation", "test" or "held_out"; columns (learning_rate, weight_decay).

        What a choice is made by, validation and held-out error, is `untied`; test error is as it is. Empty where it was
        not run.
        """
        key = dataset, method, schedule, split
        if key not in self._errors:
            group = self._groups.get((dataset, *{**METHODS, **UNDECAYED}[method], schedule), self._nothing)
            table = group.pivot(index="seed", columns=["learning_rate", "weight_decay"], values=split)
            self._errors[key] = table.sort_index(axis=1)
        return self._errors[key]

    def schedules(self, dataset: str, method: str = "AdamW") -> list[str]:
        """Those that were run, in the order of SCHEDULES."""
        key = (dataset, *{**METHODS, **UNDECAYED}[method])
        return [schedule for schedule in SCHEDULES if (*key, schedule) in self._groups]

    def missing(self) -> str:
        """For a note: the data sets that were not run."""
        return joined(*(f"{dataset}: {NOT_RUN}" for dataset in DATASETS if not self.schedules(dataset)))

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

    def usable(self, dataset: str, method: str, schedule: str, within: float) -> pd.Index:
        """The η whose best mean validation error over λ is ≤ `within` times the lowest."""
        lowest = self.errors(dataset, method, schedule, "validation").mean().groupby("learning_rate").min()
        return lowest.index[lowest <= within * lowest.min()]

    def shapes(self, dataset: str, method: str, schedule: str, coordinate: str) -> dict[int, Shape]:
        """Per seed the shape of the good basin in the coordinate "λ" or "ηλ"."""
        errors = self.errors(dataset, method, schedule, "held_out")
        return {seed: shape(good_cells(row), errors.columns, coordinate) for seed, row in errors.iterrows()}

    def tilts(self, method: str, coordinate: str) -> pd.Series:
        """Per seed the tilt of the basin, averaged over schedules and data sets."""
        tables = [self.errors(*surface_of(method, surface), "held_out") for surface in self.surfaces(method)]
        return over_surfaces(
            pd.Series(tilts(errors.to_numpy(), errors.columns, coordinate), errors.index) for errors in tables
        )

    def noise_tilt(self, method: str, coordinate: str) -> float:
        """What `tilts` would be over seeds if all cells of all surfaces were noise and nothing else."""
        generator = np.random.default_rng(0)
        grids = [self.errors(*surface_of(method, surface), "held_out").columns for surface in self.surfaces(method)]
        found = [noise_tilts(grid, coordinate, DRAWS, generator).mean() for grid in grids]
        return float(np.mean(found)) if found else np.nan

    def added_by_noise(self, method: str, coordinate: str) -> float:
        """Degrees that the noise of cells adds to a tilt: that of the mean surface with noise added less its own."""
        generator, added = np.random.default_rng(0), []
        for surface in self.surfaces(method):
            errors = self.errors(*surface_of(method, surface), "held_out")
            if len(errors) < 2:
                return np.nan
            noisy = tilts(renoised(errors, DRAWS, generator), errors.columns, coordinate).mean()
            added.append(noisy - tilts(np.log(errors).mean().to_numpy()[None], errors.columns, coordinate)[0])
        return float(np.mean(added)) if added else np.nan

    def areas(self, dataset: str, method: str, schedule: str, tolerance: float) -> pd.Series:
        """Per seed the area of the good basin: errors up to `tolerance` times that of the cell best on other seeds."""
        errors = self.errors(dataset, method, schedule, "held_out")
        best = at_cells(errors, best_cells(errors))
        return pd.Series({seed: area(errors.loc[seed], best[seed], tolerance) for seed in best.index}, dtype=float)

    def at_edges(self, method: str, tolerance: float) -> list[pd.Series]:
        """Of each of those basins the share of its boundary at the window's edge: by seed, a surface each."""
        shares = []
        for dataset, schedule in self.surfaces(method):
            errors = self.errors(dataset, method, schedule, "held_out")
            best = at_cells(errors, best_cells(errors))
            found = {seed: at_edge(errors.loc[seed], best[seed], tolerance) for seed in best.index}
            shares.append(pd.Series(found, dtype=float))
        return shares


KEYS = ["sweep", "optimizer", "decay", "schedule"]
SPLITS = ("validation", "test")


def untied(errors: pd.Series, losses: pd.Series) -> pd.Series:
    """Errors, LEAST_ERROR at least, in which the loss tells equal ones apart; an unknown loss is the largest of all."""
    return errors.clip(lower=LEAST_ERROR) + TIE * (losses / (1 + losses)).fillna(1.0)


def log_error(errors: Errors) -> Errors:
    """Logarithm of errors, LEAST_ERROR at least."""
    return np.log(np.maximum(errors, LEAST_ERROR))


def surface_of(method: str, surface: tuple[str, str]) -> tuple[str, str, str]:
    """The arguments by which `Grids.errors` names a (data set, schedule) of a method."""
    return surface[0], method, surface[1]


def over_surfaces(per_seed: Iterable[pd.Series]) -> pd.Series:
    """The mean over surfaces of one number a seed, of the seeds that all have; NaN where a surface's is unknown.

    A mean over what is known would be one over other surfaces for other seeds. Empty without surfaces.
    """
    surfaces = list(per_seed)
    return pd.concat(surfaces, axis=1, join="inner").mean(axis=1, skipna=False) if surfaces else pd.Series(dtype=float)


def computed(value: float) -> Estimate:
    """A number that all seeds give together, and that has no interval."""
    return Estimate(value, np.nan, np.nan, 0 if np.isnan(value) else 1)
