"""S1's loss against width in each setting of noise and λ, and a table of how well each meets it."""

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from weightdecay.finding import Inputs
from weightdecay.report.latex import booktabs
from weightdecay.report.numbers import LATEX
from weightdecay.report.plots import plain_ticks
from weightdecay.report.style import MUTED, PAGE, SPLITS, UNSEEN, missing

from . import finding
from .claims import name_of
from .curves import POINTS, PUBLISHED, Measured, Setting


@finding.figure("D17", "D18")
def loss_vs_width(inputs: Inputs) -> Figure:
    """Final loss against width: S1's two lines, and our seeds and medians in each setting of label noise and λ."""
    m = inputs.made(Measured)
    noises, decays = (sorted({setting[place] for setting in m.final}) or [0.0] for place in (0, 1))
    shape = len(decays), len(noises)
    figure, grid = plt.subplots(
        *shape, figsize=(PAGE, 0.5 + 1.75 * len(decays)), sharex=True, sharey=True, squeeze=False
    )
    for row, weight_decay in zip(grid, decays, strict=True):
        for axes, noise in zip(row, noises, strict=True):
            of_setting(axes, m, Setting(noise, weight_decay))
            axes.set_title(f"label noise {noise:.0%}, λ = {weight_decay:g}")
    for axes in grid[-1]:
        axes.set_xlabel("width")
    for axes in grid[:, 0]:
        axes.set_ylabel("final loss")
    grid[0, 0].set(xscale="log", yscale="log")
    plain_ticks(grid[0, 0].xaxis, [16, 64, 256, 1024])
    lengths = " and ".join(f"{steps:,}" for steps in sorted(set(m.runs["steps"]))) or "no"
    place = {"transform": grid[0, 0].transAxes, "fontsize": 7, "color": MUTED}
    grid[0, 0].text(0.03, 0.05, f"ours: {lengths} steps", **place)
    handles, labels = grid[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(handles))
    return figure


def of_setting(axes: Axes, m: Measured, setting: Setting) -> None:
    """Draw S1's losses as lines, and in one setting the final loss of each seed as a dot with the median as a bar."""
    for kind in ("train", "test"):
        axes.plot(
            POINTS[kind], color="black", linewidth=0.8, linestyle="-" if kind == "test" else ":", label=f"S1, {kind}"
        )
    threshold = PUBLISHED["interpolation_threshold"]
    axes.axvline(threshold, color=MUTED, linestyle="--", linewidth=0.7, label="S1's interpolation threshold")
    for kind, losses in m.final.get(setting, {}).items():
        colour, aside = SPLITS[kind], 1.06 if kind == "test" else 1 / 1.06
        for width, seeds in losses.items():
            axes.plot(
                [width * aside] * len(seeds), seeds, linestyle="", marker=".", markersize=4, color=colour, alpha=0.4
            )
        axes.plot(
            losses.columns * aside, losses.median(), color=colour, linewidth=0.8, marker="_", label=f"ours, {kind}"
        )
    if not any(losses.notna().any(axis=None) for losses in m.final.get(setting, {}).values()):
        missing(axes, UNSEEN)


@finding.table("D17", "D18")
def settings_table(inputs: Inputs) -> str:
    """Each setting's rise at the width that S1 marks, and how many of S1's losses it meets."""
    m, claims = inputs.made(Measured), inputs.claims
    rises, met = ({part.name: part for part in claims[id].parts} for id in ("D17", "D18"))
    rows = []
    for setting in m.final:
        rise, number = rises.get(name_of(setting)), met.get(name_of(setting))
        row = [f"{setting.noise:g}", f"{setting.weight_decay:g}"]
        row.append(LATEX.interval(rise) if rise else "--")
        rows.append([*row, LATEX.integer(int(number.measured)) if number else "--"])
    return booktabs("@{}rrrr@{}", ["label noise", r"$\lambda$", "rise at the marked width", "losses met"], rows)
