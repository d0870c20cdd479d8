"""Figures of curve fitting, from the runs and measures that claims.py judges; others are in figures_computed.py."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from weightdecay.finding import Inputs
from weightdecay.report.plots import legend, over_columns, zero_and_logarithm
from weightdecay.report.style import MUTED, PAGE, SPLITS, weight_decay_colour
from weightdecay.statistics.measures import select

from . import (
    figures_computed,  # noqa: F401 (registers its figures)
    finding,
)
from .claims import lost
from .demo import GRADIENT_EDGES, GRID, WEIGHT_EDGES, line
from .figures_computed import COLOURS, SEED, true_line
from .runs import DECAY, FIT, LOSSES, Runs, distance_to_truth, roughness

PAIR = {0.0: "no decay", DECAY: f"λ = {DECAY:g}"}


@finding.figure("C1")
def fit(inputs: Inputs) -> Figure:
    """The fit at some steps with and without decay for one seed, as in S3's figure; then the last fit of all seeds."""
    runs, history = inputs.made(Runs), inputs.results.history
    demos = {λ: runs.demo(λ) for λ in PAIR}
    history = history[
        history["metric"].isin(FIT) & history["run"].isin([demo.loc[SEED, "run"] for demo in demos.values()])
    ]
    logged = sorted(history.loc[history["step"] > 0, "step"].unique())
    shown = sorted({logged[0], logged[3 * len(logged) // 10 - 1], logged[-1]})  # S3 shows ten steps
    figure, axes = plt.subplots(1, len(shown) + 1, figsize=(PAGE, 2.3), sharex=True, sharey=True)
    x, train, test = line(SEED, int(demos[0.0]["train_size"].iloc[0]), outlier=False)
    for panel, step in zip(axes, shown, strict=False):
        true_line(panel)
        panel.plot(x, train, "o", color=SPLITS["train"], markersize=3.5, label="training points")
        panel.plot(x, test, "x", color=SPLITS["test"], markersize=3.5, label="test points")
        for λ, label in PAIR.items():
            own = history[(history["run"] == demos[λ].loc[SEED, "run"]) & (history["step"] == step)]
            values = own.set_index("metric")["value"]
            panel.plot(GRID, values[FIT], color=weight_decay_colour(λ), label=label)
        panel.set(title=f"one seed, step {step:,}", xlabel="x")
    for λ, chosen in demos.items():
        mean, spread = chosen[FIT].mean(), chosen[FIT].std()
        for edge in (mean - spread, mean + spread):
            axes[-1].plot(GRID, edge, color=weight_decay_colour(λ))
    true_line(axes[-1])
    axes[-1].set(title=f"mean ± SD of {len(demos[0.0])} seeds", xlabel="x", ylim=(-3, 3))
    axes[0].set_ylabel("y")
    legend(axes[0], loc="upper left", labelspacing=0.2, borderaxespad=0.1)
    return figure


@finding.figure("C2", "C4", "C13")
def histograms(inputs: Inputs) -> Figure:
    """Histograms of layer 2's weights and gradients over the steps, as ridge lines, mean over seeds."""
    runs, history = inputs.made(Runs), inputs.results.history
    figure, axes = plt.subplots(1, 4, figsize=(PAGE, 3.2), sharey=True)
    kinds = (("weight", WEIGHT_EDGES, "weight of layer 2"), ("gradient", GRADIENT_EDGES, "log₁₀ |gradient| of layer 2"))
    for pair, (kind, edges, label) in zip((axes[:2], axes[2:]), kinds, strict=True):
        counts = history[history["metric"].str.startswith(f"layer2_{kind}_bin_")]
        tables = {}
        for λ in PAIR:
            own = counts[counts["run"].isin(runs.demo(λ)["run"])]
            table = own.pivot_table(index="step", columns="metric", values="value")
            tables[λ] = table.div(table.sum(axis=1), axis=0)
        highest = max((table.iloc[:, 1:-1].max(axis=None) for table in tables.values() if table.size), default=np.nan)
        for panel, (λ, title) in zip(pair, PAIR.items(), strict=True):
            ridge_lines(panel, tables[λ], edges, weight_decay_colour(λ), highest, kind == "gradient")
            panel.set(title=title, xlabel=label)
    axes[0].set_ylabel("step")
    axes[0].invert_yaxis()
    return figure


def ridge_lines(
    axes: Axes, shares: pd.DataFrame, edges: np.ndarray, colour: ColorType, highest: float, zeros: bool
) -> None:
    """Draw a ridge line for each step from shares `[steps, bins]`; a share of `highest` is 1.9 lines high.

    `zeros`: write which share lies below the bins.
    """
    steps = shares.index.to_numpy(float)
    centres = (edges[1:] + edges[:-1]) / 2
    if len(steps) < 2 or np.isnan(highest):
        return
    height = 1.9 * np.diff(steps).min() / highest
    for order, (step, row) in enumerate(shares.iterrows()):
        tops = step - height * row.to_numpy()[1:-1]
        axes.fill_between(centres, tops, step, color=colour, alpha=0.75, linewidth=0, zorder=2 * order)
        axes.plot(centres, tops, color="black", linewidth=0.5, zorder=2 * order + 1)
        if zeros and step in (steps[0], steps[-1]):
            axes.text(edges[-1] + 2.5, step, f"{row.iloc[0]:.0%} are 0", fontsize=7, va="bottom", ha="right", zorder=99)
    axes.set_xlim(edges[0], edges[-1] + 2.5 * zeros)


@finding.figure("C2", "C3", "C4", "C13")
def norms(inputs: Inputs) -> Figure:
    """Norms of weights and gradients over the steps, and the learning rates at which training diverges."""
    runs = inputs.made(Runs)
    figure, axes = plt.subplots(1, 4, figsize=(PAGE, 2.2))
    shown = {
        "weight_norm": "norm of all parameters",
        "layer2_weight_std": "layer 2: SD, largest (dashed)",
        "gradient_norm": "norm of the gradient",
    }
    for panel, (metric, label) in zip(axes, shown.items(), strict=False):
        for λ, name in PAIR.items():
            table = curves(runs, λ, metric)
            over_columns(panel, table, weight_decay_colour(λ), log="gradient" in metric, label=name)
        panel.set(xlabel="step", title=label)
    for λ in PAIR:
        over_columns(axes[1], curves(runs, λ, "layer2_weight_largest"), weight_decay_colour(λ), linestyle="--")
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(bottom=0)
    axes[2].set_yscale("log")
    legend(axes[0], loc="lower left")
    tried = runs.runs[runs.runs["sweep"].isin(["learning_rate", "weight_decay"]) & runs.runs["weight_decay"].isin(PAIR)]
    share = (
        tried.assign(failed=tried["diverged_at"].notna()).groupby(["weight_decay", "learning_rate"])["failed"].mean()
    )
    for λ, marker in zip(PAIR, "os", strict=True):
        axes[3].plot(share[λ], marker=marker, color=weight_decay_colour(λ), markersize=2, linewidth=0.8)
    axes[3].set(xscale="log", xlabel="learning rate η", title="share that diverges", ylim=(-0.03, 1.03), xlim=(0.05, 1))
    return figure


def curves(runs: Runs, weight_decay: float, metric: str) -> pd.DataFrame:
    """Return a metric of S3's program at every EVERY-th step, `[seeds, steps]`."""
    return pd.DataFrame({seed: runs.every(run, metric) for seed, run in runs.demo(weight_decay)["run"].items()}).T


@finding.figure("C1", "C3", "C8")
def weight_decay(inputs: Inputs) -> Figure:
    """Losses, roughness and norm of S3's program against λ."""
    runs = inputs.made(Runs)
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.2))
    demos = {λ: runs.demo(λ) for λ in runs.weight_decays}
    tables = {
        split: pd.DataFrame({λ: demo[f"{split}_loss"] for λ, demo in demos.items()}) for split in ("train", "test")
    }
    for split, table in tables.items():
        over_columns(axes[0], table, SPLITS[split], marker="o", label=split)
    far = pd.DataFrame({λ: distance_to_truth(demo) for λ, demo in demos.items()})
    over_columns(axes[0], far**2, "black", marker="s", label="to the true line")
    rough = pd.DataFrame({λ: roughness(demo) for λ, demo in demos.items()})
    over_columns(axes[1], rough, SPLITS["test"], marker="o")
    shrunk = pd.DataFrame({λ: demo["weight_norm"] / runs.started(demo, "weight_norm") for λ, demo in demos.items()})
    over_columns(axes[2], shrunk.clip(lower=1e-9), SPLITS["train"], marker="o", log=True)
    axes[0].set(title="mean squared error", ylim=(0, 1.2 * axes[0].get_ylim()[1]))
    legend(axes[0], loc="upper left")
    axes[1].set(title="variation of the fit's slope", ylim=(0, None))
    axes[2].set(title="norm of all parameters, over start", yscale="log")
    positive = [λ for λ in demos if λ > 0]
    failed = [λ for λ, demo in demos.items() if demo["diverged_at"].notna().any()]
    for panel in axes:
        zero_and_logarithm(panel, positive[0], positive[-1])
        panel.set_xlabel("λ")
        ticks = [λ for λ in (0.01, 1.0, 100.0) if λ <= positive[-1]]
        panel.set_xticks([0, *ticks], ["0", *(f"{λ:g}" for λ in ticks)])
        panel.set_xticks([], minor=True)
        for λ in failed:
            panel.axvline(λ, color=MUTED, linestyle=":", linewidth=1)
            panel.text(
                λ,
                0.97,
                "diverges ",
                transform=panel.get_xaxis_transform(),
                ha="right",
                va="top",
                fontsize=7,
                color=MUTED,
            )
    return figure


@finding.figure("C12")
def outlier_training(inputs: Inputs) -> Figure:
    """The learning rates at which training diverges or ends as a constant, and the loss at S3's, by loss function."""
    runs = inputs.made(Runs)
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.4))
    free = runs.runs[runs.runs["sweep"].isin(["learning_rate", "weight_decay"]) & (runs.runs["weight_decay"] == 0)]
    tried = runs.runs[runs.runs["sweep"].isin(["outlier_rates", "losses"]) & (runs.runs["weight_decay"] == 0)]
    groups = [("L2, no outlier", "black", free, runs.fitted("squared_error", outlier=False))]
    groups += [
        (
            f"{label}, outlier",
            COLOURS[loss],
            select(tried, loss=loss, dataset="line_outlier"),
            runs.fitted(loss, outlier=True),
        )
        for loss, label in LOSSES.items()
    ]
    for label, colour, rates, chosen in groups:
        for panel, failed in ((axes[0], rates["diverged_at"].notna()), (axes[1], lost(rates))):
            share = failed.groupby(rates["learning_rate"]).mean()
            panel.plot(share, color=colour, marker="o", markersize=2.5, label=label)
        first = runs.started(chosen, "train_loss")
        table = {seed: runs.every(run, "train_loss_batch") / first[seed] for seed, run in chosen["run"].items()}
        over_columns(axes[2], pd.DataFrame(table).T, colour, log=True, label=label)
    for panel, title in zip(axes, ("share that diverges", "diverges or ends as a constant"), strict=False):
        panel.set(xscale="log", xlabel="learning rate η", title=title, ylim=(-0.03, 1.03))
    axes[2].set(yscale="log", xlabel="step", title=f"training loss over first, η = {free['learning_rate'].min():g}")
    axes[2].set_ylim(bottom=1e-7)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure
