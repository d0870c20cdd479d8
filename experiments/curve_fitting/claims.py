"""Claims C1-C14 on curves, polynomials and loss functions.

Each quantity is one number per seed, with a 95 % interval over seeds. Runs that are compared share data and initial
weights. "At the end" means the last step, as in S3. A diverged run has no value, so quantities that need it are
unknown. Claims on trained networks are here, and those that need no training in claims_computed.py.
"""

import numpy as np
import pandas as pd

from weightdecay.claims.judging import counts, joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.statistics.estimates import (
    ACCURACY,
    Estimate,
    every_seed,
    proportion_interval,
    rank_correlation_interval,
    ratio_of,
)
from weightdecay.statistics.measures import diverged, select

from . import finding
from .claims_computed import chosen_ridge, norm_of_ridge, robust_lines
from .runs import (
    DECAY,
    LOSSES,
    Runs,
    distance_to_truth,
    first_failing,
    histograms,
    mean_limit,
    ratio_of_limits,
    roughness,
    sensitivity,
    unreached,
)

LARGE = 100.0  # the large λ of C8
CONSTANT = 1e-3  # a fit of lower sensitivity counts as a constant; the true line has 1.5
LATE = 20  # steps after which the first jump of training is over


@finding.claim("C1")
def smoother(runs: Runs, *, rough: float, test: float) -> tuple[list[Part], str]:
    """Compare roughness and test loss of S3's fit at λ = .01 and at λ = 0."""
    without, decayed = runs.demo(0.0), runs.demo(DECAY)

    return [
        judged("Rough", "variation of the slope", ratio_of(roughness(decayed), roughness(without)), most=rough),
        judged("Test", "test loss", ratio_of(decayed["test_loss"], without["test_loss"]), most=test, strict=True),
        reported(
            "Distance", "distance to the true line", ratio_of(distance_to_truth(decayed), distance_to_truth(without))
        ),
        reported("Train", "training loss, no decay", every_seed(without["train_loss"], (0, np.inf))),
        reported("TrainDecay", "training loss, λ", every_seed(decayed["train_loss"], (0, np.inf))),
        reported("TestWithout", "test loss, no decay", every_seed(without["test_loss"])),
        reported("TestDecay", "test loss, λ", every_seed(decayed["test_loss"])),
    ], counts(len(without) + len(decayed), {"diverged": diverged(without) + diverged(decayed)})


@finding.claim("C2")
def spread_contracts(runs: Runs, *, contracts: float, low: float, high: float, moved: float) -> tuple[list[Part], str]:
    """Measure the spread of layer 2's weights at the end over that at the start."""
    spread, shares, extreme = {}, {}, {}
    for weight_decay in (0.0, DECAY):
        chosen = runs.demo(weight_decay)
        first, last = histograms(runs, chosen)
        spread[weight_decay] = ratio_of(chosen["layer2_weight_std"], runs.started(chosen, "layer2_weight_std"))
        extreme[weight_decay] = ratio_of(chosen["layer2_weight_largest"], runs.started(chosen, "layer2_weight_largest"))
        shares[weight_decay] = every_seed(pd.Series(np.abs(last - first).sum(1) / 2), ACCURACY)
    return [
        judged("Decay", "standard deviation, λ", spread[DECAY], most=contracts),
        judged("Without", "standard deviation, no decay", spread[0.0], low, high),
        judged("Moved", "share of weights to be moved, no decay", shares[0.0], most=moved),
        reported("MovedDecay", "share of weights to be moved, λ", shares[DECAY]),
        reported("Largest", "largest weight, no decay", extreme[0.0]),
        reported("LargestDecay", "largest weight, λ", extreme[DECAY]),
    ], ""


@finding.claim("C3")
def smaller_norm(runs: Runs, *, ratio: float) -> tuple[list[Part], str]:
    """Compare the norm of all parameters with and without decay, in S2's program and in S3's."""
    small = {λ: runs.select("small", weight_decay=λ)["weight_norm"] for λ in (0.0, 1e-4)}
    demo = {λ: runs.demo(λ)["weight_norm"] for λ in (0.0, DECAY)}
    return [
        judged(
            "Small", "norm with over without, S2's program", ratio_of(small[1e-4], small[0.0]), most=ratio, strict=True
        ),
        judged(
            "Demo", "norm with over without, S3's program", ratio_of(demo[DECAY], demo[0.0]), most=ratio, strict=True
        ),
    ], ""


@finding.claim("C4", of_divergence=["Limit"])
def bounded_gradients(runs: Runs, *, largest: float, limit: float) -> tuple[list[Part], str]:
    """Compare the largest gradient in S3's program, and the smallest learning rate at which training diverges.

    The gradient that is logged after step 1 is that at the initial weights, which the compared runs share.
    """
    demos = {λ: runs.demo(λ) for λ in (0.0, DECAY)}
    highest, late = (
        {λ: runs.largest(demo, "gradient_norm", first) for λ, demo in demos.items()} for first in (2, LATE)
    )
    last = {λ: demo["gradient_norm"] for λ, demo in demos.items()}
    limits = {λ: diverges_from(runs, λ) for λ in (0.0, DECAY)}
    tried = runs.runs[runs.runs["sweep"] == "learning_rate"]
    return [
        judged(
            "Largest",
            "largest gradient, λ over no decay",
            ratio_of(highest[DECAY], highest[0.0]),
            most=largest,
            strict=True,
        ),
        judged("Limit", "diverging learning rate, λ over no decay", ratio_of_limits(limits[DECAY], limits[0.0]), limit),
        reported("Rate", "smallest learning rate that diverges, no decay", mean_limit(limits[0.0])),
        reported("Late", f"largest gradient from step {LATE} on, λ over no decay", ratio_of(late[DECAY], late[0.0])),
        reported("Final", "gradient at the end, λ over no decay", ratio_of(last[DECAY], last[0.0])),
    ], joined(
        counts(len(tried), {"at larger learning rates diverged": diverged(tried)}),
        unreached({"no decay": limits[0.0], "λ": limits[DECAY]}),
    )


def diverges_from(runs: Runs, weight_decay: float) -> pd.DataFrame:
    """Return per seed the smallest learning rate of C4's grid at which training diverges: `first_failing`."""
    tried = runs.runs[runs.runs["sweep"].isin(["learning_rate", "weight_decay"])]
    seeds = runs.runs.loc[runs.runs["sweep"] == "learning_rate", "seed"]
    chosen = select(tried[tried["seed"].isin(seeds)], weight_decay=weight_decay)
    return first_failing(chosen, chosen["diverged_at"].notna())


@finding.claim("C7")
def robust_losses(
    runs: Runs, *, shift: float, robust: float, sensitive: float, between: float, network: float, several: float
) -> tuple[list[Part], str]:
    """Compare lines under three losses, count their minimisers, and compare S3's network under these losses."""
    outlier = {loss: distance_to_truth(runs.fitted(loss, outlier=True)) for loss in LOSSES}
    clean = {loss: distance_to_truth(runs.fitted(loss, outlier=False)) for loss in LOSSES}
    return [
        *robust_lines(runs, shift, robust, sensitive, between, several),
        judged(
            "Network",
            "network, outlier: L1 over L2",
            ratio_of(outlier["absolute_error"], outlier["squared_error"]),
            most=network,
        ),
        reported(
            "NetworkSmooth",
            "network, outlier: smooth L1 over L2",
            ratio_of(outlier["smooth_l1"], outlier["squared_error"]),
        ),
        reported(
            "NetworkClean", "network, no outlier: L1 over L2", ratio_of(clean["absolute_error"], clean["squared_error"])
        ),
    ], "decided by algebra, so only reported: minimisers for a constant, and under L2"


@finding.claim("C8")
def to_nothing(runs: Runs, *, low: float, high: float, vanishes: float) -> tuple[list[Part], str]:
    """Measure how the norm changes as λ grows, for ridge regression and for S3's network."""
    parts, note = norm_of_ridge(runs, low, high, vanishes)
    large = runs.demo(LARGE)
    parts.append(
        judged(
            "Network",
            f"network: norm at λ = {LARGE:g} over start",
            every_seed(large["weight_norm"] / runs.started(large, "weight_norm")),
            most=vanishes,
        )
    )
    if max(runs.weight_decays, default=0.0) > LARGE:
        beyond = runs.demo(runs.weight_decays[-1])
        what = f"network: share that diverges at λ = {runs.weight_decays[-1]:g}"
        parts.append(reported("Unstable", what, proportion_interval(diverged(beyond), len(beyond))))
    return parts, note


@finding.claim("C9")
def sensitive(runs: Runs, *, calmer: float, together: float) -> tuple[list[Part], str]:
    """Compare the root mean square of the slope with the norm of the weights, for S3's fits and for polynomials."""
    table = runs.tables["polynomials"]
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
            most=calmer,
        ),
        judged(
            "Polynomial",
            "polynomial: sensitivity, ridge over none",
            ratio_of(
                chosen_ridge(table)["sensitivity"], select(highest, weight_decay=0.0).set_index("seed")["sensitivity"]
            ),
            most=calmer,
        ),
        judged(
            "Together",
            "network: rank correlation with the norm over λ",
            rank_correlation_interval(path, "sensitivity", "weight_norm"),
            together,
        ),
        judged(
            "PolynomialTogether",
            "polynomial: rank correlation with the norm over λ",
            rank_correlation_interval(highest, "sensitivity", "norm"),
            together,
        ),
        reported(
            "Degrees",
            "least squares: rank correlation with the norm over degrees",
            rank_correlation_interval(plain, "sensitivity", "norm"),
        ),
    ], f"network: λ up to {path['weight_decay'].max():g}" if len(path) else ""


@finding.claim("C12", of_divergence=["Limit", "Absolute", "Smooth"])
def unstable_training(runs: Runs, *, limit: float, others: float, rises: float) -> tuple[list[Part], str]:
    """Compare where training diverges and how its loss rises, with an outlier and without, under each loss."""
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
        judged("Limit", "diverging learning rate, L2: outlier over none", ratio_of_limits(square, clean), most=limit),
        judged(
            "Absolute",
            "diverging learning rate, outlier: L1 over L2",
            ratio_of_limits(limits["absolute_error"], square),
            others,
        ),
        judged(
            "Smooth",
            "diverging learning rate, outlier: smooth L1 over L2",
            ratio_of_limits(limits["smooth_l1"], square),
            others,
        ),
        judged(
            "Rises",
            "rises of the loss, L2: outlier less none",
            every_seed(outlier["squared_error"] - without),
            rises,
            strict=True,
        ),
        judged(
            "RisesAbsolute",
            "rises of the loss, outlier: L2 less L1",
            every_seed(outlier["squared_error"] - outlier["absolute_error"]),
            rises,
            strict=True,
        ),
        reported("Rate", "smallest learning rate that diverges, L2, outlier", mean_limit(square)),
        *(
            reported(
                f"Lost{name}",
                f"smallest learning rate that diverges or ends as a constant, {LOSSES[loss]}",
                mean_limit(ends[loss]),
            )
            for name, loss in (("", "squared_error"), ("Absolute", "absolute_error"), ("Smooth", "smooth_l1"))
        ),
    ], joined(
        counts(len(tried), {"with an outlier diverged": diverged(tried)}),
        unreached({LOSSES[loss]: found for loss, found in limits.items()} | {"L2, no outlier": clean}),
    )


def lost(chosen: pd.DataFrame) -> pd.Series:
    """Return which runs diverged, or ended as a constant because all units are dead: steady, but learning nothing."""
    return chosen["diverged_at"].notna() | (sensitivity(chosen) < CONSTANT)


@finding.claim("C13")
def spreads(runs: Runs, *, wide: float, extreme: float, closer: float, tamed: float) -> tuple[list[Part], str]:
    """Measure spread and extremes of layer 2's weights at the end."""
    ends = {λ: runs.demo(λ) for λ in (0.0, DECAY)}
    spread, largest = "layer2_weight_std", "layer2_weight_largest"

    def grown(metric: str) -> Estimate:
        return ratio_of(ends[0.0][metric], runs.started(ends[0.0], metric))

    def over(metric: str) -> Estimate:
        return ratio_of(ends[DECAY][metric], ends[0.0][metric])

    return [
        judged("Wide", "no decay: standard deviation over start", grown(spread), wide),
        judged("Extreme", "no decay: largest weight over start", grown(largest), extreme),
        judged("Closer", "standard deviation, λ over no decay", over(spread), most=closer),
        judged("Tamed", "largest weight, λ over no decay", over(largest), most=tamed, strict=True),
    ], ""
