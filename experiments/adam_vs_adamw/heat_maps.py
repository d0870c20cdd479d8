"""Heat maps of the grids of η × λ, against PyTorch's λ and against ηλ, the λ of Loshchilov & Hutter."""

from collections.abc import Iterable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from weightdecay.claims.judging import NOT_RUN
from weightdecay.finding import Inputs
from weightdecay.report.plots import edges
from weightdecay.report.style import COLUMN, PAGE, colour_map, missing
from weightdecay.statistics.estimates import Estimate

from .surfaces import COORDINATES, METHODS, Grids

NAMES = {"mnist1d": "MNIST-1D", "digits": "digits", "addition": "addition"}
BEST = 10  # cells that are marked, as in Loshchilov & Hutter's heat maps
DOT: dict[str, Any] = {"linestyle": "", "marker": "o", "color": "black", "markeredgecolor": "white"}
SHEAR = "#E69F00"
PLATE: dict[str, Any] = {"facecolor": "white", "alpha": 0.85, "edgecolor": "none", "pad": 2}  # behind text
AS_PUBLISHED = (("AdamW", "ηλ"), ("Adam + L2", "λ"))  # the coordinates of Loshchilov & Hutter
TICKS = (1, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3)  # of the colour scale, in multiples of the best error
WIDE_TICKS = {"addition": (1, 1.5, 2, 3, 4, 6)}  # for tasks that some cells solve and others do not


def heat_maps(inputs: Inputs, dataset: str) -> Figure:
    """Draw the mean held-out error of a data set's grids: against λ above, ηλ below, with one colour scale."""
    grids = inputs.made(Grids)
    schedules = grids.schedules(dataset)
    if not schedules:
        return not_run(dataset)
    methods = [method for method in METHODS if grids.schedules(dataset, method)]
    tables = {
        (method, schedule): grids.errors(dataset, method, schedule, "held_out").mean()
        for method in methods
        for schedule in schedules
    }
    lowest = max(min(table.min() for table in tables.values()), 1e-3)
    ticks = [tick * lowest for tick in WIDE_TICKS.get(dataset, TICKS)]
    norm = LogNorm(ticks[0], ticks[-1])
    rows = [(schedule, coordinate) for schedule in schedules for coordinate in ("λ", "ηλ")]
    figure, axes = plt.subplots(
        len(rows), len(methods), figsize=(PAGE, 1.2 * len(rows) + 0.4), squeeze=False, sharex="col"
    )
    for line, (schedule, coordinate) in zip(axes, rows, strict=True):
        for panel, method in zip(line, methods, strict=True):
            mesh = heat_map(panel, tables[method, schedule], coordinate, norm)
        line[0].set_ylabel(f"{schedule}\n{coordinate}")
    name_panels(axes, methods)
    bar = figure.colorbar(mesh, ax=axes, label="held-out error", shrink=0.4, aspect=40, pad=0.01, extend="max")
    bar.ax.yaxis.set_ticks(ticks, [f"{tick:.3f}" for tick in ticks])
    bar.ax.minorticks_off()
    return figure


def separability_panels(inputs: Inputs) -> Figure:
    """Draw the figure `separability`, whose docstring says what it shows."""
    grids, thresholds = inputs.made(Grids), inputs.config.criteria["O4"].thresholds
    within = thresholds["within"]
    if not grids.schedules("digits"):
        return not_run("digits")
    dataset, schedule = shown_surface(grids)
    methods = ("AdamW", "Adam + L2")
    tables = {method: grids.errors(dataset, method, schedule, "held_out").mean() for method in methods}
    lowest = min(table.min() for table in tables.values())
    figure, axes = plt.subplots(2, 2, figsize=(PAGE, 5.4), sharex="col")
    for line, coordinate in zip(axes, COORDINATES, strict=True):
        for panel, method in zip(line, methods, strict=True):
            mesh = heat_map(panel, tables[method], coordinate, LogNorm(lowest, lowest * np.exp(within)), size=6)
            found = grids.shear(method, [(dataset, schedule)], within)
            shear_line(panel, tables[method], coordinate, found.known(thresholds["explained"]))
            if (method, coordinate) in AS_PUBLISHED:
                said = panel.text(0.97, 0.04, "as Loshchilov & Hutter draw it", transform=panel.transAxes, ha="right")
                said.set(fontsize=9, bbox=PLATE)
            panel.tick_params(labelsize=9)
        line[0].set_ylabel(coordinate, fontsize=14)
    for top, bottom, method in zip(axes[0], axes[1], methods, strict=True):
        top.set_title(method, fontsize=14)
        bottom.set_xlabel("η", fontsize=14)
    bar = figure.colorbar(mesh, ax=axes, shrink=0.6, aspect=30, extend="max")
    bar.set_label(f"error on {NAMES[dataset]}, {schedule} schedule", fontsize=10)
    ticks = [times * lowest for times in (1, 1.2, 1.4, 1.6)]
    bar.ax.yaxis.set_ticks(ticks, [f"{tick:.3f}" for tick in ticks], fontsize=9)
    bar.ax.minorticks_off()
    return figure


def not_run(dataset: str) -> Figure:
    """Return a figure that says that a data set's grids were not run."""
    figure, panel = plt.subplots(figsize=(COLUMN, 1.2))
    missing(panel, f"{NAMES[dataset]}: {NOT_RUN}")
    panel.set_axis_off()
    return figure


def shown_surface(grids: Grids) -> tuple[str, str]:
    """Return the data set and the schedule of the figure `separability`, by the rule in its docstring."""

    def kept(dataset: str, schedule: str) -> float:
        with_decay, without = (grids.errors(dataset, of, schedule, "test").mean().min() for of in ("Adam + L2", "Adam"))
        return with_decay / without

    schedule = grids.schedules("digits")[-1]
    return min(("mnist1d", "digits"), key=lambda dataset: kept(dataset, schedule)), schedule


def heat_map(axes: Axes, errors: pd.Series, coordinate: str, norm: LogNorm, size: float = 2.5) -> QuadMesh:
    """Draw one grid, with dots of `size` points on the ten best cells; ηλ shears the grid."""
    table = errors.unstack("learning_rate")  # [λ, η]
    x, y = np.meshgrid(edges(table.columns), edges(table.index))
    y = y * x if coordinate == "ηλ" else y
    mesh = axes.pcolormesh(x, y, table, norm=norm, cmap=colour_map("mako"), rasterized=True)
    axes.plot(*places(best(errors), coordinate), markersize=size, markeredgewidth=size / 8, **DOT)
    axes.set(xscale="log", yscale="log")
    axes.minorticks_off()
    return mesh


def best(errors: pd.Series) -> pd.MultiIndex:
    """Return the ten cells with the lowest errors."""
    return errors.nsmallest(BEST).index


def places(cells: pd.MultiIndex, coordinate: str) -> np.ndarray:
    """Return η and λ, or ηλ, of cells, `[2, cells]`."""
    η, λ = np.array(list(cells), dtype=float).reshape(-1, 2).T
    return np.stack([η, η * λ if coordinate == "ηλ" else λ])


def shear_line(axes: Axes, errors: pd.Series, coordinate: str, found: Estimate) -> None:
    """Draw the line along which ηˢλ is constant, through the centre of the ten best cells; its interval and its slope.

    The slope is −s against λ and 1 − s against ηλ.
    """
    straight = COORDINATES.index(coordinate)  # the shear at which the line is level
    slope, most, least = (straight - s for s in found[:3])
    known = not np.isnan(slope)
    words = f"slope {slope:.2f} [{least:.2f}, {most:.2f}]".replace("-", "−") if known else "slope unknown"
    said = axes.text(0.03, 0.96, words, transform=axes.transAxes, va="top")
    said.set(fontsize=10, weight="bold", bbox=PLATE)
    if known:
        limits, centre = (axes.get_xlim(), axes.get_ylim()), np.log(places(best(errors), coordinate)).mean(axis=1)
        x = np.geomspace(*limits[0])
        middle, high, low = (np.exp(centre[1] + power * (np.log(x) - centre[0])) for power in (slope, most, least))
        axes.fill_between(x, low, high, color=SHEAR, alpha=0.4, linewidth=0)
        axes.plot(x, middle, color=SHEAR, linewidth=2.5)
        axes.set(xlim=limits[0], ylim=limits[1])


def name_panels(axes: np.ndarray, methods: Iterable[str]) -> None:
    """Write a method above each column, and η below it."""
    for top, bottom, method in zip(axes[0], axes[-1], methods, strict=True):
        top.set_title(method)
        bottom.set_xlabel("η")
