"""The trained runs, and measurements of fitted curves, for claims.py and figures.py."""

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
# The metrics that are followed over the steps
CURVES = ("weight_norm", "layer2_weight_std", "layer2_weight_largest", "gradient_norm", "train_loss_batch")
EVERY = 20  # steps between values when runs are compared or drawn, as some are logged at every step
LOSSES = {"squared_error": "L2", "smooth_l1": "smooth L1", "absolute_error": "L1"}


@finding.measured
class Runs:
    """The trained runs: last values by seed, curves over steps, and fitted curves; also the tables of compute.py."""

    def __init__(self, results: Results):
        self.runs, self.tables, history = results.runs, results.tables, results.history
        self.histories = Histories(history[history["metric"].isin(CURVES)])
        first = history[history["step"] == 0]
        self.start = first.pivot(index="run", columns="metric", values="value")

    def select(self, sweep: str, **settings: object) -> pd.DataFrame:
        """Return the runs of a sweep with these settings, by seed."""
        return select(self.runs[self.runs["sweep"] == sweep], **settings).set_index("seed").sort_index()

    def demo(self, weight_decay: float) -> pd.DataFrame:
        """Return the runs of S3's program with this λ."""
        return self.select("weight_decay", weight_decay=weight_decay)

    def started(self, runs: pd.DataFrame, metric: str) -> pd.Series:
        """Return a metric before the first step, by seed; NaN if it was not logged."""
        return runs["run"].map(self.start.get(metric, pd.Series(dtype=float))).astype(float)

    def largest(self, runs: pd.DataFrame, metric: str, first: int) -> pd.Series:
        """Return the largest value logged at step `first` or later, by seed; NaN for a run that diverged."""
        found = runs["run"].map(lambda run: self.histories.curve(run, metric).loc[first:].max())
        return found.where(runs["diverged_at"].isna()).astype(float)

    def every(self, run: str, metric: str) -> pd.Series:
        """Return a run's curve at every EVERY-th step."""
        curve = self.histories.curve(run, metric)
        return curve[curve.index % EVERY == 0]

    def rises(self, runs: pd.DataFrame) -> pd.Series:
        """Return the sum of all rises of the training loss over its initial value, by seed, at every EVERY-th step."""
        first = self.started(runs, "train_loss")
        curves = {seed: self.every(run, "train_loss_batch") for seed, run in runs["run"].items()}
        steps = {seed: np.diff(curve, prepend=first[seed]) for seed, curve in curves.items() if len(curve)}
        found = pd.Series({seed: step.clip(min=0).sum() / first[seed] for seed, step in steps.items()}, dtype=float)
        found = found.reindex(runs.index)
        return found.where(runs["diverged_at"].isna())

    @property
    def weight_decays(self) -> list[float]:
        """Return the λ of S3's program, in order."""
        return sorted(self.runs.loc[self.runs["sweep"] == "weight_decay", "weight_decay"].unique())

    def fitted(self, loss: str, outlier: bool) -> pd.DataFrame:
        """Return the runs of S3's program without decay under a loss, with or without an outlier among the points."""
        if loss == "squared_error" and not outlier:
            demo = self.demo(0.0)
            return demo[demo.index.isin(self.select("losses").index)]
        return self.select("losses", loss=loss, dataset="line_outlier" if outlier else "line", weight_decay=0.0)


def sensitivity(runs: pd.DataFrame) -> pd.Series:
    """Return the root mean square of the slope of the fitted curve, by seed."""
    slopes = np.diff(runs[FIT].to_numpy(float), axis=1) / np.diff(GRID)
    return pd.Series(np.sqrt((slopes**2).mean(1)), index=runs.index)


def roughness(runs: pd.DataFrame) -> pd.Series:
    """Return the total variation of the fitted curve's slope, by seed: ∫ |f''|, exact for kinks on GRID."""
    slopes = np.diff(runs[FIT].to_numpy(float), axis=1) / np.diff(GRID)
    return pd.Series(np.abs(np.diff(slopes, axis=1)).sum(1), index=runs.index)


def distance_to_truth(runs: pd.DataFrame) -> pd.Series:
    """Return the root mean square of the fitted curve less the true line on GRID, by seed."""
    return np.sqrt(((runs[FIT] - SLOPE * GRID) ** 2).mean(axis=1, skipna=False))


def histograms(runs: Runs, chosen: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return the shares of layer 2's weights in each bin, at the start and at the end, `[seeds, bins]` each."""
    bins = sorted(column for column in chosen.columns if column.startswith("layer2_weight_bin_"))
    logged = chosen["run"].isin(runs.start.index).all() and set(bins) <= set(runs.start.columns)
    first = runs.start.loc[chosen["run"], bins].to_numpy() if logged else np.full((len(chosen), len(bins)), np.nan)
    last = chosen[bins].to_numpy(float)
    return first / first.sum(1, keepdims=True), last / last.sum(1, keepdims=True)


def first_failing(chosen: pd.DataFrame, failed: pd.Series) -> pd.DataFrame:
    """Return per seed the smallest learning rate `rate` at which a run `failed`, and whether one did, `reached`.

    If none failed, `rate` is a lower bound: the learning rate that would come next on the grid. If the run at the
    smallest learning rate failed, `rate` is an upper bound, and `held` is False.
    """
    rates = np.sort(chosen["learning_rate"].unique())
    found = chosen[failed].groupby("seed")["learning_rate"].min().reindex(sorted(chosen["seed"].unique()))
    least = chosen.groupby("seed")["learning_rate"].min()
    following = rates[-1] ** 2 / rates[-2] if len(rates) > 1 else np.nan
    return pd.DataFrame({"rate": found.fillna(following), "reached": found.notna(), "held": ~(found <= least)})


def mean_limit(found: pd.DataFrame) -> Estimate:
    """Return the geometric mean and interval of the learning rates of `first_failing`.

    It is open above if some seed has only a lower bound, and goes down to 0 if some seed has only an upper bound.
    """
    estimate = open_above(ratio_interval(np.log(found["rate"])), not found["reached"].all())
    return estimate if found["held"].all() else estimate._replace(low=0.0)


def ratio_of_limits(first: pd.DataFrame, second: pd.DataFrame) -> Estimate:
    """Return the ratio of two results of `first_failing`, over the seeds of `second`; bounds leave its interval open.

    A lower bound as numerator leaves it open above; as denominator it leaves it open below, down to 0. An upper bound
    does the reverse. UNKNOWN if a seed of `second` is not in `first`.
    """
    if not second.index.isin(first.index).all():
        return UNKNOWN
    first = first.loc[second.index]
    ratio = open_above(ratio_of(first["rate"], second["rate"]), not (first["reached"].all() and second["held"].all()))
    return ratio if second["reached"].all() and first["held"].all() else ratio._replace(low=0.0)


def unreached(limits: Mapping[str, pd.DataFrame]) -> str:
    """Say for a claim's note in how many seeds no run failed, for each named result of `first_failing`."""
    missing = {name: int((~found["reached"]).sum()) for name, found in limits.items()}
    return "; ".join(
        f"{name}: {number} of {len(limits[name])} seeds diverge at no learning rate tried"
        for name, number in missing.items()
        if number
    )
