"""A4-A7, A10-A12: that the unseen length is solved long after fitting, while the norm falls; and what delays it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weightdecay.claims.model import Part, counts, joined, judged, reported
from weightdecay.run import SATURATED
from weightdecay.statistics.estimates import (
    ACCURACY,
    DIFFERENCE,
    UNKNOWN,
    every_seed,
    geometric_interval,
    mean_interval,
    open_above,
    paired_interval,
    power_law,
    rank_correlation,
)
from weightdecay.statistics.measures import TRAIN, Histories, between, delays, diverged, select

from .protocol import LAST_STEPS, NO_EVIDENCE, every_rate, failing, too_short

WINDOW = "diverged, where their window ends"


def late_generalisation(histories: Histories, sweep: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A4: how long after fitting the unseen length is solved."""
    runs = select(sweep, weight_decay=t["weight_decay"])
    fit = np.array([histories.first_step(run, TRAIN, t["fitted"]) for run in runs["run"]])
    general = np.array([histories.first_step(run, "test_accuracy", t["generalised"]) for run in runs["run"]])
    never_fit, censored = np.isnan(fit), np.isnan(general)
    lasted = np.where(censored, runs["diverged_at"].fillna(runs["steps"]), general)
    ratio = open_above(geometric_interval(np.where(never_fit, 1.0, lasted / fit)), (censored & ~never_fit).any())
    return [
        judged("Ratio", "step of generalising over step of fitting", ratio, least=t["ratio"]),
        reported("Fitted", f"step of fitting (train ≥ {t['fitted']:g})", geometric_interval(fit[~never_fit])),
        reported(
            "Generalised",
            f"step of generalising (test ≥ {t['generalised']:g})",
            open_above(geometric_interval(lasted), censored.any()),
        ),
    ], counts(
        len(runs),
        {"diverged": diverged(runs), "never fitted": never_fit.sum(), "never generalised": censored.sum()},
    )


def after_fitting(histories: Histories, runs: pd.DataFrame, t: Mapping[str, float]) -> pd.DataFrame:
    """Each run in the window after fitting: `correlation` of norm and test accuracy, `norm_ratio`, end over start.

    NaN for a run that never fits. The window of a run that diverges ends there.
    """
    rows = []
    for run in runs["run"]:
        fit = histories.first_step(run, TRAIN, t["fitted"])
        norm, test = (
            histories.curve(run, metric).loc[fit : fit + t["window"]] for metric in ("weight_norm_sum", "test_accuracy")
        )
        norm, test = norm.align(test, join="inner")
        fits = not np.isnan(fit) and len(norm)
        rows.append((rank_correlation(norm, test), norm.iloc[-1] / norm.iloc[0]) if fits else (np.nan, np.nan))
    return pd.DataFrame(rows, columns=["correlation", "norm_ratio"], dtype=float)


def norm_falls(histories: Histories, sweep: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A5: with decay the norm falls and test accuracy rises."""
    runs = select(sweep, weight_decay=t["weight_decay"])
    seen = after_fitting(histories, runs, t)
    return [
        judged(
            "Correlation",
            "Spearman correlation of norm and test accuracy",
            mean_interval(seen["correlation"].fillna(0), DIFFERENCE),  # never fitted: against the claim
            most=t["correlation"],
        ),
        judged(
            "NormRatio",
            "norm at the window's end over norm at fitting",
            geometric_interval(seen["norm_ratio"].fillna(1)),
            most=t["norm_ratio"],
        ),
    ], counts(len(runs), {WINDOW: diverged(runs), "never fitted": seen["norm_ratio"].isna().sum()})


def nothing_without_decay(
    histories: Histories, sweep: pd.DataFrame, final: Mapping[str, pd.DataFrame], t: Mapping[str, float]
) -> tuple[list[Part], str]:
    """A6: without decay neither the norm falls nor the test is passed, in runs as long as a good λ takes to pass it."""
    runs = select(sweep, weight_decay=0.0)
    short, words = too_short(histories, sweep, runs, t)
    seen = after_fitting(histories, runs, t)
    never_fitted = seen["norm_ratio"].isna()  # no ratio stands for such a run: 1 would speak for the claim
    return [
        judged(
            "NormRatio",
            "norm at the window's end over norm at fitting, λ = 0",
            UNKNOWN if short.any() or never_fitted.any() else geometric_interval(seen["norm_ratio"]),
            least=t["norm_ratio"],
        ),
        judged(
            "Test",
            "test accuracy at λ = 0",
            UNKNOWN if short.any() else failing(sweep, final, "test_accuracy", 0.0),
            most=t["test_accuracy"],
        ),
    ], counts(
        len(runs),
        {
            f"{WINDOW}; their failing is not judged": diverged(runs),
            "never fitted": never_fitted.sum(),
            words: short.sum(),
        },
    )


def held_norm(
    histories: Histories, sweep: pd.DataFrame, held: pd.DataFrame, t: Mapping[str, float]
) -> tuple[list[Part], str]:
    """A7: free against held norm, paired by seed, at the last step both reached. Unknown where no norm was held.

    Unknown, too, where a held run diverged: its accuracy of 0 would speak for the claim.
    """
    pairs = select(sweep, weight_decay=t["weight_decay"]).merge(held, on="seed", suffixes=("_free", "_held"))
    never_held = sum(np.isnan(histories.first_step(run, TRAIN, SATURATED)) for run in held["run"])
    accuracies = {"free": {}, "held": {}}
    for _, pair in pairs.iterrows():
        until = min(pair["steps_free"], pair["steps_held"])
        for kind, values in accuracies.items():
            run = pd.Series({"run": pair[f"run_{kind}"], "diverged_at": pair[f"diverged_at_{kind}"]})
            values[pair["seed"]] = histories.final_accuracy(run, "test_accuracy", LAST_STEPS, until)
    free, control = (pd.Series(accuracies[kind], dtype=float) for kind in ("free", "held"))
    held_diverged = diverged(held)
    unknown = free.isna().any() or control.isna().any()
    part = judged(
        "Difference",
        "test accuracy, free less held norm",
        UNKNOWN if never_held or held_diverged or unknown else paired_interval(free, control, DIFFERENCE),
        least=t["difference"],
    )
    if part.verdict == "refuted" and part.high > t["no_difference"]:
        within = part.low > t["no_difference"]
        part = Part(**vars(part) | {"verdict": "mixed" if within else "undecided"})
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


def delay_law(histories: Histories, runs: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A10: exponents of the delay in η and λ, and the delay itself in units of 1/(ηλ).

    Reported beside: the same exponents of the step of generalising itself, counted from the start of the run. Where τ
    is so short that generalising overlaps fitting, the difference of the two says little.
    """
    table = delays(histories, every_rate(runs), t["fitted"], t["generalised"])
    table = table[between(table["weight_decay"], t["weight_decay_low"], t["weight_decay_high"])]
    usable, seeds = table.dropna(subset="delay"), table["seed"].unique()
    fits, whole = (exponents(usable, time).reindex(seeds) for time in ("delay", "generalised"))
    undetermined = int(fits.isna().any(axis=1).sum())
    timescales = usable[usable["reached"]].assign(
        count=lambda rows: rows["delay"] * rows["learning_rate"] * rows["weight_decay"]
    )
    per_seed = np.exp(np.log(timescales["count"]).groupby(timescales["seed"]).mean())
    names = {"η": "LearningRate", "λ": "WeightDecay"}
    limits = t["exponent_low"], t["exponent_high"]
    parts = [
        *(
            judged(names[symbol], f"exponent of the delay in {symbol}", every_seed(fits[symbol]), *limits)
            for symbol in names
        ),
        reported("Timescales", "delay in units of 1/(ηλ), runs that generalised", geometric_interval(per_seed)),
        *(
            reported(
                f"Whole{names[symbol]}",
                f"exponent of the step of generalising in {symbol} (looked at afterwards)",
                every_seed(whole[symbol]),
            )
            for symbol in names
        ),
    ]
    cases = table.loc[table["diverged_at"].isna(), "note"].value_counts().drop("", errors="ignore")
    too_few = f"in {undetermined} of {len(seeds)} seeds too few runs generalised to fit both exponents"
    return parts, joined(
        counts(len(table), {"diverged": diverged(table), **cases}),
        too_few if undetermined else "",
    )


def stays_fitted(histories: Histories, sweep: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A11: training accuracy in the window after fitting, in which A5 has the norm fall."""
    runs = select(sweep, weight_decay=t["weight_decay"])
    fit = np.array([histories.first_step(run, TRAIN, t["fitted"]) for run in runs["run"]])
    never_fitted, lost = np.isnan(fit), runs["diverged_at"].to_numpy() <= fit + t["window"]
    least, perfect = np.zeros(len(runs)), np.zeros(len(runs))  # a run that never fits or is lost: against the claim
    for index in np.flatnonzero(~never_fitted & ~lost):
        curve = histories.curve(runs["run"].iloc[index], TRAIN).loc[fit[index] : fit[index] + t["window"]]
        least[index], perfect[index] = curve.min(), (curve >= t["fitted"]).mean()
    return [
        judged(
            "Least", "least train accuracy after fitting", mean_interval(least, ACCURACY), least=t["train_accuracy"]
        ),
        reported("Perfect", f"share of logged steps at ≥ {t['fitted']:g}", mean_interval(perfect, ACCURACY)),
    ], counts(len(runs), {"diverged": diverged(runs), "never fitted": never_fitted.sum()})


def fitted_alone(histories: Histories, sweep: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A12: at the step of fitting almost no training loss is left, and the test is not passed."""
    runs = select(sweep, weight_decay=t["weight_decay"])
    fit = {run: histories.first_step(run, TRAIN, t["fitted"]) for run in runs["run"]}
    # never fitted: there is no such step, and both count against the claim
    test = [histories.curve(run, "test_accuracy").get(step, 1.0) for run, step in fit.items()]
    loss = [histories.curve(run, "train_loss_batch").get(step, t["loss_of_one_half"]) for run, step in fit.items()]
    return [
        judged("Test", "test accuracy at fitting", mean_interval(test, ACCURACY), most=t["test_accuracy"]),
        judged(
            "Loss",
            "train loss at fitting over that of predicting one half",
            geometric_interval(np.array(loss) / t["loss_of_one_half"]),
            most=t["loss"],
        ),
    ], counts(len(runs), {"diverged": diverged(runs), "never fitted": sum(map(np.isnan, fit.values()))})


def exponents(runs: pd.DataFrame, time: str) -> pd.DataFrame:
    """One fit per seed `[seeds, (η, λ, constant)]` of a column of times, censored where not `reached`.

    NaN where a seed's runs do not determine it.
    """
    fits = {
        seed: power_law({"η": rows["learning_rate"], "λ": rows["weight_decay"]}, rows[time], rows["reached"])
        for seed, rows in runs.groupby("seed")
    }
    return pd.DataFrame(fits, index=["η", "λ", "constant"]).T
