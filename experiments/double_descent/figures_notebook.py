"""Figures and tables of the MNIST-1D notebook's protocol: its published points beside ours, and the small CNN."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from weightdecay.claims.model import Claim, Part, combine
from weightdecay.finding import Inputs
from weightdecay.report.latex import booktabs
from weightdecay.report.numbers import LATEX
from weightdecay.report.plots import legend, over_columns, plain_ticks
from weightdecay.report.published import read_published
from weightdecay.report.style import KINDS, MUTED, PAGE, SPLITS
from weightdecay.statistics.estimates import ACCURACY, UNBOUNDED, every_seed, geometric_interval
from weightdecay.statistics.shapes import at_settings, first_minimum, peak

from . import finding
from .sweeps import Sweep, Sweeps

PUBLISHED = read_published(Path(__file__).with_name("published.yaml"))
TUNED = "black"
BOLD, THIN = 2.6, 1.3  # line widths of the headline figure, to be read from afar


@finding.figure("D1", "D3", "D7", "D10")
def error_vs_width(inputs: Inputs) -> Figure:
    """Test error against width under the notebook's protocol, with the points that the notebook logged."""
    sweeps, tolerance = inputs.made(Sweeps), inputs.config.criteria["D2"].thresholds["tolerance"]
    figure, (mlp, cnn) = plt.subplots(1, 2, figsize=(PAGE, 3.3), sharey=True)
    headline(mlp, sweeps.notebook, "mlp_noisy", tolerance, (75, 0.59), (17, 0.1))
    headline(cnn, sweeps.cnn, "cnn_noisy", tolerance, (34, 0.38), (8.6, 0.1))
    if sweeps.notebook_clean:
        clean = sweeps.notebook_clean.final("test_error")
        errors(mlp, clean, SPLITS["test"], linewidth=THIN, linestyle="--", alpha=0.6)
        say(mlp, "clean labels,\nno decay", (330, 0.325), SPLITS["test"], ha="right", fontsize=8)
    if len(sweeps.notebook.weight_decays) > 1:
        tables, choice = sweeps.notebook.finals("test_error"), sweeps.notebook.tuned("validation_error")
        errors(mlp, at_settings(tables, choice), TUNED, linewidth=BOLD)
        say(mlp, "λ tuned\nper width", (56, 0.448), TUNED, fontsize=8)
    mlp.set(xlabel="width (units a layer)", ylabel="error", ylim=(-0.02, 0.75))
    cnn.set(xlabel="width (channels)")
    plain_ticks(mlp.xaxis, [2, 5, 10, 20, 50, 100, 300])
    plain_ticks(cnn.xaxis, [2, 5, 10, 20, 50, 100])
    for panel, network in ((mlp, "MLP"), (cnn, "1-D CNN")):
        panel.set_title(f"{network}, 15 % noisy labels", fontsize=10)
        for label in (panel.xaxis.label, panel.yaxis.label):
            label.set_fontsize(9)
        panel.tick_params(labelsize=8)
    legend(cnn, loc="upper right", fontsize=8, handletextpad=0.3)
    return figure


def headline(
    axes: Axes, sweep: Sweep, published: str, tolerance: float, test: tuple[float, float], train: tuple[float, float]
) -> None:
    """Draw test and training error without decay, the notebook's points on them, and the interpolation threshold.

    `test` and `train`: where the names of the two lines stand.
    """
    axes.set_xscale("log")
    say(axes, "training error,\nno decay", train, SPLITS["train"], ha="right")
    if sweep:
        for split, thick in (("train", THIN), ("test", BOLD)):
            errors(axes, sweep.final(f"{split}_error"), SPLITS[split], linewidth=thick)
        say(axes, "test error,\nno decay", test, SPLITS["test"])
    else:
        say(axes, "ours: not run at this scale", (14, 0.5), MUTED, ha="center")
    logged = pd.DataFrame(PUBLISHED[published]).set_index("width")
    look: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 4.5, "markerfacecolor": "white", "zorder": 4}
    axes.plot(logged["train_error"], markeredgecolor=SPLITS["train"], markeredgewidth=0.7, **look)
    axes.plot(logged["test_error"], markeredgecolor="black", markeredgewidth=0.9, label="notebook, 1 run", **look)
    place = sweep.fitted(tolerance)
    if len(place) and place.notna().all():
        at = geometric_interval(place).value
        axes.axvline(at, color=MUTED, linestyle=":", linewidth=1.4, zorder=1)
        say(axes, "interpolation\nthreshold", (at * 1.08, 0.14), MUTED)


def errors(axes: Axes, table: pd.DataFrame, colour: ColorType, **look: Any) -> None:
    over_columns(axes, table, colour, ACCURACY, seeds=False, **look)


def say(
    axes: Axes, text: str, at: tuple[float, float], colour: ColorType, ha: str = "left", fontsize: float = 9
) -> None:
    axes.text(*at, text, color=colour, ha=ha, va="center", fontsize=fontsize, linespacing=1.1)


@finding.figure("D1", "D3", "D7", "D10")
def notebook(inputs: Inputs) -> Figure:
    """Test error and loss against width, with the notebook's points; the last panel is the CNN on few examples."""
    figure, axes = plt.subplots(2, 4, figsize=(PAGE, 3.7), sharex="col", sharey="row")
    small = {"small_cnn": (inputs.made(Sweeps).small_cnn, "CNN, small, noisy")}
    for column, (name, (sweep, title)) in zip(axes.T, (notebook_sweeps(inputs) | small).items(), strict=True):
        for panel, metric in zip(column, ("test_error", "test_loss"), strict=True):
            if sweep:
                seeds = f"n = {sweep.runs['seed'].nunique()}"
                colour = KINDS["noisy" if "noisy" in title else "clean"]
                line(panel, sweep.final(metric), colour, f"ours, {seeds}", metric)
                if len(sweep.weight_decays) > 1:
                    tuned = at_settings(sweep.finals(metric), sweep.tuned(metric.replace("test", "validation")))
                    line(panel, tuned, TUNED, f"ours, λ tuned, {seeds}", metric)
            else:
                panel.plot([], [], linestyle="", label="ours: not run")
            if name in PUBLISHED:
                panel.plot(
                    pd.DataFrame(PUBLISHED[name]).set_index("width")[metric],
                    linestyle="",
                    marker="o",
                    markersize=3.5,
                    markerfacecolor="none",
                    markeredgecolor="black",
                    markeredgewidth=0.7,
                    label="notebook, 1 run",
                )
            panel.set(xscale="log")
            plain_ticks(panel.xaxis, [tick for tick in (2, 5, 10, 20, 50, 100, 300) if tick <= panel.get_xlim()[1]])
        column[0].set(title=title, ylim=(0.15, 0.95))
        column[1].set(yscale="log", xlabel="channels" if "cnn" in name else "width h")
        plain_ticks(column[1].yaxis, [0.5, 1, 2, 5])
        legend(column[0], loc="upper right")
    axes[0, 0].set_ylabel("test error")
    axes[1, 0].set_ylabel("test loss")
    return figure


@finding.table()
def published_table(inputs: Inputs) -> str:
    """Test error and loss at the first minimum, at the peak and at the largest width: ours beside the notebook's."""
    sweeps = inputs.made(Sweeps)
    small = {
        "small": (sweeps.main, "small, noisy"),
        "clean": (sweeps.clean, "small, clean"),
        "small_cnn": (sweeps.small_cnn, "small CNN, noisy"),
    }
    rows = []
    for name, (sweep, title) in (notebook_sweeps(inputs) | small).items():
        for metric, word in (("test_error", "error"), ("test_loss", "loss")):
            ours = three_places(sweep.final(metric)) if sweep else ["not run"] * 3
            theirs = ["--"] * 3
            if name in PUBLISHED:
                frame = pd.DataFrame(PUBLISHED[name]).set_index("width")[[metric]].T
                theirs = three_places(frame.set_axis([0]))
            seeds = str(sweep.runs["seed"].nunique()) if sweep else "0"
            rows.append([title, word, seeds, *(cell for pair in zip(ours, theirs, strict=True) for cell in pair)])
            title = ""
    header = [
        "Protocol",
        "test",
        "$n$",
        "first minimum, ours",
        "notebook",
        "peak, ours",
        "notebook",
        "widest, ours",
        "notebook",
    ]
    return booktabs("@{}llrrrrrrr@{}", header, rows)


@finding.table("D1", "D3", "D10")
def by_protocol_table(inputs: Inputs) -> str:
    """Return the parts of D1, D10 and D3 for each network, protocol and quantity, with the verdict of each row."""
    rows = []
    for id, network in (("D1", "MLP"), ("D10", "CNN")):
        for name, protocol in (("Notebook", "notebook"), ("", "small")):
            for kind in ("Error", ""):
                moves = written(inputs.claims[id], [f"{name}{kind}{move}" for move in ("Descent", "Rise", "Fall")])
                clean = written(inputs.claims["D3"], [f"{name}Flat{kind}"]) if network == "MLP" else ["--"] * 2
                rows.append([network, protocol, kind.lower() or "loss", *moves, *clean])
    header = ["Network", "protocol", "test", "first fall", "rise", "second fall", "verdict", "clean: rise", "verdict"]
    return booktabs("@{}lllrrrlrl@{}", header, rows)


def written(claim: Claim, names: list[str]) -> list[str]:
    """Write the parts of these names with their intervals, and the verdict that they have together."""
    known = {part.name: part for part in claim.parts}
    if not set(names) <= set(known):
        return [*["--"] * len(names), "not run"]
    parts = [known[name] for name in names]
    return [*map(moved, parts), combine(part.verdict for part in parts if part.verdict)]


def moved(part: Part) -> str:
    """Write a part: "none" where a curve does not move in any seed, so that its difference is 0 or its ratio 1."""
    return "none" if part.low == part.high and part.measured in (0, 1) else LATEX.interval(part)


def notebook_sweeps(inputs: Inputs) -> dict[str, tuple[Sweep, str]]:
    """Return our runs and a title, by the key of published.yaml."""
    sweeps = inputs.made(Sweeps)
    return {
        "mlp_noisy": (sweeps.notebook, "MLP, noisy labels"),
        "mlp_clean": (sweeps.notebook_clean, "MLP, clean labels"),
        "cnn_noisy": (sweeps.cnn, "CNN, noisy labels"),
    }


def three_places(table: pd.DataFrame) -> list[str]:
    """Write the values at first minimum, peak and largest width, with the width in parentheses, from `[seeds, width]`.

    A curve that never rises has no first minimum and no peak.
    """
    mean = table.mean()
    if mean.isna().all():
        return ["not known"] * 3
    rises = peak(mean) != mean.index[0]
    places = [first_minimum(mean) if rises else None, peak(mean) if rises else None, mean.index[-1]]
    return ["none" if place is None else f"{LATEX.interval(every_seed(table[place]))} ({place})" for place in places]


def line(
    axes: Axes, table: pd.DataFrame, colour: ColorType, label: str, metric: str, seeds: bool = True, marker: str = "o"
) -> None:
    """Draw the mean over seeds with its band against the columns of `[seeds, x]`: geometric, except for errors."""
    bounds, log = (ACCURACY, False) if "error" in metric else (UNBOUNDED, True)
    over_columns(axes, table, colour, bounds, log, seeds=seeds, label=label, marker=marker, markersize=2.5)
