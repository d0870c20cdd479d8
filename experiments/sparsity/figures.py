"""Figures of sparsity, drawn from the runs and tables that claims.py judges."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from weightdecay.finding import Inputs
from weightdecay.report.plots import estimates, legend, over_columns, shown_ticks
from weightdecay.report.style import COLUMN, MUTED, PAGE
from weightdecay.statistics.estimates import ACCURACY, geometric_interval, ratio_interval
from weightdecay.statistics.measures import select

from . import finding
from .claims import KINDS, chosen_runs, recall_and_precision, tuned

SEED = 0  # the seed whose examples are shown
METHODS = {  # colour, marker, name
    "proximal": ("#0072B2", "o", "L1, proximal"),
    "subgradient": ("#D55E00", "s", "L1, S2's update"),
    "elastic_net": ("#009E73", "D", "Elastic Net"),
    "ridge": ("#CC79A7", "^", "L2"),
}
PAIR = {"l1": METHODS["proximal"], "l2": METHODS["ridge"]}
NETWORK = {
    "proximal_l1": METHODS["proximal"],
    "l1": METHODS["subgradient"],
    "elastic_net": METHODS["elastic_net"],
    "l2": ("#E69F00", "v", ""),
    "decoupled": METHODS["ridge"],
}
FLOOR = 1e-6  # exact zeros are drawn here


@finding.figure("L1", "L2", "L10")
def recovery(inputs: Inputs) -> Figure:
    """Irrelevant weights at 0 and near 0, and validation loss, against λ."""
    table = inputs.results.tables["recovery"]
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.3), sharex=True)
    shown = {
        "zero_irrelevant": "irrelevant weights exactly 0",
        "small_irrelevant": "irrelevant weights below .001",
        "validation_loss": "validation loss",
    }
    for panel, (column, title) in zip(axes, shown.items(), strict=True):
        share = column != "validation_loss"
        for method, (colour, marker, label) in METHODS.items():
            values = table[table["method"] == method].pivot(index="seed", columns="penalty", values=column)
            bounds = {"bounds": ACCURACY} if share else {"log": True}
            over_columns(panel, values, colour, **bounds, marker=marker, label=label)
        panel.set(xscale="log", xlabel="λ", title=title)
        if share:
            panel.set_ylim(-0.03, 1.03)
    legend(axes[1], loc="upper left", labelspacing=0.25)
    axes[2].set_yscale("log")
    shown_ticks(axes[2].yaxis, [1, 1.5, 2, 3, 5])
    return figure


@finding.figure("L8", "L9", "L10")
def support(inputs: Inputs) -> Figure:
    """The share of weights that are 0 against λ, and how well the others show the relevant features."""
    table, runs = inputs.results.tables["recovery"], inputs.results.runs
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.4))
    for method in ("proximal", "subgradient"):
        colour, marker, label = METHODS[method]
        rows = table[table["method"] == method]
        values = rows.pivot(index="seed", columns="penalty", values="zero")
        over_columns(axes[0], values, colour, bounds=ACCURACY, marker=marker, label=label)
        recall, precision = recall_and_precision(rows)
        for shares, line in ((recall, "--"), (precision, "-")):
            values = rows.assign(share=shares).pivot(index="seed", columns="penalty", values="share")
            over_columns(axes[2], values, colour, bounds=ACCURACY, linestyle=line, marker=marker)
    for line, name in (("--", "recall"), ("-", "precision")):
        axes[2].plot([], [], color="black", linestyle=line, label=name)
    for decay in ("proximal_l1", "l1"):
        colour, marker, _ = NETWORK[decay]
        own = select(runs, decay=decay, optimizer="adam")
        values = own.pivot(index="seed", columns="weight_decay", values="zero_weights")
        over_columns(axes[1], values, colour, bounds=ACCURACY, marker=marker, label=KINDS[decay])
    penalty = geometric_interval(tuned(table, "proximal")["penalty"]).value
    for panel in (axes[0], axes[2]):
        panel.axvline(penalty, color=MUTED, linestyle=":", linewidth=1)
    titles = ("linear model: weights that are 0", "network: weights of layer 1 that are 0", "relevant features")
    for panel, title in zip(axes, titles, strict=True):
        panel.set(xscale="log", xlabel="λ", title=title, ylim=(-0.03, 1.03))
    for panel, place in ((axes[0], "upper left"), (axes[1], "center left"), (axes[2], "center left")):
        legend(panel, loc=place, labelspacing=0.25)
    return figure


@finding.figure("L1", "L2", "L10")
def weights(inputs: Inputs) -> Figure:
    """Every weight of one seed, for each method at its best λ; S2's update has the λ of the proximal steps."""
    table = inputs.results.tables["recovery"]
    own = table[table["seed"] == SEED]
    figure, axes = plt.subplots(figsize=(COLUMN, 2.5))
    penalty = tuned(own, "proximal")["penalty"].iloc[0]
    for method in ("proximal", "subgradient", "ridge"):
        colour, marker, label = METHODS[method]
        row = select(own, method=method, penalty=penalty) if method == "subgradient" else tuned(own, method)
        sizes = np.abs(row.filter(like="weight_").iloc[0].to_numpy(float))
        places = np.arange(len(sizes)) + 1
        axes.plot(
            places, np.maximum(sizes, FLOOR), linestyle="", marker=marker, markersize=3, color=colour, label=label
        )
    axes.axvline(own["relevant"].iloc[0] + 0.5, color=MUTED, linestyle=":", linewidth=1)
    axes.set(yscale="log", ylim=(FLOOR / 2, 8), xlabel="feature (left of the line: relevant)", ylabel="|w|")
    axes.set_yticks([FLOOR, 1e-4, 1e-2, 1], ["0", "0.0001", "0.01", "1"])
    axes.set_yticks([], minor=True)
    figure.legend(loc="outside upper center", ncols=3, columnspacing=1)
    return figure


@finding.figure("L3", "L4")
def groups(inputs: Inputs) -> Figure:
    """The weights of one group in three samples; weights kept, and their spread over samples, against correlation."""
    table, t = inputs.results.tables["groups"], inputs.config.criteria["L3"].thresholds
    figure, axes = plt.subplots(1, 4, figsize=(PAGE, 2.3), width_ratios=(1, 1, 1.1, 1.1))
    own = select(table, seed=SEED, correlation=t["correlation"]).set_index("method")
    members = int(own["members"].iloc[0])
    for panel, (method, (colour, _, label)) in zip(axes, PAIR.items(), strict=False):
        for draw in range(3):
            values = [own.loc[method, f"weight_{draw}_{member}"] for member in range(members)]
            panel.bar(np.arange(members) + 1 + 0.27 * (draw - 1), values, 0.25, color=colour, alpha=1 - 0.3 * draw)
        panel.axhline(1, color=MUTED, linestyle=":", linewidth=1)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set(title=f"a group, {label.split(',')[0]}", xlabel="feature of the group")
        panel.set_xticks(np.arange(members) + 1)
    limits = [f(panel.get_ylim()[side] for panel in axes[:2]) for side, f in enumerate((min, max))]
    for panel in axes[:2]:
        panel.set_ylim(*limits)
    for panel, column, title in (
        (axes[2], "kept", "weights kept in a group"),
        (axes[3], "spread", "spread over samples"),
    ):
        for method, (colour, marker, label) in PAIR.items():
            values = table[table["method"] == method].pivot(index="seed", columns="correlation", values=column)
            values.columns = range(values.shape[1])
            over_columns(panel, values, colour, marker=marker, label=label)
        correlations = sorted(table["correlation"].unique())
        panel.set_xticks(range(len(correlations)), [f"{correlation:g}" for correlation in correlations])
        panel.set(xlabel="correlation in a group", title=title, ylim=(0, None))
    legend(axes[2], loc="lower left")
    return figure


@finding.figure("L5")
def wide(inputs: Inputs) -> Figure:
    """Expected error beyond the noise with more features than samples, with and without groups."""
    table = inputs.results.tables["wide"]
    correlations = sorted(table["correlation"].unique())
    figure, axes = plt.subplots(figsize=(COLUMN, 2.4))
    excesses(axes, table, "correlation", correlations, PAIR | {"elastic_net": METHODS["elastic_net"]})
    axes.set_xticks(range(len(correlations)), [f"{correlation:g}" for correlation in correlations])
    axes.set(xlabel="correlation in a group (0: no groups)")
    shown_ticks(axes.yaxis, [1, 2, 3, 5, 10, 20, 30, 50, 100])
    return figure


@finding.figure("L7")
def contributions(inputs: Inputs) -> Figure:
    """Expected error beyond the noise if all features contribute a little, and if only a few contribute."""
    figure, axes = plt.subplots(figsize=(COLUMN, 2.2))
    excesses(axes, inputs.results.tables["contributions"], "truth", ["dense", "sparse"], PAIR)
    axes.set_xticks([0, 1], ["all features contribute", "few are relevant"])
    shown_ticks(axes.yaxis, [0.05, 0.1, 0.2, 0.5, 1, 2, 5])
    return figure


def excesses(axes: Axes, table: pd.DataFrame, column: str, settings: Sequence[object], methods: Mapping) -> None:
    """Draw the error beyond the noise of every method at every setting: seeds, geometric mean and interval."""
    for place, (method, (colour, marker, label)) in enumerate(methods.items()):
        for x, setting in enumerate(settings):
            values = select(table, method=method, **{column: setting})["excess"]
            at = x + 0.22 * (place - (len(methods) - 1) / 2)
            axes.plot(np.full(len(values), at), values, ".", color=colour, markersize=2.5, alpha=0.35)
            once = "" if x else label.split(",")[0]
            estimates(axes, {at: geometric_interval(values)}, color=colour, marker=marker, capsize=2, label=once)
    axes.set(ylabel="error beyond the noise", yscale="log", xlim=(-0.5, len(settings) - 0.5))
    legend(axes, loc="best", labelspacing=0.25)


@finding.figure("L6")
def network(inputs: Inputs) -> Figure:
    """The shares of pruned hidden units and inputs, and test loss, against λ, for each kind of decay."""
    runs = inputs.results.runs[inputs.results.runs["optimizer"] == "adam"]
    figure, axes = plt.subplots(1, 4, figsize=(PAGE, 2.6))
    shown = {
        "zero_units": "hidden units pruned",
        "small_units": "units below .001",
        "zero_inputs": "irrelevant inputs cut off",
        "test_loss": "test loss",
    }
    for panel, (metric, title) in zip(axes, shown.items(), strict=True):
        for decay, (colour, marker, _) in NETWORK.items():
            values = runs[runs["decay"] == decay].pivot(index="seed", columns="weight_decay", values=metric)
            bounds = {"log": True} if metric == "test_loss" else {"bounds": ACCURACY}
            over_columns(panel, values, colour, **bounds, marker=marker, markersize=3, label=KINDS[decay])
        panel.set(xscale="log", xlabel="λ", title=title)
        if metric != "test_loss":
            panel.set_ylim(-0.03, 1.03)
    free = ratio_interval(np.log(chosen_runs(runs, "none")["test_loss"])).value
    if np.isfinite(free):
        where = {"transform": axes[3].get_yaxis_transform(), "fontsize": 7, "va": "bottom"}
        axes[3].axhline(free, color=MUTED, linestyle=":", linewidth=1)
        axes[3].text(0.02, free, "no decay", color=MUTED, **where)
    axes[3].set_yscale("log")
    shown_ticks(axes[3].yaxis, [0.3, 0.4, 0.5, 0.7, 1, 1.5])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure
