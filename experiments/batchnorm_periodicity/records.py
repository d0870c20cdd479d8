"""Measurements of the runs of BatchNorm with decay: events, their spacing, and what predicts them."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pandas as pd

from weightdecay.claims.judging import distinct
from weightdecay.results import Results
from weightdecay.statistics.events import (
    collapses,
    concordance,
    destabilisations,
    dominant_period,
    relative_collapses,
    spacings,
    times_to_next,
)
from weightdecay.statistics.measures import TRAIN, Histories, select

from . import finding

DATA = {"grid": "", "mnist1d": "Mnist"}  # sweeps over η and λ -> prefix of the parts' names
COUNT = (0.0, np.inf)  # bounds of a number of events, and of a time
FACTORS = ("learning_rate", "weight_decay")  # of the fitted laws
TEST = "test_accuracy"
WINDOW = 0.1  # the window in τ within which a destabilisation or a collapse of test accuracy takes place
MOMENTS = 20  # moments per τ at which predictors are compared
PREDICTORS = {  # a large value may predict the next event
    "divisor": "small divisor",
    "rate": "large effective rate",
    "both": "effective rate × variance/(variance + eps)",
    "eps": "small eps alone",
}


@finding.measured
class Records:
    """Runs with their curves and events."""

    def __init__(self, results: Results):
        self.runs, self.histories = results.runs, Histories(results.history)
        self._rows = {row["run"]: row for _, row in self.runs.iterrows()}
        self.tau = cache(self._tau)
        self._destabilised = cache(self._detect)
        self.collapses = cache(self._collapses)
        self.test_collapses = cache(self._test_collapses)
        self.variance, self.predictors = cache(self._variance), cache(self._predictors)

    def sweep(self, name: str, **settings: object) -> pd.DataFrame:
        """Return the runs of a sweep with these settings; empty if it was not run."""
        return select(self.runs[self.runs["sweep"] == name], **settings)

    def curve(self, run: str, metric: str) -> pd.Series:
        return self.histories.curve(run, metric)

    def row(self, run: str) -> pd.Series:
        return self._rows[run]

    def _tau(self, run: str) -> float:
        """Return τ = (1 − momentum)/(ηλ) in steps; a run without decay has that of its control with decay."""
        row = self.row(run)
        λ = row["weight_decay"]
        if λ == 0:
            control = "addition" if row["network"] == "residual_mlp" else "held"
            λ = self.sweep(control, learning_rate=float(row["learning_rate"]))["weight_decay"].min()
        return (1 - row["momentum"]) / (row["learning_rate"] * λ)

    def destabilisations(self, run: str, window: float = WINDOW) -> pd.DataFrame:
        """Return the destabilisations of a run; `window` is in τ."""
        return self._destabilised(run, window)  # always with `window`, or the cache would keep one result twice

    def _detect(self, run: str, window: float) -> pd.DataFrame:
        loss = self.curve(run, "train_loss_batch")
        return destabilisations(self.curve(run, "rho").loc[1:], loss, window * self.tau(run))

    def _collapses(self, run: str, high: float, low: float) -> pd.DataFrame:
        return collapses(self.curve(run, TRAIN), high, low)

    def _test_collapses(self, run: str) -> pd.DataFrame:
        return relative_collapses(self.curve(run, TEST), WINDOW * self.tau(run))

    def _variance(self, run: str) -> pd.Series:
        """Return the smallest variance of any feature before a BatchNorm, at each logged step."""
        names = [name for name in self.histories.metrics(run) if name.startswith("smallest_variance")]
        curves = [self.curve(run, name) for name in names or ["smallest_variance"]]
        return pd.concat(curves, axis=1).min(axis=1).sort_index() if len(curves) > 1 else curves[0]

    def _predictors(self, run: str) -> pd.DataFrame:
        """Return the `PREDICTORS` at each logged step. The divisor is √(variance + eps), the least of any feature."""
        curves, eps = (self.variance(run), self.effective_rate(run)), self.row(run)["batch_norm_eps"]
        steps, *places = np.intersect1d(*(curve.index for curve in curves), assume_unique=True, return_indices=True)
        variance, effective = (curve.to_numpy()[at] for curve, at in zip(curves, places, strict=True))
        share = variance / (variance + eps)
        columns = {"divisor": 1 / np.sqrt(variance + eps), "rate": effective, "both": effective * share, "eps": 1 / eps}
        return pd.DataFrame(columns, pd.Index(steps, name="step")).dropna()

    def effective_rate(self, run: str) -> pd.Series:
        """Return the effective learning rate: η/ρ² over 1 − momentum, or η/(ε ρ²) with Adam.

        Adam's ε is not BatchNorm's eps. Here it is far above the root mean square of the gradients, so Adam's steps are
        those of SGD with momentum at a rate of η/ε.
        """
        row = self.row(run)
        scale = row["eps"] if row["optimizer"] == "adam" else 1 - row["momentum"]
        return row["learning_rate"] / scale / self.curve(run, "rho").loc[1:] ** 2

    def fits(self, run: str, accuracy: float) -> bool:
        """Return whether the training accuracy of a run ever reached this accuracy."""
        return bool(self.curve(run, TRAIN).max() >= accuracy)

    def count(self, run: str, events: pd.DataFrame, metric: str = "rho") -> float:
        """Return the number of events in a metric of a run; NaN if the metric was never logged."""
        return float(len(events)) if len(self.curve(run, metric).loc[1:]) else np.nan


def eps_sweep(records: Records) -> pd.DataFrame:
    """Return the runs of the scale-invariant network at every eps, including the default eps, at one η and λ."""
    runs = records.sweep("eps")
    if runs.empty:
        return runs
    η, λ = (float(runs[field].iloc[0]) for field in ("learning_rate", "weight_decay"))
    return pd.concat([runs, records.sweep("grid", learning_rate=η, weight_decay=λ)]).sort_values("batch_norm_eps")


def per_seed(runs: pd.DataFrame, value: Callable[[str], float | None], skip: bool = False) -> pd.Series:
    """Return per seed the mean of `value(run)` over its runs; NaN if any value is NaN, unless `skip` leaves it out."""
    values = pd.Series([value(run) for run in runs["run"]], dtype=float)
    return values.groupby(runs["seed"].to_numpy()).agg(lambda found: found.mean(skipna=skip))


def collapse_counts(
    records: Records, runs: pd.DataFrame, high: float, low: float, until: float = np.inf
) -> dict[str, float]:
    """Return run -> number of collapses whose bottom is at step `until` or before; NaN as in `Records.count`."""
    found = {run: records.collapses(run, high, low) for run in runs["run"]}
    return {run: records.count(run, events[events["bottom"] <= until], TRAIN) for run, events in found.items()}


def length(records: Records, run: str) -> float:
    """Return the length of a run in τ."""
    return records.row(run)["steps"] / records.tau(run)


def rate(records: Records, run: str) -> float:
    """Return the number of destabilisations per τ."""
    return records.count(run, records.destabilisations(run)) / length(records, run)


def periods(records: Records, runs: pd.DataFrame, window: float = WINDOW) -> pd.DataFrame:
    """Return the mean spacing of each run's events, `period` in steps and `scaled` in τ, with its seed, η and λ.

    `window` is that of the detector. With fewer than two events `reached` is False, and the period is a lower bound:
    the time from the last event, or from the beginning, to the end of the run or to its divergence. NaN if this time is
    zero.
    """
    rows = []
    for run in runs["run"]:
        starts, row = records.destabilisations(run, window)["start"], records.row(run)
        reached = len(starts) >= 2
        last = starts.max() if len(starts) else 0.0
        lasted = float(records.curve(run, "rho").index.max() - last)
        period = float(np.mean(spacings(starts))) if reached else lasted if lasted > 0 else np.nan
        rows.append(
            {name: row[name] for name in ("seed", "learning_rate", "weight_decay")}
            | {"run": run, "period": period, "reached": reached, "scaled": period / records.tau(run)}
        )
    columns = ["seed", "learning_rate", "weight_decay", "run", "period", "reached", "scaled"]
    return pd.DataFrame(rows, columns=columns).astype({"reached": bool}).set_index("run")


def slope(records: Records, run: str) -> float:
    """Return the slope of log ρ between two destabilisations, in units of −ηλ.

    It is the median over all such intervals, and is fitted in the middle half of each.
    """
    rho, events = records.curve(run, "rho"), records.destabilisations(run)
    steps, logs, slopes = rho.index.to_numpy(), np.log(rho.to_numpy()), []
    for end, start in zip(events["end"].iloc[:-1], events["start"].iloc[1:], strict=True):
        quarter = (start - end) / 4
        middle = slice(np.searchsorted(steps, end + quarter), np.searchsorted(steps, start - quarter, side="right"))
        if len(steps[middle]) >= 4:
            slopes.append(np.polyfit(steps[middle], logs[middle], 1)[0])
    return float(np.median(slopes)) * -records.tau(run) if slopes else np.nan


def spectral_share(records: Records, run: str) -> float:
    """Return the share of the power of log ρ near the peak of its spectrum, after the first τ."""
    return dominant_period(np.log(records.curve(run, "rho").loc[records.tau(run) :]))[1]


def at_events(records: Records, run: str, curve: pd.Series) -> float:
    """Return the geometric mean of a positive curve at the starts of destabilisations; NaN without any."""
    starts = records.destabilisations(run)["start"]
    return float(np.exp(np.log(curve.reindex(starts)).mean(skipna=False))) if len(starts) else np.nan


def moments(records: Records, run: str, high: float, low: float) -> pd.DataFrame:
    """Return the predictors at `MOMENTS` steps per τ, with `time` to the next event in τ and whether it was `observed`.

    Events are destabilisations, or in the addition network collapses after it has fitted.
    """
    table, tau = records.predictors(run), records.tau(run)
    if records.row(run)["network"] == "residual_mlp":
        starts = records.collapses(run, high, low)["start"]
        table = table.loc[records.histories.first_step(run, TRAIN, high) :]
    else:
        starts = records.destabilisations(run)["start"]
        table = table.loc[WINDOW * tau :]
    place = np.floor(table.index.to_numpy() / tau * MOMENTS)
    table = table[np.diff(place, prepend=-1) > 0]
    if table.empty:  # the run diverged before, or never fitted
        return table.assign(time=0.0, observed=False)
    time, observed = times_to_next(table.index.to_numpy(), starts.to_numpy())
    return table.assign(time=time / tau, observed=observed)


def foretelling(records: Records, runs: pd.DataFrame, high: float, low: float) -> pd.DataFrame:
    """Return Harrell's C of every predictor, pooled over the runs of a seed: `[seeds, PREDICTORS]`."""
    rows = {}
    for seed, group in runs.groupby("seed"):
        pooled = pd.concat([moments(records, run, high, low) for run in group["run"]])
        time, observed = pooled["time"].to_numpy(), pooled["observed"].to_numpy(bool)
        rows[seed] = {name: concordance(pooled[name].to_numpy(), time, observed) for name in PREDICTORS}
    return pd.DataFrame(rows, index=list(PREDICTORS), dtype=float).T


def spreads(records: Records, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the spread of each predictor at the jumps between the settings of a seed: `[seeds, PREDICTORS]`.

    The spread is the standard deviation of the predictor's logarithm.
    """
    rows = [
        {"seed": row["seed"]}
        | {name: at_events(records, row["run"], curve) for name, curve in records.predictors(row["run"]).items()}
        for _, row in runs.iterrows()
    ]
    table = pd.DataFrame(rows, columns=["seed", *PREDICTORS]).set_index("seed")
    return np.log(table.dropna()).groupby("seed").std()


def variance_over_eps(records: Records, run: str, starts: pd.Series) -> float:
    """Return the smallest variance over eps, as geometric mean over the starts of events; NaN without events."""
    relative = records.variance(run) / records.row(run)["batch_norm_eps"]
    return float(np.exp(np.log(relative.reindex(starts)).mean(skipna=False))) if len(starts) else np.nan


def fallen(records: Records, run: str, high: float, low: float) -> float:
    """Return the smallest variance at the start of the first collapse over its median since fitting.

    NaN without a collapse.
    """
    starts, variance = records.collapses(run, high, low)["start"], records.variance(run)
    if starts.empty:
        return np.nan
    usual = variance.loc[records.histories.first_step(run, TRAIN, high) : starts[0]].median()
    return variance.get(starts[0], np.nan) / usual


def risen(records: Records, run: str, curve: pd.Series, high: float, low: float) -> float:
    """Return the factor by which a curve rises within `WINDOW` after a collapse begins: a geometric mean."""
    starts = records.collapses(run, high, low)["start"]
    window = WINDOW * records.tau(run)
    factors = [curve.loc[start : start + window].max() / curve.get(start, np.nan) for start in starts]
    return float(np.exp(np.mean(np.log(factors)))) if factors else np.nan


def settled_gains(records: Records, run: str, high: float, low: float) -> tuple[float, float]:
    """Return the mean gain in settled test accuracy across a collapse, and that from settling to the next collapse."""
    accuracy, events = records.curve(run, TEST), records.collapses(run, high, low)
    if events.empty or accuracy.empty:
        return np.nan, np.nan
    end = accuracy.index[-1]
    bounds = [records.histories.first_step(run, TRAIN, high), *events["start"]]
    bottoms, stops = [bounds[0], *events["bottom"]], [*events["start"], end]
    if end - bottoms[-1] < WINDOW * records.tau(run):
        bottoms, stops = bottoms[:-1], stops[:-1]
    halves = [accuracy.loc[(bottom + stop) / 2 : stop] for bottom, stop in zip(bottoms, stops, strict=True)]
    settled = [half.median() for half in halves]
    within = [half.iloc[len(half) // 2 :].median() - half.iloc[: len(half) // 2 + 1].median() for half in halves[1:]]
    gained = float(np.mean(np.diff(settled))) if len(settled) > 1 else np.nan
    return gained, float(np.mean(within)) if within else np.nan


def settings_of(runs: pd.DataFrame) -> str:
    """Write λ and length of runs, for a note."""
    if runs.empty:
        return ""
    steps = ", ".join(map(str, sorted(runs["steps"].unique())))
    return f"λ = {distinct(runs['weight_decay'])}, {steps} steps"


def exponent(eps: float) -> str:
    """Return the word for an eps in a macro's name, the same at every scale: 1e-5 is "Five"."""
    names = ("One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight")
    return names[round(-np.log10(eps)) - 1]


def words(sweep: str) -> str:
    names = {"grid": "digits", "mnist1d": "MNIST-1D", "full_batch": "full batch", "cnn": "CNN"}
    return names.get(sweep, sweep)
