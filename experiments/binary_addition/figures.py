"""Figures and tables of binary addition, drawn from the runs, measures and intervals that claims.py judges."""

from itertools import cycle
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from weightdecay.claims.judging import NOT_RUN
from weightdecay.finding import Inputs
from weightdecay.report.latex import booktabs
from weightdecay.report.numbers import LATEX
from weightdecay.report.plots import curves, estimates, legend, points, thousands, zero_and_logarithm
from weightdecay.report.published import read_published
from weightdecay.report.style import COLUMN, KINDS, MUTED, PAGE, SPLITS, missing, weight_decay_colour
from weightdecay.results import Results
from weightdecay.statistics.censored import power_laws
from weightdecay.statistics.estimates import ACCURACY, geometric_interval, mean_interval
from weightdecay.statistics.measures import TRAIN, Histories, between, delays, final_table, longest, select

from . import finding
from .protocol import (
    EXPERIMENT,
    LAST_STEPS,
    MEASURED,
    every_rate,
    held_runs,
    lambda_sweep,
    noisy_sweeps,
    shorter_than_timescale,
)

PUBLISHED = read_published(Path(__file__).with_name("published.yaml"))
FINAL = {"train": TRAIN, "test": "test_accuracy"}  # the metrics that S1 plots
MAIN = "decimal digits (main)"
LONGEST_CURVE = 40_000  # steps that are drawn: S1's curve ends near 30,000, and later little happens at λ = .1


@finding.figure("A1", "A2", "A3")
def accuracy_vs_lambda(inputs: Inputs) -> Figure:
    """Final train and test accuracy against λ: means over seeds with their intervals."""
    histories, sweep = inputs.made(curves_of), lambda_sweep(inputs.results.runs)
    figure, axes = plt.subplots(figsize=(COLUMN, 2.6))
    evaluated = final_table(histories, sweep, "train_accuracy", LAST_STEPS).mean()
    axes.plot(evaluated, color=SPLITS["train"], linestyle=":", linewidth=0.9, label="train, evaluated")
    for split, metric in FINAL.items():
        final = final_table(histories, sweep, metric, LAST_STEPS)
        points(axes, final, SPLITS[split], split, hollow=shorter_than_timescale(sweep))
    accuracy_axes(axes, sweep)
    legend(axes, loc="lower center", bbox_to_anchor=(0.45, 1.0), ncols=3)
    return figure


@finding.figure("A4", "A5", "A6", "A11", "A12")
def training_curves(inputs: Inputs) -> Figure:
    """Training curves at λ = .1 and of the control that S1 lacks: accuracy, loss and norm over steps."""
    histories, sweep = inputs.made(curves_of), lambda_sweep(inputs.results.runs)
    figure, axes = plt.subplots(3, 2, figsize=(PAGE, 4.6), sharex=True, sharey="row")
    rows: list[tuple[str, dict[str | None, str]]] = [
        ("accuracy", {"train": TRAIN, "test": "test_accuracy"}),
        ("loss", {"train": "train_loss_batch", "test": "test_loss"}),
        ("weight norm\n(sum over tensors)", {None: "weight_norm_sum"}),
    ]
    for column, (id, λ) in enumerate(
        {"A5": inputs.config.criteria["A5"].thresholds["weight_decay"], "A6": 0.0}.items()
    ):
        fitted = inputs.config.criteria[id].thresholds["fitted"]
        runs = select(sweep, weight_decay=λ)
        axes[0, column].set_title(f"λ = {λ:g}, n = {len(runs)}" + ("" if λ else " (control)"))
        for (name, metrics), panel in zip(rows, axes[:, column], strict=True):
            for split, metric in metrics.items():
                colour = SPLITS[split] if split else weight_decay_colour(λ)
                curves(panel, histories, runs, metric, colour, label=split)
            if column == 0:
                panel.set_ylabel(name)
            if len(runs):
                steps = [histories.first_step(run, TRAIN, fitted) for run in runs["run"]]
                mark_fitted(panel, steps, f"fitted (train ≥ {fitted:g})" if panel is axes[0, column] else None)
    axes[0, 0].set_ylim(-0.03, 1.05)
    axes[1, 0].set_yscale("log")
    axes[2, 0].set_ylim(bottom=0)
    legend(axes[0, 0], loc="lower right", bbox_to_anchor=(1, 0.05))
    legend(axes[0, 1], loc="center right")
    axes[0, 0].set_xlim(0, min(LONGEST_CURVE, axes[0, 0].get_xlim()[1]))
    thousands(axes[0, 0])
    for panel in axes[-1]:
        panel.set_xlabel("step (thousands)")
    figure.align_ylabels(axes[:, 0])
    return figure


@finding.figure("A10")
def delay(inputs: Inputs) -> Figure:
    """The delay between fitting and generalising, against the timescale 1/(ηλ)."""
    claim = inputs.claims["A10"]
    t = inputs.config.criteria["A10"].thresholds
    table = delays(inputs.made(curves_of), every_rate(inputs.results.runs), t["fitted"], t["generalised"])
    table = table[table["weight_decay"] > 0].dropna(subset="delay")
    table["timescale"] = 1 / (table["learning_rate"] * table["weight_decay"])
    table["judged"] = between(table["weight_decay"], t["weight_decay_low"], t["weight_decay_high"])
    table = table[table["judged"] | table["reached"]]
    reached = table[table["reached"]]
    figure, axes = plt.subplots(figsize=(COLUMN, 2.9))
    axes.set(xlabel="timescale 1/(ηλ) (steps)", ylabel="delay (steps)")
    if reached.empty:
        missing(axes, "no run of this scale generalises")
        return figure
    axes.set(xscale="log", yscale="log")
    markers = dict(zip(sorted(table["learning_rate"].unique()), cycle("ovs^DpPX*h<>d8H"), strict=False))
    # Points of the same timescale are moved apart, so that they do not overlap.
    aside = {η: 1.06 ** (place - (len(markers) - 1) / 2) for place, η in enumerate(markers)}
    for (η, λ), runs in reached.groupby(["learning_rate", "weight_decay"]):
        colour, mean = weight_decay_colour(λ), geometric_interval(runs["delay"])
        dots: dict[str, Any] = {"linestyle": "", "marker": ".", "markersize": 3, "alpha": 0.5}
        axes.plot(runs["timescale"] * aside[η], runs["delay"], color=colour, **dots)
        face = colour if runs["judged"].all() else "white"
        look: dict[str, Any] = {"color": colour, "marker": markers[η], "markersize": 5, "markerfacecolor": face}
        estimates(axes, {aside[η] / (η * λ): mean}, elinewidth=1, **look)
    for (η, λ), runs in table[~table["reached"]].groupby(["learning_rate", "weight_decay"]):
        axes.plot(
            runs["timescale"] * aside[η],
            runs["delay"],
            linestyle="",
            marker="$\\uparrow$",
            markersize=7,
            color=weight_decay_colour(λ),
        )
    delay_lines(axes, table[table["judged"]], claim.part("Timescales").measured)
    parts = {"η": claim.part("LearningRate"), "λ": claim.part("WeightDecay")}
    exponents = "  ".join(
        f"{symbol}$^{{{p.measured:.2f}}}$ [{p.low:.2f}, {p.high:.2f}]".replace("-", "−")
        for symbol, p in parts.items()
        if np.isfinite(p.measured)
    )
    words = f"delay ∝ {exponents}" if exponents else "too few delays to fit both exponents"
    axes.set_title(words, fontsize=7, loc="left")  # above the panel, as arrows may lie anywhere in it
    shapes = [
        Line2D([], [], color=MUTED, linestyle="", marker=marker, label=f"η = {η:g}") for η, marker in markers.items()
    ]
    colours = [
        Line2D([], [], color=weight_decay_colour(λ), linestyle="", marker="s", label=f"λ = {λ:g}")
        for λ in sorted(table["weight_decay"].unique())
    ]
    lines = axes.get_legend_handles_labels()[0]
    if not table["reached"].all():
        colours.append(Line2D([], [], color=MUTED, linestyle="", marker="$\\uparrow$", label="not within\nthe run"))
    axes.legend(handles=lines + shapes + colours, loc="upper left", bbox_to_anchor=(1.0, 1.0), labelspacing=0.3)
    return figure


@finding.figure("A8", "A9")
def label_noise(inputs: Inputs) -> Figure:
    """Accuracy along λ with clean and with noisy labels, and the λ at which interpolation ends."""
    runs, histories = inputs.results.runs, inputs.made(curves_of)
    sweeps = {0.0: lambda_sweep(runs), **noisy_sweeps(runs)}
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.4), sharey=True)
    metrics = {"train": TRAIN, "validation": "validation_accuracy", "test": "test_accuracy"}
    noises = sorted(sweeps, reverse=True)[:-1]
    colours = {0.0: KINDS["clean"], **dict(zip(noises, (KINDS["noisy"], "#E69F00", "#56B4E9"), strict=False))}
    for panel, (split, metric) in zip(axes, metrics.items(), strict=True):
        for noise, sweep in sweeps.items():
            label, colour = f"label noise {noise:g}" if noise else "clean labels", colours[noise]
            final = final_table(histories, sweep, metric, LAST_STEPS)
            points(panel, final, colour, label, hollow=shorter_than_timescale(sweep))
            train = final_table(histories, sweep, TRAIN, LAST_STEPS).mean()
            least = inputs.config.criteria["A9" if noise else "A8"].thresholds["interpolated"]
            if (train >= least).any():
                panel.axvline(train.index[train >= least][-1], color=colour, linestyle=":", linewidth=1)
        accuracy_axes(panel, sweeps[0.0])
        panel.set(
            ylabel="final accuracy" if split == "train" else "",
            title={
                "train": "train (on the labels trained on)",
                "validation": "validation (clean)",
                "test": "test: unseen length (clean)",
            }[split],
        )
    handles = axes[0].get_legend_handles_labels()[0]
    handles.append(Line2D([], [], color=MUTED, linestyle=":", linewidth=1, label="largest λ that interpolates"))
    if len(sweeps) == 1:
        handles.append(Line2D([], [], linestyle="", label=f"label noise: {NOT_RUN}"))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


@finding.figure("A7")
def constant_norm(inputs: Inputs) -> Figure:
    """Test accuracy with a norm that is free to fall, and with one that is held from saturation on."""
    runs, histories = inputs.results.runs, inputs.made(curves_of)
    λ = inputs.config.criteria["A7"].thresholds["weight_decay"]
    kinds = {"free": select(lambda_sweep(runs), weight_decay=λ), "held": held_runs(runs, λ)}
    figure, axes = plt.subplots(2, 1, figsize=(COLUMN, 3.2), sharex=True)
    for panel, metric in zip(axes, ("test_accuracy", "weight_norm"), strict=True):
        for kind, chosen in kinds.items():
            label = {"free": f"λ = {λ:g}, norm free", "held": f"λ = {λ:g}, norm held from saturation on"}[kind]
            curves(panel, histories, chosen, metric, KINDS[kind], label=f"{label}, n = {len(chosen)}")
    axes[0].set(ylim=(-0.03, 1.05), ylabel="test accuracy")
    axes[1].set(ylim=(0, None), ylabel="weight norm (L2)", xlabel="step (thousands)")
    end = max(min((group["steps"].max() for group in kinds.values() if len(group)), default=1), 1)
    axes[0].set_xlim(0, end)
    thousands(axes[0])
    if kinds["held"].empty:
        missing(axes[1], f"held norm: {NOT_RUN}")
    legend(axes[0], loc="lower left", bbox_to_anchor=(-0.02, 1.0))
    return figure


@finding.table()
def accuracies_table(inputs: Inputs) -> str:
    """Final accuracies by λ, and what S1 reports of its training curve beside ours."""
    histories, sweep = inputs.made(curves_of), lambda_sweep(inputs.results.runs)
    final = [final_table(histories, sweep, metric, LAST_STEPS) for metric in FINAL.values()]
    rows = []
    for λ, runs in sweep.groupby("weight_decay"):
        ours = [LATEX.interval(mean_interval(table[λ].dropna(), ACCURACY)) for table in final]
        rows.append([f"{λ:g}", LATEX.number(runs["steps"].max()), str(len(runs)), *ours])
    text = booktabs("@{}rrrrr@{}", [r"$\lambda$", "steps", "$n$", "train", "test"], rows)
    curve = PUBLISHED["training_curves"]
    claim, t = inputs.claims["A4"], inputs.config.criteria["A4"].thresholds
    best = select(sweep, weight_decay=t["weight_decay"])
    tests = [histories.curve(run, "test_accuracy") for run in best["run"]]
    fits = [histories.first_step(run, TRAIN, t["fitted"]) for run in best["run"]]
    first = rf"first step with train accuracy $\geq {t['fitted']:g}$"
    facts = [[first, LATEX.interval(claim.part("Fitted")), LATEX.number(curve["fitted"])]]
    for name, values, key in (
        ("test accuracy at that step", [at_step(*pair) for pair in zip(tests, fits, strict=True)], "test_when_fitted"),
        ("test accuracy at step 30{,}000", [at_step(test, 30_000) for test in tests], "test_at_30000"),
    ):
        reached = [value for value in values if not np.isnan(value)]
        mean = f"{LATEX.interval(mean_interval(reached, ACCURACY))} ($n={len(reached)}$)" if reached else "not reached"
        facts.append([name, mean, f"{curve[key]:g}"])
    header = [rf"Training curve, $\lambda = {t['weight_decay']:g}$", "ours", "S1"]
    text += "\n\\par\\medskip\n" + booktabs("@{}lrr@{}", header, facts)
    return text


@finding.table()
def variants_table(inputs: Inputs) -> str:
    """S1's protocol at a few λ beside its variants: noise, held norm, digits read as bits."""
    runs, histories = inputs.results.runs, inputs.made(curves_of)
    groups = {
        MAIN: lambda_sweep(runs),
        **{f"label noise {noise:g}": group for noise, group in noisy_sweeps(runs).items()},
        "norm held from saturation on": held_runs(runs, inputs.config.criteria["A7"].thresholds["weight_decay"]),
        "digits read as bits": longest(select(runs, dataset=f"{EXPERIMENT}_bits", hold_norm="never")),
    }
    elsewhere = set(pd.concat(list(groups.values())[-2:])["weight_decay"])  # the other table has all λ
    groups[MAIN] = groups[MAIN][groups[MAIN]["weight_decay"].isin(elsewhere)]
    rows = []
    for name, group in groups.items():
        for λ, chosen in group.groupby("weight_decay"):
            cells = [accuracy_cell(histories, chosen, metric) for metric in MEASURED]
            rows.append([name, f"{λ:g}", LATEX.number(chosen["steps"].max()), str(len(chosen)), *cells])
            name = ""  # written once in each group
        if group.empty:
            rows.append([name, "--", "--", "0", *["not run"] * len(MEASURED)])
    header = ["Variant", r"$\lambda$", "steps", "$n$", "train", "evaluated", "test", "validation"]
    return booktabs("@{}lrrrrrrr@{}", header, rows)


def curves_of(results: Results) -> Histories:
    """Return all logged curves, which are made once for all figures."""
    return Histories(results.history)


def mark_fitted(axes: Axes, steps: list[float], label: str | None) -> None:
    """Draw a dotted line at the step at which runs fit the training set: the geometric mean of those that do."""
    reached = [step for step in steps if not np.isnan(step)]
    if reached:
        axes.axvline(geometric_interval(reached).value, color=MUTED, linestyle=":", linewidth=1, label=label)


def accuracy_axes(axes: Axes, sweep: pd.DataFrame) -> None:
    positive = sweep.loc[sweep["weight_decay"] > 0, "weight_decay"]
    axes.set(ylim=(-0.03, 1.05), xlabel="weight decay λ", ylabel="final accuracy")
    if len(positive):
        zero_and_logarithm(axes, positive.min(), positive.max())


def delay_lines(axes: Axes, table: pd.DataFrame, timescales: float) -> None:
    """Draw a law that is fitted in 1/(ηλ) alone, so that one line can show it, and the reference delay ∝ 1/(ηλ)."""
    seen = table.loc[table["reached"], "timescale"]
    if seen.empty:
        return
    span = np.geomspace(seen.min(), seen.max(), 2)
    fits = power_laws(table, ["timescale"], "delay").dropna()
    if len(fits):
        exponent, constant = fits["timescale"].mean(), geometric_interval(fits["constant"]).value
        axes.plot(span, constant * span**exponent, color="black", linewidth=0.9, label=f"fit, slope {exponent:.2f}")
    if np.isfinite(timescales):
        axes.plot(span, timescales * span, color=MUTED, linestyle="--", linewidth=0.9, label=f"{timescales:.2f}/(ηλ)")


def at_step(curve: pd.Series, step: float) -> float:
    """Interpolate a curve at a step; NaN after its end."""
    return float(np.interp(step, curve.index, curve, right=np.nan)) if len(curve) else np.nan


def accuracy_cell(histories: Histories, runs: pd.DataFrame, metric: str) -> str:
    values = pd.Series([histories.final_accuracy(run, metric, LAST_STEPS) for _, run in runs.iterrows()]).dropna()
    return LATEX.interval(mean_interval(values, ACCURACY)) if len(values) else "--"
