"""What the figures of several experiments draw alike: accuracies against λ, curves with their band over seeds."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis

from weightdecay.claims.judging import NOT_RUN
from weightdecay.report.style import has_data, missing
from weightdecay.statistics.estimates import ACCURACY, UNBOUNDED, mean_interval
from weightdecay.statistics.measures import Histories, band

FAINT = 20  # single seeds drawn behind a mean, at most: more would hide it


def points(axes: Axes, table: pd.DataFrame, colour: str, label: str, hollow: Sequence[float] = ()) -> None:
    """Means over seeds with 95 % intervals against λ, and every seed faintly; from `[seeds, λ]`. `hollow`: those λ."""
    if table.isna().all(axis=None):
        return
    found = pd.DataFrame(
        {λ: mean_interval(values.dropna(), ACCURACY)._asdict() for λ, values in table.items()}
    ).T.astype(float)
    for _, values in table.iterrows():
        axes.plot(table.columns, values, linestyle="", marker=".", markersize=2.5, color=colour, alpha=0.35)
    error = [(found["value"] - found["low"]).fillna(0), (found["high"] - found["value"]).fillna(0)]
    axes.errorbar(
        found.index, found["value"], error, color=colour, marker="o", elinewidth=0.9, capsize=1.5, label=label
    )
    marked = found.loc[found.index.isin(hollow), "value"]
    axes.plot(marked, linestyle="", marker="o", color=colour, markerfacecolor="white", zorder=3)


def curves(
    axes: Axes, histories: Histories, runs: pd.DataFrame, metric: str, colour: object, label: str | None
) -> None:
    """One metric of several seeds against the step: mean, band, and seeds faintly; says where there is none."""
    seeds: Mapping[int, pd.Series] = {row["seed"]: histories.curve(row["run"], metric) for _, row in runs.iterrows()}
    seeds = {seed: curve for seed, curve in seeds.items() if len(curve)}
    if seeds:
        bounds = ACCURACY if "accuracy" in metric else UNBOUNDED
        interval_line(axes, band(seeds, bounds, logarithmic="loss" in metric), seeds, colour, label=label)
    elif runs.empty:
        missing(axes, NOT_RUN)


def interval_line(axes: Axes, band: pd.DataFrame, seeds: Mapping[int, pd.Series], colour: Any, **line: Any) -> None:
    """A mean curve with its 95 % band over seeds (`measures.band`), and single seeds, `FAINT` at most, behind it."""
    for curve in islice(seeds.values(), FAINT):
        axes.plot(curve.index, curve, color=colour, alpha=0.25, linewidth=0.4)
    axes.fill_between(band.index, band["low"], band["high"], color=colour, alpha=0.2, linewidth=0)
    axes.plot(band.index, band["mean"], color=colour, **line)


def over_columns(
    axes: Axes,
    table: pd.DataFrame,
    colour: Any,
    bounds: tuple[float, float] = UNBOUNDED,
    log: bool = False,
    **line: Any,
) -> None:
    """Mean and band over seeds against the columns of `[seeds, x]` that no seed lacks; `log`: geometric."""
    rows = {seed: row for seed, row in table.dropna(axis=1).iterrows()}
    if rows and len(next(iter(rows.values()))):
        interval_line(axes, band(rows, bounds, logarithmic=log), rows, colour, **line)


def legend(axes: Axes, **options: Any) -> None:
    """The legend of a panel; none where nothing in it has a name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**options)


def room(axes: Axes, below: float = 1.0, above: float = 1.0) -> None:
    """Factors on the ends of a y axis, for room below and above what is drawn; nothing where nothing is."""
    if has_data(axes, "y"):
        low, high = axes.get_ylim()
        axes.set_ylim(low * below, high * above)


def zero_and_logarithm(axes: Axes, smallest: float, largest: float) -> None:
    """A logarithmic λ axis with λ = 0 at its left end (symlog, linear only below the smallest λ > 0)."""
    linear = 10 ** np.floor(np.log10(smallest))
    axes.set_xscale("symlog", linthresh=linear, linscale=0.5)
    decades = 10.0 ** np.arange(np.log10(linear), np.floor(np.log10(largest)) + 1)
    axes.set_xticks([0, *decades], ["0", *(f"{decade:g}" for decade in decades)])
    minor = np.outer(decades, np.arange(2, 10)).ravel()
    axes.set_xticks(minor[minor <= 1.3 * largest], minor=True)
    axes.set_xlim(-0.25 * linear, 1.35 * largest)


def edges(values: pd.Index) -> np.ndarray:
    """Edges of cells around values on a logarithmic axis."""
    logs = np.log(np.asarray(values, dtype=float))
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]]))


def plain_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """These ticks alone, as plain numbers: what a logarithmic axis of one decade needs."""
    axis.set_ticks(list(ticks), [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def thousands(axes: Axes) -> None:
    axes.xaxis.set_major_formatter(lambda step, _: f"{step / 1000:g}")
