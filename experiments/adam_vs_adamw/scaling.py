"""O7-O9: the best λ, against η in the grids, and against b, B and T in the sweep `law`, and which law it follows.

In tables with the columns `best, side`, a best λ at an end of its grid is only a bound: `side` is 1 for a lower and −1
for an upper bound, as in `shapes.located`.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd

from weightdecay.claims.judging import joined, judge_interval, judged, reported
from weightdecay.claims.model import Part, Verdict, combine
from weightdecay.results import Results
from weightdecay.statistics.basins import best_cells
from weightdecay.statistics.censored import censored_line
from weightdecay.statistics.estimates import Estimate, every_seed, ratio_interval
from weightdecay.statistics.measures import finals
from weightdecay.statistics.shapes import located, located_at

from . import finding
from .surfaces import DATASETS, LETTERS, Grids, untied

LAWS = {  # exponents of the best λ in b, B and T
    "Norm": ("λ_norm", (0.5, -0.5, -0.5)),
    "Epochs": ("constant timescale in epochs", (1.0, -1.0, 0.0)),
    "Share": ("constant share of the run", (1.0, -1.0, -1.0)),
}
FACTORS = ("batch", "points", "epochs")  # b, B, T
Ends = Literal["bounds", "kept", "dropped"]  # how a fit treats a best λ at an end of its grid
ENDS: dict[str, Ends] = {"Kept": "kept", "Dropped": "dropped"}
WORDS = {"Kept": "ends taken for the best λ", "Dropped": "ends left out"}


@finding.claim("O7")
def one_over_rate(
    grids: Grids, *, usable: float, low: float, high: float, product: float, factor: float
) -> tuple[list[Part], str]:
    """The best λ of each optimiser goes as 1/η, and ηλ at its best cell is about `product`."""
    exponents, products, beside, notes = [], [], [], []
    for method, letters in LETTERS.items():
        table = best_decays(grids, method, usable)
        words = f"{method}: exponent of the best λ against η"
        exponents.append(judged(letters, words, every_seed(rate_exponents(table)), low, high))
        for name, ends in ENDS.items():
            found = every_seed(rate_exponents(table, ends))
            beside.append(reported(f"{letters}{name}", f"{method}: the exponent, {WORDS[name]}", found))
        cells = best_products(grids, method)
        found = ratio_interval(means_of(cells.assign(best=cells["best"] / product)))
        words = f"{method}: ηλ at the best cell, over {product:g}"
        products.append(judged(f"{letters}Product", words, found, 1 / factor, factor))
        notes.append(
            f"{method}: {at_ends(table)} best λ are at an end of the grid, of best cells {at_ends(cells)} at one of λ "
            f"and {int(cells['outer'].sum())} at one of η"
        )
    return exponents + products + beside, joined(*notes, grids.missing())


@finding.claim("O8")
def law_of_decay(grids: Grids, *, tolerance: float) -> tuple[list[Part], str]:
    """The exponents of the best λ in b, B and T are those of λ_norm.

    The spread of the best λ about each of three laws is reported beside them.
    """
    law, by_loss = (best_by_setting(grids.results, f"validation_{of}") for of in ("accuracy", "loss"))
    exponents, residuals = exponents_of(law), residuals_of(law)
    others = {name: exponents_of(law, ends) for name, ends in ENDS.items()} | {"Loss": exponents_of(by_loss)}
    symbols = dict(zip(FACTORS, ("b", "B", "T"), strict=True))
    parts = []
    for factor, expected in zip(FACTORS, LAWS["Norm"][1], strict=True):
        found = every_seed(exponents[factor])
        bounds = expected - tolerance, expected + tolerance
        parts.append(judged(factor.title(), f"exponent of the best λ in {symbols[factor]}", found, *bounds))
    for name, (words, _) in LAWS.items():
        parts.append(
            reported(f"Residual{name}", f"spread about the law, a factor: {words}", ratio_interval(residuals[name]))
        )
    for name in ("Epochs", "Share"):
        found = ratio_interval(residuals["Norm"] - residuals[name])
        parts.append(reported(f"Against{name}", f"spread about λ_norm over that about: {LAWS[name][0]}", found))
    for name, other in others.items():
        for factor in FACTORS:
            words = f"the same in {symbols[factor]}, {WORDS.get(name, 'best by validation loss')}"
            parts.append(reported(f"{factor.title()}{name}", words, every_seed(other[factor])))
    rivals = [f"by the same rule {words}: {law_verdict(exponents, law_, tolerance)}" for words, law_ in LAWS.values()]
    dropped = law_verdict(others["Dropped"], LAWS["Norm"][1], tolerance)
    return parts, joined(*rivals, f"λ_norm with ends left out: {dropped}", f"{at_ends(law)} {OVER_SETTINGS}")


@finding.claim("O9")
def best_norm(grids: Grids, *, low: float, high: float) -> tuple[list[Part], str]:
    """The best λ_norm = ηλ √(B T/b), where B T/b is the number of steps, lies in the range that its authors name."""
    law = best_by_setting(grids.results, "validation_accuracy")
    norms = law.assign(best=law["learning_rate"] * law["best"] * np.sqrt(law["steps"]))
    words = "λ_norm of the best λ, over b, B and T"
    parts = [judged("Law", words, ratio_interval(means_of(norms)), low, high)]
    notes = [f"{at_ends(law)} {OVER_SETTINGS}"]
    for dataset in ("mnist1d", "digits"):
        errors = grids.errors(dataset, "AdamW", "cosine", "validation")
        rates = {seed: errors.columns[cell][0] for seed, cell in best_cells(errors).items()}
        steps = grids.runs.loc[grids.runs["sweep"] == dataset, "steps"].max()
        places = {seed: located(errors.loc[seed, η]) for seed, η in rates.items()}
        logs = pd.Series(
            {seed: np.log(λ * rates[seed] * np.sqrt(steps)) for seed, (λ, _) in places.items()}, dtype=float
        )
        sides = {side for _, side in places.values()}
        words = f"{dataset}: λ_norm of the best λ at the best η"
        parts.append(judged(DATASETS[dataset], words, opened(ratio_interval(logs), sides), low, high))
        ends = sum(side != 0 for _, side in places.values())
        notes.append(f"{dataset}: {ends} of {len(places)} at an end of the grid" if ends else "")
    return parts, joined(*notes)


OVER_SETTINGS = "best λ over b, B and T are at an end of the grid"


def best_decays(grids: Grids, method: str, usable: float) -> pd.DataFrame:
    """Return the best λ by validation error, with a row for each surface, seed and usable η.

    Columns are `surface, seed, rate, best, side, end`; see `found_on`.
    """
    rows = []
    for dataset, schedule in grids.surfaces(method):
        errors = grids.errors(dataset, method, schedule, "validation")
        for η in grids.usable(dataset, method, schedule, usable):
            curves = errors[η]
            λ = curves.columns.to_numpy()
            for seed, curve in zip(curves.index, curves.to_numpy(), strict=True):
                rows.append({"surface": f"{dataset} {schedule}", "seed": seed, "rate": η} | found_on(λ, curve))
    return pd.DataFrame(rows, columns=["surface", "seed", "rate", "best", "side", "end"])


def best_products(grids: Grids, method: str) -> pd.DataFrame:
    """Return ηλ at the best cell by validation error, with a row for each surface and seed.

    η is that of the best cell of the other seeds. λ is then located on the seed's own curve by `found_on`. The columns
    `best, side, end` are for ηλ. `outer`: this η is at an end of its grid, beyond which a better η may lie.
    """
    rows = []
    for dataset, schedule in grids.surfaces(method):
        errors = grids.errors(dataset, method, schedule, "validation")
        rates = errors.columns.get_level_values("learning_rate")
        decays = errors.columns.get_level_values("weight_decay")
        rows_of = dict(zip(errors.index, errors.to_numpy(), strict=True))
        for seed, cell in best_cells(errors).items():
            η = rates[cell]
            found = found_on(decays[rates == η].to_numpy(), rows_of[seed][rates == η])
            outer = η in (rates.min(), rates.max())
            products = {"best": η * found["best"], "end": η * found["end"]}
            rows.append({"seed": seed, **products, "side": found["side"], "outer": outer})
    return pd.DataFrame(rows, columns=["seed", "best", "side", "end", "outer"])  # empty with one seed


def best_by_setting(results: Results, metric: str) -> pd.DataFrame:
    """Return the best λ of the sweep `law`, indexed by (batch, points, epochs, seed).

    Columns are `best, side, end, learning_rate, steps`. It is best by validation error or by validation loss, whichever
    `metric` names.
    """
    runs = results.runs[results.runs["sweep"] == "law"]
    values = finals(runs, results.history, ("validation_accuracy", "validation_loss"))
    errors = untied(1 - values["validation_accuracy"], values["validation_loss"])
    epochs = runs["steps"] * runs["batch_size"] // runs["train_size"]
    table = (
        runs[["seed", "learning_rate", "steps", "weight_decay"]]
        .assign(
            value=errors if "accuracy" in metric else values[metric],
            **dict(zip(FACTORS, (runs["batch_size"], runs["train_size"], epochs), strict=True)),
        )
        .sort_values("weight_decay")
    )
    grouped = table.groupby([*FACTORS, "seed"])
    λ, values = table["weight_decay"].to_numpy(), table["value"].to_numpy()
    found = [found_on(λ[places], values[places]) for _, places in sorted(grouped.indices.items())]
    settings = grouped[["learning_rate", "steps"]].first()
    return pd.DataFrame(found, settings.index, ["best", "side", "end"]).join(settings)


def found_on(λ: np.ndarray, errors: np.ndarray) -> dict[str, float]:
    """Return where a curve over λ is lowest: `best` and `side` by `located`, and `end`, the λ of its lowest point."""
    best, side = located_at(λ, errors)
    return {"best": best, "side": side, "end": np.nan if np.isnan(best) else float(λ[np.nanargmin(errors)])}


def fit(design: np.ndarray, rows: pd.DataFrame, ends: Ends = "bounds") -> tuple[np.ndarray, float]:
    """Fit log best λ = design @ coefficients; return the coefficients and the spread. See `censored_line`."""
    known, side = rows["best"].notna().to_numpy(), rows["side"].to_numpy(dtype=int)
    counted = known & (side == 0) if ends == "dropped" else known
    values = np.log(np.where((side != 0) & (ends == "kept"), rows["end"], rows["best"]).astype(float))
    return censored_line(design[counted], values[counted], side[counted] if ends == "bounds" else 0 * side[counted])


def rate_exponents(table: pd.DataFrame, ends: Ends = "bounds") -> pd.Series:
    """Return per seed the exponent of the best λ against η: one for all surfaces, with a constant for each surface.

    A surface on which no best λ lies inside its grid is left out: its constant is free, so it says nothing about the
    exponent. So is a surface that has only a single λ left after `ends` were dropped.
    """
    found = {}
    for seed, rows in table.groupby("seed"):
        if ends != "kept":
            rows = rows[rows["surface"].isin(rows["surface"][rows["side"] == 0])]
        surfaces = rows["surface"].to_numpy(dtype=object)
        constants = (surfaces[:, None] == np.unique(surfaces)).astype(float)
        logs = np.log(rows["rate"].to_numpy(dtype=float))
        coefficients, _ = fit(np.column_stack([logs - logs.mean() if len(logs) else logs, constants]), rows, ends)
        found[seed] = coefficients[0]
    return pd.Series(found, dtype=float)


def exponents_of(law: pd.DataFrame, ends: Ends = "bounds") -> pd.DataFrame:
    """Return the exponents of the best λ `[seeds, factors]`, fitted jointly.

    NaN if the best λ inside the grid cannot determine them.
    """
    rows = {}
    for seed, group in law.groupby(level="seed"):
        logs = np.log(group.index.to_frame()[list(FACTORS)].to_numpy(dtype=float))
        rows[seed] = fit(np.column_stack([logs - logs.mean(axis=0), np.ones(len(logs))]), group, ends)[0][:3]
    return pd.DataFrame(rows, index=FACTORS).T.astype(float)


def residuals_of(law: pd.DataFrame) -> pd.DataFrame:
    """Return the log of the spread of the best λ about each law `[seeds, laws]`, whose constant is fitted."""
    rows = {}
    for seed, group in law.groupby(level="seed"):
        logs = np.log(group.index.to_frame()[list(FACTORS)].to_numpy(dtype=float))
        rows[seed] = {name: spread_about(group, logs @ np.array(exponents)) for name, (_, exponents) in LAWS.items()}
    return pd.DataFrame(rows, index=list(LAWS), dtype=float).T


def spread_about(rows: pd.DataFrame, logs: np.ndarray) -> float:
    """Return the standard deviation of log best λ about `logs` plus a constant."""
    over = np.exp(logs)
    return fit(np.ones((len(rows), 1)), rows.assign(best=rows["best"] / over, end=rows["end"] / over))[1]


def means_of(table: pd.DataFrame) -> pd.Series:
    """Return per seed the mean of log `best`, where values at an end of the grid are bounds."""
    return pd.Series(
        {seed: fit(np.ones((len(rows), 1)), rows)[0][0] for seed, rows in table.groupby("seed")}, dtype=float
    )


def at_ends(table: pd.DataFrame) -> str:
    return f"{int((table['side'] != 0).sum())} of {len(table)}"


def opened(found: Estimate, sides: set[int]) -> Estimate:
    """Return the interval, open on the sides on which some of its values are only bounds."""
    low = 0.0 if -1 in sides and not np.isnan(found.low) else found.low
    return found._replace(low=low, high=np.inf if 1 in sides and not np.isnan(found.high) else found.high)


def law_verdict(exponents: pd.DataFrame, law: Sequence[float], tolerance: float) -> Verdict:
    """Return the verdict on whether all three exponents are those of a law."""
    return combine(
        judge_interval(every_seed(exponents[factor]), expected - tolerance, expected + tolerance)
        for factor, expected in zip(FACTORS, law, strict=True)
    )
