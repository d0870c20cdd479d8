"""Holm's correction over a ledger keeps its error, and takes nothing from what is beyond doubt."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from weightdecay.claims.judging import claim, judged, reported
from weightdecay.claims.model import Claim, Part
from weightdecay.claims.multiplicity import corrected, wrong_side
from weightdecay.config import Criterion
from weightdecay.statistics.estimates import UNKNOWN, Estimate, geometric_interval, mean_interval

WORDS = Criterion(source="S1", kind="stated", fixed="before", statement="It decays.", criterion="Enough.")
SEEDS = [1.3, 1.5, 1.4, 1.8]


def claim_of(id: str, *parts: Part) -> Claim:
    return replace(claim(id, "moons", {id: WORDS}, parts), scale="laptop")


@pytest.mark.parametrize("bound", [0.5, 1.0, 2.2, 3.0])
@pytest.mark.parametrize(("interval", "scale"), [(mean_interval, np.asarray), (geometric_interval, np.log)])
def test_the_p_value_is_that_of_students_t_over_the_seeds(bound, interval, scale):
    part = judged("Part", "a quantity", interval(SEEDS), least=bound)
    side = "greater" if part.verdict == "reproduced" else "less"
    expected = stats.ttest_1samp(scale(SEEDS), scale(bound), alternative=side).pvalue
    assert part.verdict != "undecided" and wrong_side(part) == pytest.approx(float(expected), rel=1e-6)


def test_of_two_bounds_the_nearer_one_counts():
    estimate = mean_interval([0.9, 1.0, 1.05])
    near, far = (judged("Part", "a quantity", estimate, least=least, most=9.0) for least in (0.7, -5.0))
    assert near.verdict == far.verdict == "reproduced"
    assert wrong_side(near) == wrong_side(replace(near, most=math.inf)) > wrong_side(far)
    above = judged("Part", "a quantity", estimate, least=0.1, most=0.5)
    assert above.verdict == "refuted" and wrong_side(above) == wrong_side(replace(above, least=-math.inf))


@pytest.mark.parametrize(
    ("estimate", "expected"),
    [
        (Estimate(1.5, 0.9, 2.1, 4), 1.0),  # undecided
        (UNKNOWN, 1.0),
        (Estimate(1.5, 1.5, 1.5, 4), 0.0),  # the seeds agree exactly
        (Estimate(1.0, 1.0, 1.0, 4), 0.5),  # on the bound, which satisfies it
    ],
)
def test_what_has_no_t(estimate, expected):
    assert wrong_side(judged("Part", "a quantity", estimate, least=1.0)) == expected


def test_an_open_interval_is_tested_on_its_known_side():
    known, closed = Estimate(3.0, 2.0, math.inf, 5), Estimate(3.0, 2.0, 4.5, 5)
    p = [wrong_side(judged("Part", "a quantity", each, least=1.5)) for each in (known, closed)]
    assert p[0] == pytest.approx(p[1]) and 0 < p[0] < 0.025


def test_the_chance_of_any_wrong_verdict_is_what_it_says():
    """Thirty quantities, all on their bounds, so that every refuted one is wrong. Uncorrected, half the ledgers err."""
    rng = np.random.default_rng(0)
    wrong = {"judged": 0, "corrected": 0}
    for _ in range(1000):
        parts = [judged("Part", "a quantity", mean_interval(rng.normal(size=5)), least=0.0) for _ in range(30)]
        ledger = [claim_of(f"A{number}", part) for number, part in enumerate(parts, 1)]
        for name, claims in (("judged", ledger), ("corrected", corrected(ledger))):
            wrong[name] += any(one.verdict == "refuted" for one in claims)
    assert wrong["judged"] > 400 and wrong["corrected"] <= 40


def test_certain_verdicts_stay_and_none_is_made():
    sure = judged("Sure", "a quantity", Estimate(5.0, 4.9, 5.1, 20), least=1.0)
    close = judged("Close", "a quantity", Estimate(1.5, 1.01, 1.99, 4), least=1.0)
    violated = judged("Violated", "a quantity", Estimate(0.1, 0.0, 0.2, 20), least=1.0)
    told = reported("Told", "a quantity", Estimate(1.5, 1.0, 2.0, 4))
    before = [claim_of("A1", sure, told, close), claim_of("A2", sure, violated), claim_of("A3", close)]
    after = corrected(before)
    assert [one.verdict for one in before] == ["reproduced", "mixed", "reproduced"]
    assert [one.verdict for one in after] == ["undecided", "mixed", "undecided"]
    assert [part.verdict for part in after[0].parts] == ["reproduced", None, "undecided"]
    assert [replace(part, verdict=None) for part in after[0].parts] == [
        replace(part, verdict=None) for part in before[0].parts
    ]
