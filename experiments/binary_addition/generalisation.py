"""A4-A7, A10-A12: the network solves the unseen length long after fitting, while the norm falls; the delay's law."""

from dataclasses import replace

import numpy as np
import pandas as pd

from weightdecay.claims.judging import counts, joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.run import SATURATED
from weightdecay.statistics.censored import power_laws
from weightdecay.statistics.estimates import (
    ACCURACY,
    DIFFERENCE,
    UNKNOWN,
    every_seed,
    geometric_interval,
    mean_interval,
    open_above,
    paired_interval,
    rank_correlation,
)
from weightdecay.statistics.measures import TRAIN, between, delays, diverged

from . import finding
from .protocol import LAST_STEPS, NO_EVIDENCE, Measured, every_rate, held_runs

WINDOW = "diverged, where their window ends"


@finding.claim("A4")
def late_generalisation(
    m: Measured, *, weight_decay: float, fitted: float, generalised: float, ratio: float
) -> tuple[list[Part], str]:
    """The network solves the unseen length long after it has fitted the training set."""
    runs = m.at(weight_decay)
    fit, general = m.first_steps(runs, TRAIN, fitted), m.first_steps(runs, "test_accuracy", generalised)
    never_fit, censored = np.isnan(fit), np.isnan(general)
    lasted = np.where(censored, runs["diverged_at"].fillna(runs["steps"]), general)
    later = open_above(geometric_interval(np.where(never_fit, 1.0, lasted / fit)), (censored & ~never_fit).any())
    return [
        judged("Ratio", "step of generalising over step of fitting", later, least=ratio),
        reported("Fitted", f"step of fitting (train ≥ {fitted:g})", geometric_interval(fit[~never_fit])),
        reported(
            "Generalised",
            f"step of generalising (test ≥ {generalised:g})",
            open_above(geometric_interval(lasted), censored.any()),
        ),
    ], counts(
        len(runs), {"diverged": diverged(runs), "never fitted": never_fit.sum(), "never generalised": censored.sum()}
    )


def after_fitting(m: Measured, runs: pd.DataFrame, fitted: float, window: float) -> pd.DataFrame:
    """Measure each run in the window after fitting.

    `correlation` is that of norm and test accuracy, and `norm_ratio` the norm at the end over that at the start. NaN
    for a run that never fits. If a run diverges, its window ends there.
    """
    rows = []
    for run, fit in zip(runs["run"], m.first_steps(runs, TRAIN, fitted), strict=True):
        norm, test = (
            m.histories.curve(run, metric).loc[fit : fit + window] for metric in ("weight_norm_sum", "test_accuracy")
        )
        norm, test = norm.align(test, join="inner")
        fits = not np.isnan(fit) and len(norm)
        rows.append((rank_correlation(norm, test), norm.iloc[-1] / norm.iloc[0]) if fits else (np.nan, np.nan))
    return pd.DataFrame(rows, columns=["correlation", "norm_ratio"], dtype=float)


@finding.claim("A5")
def norm_falls(
    m: Measured, *, weight_decay: float, fitted: float, window: float, correlation: float, norm_ratio: float
) -> tuple[list[Part], str]:
    """With decay the norm falls while test accuracy rises."""
    runs = m.at(weight_decay)
    seen = after_fitting(m, runs, fitted, window)
    return [
        judged(
            "Correlation",
            "Spearman correlation of norm and test accuracy",
            mean_interval(seen["correlation"].fillna(0), DIFFERENCE),  # no fit counts against the claim
            most=correlation,
        ),
        judged(
            "NormRatio",
            "norm at the window's end over norm at fitting",
            geometric_interval(seen["norm_ratio"].fillna(1)),
            most=norm_ratio,
        ),
    ], counts(len(runs), {WINDOW: diverged(runs), "never fitted": seen["norm_ratio"].isna().sum()})


@finding.claim("A6")
def nothing_without_decay(
    m: Measured,
    *,
    fitted: float,
    window: float,
    norm_ratio: float,
    test_accuracy: float,
    reference: float,
    generalised: float,
) -> tuple[list[Part], str]:
    """Without decay the norm does not fall and the test is not passed, in runs as long as a good λ takes to pass it."""
    runs = m.at(0.0)
    short, words = m.too_short(runs, reference, generalised)
    seen = after_fitting(m, runs, fitted, window)
    never_fitted = seen["norm_ratio"].isna()  # such a run has no ratio: 1 would count for the claim
    return [
        judged(
            "NormRatio",
            "norm at the window's end over norm at fitting, λ = 0",
            UNKNOWN if short.any() or never_fitted.any() else geometric_interval(seen["norm_ratio"]),
            least=norm_ratio,
        ),
        judged(
            "Test",
            "test accuracy at λ = 0",
            UNKNOWN if short.any() else m.failing("test_accuracy", 0.0),
            most=test_accuracy,
        ),
    ], counts(
        len(runs),
        {
            f"{WINDOW}; their failing is not judged": diverged(runs),
            "never fitted": never_fitted.sum(),
            words: short.sum(),
        },
    )


@finding.claim("A7")
def held_norm(m: Measured, *, weight_decay: float, difference: float, no_difference: float) -> tuple[list[Part], str]:
    """With a free norm the network passes the test, with a held norm it does not.

    Runs are paired by seed, and compared at the last step that both reached. Unknown if no norm was held, or if a run
    with held norm diverged: its accuracy of 0 would count for the claim.
    """
    held = held_runs(m.runs, weight_decay)
    pairs = m.at(weight_decay).merge(held, on="seed", suffixes=("_free", "_held"))
    never_held = np.isnan(m.first_steps(held, TRAIN, SATURATED)).sum()
    accuracies: dict[str, dict[int, float]] = {"free": {}, "held": {}}
    for _, pair in pairs.iterrows():
        until = min(pair["steps_free"], pair["steps_held"])
        for kind, values in accuracies.items():
            run = pd.Series({"run": pair[f"run_{kind}"], "diverged_at": pair[f"diverged_at_{kind}"]})
            values[pair["seed"]] = m.histories.final_accuracy(run, "test_accuracy", LAST_STEPS, until)
    free, control = (pd.Series(accuracies[kind], dtype=float) for kind in ("free", "held"))
    held_diverged = diverged(held)
    unknown = free.isna().any() or control.isna().any()
    part = judged(
        "Difference",
        "test accuracy, free less held norm",
        UNKNOWN if never_held or held_diverged or unknown else paired_interval(free, control, DIFFERENCE),
        least=difference,
    )
    if part.verdict == "refuted" and part.high > no_difference:
        part = replace(part, verdict="mixed" if part.low > no_difference else "undecided")
    return [
        part,
        reported(
            "Held", "test accuracy with the norm held", UNKNOWN if held_diverged else every_seed(control, ACCURACY)
        ),
        reported("Free", "test accuracy with the norm free, same steps", every_seed(free, ACCURACY)),
    ], joined(
        counts(len(pairs), {"with the norm free diverged": pairs["diverged_at_free"].notna().sum()}),
        counts(
            len(held),
            {
                f"with the norm held {NO_EVIDENCE}": held_diverged,
                "never saturated, so that no norm was held": never_held,
            },
        ),
    )


@finding.claim("A10")
def delay_law(
    m: Measured,
    *,
    fitted: float,
    generalised: float,
    weight_decay_low: float,
    weight_decay_high: float,
    exponent_low: float,
    exponent_high: float,
) -> tuple[list[Part], str]:
    """The delay is proportional to 1/(ηλ): measure its exponents in η and λ, and the delay itself in these units.

    The exponents of the step of generalising, counted from the start of the run, are reported beside them. If τ is so
    short that generalising overlaps with fitting, the delay alone says little.
    """
    table = delays(m.histories, every_rate(m.runs), fitted, generalised)
    table = table[between(table["weight_decay"], weight_decay_low, weight_decay_high)]
    usable, seeds = table.dropna(subset="delay"), table["seed"].unique()
    factors = {"learning_rate": ("η", "LearningRate"), "weight_decay": ("λ", "WeightDecay")}
    fits, whole = (power_laws(usable, list(factors), time).reindex(seeds) for time in ("delay", "generalised"))
    undetermined = int(fits.isna().any(axis=1).sum())
    timescales = usable[usable["reached"]].assign(
        count=lambda rows: rows["delay"] * rows["learning_rate"] * rows["weight_decay"]
    )
    per_seed = np.exp(np.log(timescales["count"]).groupby(timescales["seed"]).mean())
    parts = [
        *(
            judged(name, f"exponent of the delay in {symbol}", every_seed(fits[factor]), exponent_low, exponent_high)
            for factor, (symbol, name) in factors.items()
        ),
        reported("Timescales", "delay in units of 1/(ηλ), runs that generalised", geometric_interval(per_seed)),
        *(
            reported(
                f"Whole{name}",
                f"exponent of the step of generalising in {symbol} (looked at afterwards)",
                every_seed(whole[factor]),
            )
            for factor, (symbol, name) in factors.items()
        ),
    ]
    cases = table.loc[table["diverged_at"].isna(), "note"].value_counts().drop("", errors="ignore")
    too_few = f"in {undetermined} of {len(seeds)} seeds too few runs generalised to fit both exponents"
    return parts, joined(counts(len(table), {"diverged": diverged(table), **cases}), too_few if undetermined else "")


@finding.claim("A11")
def stays_fitted(
    m: Measured, *, weight_decay: float, fitted: float, window: float, train_accuracy: float
) -> tuple[list[Part], str]:
    """Training accuracy stays high in the window after fitting, in which the norm falls by A5."""
    runs = m.at(weight_decay)
    fit = m.first_steps(runs, TRAIN, fitted)
    never_fitted, lost = np.isnan(fit), runs["diverged_at"].to_numpy() <= fit + window
    least, perfect = np.zeros(len(runs)), np.zeros(len(runs))  # runs that never fit or diverge count against the claim
    for index in np.flatnonzero(~never_fitted & ~lost):
        curve = m.histories.curve(runs["run"].iloc[index], TRAIN).loc[fit[index] : fit[index] + window]
        least[index], perfect[index] = curve.min(), (curve >= fitted).mean()
    return [
        judged("Least", "least train accuracy after fitting", mean_interval(least, ACCURACY), least=train_accuracy),
        reported("Perfect", f"share of logged steps at ≥ {fitted:g}", mean_interval(perfect, ACCURACY)),
    ], counts(len(runs), {"diverged": diverged(runs), "never fitted": never_fitted.sum()})


@finding.claim("A12")
def fitted_alone(
    m: Measured, *, weight_decay: float, fitted: float, test_accuracy: float, loss_of_one_half: float, loss: float
) -> tuple[list[Part], str]:
    """At the step of fitting the training loss is almost zero, and the test is not passed."""
    runs = m.at(weight_decay)
    fit = dict(zip(runs["run"], m.first_steps(runs, TRAIN, fitted), strict=True))
    # A run that never fitted has no such step, and counts against the claim in both parts
    test = [m.histories.curve(run, "test_accuracy").get(step, 1.0) for run, step in fit.items()]
    left = [m.histories.curve(run, "train_loss_batch").get(step, loss_of_one_half) for run, step in fit.items()]
    return [
        judged("Test", "test accuracy at fitting", mean_interval(test, ACCURACY), most=test_accuracy),
        judged(
            "Loss",
            "train loss at fitting over that of predicting one half",
            geometric_interval(np.array(left) / loss_of_one_half),
            most=loss,
        ),
    ], counts(len(runs), {"diverged": diverged(runs), "never fitted": sum(map(np.isnan, fit.values()))})
