"""C5-C8, C10, C11, C14: claims on polynomials, norm balls and lines under three losses, from tables of compute.py."""

import numpy as np
import pandas as pd

from weightdecay.claims.judging import judged, reported
from weightdecay.claims.model import Part
from weightdecay.statistics.estimates import (
    digits_interval,
    every_seed,
    leave_one_out,
    proportion_interval,
    rank_correlation_interval,
    ratio_interval,
    ratio_of,
)
from weightdecay.statistics.measures import best_rows

from . import finding
from .runs import LOSSES, Runs


def chosen_ridge(table: pd.DataFrame) -> pd.DataFrame:
    """Return, by seed, the row of the highest degree at the λ > 0 with the lowest validation loss."""
    return best_rows(table[(table["degree"] == table["degree"].max()) & (table["weight_decay"] > 0)])


@finding.claim("C5")
def high_degrees(
    runs: Runs, *, falls: float, rises: float, fits: float, repairs: float, repaired: float
) -> tuple[list[Part], str]:
    """Compare test errors over the degree without penalty, and at the highest degree with a ridge penalty."""
    table = runs.tables["polynomials"]
    plain = table[table["weight_decay"] == 0]
    test = np.log(plain.pivot(index="seed", columns="degree", values="test_loss"))
    train = plain.pivot(index="seed", columns="degree", values="train_loss")
    highest = test.columns[-1]
    chosen = chosen_ridge(table)
    ridged = np.log(chosen["test_loss"])
    best = leave_one_out(test, lambda others, own: own[others.idxmin()])
    return [
        judged("Falls", "test error, degree 0 over best", ratio_interval(test[0] - best), falls),
        judged("Rises", f"test error, degree {highest} over best", ratio_interval(test[highest] - best), rises),
        judged("Fits", f"training error, degree {highest} over 1", every_seed(train[highest] / train[1]), most=fits),
        judged("Repairs", "ridge over none, highest degree", ratio_interval(ridged - test[highest]), most=repairs),
        judged("Repaired", "ridge at highest degree over best", ratio_interval(ridged - best), most=repaired),
        reported("Lambda", "λ chosen", ratio_interval(np.log(chosen["weight_decay"]))),
    ], f"best degree on average: {test.mean().idxmin()}"


@finding.claim("C6")
def penalty_is_constraint(runs: Runs, *, residual: float, solver: float, multiplier: float) -> tuple[list[Part], str]:
    """Count the digits to which the optimality conditions hold, and to which a constrained solver agrees."""
    table = runs.tables["constraints"]
    asked = {
        "residual": ("conditions of Karush, Kuhn and Tucker", residual),
        "solver": ("minimiser in the ball", solver),
        "multiplier": ("multiplier there, against λ", multiplier),
    }
    return [
        judged(name.title(), f"digits, {what}", digits_interval(table, name), least)
        for name, (what, least) in asked.items()
    ], f"the worst of {table['weight_decay'].nunique()} λ in each seed"


def robust_lines(
    runs: Runs, shift: float, robust: float, sensitive: float, between: float, several: float
) -> list[Part]:
    """Compare lines under three losses with and without outliers, and count their minimisers.

    Algebra gives the number of minimisers except for a line under L1. Under L1 a constant has several minimisers if and
    only if the number of distinct points is even. Under L2 the rank of the features decides, which is the same for all
    seeds.
    """
    lines = np.log(runs.tables["outliers"].pivot(index="seed", columns=["shift", "loss"], values="distance"))
    off, shifted = lines[0.0], lines[shift]
    harm = {loss: ratio_interval(shifted[loss] - off[loss]) for loss in LOSSES}
    what = "line: distance with over without outliers"
    parts = [
        judged("Absolute", f"{what}, L1", harm["absolute_error"], most=robust),
        judged("Square", f"{what}, L2", harm["squared_error"], least=sensitive),
        reported("Smooth", f"{what}, smooth L1", harm["smooth_l1"]),
        judged(
            "SmoothAbsolute",
            "line, outliers: smooth L1 over L1",
            ratio_interval(shifted["smooth_l1"] - shifted["absolute_error"]),
            between,
        ),
        judged(
            "SquareSmooth",
            "line, outliers: L2 over smooth L1",
            ratio_interval(shifted["squared_error"] - shifted["smooth_l1"]),
            between,
        ),
        reported(
            "Clean", "line, no outliers: L1 over L2", ratio_interval(off["absolute_error"] - off["squared_error"])
        ),
    ]
    found = runs.tables["minimisers"].groupby(["loss", "problem", "size"])["several"].agg(["sum", "size"])
    for (loss, problem, size), (sum_, seeds) in found.iterrows():
        absolute, parity = loss == "absolute_error", "odd" if size % 2 else "even"
        name = f"{problem.title()}{parity.title()}{'' if absolute else 'Square'}"
        what = f"several minimisers: {problem}, {size} points, {LOSSES[loss]}"
        estimate = proportion_interval(int(sum_), int(seeds))
        depends = absolute and problem == "line"
        parts.append(judged(name, what, estimate, several) if depends else reported(name, what, estimate))
    return parts


def norm_of_ridge(runs: Runs, low: float, high: float, vanishes: float) -> tuple[list[Part], str]:
    """Measure the norm of the ridge solution as λ grows; the note gives the largest λ."""
    norms = np.log(runs.tables["constraints"].pivot(index="seed", columns="weight_decay", values="norm"))
    before, last = norms.columns[-2:]
    slope = (norms[last] - norms[before]) / np.log(last / before)
    return [
        judged("Slope", "ridge: power of λ that the norm goes as", every_seed(slope), low, high),
        judged(
            "Ratio", "ridge: norm, last λ over first", every_seed(np.exp(norms[last] - norms.iloc[:, 0])), most=vanishes
        ),
    ], f"ridge: λ from {norms.columns[0]:g} to {last:g}"


@finding.claim("C10")
def overfits(runs: Runs, *, together: float, times: float, more: float) -> tuple[list[Part], str]:
    """Compare the gap of test to training error, over degrees without penalty and over λ at the highest degree."""
    table = runs.tables["polynomials"]
    table = table.assign(gap=table["test_loss"] - table["train_loss"])
    plain = table[table["weight_decay"] == 0].pivot(index="seed", columns="degree", values="gap")
    path = table[table["degree"] == plain.columns[-1]]
    small = chosen_ridge(table)["gap"]
    return [
        judged(
            "Many",
            "rank correlation of degree and gap",
            rank_correlation_interval(table[table["weight_decay"] == 0], "degree", "gap"),
            together,
        ),
        judged(
            "More",
            f"gap, degree {plain.columns[-1]}, less {times:g} × that of degree 1",
            every_seed(plain[plain.columns[-1]] - times * plain[1]),
            more,
        ),
        judged(
            "Large",
            "highest degree: rank correlation of norm and gap over λ",
            rank_correlation_interval(path, "norm", "gap"),
            together,
        ),
        reported(
            "ManySmall",
            f"gap less that of degree 1: degree {plain.columns[-1]}, λ chosen",
            every_seed(small - plain[1]),
        ),
        reported("One", "gap of degree 1", every_seed(plain[1])),
    ], ""


@finding.claim("C11")
def pulled_back(runs: Runs, *, surface: float, inside: float, better: float) -> tuple[list[Part], str]:
    """Compare least squares within a ball with the unconstrained optimum, which lies outside or inside the ball."""
    table = runs.tables["balls"]
    smaller, larger = table[table["radius"] < 1], table[table["radius"] > 1]
    chosen = best_rows(smaller)
    free = table[table["radius"] == 1].set_index("seed")
    return [
        judged("Surface", "optimum outside: digits of norm and radius", digits_interval(smaller, "surface"), surface),
        judged("Inside", "optimum inside: digits of solution and optimum", digits_interval(larger, "apart"), inside),
        judged(
            "Better",
            "error against the truth, ball over none",
            ratio_of(chosen["error"], free["error"]),
            most=better,
            strict=True,
        ),
    ], f"balls of {smaller['radius'].min():g} to {larger['radius'].max():g} times the optimum's norm"


@finding.claim("C14")
def stable_minimiser(runs: Runs, *, less: float) -> tuple[list[Part], str]:
    """Compare how far lines move under three losses when all targets change a little."""
    moved = runs.tables["nudges"].pivot(index="seed", columns="loss", values="moved")
    return [
        judged(
            "Ratio", "move of the line, L1 over L2", ratio_of(moved["absolute_error"], moved["squared_error"]), less
        ),
        reported("Smooth", "smooth L1 over L2", ratio_of(moved["smooth_l1"], moved["squared_error"])),
        reported("Square", "move of the line over that of the targets, L2", every_seed(moved["squared_error"])),
    ], ""
