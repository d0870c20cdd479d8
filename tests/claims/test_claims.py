"""Verdicts: the logic table, the twelve claims on results whose truth is known, and claims.json."""

import itertools
import json
import math
from dataclasses import replace
from functools import cache

import pandas as pd
import pytest

from tests.programs import finding, load_program
from weightdecay.claims.judging import claim as claim_of
from weightdecay.claims.judging import judge_interval, verdicts
from weightdecay.claims.judging import judged as judged_part
from weightdecay.claims.model import combine, read, title_of, write
from weightdecay.config import Criterion
from weightdecay.errors import ConfigError, ResultError
from weightdecay.results import Results
from weightdecay.statistics.estimates import UNKNOWN, Estimate, mean_interval


@pytest.mark.parametrize(
    ("low", "high", "n", "verdict"),
    [
        (0.91, 0.95, 3, "reproduced"),
        (0.90, 0.95, 3, "reproduced"),  # an end on the threshold satisfies it
        (0.85, 0.95, 3, "undecided"),
        (0.80, 0.89, 3, "refuted"),
        (0.91, 0.95, 2, "undecided"),  # too few seeds, whatever they say
        (math.nan, math.nan, 3, "undecided"),
        (0.95, math.inf, 3, "reproduced"),  # a lower bound is enough for "at least"
    ],
)
def test_verdict_of_at_least_90_percent(low, high, n, verdict):
    assert judge_interval(Estimate(0.9, low, high, n), least=0.9) == verdict


def test_verdict_of_a_range_is_two_sided():
    assert judge_interval(Estimate(-1, -1.1, -0.9, 5), -1.25, -0.75) == "reproduced"
    assert judge_interval(Estimate(-1, -1.5, -0.9, 5), -1.25, -0.75) == "undecided"
    assert judge_interval(Estimate(-2, -2.1, -1.9, 5), -1.25, -0.75) == "refuted"
    assert judge_interval(UNKNOWN, -1.25, -0.75) == "undecided"


@pytest.mark.parametrize(
    ("experiment", "title"),
    [
        ("binary_addition", "Binary addition"),
        ("adam_vs_adamw", "Adam vs AdamW"),
        ("batchnorm_periodicity", "BatchNorm periodicity"),
    ],
)
def test_titles_are_written_as_people_write_them(experiment, title):
    assert title_of(experiment) == title


COMBINED = {
    ("reproduced",): "reproduced",
    ("refuted",): "refuted",
    ("undecided",): "undecided",
    ("mixed",): "mixed",
    ("reproduced", "refuted"): "mixed",
    ("reproduced", "undecided"): "undecided",
    ("refuted", "undecided"): "refuted",
    ("reproduced", "refuted", "undecided"): "mixed",
    ("mixed", "undecided"): "mixed",
}


@pytest.mark.parametrize(("parts", "verdict"), COMBINED.items())
def test_verdict_of_several_parts(parts, verdict):
    for order in itertools.permutations(parts * 2):
        assert combine(order) == verdict


@pytest.fixture(scope="module")
def judged(results_of):
    """`judged(seeds=3, lambdas=(...), steps=((λ, steps), ...), **world)`: the claims by id."""

    @cache
    def judging(lambdas=None, steps=None, **options):
        results = results_of(lambdas=lambdas, steps=dict(steps or ()), **options)
        return {claim.id: claim for claim in finding("binary_addition").judge(results, "laptop")}

    return judging


def test_a_world_that_satisfies_all(judged):
    claims = judged()
    assert {id: claim.verdict for id, claim in claims.items()} == {f"A{i}": "reproduced" for i in range(1, 13)}
    assert claims["A10"].measured == pytest.approx(-1, abs=0.1)
    assert claims["A4"].n == 3


VIOLATED = [
    ("A1", {"small_test": 0.5}, "mixed"),  # fits, but generalises too
    ("A1", {"small_fits": 0.5, "small_test": 0.5}, "refuted"),
    ("A2", {"plateau": 0.7}, "mixed"),  # λ = .1 is no good, another is
    ("A3", {"large": 0.6}, "refuted"),
    ("A4", {"delay": 300.0}, "refuted"),
    ("A5", {"norm_floor": 1.0}, "refuted"),
    ("A6", {"growth": 0.3}, "mixed"),
    ("A7", {"held_test": 0.96}, "refuted"),
    ("A7", {"held_test": 0.88, "spread": 0.001}, "mixed"),
    ("A8", {"clean_dip": 0.2}, "mixed"),  # in validation accuracy; test accuracy falls anyway
    ("A9", {"noisy_dip": 0.0, "spread": 0.0}, "refuted"),
    ("A10", {"exponents": (-1.0, -0.5)}, "mixed"),
    ("A10", {"exponents": (-0.5, -0.5)}, "refuted"),
    ("A11", {"relapse": 0.9}, "refuted"),
]


@pytest.mark.parametrize(("id", "world", "verdict"), VIOLATED, ids=[f"{row[0]}-{row[1]}" for row in VIOLATED])
def test_worlds_that_violate_one(judged, id, world, verdict):
    assert judged(**world)[id].verdict == verdict


def test_a_judged_part_keeps_what_it_was_held_against(judged):
    claims = judged()
    ratio, exponent = claims["A4"].parts[0], claims["A10"].parts[0]
    assert (ratio.least, ratio.most) == (2.0, math.inf) and (exponent.least, exponent.most) == (-1.25, -0.75)
    beside = next(part for part in claims["A4"].parts if part.verdict is None)
    assert (beside.least, beside.most) == (-math.inf, math.inf)


def test_two_seeds_decide_nothing(judged):
    assert {claim.verdict for claim in judged(seeds=2).values()} == {"undecided"}


def test_what_was_not_run_is_undecided_and_says_so(judged):
    claims = judged(lambdas=(0.0, 0.1))
    for id in ("A1", "A3"):
        assert (claims[id].verdict, claims[id].n, claims[id].note) == ("undecided", 0, "not run at this scale")


def test_a_diverged_run_counts_as_failed(judged):
    claim = judged(diverged=(0.1,))["A2"]
    assert claim.n == 3 and claim.measured == pytest.approx(0.98 * 2 / 3, abs=0.02)
    assert claim.verdict == "undecided"


PREDICT_FAILURE = [
    ("A1", ["TestZeroPointZeroZeroThree"], 0.003),
    ("A3", ["Train", "Test"], 1.0),
    ("A6", ["Test"], 0.0),
    ("A7", ["Difference", "Held"], 0.1),
]


@pytest.mark.parametrize(("id", "parts", "weight_decay"), PREDICT_FAILURE, ids=[row[0] for row in PREDICT_FAILURE])
def test_a_diverged_run_is_no_evidence_for_a_claim_of_failure(judged, id, parts, weight_decay):
    claim = judged(diverged=(weight_decay,), seeds=4)[id]
    assert [claim.part(name).n for name in parts] == [0] * len(parts)
    assert claim.verdict != "reproduced" and "1 of 4 runs" in claim.note and "failing is not judged" in claim.note


def test_every_claim_counts_the_diverged_runs_among_those_it_used(judged, world):
    everywhere = (0.0, 0.003, 0.01, 0.03, 0.1, 0.3, 0.45, 0.6, 1.0)
    for id, claim in judged(diverged=everywhere).items():
        assert ("diverged" in claim.note) == (id != "A9")  # none of the runs with noisy labels diverges here


def test_a_small_weight_decay_is_judged_only_in_runs_as_long_as_a_good_one_needs(judged):
    short = judged(steps=((0.003, 4680),))["A1"]
    assert short.verdict == "undecided" and math.isnan(short.measured)
    assert short.note == "3 of 3 runs not known to last as long as λ = 0.1 takes to test accuracy 0.5"
    assert judged(steps=((0.003, 9360),))["A1"].verdict == "reproduced"  # λ = .1 needs about 7,000
    assert judged(delay=1e6)["A1"].verdict == "undecided"  # λ = .1 never does
    assert judged(lambdas=(0.003, 1.0))["A1"].verdict == "undecided"


def test_the_sweep_along_weight_decay_is_that_sweep_alone(results_of):
    swept = load_program("binary_addition", "protocol").lambda_sweep(results_of().runs)
    assert set(swept["sweep"]) == {"weight_decay"} and 0.2 not in set(swept["weight_decay"])


def test_different_run_lengths_are_said(judged):
    for steps, said in ((None, False), (((0.003, 9360),), True)):
        claims = judged(steps=steps)
        assert [("run lengths differ between λ" in claims[id].note) for id in ("A2", "A8")] == [said, said]


def test_no_seed_is_left_out_of_the_exponents(judged):
    claim = judged(diverged=(0.03, 0.1, 0.2, 0.3), seeds=4)["A10"]  # one seed of four has no delays
    assert claim.n == 0 and math.isnan(claim.measured) and claim.verdict == "undecided"
    assert "in 1 of 4 seeds too few runs generalised to fit both exponents" in claim.note


def test_runs_that_never_generalise_are_a_lower_bound_and_counted(judged):
    claim = judged(delay=1e6)["A4"]
    assert claim.verdict == "reproduced" and claim.high == math.inf
    assert claim.note == "3 of 3 runs never generalised"


def test_training_accuracy_counts_from_fitting_on_and_a_run_that_is_lost_counts_as_none(judged):
    claim = judged(relapse=0.995)["A11"]
    assert claim.verdict == "reproduced" and claim.measured == pytest.approx(0.995)
    assert claim.part("Perfect").measured == pytest.approx(1 - 2000 / 25000, abs=0.02)
    for options in ({"diverged": (0.1,)}, {"steps": ((0.1, 1500),)}):  # before any could fit
        assert judged(**options)["A11"].measured == pytest.approx(2 / 3 if "diverged" in options else 0)


def test_claims_json_returns_what_was_written(judged, tmp_path):
    claims = list(judged(delay=1e6, lambdas=(0.0, 0.1)).values())  # with an open end and unknown ones
    write(tmp_path / "claims.json", claims)
    assert repr(read(tmp_path / "claims.json")) == repr(claims)  # NaN is not equal to itself
    rows = json.loads((tmp_path / "claims.json").read_text())
    words = "id", "source", "kind", "fixed", "experiment", "statement", "criterion"
    assert list(rows[0])[:12] == [*words, "measured", "low", "high", "n", "verdict"]


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"id": "A1"}]'])
def test_what_is_no_claims_json_is_refused_in_one_sentence(tmp_path, text):
    path = tmp_path / "claims.json"
    path.write_text(text)
    with pytest.raises(ResultError, match=r"claims\.json is damaged"):
        read(path)


def test_missing_claims_are_named(tmp_path):
    with pytest.raises(ResultError, match="missing"):
        read(tmp_path / "claims.json")


def results_with(values):
    """Results of one run a seed, with `value`; those that are None diverged."""
    rows = [
        {"run": str(seed), "seed": seed, "diverged_at": math.nan if value is not None else 1.0, "value": value}
        for seed, value in enumerate(values)
    ]
    runs = pd.DataFrame(rows).astype({"value": float})
    return Results(runs, pd.DataFrame({"run": runs["run"], "value": runs["value"]}), {})


def accuracy_at_least_half(results, criteria):
    """A finding that counts a diverged network as accuracy 0, and asks what share of networks did."""
    runs = results.runs
    accuracy = mean_interval(runs["value"].fillna(0), (0, 1))
    share = Estimate(0.9, 0.8, 1.0, len(runs))
    parts = [judged_part("Good", "accuracy", accuracy, least=0.5), judged_part("Bad", "accuracy", accuracy, most=0.5)]
    return [claim_of("Z1", "none", criteria, [*parts, judged_part("Lost", "share that diverges", share, least=0.5)])]


CRITERIA = {"Z1": Criterion(source="S1", kind="stated", fixed="before", statement="It decays.", criterion="Enough.")}
DIVERGING = [
    ([0.9, 0.9, 0.91, 0.9], ("reproduced", "refuted")),
    ([0.1, 0.1, 0.11, None], ("refuted", "reproduced")),  # three that did not diverge say so too
    ([0.1, 0.1, None, None], ("undecided", "undecided")),  # and two are too few
    ([0.9, 0.9, 0.91, None, None, None, None, None, None, None, None, None, None], ("undecided", "undecided")),
    ([None, None, None, None], ("undecided", "undecided")),
]


@pytest.mark.parametrize(("values", "expected"), DIVERGING, ids=[len(values) for values, _ in DIVERGING])
def test_what_a_diverged_run_counts_as_decides_nothing(values, expected):
    (found,) = verdicts(accuracy_at_least_half, results_with(values), CRITERIA, {"Z1": ["Lost"]})
    assert tuple(found.part(name).verdict for name in ("Good", "Bad")) == expected
    assert found.part("Lost").verdict == "reproduced"  # divergence itself, as it was seen
    assert found.verdict == combine(part.verdict for part in found.parts)
    lost = values.count(None)
    assert (f"{lost} of {len(values)} runs diverged" in found.note) == (expected[0] == "undecided")


def test_a_part_that_asks_for_something_else_without_the_diverged_runs_is_not_decided_by_them():
    def largest(results, criteria):
        seeds = len(results.runs)
        return [claim_of("Z1", "none", criteria, [judged_part("Most", f"of {seeds}", Estimate(1, 1, 1, 5), least=0.5)])]

    (found,) = verdicts(largest, results_with([1.0, 1.0, 1.0, None]), CRITERIA)
    assert found.part("Most").verdict == "undecided" and math.isnan(found.measured)
    assert found.note == "1 of 4 runs diverged; without them Most has another verdict or none, so it is undecided"


@pytest.mark.parametrize(
    ("own", "names", "note"),
    [
        ("", ["Limit"], "3 of 6 runs diverged; without them Limit has another verdict, so it is undecided"),
        (
            "3 of 6 runs diverged; small sizes left out",
            ["Limit", "Rise"],
            "small sizes left out; 3 of 6 runs diverged; "
            "without them Limit and Rise have other verdicts, so they are undecided",
        ),
    ],
)
def test_the_note_says_once_how_many_runs_diverged_and_what_they_alone_decide(own, names, note):
    def bad(results, criteria):
        mean = results.runs["value"].fillna(0).mean()
        found = Estimate(mean, mean, mean, len(results.runs))
        return [claim_of("Z1", "none", criteria, [judged_part(name, "", found, most=0.7) for name in names], own)]

    (found,) = verdicts(bad, results_with([0.9, 0.9, 0.9, None, None, None]), CRITERIA)
    assert (found.note, found.verdict) == (note, "undecided")


@pytest.mark.parametrize(
    ("low", "high", "bounds", "verdict"),
    [
        (1.5, math.inf, {"least": 1.0}, "reproduced"),  # the open end is on no bound
        (-math.inf, 0.5, {"most": 1.0}, "reproduced"),
        (0.2, math.inf, {"least": 1.0}, "undecided"),
        (1.0, math.inf, {"least": 1.0}, "undecided"),
        (0.5, 1.0, {"most": 1.0}, "undecided"),
        (1.1, math.inf, {"most": 1.0}, "refuted"),
    ],
)
def test_a_strict_criterion_is_left_open_by_an_end_on_its_bound_alone(low, high, bounds, verdict):
    assert judge_interval(Estimate(1.0, low, high, 3), **bounds, strict=True) == verdict


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["Verdict"], r"the part Verdict of claim D21 .*: \\DtwentyoneVerdict belongs to the claim itself"),
        (["Low"], r"\\DtwentyoneLow belongs to the claim itself"),
        (["N"], r"\\DtwentyoneN belongs"),
        (["Measured"], r"\\DtwentyoneMeasured belongs"),
        (["Ratio", "RatioHigh"], r"the part RatioHigh .*: \\DtwentyoneRatioHigh belongs to its part Ratio"),
        (["Ratio", "Ratio"], r"\\DtwentyoneRatio belongs to its part Ratio"),
        (["Width 2"], r"the part 'Width 2' of claim D21 must have a name of letters only"),
    ],
)
def test_parts_that_would_share_a_macro_are_refused_when_judged_and_when_read(tmp_path, names, said):
    parts = [judged_part(name, "loss", Estimate(1, 0, 2, 3), most=3.0) for name in names]
    criteria = {"D21": CRITERIA["Z1"]}
    with pytest.raises(ConfigError, match=f"^moons: .*{said}"):
        claim_of("D21", "moons", criteria, parts)
    made = claim_of("D21", "moons", criteria, [judged_part("Good", "loss", Estimate(1, 0, 2, 3), most=3.0)])
    write(tmp_path / "claims.json", [replace(made, parts=tuple(parts), scale="laptop")])
    with pytest.raises(ResultError, match=r"claims\.json is damaged or not"):
        read(tmp_path / "claims.json")
