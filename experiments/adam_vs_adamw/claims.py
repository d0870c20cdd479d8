"""Claims O1-O10 on Adam + L2 and AdamW, judged by the criteria of config.yaml.

One estimate a seed, then a 95 % interval over seeds. Cells are chosen by validation error on the other seeds and read
on test error. A basin's shape is read off the held-out error of both together, as nothing is chosen by it.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from surfaces import (
    DATASETS,
    FACTORS,
    LAWS,
    LETTERS,
    METHODS,
    UNDECAYED,
    Grids,
    best_by_setting,
    exponents_of,
    law_verdict,
    over_surfaces,
    residuals_of,
    slope,
)

from weightdecay.analysis import claims as ledger
from weightdecay.analysis.basins import at_border, best_cells, good_cells
from weightdecay.analysis.claims import NOT_RUN, Claim, Part, counts, joined, judged, reported
from weightdecay.analysis.measures import diverged
from weightdecay.analysis.shapes import valley
from weightdecay.analysis.statistics import DIFFERENCE, every_seed, ratio_interval

EXPERIMENT = "adam_vs_adamw"
CONVENTIONS = {"S0": "Szero", "S2": "Stwo", "S2 second": "StwoSecond", "S3": "Sthree"}
UNIT = 1e-15  # of residuals, which are a few roundings of float64
CLASSIFIERS = {"adam_l2": ("AdamL", "adam"), "adamw": ("AdamW", "adam"), "sgd_l2": ("SgdL", "sgd")}


def judge(results: Any, criteria: Mapping[str, Any]) -> list[Claim]:
    """The ten claims, in order."""
    t = {id: words.thresholds for id, words in criteria.items()}
    grids = Grids(results)
    law = best_by_setting(results, "validation_accuracy")
    parts = {
        "O1": one_update(results.tables["identities"], t["O1"]),
        "O2": not_under_adam(results.tables["decay_rates"], t["O2"]),
        "O3": momentum_and_schedule(results.tables["schedules"], t["O3"]),
        "O4": separable(grids, t["O4"]),
        "O5": generalises(grids, t["O5"]),
        "O6": less_sensitive(grids, t["O6"]),
        "O7": one_over_rate(grids, t["O7"]),
        "O8": law_of_decay(law, best_by_setting(results, "validation_loss"), t["O8"]),
        "O9": best_norm(law, grids, t["O9"]),
        "O10": classifier(results.tables["classifier"], t["O10"]),
    }
    return [ledger.claim(id, EXPERIMENT, criteria, *found) for id, found in parts.items()]


def one_update(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """O1: the three ways to write an update agree to rounding."""
    parts = []
    for convention, word in CONVENTIONS.items():
        rows = table[table["convention"] == convention].set_index("seed")[["update", "run"]] / UNIT
        for column, what in (("update", "in an update"), ("run", "at the end of a run")):
            found = every_seed(rows[column], (0, np.inf))
            words = f"{convention}: largest residual {what}, in units of 1e-15"
            parts.append(judged(f"{word}{column.title()}", words, found, most=t["residual"] / UNIT))
    return parts, ""


def not_under_adam(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """O2: what each weight decays by, against its gradient scale."""
    l2, decoupled = (table[table["decay"] == kind] for kind in ("l2", "decoupled"))
    rates = np.log(l2.pivot(index="seed", columns="bin", values="rate"))
    tenth = max(1, rates.shape[1] // 10)
    fall = rates.iloc[:, -tenth:].mean(axis=1) - rates.iloc[:, :tenth].mean(axis=1)
    slopes = {kind: rows.groupby("seed")["slope"].first() for kind, rows in (("l2", l2), ("decoupled", decoupled))}
    ends = decoupled.groupby("seed").agg({"low": "min", "high": "max"})
    typical = rates.mean(axis=1)
    uncounted = 1 - l2.groupby("seed")["counted"].first().mean()
    return [
        judged(
            "Slope", "Adam + L2: slope of log decay against log gradient", every_seed(slopes["l2"]), most=t["slope"]
        ),
        judged(
            "Fall", "Adam + L2: decay at the largest gradients over the smallest", ratio_interval(fall), most=t["fall"]
        ),
        judged(
            "Spread",
            "AdamW: largest over smallest decay",
            ratio_interval(np.log(ends["high"] / ends["low"])),
            most=t["spread"],
        ),
        reported("DecoupledSlope", "AdamW: slope of log decay against log gradient", every_seed(slopes["decoupled"])),
        reported("Times", "Adam + L2: decay over ηλ, geometric mean over weights", ratio_interval(typical)),
    ], f"Adam + L2: {uncounted:.2%} of weights grew by their penalty and are left out"


def momentum_and_schedule(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """O3: with momentum the two differ, and a schedule changes what decay does."""
    momentum = table["momentum"].max()
    tables = {
        column: table[table["momentum"] == momentum].pivot(index="seed", columns="schedule", values=column)
        for column in ("distance", "shrinkage")
    }
    plain = table[table["momentum"] == 0].groupby("seed")["distance"].max() / UNIT
    distance, shrinkage = np.log(tables["distance"]), tables["shrinkage"]
    parts = []
    for schedule in ("step", "cosine"):
        word = schedule.title()
        found = ratio_interval(distance[schedule])
        parts.append(judged(word, f"{schedule}: distance between L2 and decay over decay's effect", found, t["differ"]))
    for schedule in ("step", "cosine"):
        ratio = ratio_interval(np.log((shrinkage[schedule] / shrinkage["constant"]).where(lambda x: x > 0)))
        words = f"{schedule}: shrinkage of the norm over that at a constant rate"
        parts.append(judged(f"Shrinkage{schedule.title()}", words, ratio, most=t["shrinkage"]))
    return [
        *parts,
        reported(
            "Constant",
            "constant: distance between L2 and decay over decay's effect",
            ratio_interval(distance["constant"]),
        ),
        reported(
            "Plain", "no momentum, any schedule: the same distance, in units of 1e-15", every_seed(plain, (0, np.inf))
        ),
    ], ""


def separable(grids: Grids, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """O4: tilt of the basin with L2 less with decoupled decay, in three choices of coordinates."""
    choices = {
        "Own": (("λ", "ηλ"), "L2 against λ, decoupled against ηλ"),
        "Torch": (("λ", "λ"), "both against λ"),
        "Shrinkage": (("ηλ", "ηλ"), "both against ηλ"),
    }
    parts = []
    for (word, (coordinates, words)), family in product(choices.items(), ("Adam", "SGD")):
        coupled, decoupled = (
            grids.tilts(method, coordinate)
            for method, coordinate in zip((f"{family} + L2", f"{family}W"), coordinates, strict=True)
        )
        found = every_seed(coupled - decoupled)
        parts.append(
            judged(
                f"{family.title()}{word}", f"{family}: degrees of tilt, L2 less decoupled; {words}", found, t["tilt"]
            )
        )
    for (method, letters), (coordinate, word) in product(LETTERS.items(), (("λ", "Torch"), ("ηλ", "Shrinkage"))):
        found = every_seed(grids.tilts(method, coordinate))
        parts.append(reported(f"{letters}{word}Tilt", f"{method}: degrees of tilt against {coordinate}", found))
    return parts, joined(missing_datasets(grids), border(grids))


def generalises(grids: Grids, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """O5: best against best, on each data set; SGD's pair, each schedule and no decay are reported beside."""
    verdicts, others = [], []
    for dataset, word in DATASETS.items():
        schedules = grids.schedules(dataset)
        if not schedules:
            continue
        best = {
            method: grids.best(dataset, method, schedules) for method in METHODS if grids.schedules(dataset, method)
        }
        difference = every_seed(best["AdamW"] - best["Adam + L2"], DIFFERENCE)
        verdicts.append(
            judged(word, f"{dataset}: test error, AdamW less Adam + L2", difference, most=t["difference"], strict=True)
        )
        ratio = ratio_interval(np.log(best["AdamW"] / best["Adam + L2"]))
        others.append(reported(f"{word}Ratio", f"{dataset}: test error, AdamW over Adam + L2", ratio))
        for method, errors in best.items():
            others.append(
                reported(f"{word}{LETTERS[method]}", f"{dataset}: test error of {method}", every_seed(errors))
            )
        for method in UNDECAYED:
            if grids.schedules(dataset, method):
                errors = grids.best(dataset, method, schedules)
                others.append(
                    reported(f"{word}{method.title()}", f"{dataset}: test error of {method}", every_seed(errors))
                )
        if len(schedules) > 1:
            for schedule in schedules:
                pair = [grids.best(dataset, method, [schedule]) for method in ("AdamW", "Adam + L2")]
                found = every_seed(pair[0] - pair[1], DIFFERENCE)
                others.append(
                    reported(f"{word}{schedule.title()}", f"{dataset}, {schedule}: AdamW less Adam + L2", found)
                )
    return verdicts + others, joined(
        missing_datasets(grids), counts(len(grids.runs), {"diverged": diverged(grids.runs)})
    )


def less_sensitive(grids: Grids, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """O6: how large the good basins are."""

    def logs(method: str, datasets: Sequence[str] = tuple(DATASETS)) -> pd.Series:
        surfaces = [surface for surface in grids.surfaces(method) if surface[0] in datasets]
        return over_surfaces(
            np.log(grids.areas(dataset, method, schedule, t["tolerance"])) for dataset, schedule in surfaces
        )

    ratio = ratio_interval(logs("AdamW") - logs("Adam + L2"))
    parts = [judged("Ratio", "area of the good basin, AdamW over Adam + L2", ratio, least=t["ratio"], strict=True)]
    for dataset, word in DATASETS.items():
        if grids.schedules(dataset):
            found = ratio_interval(logs("AdamW", [dataset]) - logs("Adam + L2", [dataset]))
            parts.append(reported(f"{word}Ratio", f"{dataset}: the same", found))
    for method, letters in LETTERS.items():
        words = f"{method}: area of the good basin, decades of η × decades of λ"
        parts.append(reported(f"{letters}Area", words, ratio_interval(logs(method))))
    return parts, joined(missing_datasets(grids), border(grids))


def one_over_rate(grids: Grids, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """O7: the exponent of the best λ against η, and ηλ at the best cell, of each optimiser."""
    exponents, products, notes = [], [], []
    for method, letters in LETTERS.items():
        slopes, at_best, lacking, asked = [], [], 0, 0
        for dataset, schedule in grids.surfaces(method):
            found = grids.best_decays(dataset, method, schedule, t["usable"])
            lacking, asked = lacking + int(found.isna().sum().sum()), asked + found.size
            slopes.append(found.apply(slope, axis=1))
            errors = grids.errors(dataset, method, schedule, "validation")
            at_best.append(errors.idxmin(axis=1).map(lambda cell: np.log(np.prod(cell))))  # each seed's own place
        words = f"{method}: exponent of the best λ against η"
        exponents.append(judged(letters, words, every_seed(over_surfaces(slopes)), t["low"], t["high"]))
        found = ratio_interval(over_surfaces(at_best) - np.log(t["product"]))
        words = f"{method}: ηλ at the best cell, over {t['product']:g}"
        products.append(judged(f"{letters}Product", words, found, 1 / t["factor"], t["factor"]))
        notes.append(f"{lacking} of {asked} best λ of {method} are at an end of the grid")
    return exponents + products, joined(*notes, missing_datasets(grids))


def law_of_decay(law: pd.DataFrame, by_loss: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """O8: exponents of the best λ in b, B and T, and how far it lies from each law."""
    exponents, residuals = exponents_of(law), residuals_of(law)
    symbols = dict(zip(FACTORS, ("b", "B", "T"), strict=True))
    parts = []
    for factor, expected in zip(FACTORS, LAWS["Norm"][1], strict=True):
        found = every_seed(exponents[factor])
        bounds = expected - t["tolerance"], expected + t["tolerance"]
        parts.append(judged(factor.title(), f"exponent of the best λ in {symbols[factor]}", found, *bounds))
    for name, (words, _) in LAWS.items():
        parts.append(
            reported(f"Residual{name}", f"spread about the law, a factor: {words}", ratio_interval(residuals[name]))
        )
    for name in ("Epochs", "Share"):
        found = ratio_interval(residuals["Norm"] - residuals[name])
        parts.append(reported(f"Against{name}", f"spread about λ_norm over that about: {LAWS[name][0]}", found))
    other = exponents_of(by_loss)
    for factor in FACTORS:
        words = f"the same in {symbols[factor]}, best by validation loss"
        parts.append(reported(f"{factor.title()}Loss", words, every_seed(other[factor])))
    rivals = [f"by the same rule {words}: {law_verdict(exponents, law_, t)}" for words, law_ in LAWS.values()]
    return parts, joined(*rivals, unlocated(law))


def best_norm(law: pd.DataFrame, grids: Grids, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """O9: λ_norm = ηλ √(B T/b), where B T/b is the number of steps."""
    logs = np.log(law["learning_rate"] * law["best"] * np.sqrt(law["steps"])).unstack("seed")
    parts = [judged("Law", "λ_norm of the best λ, over b, B and T", ratio_interval(logs.mean()), t["low"], t["high"])]
    for dataset in ("mnist1d", "digits"):
        errors = grids.errors(dataset, "AdamW", "cosine", "validation")
        rates = {seed: errors.columns[cell][0] for seed, cell in best_cells(errors).items()}
        steps = grids.runs.loc[grids.runs["sweep"] == dataset, "steps"].max()
        found = pd.Series(
            {seed: valley(errors.loc[seed, η]) * η * np.sqrt(steps) for seed, η in rates.items()}, dtype=float
        )
        words = f"{dataset}: λ_norm of the best λ at the best η"
        parts.append(judged(DATASETS[dataset], words, ratio_interval(np.log(found)), t["low"], t["high"]))
    return parts, unlocated(law)


def classifier(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """O10: widths of the weights' distributions, and test errors, of S0's network."""
    once = table.drop_duplicates(["seed", "network", "stage"]).set_index(["network", "stage", "seed"]).sort_index()
    spread, error = np.log(once["spread"]), once["test_error"]
    parts = []
    for network, (letters, without) in CLASSIFIERS.items():
        found = ratio_interval(spread[network, "after"] - spread[without, "after"])
        words = f"{letters_of(letters)}: spread of the weights, with decay over without"
        parts.append(judged(f"Narrower{letters}", words, found, most=t["narrower"]))
    for without in ("adam", "sgd"):
        found = ratio_interval(spread[without, "after"] - spread[without, "before"])
        words = f"{UNDECAYED_WORDS[without]}: spread of the weights, after training over before"
        parts.append(judged(f"Wider{without.title()}", words, found, least=t["wider"]))
    difference = every_seed(error["adamw", "after"] - error["adam_l2", "after"], DIFFERENCE)
    parts.append(
        judged("Difference", "test error, AdamW less Adam + L2", difference, most=t["difference"], strict=True)
    )
    for network in once.index.unique("network"):
        word = CLASSIFIERS.get(network, (network.title(),))[0]
        words = f"test error of {letters_of(word)}{'' if network in CLASSIFIERS else ', no decay'}"
        parts.append(reported(f"Error{word}", words, every_seed(error[network, "after"])))
    return parts, ""


UNDECAYED_WORDS = {"adam": "Adam, no decay", "sgd": "SGD, no decay"}


def letters_of(letters: str) -> str:
    """The method that `letters` stand for."""
    return {short: method for method, short in LETTERS.items()}.get(letters, letters.replace("Sgd", "SGD"))


def border(grids: Grids) -> str:
    shares = [
        at_border(good_cells(row), errors.columns)
        for method in METHODS
        for dataset, schedule in grids.surfaces(method)
        for errors in [grids.errors(dataset, method, schedule, "held_out")]
        for _, row in errors.iterrows()
    ]
    return f"{np.mean(shares):.0%} of the best tenth of cells are at the border of their grid"


def missing_datasets(grids: Grids) -> str:
    return joined(*(f"{dataset}: {NOT_RUN}" for dataset in DATASETS if not grids.schedules(dataset)))


def unlocated(law: pd.DataFrame) -> str:
    lacking = int(law["best"].isna().sum())
    return f"{lacking} of {len(law)} best λ over b, B and T are at an end of the grid" if lacking else ""


if __name__ == "__main__":
    ledger.main(judge, Path(__file__).with_name("config.yaml"))
