"""Figures of curve fitting, drawn from the runs, measures and tables that claims.py judges."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from claims import DECAY, EXPERIMENT, FIT, LOSSES, Runs, distance, roughness
from demo import GRADIENT_EDGES, GRID, SLOPE, WEIGHT_EDGES, line
from matplotlib.axes import Axes
from numpy.polynomial.polynomial import polyval

from weightdecay.analysis import style
from weightdecay.analysis.measures import select
from weightdecay.analysis.plots import over_columns, zero_and_logarithm
from weightdecay.analysis.style import MUTED, PAGE, SPLITS, Inputs, weight_decay_colour

SEED = 0  # of every example shown
PAIR = {0.0: "no decay", DECAY: f"λ = {DECAY:g}"}
COLOURS = {"squared_error": "#D55E00", "smooth_l1": "#009E73", "absolute_error": "#0072B2"}
POWERS = 40  # points of a drawn curve a unit of x


def fit(inputs: Inputs) -> None:
    """C1: S3's figure, the fit at some steps with and without decay, for one seed; then the last over all seeds."""
    runs, history = Runs(inputs.results), inputs.results.history
    demos = {λ: runs.demo(λ) for λ in PAIR}
    history = history[
        history["metric"].isin(FIT) & history["run"].isin([demo.loc[SEED, "run"] for demo in demos.values()])
    ]
    logged = sorted(history.loc[history["step"] > 0, "step"].unique())
    shown = sorted({logged[0], logged[3 * len(logged) // 10 - 1], logged[-1]})  # S3 shows ten
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
    axes[0].legend(loc="upper left", labelspacing=0.2, borderaxespad=0.1)
    style.save(figure, inputs.figures, f"{EXPERIMENT}-fit", inputs.scale)


def histograms(inputs: Inputs) -> None:
    """C2, C4: histograms of layer 2's weights and gradients over the steps, as ridge lines, the mean over seeds."""
    runs, history = Runs(inputs.results), inputs.results.history
    figure, axes = plt.subplots(1, 4, figsize=(PAGE, 3.2), sharey=True)
    kinds = (("weight", WEIGHT_EDGES, "weight of layer 2"), ("gradient", GRADIENT_EDGES, "log₁₀ |gradient| of layer 2"))
    for pair, (kind, edges, label) in zip((axes[:2], axes[2:]), kinds, strict=True):
        counts = history[history["metric"].str.startswith(f"layer2_{kind}_bin_")]
        tables = {}
        for λ in PAIR:
            own = counts[counts["run"].isin(runs.demo(λ)["run"])]
            table = own.pivot_table(index="step", columns="metric", values="value")
            tables[λ] = table.div(table.sum(axis=1), axis=0)
        highest = max(table.iloc[:, 1:-1].to_numpy().max() for table in tables.values())
        for panel, (λ, title) in zip(pair, PAIR.items(), strict=True):
            ridge_lines(panel, tables[λ], edges, weight_decay_colour(λ), highest, kind == "gradient")
            panel.set(title=title, xlabel=label)
    axes[0].set_ylabel("step")
    axes[0].invert_yaxis()
    style.save(figure, inputs.figures, f"{EXPERIMENT}-histograms", inputs.scale)


def ridge_lines(
    axes: Axes, shares: pd.DataFrame, edges: np.ndarray, colour: object, highest: float, zeros: bool
) -> None:
    """One line a step from shares `[steps, bins]`; `highest` is 1.9 steps high. `zeros`: how many are below them."""
    steps = shares.index.to_numpy(float)
    centres = (edges[1:] + edges[:-1]) / 2
    height = 1.9 * np.diff(steps).min() / highest
    for order, (step, row) in enumerate(shares.iterrows()):
        tops = step - height * row.to_numpy()[1:-1]
        axes.fill_between(centres, tops, step, color=colour, alpha=0.75, linewidth=0, zorder=2 * order)
        axes.plot(centres, tops, color="black", linewidth=0.5, zorder=2 * order + 1)
        if zeros and step in (steps[0], steps[-1]):
            axes.text(edges[-1] + 2.5, step, f"{row.iloc[0]:.0%} are 0", fontsize=7, va="bottom", ha="right", zorder=99)
    axes.set_xlim(edges[0], edges[-1] + 2.5 * zeros)


def norms(inputs: Inputs) -> None:
    """C2-C4: norms of weights and gradients over the steps, and the learning rates at which training diverges."""
    runs = Runs(inputs.results)
    figure, axes = plt.subplots(1, 4, figsize=(PAGE, 2.2))
    shown = {
        "weight_norm": "norm of all parameters",
        "layer2_weight_std": "standard deviation, layer 2",
        "gradient_norm": "norm of the gradient",
    }
    for panel, (metric, label) in zip(axes, shown.items(), strict=False):
        for λ, name in PAIR.items():
            table = pd.DataFrame(
                {seed: runs.histories.curve(run, metric) for seed, run in runs.demo(λ)["run"].items()}
            ).T
            over_columns(panel, table, weight_decay_colour(λ), log="gradient" in metric, label=name)
        panel.set(xlabel="step", title=label)
    axes[0].set_ylim(bottom=0)
    axes[1].set_ylim(bottom=0)
    axes[2].set_yscale("log")
    axes[0].legend(loc="lower left")
    tried = runs.runs[runs.runs["sweep"].isin(["learning_rate", "weight_decay"]) & runs.runs["weight_decay"].isin(PAIR)]
    share = (
        tried.assign(failed=tried["diverged_at"].notna()).groupby(["weight_decay", "learning_rate"])["failed"].mean()
    )
    for λ, marker in zip(PAIR, "os", strict=True):
        axes[3].plot(share[λ], marker=marker, color=weight_decay_colour(λ), markersize=4, markerfacecolor="none")
    axes[3].set(xscale="log", xlabel="learning rate η", title="share that diverges", ylim=(-0.03, 1.03))
    style.save(figure, inputs.figures, f"{EXPERIMENT}-norms", inputs.scale)


def weight_decay(inputs: Inputs) -> None:
    """C1, C3, C8: S3's program against λ: losses, roughness, norm."""
    runs = Runs(inputs.results)
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.2))
    demos = {λ: runs.demo(λ) for λ in runs.weight_decays}
    tables = {
        split: pd.DataFrame({λ: demo[f"{split}_loss"] for λ, demo in demos.items()}) for split in ("train", "test")
    }
    for split, table in tables.items():
        over_columns(axes[0], table, SPLITS[split], marker="o", label=split)
    far = pd.DataFrame({λ: distance(demo) for λ, demo in demos.items()})
    over_columns(axes[0], far**2, "black", marker="s", label="to the true line")
    rough = pd.DataFrame({λ: roughness(demo) for λ, demo in demos.items()})
    over_columns(axes[1], rough, SPLITS["test"], marker="o")
    shrunk = pd.DataFrame({λ: demo["weight_norm"] / runs.started(demo, "weight_norm") for λ, demo in demos.items()})
    over_columns(axes[2], shrunk.clip(lower=1e-9), SPLITS["train"], marker="o", log=True)
    axes[0].set(title="mean squared error", ylim=(0, None))
    axes[0].legend(loc="lower right")
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
    style.save(figure, inputs.figures, f"{EXPERIMENT}-weight_decay", inputs.scale)


def polynomials(inputs: Inputs) -> None:
    """C5: errors against the degree; at the highest degree against λ; and the curves of one seed."""
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
    axes[0].legend(loc="upper left")
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
    axes[2].legend(loc="upper center")
    style.save(figure, inputs.figures, f"{EXPERIMENT}-polynomials", inputs.scale)


def constraints(inputs: Inputs) -> None:
    """C6, C8: the ridge path of one seed; its norm against λ; the loss against the norm that is allowed."""
    table = inputs.results.tables["constraints"]
    own = table[table["seed"] == SEED].set_index("weight_decay")
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.3))
    coefficients = own.filter(like="weight_")
    for power, (_, values) in enumerate(coefficients.items(), 1):
        label = f"of x{f'$^{power}$' if power > 1 else ''}" if power in (1, coefficients.shape[1]) else None
        axes[0].plot(values, color=plt.cm.cividis(power / (coefficients.shape[1] + 1)), label=label)
    axes[0].legend(loc="lower right")
    axes[0].set(xscale="log", xlabel="λ", title="coefficients (one seed)")
    norms = table.pivot(index="seed", columns="weight_decay", values="norm")
    over_columns(axes[1], norms, SPLITS["train"], log=True, marker="o", label="‖w‖")
    last = norms.columns[-1]
    reach = np.array([last / 1e4, last])
    axes[1].plot(
        reach, 3 * np.exp(np.log(norms[last]).mean()) * last / reach, color=MUTED, linestyle="--", label="∝ 1/λ"
    )
    axes[1].set(xscale="log", yscale="log", xlabel="λ", title="norm of the solution")
    axes[1].legend(loc="lower left")
    axes[2].plot(own["norm"] ** 2, own["loss"], color=MUTED, zorder=1)
    for λ, row in own.iterrows():
        axes[2].plot(row["norm"] ** 2, row["loss"], "o", color=weight_decay_colour(λ))
        if 0.05 < λ < 500:
            axes[2].annotate(f" λ = {λ:g}", (row["norm"] ** 2, row["loss"]), fontsize=7, va="bottom")
    axes[2].set(xlabel="C, the most that ‖w‖² may be", title="least loss in the ball (one seed)", xscale="log")
    axes[2].set_xlim(1e-5, 8 * own["norm"].max() ** 2)
    style.save(figure, inputs.figures, f"{EXPERIMENT}-constraints", inputs.scale)


def outliers(inputs: Inputs) -> None:
    """C7: distance to the true line against the outliers' shift; lines and a network's fits of one seed."""
    table, runs = inputs.results.tables["outliers"], Runs(inputs.results)
    figure, axes = plt.subplots(1, 3, figsize=(PAGE, 2.4))
    shift = inputs.config.criteria["C7"].thresholds["shift"]
    for loss, label in LOSSES.items():
        values = table[table["loss"] == loss].pivot(index="seed", columns="shift", values="distance")
        over_columns(axes[0], values, COLOURS[loss], log=True, marker="o", label=label)
        row = select(table, seed=SEED, shift=shift, loss=loss).iloc[0]
        axes[1].plot(GRID, row["constant"] + row["slope"] * GRID, color=COLOURS[loss])
        chosen = runs.fitted(loss, outlier=True)
        axes[2].plot(GRID, chosen.loc[SEED, FIT], color=COLOURS[loss], label=label)
    axes[0].set(xscale="symlog", yscale="log", xlabel="shift of the outliers", title="distance to the true line")
    axes[0].set_xlim(-0.1, table["shift"].max() * 1.2)
    axes[0].legend(loc="upper left")
    for panel in axes[1:]:
        true_line(panel)
        panel.set_xlabel("x")
    axes[1].set_title(f"lines, shift {shift:g} (one seed)")
    x, train, _ = line(SEED, int(runs.runs["train_size"].iloc[0]), outlier=True)
    axes[2].plot(x, train, "o", color="black", markersize=3)
    axes[2].set_title("network, one outlier (one seed)")
    style.save(figure, inputs.figures, f"{EXPERIMENT}-outliers", inputs.scale)


def true_line(axes: Axes) -> None:
    axes.plot(GRID, SLOPE * GRID, color="black", linestyle=":", linewidth=0.8)


if __name__ == "__main__":
    style.main(
        [fit, histograms, norms, weight_decay, polynomials, constraints, outliers],
        Path(__file__).with_name("config.yaml"),
    )
