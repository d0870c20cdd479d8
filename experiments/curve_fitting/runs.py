"""The trained runs, and what is read off a fitted curve: for claims.py and figures.py."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weightdecay.results import Results
from weightdecay.statistics.estimates import UNKNOWN, Estimate, open_above, ratio_interval, ratio_of
from weightdecay.statistics.measures import Histories, select

from . import finding
from .demo import GRID, SLOPE

DECAY = 0.01  # S3's
FIT = [f"fit_{number:02}" for number in range(len(GRID))]
# metrics that are followed over the steps
CURVES = ("weight_norm", "layer2_weight_std", "layer2_weight_largest", "gradient_norm", "train_loss_batch")
EVERY = 20  # steps, where runs are compared or drawn of which some are logged at every step
LOSSES = {"squared_error": "L2", "smooth_l1": "smooth L1", "absolute_error": "L1"}


@finding.measured
class Runs:
    """The trained runs: last values by seed, curves, and curves fitted. Beside them, the tables of compute.py."""

    def __init__(self, results: Results):
        self.runs, self.tables, history = results.runs, results.tables, results.history
        self.histories = Histories(history[history["metric"].isin(CURVES)])
        first = history[history["step"] == 0]
        self.start = first.pivot(index="run", columns="metric", values="value")

    def select(self, sweep: str, **settings: object) -> pd.DataFrame:
        """The runs of a sweep with these settings, by seed."""
        return select(self.runs[self.runs["sweep"] == sweep], **settings).set_index("seed").sort_index()

    def demo(self, weight_decay: float) -> pd.DataFrame:
        """S3's program with this λ."""
        return self.select("weight_decay", weight_decay=weight_decay)

    def started(self, runs: pd.DataFrame, metric: str) -> pd.Series:
        """A metric before the first step, by seed; NaN where it was not logged."""
        return runs["run"].map(self.start.get(metric, pd.Series(dtype=float))).astype(float)

    def largest(self, runs: pd.DataFrame, metric: str, first: int) -> pd.Series:
        """The largest value logged at step `first` or later, by seed; NaN for a run that diverged."""
        found = runs["run"].map(lambda run: self.histories.curve(run, metric).loc[first:].max())
        return found.where(runs["diverged_at"].isna()).astype(float)

    def every(self, run: str, metric: str) -> pd.Series:
        """A run's curve at every EVERY-th step."""
        curve = self.histories.curve(run, metric)
        return curve[curve.index % EVERY == 0]

    def rises(self, runs: pd.DataFrame) -> pd.Series:
        """Sum of all rises of the training loss between every EVERY-th step, over that at the start, by seed."""
        first = self.started(runs, "train_loss")
        curves = {seed: self.every(run, "train_loss_batch") for seed, run in runs["run"].items()}
        steps = {seed: np.diff(curve, prepend=first[seed]) for seed, curve in curves.items() if len(curve)}
        found = pd.Series({seed: step.clip(min=0).sum() / first[seed] for seed, step in steps.items()}, dtype=float)
        found = found.reindex(runs.index)
        return found.where(runs["diverged_at"].isna())

    @property
    def weight_decays(self) -> list[float]:
        """Of S3's program, in order."""
        return sorted(self.runs.loc[self.runs["sweep"] == "weight_decay", "weight_decay"].unique())

    def fitted(self, loss: str, outlier: bool) -> pd.DataFrame:
        """S3's program without decay under a loss, with or without an outlier among its points."""
        if loss == "squared_error" and not outlier:
            demo = self.demo(0.0)
            return demo[demo.index.isin(self.select("losses").index)]
        return self.select("losses", loss=loss, dataset="line_outlier" if outlier else "line", weight_decay=0.0)


def sensitivity(runs: pd.DataFrame) -> pd.Series:
    """Root mean square of the slope of the fitted curve, by seed."""
    slopes = np.diff(runs[FIT].to_numpy(float), axis=1) / np.diff(GRID)
    return pd.Series(np.sqrt((slopes**2).mean(1)), index=runs.index)


def roughness(runs: pd.DataFrame) -> pd.Series:
    """Total variation of the slope of the fitted curve, by seed: the integral of |f''|, exact for kinks on GRID."""
    slopes = np.diff(runs[FIT].to_numpy(float), axis=1) / np.diff(GRID)
    return pd.Series(np.abs(np.diff(slopes, axis=1)).sum(1), index=runs.index)


def distance_to_truth(runs: pd.DataFrame) -> pd.Series:
    """Root of the mean square of fitted curve less true line on GRID, by seed."""
    return np.sqrt(((runs[FIT] - SLOPE * GRID) ** 2).mean(axis=1, skipna=False))


def histograms(runs: Runs, chosen: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Shares of layer 2's weights in each bin, at the start and at the end, `[seeds, bins]`."""
    bins = sorted(column for column in chosen.columns if column.startswith("layer2_weight_bin_"))
    logged = chosen["run"].isin(runs.start.index).all() and set(bins) <= set(runs.start.columns)
    first = runs.start.loc[chosen["run"], bins].to_numpy() if logged else np.full((len(chosen), len(bins)), np.nan)
    last = chosen[bins].to_numpy(float)
    return first / first.sum(1, keepdims=True), last / last.sum(1, keepdims=True)


def first_failing(chosen: pd.DataFrame, failed: pd.Series) -> pd.DataFrame:
    """Per seed the smallest learning rate, `rate`, at which a run `failed`, and whether one did, `reached`.

    Where none did, `rate` is the one that would come next on the grid: a lower bound. Where the smallest that was tried
    did, it is an upper bound, and not `held`: no run of that seed held at a smaller one.
    """
    rates = np.sort(chosen["learning_rate"].unique())
    found = chosen[failed].groupby("seed")["learning_rate"].min().reindex(sorted(chosen["seed"].unique()))
    least = chosen.groupby("seed")["learning_rate"].min()
    following = rates[-1] ** 2 / rates[-2] if len(rates) > 1 else np.nan
    return pd.DataFrame({"rate": found.fillna(following), "reached": found.notna(), "held": ~(found <= least)})


def mean_limit(found: pd.DataFrame) -> Estimate:
    """Geometric mean and interval of learning rates of `first_failing`.

    Open above where one was not reached, and down to 0 where one is that of the smallest that was tried.
    """
    estimate = open_above(ratio_interval(np.log(found["rate"])), not found["reached"].all())
    return estimate if found["held"].all() else estimate._replace(low=0.0)


def ratio_of_limits(first: pd.DataFrame, second: pd.DataFrame) -> Estimate:
    """`ratio_of` two of `first_failing`, over the seeds of `second`; what was not reached leaves it open.

    Above if it is a numerator, as the ratio is then a lower bound; below, down to 0, if it is a denominator. What fails
    at the smallest rate that was tried leaves the other side open. UNKNOWN where a seed of `second` has no `first`.
    """
    if not second.index.isin(first.index).all():
        return UNKNOWN
    first = first.loc[second.index]
    ratio = open_above(ratio_of(first["rate"], second["rate"]), not (first["reached"].all() and second["held"].all()))
    return ratio if second["reached"].all() and first["held"].all() else ratio._replace(low=0.0)


def unreached(limits: Mapping[str, pd.DataFrame]) -> str:
    """For a claim's note: in how many seeds no run failed, by the name of each of `first_failing`."""
    missing = {name: int((~found["reached"]).sum()) for name, found in limits.items()}
    return "; ".join(
        f"{name}: {number} of {len(limits[name])} seeds diverge at no learning rate tried"
        for name, number in missing.items()
        if number
    )
