"""Claims B1-B12 on BatchNorm with decay, judged by the criteria of config.yaml.

One estimate per seed, then a 95 % interval over seeds. Events are those of weightdecay.statistics.events: collapses of
the training accuracy, which every network can have, and destabilisations, seen in the norm ρ of the weights before
BatchNorm. Times are in τ = (1 − momentum)/(ηλ) steps.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weightdecay.claims import model as ledger
from weightdecay.claims.model import Claim, Part, counts, joined, judged, reported
from weightdecay.statistics.estimates import (
    ACCURACY,
    Estimate,
    every_seed,
    mean_interval,
    open_above,
    proportion_interval,
    rank_correlation,
    ratio_interval,
)
from weightdecay.statistics.events import spacings, variation
from weightdecay.statistics.measures import TRAIN, diverged

from .laws import common_rate, exponential_fall, period_law
from .mechanisms import held_norm, mechanism
from .records import (
    COUNT,
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

EXPERIMENT = "batchnorm_periodicity"


def judge(results: Any, criteria: Mapping[str, Any]) -> list[Claim]:
    """The twelve claims, in order."""
    threshold = {id: words.thresholds for id, words in criteria.items()}
    records = Records(results)
    parts = {
        "B1": collapses_again(records, threshold["B1"]),
        "B2": larger_eps(records, threshold["B2"]),
        "B3": takes_both(records, threshold["B3"]),
        "B4": period_law(records, threshold["B4"]),
        "B5": exponential_fall(records, threshold["B5"]),
        "B6": mechanism(records, threshold["B6"]),
        "B7": held_norm(records, threshold["B7"]),
        "B8": common_rate(records, threshold["B8"]),
        "B9": better_afterwards(records, threshold["B9"]),
        "B10": faster_training(records, threshold["B10"]),
        "B11": thrown_up(records, threshold["B11"]),
        "B12": begins_at_convergence(records, threshold["B12"]),
    }
    return [ledger.claim(id, EXPERIMENT, criteria, *found) for id, found in parts.items()]


def collapses_again(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B1: the addition network at the default eps; whether evenly spaced, where there are spacings enough to say."""
    runs = records.sweep("addition", batch_norm_eps=t["eps"])
    events = {run: records.collapses(run, t["high"], t["low"]) for run in runs["run"]}
    stronger = records.sweep("addition_stronger", batch_norm_eps=t["eps"])
    counted = collapse_counts(records, stronger, t)

    def spacing(run: str) -> float:
        steps = spacings(events[run]["start"])
        return float(np.mean(steps)) / records.tau(run) if len(steps) else np.nan

    def number(run: str) -> float:
        return records.count(run, events[run], TRAIN)

    def estimate(value: Callable[[str], float], bounds: tuple[float, float] = COUNT) -> Estimate:
        return every_seed(per_seed(runs, value), bounds)

    return [
        judged("Count", "collapses a run, eps 1e-5", estimate(number), t["count"]),
        reported("First", "step of the first", estimate(lambda run: events[run]["start"].min())),
        reported("Spacing", "steps between them, in τ", estimate(spacing)),
        reported(
            "Variation",
            "coefficient of variation of these steps, in runs with four collapses or more",
            mean_interval(per_seed(runs, lambda run: variation(spacings(events[run]["start"]))).dropna(), COUNT),
        ),
        reported(
            "Lowest",
            "lowest training accuracy of each",
            estimate(lambda run: events[run]["lowest"].mean(), ACCURACY),
        ),
        *(
            [reported("Stronger", "collapses a run, λ = .2", every_seed(per_seed(stronger, counted.get), COUNT))]
            if len(stronger)
            else []
        ),
    ], joined(settings_of(runs), counts(len(runs), {"diverged": diverged(runs)}))


def larger_eps(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B2: dose and response."""
    every = records.sweep("addition")
    runs = records.sweep("addition", batch_norm_eps=t["eps"])
    count = collapse_counts(records, every, t)
    fitting = every[every["run"].map(lambda run: records.fits(run, t["high"])).astype(bool)]
    common = collapse_counts(records, fitting, t, until=fitting["steps"].min())
    correlations = {  # of two eps it would be ±1 or nothing
        seed: rank_correlation(rows["batch_norm_eps"], rows["run"].map(common)) if len(rows) > 2 else np.nan
        for seed, rows in fitting.groupby("seed")
    }
    final = per_seed(runs, lambda run: records.histories.final_accuracy(records.row(run), TRAIN, np.inf))
    return [
        judged("Count", "collapses a run, eps 1e-2", every_seed(per_seed(runs, count.get), COUNT), most=0.0),
        judged("Accuracy", "final training accuracy there", every_seed(final, ACCURACY), t["high"]),
        judged(
            "Correlation",
            "rank correlation of eps with collapses",
            every_seed(pd.Series(correlations, dtype=float), (-1, 1)),
            most=t["correlation"],
        ),
        *(
            reported(
                f"Count{exponent(eps)}", f"collapses a run, eps {eps:g}", every_seed(per_seed(rows, count.get), COUNT)
            )
            for eps, rows in every.groupby("batch_norm_eps")
        ),
        *(
            reported(
                f"Digits{exponent(eps)}",
                f"scale-invariant network, destabilisations in a τ, eps {eps:g}",
                every_seed(per_seed(rows, lambda run: rate(records, run)), COUNT),
            )
            for eps, rows in eps_sweep(records).groupby("batch_norm_eps")
        ),
    ], joined(
        settings_of(every), counts(len(every), {"never fit": len(every) - len(fitting), "diverged": diverged(every)})
    )


def takes_both(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B3: without decay, and without BatchNorm."""
    undecayed, bare = records.sweep("addition_no_decay"), records.sweep("addition_no_norm")
    scale_invariant, plain = records.sweep("no_decay"), records.sweep("no_norm")
    digits = {"high": t["digits_high"], "low": t["digits_low"]}

    def falls(runs: pd.DataFrame, limits: Mapping[str, float]) -> Estimate:
        return every_seed(per_seed(runs, collapse_counts(records, runs, limits).get), COUNT)

    def jumps(runs: pd.DataFrame) -> Estimate:
        return every_seed(per_seed(runs, lambda run: records.count(run, records.destabilisations(run))), COUNT)

    def highest(runs: pd.DataFrame) -> Estimate:
        return every_seed(per_seed(runs, lambda run: records.curve(run, TRAIN).max()), ACCURACY)

    return [
        judged("Addition", "addition, no decay: collapses", falls(undecayed, t), most=0.0),
        judged("AdditionJumps", "addition, no decay: destabilisations", jumps(undecayed), most=0.0),
        judged("Digits", "scale-invariant, no decay: destabilisations", jumps(scale_invariant), most=0.0),
        judged("DigitsFalls", "scale-invariant, no decay: collapses", falls(scale_invariant, digits), most=0.0),
        judged("Plain", "digits, decay without BatchNorm: collapses", falls(plain, digits), most=0.0),
        reported("Bare", "addition, decay without BatchNorm: highest training accuracy", highest(bare)),
        reported("PlainFits", "digits, without BatchNorm: highest training accuracy", highest(plain)),
    ], joined(
        f"addition without decay: {settings_of(undecayed)}",
        counts(
            sum(map(len, (undecayed, bare, scale_invariant, plain))),
            {"diverged": sum(map(diverged, (undecayed, bare, scale_invariant, plain)))},
        ),
    )


def better_afterwards(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B9: settled test accuracy from before a collapse to after it; within the time between two, beside it."""
    runs = records.sweep("addition", batch_norm_eps=t["eps"])
    gains = {run: settled_gains(records, run, t) for run in runs["run"]}
    without = records.sweep("addition", batch_norm_eps=1e-2)

    def final(rows: pd.DataFrame) -> Estimate:
        def last(run: str) -> float:
            row = records.row(run)
            return records.histories.final_accuracy(row, "test_accuracy", row["steps"] / 10)

        return every_seed(per_seed(rows, last), ACCURACY)

    return [
        judged(
            "Gain",
            "test accuracy, settled after less settled before",
            every_seed(per_seed(runs, lambda run: gains[run][0]), (-1, 1)),
            t["gain"],
        ),
        reported(
            "Between",
            "test accuracy, gained between two collapses",
            every_seed(per_seed(runs, lambda run: gains[run][1]), (-1, 1)),
        ),
        reported("Final", "test accuracy in the last tenth, eps 1e-5", final(runs)),
        reported("FinalLarger", "test accuracy in the last tenth, eps 1e-2", final(without)),
    ], settings_of(runs)


def faster_training(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B10: steps to fit, without BatchNorm over with it; beside it without decay, which might be what hinders."""
    bare, neither = records.sweep("addition_no_norm"), records.sweep("addition_neither")
    runs, undecayed = records.sweep("addition", batch_norm_eps=t["eps"]), records.sweep("addition_no_decay")

    def fitting(run: str) -> float:
        return records.histories.first_step(run, TRAIN, t["fitted"])

    def never(rows: pd.DataFrame) -> int:
        return int(rows["run"].map(fitting).isna().sum())

    def ratio(slow: pd.DataFrame, fast: pd.DataFrame) -> Estimate:
        steps = per_seed(slow, lambda run: np.nan_to_num(fitting(run), nan=float(records.row(run)["steps"])))
        return open_above(ratio_interval(np.log(steps / per_seed(fast, fitting))), never(slow) > 0)

    parts = [
        judged("Ratio", "steps to fit, without over with BatchNorm", ratio(bare, runs), t["ratio"]),
        reported("Steps", "steps to fit with BatchNorm", ratio_interval(np.log(per_seed(runs, fitting)))),
        reported("Never", "without BatchNorm, share that never fits", proportion_interval(never(bare), len(bare))),
    ]
    notes = [counts(len(bare), {"without BatchNorm never fit": never(bare), "diverged": diverged(bare)})]
    if len(neither):
        words = "no decay: steps to fit, without over with BatchNorm"
        parts.append(reported("Undecayed", words, ratio(neither, undecayed)))
        said = {"without either never fit": never(neither), "diverged": diverged(neither)}
        notes.append(counts(len(neither), said))
    return parts, joined(*notes)


def thrown_up(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B11: what a collapse does to the weights and to the variance."""
    runs = records.sweep("addition", batch_norm_eps=t["eps"])

    def rise(curve: Callable[[str], pd.Series]) -> Estimate:
        return ratio_interval(np.log(per_seed(runs, lambda run: risen(records, run, curve(run), t))))

    return [
        judged(
            "Norm",
            "norm ρ after over at the start of a collapse",
            rise(lambda run: records.curve(run, "rho")),
            t["factor"],
        ),
        judged(
            "Variance",
            "smallest variance, the same",
            rise(records.variance),
            t["factor"],
        ),
    ], settings_of(runs)


def begins_at_convergence(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B12: the first collapse, over the step at which the training set is fitted."""
    runs = records.sweep("addition", batch_norm_eps=t["eps"])
    fitted = {run: records.histories.first_step(run, TRAIN, t["fitted"]) for run in runs["run"]}
    first = {run: records.collapses(run, t["high"], t["low"])["start"].min() for run in runs["run"]}
    return [
        judged(
            "Ratio",
            "start of the first collapse over the step of fitting",
            ratio_interval(np.log(per_seed(runs, lambda run: first[run] / fitted[run]))),
            most=t["ratio"],
        ),
        reported("Fitted", "step of fitting", ratio_interval(np.log(per_seed(runs, fitted.get)))),
    ], joined(
        settings_of(runs),
        counts(
            len(runs),
            {
                "never collapse": int(np.isnan(list(first.values())).sum()),
                f"never reach {t['fitted']:g}": int(np.isnan(list(fitted.values())).sum()),
                "diverged": diverged(runs),
            },
        ),
    )


if __name__ == "__main__":
    ledger.main(judge, Path(__file__).with_name("config.yaml"))
