"""Claims A13–A15: is each of S1's published points what a single run gives at its λ? Claim A16: why accuracy fails."""

from collections.abc import Callable

import numpy as np

from weightdecay.claims.judging import counts, joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.claims.names import in_letters
from weightdecay.statistics.estimates import UNKNOWN, counted, mean_interval
from weightdecay.statistics.measures import between, diverged
from weightdecay.statistics.predictions import lies_within

from . import finding
from .points import CURVES, Measured


def judge_of(kind: str) -> Callable[..., tuple[list[Part], str]]:
    """Return the judge of one of S1's curves."""

    def points_met(
        m: Measured, *, met: int, long: int, low: float, high: float, steps: float, reading_error: float
    ) -> tuple[list[Part], str]:
        """Most published points of the curve lie where a single run would, those of small λ among them."""
        published, found = m.published(kind), m.predictions(kind)
        compared = {λ: lies_within(value, found[λ], reading_error) for λ, value in published.items() if λ in found}
        known = {λ: within for λ, within in compared.items() if within is not None}
        small = list(published.index[between(published.index.to_series(), low, high)])
        long_enough = all(λ in known and m.shortest(λ) >= steps for λ in small)
        every = counted(sum(known.values()), len(known)) if len(known) == len(published) else UNKNOWN
        of_small = counted(sum(known[λ] for λ in small), len(small)) if long_enough else UNKNOWN
        words = f"{CURVES[kind].title}, median and prediction interval of a run, at λ ="
        parts = [
            judged("Met", f"points met, of {len(published)}", every, least=met),
            judged("Long", f"points met, of the {len(small)} at {low:g} ≤ λ ≤ {high:g}", of_small, least=long),
            *(reported(f"At{in_letters(λ)}", f"{words} {λ:g}", run) for λ, run in found.items()),
        ]
        absent, missed = len(published) - len(known), [f"{λ:g}" for λ, within in known.items() if not within]
        return parts, joined(
            f"missed at λ = {', '.join(missed)}" if missed else "",
            f"{absent} of {len(published)} points have no runs to compare with" if absent else "",
            "" if long_enough else f"no runs of {steps:,.0f} steps at every λ from {low:g} to {high:g}",
            counts(len(m.runs), {"diverged": diverged(m.runs)}),
        )

    return points_met


for id, kind in {"A13": "test", "A14": "train", "A15": "loss"}.items():
    finding.claim(id)(judge_of(kind))


@finding.claim("A16")
def halvings(m: Measured, *, low: float, high: float, least: float, most: float) -> tuple[list[Part], str]:
    """Where accuracy breaks down, each bit of the sum that the network gives up halves its accuracy."""
    ends = m.breakdown(low, high)
    slopes = [
        np.polyfit(runs["lost_bits"], np.log2(runs["train_accuracy"]), 1)[0]
        for _, runs in ends.groupby("seed")
        if runs["lost_bits"].nunique() > 1
    ]
    words = "slope of log₂ accuracy in the number of given-up bits"
    return [
        judged("Slope", words, mean_interval(slopes), least=least, most=most),
        reported(
            "Lost",
            f"given-up bits, of 32, at {low:g} ≤ λ ≤ {high:g}",
            mean_interval(ends.groupby("seed")["lost_bits"].mean()),
        ),
    ], counts(len(m.runs), {"diverged": diverged(m.runs)})
