"""S1's two figures along λ, with every seed of ours on them, and a table of its points beside our predictions."""

from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from weightdecay.finding import Inputs
from weightdecay.report.latex import booktabs
from weightdecay.report.numbers import LATEX
from weightdecay.report.style import MUTED, PAGE, SPLITS
from weightdecay.statistics.estimates import Estimate
from weightdecay.statistics.measures import between, select
from weightdecay.statistics.predictions import lies_within

from . import finding
from .points import PUBLISHED, Measured

BREAKDOWN = (0.29, 1.05)  # the λ between which accuracy breaks down: they have a panel of their own
ASIDE = {"train": -1, "test": 1, "loss": 0}  # seeds are drawn to this side of S1's point
SHORT = {"train": "train", "test": "test", "loss": "test"}


@finding.figure("A13", "A14", "A15", "A16")
def lambda_sweep(inputs: Inputs) -> Figure:
    """Final accuracy and test loss against λ: S1's curves as lines, our seeds as dots, and our medians as bars."""
    m = inputs.made(Measured)
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.8), width_ratios=(1, 1.25, 1))
    for kind in ("train", "test"):
        of_curve(axes[0], m, kind)
        of_curve(axes[1], m, kind, spread=True)
    axes[0].set(xscale="log", xlabel="weight decay λ", ylabel="final accuracy")
    axes[1].set(xlabel="weight decay λ (not to scale)", title="enlarged: where accuracy breaks down")
    for panel in axes[:2]:
        panel.set_ylim(-0.03, 1.05)
    for bits, words in {1: "1/2: one bit given up", 2: "1/4: two", 3: "1/8: three"}.items():
        axes[1].axhline(0.5**bits, color="0.8", linewidth=0.6, zorder=0)
        axes[1].text(9.4, 0.5**bits + 0.01, words, color=MUTED, fontsize=7, ha="right")
    of_curve(axes[2], m, "loss")
    axes[2].set(xscale="log", yscale="log", xlabel="weight decay λ", ylabel="final test loss")
    for panel in (axes[0], axes[2]):
        panel.axvspan(*BREAKDOWN, color="0.93", zorder=0)
    threshold = PUBLISHED["interpolation_threshold"]
    axes[0].axvline(threshold, color=MUTED, linestyle=":", linewidth=1)
    axes[0].text(threshold / 1.1, 0.3, "S1's interpolation\nthreshold", color=MUTED, fontsize=7, ha="right")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(handles))
    thresholds = inputs.config.criteria["A13"].thresholds
    say_lengths(axes[2], m.runs, thresholds["low"], thresholds["high"])
    return figure


def of_curve(axes: Axes, m: Measured, kind: str, spread: bool = False) -> None:
    """Draw one of S1's curves, and the final values of our seeds with their median.

    `spread`: only the λ where accuracy breaks down, side by side at equal distances, as most lie close together.
    """
    published, final, colour, name = m.published(kind), m.final[kind], SPLITS[SHORT[kind]], SHORT[kind]
    look: dict[str, Any] = {"color": colour, "markersize": 4.5, "markerfacecolor": "white"}
    if not spread:
        axes.plot(published, linewidth=1, marker="o", label=f"S1, {name}", **look)
        places = {λ: λ * 1.04 ** ASIDE[kind] for λ in final}
    else:
        shown = [λ for λ in published.index if BREAKDOWN[0] <= λ <= BREAKDOWN[1]]
        axes.plot(range(len(shown)), published[shown], linewidth=0.6, marker="o", **look)
        axes.set_xticks(range(len(shown)), [f"{λ:g}".lstrip("0") for λ in shown])
        places = {λ: shown.index(λ) + 0.22 * ASIDE[kind] for λ in final if λ in shown}
    for λ, place in places.items():
        seeds = final[λ].dropna()
        axes.plot([place] * len(seeds), seeds, linestyle="", marker=".", markersize=4, color=colour, alpha=0.4)
    medians = final[list(places)].median()
    bars: dict[str, Any] = {"linestyle": "", "marker": "_", "markersize": 7, "markeredgewidth": 1.6, "color": colour}
    axes.plot(list(places.values()), medians, **bars, label=f"ours, {name}")


def say_lengths(axes: Axes, runs: pd.DataFrame, low: float, high: float) -> None:
    """Write how long the runs at small λ are, on which this figure depends."""
    if len(runs):
        steps = runs.loc[between(runs["weight_decay"], low, high), "steps"]
        said = f"{steps.min():,} steps" if len(steps) else "no runs"
        words = f"ours at λ ≤ {high:g}:".replace("0.", ".")
        axes.text(0.03, 0.03, f"{words}\n{said}", transform=axes.transAxes, fontsize=7, color=MUTED)


@finding.table("A13", "A14", "A15")
def points_table(inputs: Inputs) -> str:
    """Each of S1's points beside the median of our seeds and the prediction interval of a single run."""
    m = inputs.made(Measured)
    errors = {
        kind: inputs.config.criteria[id].thresholds["reading_error"]
        for kind, id in {"train": "A14", "test": "A13", "loss": "A15"}.items()
    }
    found = {kind: m.predictions(kind) for kind in errors}
    rows = []
    for λ in m.published("test").index:
        runs = select(m.runs, weight_decay=λ)
        row = [f"{λ:g}", LATEX.number(runs["steps"].max()) if len(runs) else "--", str(len(runs))]
        for kind, error in errors.items():
            value, run = m.published(kind)[λ], found[kind].get(λ)
            row += [f"{value:g}", *cells(run, value, error)]
        rows.append(row)
    header = [r"$\lambda$", "steps", "$n$"]
    for title in ("train", "test", "loss"):
        header += [f"{title}, S1", "ours", ""]
    return booktabs("@{}rrr*{3}{rr@{ }l}@{}", header, rows)


def cells(run: Estimate | None, value: float, error: float) -> list[str]:
    """Return the median with its prediction interval, and whether the published value is met."""
    if run is None:
        return ["not run", ""]
    return [LATEX.interval(run), {None: "", True: "met", False: "missed"}[lies_within(value, run, error)]]
