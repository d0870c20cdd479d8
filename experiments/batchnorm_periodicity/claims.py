"""Claims B1-B12 on BatchNorm with decay. Those on the addition network are here, others in laws.py and mechanisms.py.

Each quantity is one number per seed, with a 95 % interval over seeds. `weightdecay.statistics.events` defines events:
collapses of training accuracy, which every network can have; collapses of test accuracy, which S1's figure shows; and
destabilisations, which are seen in the norm ρ of the weights before BatchNorm. Where only "collapse" is said, it is one
of training accuracy. Times are in units of τ = (1 − momentum)/(ηλ) steps.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from weightdecay.claims.judging import counts, joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.statistics.estimates import (
    ACCURACY,
    DIFFERENCE,
    Estimate,
    every_seed,
    mean_interval,
    open_above,
    proportion_interval,
    rank_correlation,
    ratio_interval,
    ratio_of,
)
from weightdecay.statistics.events import spacings, variation
from weightdecay.statistics.measures import TRAIN, diverged

from . import (
    finding,
    laws,  # noqa: F401 (registers its claims)
    mechanisms,  # noqa: F401
)
from .records import (
    COUNT,
    TEST,
    Records,
    collapse_counts,
    eps_sweep,
    exponent,
    per_seed,
    rate,
    risen,
    settings_of,
    settled_gains,
)


@finding.claim("B1")
def collapses_again(records: Records, *, eps: float, count: float, steps: float) -> tuple[list[Part], str]:
    """Count collapses of test accuracy at the default eps; if there are enough of them, measure their spacings."""
    runs, stronger = (records.sweep(name, batch_norm_eps=eps) for name in ("addition", "addition_stronger"))
    events = {run: records.test_collapses(run) for run in (*runs["run"], *stronger["run"])}
    events = {run: found[found["bottom"] <= steps] for run, found in events.items()}
    shorter = int((runs["steps"] < steps).sum())

    def spacing(run: str) -> float:
        found = spacings(events[run]["bottom"])
        return float(np.mean(found)) / records.tau(run) if len(found) else np.nan

    def number(run: str) -> float:
        return records.count(run, events[run], TEST)

    def estimate(value: Callable[[str], float], bounds: tuple[float, float] = COUNT) -> Estimate:
        return every_seed(per_seed(runs, value), bounds)

    return [
        judged("Count", "collapses of test accuracy a run, eps 1e-5", open_above(estimate(number), shorter > 0), count),
        reported("First", "step of the first", estimate(lambda run: events[run]["bottom"].min())),
        reported("Spacing", "steps between them, in τ", estimate(spacing)),
        reported(
            "Variation",
            "coefficient of variation of these steps, in runs with four collapses or more",
            mean_interval(per_seed(runs, lambda run: variation(spacings(events[run]["bottom"]))).dropna(), COUNT),
        ),
        reported(
            "Lowest", "lowest test accuracy of each", estimate(lambda run: events[run]["lowest"].mean(), ACCURACY)
        ),
        *(
            [reported("Stronger", "collapses a run, λ = .2", every_seed(per_seed(stronger, number), COUNT))]
            if len(stronger)
            else []
        ),
    ], joined(
        settings_of(runs),
        counts(len(runs), {f"are shorter than {steps:,.0f} steps": shorter, "diverged": diverged(runs)}),
    )


@finding.claim("B2")
def larger_eps(records: Records, *, eps: float, high: float, low: float, correlation: float) -> tuple[list[Part], str]:
    """Count collapses at a larger eps, and correlate the number of collapses with eps."""
    every = records.sweep("addition")
    runs = records.sweep("addition", batch_norm_eps=eps)
    count = collapse_counts(records, every, high, low)
    fitting = every[every["run"].map(lambda run: records.fits(run, high)).astype(bool)]
    common = collapse_counts(records, fitting, high, low, until=fitting["steps"].min())
    correlations = {  # needs three eps: with two a correlation is ±1 or 0
        seed: rank_correlation(rows["batch_norm_eps"], rows["run"].map(common)) if len(rows) > 2 else np.nan
        for seed, rows in fitting.groupby("seed")
    }
    final = per_seed(runs, lambda run: records.histories.final_accuracy(records.row(run), TRAIN, np.inf))
    return [
        judged(
            "Count",
            "collapses of training accuracy a run, eps 1e-2",
            every_seed(per_seed(runs, count.get), COUNT),
            most=0.0,
        ),
        judged("Accuracy", "final training accuracy there", every_seed(final, ACCURACY), high),
        judged(
            "Correlation",
            "rank correlation of eps with collapses",
            every_seed(pd.Series(correlations, dtype=float), DIFFERENCE),
            most=correlation,
        ),
        reported(
            "Test",
            "collapses of test accuracy a run, eps 1e-2",
            every_seed(per_seed(runs, lambda run: records.count(run, records.test_collapses(run), TEST)), COUNT),
        ),
        *(
            reported(
                f"Count{exponent(dose)}",
                f"collapses of training accuracy a run, eps {dose:g}",
                every_seed(per_seed(rows, count.get), COUNT),
            )
            for dose, rows in every.groupby("batch_norm_eps")
        ),
        *(
            reported(
                f"Digits{exponent(dose)}",
                f"scale-invariant network, destabilisations in a τ, eps {dose:g}",
                every_seed(per_seed(rows, lambda run: rate(records, run)), COUNT),
            )
            for dose, rows in eps_sweep(records).groupby("batch_norm_eps")
        ),
    ], joined(
        settings_of(every), counts(len(every), {"never fit": len(every) - len(fitting), "diverged": diverged(every)})
    )


@finding.claim("B3")
def takes_both(
    records: Records, *, high: float, low: float, digits_high: float, digits_low: float
) -> tuple[list[Part], str]:
    """Count collapses without decay, and those without BatchNorm."""
    undecayed, bare = records.sweep("addition_no_decay"), records.sweep("addition_no_norm")
    scale_invariant, plain = records.sweep("no_decay"), records.sweep("no_norm")
    digits = digits_high, digits_low

    def falls(runs: pd.DataFrame, high: float, low: float) -> Estimate:
        return every_seed(per_seed(runs, collapse_counts(records, runs, high, low).get), COUNT)

    def jumps(runs: pd.DataFrame) -> Estimate:
        return every_seed(per_seed(runs, lambda run: records.count(run, records.destabilisations(run))), COUNT)

    def highest(runs: pd.DataFrame) -> Estimate:
        return every_seed(per_seed(runs, lambda run: records.curve(run, TRAIN).max()), ACCURACY)

    return [
        judged("Addition", "addition, no decay: collapses", falls(undecayed, high, low), most=0.0),
        judged("AdditionJumps", "addition, no decay: destabilisations", jumps(undecayed), most=0.0),
        judged("Digits", "scale-invariant, no decay: destabilisations", jumps(scale_invariant), most=0.0),
        judged("DigitsFalls", "scale-invariant, no decay: collapses", falls(scale_invariant, *digits), most=0.0),
        judged("Plain", "digits, decay without BatchNorm: collapses", falls(plain, *digits), most=0.0),
        reported("Bare", "addition, decay without BatchNorm: highest training accuracy", highest(bare)),
        reported("PlainFits", "digits, without BatchNorm: highest training accuracy", highest(plain)),
    ], joined(
        f"addition without decay: {settings_of(undecayed)}",
        counts(
            sum(map(len, (undecayed, bare, scale_invariant, plain))),
            {"diverged": sum(map(diverged, (undecayed, bare, scale_invariant, plain)))},
        ),
    )


@finding.claim("B9")
def better_afterwards(records: Records, *, eps: float, gain: float, high: float, low: float) -> tuple[list[Part], str]:
    """Compare settled test accuracy before and after a collapse; report the gain between two collapses beside it."""
    runs = records.sweep("addition", batch_norm_eps=eps)
    gains = {run: settled_gains(records, run, high, low) for run in runs["run"]}
    without = records.sweep("addition", batch_norm_eps=1e-2)

    def final(rows: pd.DataFrame) -> Estimate:
        def last(run: str) -> float:
            row = records.row(run)
            return records.histories.final_accuracy(row, TEST, row["steps"] / 10)

        return every_seed(per_seed(rows, last), ACCURACY)

    return [
        judged(
            "Gain",
            "test accuracy, settled after less settled before",
            every_seed(per_seed(runs, lambda run: gains[run][0]), DIFFERENCE),
            gain,
        ),
        reported(
            "Between",
            "test accuracy, gained between two collapses",
            every_seed(per_seed(runs, lambda run: gains[run][1]), DIFFERENCE),
        ),
        reported("Final", "test accuracy in the last tenth, eps 1e-5", final(runs)),
        reported("FinalLarger", "test accuracy in the last tenth, eps 1e-2", final(without)),
    ], settings_of(runs)


@finding.claim("B10")
def faster_training(records: Records, *, eps: float, fitted: float, ratio: float) -> tuple[list[Part], str]:
    """Divide the steps to fit without BatchNorm by those with BatchNorm.

    The same without decay is reported beside it, as decay might slow the fit.
    """
    bare, neither = records.sweep("addition_no_norm"), records.sweep("addition_neither")
    runs, undecayed = records.sweep("addition", batch_norm_eps=eps), records.sweep("addition_no_decay")

    def fitting(run: str) -> float:
        return records.histories.first_step(run, TRAIN, fitted)

    def never(rows: pd.DataFrame) -> int:
        return int(rows["run"].map(fitting).isna().sum())

    def slowdown(slow: pd.DataFrame, fast: pd.DataFrame) -> Estimate:
        steps = per_seed(slow, lambda run: np.nan_to_num(fitting(run), nan=float(records.row(run)["steps"])))
        return open_above(ratio_of(steps, per_seed(fast, fitting)), never(slow) > 0)

    parts = [
        judged("Ratio", "steps to fit, without over with BatchNorm", slowdown(bare, runs), ratio),
        reported("Steps", "steps to fit with BatchNorm", ratio_interval(np.log(per_seed(runs, fitting)))),
        reported("Never", "without BatchNorm, share that never fits", proportion_interval(never(bare), len(bare))),
    ]
    notes = [counts(len(bare), {"without BatchNorm never fit": never(bare), "diverged": diverged(bare)})]
    if len(neither):
        words = "no decay: steps to fit, without over with BatchNorm"
        parts.append(reported("Undecayed", words, slowdown(neither, undecayed)))
        said = {"without either never fit": never(neither), "diverged": diverged(neither)}
        notes.append(counts(len(neither), said))
    return parts, joined(*notes)


@finding.claim("B11")
def thrown_up(records: Records, *, eps: float, factor: float, high: float, low: float) -> tuple[list[Part], str]:
    """Measure how a collapse changes the weights and the variance before BatchNorm."""
    runs = records.sweep("addition", batch_norm_eps=eps)

    def rise(curve: Callable[[str], pd.Series]) -> Estimate:
        return ratio_interval(np.log(per_seed(runs, lambda run: risen(records, run, curve(run), high, low))))

    return [
        judged(
            "Norm", "norm ρ after over at the start of a collapse", rise(lambda run: records.curve(run, "rho")), factor
        ),
        judged("Variance", "smallest variance, the same", rise(records.variance), factor),
    ], settings_of(runs)


@finding.claim("B12")
def begins_at_convergence(
    records: Records,
    *,
    eps: float,
    converged: float,
    earliest: float,
    latest: float,
    fitted: float,
    high: float,
    low: float,
) -> tuple[list[Part], str]:
    """Divide the step of the first collapse of test accuracy by the step at which test accuracy has converged.

    What was judged before is reported beside it: the first collapse of training accuracy over the step of fitting.
    """
    runs = records.sweep("addition", batch_norm_eps=eps)
    reached = {run: records.histories.first_step(run, TEST, converged) for run in runs["run"]}
    first = {run: records.test_collapses(run)["start"].min() for run in runs["run"]}
    fit = {run: records.histories.first_step(run, TRAIN, fitted) for run in runs["run"]}

    def times(value: Callable[[str], float]) -> Estimate:
        return ratio_interval(np.log(per_seed(runs, value)))

    return [
        judged(
            "Ratio",
            "start of the first collapse of test accuracy over the step of its convergence",
            times(lambda run: first[run] / reached[run]),
            earliest,
            latest,
        ),
        reported("Converged", f"step at which test accuracy reaches {converged:g}", times(lambda run: reached[run])),
        reported(
            "TrainingRatio",
            "start of the first collapse of training accuracy over the step of fitting",
            times(lambda run: records.collapses(run, high, low)["start"].min() / fit[run]),
        ),
        reported("Fitted", f"step of fitting (training accuracy {fitted:g})", times(lambda run: fit[run])),
    ], joined(
        settings_of(runs),
        counts(
            len(runs),
            {
                "never collapse": int(np.isnan(list(first.values())).sum()),
                f"never reach test accuracy {converged:g}": int(np.isnan(list(reached.values())).sum()),
                "diverged": diverged(runs),
            },
        ),
    )
