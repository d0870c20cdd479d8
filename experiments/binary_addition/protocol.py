"""Which runs of binary addition a claim or a figure looks at, and their final accuracy."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weightdecay.statistics.estimates import ACCURACY, UNKNOWN, Estimate, geometric_interval, mean_interval
from weightdecay.statistics.measures import TRAIN, Histories, diverged, longest, select

EXPERIMENT = "binary_addition"
LAST_STEPS = 3900  # S1's points are means over the last 50 epochs of 78 steps
LEARNING_RATE = 1e-3  # S1's; the delay claim alone looks at others
MEASURED = (TRAIN, "train_accuracy", "test_accuracy", "validation_accuracy")
NO_EVIDENCE = "diverged, so that their failing is not judged"


def main_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """S1's protocol: decimal digits, clean labels, free norm; any λ and learning rate."""
    return select(runs, dataset=EXPERIMENT, label_noise=0.0, hold_norm="never")


def lambda_sweep(runs: pd.DataFrame) -> pd.DataFrame:
    """S1's protocol at S1's learning rate, of the sweep of that name alone: one run for each λ and seed."""
    return longest(select(main_runs(runs), sweep="weight_decay", learning_rate=LEARNING_RATE))


def every_rate(runs: pd.DataFrame) -> pd.DataFrame:
    """S1's protocol at every λ and learning rate: what the delay claim looks at."""
    return longest(main_runs(runs), ("learning_rate", "weight_decay", "seed"))


def held_runs(runs: pd.DataFrame, weight_decay: float, hold_norm: str = "saturation") -> pd.DataFrame:
    """The control whose parameter norm is held constant."""
    held = select(runs, dataset=EXPERIMENT, label_noise=0.0, hold_norm=hold_norm, weight_decay=weight_decay)
    return longest(select(held, learning_rate=LEARNING_RATE))


def noisy_sweeps(runs: pd.DataFrame) -> dict[float, pd.DataFrame]:
    """The λ sweep at each level of label noise, by level."""
    noisy = select(runs, dataset=EXPERIMENT, hold_norm="never", learning_rate=LEARNING_RATE)
    return {noise: longest(group) for noise, group in noisy[noisy["label_noise"] > 0].groupby("label_noise")}


def shorter_than_timescale(sweep: pd.DataFrame) -> list[float]:
    """The λ > 0 that were run for less than τ = 1/(ηλ) steps, in which decay has not done its work."""
    timescales = sweep["steps"] * sweep["learning_rate"] * sweep["weight_decay"]
    return sorted(set(sweep.loc[(sweep["weight_decay"] > 0) & (timescales < 1 - 1e-9), "weight_decay"]))


def too_short(
    histories: Histories, sweep: pd.DataFrame, runs: pd.DataFrame, t: Mapping[str, float]
) -> tuple[pd.Series, str]:
    """Which of `runs` are not known to last as long as λ = `reference` takes to `generalised`, and words for a note.

    That time is the geometric mean over seeds of the first logged step with that test accuracy. A run lasts until it
    diverges. Where λ = `reference` was not run, or never came to it in some seed, all are too short.
    """
    reference = select(sweep, weight_decay=t["reference"])
    passed = pd.Series(
        [histories.first_step(run, "test_accuracy", t["generalised"]) for run in reference["run"]], reference.index
    )
    least = np.nan if passed.isna().any() else geometric_interval(passed).value
    lasted = runs["diverged_at"].fillna(runs["steps"])
    words = f"not known to last as long as λ = {t['reference']:g} takes to test accuracy {t['generalised']:g}"
    return ~(lasted >= least * (1 - 1e-9)), words


def accuracy(final: Mapping[str, pd.DataFrame], metric: str, weight_decay: float) -> Estimate:
    """Final accuracy at one λ; UNKNOWN where that λ was not run."""
    table = final[metric]
    return mean_interval(table[weight_decay].dropna(), ACCURACY) if weight_decay in table else UNKNOWN


def failing(sweep: pd.DataFrame, final: Mapping[str, pd.DataFrame], metric: str, weight_decay: float) -> Estimate:
    """Final accuracy for a claim that it is low; UNKNOWN where a run diverged, as its 0 would speak for the claim."""
    return UNKNOWN if diverged(select(sweep, weight_decay=weight_decay)) else accuracy(final, metric, weight_decay)
