"""Claims B1-B11 on BatchNorm with decay, judged by the criteria of config.yaml.

One estimate per seed, then a 95 % interval over seeds. Events are those of weightdecay.analysis.events: collapses of
the training accuracy, which every network can have, and destabilisations, seen in the norm ρ of the weights before
BatchNorm. Times are in τ = (1 − momentum)/(ηλ) steps.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from records import (
    DATA,
    Records,
    addition,
    at_events,
    collapse_counts,
    eps_sweep,
    fitted,
    foretelling,
    per_seed,
    periods,
    rate,
    risen,
    settings_of,
    settled_gains,
    slope,
    spectrum,
    spreads,
    variance_over_eps,
    words,
)

from weightdecay.analysis import claims as ledger
from weightdecay.analysis.claims import Claim, Part, counts, joined, judged, reported
from weightdecay.analysis.events import spacings, variation
from weightdecay.analysis.measures import TRAIN, diverged
from weightdecay.analysis.statistics import Estimate, every_seed, open_above, rank_correlation, ratio_interval

EXPERIMENT = "batchnorm_periodicity"
LETTERS = "ABCDEFGHIJ"


def judge(results: Any, criteria: Mapping[str, Any]) -> list[Claim]:
    """The eleven claims, in order."""
    threshold = {id: words.thresholds for id, words in criteria.items()}
    records = Records(results)
    judges = [
        collapses_again,
        larger_eps,
        takes_both,
        period_law,
        exponential_fall,
        mechanism,
        held_norm,
        common_rate,
        better_afterwards,
        faster_training,
        thrown_up,
    ]
    found = {f"B{number}": judge(records, threshold[f"B{number}"]) for number, judge in enumerate(judges, 1)}
    return [ledger.claim(id, EXPERIMENT, criteria, *parts_and_note) for id, parts_and_note in found.items()]


def collapses_again(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B1: the addition network at the default eps."""
    runs = addition(records, t["eps"])
    events = {run: records.collapses(run, t["high"], t["low"]) for run in runs["run"]}

    def spacing(run: str) -> float:
        steps = spacings(events[run]["start"])
        return float(np.mean(steps)) / records.tau(run) if len(steps) else np.nan

    return [
        judged(
            "Count", "collapses a run, eps 1e-5", every_seed(per_seed(runs, lambda run: len(events[run]))), t["count"]
        ),
        reported("First", "step of the first", every_seed(per_seed(runs, lambda run: events[run]["start"].min()))),
        reported("Spacing", "steps between them, in τ", every_seed(per_seed(runs, spacing))),
        reported(
            "Lowest",
            "lowest training accuracy of each",
            every_seed(per_seed(runs, lambda run: events[run]["lowest"].mean())),
        ),
    ], joined(settings_of(runs), counts(len(runs), {"diverged": diverged(runs)}))


def larger_eps(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B2: dose and response."""
    every = addition(records)
    runs = addition(records, t["eps"])
    count = collapse_counts(records, every, t)
    fits = every["run"].map(lambda run: records.curve(run, TRAIN).max() >= t["high"]).astype(bool)
    fitting = every[fits.to_numpy()]
    common = collapse_counts(records, fitting, t, until=fitting["steps"].min())
    correlations = {
        seed: rank_correlation(rows["batch_norm_eps"], [common[run] for run in rows["run"]])
        for seed, rows in fitting.groupby("seed")
    }
    final = per_seed(runs, lambda run: records.histories.final_accuracy(records.row(run), TRAIN, np.inf))
    return [
        judged("Count", "collapses a run, eps 1e-2", every_seed(per_seed(runs, count.get)), most=0.0),
        judged("Accuracy", "final training accuracy there", every_seed(final), t["high"]),
        judged(
            "Correlation",
            "rank correlation of eps with collapses",
            every_seed(pd.Series(correlations, dtype=float), (-1, 1)),
            most=t["correlation"],
        ),
        *(
            reported(f"Count{letter}", f"collapses a run, eps {eps:g}", every_seed(per_seed(rows, count.get)))
            for letter, (eps, rows) in zip(LETTERS, every.groupby("batch_norm_eps"), strict=False)
        ),
        *(
            reported(
                f"Digits{letter}",
                f"scale-invariant network, destabilisations in a τ, eps {eps:g}",
                every_seed(per_seed(rows, lambda run: rate(records, run))),
            )
            for letter, (eps, rows) in zip(LETTERS, eps_sweep(records).groupby("batch_norm_eps"), strict=False)
        ),
    ], joined(settings_of(every), counts(len(every), {"never fit": int((~fits).sum()), "diverged": diverged(every)}))


def takes_both(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B3: without decay, and without BatchNorm."""
    undecayed, bare = records.sweep("addition", decayed=False), records.sweep("addition", batch_norm_eps=None)
    scale_invariant, plain = records.sweep("no_decay"), records.sweep("no_norm")
    digits = {"high": t["digits_high"], "low": t["digits_low"]}

    def falls(runs: pd.DataFrame, limits: Mapping[str, float]) -> Estimate:
        return every_seed(per_seed(runs, collapse_counts(records, runs, limits).get))

    def jumps(runs: pd.DataFrame) -> Estimate:
        return every_seed(per_seed(runs, lambda run: len(records.destabilisations(run))))

    def highest(runs: pd.DataFrame) -> Estimate:
        return every_seed(per_seed(runs, lambda run: records.curve(run, TRAIN).max()))

    return [
        judged("Addition", "addition, no decay: collapses", falls(undecayed, t), most=0.0),
        judged("AdditionJumps", "addition, no decay: destabilisations", jumps(undecayed), most=0.0),
        judged("Digits", "scale-invariant, no decay: destabilisations", jumps(scale_invariant), most=0.0),
        judged("DigitsFalls", "scale-invariant, no decay: collapses", falls(scale_invariant, digits), most=0.0),
        judged("Plain", "digits, decay without BatchNorm: collapses", falls(plain, digits), most=0.0),
        reported("Bare", "addition, decay without BatchNorm: highest training accuracy", highest(bare)),
        reported("PlainFits", "digits, without BatchNorm: highest training accuracy", highest(plain)),
    ], counts(
        sum(map(len, (undecayed, bare, scale_invariant, plain))),
        {"diverged": sum(map(diverged, (undecayed, bare, scale_invariant, plain)))},
    )


def period_law(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B4: exponents of the mean spacing."""
    parts, lone = [], 0
    for sweep, name in DATA.items():
        runs = records.sweep(sweep)
        table = periods(records, runs)
        lone += int((~table["reached"]).sum())
        exponents = fitted(table, table["period"], table["reached"])
        parts += [
            judged(
                f"{name}Rate",
                f"exponent of η, {words(sweep)}",
                every_seed(exponents["learning_rate"]),
                t["low"],
                t["high"],
            ),
            judged(
                f"{name}Decay",
                f"exponent of λ, {words(sweep)}",
                every_seed(exponents["weight_decay"]),
                t["low"],
                t["high"],
            ),
            reported(
                f"{name}Period",
                f"period in τ, {words(sweep)}",
                ratio_interval(np.log(table["scaled"]).groupby(table["seed"]).mean()),
            ),
            reported(
                f"{name}Variation",
                f"coefficient of variation of the spacings, {words(sweep)}",
                every_seed(
                    per_seed(runs, lambda run: variation(spacings(records.destabilisations(run)["start"])), skip=True)
                ),
            ),
            reported(
                f"{name}Share",
                f"share of power near the spectrum's peak, {words(sweep)}",
                every_seed(per_seed(runs, lambda run: spectrum(records, run)[1])),
            ),
        ]
    for sweep, name in {"momentum": "Momentum", "full_batch": "FullBatch", "cnn": "Cnn"}.items():
        runs = records.sweep(sweep)
        if len(runs):
            scaled = np.log(periods(records, runs)["scaled"]).groupby(runs["seed"].to_numpy()).mean()
            parts.append(reported(f"{name}Period", f"period in τ, {words(sweep)}", ratio_interval(scaled)))
    every = pd.concat([records.sweep(sweep) for sweep in DATA])
    return parts, counts(len(every), {"had fewer than two events": lone, "diverged": diverged(every)})


def exponential_fall(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B5: the slope of log ρ between two jumps."""
    return [
        judged(
            name or "Digits",
            f"slope of log ρ over −ηλ, {words(sweep)}",
            every_seed(per_seed(records.sweep(sweep), lambda run: slope(records, run), skip=True)),
            t["low"],
            t["high"],
        )
        for sweep, name in DATA.items()
    ], ""


def mechanism(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B6: a small divisor against a large effective learning rate, as what foretells the next event."""
    grid, eps = records.sweep("grid"), addition(records)
    fits = eps["run"].map(lambda run: records.curve(run, TRAIN).max() >= t["high"]).astype(bool)
    found = {"": foretelling(records, grid, t), "Addition": foretelling(records, eps[fits.to_numpy()], t)}
    spread = spreads(records, grid)
    parts = [
        judged(
            f"{name}Foretells",
            f"Harrell's C, small divisor less large effective rate, {where}",
            every_seed(found[name]["divisor"] - found[name]["rate"], (-1, 1)),
            t["difference"],
        )
        for name, where in {"": "scale-invariant", "Addition": "addition"}.items()
    ]
    parts.append(
        judged(
            "Common",
            "spread between settings at the jump, divisor over effective rate",
            ratio_interval(np.log(spread["divisor"] / spread["rate"])),
            most=t["ratio"],
        )
    )
    for name, where in {"": "scale-invariant", "Addition": "addition"}.items():
        for column, what in {
            "divisor": "small divisor",
            "rate": "large effective rate",
            "both": "effective rate × share of the variance in the divisor",
        }.items():
            parts.append(
                reported(
                    f"{name}{column.title()}", f"Harrell's C, {what}, {where}", every_seed(found[name][column], (0, 1))
                )
            )
    for letter, (value, runs) in zip(LETTERS, eps.groupby("batch_norm_eps"), strict=False):
        relative = per_seed(runs, lambda run: variance_over_eps(records, run, t), skip=True)
        if relative.notna().all():
            parts.append(
                reported(
                    f"Variance{letter}",
                    f"addition, smallest variance over eps at a collapse, eps {value:g}",
                    ratio_interval(np.log(relative)),
                )
            )
    digits = per_seed(
        grid,
        lambda run: float(
            np.exp(np.log(records.divisor(run)[records.destabilisations(run)["start"]] ** 2 / 1e-5 - 1).mean())
        ),
        skip=True,
    )
    parts.append(
        reported("Variance", "scale-invariant, smallest variance over eps at a jump", ratio_interval(np.log(digits)))
    )
    return parts, counts(len(eps), {"of addition never fit, and are left out": int((~fits).sum())})


def held_norm(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B7: the norm held, and free in the same settings."""
    held = records.sweep("held")
    same = (
        [
            records.sweep("grid", learning_rate=float(η), weight_decay=float(λ))
            for η, λ in zip(*(held[["learning_rate", "weight_decay"]].drop_duplicates().to_numpy().T), strict=True)
        ]
        if len(held)
        else []
    )
    free = pd.concat(same) if same else held

    def later(run: str) -> int:
        return int((records.collapses(run, t["high"], t["low"])["start"] > records.tau(run)).sum())

    return [
        judged("Held", "collapses after the first τ, norm held", every_seed(per_seed(held, later)), most=0.0),
        judged("Free", "the same, norm free", every_seed(per_seed(free, later)), t["count"]),
        reported(
            "FreeJumps",
            "destabilisations, norm free",
            every_seed(per_seed(free, lambda run: len(records.destabilisations(run)))),
        ),
        reported(
            "Rate",
            "effective learning rate while held over that at a jump",
            ratio_interval(
                np.log(
                    per_seed(held, lambda run: records.effective_rate(run).median())
                    / per_seed(free, lambda run: at_events(records, run, records.effective_rate(run)), skip=True)
                )
            ),
        ),
    ], counts(len(held) + len(free), {"diverged": diverged(held) + diverged(free)})


def common_rate(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B8: exponents of the effective learning rate at the start of a jump."""
    parts = []
    for sweep, name in DATA.items():
        runs = records.sweep(sweep)
        at_jump = pd.Series(
            {run: at_events(records, run, records.effective_rate(run)) for run in runs["run"]}, dtype=float
        )
        table = runs[["seed", "learning_rate", "weight_decay"]].set_axis(runs["run"])
        exponents = fitted(table[at_jump.notna()], at_jump.dropna(), at_jump.dropna() > 0)
        parts += [
            judged(
                f"{name}Rate",
                f"exponent of η, {words(sweep)}",
                every_seed(exponents["learning_rate"]),
                t["low"],
                t["high"],
            ),
            judged(
                f"{name}Decay",
                f"exponent of λ, {words(sweep)}",
                every_seed(exponents["weight_decay"]),
                t["low"],
                t["high"],
            ),
            reported(
                f"{name}Value",
                f"effective learning rate at a jump, {words(sweep)}",
                ratio_interval(np.log(at_jump).groupby(table["seed"]).mean()),
            ),
        ]
    return parts, ""


def better_afterwards(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B9: settled test accuracy from before a collapse to after it; within the time between two, beside it."""
    runs = addition(records, t["eps"])
    gains = {run: settled_gains(records, run, t) for run in runs["run"]}
    without = addition(records, 1e-2)
    end = {
        name: per_seed(rows, lambda run: records.histories.final_accuracy(records.row(run), "test_accuracy", np.inf))
        for name, rows in (("default", runs), ("larger", without))
    }
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
        reported("Final", "final test accuracy, eps 1e-5", every_seed(end["default"], (0, 1))),
        reported("FinalLarger", "final test accuracy, eps 1e-2", every_seed(end["larger"], (0, 1))),
    ], settings_of(runs)


def faster_training(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B10: steps to fit, without BatchNorm over with it."""
    bare = records.sweep("addition", batch_norm_eps=None)
    runs = addition(records, t["eps"])

    def fitting(run: str) -> float:
        return records.histories.first_step(run, TRAIN, t["fitted"])

    never = bare["run"].map(fitting).isna()
    slow = per_seed(bare, lambda run: np.nan_to_num(fitting(run), nan=float(records.row(run)["steps"])))
    fast = per_seed(runs, fitting)
    return [
        judged(
            "Ratio",
            "steps to fit, without over with BatchNorm",
            open_above(ratio_interval(np.log(slow / fast)), bool(never.any())),
            t["ratio"],
        ),
        reported("Steps", "steps to fit with BatchNorm", ratio_interval(np.log(fast))),
    ], counts(len(bare), {"without BatchNorm never fit": int(never.sum()), "diverged": diverged(bare)})


def thrown_up(records: Records, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """B11: what a collapse does to the weights and to the variance."""
    runs = addition(records, t["eps"])

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
            rise(lambda run: records.divisor(run) ** 2 - t["eps"]),
            t["factor"],
        ),
    ], settings_of(runs)


if __name__ == "__main__":
    ledger.main(judge, Path(__file__).with_name("config.yaml"))
