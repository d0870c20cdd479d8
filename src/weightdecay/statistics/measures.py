"""Measurements of a run's history: curves, final values and times of events, and tables of them by λ and seed.

Claims and figures use the same functions, so a figure shows what a claim judges.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from weightdecay.statistics.estimates import UNBOUNDED, leave_one_out, student_t

TRAIN = "train_accuracy_batch"  # the epoch's mean in train mode, as in S1; an evaluation afterwards gives less


class Histories:
    """A tidy history `run, step, metric, value`, arranged by run and metric."""

    def __init__(self, history: pd.DataFrame):
        known = history.dropna(subset="value")
        runs, run_names = pd.factorize(known["run"])
        metrics, metric_names = pd.factorize(known["metric"], sort=True)
        group, steps = runs * len(metric_names) + metrics, known["step"].to_numpy()
        order = np.argsort(group, kind="stable")
        if ((np.diff(group[order]) == 0) & (np.diff(steps[order]) < 0)).any():
            order = np.lexsort((steps, group))
        steps_values = np.column_stack([steps, known["value"]])[order]
        groups, starts = np.unique(group[order], return_index=True)
        of_run, of_metric = run_names.take(groups // len(metric_names)), metric_names.take(groups % len(metric_names))
        ends = [*starts, len(order)][1:]
        self._values: dict[tuple[str, str], np.ndarray] = {}
        self._metrics: dict[str, list[str]] = {}
        for run, metric, start, end in zip(of_run, of_metric, starts, ends, strict=True):
            self._values[run, metric] = steps_values[start:end]
            self._metrics.setdefault(run, []).append(metric)
        self.curve = cache(self._curve)

    def _curve(self, run: str, metric: str) -> pd.Series:
        """Return the logged values by step; empty if none was logged. A curve ends where its run diverged."""
        steps_values = self._values.get((run, metric), np.empty((0, 2)))
        return pd.Series(steps_values[:, 1], index=pd.Index(steps_values[:, 0], name="step"), name=metric)

    def interval(self, run: str, metric: str) -> float:
        """Return the median number of steps between two logged values; NaN with fewer than two."""
        steps = self.curve(run, metric).index
        return float(np.median(np.diff(steps))) if len(steps) > 1 else np.nan

    def metrics(self, run: str) -> list[str]:
        """Return the metrics that were logged for a run."""
        return self._metrics.get(run, [])

    def first_step(self, run: str, metric: str, threshold: float) -> float:
        """Return the first logged step with `metric >= threshold`; NaN if there is none.

        It is late by at most one logging interval.
        """
        curve = self.curve(run, metric)
        reached = curve.index[curve >= threshold]
        return float(reached[0]) if len(reached) else np.nan

    def final(
        self,
        run: Mapping[str, Any] | pd.Series,
        metric: str,
        window: float,
        until: float = np.inf,
        if_diverged: float = np.nan,
    ) -> float:
        """Return the mean of a metric over the last `window` steps up to step `until`, but at most over the last fifth.

        `run` is a row of the table of runs. A run that diverged by then gives `if_diverged`. NaN if the metric was
        never logged.
        """
        if run["diverged_at"] <= until:  # False for NaN
            return if_diverged
        steps, values = self._values.get((run["run"], metric), np.empty((0, 2))).T
        steps = steps[steps <= until]
        if not len(steps):
            return np.nan
        end = steps[-1]
        return float(values[: len(steps)][steps >= end - min(window, end / 5)].mean())

    def final_accuracy(self, run: pd.Series, metric: str, window: float, until: float = np.inf) -> float:
        """Return `final` of an accuracy, which is 0 for a run that diverged, as it classifies nothing."""
        return self.final(run, metric, window, until, if_diverged=0.0)


def select(runs: pd.DataFrame, **settings: object) -> pd.DataFrame:
    """Return the runs with these settings. Floats are compared to within 1e-9, as they come from YAML and parquet."""
    chosen = pd.Series(True, index=runs.index)
    for column, value in settings.items():
        same = np.isclose(runs[column], value, rtol=1e-9, atol=0) if isinstance(value, float) else runs[column] == value
        chosen &= same
    return runs[chosen]


def best_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the row of lowest `validation_loss` of each seed, by seed; NaN for a seed whose losses are all unknown."""
    known = rows.dropna(subset="validation_loss")
    best = known.loc[known.groupby("seed")["validation_loss"].idxmin()].set_index("seed")
    return best.reindex(sorted(rows["seed"].unique()))


def between(values: pd.Series, low: float, high: float) -> pd.Series:
    """Return whether each value, for example of λ, lies in [low, high], to within 1e-9 as in `select`."""
    return values.between(low * (1 - 1e-9), high * (1 + 1e-9))


def longest(runs: pd.DataFrame, by: tuple[str, ...] = ("weight_decay", "seed")) -> pd.DataFrame:
    """Return the longest run for each combination of `by`; a setting may have been trained for several lengths."""
    return runs.sort_values("steps").drop_duplicates(list(by), keep="last").sort_values(list(by))


def final_table(
    histories: Histories, runs: pd.DataFrame, metric: str, window: float, column: str = "weight_decay"
) -> pd.DataFrame:
    """Return the final values `[seeds, column]` of a metric; NaN where a seed was not run.

    A diverged run has accuracy 0 and an unknown loss. `..._error` is 1 − accuracy.
    """
    if metric.endswith("_error"):
        return 1 - final_table(histories, runs, metric.replace("_error", "_accuracy"), window, column)
    lost = 0.0 if "accuracy" in metric else np.nan
    rows = runs[["run", "diverged_at"]].to_dict("records")
    values = [histories.final(row, metric, window, if_diverged=lost) for row in rows]
    keys = pd.MultiIndex.from_frame(runs[["seed", column]])
    return pd.Series(values, index=keys, dtype=float).unstack(column)


def finals(runs: pd.DataFrame, history: pd.DataFrame, metrics: Sequence[str], share: float = 0.1) -> pd.DataFrame:
    """Return the means of metrics over the last `share` of each run, `[runs, metrics]`, indexed as `runs`.

    This is fast for thousands of runs. A diverged run has accuracy 0 and an unknown loss.
    """
    rows = history[history["metric"].isin(metrics)].set_index("run")
    ends = (1 - share) * runs.set_index("run")["steps"] * (1 - 1e-9)
    late = rows[rows["step"] >= ends.reindex(rows.index)].set_index("metric", append=True)["value"]
    table = late.groupby(level=["run", "metric"]).mean().unstack("metric")
    table = table.reindex(index=runs["run"], columns=list(metrics))
    table.index = runs.index
    for metric in metrics:
        table.loc[runs["diverged_at"].notna(), metric] = 0.0 if "accuracy" in metric else np.nan
    return table


def diverged(runs: pd.DataFrame) -> int:
    """Return how many of the runs diverged."""
    return int(runs["diverged_at"].notna().sum())


def band(
    curves: Mapping[int, pd.Series], bounds: tuple[float, float] = UNBOUNDED, logarithmic: bool = False
) -> pd.DataFrame:
    """Average the curves of seeds on the steps that they share; return `mean, low, high`, indexed by step.

    `low` and `high` are the ends of the 95 % t interval over seeds, clipped to `bounds`; NaN with one seed.
    `logarithmic`: take the geometric mean, for logarithmic axes. This does at every step what
    `estimates.mean_interval` and `geometric_interval` do.
    """
    table = pd.concat(curves, axis=1).dropna()
    if logarithmic:
        table = np.log(table.clip(lower=np.finfo(float).tiny))
    n = table.shape[1]
    half = student_t(n) * table.std(axis=1) / np.sqrt(n) if n > 1 else np.nan
    mean = table.mean(axis=1)
    result = pd.DataFrame({"mean": mean, "low": mean - half, "high": mean + half})
    return (np.exp(result) if logarithmic else result).clip(*bounds)


def delays(histories: Histories, runs: pd.DataFrame, fitted: float, generalised: float) -> pd.DataFrame:
    """Measure the steps from fitting to generalising: `runs` with columns `delay, generalised, reached, note` added.

    A run fits at the first logged step with train-mode accuracy >= `fitted`, and generalises at the first one with test
    accuracy >= `generalised`, which is in the column `generalised`. If it never generalises, `reached` is False and
    both columns last to the end of the run (right-censored). A delay is at least one logging interval, as shorter ones
    cannot be seen. It is NaN for a run that never fitted, or that diverged before it generalised. `note` names these
    cases.
    """
    table = runs.reset_index(drop=True)
    fit = np.array([histories.first_step(run, TRAIN, fitted) for run in table["run"]])
    general = np.array([histories.first_step(run, "test_accuracy", generalised) for run in table["run"]])
    interval = np.array([histories.interval(run, "test_accuracy") for run in table["run"]])
    reached = ~np.isnan(general)
    end = np.where(reached, general, table["steps"])
    diverged = table["diverged_at"].notna().to_numpy() & ~reached
    cases = {
        "diverged": diverged,
        "never fitted": np.isnan(fit),
        "censored": ~reached,
        "floored at one logging interval": end - fit < interval,
    }
    return table.assign(
        delay=np.where(diverged, np.nan, np.maximum(end - fit, interval)),
        generalised=end,
        reached=reached,
        note=np.select(list(cases.values()), list(cases), ""),
    )


def dip(curves: pd.DataFrame, interpolated: float) -> pd.Series:
    """Return the depth of the dip at the interpolation threshold, one number per seed.

    `curves` are final accuracies `[seeds, (split, λ)]` with the splits "train" and "test". The threshold λ* is the
    largest λ with train accuracy >= `interpolated`. The trough is at λ* or at the next λ, whichever has the lower test
    accuracy. The depth is the best test accuracy on either side, the lower of the two, less that of the trough. All
    these λ are chosen on the other seeds, or noise alone would make dips. A negative depth means that there is no
    second ascent. NaN if no λ interpolates or if the grid ends at the trough.
    """

    def of_seed(others: pd.Series, own: pd.Series) -> float:
        train, test = others["train"], others["test"]
        if not (train >= interpolated).any():
            return np.nan
        threshold = train.index.get_loc(train.index[train >= interpolated][-1])
        trough = test.iloc[threshold : threshold + 2].idxmin()
        left, right = test[test.index < trough], test[test.index > trough]
        if left.empty or right.empty:
            return np.nan
        side = min(left.idxmax(), right.idxmax(), key=lambda best: test[best])
        return own["test"][side] - own["test"][trough]

    return leave_one_out(curves, of_seed)
