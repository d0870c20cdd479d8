"""Figures and tables of Adam + L2 against AdamW, drawn from the errors and shapes that claims.py judges."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from weightdecay.claims.judging import NOT_RUN
from weightdecay.finding import Inputs
from weightdecay.report.latex import booktabs, escape
from weightdecay.report.numbers import LATEX
from weightdecay.report.plots import estimates, legend, plain_ticks
from weightdecay.report.style import COLUMN, KINDS, MUTED, PAGE, missing, palette
from weightdecay.statistics.estimates import (
    ACCURACY,
    Estimate,
    every_seed,
    geometric_interval,
    ratio_interval,
)
from weightdecay.statistics.separability import SHEARS

from . import finding
from .claims import CLASSIFIERS, letters_of
from .coupling import lines_of
from .heat_maps import NAMES, heat_maps, name_panels, separability_panels
from .scaling import FACTORS, LAWS, best_by_setting, best_decays, exponents_of
from .surfaces import COORDINATES, DATASETS, METHODS, UNDECAYED, Grids, computed, log_error

COLOURS = {"AdamW": "#0072B2", "Adam + L2": "#D55E00", "SGDW": "#56B4E9", "SGD + L2": "#E69F00"}
LINES = {"constant": ("#000000", "o"), "step": ("#009E73", "s"), "cosine": ("#CC79A7", "^")}
TICKS = (0.9, 1, 1.2, 1.5, 2)  # of test error over that of the best cell
WIDE_TICKS = {"addition": (1, 2, 3, 5, 8)}
BARS: dict[str, Any] = {"marker": "o", "markersize": 4, "elinewidth": 1, "capsize": 2, "linestyle": ""}
KEPT = {  # how λ is chosen at another η: colour, marker, line
    "λ best at each η": ("#000000", "o", "-"),
    "λ of the best cell": ("#D55E00", "s", "--"),
    "ηλ of the best cell": ("#56B4E9", "^", "--"),
    "ηλ near .01": ("#009E73", "v", ":"),
}


@finding.figure("O4")
def separability(inputs: Inputs) -> Figure:
    """AdamW and Adam + L2 over η × λ and η × ηλ, on one data set, with the ten best cells and the shear of the basin.

    The schedule is the cosine, with which Loshchilov & Hutter did best. The data set is the one, of the two that every
    scale has, on which an L2 penalty lowers Adam's lowest test error by the larger factor. Colours span the basin, from
    the lowest error to e^½ times it; what is worse has the palest one. The line has the slope of the shear, through the
    centre of the ten best cells, with its 95 % interval: where it is level, η and the coordinate are separable.
    """
    return separability_panels(inputs)


@finding.figure("O4", "O5", "O6")
def heat_maps_mnist1d(inputs: Inputs) -> Figure:
    """Every grid of MNIST-1D in both coordinates."""
    return heat_maps(inputs, "mnist1d")


@finding.figure("O4", "O5", "O6")
def heat_maps_digits(inputs: Inputs) -> Figure:
    """Every grid of the handwritten digits in both coordinates."""
    return heat_maps(inputs, "digits")


@finding.figure("O4", "O5", "O6")
def heat_maps_addition(inputs: Inputs) -> Figure:
    """Every grid of the addition task in both coordinates."""
    return heat_maps(inputs, "addition")


@finding.figure("O4", "O6")
def basins(inputs: Inputs) -> Figure:
    """The shear of every basin, how much of the variance over λ the form explains, and its area; 95 % intervals."""
    table = basin_table(inputs)
    surfaces = list(dict.fromkeys(zip(table["dataset"], table["schedule"], strict=True)))
    panels = {"shear": "shear s", "explained": "variance over λ explained", "area": "area (decades²)"}
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 0.38 * len(surfaces) + 1.0), sharey=True, width_ratios=[3, 2, 2])
    for panel, (column, title) in zip(axes, panels.items(), strict=True):
        for number_, method in enumerate(METHODS):
            rows = table[table["method"] == method]
            places = [surfaces.index(key) for key in zip(rows["dataset"], rows["schedule"], strict=True)]
            found = {place + 0.18 * (number_ - 1.5): row for place, row in zip(places, rows[column], strict=True)}
            estimates(panel, found, across=True, color=COLOURS[method], label=method, **{**BARS, "capsize": 0})
        panel.set_xlabel(title)
    axes[0].set(xlim=(SHEARS[0], SHEARS[-1]))
    above: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": 7, "color": MUTED}
    for place, coordinate in enumerate(COORDINATES):
        axes[0].axvline(place, color=MUTED, linewidth=0.7, zorder=0)
        axes[0].text(place, 1.01, f"separable\nin {coordinate}", transform=axes[0].get_xaxis_transform(), **above)
    axes[1].axvline(inputs.config.criteria["O4"].thresholds["explained"], color=MUTED, linestyle=":", linewidth=0.7)
    axes[1].set(xlim=(0, 1))
    axes[2].set(xlim=(0, None))
    axes[0].set_yticks(range(len(surfaces)), [f"{NAMES[dataset]}, {schedule}" for dataset, schedule in surfaces])
    axes[0].invert_yaxis()
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return figure


@finding.figure("O7")
def best_lambda(inputs: Inputs) -> Figure:
    """The best λ against η of every optimiser and schedule, beside S0's λ = 0.01/η."""
    grids, usable = inputs.made(Grids), inputs.config.criteria["O7"].thresholds["usable"]
    tables = {method: best_decays(grids, method, usable) for method in METHODS}
    datasets = [dataset for dataset in DATASETS if grids.schedules(dataset)]
    figure, axes = plt.subplots(len(datasets), 4, figsize=(PAGE, 1.55 * len(datasets) + 0.5), squeeze=False)
    for line, dataset in zip(axes, datasets, strict=True):
        for panel, method in zip(line, METHODS, strict=True):
            table = tables[method]
            for number_, (schedule, (colour, marker)) in enumerate(LINES.items()):
                if schedule not in grids.schedules(dataset, method):
                    continue
                rows = table[table["surface"] == f"{dataset} {schedule}"]
                places = rows["rate"] * 1.06 ** (number_ - 1)
                found = {place: geometric_interval(best) for place, best in rows["best"].groupby(places)}
                bounded = set(places[rows["side"] != 0])
                look: dict[str, Any] = {"color": colour, "marker": marker, "linewidth": 0.8}
                estimates(panel, found, hollow=bounded, elinewidth=0.7, **look)
                panel.plot([], [], label=schedule, **look)
            if not (schedules := grids.schedules(dataset, method)):
                missing(panel, NOT_RUN)
                continue
            ends = grids.errors(dataset, method, schedules[0], "validation").columns
            η, λ = (np.unique(ends.get_level_values(level)) for level in (0, 1))
            panel.plot(η, 0.01 / η, color=MUTED, linestyle="--", linewidth=0.9, label="λ = 0.01/η (S0)")
            panel.set(xscale="log", yscale="log", xlim=(η[0] / 1.3, η[-1] * 1.3), ylim=(λ[0] / 1.6, λ[-1] * 1.6))
            panel.minorticks_off()
        line[0].set_ylabel(f"{NAMES[dataset]}\nbest λ")
    name_panels(axes, METHODS)
    handles = dict(zip(*reversed(axes[0, 0].get_legend_handles_labels()), strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=4)
    return figure


@finding.figure("O11", "O13")
def retuning(inputs: Inputs) -> Figure:
    """Test error relative to the best cell, against η, for four choices of λ.

    λ is tuned at each η, or the best cell's λ or ηλ is kept, or ηλ is .01.
    """
    grids, t = inputs.made(Grids), inputs.config.criteria["O11"].thresholds
    datasets = [dataset for dataset in DATASETS if grids.schedules(dataset)]
    size = (PAGE, 1.6 * len(datasets) + 0.6)
    figure, axes = plt.subplots(len(datasets), len(METHODS), figsize=size, squeeze=False, sharey="row")
    for line, dataset in zip(axes, datasets, strict=True):
        for panel, method in zip(line, METHODS, strict=True):
            if not (schedules := grids.schedules(dataset, method)):
                missing(panel, NOT_RUN)
                continue
            schedule = schedules[-1]
            validation, test = (grids.errors(dataset, method, schedule, split) for split in ("validation", "test"))
            mean = validation.mean()
            best, rates = mean.idxmin(), validation.columns.unique(0)
            lines = lines_of(grids, dataset, method, schedule, t["product"], np.inf)
            tuned = [(η, mean[η].idxmin()) for η in rates if mean[η].notna().any()]
            kept = [(η, best[1]) for η in rates if (η, best[1]) in test.columns]
            chosen = [tuned, kept, lines["Best"], lines[""]]
            for number_, ((label, (colour, marker, dashes)), cells) in enumerate(
                zip(KEPT.items(), chosen, strict=True)
            ):
                if cells:
                    aside = 1.07 ** (number_ - 1.5)
                    logs = {cell[0] * aside: log_error(test[cell]) - log_error(test[best]) for cell in cells}
                    found = {place: ratio_interval(log) for place, log in logs.items()}
                    look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 3, "linestyle": dashes}
                    estimates(panel, found, elinewidth=0.7, linewidth=0.9, label=label, **look)
            usable = grids.usable(dataset, method, schedule, t["usable"])
            panel.axvspan(usable.min() / 1.2, usable.max() * 1.2, color=MUTED, alpha=0.12, linewidth=0)
            panel.set(xscale="log")
        ticks = WIDE_TICKS.get(dataset, TICKS)
        limits = ticks[0] / 1.06, ticks[-1] * 1.1
        line[0].set(ylabel=f"{NAMES[dataset]}\ntest error, relative", yscale="log", ylim=limits)
        plain_ticks(line[0].yaxis, ticks)
    name_panels(axes, METHODS)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4)
    return figure


@finding.figure("O2")
def decay_rates(inputs: Inputs) -> Figure:
    """Decay of weights over ηλ against their gradient scale, under Adam + L2 and AdamW."""
    table = inputs.results.tables["decay_rates"]
    figure, axes = plt.subplots(figsize=(COLUMN, 2.4))
    for method, (_, kind) in {"Adam + L2": METHODS["Adam + L2"], "AdamW": METHODS["AdamW"]}.items():
        rows = table[table["decay"] == kind]
        for _, own in rows.groupby("seed"):
            axes.plot(own["gradient"], own["rate"], color=COLOURS[method], alpha=0.3, linewidth=0.5)
        bins = np.exp(np.log(rows[["gradient", "rate"]]).groupby(rows["bin"]).mean())
        axes.plot(bins["gradient"], bins["rate"], color=COLOURS[method], marker="o", markersize=2.5, label=method)
        if kind == "l2":
            start = bins.iloc[0]
            guide = start["rate"] * start["gradient"] / bins["gradient"]
            axes.plot(bins["gradient"], guide, color=MUTED, linestyle="--", linewidth=0.9, label="∝ 1/gradient")
    axes.set(xscale="log", yscale="log", xlabel="root mean square gradient of the weight", ylabel="decay over ηλ")
    ticks = [tick for tick in (1e-3, 2e-3, 5e-3, 0.01, 0.02, 0.05, 0.1) if bins["gradient"].min() < 1.2 * tick]
    plain_ticks(axes.xaxis, ticks)
    axes.set_xlim(table["gradient"].min() / 1.2, table["gradient"].max() * 1.2)
    legend(axes, loc="center right")
    return figure


@finding.figure("O7", "O8")
def exponents(inputs: Inputs) -> Figure:
    """Fitted exponents of the best λ beside those of the laws."""
    figure, axes = plt.subplots(1, 2, figsize=(PAGE, 2.3), width_ratios=[3, 2])
    markers = dict(zip(LAWS, "Dvs", strict=True))
    for metric, colour, shift, words in (
        ("validation_accuracy", "black", -0.12, "measured, best by validation error"),
        ("validation_loss", MUTED, 0.12, "measured, best by validation loss"),
    ):
        found = exponents_of(best_by_setting(inputs.results, metric))
        bars = {place + shift: every_seed(found[factor]) for place, factor in enumerate(FACTORS)}
        estimates(axes[0], bars, color=colour, label=words, **BARS)
    for place, (name, marker) in enumerate(markers.items()):
        words, law = LAWS[name]
        label = words.replace("λ_norm", "λ$_\\mathrm{norm}$ (S1)")
        axes[0].plot(
            np.arange(3) + 0.26 + 0.09 * place,
            law,
            linestyle="",
            marker=marker,
            color=palette("colorblind", 10)[list(LAWS).index(name)],
            markersize=4.5,
            label=label,
        )
    axes[0].set_xticks(range(3), ["batch size b", "training points B", "epochs T"])
    axes[0].set(ylabel="exponent of the best λ", xlim=(-0.4, 2.7))
    axes[0].axhline(0, color=MUTED, linewidth=0.5)
    legend(axes[0], loc="center left", bbox_to_anchor=(1.0, 0.5))
    claim = inputs.claims["O7"]
    for place, part in enumerate(claim.parts[: len(METHODS)]):
        found = Estimate(part.measured, part.low, part.high, part.n)
        estimates(axes[1], {place: found}, color=COLOURS[list(METHODS)[place]], **BARS)
    axes[1].axhline(-1, color=MUTED, linestyle="--", linewidth=0.9)
    axes[1].text(3.4, -0.97, "λ ∝ 1/η (S0)", ha="right", va="bottom", fontsize=7, color=MUTED)
    axes[1].axhline(0, color=MUTED, linewidth=0.5)
    axes[1].set_xticks(range(len(METHODS)), [method.replace(" + ", "\n+ ") for method in METHODS])
    axes[1].set(ylabel="exponent of the best λ in η", xlim=(-0.5, 3.5))
    return figure


@finding.figure("O10")
def classifier(inputs: Inputs) -> Figure:
    """Weights of S0's classifier before training, after it, and after it with decay; means over seeds."""
    table = inputs.results.tables["classifier"]
    shares = table.groupby(["network", "stage", "left", "right"])["share"].mean().reset_index()
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.2), sharey=True)
    for panel, (network, (letters, without)) in zip(axes, CLASSIFIERS.items(), strict=True):
        curves = {
            "before training": (network, "before", MUTED),
            "after, no decay": (without, "after", KINDS["held"]),
            "after, with decay": (network, "after", KINDS["free"]),
        }
        for label, (name, stage, colour) in curves.items():
            rows = shares[(shares["network"] == name) & (shares["stage"] == stage)].sort_values("left")
            panel.stairs(rows["share"], [*rows["left"], rows["right"].iloc[-1]], color=colour, label=label, linewidth=1)
        panel.set(yscale="log", xlabel="weight", title=letters_of(letters))
    axes[0].set_ylabel("share of weights")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


@finding.table("O5")
def best_table(inputs: Inputs) -> str:
    """Best cell and its test error for each data set, optimiser and schedule, beside no decay."""
    grids, rows = inputs.made(Grids), []
    for dataset in DATASETS:
        for method in (*METHODS, *UNDECAYED):
            for schedule in grids.schedules(dataset, method):
                mean = grids.errors(dataset, method, schedule, "validation").mean()
                η, λ = mean.idxmin()
                error = LATEX.interval(every_seed(grids.best(dataset, method, [schedule]), ACCURACY))
                name = method if method in METHODS else f"{method}, no decay"
                decay = [scientific(λ), scientific(η * λ)] if λ else ["--", "--"]
                rows.append([NAMES[dataset], escape(name), escape(schedule), scientific(η), *decay, error])
    header = ["Optimiser", "schedule", r"$\eta$", r"$\lambda$", r"$\eta\lambda$", "test error"]
    return booktabs("@{}llrrrr@{}", header, grouped(rows))


@finding.table("O4", "O6")
def basins_table(inputs: Inputs) -> str:
    """The shear of every basin, how much of the variance over λ the form explains, and the area, with intervals."""
    rows = [
        [
            *(NAMES[row.dataset], escape(row.method), escape(row.schedule)),
            *(hundredths(row.shear), hundredths(row.explained), LATEX.interval(row.area)),
        ]
        for row in basin_table(inputs).itertuples()
    ]
    header = ["Optimiser", "schedule", "shear $s$", "explained", "area"]
    return booktabs("@{}llrrr@{}", header, grouped(rows))


def basin_table(inputs: Inputs) -> pd.DataFrame:
    """Return a row for each surface: estimates of `shear`, of the share of variance `explained`, and of `area`."""
    grids, thresholds = inputs.made(Grids), inputs.config.criteria["O6"].thresholds
    within = inputs.config.criteria["O4"].thresholds["within"]
    rows = []
    for dataset in DATASETS:
        for method in METHODS:
            for schedule in grids.schedules(dataset, method):
                found = grids.shear(method, [(dataset, schedule)], within)
                areas = np.log(grids.areas(dataset, method, schedule, thresholds["tolerance"]))
                about = {"dataset": dataset, "method": method, "schedule": schedule}
                shown = {"shear": found.estimate, "explained": computed(found.explained)}
                rows.append(about | shown | {"area": ratio_interval(areas)})
    return pd.DataFrame(rows)


def grouped(rows: list[list[str]]) -> list[list[str]]:
    """Return the rows in groups with equal first cells, which become headings; repeated second cells are left empty."""
    shown, before = [], ["", ""]
    for row in rows:
        if row[0] != before[0]:
            shown.append([rf"\multicolumn{{{len(row) - 1}}}{{@{{}}l}}{{\emph{{{row[0]}}}}}"])
        shown.append(["" if row[:2] == before[:2] else row[1], *row[2:]])
        before = row
    return shown


def hundredths(found: Estimate) -> str:
    """Write an estimate, and its interval if it has one, with two decimals in LaTeX; "--" if it is unknown."""
    value, low, high = (f"${end:.2f}$".replace("$-0.00$", "$0.00$") for end in found[:3])
    if np.isnan(found.value):
        return "--"
    return value if np.isnan(found.low) else f"{value} [{low}, {high}]"


def scientific(value: float) -> str:
    """Write a number with two significant digits in LaTeX."""
    if 0.01 <= value < 100:
        return LATEX.number(value) if value >= 0.1 else f"{value:.3f}"
    digits, power = f"{value:.1e}".split("e")
    return f"${digits}\\cdot 10^{{{int(power)}}}$"
