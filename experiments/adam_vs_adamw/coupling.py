"""O11-O13: what becomes of test error if η changes and λ, or ηλ, is kept; and how far it varies from seed to seed."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weightdecay.claims.judging import joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.statistics.basins import best_cells
from weightdecay.statistics.estimates import UNKNOWN, Estimate, every_seed, ratio_interval

from . import finding
from .surfaces import DATASETS, LETTERS, Grids, log_error, over_surfaces

DECOUPLED = ("AdamW", "SGDW")
LEAST_PLACES = 3  # of a line that say whether it is level


@finding.claim("O11")
def constant_shrinkage(grids: Grids, *, product: float, usable: float, ratio: float) -> tuple[list[Part], str]:
    """Test error is level over η with ηλ at `product`; beside it with one λ, and with the best cell's ηλ.

    With one λ over the same η. The best cell's ηλ is inside the window at other η: compared over those of both lines.
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
    """Keeping the best cell's λ costs test error at another η, with each optimiser; beside it, keeping its ηλ.

    That has no cell at some η: it and λ are compared over the η that have one, on surfaces where every seed has such η.
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
    """Cells at usable η: "" with ηλ nearest to `product`, "Best" with that of the best cell, "Held" with one λ.

    That λ is the first line's at the middle of its η. Best: the lowest mean validation error over all seeds.
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
    """Of two lines of cells, those at the η that both have."""
    rates = {η for η, _ in first} & {η for η, _ in second}
    return [cell for cell in first if cell[0] in rates], [cell for cell in second if cell[0] in rates]


def cell_at(grid: pd.MultiIndex, η: float, λ: float) -> tuple[float, float] | None:
    """The cell of a grid at that η and λ, to a hundredth; None where it has none."""
    own = grid.get_level_values(1)[grid.get_level_values(0) == η]
    near = own[np.abs(np.log(own / λ)) < 0.01]
    return (η, float(near[0])) if len(near) else None


def unevenness(grids: Grids, dataset: str, method: str, schedule: str, line: list) -> pd.Series:
    """Per seed the log of largest over smallest test error along a line of cells, both chosen on the other seeds."""
    validation, test = (grids.errors(dataset, method, schedule, split)[line] for split in ("validation", "test"))
    found = {}
    for seed in test.index if len(test) > 1 else []:
        others = validation.drop(index=seed).mean()
        known = others.notna().sum() >= LEAST_PLACES
        ends = (test.loc[seed, others.idxmax()], test.loc[seed, others.idxmin()]) if known else (np.nan, np.nan)
        found[seed] = log_error(ends[0]) - log_error(ends[1])
    return pd.Series(found, dtype=float)


def at_best_cells(grids: Grids, method: str) -> dict[tuple[str, str], tuple[float, pd.Series]]:
    """Of each (data set, schedule) η of the cell with the lowest mean validation error, and each seed's test error."""
    found = {}
    for dataset, schedule in grids.surfaces(method):
        validation, test = (grids.errors(dataset, method, schedule, split) for split in ("validation", "test"))
        means = validation.mean()
        cell = means.idxmin() if means.notna().any() else (np.nan, np.nan)
        found[dataset, schedule] = cell[0], test.get(cell, pd.Series(np.nan, test.index))
    return found


def apart(values: pd.Series) -> pd.Series:
    """Per seed the distance of its value from the mean of the others'; empty with one seed."""
    n = values.count()
    return ((values - values.mean()).abs() * n / (n - 1)) if n > 1 else values.iloc[:0]


def ratio_of_means(distances: Mapping[str, Mapping[tuple[str, str], pd.Series]]) -> Estimate:
    """AdamW's mean distance over surfaces over that of Adam + L2: geometric mean over seeds, with its interval."""
    logs = {m: np.log(over_surfaces(of.values()).where(lambda d: d > 0)) for m, of in distances.items()}
    return ratio_interval(logs["AdamW"] - logs["Adam + L2"])


def costs_of_keeping(
    grids: Grids, dataset: str, method: str, schedule: str, usable: float, factor: float
) -> pd.DataFrame:
    """Per seed the log of test error with the best cell's λ, or its ηλ, kept over that with the best λ, at other η.

    Means over usable η a `factor` at least from the best cell's: column `λ` over all of them, as many as `far`; `ηλ`,
    and `beside` of λ, over those at which the grid has the cell of ηλ too, as many as `common`. NaN over none.
    """
    validation, test = (grids.errors(dataset, method, schedule, split) for split in ("validation", "test"))
    rates, rows = grids.usable(dataset, method, schedule, usable), {}
    for seed, place in best_cells(validation).items():
        others, own = validation.drop(index=seed).mean(), log_error(test.loc[seed])
        at, λ = validation.columns[place]
        far = [η for η in rates if abs(np.log(η / at)) > np.log(factor) * (1 - 1e-9)]
        tuned = {η: own[η, others[η].idxmin()] if others[η].notna().any() else np.nan for η in far}
        of_λ = pd.Series({η: own.get((η, λ), np.nan) - tuned[η] for η in far}, dtype=float)
        cells = {η: cell for η in far if (cell := cell_at(validation.columns, η, λ * at / η))}
        of_ηλ = pd.Series({η: own[cell] - tuned[η] for η, cell in cells.items()}, dtype=float)
        beside = of_λ[list(cells)].mean()
        rows[seed] = of_λ.mean(), of_ηλ.mean(), beside, len(far), len(cells)
    return pd.DataFrame(rows, index=["λ", "ηλ", "beside", "far", "common"], dtype=float).T
