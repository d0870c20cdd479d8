"""B4, B5, B8: how the period, the fall of the norm and the rate at a jump depend on learning rate and decay."""

import numpy as np
import pandas as pd

from weightdecay.claims.judging import counts, joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.statistics.censored import power_laws
from weightdecay.statistics.estimates import ACCURACY, Estimate, every_seed, open_above, ratio_interval
from weightdecay.statistics.events import spacings, variation
from weightdecay.statistics.measures import diverged

from . import finding
from .records import COUNT, DATA, FACTORS, WINDOW, Records, at_events, per_seed, periods, slope, spectral_share, words


@finding.claim("B4")
def period_law(records: Records, *, low: float, high: float) -> tuple[list[Part], str]:
    """Fit the exponents of η and λ in the mean spacing of the jumps."""
    parts, lone = [], 0
    for sweep, name in DATA.items():
        runs = records.sweep(sweep)
        table = periods(records, runs)
        narrow = power_laws(periods(records, runs, WINDOW / 2), FACTORS, "period")
        lone += int((~table["reached"]).sum())
        exponents = power_laws(table, FACTORS, "period")
        parts += [
            *exponents_of(name, sweep, exponents, low, high),
            reported(f"{name}Period", f"period in τ, {words(sweep)}", mean_period(table)),
            *(
                reported(
                    f"{name}Narrow{field.title().replace('_', '')}",
                    f"exponent of {symbol} with half the detector's window, {words(sweep)}",
                    every_seed(narrow[field]),
                )
                for symbol, field in (("η", "learning_rate"), ("λ", "weight_decay"))
            ),
            reported(
                f"{name}Variation",
                f"coefficient of variation of the spacings, {words(sweep)}",
                every_seed(
                    per_seed(runs, lambda run: variation(spacings(records.destabilisations(run)["start"])), skip=True),
                    COUNT,
                ),
            ),
            reported(
                f"{name}Share",
                f"share of power near the spectrum's peak, {words(sweep)}",
                every_seed(per_seed(runs, lambda run: spectral_share(records, run)), ACCURACY),
            ),
        ]
    every = pd.concat([records.sweep(sweep) for sweep in DATA])
    notes = [counts(len(every), {"had fewer than two events": lone, "diverged": diverged(every)})]
    for sweep, name in {"momentum": "Momentum", "full_batch": "FullBatch", "cnn": "Cnn"}.items():
        runs = records.sweep(sweep)
        if len(runs):
            table = periods(records, runs)
            parts.append(reported(f"{name}Period", f"period in τ, {words(sweep)}", mean_period(table)))
            few = {f"with {words(sweep)} had fewer than two events": int((~table["reached"]).sum())}
            notes.append(counts(len(runs), few | {f"with {words(sweep)} diverged": diverged(runs)}))
    return parts, joined(*notes)


def mean_period(table: pd.DataFrame) -> Estimate:
    """Return the geometric mean of `periods` in τ, open above if a run has fewer than two events."""
    logs = np.log(table["scaled"])
    seeds = logs.groupby(table["seed"]).mean().where(~logs.isna().groupby(table["seed"]).any())
    return open_above(ratio_interval(seeds), not table["reached"].all())


@finding.claim("B8")
def common_rate(records: Records, *, low: float, high: float) -> tuple[list[Part], str]:
    """Fit the exponents of η and λ in the effective learning rate at the start of a jump."""
    parts = []
    for sweep, name in DATA.items():
        runs = records.sweep(sweep)
        at_jump = pd.Series(
            {run: at_events(records, run, records.effective_rate(run)) for run in runs["run"]}, dtype=float
        )
        table = runs[["seed", "learning_rate", "weight_decay"]].set_axis(runs["run"])
        exponents = power_laws(table.assign(rate=at_jump, reached=True).dropna(), FACTORS, "rate")
        parts += [
            *exponents_of(name, sweep, exponents, low, high),
            reported(
                f"{name}Value",
                f"effective learning rate at a jump, {words(sweep)}",
                ratio_interval(np.log(at_jump).groupby(table["seed"]).mean()),
            ),
        ]
    return parts, ""


def exponents_of(name: str, sweep: str, exponents: pd.DataFrame, low: float, high: float) -> list[Part]:
    """Return the parts for the exponents of η and of λ `[seeds, 2]`, judged by the criterion's bounds."""
    return [
        judged(f"{name}{part}", f"exponent of {symbol}, {words(sweep)}", every_seed(exponents[field]), low, high)
        for part, symbol, field in (("Rate", "η", "learning_rate"), ("Decay", "λ", "weight_decay"))
    ]


@finding.claim("B5")
def exponential_fall(records: Records, *, low: float, high: float) -> tuple[list[Part], str]:
    """Measure the slope of log ρ between two jumps."""
    return [
        judged(
            name or "Digits",
            f"slope of log ρ over −ηλ, {words(sweep)}",
            every_seed(per_seed(records.sweep(sweep), lambda run: slope(records, run), skip=True)),
            low,
            high,
        )
        for sweep, name in DATA.items()
    ], ""
