"""Claims A1-A12 on binary addition. Those on accuracy against λ are here, the others in generalisation.py.

Each quantity is one number per seed, with a 95 % interval over seeds (weightdecay.statistics.estimates). A diverged run
counts as accuracy 0. Where a claim predicts failure, this would be no evidence, so the part is then unknown. An event
that never happens has a censored time. No such run is dropped, and the claim's note counts them.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weightdecay.claims.judging import NOT_RUN, counts, joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.claims.names import in_letters
from weightdecay.statistics.estimates import DIFFERENCE, UNKNOWN, Estimate, every_seed, leave_one_out, mean_interval
from weightdecay.statistics.measures import TRAIN, dip, diverged

from . import (
    finding,
    generalisation,  # noqa: F401 (registers its claims)
)
from .protocol import NO_EVIDENCE, Measured, noisy_sweeps


@finding.claim("A1")
def too_small(
    m: Measured,
    *,
    weight_decay: float,
    test_accuracy: float,
    train_accuracy: float,
    reference: float,
    generalised: float,
) -> tuple[list[Part], str]:
    """Every small λ fits the training set and fails the test, in runs as long as a good λ takes to pass it."""
    small = [λ for λ in map(float, m.final["test_accuracy"].columns) if 0 < λ <= weight_decay * (1 + 1e-9)]
    runs = m.sweep[m.sweep["weight_decay"].isin(small)]
    short, words = m.too_short(runs, reference, generalised)
    parts = []
    for λ in small or [weight_decay]:
        name = in_letters(λ)
        is_short = short[runs["weight_decay"] == λ].any()
        test = UNKNOWN if is_short else m.failing("test_accuracy", λ)
        parts += [
            judged(f"Test{name}", f"test accuracy at λ = {λ:g}", test, most=test_accuracy),
            judged(f"Train{name}", f"train accuracy at λ = {λ:g}", m.accuracy(TRAIN, λ), least=train_accuracy),
            evaluated(m, λ, name),
        ]
    return parts, counts(len(runs), {NO_EVIDENCE: diverged(runs), words: short.sum()})


@finding.claim("A2")
def plateau(
    m: Measured, *, weight_decay: float, test_accuracy: float, regret: float, factor: float
) -> tuple[list[Part], str]:
    """λ = .1 passes the test, is near the best λ, and other λ do so too."""
    λ, test = weight_decay, m.final["test_accuracy"]
    complete = test.dropna()
    far = [other for other in map(float, test.columns) if other > 0 and abs(np.log(other / λ)) >= np.log(factor)]

    def shortfall(allowed: list[float]) -> Estimate:
        """Return how far the best of the `allowed` λ is below the best of all λ, each chosen on the other seeds."""
        if not allowed or λ not in test:
            return UNKNOWN
        choice = leave_one_out(complete, lambda others, own: own[others.idxmax()] - own[others[allowed].idxmax()])
        return mean_interval(choice, DIFFERENCE)

    best_far = f"best λ's test accuracy less that of the best λ a factor ≥ {factor:g} from {λ:g}"
    return [
        judged("Test", f"test accuracy at λ = {λ:g}", m.accuracy("test_accuracy", λ), least=test_accuracy),
        judged("Regret", f"best λ's test accuracy less that of λ = {λ:g}", shortfall([λ]), most=regret),
        judged("Second", best_far, shortfall(far), most=regret),
    ], joined(
        f"best λ on average: {test.mean().idxmax():g}" if λ in test and test.notna().any(axis=None) else NOT_RUN,
        lengths(m.sweep),
        counts(len(m.sweep), {"diverged": diverged(m.sweep)}),
    )


@finding.claim("A3")
def too_large(
    m: Measured, *, weight_decay: float, train_accuracy: float, test_accuracy: float
) -> tuple[list[Part], str]:
    """λ = 1 fails both the training set and the test."""
    λ, runs = weight_decay, m.at(weight_decay)
    return [
        judged("Train", f"train accuracy at λ = {λ:g}", m.failing(TRAIN, λ), most=train_accuracy),
        judged("Test", f"test accuracy at λ = {λ:g}", m.failing("test_accuracy", λ), most=test_accuracy),
        evaluated(m, λ),
    ], counts(len(runs), {NO_EVIDENCE: diverged(runs)})


@finding.claim("A8")
def no_dip(m: Measured, *, interpolated: float, dip: float) -> tuple[list[Part], str]:
    """With clean labels accuracy has no dip along λ."""
    depths = {kind: depth_of_dip(m.final, f"{kind}_accuracy", interpolated) for kind in ("test", "validation")}
    return [
        judged(f"{kind.title()}Dip", f"dip in {kind} accuracy, clean labels", every_seed(depth, DIFFERENCE), most=dip)
        for kind, depth in depths.items()
    ], joined(undefined(*depths.values()), lengths(m.sweep), counts(len(m.sweep), {"diverged": diverged(m.sweep)}))


@finding.claim("A9")
def dip_with_noise(m: Measured, *, interpolated: float, dip: float) -> tuple[list[Part], str]:
    """With noisy labels validation accuracy dips at every level of noise; test accuracy is reported beside it."""
    sweeps, parts, depths = noisy_sweeps(m.runs), [], []
    for noise, runs in sweeps.items():
        final = m.final_of(runs)
        for kind in ("validation", "test"):
            depth = depth_of_dip(final, f"{kind}_accuracy", interpolated)
            depths.append(depth)
            name, words = f"{kind.title()}Dip{in_letters(noise)}", f"dip in {kind} accuracy, label noise {noise:g}"
            estimate = every_seed(depth, DIFFERENCE)
            is_judged = kind == "validation"
            parts.append(judged(name, words, estimate, least=dip) if is_judged else reported(name, words, estimate))
    if not parts:
        return [judged("ValidationDip", "dip in validation accuracy, noisy labels", UNKNOWN)], NOT_RUN
    runs = pd.concat(sweeps.values())
    return parts, joined(undefined(*depths), counts(len(runs), {"diverged": diverged(runs)}))


def lengths(sweep: pd.DataFrame) -> str:
    """Say for a note that runs at some λ are longer than at others."""
    return "run lengths differ between λ" if sweep.groupby("weight_decay")["steps"].max().nunique() > 1 else ""


def evaluated(m: Measured, weight_decay: float, name: str = "") -> Part:
    """Return a part with the evaluated training accuracy, to report beside that in train mode, which is judged."""
    quantity = f"train accuracy, evaluated, at λ = {weight_decay:g}"
    return reported(f"Evaluated{name}", quantity, m.accuracy("train_accuracy", weight_decay))


def depth_of_dip(final: Mapping[str, pd.DataFrame], metric: str, interpolated: float) -> pd.Series:
    """Return per seed the `dip` of an accuracy, for the seeds that were run at every λ."""
    return dip(pd.concat({"train": final[TRAIN], "test": final[metric]}, axis=1).dropna(), interpolated)


def undefined(*per_seed: pd.Series) -> str:
    """Say for a note why a dip is unknown."""
    if all(depth.empty for depth in per_seed):
        return NOT_RUN
    missing = any(depth.isna().any() for depth in per_seed)
    return "no λ of the grid interpolates, or the grid ends at the threshold" if missing else ""
