"""One figure: accuracy against step is a fan, against the norm one curve; and the norm foretells the step."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from weightdecay.claims.judging import NOT_RUN
from weightdecay.finding import Inputs
from weightdecay.report.latex import booktabs
from weightdecay.report.numbers import LATEX
from weightdecay.report.plots import legend
from weightdecay.report.style import MUTED, PAGE, missing, weight_decay_colour
from weightdecay.statistics.estimates import geometric_interval, mean_interval
from weightdecay.statistics.measures import select

from . import finding
from .passages import CELL, NORM, Measured, predictions

RATE = 1e-3  # S1's η, at which curves are shown
MARKERS = "o^sDv"


@finding.figure("X1", "X2")
def first_passage(inputs: Inputs) -> Figure:
    """Test accuracy against step and against norm, at the η of S1; and the steps that the norm foretells."""
    m, criteria = inputs.made(Measured), inputs.config.criteria
    accuracy = criteria["X1"].thresholds["accuracy"]
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.5), width_ratios=(1, 1, 1.1))
    curves(axes[0], axes[1], m)
    axes[0].set(xscale="log", xlabel="step", ylabel="test accuracy")
    axes[1].set(xlabel="norm of the weights (falls to the right)")
    axes[1].invert_xaxis()
    for panel in axes[:2]:
        panel.axhline(accuracy, color=MUTED, linestyle=":", linewidth=0.8)
        panel.set_ylim(-0.03, 1.03)
    legend(axes[0], title=f"η = {RATE:g}")
    t = criteria["X2"].thresholds
    foreseen(axes[2], predictions(m, t["accuracy"], t["weight_decay"], t["cut"]))
    return figure


def curves(over_steps: Axes, over_norm: Axes, m: Measured) -> None:
    """Draw the accuracy of every seed at S1's η, against the step and against the norm."""
    chosen = select(m.runs, learning_rate=RATE)
    for λ, runs in chosen.groupby("weight_decay"):
        for number, run in enumerate(runs["run"]):
            curve, norm = m.histories.curve(run, "test_accuracy"), m.histories.curve(run, NORM)
            look: dict[str, Any] = {"color": weight_decay_colour(float(λ)), "linewidth": 0.6, "alpha": 0.8}
            over_steps.plot(curve[curve.index > 0], label=f"λ = {λ:g}" if number == 0 else None, **look)
            over_norm.plot(norm.reindex(curve.index), curve, **look)
    if chosen.empty:
        for panel in (over_steps, over_norm):
            missing(panel, NOT_RUN)


def foreseen(axes: Axes, found: pd.DataFrame) -> None:
    """Draw predicted against observed steps, a marker for each run, its shape for η and its colour for λ."""
    if found.empty:
        missing(axes, "no run that passes")
        return
    for marker, (rate, runs) in zip(MARKERS, found.groupby("learning_rate"), strict=False):
        colours = [weight_decay_colour(λ) for λ in runs["weight_decay"]]
        axes.scatter(runs["step"], runs["first_passage"], s=9, c=colours, marker=marker, linewidths=0)
        axes.plot([], [], marker=marker, color=MUTED, linestyle="", label=f"η = {rate:g}")
    ends = np.array([found["step"].min(), found["step"].max()])
    axes.plot(ends, ends, color="black", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="observed step", ylabel="foretold step")
    legend(axes)


@finding.table("X1")
def passages_table(inputs: Inputs) -> str:
    """The step and the norm at which test accuracy passes one half, in every cell."""
    table = inputs.made(Measured).passages(inputs.config.criteria["X1"].thresholds["accuracy"])
    rows = []
    for (rate, λ), cell in table.groupby(CELL):
        known = cell.dropna(subset=["step", "norm"])
        steps, norms = geometric_interval(known["step"]), mean_interval(known["norm"])
        count = f"{int(cell['passed'].sum())} of {len(cell)}"
        rows.append([LATEX.exact(rate), f"{λ:g}", count, LATEX.interval(steps), LATEX.interval(norms)])
    return booktabs("@{}rrrrr@{}", [r"$\eta$", r"$\lambda$", "pass", "step", "norm"], rows)
