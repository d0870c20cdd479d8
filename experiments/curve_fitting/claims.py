"""Claims C1-C14 on curves, polynomials and loss functions, judged by the criteria of config.yaml.

One estimate per seed, then a 95 % interval over seeds; runs that are compared share data and initial weights. "At the
end" is the last step, as S3 shows it. A diverged run has no value: what needs it is unknown. Here: what is read off
trained networks; what needs none: claims_computed.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weightdecay.claims import model as ledger
from weightdecay.claims.model import Claim, Part, counts, joined, judged, reported
from weightdecay.statistics.estimates import (
    Estimate,
    every_seed,
    proportion_interval,
    rank_correlation_interval,
    ratio_interval,
)
from weightdecay.statistics.measures import diverged, select

from .claims_computed import (
    chosen_ridge,
    high_degrees,
    norm_of_ridge,
    overfits,
    penalty_is_constraint,
    pulled_back,
    robust_lines,
    stable_minimiser,
)
from .runs import (
    DECAY,
    LOSSES,
    Runs,
    distance_to_truth,
    first_failing,
    histograms,
    limit,
    ratio_of,
    ratio_of_limits,
    roughness,
    sensitivity,
    unreached,
)

EXPERIMENT = "curve_fitting"
LARGE = 100.0  # of C8
CONSTANT = 1e-3  # sensitivity below which a fit is one: that of the true line is 1.5
OF_DIVERGENCE = {"C4": ("Limit",), "C12": ("Limit", "Absolute", "Smooth")}  # assert where training diverges
LATE = 20  # steps, the first interval at which S3's runs were once logged: the first jump is over by then


def judge(results: Any, criteria: Mapping[str, Any]) -> list[Claim]:
    """The fourteen claims, in order."""
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
        "C9": sensitive(runs, tables["polynomials"], threshold["C9"]),
        "C10": overfits(tables["polynomials"], threshold["C10"]),
        "C11": pulled_back(tables["balls"], threshold["C11"]),
        "C12": unstable_training(runs, threshold["C12"]),
        "C13": spreads(runs, threshold["C13"]),
        "C14": stable_minimiser(tables["nudges"], threshold["C14"]),
    }
    return [ledger.claim(id, EXPERIMENT, criteria, *found) for id, found in parts.items()]


def smoother(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C1: roughness and test loss of S3's fit, λ = .01 over λ = 0."""
    without, decayed = runs.demo(0.0), runs.demo(DECAY)

    def ratio(metric: str) -> Estimate:
        return ratio_interval(np.log(decayed[metric] / without[metric]))

    return [
        judged("Rough", "variation of the slope", ratio_of(roughness(decayed), roughness(without)), most=t["rough"]),
        judged("Test", "test loss", ratio("test_loss"), most=t["test"], strict=True),
        reported(
            "Distance", "distance to the true line", ratio_of(distance_to_truth(decayed), distance_to_truth(without))
        ),
        reported("Train", "training loss, no decay", every_seed(without["train_loss"], (0, np.inf))),
        reported("TrainDecay", "training loss, λ", every_seed(decayed["train_loss"], (0, np.inf))),
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
        judged(
            "Small",
            "norm with over without, S2's program",
            ratio_of(small[1e-4], small[0.0]),
            most=t["ratio"],
            strict=True,
        ),
        judged(
            "Demo",
            "norm with over without, S3's program",
            ratio_of(demo[DECAY], demo[0.0]),
            most=t["ratio"],
            strict=True,
        ),
    ], ""


def bounded_gradients(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C4: the largest gradient in S3's program, and the smallest learning rate that diverges.

    The gradient logged after step 1 is that at the initial weights, which runs that are compared share.
    """
    demos = {λ: runs.demo(λ) for λ in (0.0, DECAY)}
    largest, late = (
        {λ: runs.largest(demo, "gradient_norm", first) for λ, demo in demos.items()} for first in (2, LATE)
    )
    last = {λ: demo["gradient_norm"] for λ, demo in demos.items()}
    limits = {λ: diverges_from(runs, λ) for λ in (0.0, DECAY)}
    tried = runs.runs[runs.runs["sweep"] == "learning_rate"]
    return [
        judged(
            "Largest",
            "largest gradient, λ over no decay",
            ratio_of(largest[DECAY], largest[0.0]),
            most=t["largest"],
            strict=True,
        ),
        judged(
            "Limit",
            "diverging learning rate, λ over no decay",
            ratio_of_limits(limits[DECAY], limits[0.0]),
            t["limit"],
        ),
        reported("Rate", "smallest learning rate that diverges, no decay", limit(limits[0.0])),
        reported("Late", f"largest gradient from step {LATE} on, λ over no decay", ratio_of(late[DECAY], late[0.0])),
        reported("Final", "gradient at the end, λ over no decay", ratio_of(last[DECAY], last[0.0])),
    ], joined(
        counts(len(tried), {"at larger learning rates diverged": diverged(tried)}),
        unreached({"no decay": limits[0.0], "λ": limits[DECAY]}),
    )


def diverges_from(runs: Runs, weight_decay: float) -> pd.DataFrame:
    """`first_failing` of C4's grid of learning rates: the smallest that diverges, per seed."""
    tried = runs.runs[runs.runs["sweep"].isin(["learning_rate", "weight_decay"])]
    seeds = runs.runs.loc[runs.runs["sweep"] == "learning_rate", "seed"]
    chosen = select(tried[tried["seed"].isin(seeds)], weight_decay=weight_decay)
    return first_failing(chosen, chosen["diverged_at"].notna())


def robust_losses(runs: Runs, tables: Mapping[str, pd.DataFrame], t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C7: lines under three losses and how many minimisers there are; S3's network under the losses."""
    network = {loss: distance_to_truth(runs.fitted(loss, outlier=True)) for loss in LOSSES}
    clean = {loss: distance_to_truth(runs.fitted(loss, outlier=False)) for loss in LOSSES}
    return [
        *robust_lines(tables, t),
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
    ], "decided by algebra, so only reported: minimisers for a constant, and under L2"


def to_nothing(runs: Runs, table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C8: the norm as λ grows, of ridge and of S3's network."""
    parts, note = norm_of_ridge(table, t)
    large = runs.demo(LARGE)
    parts.append(
        judged(
            "Network",
            f"network: norm at λ = {LARGE:g} over start",
            every_seed(large["weight_norm"] / runs.started(large, "weight_norm")),
            most=t["vanishes"],
        )
    )
    if max(runs.weight_decays, default=0.0) > LARGE:
        beyond = runs.demo(runs.weight_decays[-1])
        what = f"network: share that diverges at λ = {runs.weight_decays[-1]:g}"
        parts.append(reported("Unstable", what, proportion_interval(diverged(beyond), len(beyond))))
    return parts, note


def sensitive(runs: Runs, table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C9: root mean square of the slope, of S3's fits and of polynomials, and the norm of the weights."""
    demos = {λ: runs.demo(λ) for λ in (0.0, DECAY, *runs.weight_decays)}
    demos = {λ: demo.assign(sensitivity=sensitivity(demo)) for λ, demo in demos.items()}
    steady = {λ: demo for λ, demo in demos.items() if demo["diverged_at"].isna().all()}
    path = pd.concat(steady.values()) if steady else demos[0.0].iloc[:0]
    highest = table[table["degree"] == table["degree"].max()]
    plain = table[table["weight_decay"] == 0]
    return [
        judged(
            "Network",
            "network: sensitivity, λ over no decay",
            ratio_of(demos[DECAY]["sensitivity"], demos[0.0]["sensitivity"]),
            most=t["calmer"],
        ),
        judged(
            "Polynomial",
            "polynomial: sensitivity, ridge over none",
            ratio_of(
                chosen_ridge(table)["sensitivity"], select(highest, weight_decay=0.0).set_index("seed")["sensitivity"]
            ),
            most=t["calmer"],
        ),
        judged(
            "Together",
            "network: rank correlation with the norm over λ",
            rank_correlation_interval(path, "sensitivity", "weight_norm"),
            t["together"],
        ),
        judged(
            "PolynomialTogether",
            "polynomial: rank correlation with the norm over λ",
            rank_correlation_interval(highest, "sensitivity", "norm"),
            t["together"],
        ),
        reported(
            "Degrees",
            "least squares: rank correlation with the norm over degrees",
            rank_correlation_interval(plain, "sensitivity", "norm"),
        ),
    ], f"network: λ up to {path['weight_decay'].max():g}" if len(path) else ""


def unstable_training(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C12: with an outlier and without, under each loss: where training diverges, and how its loss rises."""
    tried = runs.runs[runs.runs["sweep"].isin(["outlier_rates", "losses"])]
    tried = select(tried[tried["seed"].isin(tried.loc[tried["sweep"] == "outlier_rates", "seed"])], weight_decay=0.0)
    by_loss = {loss: select(tried, loss=loss, dataset="line_outlier") for loss in LOSSES}
    limits = {loss: first_failing(own, own["diverged_at"].notna()) for loss, own in by_loss.items()}
    ends = {loss: first_failing(own, lost(own)) for loss, own in by_loss.items()}
    outlier = {loss: runs.rises(runs.fitted(loss, outlier=True)) for loss in LOSSES}
    without = runs.rises(runs.fitted("squared_error", outlier=False))
    square, clean = limits["squared_error"], diverges_from(runs, 0.0)
    clean = clean[clean.index.isin(square.index)]
    return [
        judged(
            "Limit",
            "diverging learning rate, L2: outlier over none",
            ratio_of_limits(square, clean),
            most=t["limit"],
        ),
        judged(
            "Absolute",
            "diverging learning rate, outlier: L1 over L2",
            ratio_of_limits(limits["absolute_error"], square),
            t["others"],
        ),
        judged(
            "Smooth",
            "diverging learning rate, outlier: smooth L1 over L2",
            ratio_of_limits(limits["smooth_l1"], square),
            t["others"],
        ),
        judged(
            "Rises",
            "rises of the loss, L2: outlier less none",
            every_seed(outlier["squared_error"] - without),
            t["rises"],
            strict=True,
        ),
        judged(
            "RisesAbsolute",
            "rises of the loss, outlier: L2 less L1",
            every_seed(outlier["squared_error"] - outlier["absolute_error"]),
            t["rises"],
            strict=True,
        ),
        reported("Rate", "smallest learning rate that diverges, L2, outlier", limit(square)),
        *(
            reported(
                f"Lost{name}",
                f"smallest learning rate that diverges or ends as a constant, {LOSSES[loss]}",
                limit(ends[loss]),
            )
            for name, loss in (("", "squared_error"), ("Absolute", "absolute_error"), ("Smooth", "smooth_l1"))
        ),
    ], joined(
        counts(len(tried), {"with an outlier diverged": diverged(tried)}),
        unreached({LOSSES[loss]: found for loss, found in limits.items()} | {"L2, no outlier": clean}),
    )


def lost(chosen: pd.DataFrame) -> pd.Series:
    """Which runs diverged or end as a constant, their units dead: steady, but nothing more is learnt."""
    return chosen["diverged_at"].notna() | (sensitivity(chosen) < CONSTANT)


def spreads(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """C13: spread and extremes of layer 2's weights at the end."""
    ends = {λ: runs.demo(λ) for λ in (0.0, DECAY)}
    wide, extreme = "layer2_weight_std", "layer2_weight_largest"

    def grown(metric: str) -> Estimate:
        return ratio_of(ends[0.0][metric], runs.started(ends[0.0], metric))

    def tamed(metric: str) -> Estimate:
        return ratio_of(ends[DECAY][metric], ends[0.0][metric])

    return [
        judged("Wide", "no decay: standard deviation over start", grown(wide), t["wide"]),
        judged("Extreme", "no decay: largest weight over start", grown(extreme), t["extreme"]),
        judged("Closer", "standard deviation, λ over no decay", tamed(wide), most=t["closer"]),
        judged("Tamed", "largest weight, λ over no decay", tamed(extreme), most=t["tamed"], strict=True),
    ], ""


if __name__ == "__main__":
    ledger.main(judge, Path(__file__).with_name("config.yaml"), OF_DIVERGENCE)
