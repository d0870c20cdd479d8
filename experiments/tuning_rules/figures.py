"""Figures and table of the tuning rules, drawn from the runs, measures and intervals that claims.py judges."""

from collections.abc import Mapping
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from matplotlib.typing import ColorType

from weightdecay.claims.judging import distinct
from weightdecay.finding import Inputs
from weightdecay.report.latex import booktabs
from weightdecay.report.numbers import LATEX
from weightdecay.report.plots import estimates, legend, over_columns, room, shown_ticks
from weightdecay.report.style import KINDS, MUTED, PAGE, missing, palette
from weightdecay.statistics.estimates import ACCURACY, UNBOUNDED, every_seed, ratio_interval

from . import finding
from .best import place
from .claims import norms
from .costs import climbed, cross_validated, single_costs, small_effects
from .regularisers import stopped, tuned, unregularised, with_dropout
from .settings import BATCH_NORM, DECAYS, Runs, Setting

COLOURS = {"decoupled": KINDS["free"], "l2": KINDS["clean"]}
KIND = {decay: name.lower() for decay, name in DECAYS.items()}
MARKERS = "osD^v<>"
LOSSES = [1, 1.5, 2, 3, 4, 6, 8, 12]  # ticks
WINDOW = 110  # the largest λ of a setting over the smallest that is drawn: only λ around the best are shown
CHOSEN = {"linestyle": "", "marker": "o", "markersize": 8, "markerfacecolor": "none"}
CLIMBED = CHOSEN | {"marker": "^", "markersize": 9}
UPRIGHT: dict[str, Any] = {"elinewidth": 0.9, "capsize": 1.5}
ACROSS: dict[str, Any] = {"across": True, "elinewidth": 0.9, "linestyle": ""}
ROW = 0.135  # inches, for the name of a setting
LABELS = {"test_loss": "test loss", "test_error": "test error"}


@finding.figure("T1", "T7", "T8", "T9", "T10", "T11")
def size(inputs: Inputs) -> Figure:
    """Test loss against λ for each number of examples, and the best λ against this number."""
    runs, claims = inputs.made(Runs), inputs.claims
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.6), width_ratios=[1, 1, 1.1])
    shades = palette("viridis_r", len(runs.sizes()) + 1)[1:]
    for panel, decay in zip(axes, DECAYS, strict=False):
        for colour, marker, n in zip(shades, MARKERS, runs.sizes(), strict=False):
            against_decay(panel, runs, "test_loss", Setting(n, decay), colour, f"n = {n:,}", marker)
        panel.set(title=f"{KIND[decay]} decay", xlabel="λ", ylabel="test loss", yscale="log")
        shown_ticks(panel.yaxis, LOSSES)
    legend(axes[0], loc="upper right", labelspacing=0.2)
    panel, spans = axes[2], claims["T7"]
    for decay, name in DECAYS.items():
        found = {n: place(runs.best(Setting(n, decay))) for n in runs.sizes()}
        power = claims["T1"].part(name)
        said = "" if np.isnan(power.measured) else f", power {minus(power.measured)}"
        estimates(panel, found, color=COLOURS[decay], marker="o", label=f"{KIND[decay]}{said}", **UPRIGHT)
    ends = runs.sizes()[0], runs.sizes()[-1]
    for n, part in zip(ends, ("CoupledSmall", "CoupledLarge"), strict=True):
        bounds = spans.part(part)
        panel.fill_betweenx([bounds.least, bounds.most], n / 1.15, n * 1.15, color=MUTED, alpha=0.3, linewidth=0)
        panel.text(n, bounds.least / 1.25, "S0", ha="center", va="top", fontsize=7, color=MUTED)
    panel.set(xscale="log", yscale="log", xlabel="training examples n", ylabel="best λ", title="best λ")
    shown_ticks(panel.xaxis, runs.sizes())
    panel.set_xlim(ends[0] / 1.35, ends[1] * 1.35)
    panel.set_ylim(2e-5, 300)
    legend(panel, loc="upper right")
    return figure


@finding.figure("T2", "T4")
def dropout_and_schedule(inputs: Inputs) -> Figure:
    """Test loss and error against λ with dropout and under schedules, with the best λ below."""
    runs = inputs.made(Runs)
    rates = [0.0, *runs.rates("decoupled")]
    dropout = {"dropout, decoupled": {f"p = {rate:g}": Setting(dropout=rate) for rate in rates}}
    schedules = sorted(set(runs.runs["schedule"]))
    schedule = {
        f"schedule, {KIND[decay]}": {name: Setting(decay=decay, schedule=name) for name in schedules}
        for decay in DECAYS
    }
    figure, axes = plt.subplots(2, 3, figsize=(PAGE, 3.5), sharex="col", sharey="row")
    for column, (title, settings) in zip(axes.T, (dropout | schedule).items(), strict=True):
        family(column, runs, title, settings)
    loss_axis(axes)
    for panel in axes.flat:
        panel.label_outer()
    return figure


@finding.figure("T3")
def exclusion(inputs: Inputs) -> Figure:
    """Test loss and error against λ, with and without decay of biases and normalisation."""
    runs = inputs.made(Runs)
    figure, axes = plt.subplots(1, 4, figsize=(PAGE, 2.2))
    pairs = axes.reshape(2, 2)
    titles = {"residual, BatchNorm": BATCH_NORM, "MLP": Setting()}
    for pair, (title, decayed) in zip(pairs, titles.items(), strict=True):
        spared = Setting(**vars(decayed) | {"decay_exclude": "bias_and_norm"})
        family(pair, runs, title, {"all decayed": decayed, "matrices alone": spared})
    for panel, first in zip(pairs[1], pairs[0], strict=True):
        panel.sharey(first)
    loss_axis(pairs.T)
    if shown := pairs[0][1].get_legend():
        shown.remove()  # both legends are equal
    return figure


@finding.figure("T5", "T6", "T14", "T17")
def small_and_searched(inputs: Inputs) -> Figure:
    """The effect of a small λ at every setting; test loss on the whole grid, with S0's values and the chosen λ."""
    runs = inputs.made(Runs)
    t, upwards = (inputs.config.criteria[id].thresholds for id in ("T5", "T14"))
    effects = small_effects(runs, t["weight_decay"], t["share"])
    settings = [str(s) for s in runs.settings() if any(str(s) in losses for losses, _ in effects.values())]
    figure, axes = plt.subplots(1, 2, figsize=(PAGE, max(3.2, ROW * len(settings) + 0.5)), width_ratios=[1, 1.05])
    panel = axes[0]
    words = {"Fixed": f"λ = {t['weight_decay']:g}", "Tenth": "best λ / 10"}
    for (kind, (losses, _)), colour, marker, shift in zip(
        effects.items(), (KINDS["noisy"], KINDS["clean"]), "os", (-0.16, 0.16), strict=True
    ):
        found = {settings.index(name) + shift: ratio_interval(losses[name]) for name in losses}
        estimates(panel, found, color=colour, marker=marker, label=words[kind], **ACROSS)
    panel.axvline(1, color="black", linewidth=0.7)
    panel.axvline(t["loss"], color=MUTED, linewidth=0.7, linestyle=":")
    panel.set_yticks(range(len(settings)), settings)
    panel.set(xscale="log", xlabel="test loss over that without decay", ylim=(len(settings) - 0.4, -0.6))
    shown_ticks(panel.xaxis, [0.3, 0.4, 0.5, 0.7, 1.0])
    legend(panel, loc="lower left")
    panel, smallest, largest = axes[1], 1e-6, 0.0
    for decay, marker in zip(DECAYS, MARKERS, strict=False):
        setting = Setting(decay=decay)
        largest = max(largest, *runs.final("test_loss", setting).columns)
        against_decay(panel, runs, "test_loss", setting, COLOURS[decay], KIND[decay], marker, smallest)
        chosen = cross_validated(runs, decay)
        panel.plot(chosen.clip(lower=smallest), runs.at("test_loss", setting, chosen), **CHOSEN, color=COLOURS[decay])
        for start in (upwards["first"], upwards["second"]):
            found = climbed(runs, setting, start, upwards["factor"])
            panel.plot(found, runs.at("test_loss", setting, found), **CLIMBED, color=COLOURS[decay])
    panel.plot([], [], **CHOSEN, color=MUTED, label="cross-validated")
    panel.plot([], [], **CLIMBED, color=MUTED, label="tuned upwards")
    panel.axvspan(smallest / 2, 0.0141, color=MUTED, alpha=0.12, linewidth=0)
    panel.text(0.02, 0.98, "S0's five values", transform=panel.transAxes, va="top", fontsize=7, color=MUTED)
    panel.set(xlabel="λ", ylabel="test loss", yscale="log", xlim=(smallest / 2, 1.6 * largest))
    room(panel, below=0.6, above=1.15)  # room for text
    panel.set_xticks([smallest, *10.0 ** np.arange(-5, 2, 2)], ["0", *(f"$10^{{{k}}}$" for k in range(-5, 2, 2))])
    panel.set_xticks([], minor=True)
    shown_ticks(panel.yaxis, LOSSES)
    legend(panel, loc="lower left", borderaxespad=0.2)
    return figure


@finding.figure("T12", "T13")
def regularisers(inputs: Inputs) -> Figure:
    """Test loss and error at n = 1,000 for each kind of regularisation, beside those with more examples."""
    runs, base = inputs.made(Runs), Setting().train_size
    kinds = {"none": unregularised(runs), "early stopping": stopped(runs), "dropout": with_dropout(runs, decayed=False)}
    kinds |= {f"{KIND[decay]} decay": tuned(runs, decay) for decay in DECAYS}
    kinds["dropout + decoupled decay"] = with_dropout(runs, decayed=True)
    more = {f"none, n = {n:,}": Setting(n) for n in runs.sizes() if n > base}
    figure, axes = plt.subplots(1, 2, figsize=(PAGE, 2.3), sharey=True)
    for panel, metric in zip(axes, LABELS, strict=True):
        logarithmic = metric == "test_loss"
        for colour, rows, first in (
            (COLOURS["decoupled"], [outcome[metric] for outcome in kinds.values()], 0),
            (MUTED, [runs.undecayed(metric, setting) for setting in more.values()], len(kinds)),
        ):
            found = {
                first + index: ratio_interval(np.log(row)) if logarithmic else every_seed(row, ACCURACY)
                for index, row in enumerate(rows)
            }
            estimates(panel, found, color=colour, marker="o", **ACROSS)
            for index, row in enumerate(rows):
                panel.plot(row, [first + index + 0.25] * len(row), ".", color=colour, markersize=2.5, alpha=0.5)
        panel.set(xlabel=LABELS[metric], ylim=(len(kinds) + len(more) - 0.4, -0.6))
        panel.set_yticks(range(len(kinds) + len(more)), [*kinds, *more])
        panel.axhline(len(kinds) - 0.4, color=MUTED, linewidth=0.5)
        panel.grid(axis="x", linewidth=0.4, alpha=0.5)
    axes[0].set_xscale("log")
    shown_ticks(axes[0].xaxis, LOSSES)
    axes[1].xaxis.set_major_locator(MaxNLocator(5))
    return figure


@finding.figure("T15", "T16")
def one_for_all(inputs: Inputs) -> Figure:
    """The cost of a single λ at every setting; the norm of the weights at the best λ and without decay."""
    runs = inputs.made(Runs)
    costs_of = {decay: single_costs(runs, decay) for decay in DECAYS}
    rows = sum(len(costs.columns) for costs, _, _ in costs_of.values()) + 3  # room for the legend
    figure, axes = plt.subplots(1, 2, figsize=(PAGE, max(2.9, ROW * rows + 0.5)), width_ratios=[1, 1.05])
    panel = axes[0]
    labels: list[str] = []
    for decay, (costs, single, _) in costs_of.items():
        found = {len(labels) + index: ratio_interval(costs[name]) for index, name in enumerate(costs)}
        label = f"{KIND[decay]}, λ = {distinct(single)}"
        estimates(panel, found, color=COLOURS[decay], marker="o", label=label, **ACROSS)
        labels += list(costs)
    panel.axvline(1, color="black", linewidth=0.7)
    panel.axvline(inputs.config.criteria["T15"].thresholds["loss"], color=MUTED, linewidth=0.7, linestyle=":")
    panel.set_yticks(range(len(labels)), labels)
    panel.set(xscale="log", xlabel="test loss, one λ over each setting's own", ylim=(rows - 0.6, -0.6))
    shown_ticks(panel.xaxis, [0.9, 1.0, 1.2, 1.5, 2.0, 3.0, 4.0, 6.0])
    legend(panel, loc="lower right", borderaxespad=0.1)
    panel = axes[1]
    decayed, none = norms(runs)
    for decay, marker in zip(DECAYS, MARKERS, strict=False):
        found = {n: ratio_interval(np.log(decayed[decay, n])) for n in runs.sizes()}
        estimates(panel, found, color=COLOURS[decay], marker=marker, label=f"best λ, {KIND[decay]}", **UPRIGHT)
    found = {n: ratio_interval(np.log(none[n])) for n in none}
    estimates(panel, found, color=MUTED, marker="^", label="without decay", **UPRIGHT)
    panel.set(xscale="log", yscale="log", xlabel="training examples n", ylabel="norm of the weights")
    room(panel, below=1 / 2.4)
    shown_ticks(panel.xaxis, runs.sizes())
    shown_ticks(panel.yaxis, [1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 60])
    legend(panel, loc="lower right")
    return figure


@finding.table("T1")
def best_table(inputs: Inputs) -> str:
    """The best λ for every number of examples, with the test error at this λ and without decay."""
    runs, rows = inputs.made(Runs), []
    for decay in DECAYS:
        for n in runs.sizes():
            setting = Setting(n, decay)
            table = runs.final("test_error", setting)
            tuned = runs.tuned(setting)
            grid = [λ for λ in table.columns if λ > 0]
            cells = [place(runs.best(setting)), every_seed(table[0.0], ACCURACY)]
            cells.append(every_seed(runs.at("test_error", setting, tuned), ACCURACY))
            cells.append(every_seed(runs.at("test_error", setting, runs.tuned(setting, "validation_error")), ACCURACY))
            shown = list(map(LATEX.interval, cells))
            rows.append([KIND[decay], LATEX.integer(n), f"{grid[0]:g} to {grid[-1]:g}", *shown])
    header = ["Decay", "$n$", "grid of $\\lambda$", "best $\\lambda$", "error, $\\lambda=0$", "error, best $\\lambda$"]
    header.append("error, $\\lambda$ by error")
    return booktabs("@{}lrrrrrr@{}", header, rows)


def family(column: np.ndarray, runs: Runs, title: str, settings: Mapping[str, Setting]) -> None:
    """Draw test loss above and test error below for some settings, with their best λ; an arrow marks a bound."""
    colours = (KINDS["free"], KINDS["clean"], KINDS["held"], KINDS["noisy"])
    for index, (colour, marker, (label, setting)) in enumerate(zip(colours, MARKERS, settings.items(), strict=False)):
        for panel, metric in zip(column, ("test_loss", "test_error"), strict=True):
            against_decay(panel, runs, metric, setting, colour, label, marker)
        found, grid = place(runs.best(setting)), runs.final("test_loss", setting).columns
        if np.isfinite(found.value):
            foot, height = column[0].get_xaxis_transform(), 0.03 + 0.045 * index
            ends = np.clip([found.low, found.high], grid[-1] / WINDOW, grid[-1])  # open ends go to the panel's edge
            column[0].plot(ends, [height] * 2, color=colour, transform=foot)
            open_to = {(True, False): "<", (False, True): ">"}.get((found.low == 0, np.isinf(found.high)), "|")
            column[0].plot(found.value, height, marker=open_to, markersize=5, color=colour, transform=foot)
    column[0].set(title=title, yscale="log")
    for panel, metric in zip(column, LABELS, strict=True):
        panel.set(xlabel="λ", ylabel=LABELS[metric])
    legend(column[1], loc="upper left", borderaxespad=0.1)


def loss_axis(axes: np.ndarray) -> None:
    """Set the ticks of the shared loss axis, and leave room below for the best λ."""
    room(axes[0, 0], below=0.8)
    shown_ticks(axes[0, 0].yaxis, LOSSES)


def against_decay(
    axes: Axes,
    runs: Runs,
    metric: str,
    setting: Setting,
    colour: ColorType,
    label: str,
    marker: str = "o",
    zero: float | None = None,
) -> None:
    """Draw the mean over seeds with its band against λ > 0, geometric for losses.

    A short dotted line at the left shows the value without decay. If `zero` is given, λ = 0 is drawn as a point there
    instead.
    """
    table = runs.final(metric, setting)
    if table.empty:
        return missing(axes, "not run at this scale")
    logarithmic = "loss" in metric
    shown = table.rename(columns={0.0: zero} if zero else {}).dropna(axis=1)
    shown = shown[[λ for λ in shown.columns if zero or 0 < λ >= shown.columns[-1] / WINDOW]]
    if shown.columns.empty:
        return None
    if not zero:
        level = np.exp(np.log(table[0.0]).mean()) if logarithmic else table[0.0].mean()
        axes.plot([0, 0.06], [level, level], color=colour, linestyle=":", transform=axes.get_yaxis_transform())
    bounds = UNBOUNDED if logarithmic else ACCURACY
    over_columns(axes, shown, colour, bounds, logarithmic, label=label, marker=marker, markersize=2.5)
    axes.set_xscale("log")


def minus(value: float) -> str:
    return f"{value:.2f}".replace("-", "−")
