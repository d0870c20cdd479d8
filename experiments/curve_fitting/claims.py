"""Claims C1-C8 on curves, polynomials and loss functions, judged by the criteria of config.yaml.

One estimate per seed, then a 95 % interval over seeds; runs that are compared share data and initial weights. "At the
end" is the last step, as S3 shows it. A diverged run has no value: what needs it is unknown.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from demo import GRID, SLOPE

from weightdecay.analysis import claims as ledger
from weightdecay.analysis.claims import Claim, Part, counts, joined, judged, reported
from weightdecay.analysis.measures import Histories, diverged, select
from weightdecay.analysis.statistics import Estimate, every_seed, leave_one_out, proportion_interval, ratio_interval

EXPERIMENT = "curve_fitting"
DECAY = 0.01  # S3's
LARGE = 100.0  # of C8
FIT = [f"fit_{number:02}" for number in range(len(GRID))]
CURVES = ("weight_norm", "layer2_weight_std", "gradient_norm")  # metrics that are followed over the steps
LOSSES = {"squared_error": "L2", "smooth_l1": "smooth L1", "absolute_error": "L1"}


class Runs:
    """The trained runs: last values by seed, curves, and curves fitted."""

    def __init__(self, results: Any):
        self.runs, history = results.runs, results.history
        self.histories = Histories(history[history["metric"].isin(CURVES)])
        first = history[history["step"] == 0]
        self.start = first.pivot(index="run", columns="metric", values="value")

    def select(self, sweep: str, **settings: object) -> pd.DataFrame:
        """The runs of a sweep with these settings, by seed."""
        return select(self.runs[self.runs["sweep"] == sweep], **settings).set_index("seed").sort_index()

    def demo(self, weight_decay: float) -> pd.DataFrame:
        """S3's program with this λ."""
        return self.select("weight_decay", weight_decay=weight_decay)

    def started(self, runs: pd.DataFrame, metric: str) -> pd.Series:
        """A metric before the first step, by seed."""
        return runs["run"].map(self.start[metric])

    def largest(self, runs: pd.DataFrame, metric: str) -> pd.Series:
        """The largest logged value after the start, by seed; NaN for a run that diverged."""
        found = runs["run"].map(lambda run: self.histories.curve(run, metric).loc[1:].max())
        return found.where(runs["diverged_at"].isna())

    @property
    def weight_decays(self) -> list[float]:
        """Of S3's program, in order."""
        return sorted(self.runs.loc[self.runs["sweep"] == "weight_decay", "weight_decay"].unique())

    def fitted(self, loss: str, outlier: bool) -> pd.DataFrame:
        """S3's program without decay under a loss, with or without an outlier among its points."""
        if loss == "squared_error" and not outlier:
            return self.demo(0.0)
        return self.select("losses", loss=loss, dataset="line_outlier" if outlier else "line", weight_decay=0.0)


def roughness(runs: pd.DataFrame) -> pd.Series:
    """Total variation of the slope of the fitted curve, by seed: the integral of |f''|, exact for kinks on GRID."""
    slopes = np.diff(runs[FIT].to_numpy(float), axis=1) / np.diff(GRID)
    return pd.Series(np.abs(np.diff(slopes, axis=1)).sum(1), index=runs.index)


def distance(runs: pd.DataFrame) -> pd.Series:
    """Root of the mean square of fitted curve less true line on GRID, by seed."""
    return np.sqrt(((runs[FIT] - SLOPE * GRID) ** 2).mean(axis=1, skipna=False))


def histograms(runs: Runs, chosen: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Shares of layer 2's weights in each bin, at the start and at the end, `[seeds, bins]`."""
    bins = [column for column in runs.start.columns if column.startswith("layer2_weight_bin_")]
    first, last = runs.start.loc[chosen["run"], bins].to_numpy(), chosen[bins].to_numpy(float)
    return first / first.sum(1, keepdims=True), last / last.sum(1, keepdims=True)


def judge(results: Any, criteria: Mapping[str, Any]) -> list[Claim]:
    """The eight claims, in order."""
    threshold = {id: words.thresholds for id, words in criteria.items()}
    runs, tables = Runs(results), results.tables
    parts = {
        "C1": smoother(runs, threshold["C1"]),
        "C2": contracts(runs, threshold["C2"]),
        "C3": smaller_norm(runs, threshold["C3"]),
        "C4": bounded_gradients(runs, threshold["C4"]),
        "C5": high_degrees(tables["polynomials"], threshold["C5"]),
        "C6": penalty_is_constraint(tables["constraints"], threshold["C6"]),
        "C7": robust_losses(runs, tables, threshold["C7"]),
        "C8": to_nothing(runs, tables["constraints"], threshold["C8"]),
    }
    return [ledger.claim(id, EXPERIMENT, criteria, *found) for id, found in parts.items()]


def smoother(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C1: roughness and test loss of S3's fit, λ = .01 over λ = 0."""
    without, decayed = runs.demo(0.0), runs.demo(DECAY)

    def ratio(metric: str) -> Estimate:
        return ratio_interval(np.log(decayed[metric] / without[metric]))

    return [
        judged("Rough", "variation of the slope", ratio_of(roughness(decayed), roughness(without)), most=t["rough"]),
        judged("Test", "test loss", ratio("test_loss"), most=t["test"]),
        reported("Distance", "distance to the true line", ratio_of(distance(decayed), distance(without))),
        reported("Train", "training loss, no decay", every_seed(without["train_loss"])),
        reported("TrainDecay", "training loss, λ", every_seed(decayed["train_loss"])),
        reported("TestWithout", "test loss, no decay", every_seed(without["test_loss"])),
        reported("TestDecay", "test loss, λ", every_seed(decayed["test_loss"])),
    ], counts(len(without) + len(decayed), {"diverged": diverged(without) + diverged(decayed)})


def contracts(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C2: the spread of layer 2's weights, end over start."""
    spread, moved, extreme = {}, {}, {}
    for weight_decay in (0.0, DECAY):
        chosen = runs.demo(weight_decay)
        first, last = histograms(runs, chosen)
        spread[weight_decay] = ratio_of(chosen["layer2_weight_std"], runs.started(chosen, "layer2_weight_std"))
        extreme[weight_decay] = ratio_of(chosen["layer2_weight_largest"], runs.started(chosen, "layer2_weight_largest"))
        moved[weight_decay] = every_seed(pd.Series(np.abs(last - first).sum(1) / 2), (0, 1))
    return [
        judged("Decay", "standard deviation, λ", spread[DECAY], most=t["contracts"]),
        judged("Without", "standard deviation, no decay", spread[0.0], t["low"], t["high"]),
        judged("Moved", "share of weights to be moved, no decay", moved[0.0], most=t["moved"]),
        reported("MovedDecay", "share of weights to be moved, λ", moved[DECAY]),
        reported("Largest", "largest weight, no decay", extreme[0.0]),
        reported("LargestDecay", "largest weight, λ", extreme[DECAY]),
    ], ""


def smaller_norm(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C3: the norm of all parameters, with decay over without, in S2's program and in S3's."""
    small = {λ: runs.select("small", weight_decay=λ)["weight_norm"] for λ in (0.0, 1e-4)}
    demo = {λ: runs.demo(λ)["weight_norm"] for λ in (0.0, DECAY)}
    return [
        judged("Small", "norm with over without, S2's program", ratio_of(small[1e-4], small[0.0]), most=t["ratio"]),
        judged("Demo", "norm with over without, S3's program", ratio_of(demo[DECAY], demo[0.0]), most=t["ratio"]),
    ], ""


def bounded_gradients(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C4: the largest gradient in S3's program, and the smallest learning rate that diverges."""
    largest = {λ: runs.largest(runs.demo(λ), "gradient_norm") for λ in (0.0, DECAY)}
    last = {λ: runs.demo(λ)["gradient_norm"] for λ in (0.0, DECAY)}
    limits = {λ: diverges_from(runs, λ) for λ in (0.0, DECAY)}
    tried = runs.runs[runs.runs["sweep"] == "learning_rate"]
    return [
        judged(
            "Largest", "largest gradient, λ over no decay", ratio_of(largest[DECAY], largest[0.0]), most=t["largest"]
        ),
        judged("Limit", "diverging learning rate, λ over no decay", ratio_of(limits[DECAY], limits[0.0]), t["limit"]),
        reported("Rate", "smallest learning rate that diverges, no decay", ratio_interval(np.log(limits[0.0]))),
        reported("Final", "gradient at the end, λ over no decay", ratio_of(last[DECAY], last[0.0])),
    ], counts(len(tried), {"at larger learning rates diverged": diverged(tried)})


def diverges_from(runs: Runs, weight_decay: float) -> pd.Series:
    """Per seed the smallest learning rate of the grid that diverges; where none does, the one that would come next."""
    chosen = runs.runs[runs.runs["sweep"].isin(["learning_rate", "weight_decay"])]
    chosen = select(chosen, weight_decay=weight_decay)
    rates = np.sort(chosen["learning_rate"].unique())
    failed = chosen[chosen["diverged_at"].notna()].groupby("seed")["learning_rate"].min()
    return failed.reindex(sorted(chosen["seed"].unique()), fill_value=rates[-1] ** 2 / rates[-2])


def high_degrees(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C5: test error over the degree without penalty, and with a ridge at the highest degree."""
    plain = table[table["weight_decay"] == 0]
    test = np.log(plain.pivot(index="seed", columns="degree", values="test_loss"))
    train = plain.pivot(index="seed", columns="degree", values="train_loss")
    highest = test.columns[-1]
    ridged = table[(table["degree"] == highest) & (table["weight_decay"] > 0)]
    chosen = ridged.loc[ridged.groupby("seed")["validation_loss"].idxmin()].set_index("seed")
    repaired = np.log(chosen["test_loss"])
    best = leave_one_out(test, lambda others, own: own[others.idxmin()])
    return [
        judged("Falls", "test error, degree 0 over best", ratio_interval(test[0] - best), t["falls"]),
        judged("Rises", f"test error, degree {highest} over best", ratio_interval(test[highest] - best), t["rises"]),
        judged(
            "Fits", f"training error, degree {highest} over 1", every_seed(train[highest] / train[1]), most=t["fits"]
        ),
        judged(
            "Repairs", "ridge over none, highest degree", ratio_interval(repaired - test[highest]), most=t["repairs"]
        ),
        judged("Repaired", "ridge at highest degree over best", ratio_interval(repaired - best), most=t["repaired"]),
        reported("Lambda", "λ chosen", ratio_interval(np.log(chosen["weight_decay"]))),
    ], f"best degree on average: {test.mean().idxmin()}"


def penalty_is_constraint(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C6: decimal digits to which the conditions hold, and to which a solver of the constrained problem agrees."""
    worst = table.groupby("seed")[["residual", "solver", "multiplier"]].max()
    digits = -np.log10(worst.clip(lower=1e-17))
    words = {
        "residual": "conditions of Karush, Kuhn and Tucker",
        "solver": "minimiser in the ball",
        "multiplier": "multiplier there, against λ",
    }
    return [
        judged(name.title(), f"digits, {what}", every_seed(digits[name]), least=t[name]) for name, what in words.items()
    ], f"the worst of {table['weight_decay'].nunique()} λ in each seed"


def robust_losses(runs: Runs, tables: Mapping[str, pd.DataFrame], t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C7: lines under three losses with and without outliers, a network likewise, and how many minimisers there are."""
    lines = np.log(tables["outliers"].pivot(index="seed", columns=["shift", "loss"], values="distance"))
    off, shifted = lines[0.0], lines[t["shift"]]
    harm = {loss: ratio_interval(shifted[loss] - off[loss]) for loss in LOSSES}
    bounds = {"absolute_error": {"most": t["robust"]}, "squared_error": {"least": t["sensitive"]}}
    network = {loss: distance(runs.fitted(loss, outlier=True)) for loss in LOSSES}
    clean = {loss: distance(runs.fitted(loss, outlier=False)) for loss in LOSSES}
    parts = [
        judged(name, f"line: distance with over without outliers, {LOSSES[loss]}", harm[loss], **bounds[loss])
        for name, loss in (("Absolute", "absolute_error"), ("Square", "squared_error"))
    ]
    parts += [
        reported("Smooth", "line: distance with over without outliers, smooth L1", harm["smooth_l1"]),
        judged(
            "SmoothAbsolute",
            "line, outliers: smooth L1 over L1",
            ratio_interval(shifted["smooth_l1"] - shifted["absolute_error"]),
            t["between"],
        ),
        judged(
            "SquareSmooth",
            "line, outliers: L2 over smooth L1",
            ratio_interval(shifted["squared_error"] - shifted["smooth_l1"]),
            t["between"],
        ),
        reported(
            "Clean", "line, no outliers: L1 over L2", ratio_interval(off["absolute_error"] - off["squared_error"])
        ),
        judged(
            "Network",
            "network, outlier: L1 over L2",
            ratio_of(network["absolute_error"], network["squared_error"]),
            most=t["network"],
        ),
        reported(
            "NetworkSmooth",
            "network, outlier: smooth L1 over L2",
            ratio_of(network["smooth_l1"], network["squared_error"]),
        ),
        reported(
            "NetworkClean", "network, no outlier: L1 over L2", ratio_of(clean["absolute_error"], clean["squared_error"])
        ),
    ]
    several = tables["minimisers"].groupby(["loss", "problem"])["several"].agg(["sum", "size"])
    for name, loss, problem in (
        ("Constant", "absolute_error", "constant"),
        ("Line", "absolute_error", "line"),
        ("ConstantSquare", "squared_error", "constant"),
        ("LineSquare", "squared_error", "line"),
    ):
        estimate = proportion_interval(*map(int, several.loc[loss, problem]))
        limits = {"least": t["several"]} if loss == "absolute_error" else {"most": t["one"]}
        parts.append(judged(name, f"several minimisers: {problem}, {LOSSES[loss]}", estimate, **limits))
    return parts, ""


def to_nothing(runs: Runs, table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C8: the norm as λ grows, of ridge and of S3's network."""
    norms = np.log(table.pivot(index="seed", columns="weight_decay", values="norm"))
    before, last = norms.columns[-2:]
    slope = (norms[last] - norms[before]) / np.log(last / before)
    large = runs.demo(LARGE)
    beyond = [λ for λ in runs.weight_decays if λ > LARGE]
    unstable = (
        select(runs.runs[runs.runs["sweep"] == "weight_decay"], weight_decay=beyond[-1]) if beyond else pd.DataFrame()
    )
    return [
        judged("Slope", "ridge: power of λ that the norm goes as", every_seed(slope), t["low"], t["high"]),
        judged(
            "Ratio",
            "ridge: norm, last λ over first",
            every_seed(np.exp(norms[last] - norms.iloc[:, 0])),
            most=t["vanishes"],
        ),
        judged(
            "Network",
            f"network: norm at λ = {LARGE:g} over start",
            every_seed(large["weight_norm"] / runs.started(large, "weight_norm")),
            most=t["vanishes"],
        ),
        *(
            [
                reported(
                    "Unstable",
                    f"network: share that diverges at λ = {beyond[-1]:g}",
                    proportion_interval(diverged(unstable), len(unstable)),
                )
            ]
            if beyond
            else []
        ),
    ], joined(f"ridge: λ from {norms.columns[0]:g} to {last:g}")


def ratio_of(first: pd.Series, second: pd.Series) -> Estimate:
    """Geometric mean and interval of `first` over `second`, both by seed."""
    return ratio_interval(np.log(first / second))


if __name__ == "__main__":
    ledger.main(judge, Path(__file__).with_name("config.yaml"))
