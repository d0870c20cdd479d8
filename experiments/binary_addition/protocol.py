"""The runs of binary addition that a claim or a figure uses, and the measurements that claims take from them."""

import numpy as np
import pandas as pd

from weightdecay.results import Results
from weightdecay.statistics.estimates import ACCURACY, UNKNOWN, Estimate, geometric_interval, mean_interval
from weightdecay.statistics.measures import TRAIN, Histories, diverged, final_table, longest, select

from . import finding

EXPERIMENT = "binary_addition"
LAST_STEPS = 3900  # S1's points are means over the last 50 epochs of 78 steps
LEARNING_RATE = 1e-3  # S1's; only the claim on the delay uses others
MEASURED = (TRAIN, "train_accuracy", "test_accuracy", "validation_accuracy")
NO_EVIDENCE = "diverged, so that their failing is not judged"


def main_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of S1's protocol: decimal digits, clean labels, free norm; any λ and learning rate."""
    return select(runs, dataset=EXPERIMENT, label_noise=0.0, hold_norm="never")


def lambda_sweep(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of S1's protocol at S1's learning rate, from its own sweep: one for each λ and seed."""
    return longest(select(main_runs(runs), sweep="weight_decay", learning_rate=LEARNING_RATE))


def every_rate(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs of S1's protocol at every λ and learning rate, for the claim on the delay."""
    return longest(main_runs(runs), ("learning_rate", "weight_decay", "seed"))


def held_runs(runs: pd.DataFrame, weight_decay: float, hold_norm: str = "saturation") -> pd.DataFrame:
    """Return the control runs whose parameter norm is held constant."""
    held = select(runs, dataset=EXPERIMENT, label_noise=0.0, hold_norm=hold_norm, weight_decay=weight_decay)
    return longest(select(held, learning_rate=LEARNING_RATE))


def noisy_sweeps(runs: pd.DataFrame) -> dict[float, pd.DataFrame]:
    """Return the λ sweep at each level of label noise, by level."""
    noisy = select(runs, dataset=EXPERIMENT, hold_norm="never", learning_rate=LEARNING_RATE)
    return {noise: longest(group) for noise, group in noisy[noisy["label_noise"] > 0].groupby("label_noise")}


def shorter_than_timescale(sweep: pd.DataFrame) -> list[float]:
    """Return the λ > 0 whose runs are shorter than τ = 1/(ηλ) steps, in which decay has not yet acted."""
    timescales = sweep["steps"] * sweep["learning_rate"] * sweep["weight_decay"]
    return sorted(set(sweep.loc[(sweep["weight_decay"] > 0) & (timescales < 1 - 1e-9), "weight_decay"]))


@finding.measured
class Measured:
    """The λ sweep of S1's protocol, its curves, and its final accuracies `[seeds, λ]` by metric."""

    def __init__(self, results: Results):
        self.runs, self.histories = results.runs, Histories(results.history)
        self.sweep = lambda_sweep(self.runs)
        self.final = self.final_of(self.sweep)

    def final_of(self, runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Return the final values `[seeds, λ]` of any runs, for each metric in MEASURED."""
        return {metric: final_table(self.histories, runs, metric, LAST_STEPS) for metric in MEASURED}

    def at(self, weight_decay: float) -> pd.DataFrame:
        """Return the runs of the sweep at one λ."""
        return select(self.sweep, weight_decay=weight_decay)

    def first_steps(self, runs: pd.DataFrame, metric: str, threshold: float) -> np.ndarray:
        """Return the first logged step of each run with `metric >= threshold`; NaN if there is none."""
        return np.array([self.histories.first_step(run, metric, threshold) for run in runs["run"]], dtype=float)

    def accuracy(self, metric: str, weight_decay: float) -> Estimate:
        """Return the final accuracy at one λ; UNKNOWN if this λ was not run."""
        table = self.final[metric]
        return mean_interval(table[weight_decay].dropna(), ACCURACY) if weight_decay in table else UNKNOWN

    def failing(self, metric: str, weight_decay: float) -> Estimate:
        """Return the final accuracy for a claim that it is low.

        UNKNOWN if a run diverged, because its accuracy of 0 would count for the claim.
        """
        return UNKNOWN if diverged(self.at(weight_decay)) else self.accuracy(metric, weight_decay)

    def too_short(self, runs: pd.DataFrame, reference: float, generalised: float) -> tuple[pd.Series, str]:
        """Return which of `runs` are shorter than λ = `reference` takes to generalise, and words for a note.

        That time is the geometric mean over seeds of the first logged step with test accuracy >= `generalised`. A run
        lasts until it diverges. If λ = `reference` was not run or never generalised in some seed, all count as too
        short.
        """
        passed = self.first_steps(self.at(reference), "test_accuracy", generalised)
        least = np.nan if np.isnan(passed).any() else geometric_interval(passed).value
        lasted = runs["diverged_at"].fillna(runs["steps"])
        words = f"not known to last as long as λ = {reference:g} takes to test accuracy {generalised:g}"
        return ~(lasted >= least * (1 - 1e-9)), words
