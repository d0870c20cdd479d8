"""O11-O13: how test error changes with η if λ or ηλ is kept, and how much it varies from seed to seed."""

from collections.abc import Mapping
from functools import cache

import numpy as np
import pandas as pd

from weightdecay.claims.judging import joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.statistics.basins import best_cells
from weightdecay.statistics.estimates import UNKNOWN, Estimate, every_seed, means_of_others, ratio_interval

from . import finding
from .surfaces import DATASETS, LETTERS, Grids, log_error, over_surfaces

DECOUPLED = ("AdamW", "SGDW")
LEAST_PLACES = 3  # a line needs so many cells to show whether test error is constant along it


@finding.claim("O11")
def constant_shrinkage(grids: Grids, *, product: float, usable: float, ratio: float) -> tuple[list[Part], str]:
    """Test error is constant over η if ηλ is kept at `product`.

    Reported beside it: the same at a constant λ over the same η, and at the ηλ of the best cell. The line of the latter
    lies inside the grid at other η, so these two lines are compared at the η that both have.
    """
    verdicts, others, notes = [], [], []
    for method in DECOUPLED:
        spreads: dict[str, list[pd.Series]] = {"": [], "Held": [], "Best": [], "Beside": []}
        both = places = few = 0
        for dataset, schedule in grids.surfaces(method):
            lines = lines_of(grids, dataset, method, schedule, product, usable)
            if len(lines[""]) < LEAST_PLACES:
                notes.append(f"{method}, {dataset}, {schedule}: ηλ is {product:g} at {len(lines[''])} usable η only")
                continue
            lines |= dict(zip(("Best", "Beside"), at_common(lines["Best"], lines[""]), strict=True))
            places, both = places + len(lines[""]), both + len(lines["Best"])
            few += len(lines["Best"]) < LEAST_PLACES
            for name, line in lines.items():
                if len(line) >= LEAST_PLACES:
                    spreads[name].append(unevenness(grids, dataset, method, schedule, line))
        if both < places:
            left = f", on {few} surfaces at fewer than {LEAST_PLACES}: left out of what is beside it" if few else ""
            notes.append(f"{method}: the best cell's ηλ is inside the window at {both} of these {places} η{left}")
        found = {name: ratio_interval(over_surfaces(logs)) for name, logs in spreads.items() if logs}
        what = f"{method}: largest over smallest test error along η"
        near = f"ηλ near {product:g}"
        verdicts.append(judged(LETTERS[method], f"{what}, {near}", found.get("", UNKNOWN), most=ratio))
        for name, words in {
            "Held": "λ constant",
            "Best": "ηλ of the best cell",
            "Beside": f"{near}, at the η at which that of the best cell is inside the window",
        }.items():
            if name in found:
                others.append(reported(f"{LETTERS[method]}{name}", f"{what}, {words}", found[name]))
    return verdicts + others, joined(*notes, grids.missing())


@finding.claim("O12")
def steadier(grids: Grids, *, ratio: float) -> tuple[list[Part], str]:
    """A seed's test error lies nearer to the others' with AdamW than with Adam + L2, each at its best cell."""
    pair = ("AdamW", "Adam + L2")
    errors = {method: at_best_cells(grids, method) for method in pair}
    distances = {
        method: {surface: apart(log_error(e)) for surface, (_, e) in errors[method].items()} for method in pair
    }
    words = "distance of log test error between seeds, AdamW over Adam + L2"
    parts = [judged("Ratio", words, ratio_of_means(distances), most=ratio, strict=True)]
    for dataset, word in DATASETS.items():
        if grids.schedules(dataset):
            there = {m: {s: d for s, d in distances[m].items() if s[0] == dataset} for m in pair}
            parts.append(reported(f"{word}Ratio", f"{dataset}: the same", ratio_of_means(there)))
    effects: dict[str, dict[tuple[str, str], pd.Series]] = {method: {} for method in pair}
    for method in pair:
        for (dataset, schedule), (η, own) in errors[method].items():
            if schedule in grids.schedules(dataset, "Adam"):
                tested = grids.errors(dataset, "Adam", schedule, "test")
                without = tested[η].iloc[:, 0] if η in tested.columns.get_level_values(0) else own * np.nan
                effects[method][dataset, schedule] = apart(log_error(without) - log_error(own))
    if all(effects.values()):
        parts.append(reported("Effect", "the same of decay's effect on it", ratio_of_means(effects)))
    for method in pair:
        found = every_seed(over_surfaces(distances[method].values()))
        parts.append(reported(LETTERS[method], f"{method}: distance of log test error between seeds", found))
    return parts, grids.missing()


@finding.claim("O13")
def tuned_again(grids: Grids, *, usable: float, factor: float, ratio: float) -> tuple[list[Part], str]:
    """At another η, keeping the λ of the best cell costs test error, with each optimiser.

    Reported beside it: the cost of keeping the ηλ of the best cell instead. At some η the grid has no cell of this ηλ,
    so this cost and that of keeping λ are compared at the other η. Surfaces on which some seed has no such η are left
    out.
    """
    verdicts, others, notes = [], [], []
    for method, letters in LETTERS.items():
        tables = [
            costs_of_keeping(grids, dataset, method, schedule, usable, factor)
            for dataset, schedule in grids.surfaces(method)
        ]
        words = f"{method}: test error at another η, {{}} kept, over λ tuned"
        asked = over_surfaces(costs["λ"] for costs in tables if costs["far"].any())
        verdicts.append(judged(letters, words.format("λ"), ratio_interval(asked), least=ratio))
        compared = [costs for costs in tables if len(costs) and costs["common"].all()]
        for name, column, kept in (("Product", "ηλ", "ηλ"), ("Beside", "beside", "at the same η as for ηλ, λ")):
            found = ratio_interval(over_surfaces(costs[column] for costs in compared))
            others.append(reported(f"{letters}{name}", words.format(kept), found))
        every = pd.concat(tables) if tables else pd.DataFrame(columns=["far", "common"])
        none, left = int((every["far"] == 0).sum()), len(tables) - len(compared)
        notes.append(f"{method}: no other usable η for {none} of {len(every)} seeds and surfaces" if none else "")
        of_ηλ = f"{int(every['common'].sum())} of {int(every['far'].sum())} other η of seeds have the cell of ηλ kept"
        surfaces = f", {left} of {len(tables)} surfaces none for some seed: left out beside" if left else ""
        notes.append(f"{method}: {of_ηλ}{surfaces}")
    return verdicts + others, joined(*notes, grids.missing())


def lines_of(grids: Grids, dataset: str, method: str, schedule: str, product: float, usable: float) -> dict[str, list]:
    """Return three lines of cells at the usable η, by name.

    "" has ηλ nearest to `product`. "Best" has the ηλ of the best cell, which has the lowest mean validation error over
    all seeds. "Held" has one λ, which is that of the first line at its middle η.
    """
    errors = grids.errors(dataset, method, schedule, "validation")
    if errors.isna().all(axis=None):
        return {"": [], "Best": [], "Held": []}
    rates = grids.usable(dataset, method, schedule, usable)
    products = np.array([η * λ for η, λ in errors.columns])
    nearest = products[np.argmin(np.abs(np.log(products / product)))]
    line = [cell for η in rates if (cell := cell_at(errors.columns, η, nearest / η))]
    held = line[len(line) // 2][1] if line else np.nan
    best = np.prod(errors.mean().idxmin())
    return {
        "": line,
        "Best": [cell for η in rates if (cell := cell_at(errors.columns, η, best / η))],
        "Held": [cell for η, _ in line if (cell := cell_at(errors.columns, η, held))],
    }


def at_common(first: list, second: list) -> tuple[list, list]:
    """Return the cells of two lines at the η that both have."""
    rates = {η for η, _ in first} & {η for η, _ in second}
    return [cell for cell in first if cell[0] in rates], [cell for cell in second if cell[0] in rates]


def cell_at(grid: pd.MultiIndex, η: float, λ: float) -> tuple[float, float] | None:
    """Return the cell of a grid at this η and at this λ to within 1 %; None if there is none."""
    own = grid.get_level_values(1)[grid.get_level_values(0) == η]
    near = own[np.abs(np.log(own / λ)) < 0.01]
    return (η, float(near[0])) if len(near) else None


def unevenness(grids: Grids, dataset: str, method: str, schedule: str, line: list) -> pd.Series:
    """Return per seed the log of largest over smallest test error along a line of cells.

    Both cells are chosen by the validation error of the other seeds.
    """
    validation, test = (grids.errors(dataset, method, schedule, split)[line] for split in ("validation", "test"))
    if len(test) < 2:
        return pd.Series(dtype=float)
    found = [
        lowest(-others, own) - lowest(others, own) if np.isfinite(others).sum() >= LEAST_PLACES else np.nan
        for others, own in zip(means_of_others(validation), log_error(test.to_numpy(dtype=float)), strict=True)
    ]
    return pd.Series(found, test.index)


def lowest(chosen_by: np.ndarray, values: np.ndarray) -> float:
    """Return the one of `values` at the place where `chosen_by` is lowest; NaN if it is unknown everywhere."""
    return np.nan if np.isnan(chosen_by).all() else float(values[np.nanargmin(chosen_by)])


def at_best_cells(grids: Grids, method: str) -> dict[tuple[str, str], tuple[float, pd.Series]]:
    """Return for each (data set, schedule) the η of the best cell, and the test error of each seed there.

    The best cell has the lowest mean validation error.
    """
    found = {}
    for dataset, schedule in grids.surfaces(method):
        validation, test = (grids.errors(dataset, method, schedule, split) for split in ("validation", "test"))
        means = validation.mean()
        cell = means.idxmin() if means.notna().any() else (np.nan, np.nan)
        found[dataset, schedule] = cell[0], test.get(cell, pd.Series(np.nan, test.index))
    return found


def apart(values: pd.Series) -> pd.Series:
    """Return per seed the distance of its value from the mean of the other seeds; empty with one seed."""
    n = values.count()
    return ((values - values.mean()).abs() * n / (n - 1)) if n > 1 else values.iloc[:0]


def ratio_of_means(distances: Mapping[str, Mapping[tuple[str, str], pd.Series]]) -> Estimate:
    """Return AdamW's mean distance over surfaces over that of Adam + L2: geometric mean over seeds, with interval."""
    logs = {m: np.log(over_surfaces(of.values()).where(lambda d: d > 0)) for m, of in distances.items()}
    return ratio_interval(logs["AdamW"] - logs["Adam + L2"])


def costs_of_keeping(
    grids: Grids, dataset: str, method: str, schedule: str, usable: float, factor: float
) -> pd.DataFrame:
    """Return per seed what it costs to keep the best cell's λ, or its ηλ, at another η.

    The cost is the log of test error with this λ over that with the best λ at the same η. It is averaged over usable η
    that are at least a `factor` away from that of the best cell. Column `λ` averages over all of these; `far` counts
    them. Columns `ηλ`, and `beside` for λ, average over those η at which the grid has the cell of ηλ; `common` counts
    these. A mean over no η is NaN.
    """
    validation, test = (grids.errors(dataset, method, schedule, split) for split in ("validation", "test"))
    grid, rates, rows = validation.columns, grids.usable(dataset, method, schedule, usable), {}
    means = dict(zip(validation.index, means_of_others(validation), strict=True))
    logs = dict(zip(test.index, log_error(test.to_numpy(dtype=float)), strict=True))
    at_rate = {η: np.flatnonzero(grid.get_level_values(0) == η) for η in rates}
    near = cache(lambda η, λ: cell_at(grid, η, λ))
    for seed, place in best_cells(validation).items():
        own, (at, λ) = dict(zip(grid, logs[seed], strict=True)), grid[place]
        far = [η for η in rates if abs(np.log(η / at)) > np.log(factor) * (1 - 1e-9)]
        tuned = {η: lowest(means[seed][at_rate[η]], logs[seed][at_rate[η]]) for η in far}
        of_λ = pd.Series({η: own.get((η, λ), np.nan) - tuned[η] for η in far}, dtype=float)
        cells = {η: cell for η in far if (cell := near(η, λ * at / η))}
        of_ηλ = pd.Series({η: own[cell] - tuned[η] for η, cell in cells.items()}, dtype=float)
        beside = of_λ[list(cells)].mean()
        rows[seed] = of_λ.mean(), of_ηλ.mean(), beside, len(far), len(cells)
    return pd.DataFrame(rows, index=["λ", "ηλ", "beside", "far", "common"], dtype=float).T
