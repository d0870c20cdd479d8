"""Figures of curve fitting from the tables of compute.py; figures.py registers them."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.polynomial.polynomial import polyval

from weightdecay.finding import Inputs
from weightdecay.report.plots import estimates, legend, over_columns, plain_ticks
from weightdecay.report.style import MUTED, PAGE, SPLITS, weight_decay_colour
from weightdecay.statistics.estimates import geometric_interval
from weightdecay.statistics.measures import select

from . import finding
from .claims import CONSTANT
from .demo import GRID, SLOPE, line
from .runs import FIT, LOSSES, Runs, sensitivity

SEED = 0  # the seed whose examples are shown
COLOURS = {"squared_error": "#D55E00", "smooth_l1": "#009E73", "absolute_error": "#0072B2"}
POWERS = 40  # points of a drawn curve per unit of x


@finding.figure("C5")
def polynomials(inputs: Inputs) -> Figure:
    """Errors against the degree; at the highest degree against λ; and the curves of one seed."""
    table = inputs.results.tables["polynomials"]
    highest = int(table["degree"].max())
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.3))
    panels = (
        (axes[0], table[table["weight_decay"] == 0], "degree"),
        (axes[1], table[(table["degree"] == highest) & (table["weight_decay"] > 0)], "weight_decay"),
    )
    for panel, rows, column in panels:
        for split in ("train", "test"):
            values = rows.pivot(index="seed", columns=column, values=f"{split}_loss").clip(lower=1e-6)
            over_columns(panel, values, SPLITS[split], log=True, marker="o", markersize=2.5, label=split)
        panel.set(yscale="log", ylim=(1e-3, 1e3))
    axes[0].set(xlabel="degree", title="least squares, mean squared error")
    axes[1].set(xlabel="λ", xscale="log", title=f"degree {highest} with a ridge")
    legend(axes[0], loc="upper left")
    own = table[table["seed"] == SEED]
    ridged = own[(own["degree"] == highest) & (own["weight_decay"] > 0)]
    best = ridged.loc[ridged["validation_loss"].idxmin()]
    chosen = {
        "degree 1": select(own, degree=1, weight_decay=0.0).iloc[0],
        f"degree {highest}": select(own, degree=highest, weight_decay=0.0).iloc[0],
        f"the same, λ = {best['weight_decay']:g}": best,
    }
    x = np.linspace(-1, 1, 2 * POWERS * 5)
    for (label, row), colour in zip(
        chosen.items(), ("black", MUTED, weight_decay_colour(best["weight_decay"])), strict=True
    ):
        weights = row.filter(like="weight_").drop("weight_decay").dropna().to_numpy(float)
        axes[2].plot(x, polyval(x, weights), color=colour, label=label)
    axes[2].set(xlabel="x", title="one seed", ylim=(-5, 11))
    legend(axes[2], loc="upper center")
    return figure


@finding.figure("C9", "C10")
def overfitting(inputs: Inputs) -> Figure:
    """The slope of fits against the norm of their weights; the gap of test to training error, by degree and norm."""
    table, runs = inputs.results.tables["polynomials"], inputs.made(Runs)
    table = table.assign(gap=table["test_loss"] - table["train_loss"])
    figure, axes = plt.subplots(1, 4, figsize=(PAGE, 2.3))
    for λ in runs.weight_decays:
        demo = runs.demo(λ)
        known = demo[sensitivity(demo) > CONSTANT]
        axes[0].plot(known["weight_norm"], sensitivity(known), ".", markersize=3, color=weight_decay_colour(λ))
    plain, path = table[table["weight_decay"] == 0], table[table["degree"] == table["degree"].max()]
    steep = plain[plain["degree"] > 0]
    axes[1].plot(steep["norm"], steep["sensitivity"], ".", markersize=3, color="black")
    for panel, metric in ((axes[1], "sensitivity"), (axes[3], "gap")):
        for λ, rows in path.groupby("weight_decay"):
            panel.plot(rows["norm"], rows[metric], ".", markersize=3, color=weight_decay_colour(λ))
    over_columns(axes[2], plain.pivot(index="seed", columns="degree", values="gap").abs(), MUTED, log=True, marker="o")
    axes[0].set(title="network: slope", xlabel="norm of all parameters", xscale="log", yscale="log")
    plain_ticks(axes[0].xaxis, [2, 5, 10, 20])
    plain_ticks(axes[0].yaxis, [0.5, 1, 2, 5])
    axes[1].set(title="polynomials: slope", xlabel="norm of the weights", xscale="log", yscale="log")
    axes[2].set(title="|test − training error|", xlabel="degree, no ridge", yscale="log")
    axes[3].set(title="test − training", xlabel=f"norm, degree {int(path['degree'].max())}", xscale="log")
    axes[3].set_yscale("symlog", linthresh=0.1)
    axes[3].set_ylim(-2, 3 * path["gap"].max())
    return figure


@finding.figure("C6", "C8", "C11")
def constraints(inputs: Inputs) -> Figure:
    """One seed's ridge path; norm against λ; least loss, norm and error against the ball's size."""
    table = inputs.results.tables["constraints"]
    own = table[table["seed"] == SEED].set_index("weight_decay")
    figure, axes = plt.subplots(1, 4, figsize=(PAGE, 2.3))
    coefficients = own.filter(like="weight_")
    for power, (_, values) in enumerate(coefficients.items(), 1):
        label = f"of x{f'$^{power}$' if power > 1 else ''}" if power in (1, coefficients.shape[1]) else None
        axes[0].plot(values, color=plt.cm.cividis(power / (coefficients.shape[1] + 1)), label=label)
    legend(axes[0], loc="lower right")
    axes[0].set(xscale="log", xlabel="λ", title="coefficients")
    norms = table.pivot(index="seed", columns="weight_decay", values="norm")
    over_columns(axes[1], norms, SPLITS["train"], log=True, marker="o", label="‖w‖")
    last = norms.columns[-1]
    reach = np.array([last / 1e4, last])
    axes[1].plot(
        reach, 3 * np.exp(np.log(norms[last]).mean()) * last / reach, color=MUTED, linestyle="--", label="∝ 1/λ"
    )
    axes[1].set(xscale="log", yscale="log", xlabel="λ", title="norm of the solution")
    legend(axes[1], loc="lower left")
    axes[2].plot(own["norm"] ** 2, own["loss"], color=MUTED, zorder=1)
    for λ, row in own.iterrows():
        axes[2].plot(row["norm"] ** 2, row["loss"], "o", color=weight_decay_colour(λ))
        if 0.05 < λ < 500:
            axes[2].annotate(f" λ = {λ:g}", (row["norm"] ** 2, row["loss"]), fontsize=7, va="bottom")
    axes[2].set(xlabel="C, the most ‖w‖² may be", title="least loss in the ball", xscale="log")
    axes[2].set_xlim(1e-5, 8 * own["norm"].max() ** 2)
    balls = inputs.results.tables["balls"]
    free = balls[balls["radius"] == 1].set_index("seed")["error"]
    sizes = balls.pivot(index="seed", columns="radius", values="norm")
    errors = balls.pivot(index="seed", columns="radius", values="error").div(free, axis=0)
    over_columns(axes[3], sizes, SPLITS["train"], log=True, marker="o", label="norm")
    over_columns(axes[3], errors, SPLITS["test"], log=True, marker="s", label="error")
    axes[3].axvline(1, color=MUTED, linestyle=":", linewidth=1)
    axes[3].set(xscale="log", yscale="log", xlabel="radius", title="over free optimum")
    plain_ticks(axes[3].xaxis, [0.25, 0.5, 1, 2, 5])
    plain_ticks(axes[3].yaxis, [0.1, 0.3, 1, 3, 10])
    legend(axes[3], loc="lower right")
    return figure


@finding.figure("C7", "C14")
def outliers(inputs: Inputs) -> Figure:
    """Distance to the true line against the outliers' shift; fits of one seed; moves by small changes."""
    table, runs = inputs.results.tables["outliers"], inputs.made(Runs)
    figure, axes = plt.subplots(1, 4, figsize=(PAGE, 2.4), width_ratios=(1, 1, 1, 0.8))
    shift = inputs.config.criteria["C7"].thresholds["shift"]
    for loss, label in LOSSES.items():
        values = table[table["loss"] == loss].pivot(index="seed", columns="shift", values="distance")
        over_columns(axes[0], values, COLOURS[loss], log=True, marker="o", label=label)
        row = select(table, seed=SEED, shift=shift, loss=loss).iloc[0]
        axes[1].plot(GRID, row["constant"] + row["slope"] * GRID, color=COLOURS[loss])
        chosen = runs.fitted(loss, outlier=True)
        axes[2].plot(GRID, chosen.loc[SEED, FIT], color=COLOURS[loss], label=label)
    moved = inputs.results.tables["nudges"].pivot(index="seed", columns="loss", values="moved")
    for place, loss in enumerate(LOSSES):
        values = moved[loss]
        axes[3].plot(np.full(len(values), place), values, ".", color=COLOURS[loss], alpha=0.35)
        estimates(axes[3], {place + 0.2: geometric_interval(values)}, color=COLOURS[loss], marker="o", capsize=2)
    axes[0].set(xscale="symlog", yscale="log", xlabel="shift of the outliers", title="distance to truth")
    axes[0].set_xlim(-0.1, table["shift"].max() * 1.2)
    legend(axes[0], loc="upper left")
    for panel in axes[1:3]:
        true_line(panel)
        panel.set_xlabel("x")
    axes[1].set_title(f"lines, shift {shift:g}")
    x, train, _ = line(SEED, int(runs.runs["train_size"].iloc[0]), outlier=True)
    axes[2].plot(x, train, "o", color="black", markersize=3)
    axes[2].set_title("network, one outlier")
    axes[3].set(yscale="log", xlim=(-0.5, len(LOSSES) - 0.3), title="move over change")
    axes[3].set_xticks(range(len(LOSSES)), [label.replace(" ", "\n") for label in LOSSES.values()])
    plain_ticks(axes[3].yaxis, [0.2, 0.5, 1, 2])
    return figure


def true_line(axes: Axes) -> None:
    axes.plot(GRID, SLOPE * GRID, color="black", linestyle=":", linewidth=0.8)
