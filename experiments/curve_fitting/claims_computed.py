"""C5-C8, C10, C11, C14: claims on polynomials, the ball, and lines under three losses, by the tables of compute.py."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weightdecay.claims.model import Part, judged, reported
from weightdecay.statistics.estimates import (
    digits_interval,
    every_seed,
    leave_one_out,
    proportion_interval,
    rank_correlation_interval,
    ratio_interval,
)

from .runs import LOSSES, ratio_of


def chosen_ridge(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the highest degree at each seed's λ > 0 of lowest validation loss, by seed."""
    ridged = table[(table["degree"] == table["degree"].max()) & (table["weight_decay"] > 0)]
    return ridged.loc[ridged.groupby("seed")["validation_loss"].idxmin()].set_index("seed").sort_index()


def high_degrees(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C5: test error over the degree without penalty, and with a ridge at the highest degree."""
    plain = table[table["weight_decay"] == 0]
    test = np.log(plain.pivot(index="seed", columns="degree", values="test_loss"))
    train = plain.pivot(index="seed", columns="degree", values="train_loss")
    highest = test.columns[-1]
    chosen = chosen_ridge(table)
    repaired = np.log(chosen["test_loss"])
    best = leave_one_out(test, lambda others, own: own[others.idxmin()])
    return [
        judged("Falls", "test error, degree 0 over best", ratio_interval(test[0] - best), t["falls"]),
        judged("Rises", f"test error, degree {highest} over best", ratio_interval(test[highest] - best), t["rises"]),
        judged(
            "Fits", f"training error, degree {highest} over 1", every_seed(train[highest] / train[1]), most=t["fits"]
        ),
        judged(
            "Repairs", "ridge over none, highest degree", ratio_interval(repaired - test[highest]), most=t["repairs"]
        ),
        judged("Repaired", "ridge at highest degree over best", ratio_interval(repaired - best), most=t["repaired"]),
        reported("Lambda", "λ chosen", ratio_interval(np.log(chosen["weight_decay"]))),
    ], f"best degree on average: {test.mean().idxmin()}"


def penalty_is_constraint(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C6: decimal digits to which the conditions hold, and to which a solver of the constrained problem agrees."""
    words = {
        "residual": "conditions of Karush, Kuhn and Tucker",
        "solver": "minimiser in the ball",
        "multiplier": "multiplier there, against λ",
    }
    return [
        judged(name.title(), f"digits, {what}", digits_interval(table, name), least=t[name])
        for name, what in words.items()
    ], f"the worst of {table['weight_decay'].nunique()} λ in each seed"


def robust_lines(tables: Mapping[str, pd.DataFrame], t: Mapping[str, float]) -> list[Part]:
    """C7: lines under three losses with and without outliers, and how many minimisers there are.

    Algebra decides the latter but for a line under L1: a constant has several of L1 if and only if distinct points are
    even in number, and under L2 the rank of the features, which are the same in all seeds, says it.
    """
    lines = np.log(tables["outliers"].pivot(index="seed", columns=["shift", "loss"], values="distance"))
    off, shifted = lines[0.0], lines[t["shift"]]
    harm = {loss: ratio_interval(shifted[loss] - off[loss]) for loss in LOSSES}
    bounds = {"absolute_error": {"most": t["robust"]}, "squared_error": {"least": t["sensitive"]}}
    parts = [
        judged(name, f"line: distance with over without outliers, {LOSSES[loss]}", harm[loss], **bounds[loss])
        for name, loss in (("Absolute", "absolute_error"), ("Square", "squared_error"))
    ]
    parts += [
        reported("Smooth", "line: distance with over without outliers, smooth L1", harm["smooth_l1"]),
        judged(
            "SmoothAbsolute",
            "line, outliers: smooth L1 over L1",
            ratio_interval(shifted["smooth_l1"] - shifted["absolute_error"]),
            t["between"],
        ),
        judged(
            "SquareSmooth",
            "line, outliers: L2 over smooth L1",
            ratio_interval(shifted["squared_error"] - shifted["smooth_l1"]),
            t["between"],
        ),
        reported(
            "Clean", "line, no outliers: L1 over L2", ratio_interval(off["absolute_error"] - off["squared_error"])
        ),
    ]
    several = tables["minimisers"].groupby(["loss", "problem", "size"])["several"].agg(["sum", "size"])
    for (loss, problem, size), (sum_, seeds) in several.iterrows():
        absolute, parity = loss == "absolute_error", "odd" if size % 2 else "even"
        name = f"{problem.title()}{parity.title()}{'' if absolute else 'Square'}"
        what = f"several minimisers: {problem}, {size} points, {LOSSES[loss]}"
        estimate = proportion_interval(int(sum_), int(seeds))
        depends = absolute and problem == "line"
        parts.append(judged(name, what, estimate, t["several"]) if depends else reported(name, what, estimate))
    return parts


def norm_of_ridge(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C8: the norm of the ridge solution as λ grows; and the note that says how far."""
    norms = np.log(table.pivot(index="seed", columns="weight_decay", values="norm"))
    before, last = norms.columns[-2:]
    slope = (norms[last] - norms[before]) / np.log(last / before)
    return [
        judged("Slope", "ridge: power of λ that the norm goes as", every_seed(slope), t["low"], t["high"]),
        judged(
            "Ratio",
            "ridge: norm, last λ over first",
            every_seed(np.exp(norms[last] - norms.iloc[:, 0])),
            most=t["vanishes"],
        ),
    ], f"ridge: λ from {norms.columns[0]:g} to {last:g}"


def overfits(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C10: test less training error, over degrees without penalty, and over λ at the highest degree."""
    table = table.assign(gap=table["test_loss"] - table["train_loss"])
    plain = table[table["weight_decay"] == 0].pivot(index="seed", columns="degree", values="gap")
    path = table[table["degree"] == plain.columns[-1]]
    small = chosen_ridge(table)["gap"]
    return [
        judged(
            "Many",
            "rank correlation of degree and gap",
            rank_correlation_interval(table[table["weight_decay"] == 0], "degree", "gap"),
            t["together"],
        ),
        judged(
            "More",
            f"gap, degree {plain.columns[-1]}, less {t['times']:g} × that of degree 1",
            every_seed(plain[plain.columns[-1]] - t["times"] * plain[1]),
            t["more"],
        ),
        judged(
            "Large",
            "highest degree: rank correlation of norm and gap over λ",
            rank_correlation_interval(path, "norm", "gap"),
            t["together"],
        ),
        reported(
            "ManySmall",
            f"gap less that of degree 1: degree {plain.columns[-1]}, λ chosen",
            every_seed(small - plain[1]),
        ),
        reported("One", "gap of degree 1", every_seed(plain[1])),
    ], ""


def pulled_back(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C11: least squares in a ball that leaves the unconstrained optimum outside, or inside."""
    smaller, larger = table[table["radius"] < 1], table[table["radius"] > 1]
    chosen = smaller.loc[smaller.groupby("seed")["validation_loss"].idxmin()].set_index("seed")
    free = table[table["radius"] == 1].set_index("seed")
    return [
        judged(
            "Surface", "optimum outside: digits of norm and radius", digits_interval(smaller, "surface"), t["surface"]
        ),
        judged(
            "Inside", "optimum inside: digits of solution and optimum", digits_interval(larger, "apart"), t["inside"]
        ),
        judged(
            "Better",
            "error against the truth, ball over none",
            ratio_of(chosen["error"], free["error"]),
            most=t["better"],
            strict=True,
        ),
    ], f"balls of {smaller['radius'].min():g} to {larger['radius'].max():g} times the optimum's norm"


def stable_minimiser(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C14: how far lines move where all targets change a little."""
    moved = table.pivot(index="seed", columns="loss", values="moved")
    return [
        judged(
            "Ratio",
            "move of the line, L1 over L2",
            ratio_of(moved["absolute_error"], moved["squared_error"]),
            t["less"],
        ),
        reported("Smooth", "smooth L1 over L2", ratio_of(moved["smooth_l1"], moved["squared_error"])),
        reported("Square", "move of the line over that of the targets, L2", every_seed(moved["squared_error"])),
    ], ""
