"""Claim X1: one norm at which networks generalise. Claim X2: the norm foretells when."""

import numpy as np
import pandas as pd

from weightdecay.claims.judging import counts, joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.claims.names import in_letters
from weightdecay.statistics.estimates import UNKNOWN, Estimate, every_seed, mean_interval, ratio_interval
from weightdecay.statistics.measures import diverged

from . import finding
from .passages import Measured, predictions

RULES = {"tau": "τ", "tau_logarithm": "τ ln(V₀/V*)", "one_norm": "one passage norm for all η"}


def never(table: pd.DataFrame) -> dict[str, int]:
    """Count the runs that never pass, and those that diverge."""
    lost = diverged(table)
    return {"never pass": int((~table["passed"]).sum()) - lost, "diverged": lost}


@finding.claim("X1")
def one_norm(m: Measured, *, accuracy: float, variation: float, times: float, share: float) -> tuple[list[Part], str]:
    """At each learning rate the norm at the passage hardly depends on λ, and its step depends on it strongly."""
    table = m.passages(accuracy)
    parts, narrow = [], []
    for rate, cells in table.groupby("learning_rate"):
        norms, steps = (cells.pivot(index="seed", columns="weight_decay", values=of) for of in ("norm", "step"))
        if norms.shape[1] < 2:
            continue
        name, λs = in_letters(float(rate)), f"{norms.shape[1]} λ"
        too_narrow = norms.columns.max() < times * norms.columns.min() * (1 - 1e-9)
        if too_narrow:
            narrow.append(f"{rate:g}")
        if too_narrow or cells["passed"].mean() < share:
            norms, steps = norms * np.nan, steps * np.nan
        spread = norms.std(axis=1, ddof=1, skipna=False) / norms.mean(axis=1, skipna=False)
        longer = np.log(steps.max(axis=1, skipna=False) / steps.min(axis=1, skipna=False))
        quantity = f"coefficient of variation of the passage norm over {λs}, η = {rate:g}"
        parts += [
            judged(f"Variation{name}", quantity, every_seed(spread), most=variation),
            judged(f"Steps{name}", f"longest over shortest step, η = {rate:g}", ratio_interval(longer), least=times),
        ]
    parts.append(reported("Power", "power of η that the passage norm goes as", power_of_rate(table)))
    few = f"the λ at η = {' and '.join(narrow)} do not span a factor of {times:g}" if narrow else ""
    return parts, joined(few, counts(len(table), never(table)))


def power_of_rate(table: pd.DataFrame) -> Estimate:
    """Return the power of η that the passage norm goes as: one fit per seed, over the λ that every η has."""
    norms = table.pivot(index=["seed", "weight_decay"], columns="learning_rate", values="norm").dropna()
    if norms.shape[1] < 2 or norms.empty:
        return UNKNOWN
    rates = np.log(norms.columns.to_numpy(dtype=float))
    slopes = np.polyfit(rates, np.log(norms.to_numpy()).T, 1)[0]
    return mean_interval(pd.Series(slopes, index=norms.index).groupby("seed").mean())


@finding.claim("X2")
def foretelling(
    m: Measured, *, accuracy: float, weight_decay: float, cut: float, error: float
) -> tuple[list[Part], str]:
    """The norm's own curve foretells the step of generalising, better than τ does."""
    table, found = m.passages(accuracy), predictions(m, accuracy, weight_decay, cut)
    errors = {rule: median_error(found, rule) for rule in ("first_passage", *RULES)}
    words = "median error of the predicted step over cells"
    parts = [
        judged("Error", f"{words}, as a factor", ratio_interval(errors["first_passage"]), most=error),
        judged(
            "Better",
            "that error over the one of steps that go as τ",
            ratio_interval(errors["first_passage"] - errors["tau"]),
            most=1.0,
            strict=True,
        ),
        *(
            reported("".join(map(str.title, rule.split("_"))), f"{words}, by {name}", ratio_interval(errors[rule]))
            for rule, name in RULES.items()
        ),
    ]
    return parts, joined(f"{len(found)} runs are predicted" if len(found) else "", counts(len(table), never(table)))


def median_error(found: pd.DataFrame, rule: str) -> pd.Series:
    """Return by seed the median over cells of |log of the predicted over the true step|."""
    return np.log(found[rule] / found["step"]).abs().groupby(found["seed"]).median()
