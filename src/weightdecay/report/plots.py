"""Plots that the figures of several findings share: accuracies against λ, and curves with a band over seeds."""

from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis, XAxis
from matplotlib.typing import ColorType

from weightdecay.claims.judging import NOT_RUN
from weightdecay.report.style import has_data, missing
from weightdecay.statistics.estimates import ACCURACY, UNBOUNDED, Estimate, mean_interval
from weightdecay.statistics.measures import Histories, band

OPEN = 1e9  # an interval without an upper end is drawn up to here
FAINT = 20  # at most so many single seeds are drawn behind a mean: more would hide it


def points(axes: Axes, table: pd.DataFrame, colour: str, label: str, hollow: Collection[float] = ()) -> None:
    """Draw means over seeds with 95 % intervals against λ, and every seed faintly, from a table `[seeds, λ]`.

    The means at the λ in `hollow` are drawn as rings.
    """
    if table.isna().all(axis=None):
        return
    for _, values in table.iterrows():
        axes.plot(table.columns, values, linestyle="", marker=".", markersize=2.5, color=colour, alpha=0.35)
    found = {λ: mean_interval(values.dropna(), ACCURACY) for λ, values in table.items()}
    estimates(axes, found, hollow=hollow, color=colour, marker="o", elinewidth=0.9, capsize=1.5, label=label)


def estimates(
    axes: Axes,
    found: Mapping[float, Estimate] | Mapping[int, Estimate],
    across: bool = False,
    hollow: Collection[float] = (),
    **style: Any,
) -> None:
    """Draw estimates with their 95 % intervals at places on the x axis, or on the y axis if `across`.

    The estimates at the places in `hollow` are drawn as rings. An unknown value leaves a gap. An unknown end is not
    drawn, and an open end runs out of the panel.
    """
    places = np.array(list(found), dtype=float)
    value, low, high = np.array([estimate[:3] for estimate in found.values()], dtype=float).reshape(-1, 3).T
    ends = np.nan_to_num([value - low, np.minimum(high, OPEN) - value])
    x, y = (value, places) if across else (places, value)
    line = axes.errorbar(x, y, None if across else ends, ends if across else None, **style)[0]
    ring = np.isin(places, list(hollow))
    look = {"marker": line.get_marker(), "markersize": line.get_markersize(), "color": line.get_color()}
    axes.plot(x[ring], y[ring], linestyle="", **look, markerfacecolor="white", zorder=3)


def curves(
    axes: Axes, histories: Histories, runs: pd.DataFrame, metric: str, colour: ColorType, label: str | None
) -> None:
    """Draw one metric of several seeds against the step: mean, band, and single seeds faintly.

    If there are no values, the panel says so.
    """
    seeds: Mapping[int, pd.Series] = {row["seed"]: histories.curve(row["run"], metric) for _, row in runs.iterrows()}
    seeds = {seed: curve for seed, curve in seeds.items() if len(curve)}
    if seeds:
        bounds = ACCURACY if "accuracy" in metric else UNBOUNDED
        interval_line(axes, band(seeds, bounds, logarithmic="loss" in metric), seeds, colour, label=label)
    elif runs.empty:
        missing(axes, NOT_RUN)


def interval_line(
    axes: Axes, band: pd.DataFrame, seeds: Mapping[int, pd.Series], colour: ColorType, **line: Any
) -> None:
    """Draw a mean curve with its 95 % band over seeds (`measures.band`), and at most `FAINT` single seeds behind it."""
    for curve in islice(seeds.values(), FAINT):
        axes.plot(curve.index, curve, color=colour, alpha=0.25, linewidth=0.4)
    axes.fill_between(band.index, band["low"], band["high"], color=colour, alpha=0.2, linewidth=0)
    axes.plot(band.index, band["mean"], color=colour, **line)


def over_columns(
    axes: Axes,
    table: pd.DataFrame,
    colour: ColorType,
    bounds: tuple[float, float] = UNBOUNDED,
    log: bool = False,
    seeds: bool = True,
    **line: Any,
) -> None:
    """Draw mean and band over seeds of a table `[seeds, x]`, where all seeds have a value.

    `log`: geometric mean. `seeds`: with single seeds behind it.
    """
    known = table.dropna(axis=1)
    if known.size:
        rows = {seed: row for seed, row in known.iterrows()}
        interval_line(axes, band(rows, bounds, logarithmic=log), rows if seeds else {}, colour, **line)


def legend(axes: Axes, **options: Any) -> None:
    """Draw the legend of a panel, unless nothing in it has a name."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(**options)


def room(axes: Axes, below: float = 1.0, above: float = 1.0) -> None:
    """Widen a y axis by factors, to leave room below and above the data; an empty panel stays as it is."""
    if has_data(axes, "y"):
        low, high = axes.get_ylim()
        axes.set_ylim(low * below, high * above)


def zero_and_logarithm(axes: Axes, smallest: float, largest: float) -> None:
    """Make a logarithmic λ axis with λ = 0 at its left end (symlog, linear only below the smallest λ > 0)."""
    linear = 10 ** np.floor(np.log10(smallest))
    axes.set_xscale("symlog", linthresh=linear, linscale=0.5)
    decades = 10.0 ** np.arange(np.log10(linear), np.floor(np.log10(largest)) + 1)
    axes.set_xticks([0, *decades], ["0", *(f"{decade:g}" for decade in decades)])
    minor = np.outer(decades, np.arange(2, 10)).ravel()
    axes.set_xticks(minor[minor <= 1.3 * largest], minor=True)
    axes.set_xlim(-0.25 * linear, 1.35 * largest)


def edges(values: pd.Index) -> np.ndarray:
    """Return the edges of cells around values on a logarithmic axis."""
    logs = np.log(np.asarray(values, dtype=float))
    middle = (logs[1:] + logs[:-1]) / 2
    return np.exp(np.concatenate([[2 * logs[0] - middle[0]], middle, [2 * logs[-1] - middle[-1]]]))


def plain_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Show only these ticks, as plain numbers, which a logarithmic axis of about one decade needs."""
    axis.set_ticks(list(ticks), [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def shown_ticks(axis: Axis, ticks: Sequence[float]) -> None:
    """Show those of the ticks that the axis spans now, as plain numbers; leave its own where it spans none of them."""
    if has_data(axis.axes, "x" if isinstance(axis, XAxis) else "y"):
        low, high = axis.get_view_interval()
        if ticks := [tick for tick in ticks if low <= tick <= high]:
            plain_ticks(axis, ticks)


def thousands(axes: Axes) -> None:
    """Count the x axis in thousands of steps."""
    axes.xaxis.set_major_formatter(lambda step, _: f"{step / 1000:g}")
