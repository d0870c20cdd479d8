"""Claims O1-O14 on Adam + L2 and AdamW, judged by the criteria of config.yaml: O7-O9 in scaling, O11-O13 in coupling.

Each quantity is one number per seed, with a 95 % interval over seeds. A cell is chosen by the validation error of the
other seeds, and its test error is then measured. The shape of a basin comes from the held-out error, which averages
validation and test error, as nothing is chosen by it.
"""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd

from weightdecay.claims.judging import counts, joined, judge_interval, judged, reported
from weightdecay.claims.model import Part, combine
from weightdecay.statistics.basins import at_border
from weightdecay.statistics.estimates import DIFFERENCE, every_seed, ratio_interval, ratio_of
from weightdecay.statistics.measures import diverged

from . import coupling, finding, scaling  # noqa: F401 (the claims of coupling and scaling)
from .surfaces import DATASETS, LETTERS, METHODS, UNDECAYED, Grids, computed, log_error, over_surfaces

CONVENTIONS = {"S0": "Szero", "S2": "Stwo", "S2 second": "StwoSecond", "S3": "Sthree"}
UNIT = 1e-15  # the unit in which residuals are given: they are a few roundings of float64
CLASSIFIERS = {"adam_l2": ("AdamL", "adam"), "adamw": ("AdamW", "adam"), "sgd_l2": ("SgdL", "sgd")}


@finding.claim("O1")
def one_update(grids: Grids, *, residual: float) -> tuple[list[Part], str]:
    """The three ways to write an update agree to rounding."""
    table, parts = grids.results.tables["identities"], []
    for convention, word in CONVENTIONS.items():
        rows = table[table["convention"] == convention].set_index("seed")[["update", "run"]] / UNIT
        for column, what in (("update", "in an update"), ("run", "at the end of a run")):
            found = every_seed(rows[column], (0, np.inf))
            words = f"{convention}: largest residual {what}, in units of 1e-15"
            parts.append(judged(f"{word}{column.title()}", words, found, most=residual / UNIT))
    return parts, ""


@finding.claim("O2")
def not_under_adam(grids: Grids, *, slope: float, fall: float, spread: float) -> tuple[list[Part], str]:
    """Under Adam + L2 a weight decays less if its gradients are larger; under AdamW all weights decay equally."""
    table = grids.results.tables["decay_rates"]
    l2, decoupled = (table[table["decay"] == kind] for kind in ("l2", "decoupled"))
    rates = np.log(l2.pivot(index="seed", columns="bin", values="rate"))
    tenth = max(1, rates.shape[1] // 10)
    fallen = rates.iloc[:, -tenth:].mean(axis=1) - rates.iloc[:, :tenth].mean(axis=1)
    slopes = {kind: rows.groupby("seed")["slope"].first() for kind, rows in (("l2", l2), ("decoupled", decoupled))}
    ends = decoupled.groupby("seed").agg({"low": "min", "high": "max"})
    typical = rates.mean(axis=1)
    uncounted = 1 - l2.groupby("seed")["counted"].first().mean()
    return [
        judged("Slope", "Adam + L2: slope of log decay against log gradient", every_seed(slopes["l2"]), most=slope),
        judged(
            "Fall", "Adam + L2: decay at the largest gradients over the smallest", ratio_interval(fallen), most=fall
        ),
        judged("Spread", "AdamW: largest over smallest decay", ratio_of(ends["high"], ends["low"]), most=spread),
        reported("DecoupledSlope", "AdamW: slope of log decay against log gradient", every_seed(slopes["decoupled"])),
        reported("Times", "Adam + L2: decay over ηλ, geometric mean over weights", ratio_interval(typical)),
    ], f"Adam + L2: {uncounted:.2%} of weights grew by their penalty and are left out"


@finding.claim("O3")
def momentum_and_schedule(grids: Grids, *, differ: float, shrinkage: float) -> tuple[list[Part], str]:
    """With momentum the two differ, and a schedule changes what decay does."""
    table = grids.results.tables["schedules"]
    momentum = table["momentum"].max()
    tables = {
        column: table[table["momentum"] == momentum].pivot(index="seed", columns="schedule", values=column)
        for column in ("distance", "shrinkage")
    }
    plain = table[table["momentum"] == 0].groupby("seed")["distance"].max() / UNIT
    distance, shrunk = np.log(tables["distance"]), tables["shrinkage"]
    parts = []
    for schedule in ("step", "cosine"):
        word = schedule.title()
        found = ratio_interval(distance[schedule])
        parts.append(judged(word, f"{schedule}: distance between L2 and decay over decay's effect", found, differ))
    for schedule in ("step", "cosine"):
        ratio = ratio_interval(np.log((shrunk[schedule] / shrunk["constant"]).where(lambda x: x > 0)))
        words = f"{schedule}: shrinkage of the norm over that at a constant rate"
        parts.append(judged(f"Shrinkage{schedule.title()}", words, ratio, most=shrinkage))
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


@finding.claim("O4")
def separable(grids: Grids, *, tilt: float) -> tuple[list[Part], str]:
    """The basin is more tilted with L2 than with decoupled decay, in three choices of coordinates."""
    choices = {
        "Own": (("λ", "ηλ"), "L2 against λ, decoupled against ηλ"),
        "Torch": (("λ", "λ"), "both against λ"),
        "Shrinkage": (("ηλ", "ηλ"), "both against ηλ"),
    }
    parts, beside, cleared = [], [], []
    for (word, (coordinates, words)), family in product(choices.items(), ("Adam", "SGD")):
        pair = list(zip((f"{family} + L2", f"{family}W"), coordinates, strict=True))
        coupled, decoupled = (grids.tilts(*of) for of in pair)
        found = every_seed(coupled - decoupled)
        name = f"{family.title()}{word}"
        parts.append(judged(name, f"{family}: degrees of tilt, L2 less decoupled; {words}", found, tilt))
        added = grids.added_by_noise(*pair[0]) - grids.added_by_noise(*pair[1])
        beside.append(reported(f"{name}Noise", f"{family}: what noise adds to it; {words}", computed(added)))
        cleared.append(judge_interval(every_seed(coupled - decoupled - added), tilt))
    alike = 0
    for coordinate, word in (("λ", "Torch"), ("ηλ", "Shrinkage")):
        of_noise = grids.noise_tilt("AdamW", coordinate)
        beside.append(reported(f"{word}Random", f"tilt of noise alone against {coordinate}", computed(of_noise)))
        for method, letters in LETTERS.items():
            found = every_seed(grids.tilts(method, coordinate))
            alike += found.low <= of_noise <= found.high
            parts.append(reported(f"{letters}{word}Tilt", f"{method}: degrees of tilt against {coordinate}", found))
    without = f"less what noise adds, by the same rule: {combine(cleared)}"
    like_noise = f"of the {2 * len(LETTERS)} tilts {alike} have an interval that holds that of noise alone"
    return parts + beside, joined(without, like_noise, grids.missing(), border(grids))


@finding.claim("O5")
def generalises(grids: Grids, *, difference: float) -> tuple[list[Part], str]:
    """AdamW's best test error beats that of Adam + L2 on each data set.

    The same comparison for SGD, for each schedule and with no decay is reported beside it.
    """
    verdicts, others = [], []
    for dataset, word in DATASETS.items():
        schedules = grids.schedules(dataset)
        if not schedules:
            continue
        best = {
            method: grids.best(dataset, method, schedules) for method in METHODS if grids.schedules(dataset, method)
        }
        best |= {method: pd.Series(dtype=float) for method in ("AdamW", "Adam + L2") if method not in best}
        found = every_seed(best["AdamW"] - best["Adam + L2"], DIFFERENCE)
        words = f"{dataset}: test error, AdamW less Adam + L2"
        verdicts.append(judged(word, words, found, most=difference, strict=True))
        ratio = ratio_interval(log_error(best["AdamW"]) - log_error(best["Adam + L2"]))
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
    return verdicts + others, joined(grids.missing(), counts(len(grids.runs), {"diverged": diverged(grids.runs)}))


@finding.claim("O6")
def less_sensitive(grids: Grids, *, tolerance: float, ratio: float) -> tuple[list[Part], str]:
    """AdamW's good basins are larger than those of Adam + L2."""

    def logs(method: str, datasets: Sequence[str] = tuple(DATASETS)) -> pd.Series:
        surfaces = [surface for surface in grids.surfaces(method) if surface[0] in datasets]
        return over_surfaces(
            np.log(grids.areas(dataset, method, schedule, tolerance)) for dataset, schedule in surfaces
        )

    over = ratio_interval(logs("AdamW") - logs("Adam + L2"))
    parts = [judged("Ratio", "area of the good basin, AdamW over Adam + L2", over, least=ratio, strict=True)]
    for dataset, word in DATASETS.items():
        if grids.schedules(dataset):
            found = ratio_interval(logs("AdamW", [dataset]) - logs("Adam + L2", [dataset]))
            parts.append(reported(f"{word}Ratio", f"{dataset}: the same", found))
    for method, letters in LETTERS.items():
        words = f"{method}: area of the good basin, decades of η × decades of λ"
        parts.append(reported(f"{letters}Area", words, ratio_interval(logs(method))))
    notes = []
    for method, letters in LETTERS.items():
        shares = grids.at_edges(method, tolerance)
        found = every_seed(over_surfaces(shares))
        parts.append(reported(f"{letters}Edge", f"{method}: share of its boundary that is the window's edge", found))
        cut, basins = sum((own > 0).sum() for own in shares), sum(map(len, shares))
        notes.append(f"{method}: {cut} of {basins} basins are cut by the window")
    return parts, joined(*notes, grids.missing())


@finding.claim("O10")
def classifier(grids: Grids, *, narrower: float, wider: float, difference: float) -> tuple[list[Part], str]:
    """In S0's network training widens the distribution of weights, decay narrows it, and AdamW has the lower error."""
    table = grids.results.tables["classifier"]
    once = table.drop_duplicates(["seed", "network", "stage"]).set_index(["network", "stage", "seed"]).sort_index()
    spread, error = np.log(once["spread"]), once["test_error"]
    parts = []
    for network, (letters, without) in CLASSIFIERS.items():
        found = ratio_interval(spread[network, "after"] - spread[without, "after"])
        words = f"{letters_of(letters)}: spread of the weights, with decay over without"
        parts.append(judged(f"Narrower{letters}", words, found, most=narrower))
    for without in ("adam", "sgd"):
        found = ratio_interval(spread[without, "after"] - spread[without, "before"])
        words = f"{UNDECAYED_WORDS[without]}: spread of the weights, after training over before"
        parts.append(judged(f"Wider{without.title()}", words, found, least=wider))
    found = every_seed(error["adamw", "after"] - error["adam_l2", "after"], DIFFERENCE)
    parts.append(judged("Difference", "test error, AdamW less Adam + L2", found, most=difference, strict=True))
    for network in once.index.unique("network"):
        word = CLASSIFIERS.get(network, (network.title(),))[0]
        words = f"test error of {letters_of(word)}{'' if network in CLASSIFIERS else ', no decay'}"
        parts.append(reported(f"Error{word}", words, every_seed(error[network, "after"])))
    return parts, ""


UNDECAYED_WORDS = {"adam": "Adam, no decay", "sgd": "SGD, no decay"}


def letters_of(letters: str) -> str:
    """Return the method that the letters in the name of a part stand for."""
    return {short: method for method, short in LETTERS.items()}.get(letters, letters.replace("Sgd", "SGD"))


@finding.claim("O14")
def two_formulas(grids: Grids, *, tolerance: float) -> tuple[list[Part], str]:
    """A step of PyTorch's Adam subtracts αλw from the weights w, S2's first formula.

    The part judged is the ratio of what it subtracts to αλw. The ratio to λw, S2's second formula, and both ratios for
    PyTorch's other optimisers are reported beside it.
    """
    table, parts = grids.results.tables["torch_optimizers"], []
    for optimizer, word in {"Adam": "", "SGD": "Sgd", "AdamW": "AdamW"}.items():
        rows = table[table["optimizer"] == optimizer].set_index("seed")
        logs = np.log(rows["rate"])
        for name, formula, found in (
            ("First", "αλw, of w − α(∇J + λw)", logs),
            ("Second", "λθ, of (1 − λ)θ − α∇f", logs + np.log(rows["learning_rate"])),
        ):
            words, ratio = f"torch.optim.{optimizer}: what a step takes off, over {formula}", ratio_interval(found)
            if (optimizer, name) == ("Adam", "First"):
                parts.append(judged(name, words, ratio, 1 - tolerance, 1 + tolerance))
            else:
                parts.append(reported(f"{word}{name}", words, ratio))
    return parts, ""


def border(grids: Grids) -> str:
    shares = [
        at_border(grids.errors(dataset, method, schedule, "held_out"))
        for method in METHODS
        for dataset, schedule in grids.surfaces(method)
    ]
    known = [share for own in shares for share in own.dropna()]
    return f"{np.mean(known):.0%} of the best tenth of cells are at the border of their grid" if known else ""
