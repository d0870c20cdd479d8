"""Figures of double descent, drawn from the runs, measures and intervals that claims.py judges.

figures_notebook.py, imported first, has the headline figure and all that shows the notebook's numbers.
"""

from itertools import cycle
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from weightdecay.claims.judging import distinct
from weightdecay.finding import Inputs
from weightdecay.report.plots import edges, estimates, interval_line, legend, plain_ticks
from weightdecay.report.style import (
    COLUMN,
    KINDS,
    MUTED,
    PAGE,
    SPLITS,
    colour_map,
    has_data,
    missing,
    palette,
    weight_decay_colour,
)
from weightdecay.statistics.estimates import geometric_interval
from weightdecay.statistics.measures import band
from weightdecay.statistics.shapes import at_settings, best_settings

from . import finding
from .figures_notebook import TUNED, line
from .over_time import at_width
from .sweeps import Sweep, Sweeps, peak_width, peaks_and_thresholds, ridge_tables

MARKERS = "osD^v"
LABELS = {"test_loss": "test loss", "test_error": "test error"}
CLIPPED = 30.0  # the axis ends here, as the peak of least squares has no limit


@finding.figure("D1", "D3", "D7", "D8", "D13")
def width(inputs: Inputs) -> Figure:
    """Test loss and error against width: without decay, at each λ, and with λ tuned."""
    main, clean = inputs.made(Sweeps).main, inputs.made(Sweeps).clean
    figure, axes = plt.subplots(2, 3, figsize=(PAGE, 4.1), sharex=True, sharey="row")
    for row, metric in zip(axes, LABELS, strict=True):
        tables = main.finals(metric)
        line(row[0], main.final(metric), KINDS["noisy"], "noisy labels", metric)
        line(row[0], clean.final(metric), KINDS["clean"], "clean labels", metric)
        for λ, marker in zip(few_of(main.weight_decays), cycle(MARKERS), strict=False):
            line(row[1], tables[λ], weight_decay_colour(λ), f"λ = {λ:g}", metric, marker=marker)
        line(row[2], main.final(metric), weight_decay_colour(0), "no decay", metric)
        line(row[2], at_settings(tables, main.single()), KINDS["held"], "single best λ", metric)
        tuned = main.tuned(metric.replace("test", "validation"))  # tuned by the quantity that is shown
        line(row[2], at_settings(tables, tuned), TUNED, "λ tuned per width", metric)
        row[0].set_ylabel(LABELS[metric])
    for panel, title in zip(
        axes[0], ("no decay", "one λ for all widths (noisy labels)", "tuned (noisy labels)"), strict=True
    ):
        panel.set(title=title, yscale="log")
        plain_ticks(panel.yaxis, [0.7, 1, 1.5, 2, 3, 5])
        legend(panel, loc="upper left", labelspacing=0.25)
    for panel in axes.flat:
        mark_threshold(panel, main, inputs)
        width_axis(panel, main.widths)
    for panel in axes[1]:
        panel.set_xlabel("width h")
    return figure


@finding.figure("D2")
def threshold(inputs: Inputs) -> Figure:
    """The width of the peak against the measured threshold, for every number of training samples."""
    t = inputs.config.criteria["D2"].thresholds
    found = peaks_and_thresholds(inputs.results, t["tolerance"]).dropna()
    figure, axes = plt.subplots(figsize=(COLUMN, 2.6))
    axes.set(xlabel="interpolation threshold (width)", ylabel="width of the peak")
    if found.empty:
        missing(axes, "no width of this scale interpolates")
        return figure
    span = np.array([found.to_numpy().min() / 1.4, found.to_numpy().max() * 1.4])
    axes.fill_between(
        span,
        span / t["step"],
        span * t["step"],
        color=MUTED,
        alpha=0.15,
        linewidth=0,
        label=f"within a factor {t['step']:g}",
    )
    axes.plot(span, span, color=MUTED, linestyle="--", linewidth=0.9, label="peak = threshold")
    colours = palette("colorblind", found.index.get_level_values("train_size").nunique())
    for colour, marker, (n, rows) in zip(colours, "osD^v<>", found.groupby("train_size"), strict=False):
        axes.plot(rows["threshold"], rows["peak"], linestyle="", marker=".", color=colour, alpha=0.5, markersize=4)
        x, y = geometric_interval(rows["threshold"]), geometric_interval(rows["peak"])
        look: dict[str, Any] = {"color": colour, "linestyle": "", "elinewidth": 1}
        estimates(axes, {y.value: x}, across=True, **look)
        estimates(axes, {x.value: y}, marker=marker, markersize=5, label=f"n = {n}", **look)
    axes.set(xscale="log", yscale="log", xlim=span, ylim=span)
    ticks = [tick for tick in (10, 15, 20, 30, 40, 50, 70, 100, 150, 200, 300) if span[0] <= tick <= span[1]]
    for axis in (axes.xaxis, axes.yaxis):
        plain_ticks(axis, ticks)
    legend(axes, loc="upper left", labelspacing=0.3)
    return figure


@finding.figure("D5", "D6", "D16")
def effect(inputs: Inputs) -> Figure:
    """The effect of each λ on test loss, against width over threshold."""
    main, t = inputs.made(Sweeps).main, inputs.config.criteria["D5"].thresholds
    place = main.thresholds(t["tolerance"])
    figure, axes = plt.subplots(figsize=(COLUMN, 2.6))
    axes.axhline(1, color=MUTED, linewidth=0.6)
    scale = 1.0 if place.isna().any() else geometric_interval(place).value
    for λ, marker in zip(few_of(main.weight_decays)[1:], cycle(MARKERS[1:]), strict=False):
        ratio = main.final("test_loss", λ) / main.final("test_loss")
        ratio.columns = [column / scale for column in ratio.columns]
        line(axes, ratio, weight_decay_colour(λ), f"λ = {λ:g}", "test_loss", marker=marker)
    axes.set(xscale="log", yscale="log", ylabel="test loss, with λ over without")
    axes.set_xlabel("width" if place.isna().any() else "width over threshold")
    plain_ticks(axes.yaxis, [0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5])
    plain_ticks(axes.xaxis, [0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 4])
    if not place.isna().any():
        axes.axvspan(1 / t["factor"], t["factor"], color=MUTED, alpha=0.12, linewidth=0)
        for x, word in ((0.2, "under-\nparameterised"), (1, "near"), (2.6, "over-\nparam.")):
            axes.text(
                x, 0.985, word, transform=axes.get_xaxis_transform(), ha="center", va="top", fontsize=7, color=MUTED
            )
    legend(axes, loc="lower left", labelspacing=0.25)
    return figure


@finding.figure("D4", "D11", "D12", "D15")
def training_curves(inputs: Inputs) -> Figure:
    """Loss and error over time, at the peak's width and at the largest width, with and without decay."""
    main = inputs.made(Sweeps).main
    widest, choice = main.widest, main.single()
    single, said = at_width(choice, widest), distinct(choice)
    columns = [
        (peak_width(main), 0.0, f"peak's width, h = {peak_width(main)}: no decay"),
        (widest, 0.0, f"widest, h = {widest}: no decay"),
        (widest, single, f"widest, h = {widest}: λ = {said}"),
    ]
    figure, axes = plt.subplots(2, 3, figsize=(PAGE, 3.7), sharex=True, sharey="row")
    for column, (h, λ, title) in zip(axes.T, columns, strict=True):
        for split, metric in {
            "train": "train_loss_batch",
            "validation": "validation_loss",
            "test": "test_loss",
        }.items():
            over_steps(column[0], main.curves(metric, h, λ), SPLITS[split], split)
            accuracy = metric.replace("loss", "accuracy")
            over_steps(column[1], 1 - main.curves(accuracy, h, λ), SPLITS[split], split)
        column[0].set(title=title, xscale="log")
        column[1].set(xlabel="step", ylim=(-0.02, 1))
    axes[0, 0].set_ylabel("loss")
    axes[1, 0].set_ylabel("error")
    if has_data(axes[0, 0], "y"):
        axes[0, 0].set_ylim(bottom=0)
    legend(axes[0, 0], loc="upper left")
    return figure


@finding.figure("D11")
def steps(inputs: Inputs) -> Figure:
    """Test loss over width and time, without decay."""
    main, t = inputs.made(Sweeps).main, inputs.config.criteria["D2"].thresholds
    table = pd.DataFrame({h: np.log(main.curves("test_loss", h)).mean() for h in main.widths}).iloc[
        1:
    ]  # [steps, width]
    figure, axes = plt.subplots(figsize=(COLUMN, 2.7))
    if min(table.shape) < 2 or table.isna().all(axis=None):
        return figure
    mesh = axes.pcolormesh(
        edges(table.columns),
        edges(table.index),
        np.exp(table),
        norm=LogNorm(),
        cmap=colour_map("mako_r"),
        rasterized=True,
    )
    axes.set(xscale="log", yscale="log", xlabel="width h", ylabel="step")
    width_axis(axes, main.widths)
    place = main.thresholds(t["tolerance"])
    if place.notna().all():
        axes.axvline(geometric_interval(place).value, color="white", linestyle=":", linewidth=1.2)
    bar = figure.colorbar(mesh, label="test loss", pad=0.02)
    bar.ax.minorticks_off()
    plain_ticks(
        bar.ax.yaxis,
        [
            tick
            for tick in (0.85, 1, 1.2, 1.5, 2, 2.5, 3, 4)
            if np.exp(table.min().min()) <= tick <= np.exp(table.max().max())
        ],
    )
    return figure


@finding.figure("D9", "D14")
def random_features(inputs: Inputs) -> Figure:
    """Loss and roughness of exact random features, at a few ridges and with the ridge tuned for each N."""
    table = inputs.results.tables["random_features"]
    choice, examples = best_settings(ridge_tables(table, "validation_loss")), int(table["train_size"].iloc[0])
    rough = {ridge: np.sqrt(squares) for ridge, squares in ridge_tables(table, "squared_gradient").items()}
    losses = ridge_tables(table, "test_loss")
    shown = [ridge for ridge in losses if ridge == 0 or np.isclose(np.log10(ridge) % 1, 0)]
    colours = palette("viridis_r", len(shown) + 1)[1:]
    figure, axes = plt.subplots(2, 1, figsize=(COLUMN, 4.3), sharex=True)
    for panel, tables, metric in zip(axes, (losses, rough), ("test_loss", "roughness"), strict=True):
        for colour, ridge in zip(colours, shown, strict=True):
            label = "least norm" if ridge == 0 else f"ρ = {ridge:g}"
            line(panel, tables[ridge], MUTED if ridge == 0 else colour, label, metric, seeds=False)
        line(panel, at_settings(tables, choice), TUNED, "ρ tuned", metric, seeds=False)
        panel.set(xscale="log", yscale="log", ylabel=metric.replace("_", " "))
        panel.axvline(examples, color=MUTED, linestyle=":", linewidth=1)
    top, bottom = axes
    top.set_ylim(0.75, CLIPPED)
    plain_ticks(top.yaxis, [0.8, 1, 2, 5, 10, 20])
    legend(top, loc="upper left", labelspacing=0.25)
    bottom.set(xlabel="number of features N", ylabel="roughness (input gradient)")
    for panel, tables in ((top, losses), (bottom, rough)):
        panel.annotate(
            f"at N = n: {geometric_interval(tables[0.0][examples]).value:,.0f}",
            (examples, panel.get_ylim()[1]),
            (6, -3),
            textcoords="offset points",
            va="top",
            fontsize=7,
            color=MUTED,
        )
    return figure


def few_of(weight_decays: list[float]) -> list[float]:
    """Return the λ to draw in one panel: every other one if there are more than six, which do not fit."""
    return weight_decays if len(weight_decays) <= 6 else weight_decays[::2]


def over_steps(axes: Axes, curves: pd.DataFrame, colour: str, label: str) -> None:
    rows = {seed: row.loc[1:].dropna() for seed, row in curves.iterrows()}
    rows = {seed: row for seed, row in rows.items() if len(row)}
    if rows:
        interval_line(axes, band(rows), rows, colour, label=label)


def mark_threshold(axes: Axes, main: Sweep, inputs: Inputs) -> None:
    """Draw a dotted line at the measured threshold (geometric mean over seeds) if every seed has one."""
    place = main.thresholds(inputs.config.criteria["D2"].thresholds["tolerance"])
    if len(place) and place.notna().all():
        axes.axvline(geometric_interval(place).value, color=MUTED, linestyle=":", linewidth=1)


def width_axis(axes: Axes, widths: list[int]) -> None:
    if not widths:
        return
    axes.set_xscale("log")
    plain_ticks(axes.xaxis, [tick for tick in (2, 5, 10, 20, 50, 100, 200, 500) if widths[0] <= tick <= widths[-1]])
    axes.set_xlim(widths[0] / 1.15, widths[-1] * 1.15)
