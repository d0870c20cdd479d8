"""Figures and table of BatchNorm with decay, drawn from the runs, events and intervals that claims.py judges."""

from collections.abc import Callable, Iterable, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any, TypeAlias

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from weightdecay.claims.judging import NOT_RUN
from weightdecay.finding import Inputs
from weightdecay.report import style
from weightdecay.report.latex import booktabs
from weightdecay.report.numbers import LATEX
from weightdecay.report.plots import estimates, legend, plain_ticks, shown_ticks, thousands
from weightdecay.report.published import read_published
from weightdecay.report.style import COLUMN, KINDS, MUTED, PAGE, SPLITS, missing
from weightdecay.statistics.censored import power_laws
from weightdecay.statistics.estimates import UNBOUNDED, every_seed, ratio_interval
from weightdecay.statistics.events import LEAST, spacings, variation
from weightdecay.statistics.measures import TRAIN, select

from . import finding
from .records import (
    COUNT,
    DATA,
    FACTORS,
    TEST,
    Records,
    at_events,
    collapse_counts,
    eps_sweep,
    per_seed,
    periods,
    rate,
    slope,
    words,
)

PUBLISHED = read_published(Path(__file__).with_name("published.yaml"))
EPS = {1e-5: "#0072B2", 1e-2: "#E69F00"}  # of S1's figure, with our colours
NAMES = {1e-5: "eps = 10⁻⁵, the default", 1e-2: "eps = 10⁻²"}
BOLD = 0  # the seed whose run is drawn in bold: the first, whatever it shows
ENOUGH = 19  # seeds in whose range another run would lie with a probability of 90 %, (n − 1)/(n + 1)
MARKERS = "osD^v<>"
DASHES = ("-", "--", ":", "-.")  # to tell apart curves that lie on each other
BARS: dict[str, Any] = {"elinewidth": 0.9, "capsize": 1.5}
ALIGNED = 0.3  # τ on either side of an event
Bounds: TypeAlias = tuple[float, float]  # what a number that is not known exactly lies between


def colours_of(values: Iterable[float], palette: str) -> dict[float, ColorType]:
    """Return a colour of the palette for each of the values, in their order."""
    distinct = sorted(set(values))
    return dict(zip(distinct, style.palette(palette, len(distinct)), strict=True))


@finding.figure("B1", "B2", "B12")
def collapses(inputs: Inputs) -> Figure:
    """Test accuracy at the default eps and at 1e-2, as S1 drew it; below, what happens to the weights meanwhile."""
    records = inputs.made(Records)
    runs = {eps: records.sweep("addition", batch_norm_eps=eps) for eps in EPS}
    curves: dict[str, Callable[[str], pd.Series]] = {
        "test accuracy": lambda run: records.curve(run, TEST),
        "norm ρ of\nthe weights": lambda run: records.curve(run, "rho").loc[1:],
        "effective rate\n" + r"η/($\epsilon_{\mathrm{Adam}}$ ρ²)": records.effective_rate,
        "smallest divisor\n√(var + eps)": lambda run: records.predictors(run)["divisor"] ** -1,
    }
    with plt.rc_context({"axes.labelsize": 9, "xtick.labelsize": 9, "ytick.labelsize": 9}):
        figure, axes = plt.subplots(len(curves), 1, figsize=(PAGE, 6.8), sharex=True, height_ratios=(3, 1, 1, 1))
    for panel, (name, curve) in zip(axes, curves.items(), strict=True):
        for eps, colour in EPS.items():
            for run, seed in zip(runs[eps]["run"], runs[eps]["seed"], strict=True):
                look: dict[str, Any] = {"linewidth": 0.3, "alpha": 0.25}
                if seed == BOLD:
                    look = {"linewidth": 1.6, "zorder": 3}
                panel.plot(curve(run), color=colour, **look)
        panel.set(ylabel=name, yscale="linear" if panel is axes[0] else "log")
    for (eps, colour), place in zip(EPS.items(), ((0.005, "left", "bottom"), (0.995, "right", "top")), strict=True):
        axes[-1].axhline(np.sqrt(eps), color=colour, linestyle="--", linewidth=0.8)
        where = dict(zip(("x", "ha", "va"), place, strict=True), transform=axes[-1].get_yaxis_transform())
        axes[-1].text(y=np.sqrt(eps), s="√eps", color=colour, fontsize=9, **where)
    for run in runs[min(EPS)].loc[runs[min(EPS)]["seed"] == BOLD, "run"]:
        for step in records.test_collapses(run)["bottom"]:
            for panel in axes[1:]:
                panel.axvline(step, color=MUTED, linestyle=":", linewidth=0.8)
    marked_by_s1(axes[0], pd.concat(list(runs.values())))
    shown_ticks(axes[1].yaxis, (3, 4, 6, 10, 15))
    for panel in axes[2:]:
        shown_ticks(panel.yaxis, (0.003, 0.01, 0.03, 0.1))
    axes[-1].set_xlabel("step (thousands)", fontsize=9)
    thousands(axes[-1])
    return figure


def marked_by_s1(axes: Axes, runs: pd.DataFrame) -> None:
    """Draw what was read off S1's figure, and name all lines; if our runs are shorter than S1's figure, say so."""
    look: dict[str, Any] = {"color": KINDS["published"], "linestyle": "", "markersize": 6}
    for step in [row["step"] for row in PUBLISHED["collapses"]]:
        axes.plot(step, 1.06, marker="v", **look)
    axes.plot(PUBLISHED["rise"], 1.06, marker="^", markerfacecolor="white", **look)
    points = pd.DataFrame(PUBLISHED["larger_eps"])
    axes.plot(
        points["step"], points["test"], marker="o", markerfacecolor="white", markeredgewidth=1.2, zorder=4, **look
    )
    end, longest, seeds = PUBLISHED["length"], runs["steps"].max(), runs["seed"].nunique()
    said = [f"seed {BOLD} bold, of {seeds}"] if seeds else []
    if longest < end:
        said.append(f"our runs end at step {longest:,}, S1's figure at {end:,}")
    names = {
        **{NAMES[eps]: colour for eps, colour in EPS.items()},
        f"S1: first rise △, collapses ▼ (±{PUBLISHED['reading_error']['steps']} steps),": KINDS["published"],
        "accuracy ○ at eps = 10⁻²": KINDS["published"],
        **dict.fromkeys(said, MUTED),
    }
    at: dict[str, Any] = {"xy": (0.015, 0.89), "xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    for line, (name, colour) in enumerate(names.items()):
        large = {"fontsize": 11, "fontweight": "bold"} if line < len(EPS) else {"fontsize": 9}
        axes.annotate(name, xytext=(0, -15 * line), color=colour, **at, **large)
    axes.set(xlim=(0, min(longest, end) if len(runs) else end), ylim=(-0.03, 1.12), yticks=np.linspace(0, 1, 6))


@finding.figure("B2", "B9")
def accuracy(inputs: Inputs) -> Figure:
    """Training accuracy beside test accuracy, at the default eps and at 1e-2; one line for each seed."""
    records = inputs.made(Records)
    figure, axes = plt.subplots(1, 2, figsize=(PAGE, 2.3), sharey=True)
    for panel, eps in zip(axes, EPS, strict=True):
        runs = records.sweep("addition", batch_norm_eps=eps)
        for place, run in enumerate(runs.sort_values("seed")["run"]):
            for split, metric in {"train": TRAIN, "test": TEST}.items():
                look = {"linewidth": 0.5, "alpha": 0.3} if place else {"linewidth": 0.9, "label": split, "zorder": 3}
                curve = records.curve(run, metric)
                panel.plot(curve.index, curve, color=SPLITS[split], **look)
        panel.set(title=f"BatchNorm's {NAMES[eps]}", xlabel="step (thousands)", ylim=(-0.02, 1.02))
        thousands(panel)
        if runs.empty:
            missing(panel, NOT_RUN)
    axes[0].set_ylabel("accuracy")
    legend(axes[1], loc="lower right")
    return figure


@finding.figure("B2")
def dose(inputs: Inputs) -> Figure:
    """The number of events against eps, in both networks; for addition within the steps that all its runs have."""
    records, t = inputs.made(Records), inputs.config.criteria["B2"].thresholds
    every, digits = records.sweep("addition"), eps_sweep(records)
    common = every["steps"].min()
    count = collapse_counts(records, every, t["high"], t["low"], until=common)
    figure, axes = plt.subplots(figsize=(COLUMN, 2.4))
    found = {
        "addition: collapses": {
            eps: per_seed(rows, lambda run: count[run] * records.tau(run) / common)
            for eps, rows in every.groupby("batch_norm_eps")
        },
        "digits: destabilisations": {
            eps: per_seed(rows, lambda run: rate(records, run)) for eps, rows in digits.groupby("batch_norm_eps")
        },
    }
    for (label, values), colour, marker in zip(found.items(), (SPLITS["test"], SPLITS["train"]), MARKERS, strict=False):
        means = {eps: every_seed(seeds, COUNT) for eps, seeds in values.items()}
        estimates(axes, means, color=colour, marker=marker, label=label, linewidth=0.8, **BARS)
        for eps, seeds in values.items():
            axes.plot([eps] * len(seeds), seeds, linestyle="", marker=".", markersize=2.5, color=colour, alpha=0.4)
    axes.set(xscale="log", xlabel="BatchNorm's eps", ylabel="events in a time of 1/(ηλ)")
    axes.set_ylim(-0.05, 1.35 * axes.get_ylim()[1])
    legend(axes, loc="upper right")
    return figure


@finding.figure("B3", "B4", "B5", "B7", "B8")
def norm(inputs: Inputs) -> Figure:
    """Norm ρ and effective learning rate over time in units of 1/(ηλ), for all settings of one seed."""
    records = inputs.made(Records)
    runs = records.sweep("grid", seed=0)
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.4))
    colours = colours_of(runs["learning_rate"], "crest")
    for _, row in runs.sort_values(["learning_rate", "weight_decay"]).iterrows():
        time = records.curve(row["run"], "rho").loc[1:].index / records.tau(row["run"])
        colour = colours[row["learning_rate"]]
        axes[0].plot(time, records.curve(row["run"], "rho").loc[1:], color=colour, linewidth=0.6, alpha=0.8)
        axes[1].plot(time, records.effective_rate(row["run"]), color=colour, linewidth=0.6, alpha=0.8)
    for η, colour in colours.items():
        axes[0].plot([], [], color=colour, label=f"η = {η:g}")
    axes[0].set(title="all η and λ, one seed", ylabel="norm ρ of the weights")
    axes[1].set(title="the same", ylabel="effective learning rate η/ρ²")
    found = controls(records)
    for label, run, own in found:
        loss = records.curve(run, "train_loss_batch").loc[1:]
        axes[2].plot(loss.index / records.tau(run), loss, color=own, linewidth=0.6, label=label)
    for panel in axes[: 3 if found else 2]:
        panel.set(xlabel="time in 1/(ηλ)", yscale="log")
    axes[1].set_ylim(top=0.6)
    axes[1].legend(handles=axes[0].lines[-len(colours) :], loc="upper right", labelspacing=0.2, ncols=2)
    axes[2].set(title="controls", ylabel="training loss")
    if found:
        axes[2].set_title(f"controls, {setting(records, found[0][1])}")
        axes[2].set_ylim(top=50)
        legend(axes[2], loc="upper right", labelspacing=0.2)
    else:
        missing(axes[2], NOT_RUN)
    return figure


@finding.figure("B8")
def phase(inputs: Inputs) -> Figure:
    """Effective gradient norm against effective learning rate, with time as colour, for a run of medium length."""
    records = inputs.made(Records)
    runs = records.sweep("grid", seed=0)
    figure, axes = plt.subplots(figsize=(COLUMN, 2.6))
    run = runs.sort_values(["steps", "learning_rate"])["run"].iloc[len(runs) // 2] if len(runs) else ""
    effective = records.effective_rate(run) if run else pd.Series(dtype=float)
    if effective.empty:
        return figure
    gradient = (records.curve(run, "rho") * records.curve(run, "gradient_norm")).dropna()
    axes.plot(effective, gradient[effective.index], color=MUTED, linewidth=0.3, alpha=0.5)
    shown = axes.scatter(
        effective,
        gradient[effective.index],
        c=effective.index / records.tau(run),
        s=3,
        cmap="viridis",
        linewidths=0,
        rasterized=True,
    )
    starts = records.destabilisations(run)["start"]
    axes.plot(
        effective[starts],
        gradient[starts],
        linestyle="",
        marker="o",
        markersize=5,
        markerfacecolor="none",
        markeredgecolor="black",
        markeredgewidth=0.8,
        label="start of a jump",
    )
    axes.set(xscale="log", yscale="log", xlabel="effective learning rate η/ρ²", ylabel="effective gradient norm ρ‖g‖")
    axes.set_title(setting(records, run))
    plain_ticks(
        axes.xaxis, [tick for tick in (0.005, 0.01, 0.02, 0.05, 0.1) if effective.min() <= tick <= effective.max()]
    )
    legend(axes, loc="lower left")
    figure.colorbar(shown, label="time in 1/(ηλ)", pad=0.02)
    return figure


@finding.figure("B4")
def period(inputs: Inputs) -> Figure:
    """The mean time between destabilisations against 1/(ηλ)."""
    records = inputs.made(Records)
    figure, axes = plt.subplots(1, len(DATA), figsize=(PAGE, 2.5), sharex=True, sharey=True)
    runs = pd.concat([records.sweep(sweep) for sweep in DATA])
    times = 1 / (runs["learning_rate"] * runs["weight_decay"])
    span = np.array([times.min() / 1.5, times.max() * 1.5])
    for panel, sweep in zip(axes, DATA, strict=True):
        table = periods(records, records.sweep(sweep))
        if not table["reached"].any():
            missing(panel, NOT_RUN if table.empty else "no two events")
            continue
        table["tau"] = 1 / (table["learning_rate"] * table["weight_decay"])
        colours = colours_of(table["learning_rate"], "crest")
        for (η, colour), marker in zip(colours.items(), MARKERS, strict=False):
            found = table[(table["learning_rate"] == η) & table["reached"]]
            means = {tau: ratio_interval(np.log(rows["period"])) for tau, rows in found.groupby("tau")}
            estimates(panel, means, color=colour, marker=marker, label=f"η = {η:g}", linestyle="", **BARS)
        for factor in (0.25, 0.5, 1.0):
            panel.plot(span, factor * span, color=MUTED, linestyle=":", linewidth=0.7)
            panel.text(span[1], factor * span[1], f" {factor:g}/(ηλ)", fontsize=7, color=MUTED, ha="left", va="center")
        exponents = power_laws(table, FACTORS, "period")
        said = [
            f"{symbol}: {value.value:.2f} [{value.low:.2f}, {value.high:.2f}]"
            for symbol, value in (
                ("η", every_seed(exponents["learning_rate"])),
                ("λ", every_seed(exponents["weight_decay"])),
            )
        ]
        panel.text(
            0.97, 0.05, "exponents\n" + "\n".join(said), transform=panel.transAxes, ha="right", va="bottom", fontsize=7
        )
        panel.set(xscale="log", yscale="log", title=words(sweep), xlabel="1/(ηλ), steps", xlim=(span[0], 4 * span[1]))
        legend(panel, loc="upper left", labelspacing=0.2)
    axes[0].set_ylabel("steps between jumps")
    return figure


@finding.figure("B6", "B11")
def mechanism(inputs: Inputs) -> Figure:
    """Divisor and effective learning rate around the destabilisations, and around the first collapse."""
    records, t = inputs.made(Records), inputs.config.criteria["B6"].thresholds
    grid, eps = records.sweep("grid"), records.sweep("addition")
    starts = {
        "grid": {run: records.destabilisations(run)["start"] for run in grid["run"]},
        "addition": {run: records.collapses(run, t["high"], t["low"])["start"][:1] for run in eps["run"]},
    }
    found = {run: records.predictors(run) for run in (*grid["run"], *eps["run"])}
    figure, axes = plt.subplots(2, 2, figsize=(PAGE, 4.2), sharex=True)
    for column, name, power in ((0, "divisor", -1), (1, "rate", 1)):
        curves = {run: table[name] ** power for run, table in found.items()}
        around(axes[0, column], records, grid, "learning_rate", "η", "crest", curves, starts["grid"])
        around(axes[1, column], records, eps, "batch_norm_eps", "eps", "colorblind", curves, starts["addition"])
        axes[1, column].set_xlabel("time from the start of an event, in 1/(ηλ)")
    for panel in axes[:, 1]:
        legend(panel, loc="center left", bbox_to_anchor=(1, 0.5), labelspacing=0.3)
    divisor = "smallest divisor √(var + eps)"
    ylabels = divisor, "effective rate η/ρ²", divisor, r"effective rate η/($\epsilon_{\mathrm{Adam}}$ ρ²)"
    for panel, title, ylabel in zip(axes.flat, ("digits, scale-invariant", "", "addition", ""), ylabels, strict=True):
        panel.set(title=title, ylabel=ylabel)
    return figure


def around(
    axes: Axes,
    records: Records,
    runs: pd.DataFrame,
    field: str,
    symbol: str,
    palette: str,
    curves: dict[str, pd.Series],
    starts: dict[str, pd.Series],
) -> None:
    """Draw a curve of each run around its events, and in bold the geometric mean over runs of equal `field`."""
    drawn = {}
    for (value, colour), dashes in zip(colours_of(runs[field], palette).items(), cycle(DASHES), strict=False):
        found = [aligned(records, run, curves[run], starts[run]) for run in runs.loc[runs[field] == value, "run"]]
        found = [curve for curve in found if not curve.empty]
        for curve in found:
            axes.plot(curve.index, curve, color=colour, linewidth=0.4, alpha=0.3)
        if found:
            drawn[value] = np.exp(np.log(pd.concat(found, axis=1)).mean(axis=1))
        label = f"{symbol} = {value:g}" + ("" if found else ":\nno event")
        axes.plot(drawn.get(value, pd.Series()), color=colour, linestyle=dashes, label=label)
    if not drawn:
        return missing(axes, "no event at this scale")
    axes.axvline(0, color=MUTED, linestyle=":", linewidth=0.8)
    axes.set_yscale("log")


@finding.table("B4", "B5", "B8")
def events_table(inputs: Inputs) -> str:
    """Destabilisations by η and λ: their number, spacing, regularity and effective rate."""
    records, lines = inputs.made(Records), []
    for sweep in DATA:
        title = words(sweep)
        for (η, λ), runs in records.sweep(sweep).groupby(["learning_rate", "weight_decay"]):
            table = periods(records, runs)

            def measured(
                value: Callable[[str], float],
                geometric: bool = False,
                bounds: tuple[float, float] = COUNT,
                runs: pd.DataFrame = runs,
            ) -> str:
                seeds = per_seed(runs, value)
                return LATEX.interval(ratio_interval(np.log(seeds)) if geometric else every_seed(seeds, bounds))

            scaled = LATEX.interval(ratio_interval(np.log(table["scaled"]))) if table["reached"].all() else "--"
            lines.append(
                [
                    *(title, f"{η:g}", f"{λ:g}", str(runs["steps"].iloc[0])),
                    measured(lambda run: len(records.destabilisations(run))),
                    scaled,
                    measured(lambda run: variation(spacings(records.destabilisations(run)["start"]))),
                    measured(lambda run: slope(records, run), bounds=UNBOUNDED),
                    measured(lambda run: at_events(records, run, records.effective_rate(run)), geometric=True),
                ]
            )
            title = ""
    header = [
        "Data",
        "$\\eta$",
        "$\\lambda$",
        "steps",
        "jumps",
        "period $\\cdot\\,\\eta\\lambda$",
        "variation",
        "slope$/(-\\eta\\lambda)$",
        "$\\eta/\\rho^2$ at a jump",
    ]
    return booktabs("@{}lrrrrrrrr@{}", header, lines)


@finding.table("B1", "B2", "B12")
def published_table(inputs: Inputs) -> str:
    """S1's figure in numbers beside ours: times, number and spacing of collapses, and the curve at eps 1e-2."""
    records, error = inputs.made(Records), PUBLISHED["reading_error"]
    default, larger = (records.sweep("addition", batch_norm_eps=eps) for eps in EPS)
    end, times = PUBLISHED["length"], [row["step"] for row in PUBLISHED["collapses"]]
    converged = inputs.config.criteria["B12"].thresholds["converged"]
    lengths = dict(zip(default["run"], default["steps"], strict=True))
    bottoms = {run: records.test_collapses(run)["bottom"].loc[lambda step: step <= end].tolist() for run in lengths}

    def times_of(value: Callable[[str], float]) -> list[Bounds]:
        found = ((value(run), min(length, end)) for run, length in lengths.items())
        return [(length, np.inf) if np.isnan(time) else (time, time) for time, length in found]

    def reaching(accuracy: float) -> list[Bounds]:
        return times_of(lambda run: records.histories.first_step(run, TEST, accuracy))

    def collapse(k: int) -> list[Bounds]:
        return times_of(lambda run: (bottoms[run][k:] or [np.nan])[0])

    counted = [float(len(bottoms[run])) if length >= end else np.nan for run, length in lengths.items()]
    spaced = [float(np.mean(np.diff(found))) if len(found) > 1 else np.nan for found in bottoms.values()]
    curves = [records.curve(run, TEST) for run in larger["run"]]
    rows = [
        compared("first rise, step", PUBLISHED["rise"], error["steps"], reaching(LEAST)),
        *(compared(f"collapse {k}, step", step, error["steps"], collapse(k - 1)) for k, step in enumerate(times, 1)),
        compared(f"collapses in {LATEX.integer(end)} steps", len(times), 0, [(number, number) for number in counted]),
        compared(
            "steps between two, mean",
            float(np.mean(np.diff(times))),
            2 * error["steps"] / (len(times) - 1),
            [(mean, mean) for mean in spaced],
        ),
        compared(
            f"accuracy {converged:g} reached, step",
            PUBLISHED["converged"],
            error["steps"],
            reaching(converged),
        ),
    ]
    for row in PUBLISHED["larger_eps"]:
        at = [float(np.interp(row["step"], curve.index, curve, right=np.nan)) for curve in curves if len(curve)]
        name = rf"accuracy at {LATEX.integer(row['step'])}, eps $10^{{-2}}$"
        rows.append(compared(name, row["test"], error["accuracy"], [(value, value) for value in at]))
    return booktabs("@{}lrrrrl@{}", ["Test accuracy", "S1", "median", "lowest", "highest", "verdict"], rows)


def compared(name: str, published: float, error: float, ours: Sequence[Bounds]) -> list[str]:
    """Return a row of the table: S1's number, median and range of our seeds, and whether S1's is in that range.

    `ours` has for each seed what its number lies between: a time that has not come by the end of its run lies between
    this end and infinity. `error` is that of reading S1's figure. Outside the range of fewer than `ENOUGH` seeds
    nothing is decided.
    """
    low, high = np.array(ours, dtype=float).reshape(-1, 2).T
    verdict = "undecided"
    if len(high) >= 3 and high.min() <= published + error and low.max() >= published - error:
        verdict = "reproduced"
    elif len(high) >= ENOUGH and (low.min() > published + error or high.max() < published - error):
        verdict = "refuted"
    known = [np.median(high), high.min(), high.max()] if len(high) and not np.isnan(high).any() else [np.nan] * 3
    theirs = LATEX.integer(round(published)) if published >= 1 else LATEX.exact(published)
    return [name, theirs, *(short(float(value)) for value in known), verdict]


def short(value: float) -> str:
    """Write a step or a number of events without decimals, an accuracy as measured, and infinity as "later"."""
    if np.isinf(value):
        return "later"
    return LATEX.integer(round(value)) if value > 1 else LATEX.number(value)  # NaN is written as unknown


def controls(records: Records) -> list[tuple[str, str, str]]:
    """Return label, run and colour of three runs at the same η and λ: free, with the norm held, and without decay.

    Empty if these were not run.
    """
    held = records.sweep("held", seed=0)
    if held.empty:
        return []
    rates = sorted(held["learning_rate"].unique())
    η = float(rates[len(rates) // 2])  # small η show few events, and large η are close to divergence
    held = select(held, learning_rate=η)
    λ = float(held["weight_decay"].iloc[0])
    found = {
        "norm free": (records.sweep("grid", seed=0, learning_rate=η, weight_decay=λ), style.KINDS["free"]),
        "norm held": (held, style.KINDS["held"]),
        "no decay": (records.sweep("no_decay", seed=0, learning_rate=η), MUTED),
    }
    return [(label, runs["run"].iloc[0], colour) for label, (runs, colour) in found.items() if len(runs)]


def setting(records: Records, run: str) -> str:
    """Write η and λ of a run, for a title."""
    row = records.row(run)
    return f"η = {row['learning_rate']:g}, λ = {row['weight_decay']:g}"


def aligned(records: Records, run: str, curve: pd.Series, starts: pd.Series) -> pd.Series:
    """Return the geometric mean of a curve around the starts of events, on a grid of time in τ.

    It covers the times that all events have; empty without events.
    """
    grid = np.linspace(-ALIGNED, ALIGNED, 61)
    tau, inside = records.tau(run), [start for start in starts if start > ALIGNED * records.tau(run)]
    pieces = [np.interp(start + grid * tau, curve.index, np.log(curve), right=np.nan) for start in inside]
    return pd.Series(np.exp(np.mean(pieces, axis=0)), index=grid) if pieces else pd.Series(dtype=float)
