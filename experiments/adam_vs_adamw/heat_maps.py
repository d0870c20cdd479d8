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
from matplotlib.patheffects import withStroke

from weightdecay.claims.judging import NOT_RUN
from weightdecay.finding import Inputs
from weightdecay.report.plots import edges
from weightdecay.report.style import COLUMN, PAGE, colour_map, missing
from weightdecay.statistics.basins import good_cells

from .surfaces import METHODS, Grids

NAMES = {"mnist1d": "MNIST-1D", "digits": "digits", "addition": "addition"}
OUTLINE: dict[str, Any] = {
    "color": "white",
    "linewidth": 0.9,
    "path_effects": [withStroke(linewidth=1.5, foreground="#555555")],
}
TICKS = (1, 1.05, 1.1, 1.15, 1.2, 1.25, 1.3)  # of the colour scale, in multiples of the best error
WIDE_TICKS = {"addition": (1, 1.5, 2, 3, 4, 6)}  # for tasks that some cells solve and others do not


def heat_maps(inputs: Inputs, dataset: str) -> Figure:
    """Draw the mean held-out error of a data set's grids: against λ above, ηλ below, with one colour scale."""
    grids = inputs.made(Grids)
    schedules = grids.schedules(dataset)
    if not schedules:
        figure, panel = plt.subplots(figsize=(COLUMN, 1.2))
        missing(panel, f"{NAMES[dataset]}: {NOT_RUN}")
        panel.set_axis_off()
        return figure
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


def heat_map(axes: Axes, errors: pd.Series, coordinate: str, norm: LogNorm) -> QuadMesh:
    """Draw one grid, with a white outline around the best tenth of cells and a dot on the best; ηλ shears the grid."""
    table = errors.unstack("learning_rate")  # [λ, η]
    x, y = np.meshgrid(edges(table.columns), edges(table.index))
    y = y * x if coordinate == "ηλ" else y
    mesh = axes.pcolormesh(x, y, table, norm=norm, cmap=colour_map("mako"), rasterized=True)
    for place, cell in enumerate(good_cells(errors)):
        η, λ = table.columns.get_loc(cell[0]), table.index.get_loc(cell[1])
        corners = [(λ, η), (λ, η + 1), (λ + 1, η + 1), (λ + 1, η), (λ, η)]
        axes.plot([x[at] for at in corners], [y[at] for at in corners], **OUTLINE)
        if place == 0:
            centre = np.exp(np.mean([np.log([x[at], y[at]]) for at in corners[:4]], axis=0))
            axes.plot(*centre, marker="o", color="#D55E00", markersize=3, markeredgecolor="white", markeredgewidth=0.4)
    axes.set(xscale="log", yscale="log")
    axes.minorticks_off()
    return mesh


def name_panels(axes: np.ndarray, methods: Iterable[str]) -> None:
    """Write a method above each column, and η below it."""
    for top, bottom, method in zip(axes[0], axes[-1], methods, strict=True):
        top.set_title(method)
        bottom.set_xlabel("η")
