"""Every finding where networks diverged or are missing: no traceback, and no verdict that they alone decide."""

import itertools
import json
import math
import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from tests.experiments.diverging import NAMES, config_of, diverged, judged, judgments, kept, shipped
from tests.experiments.drawing import drawn, promised
from tests.programs import finding
from weightdecay.claims.judging import LEAST_SEEDS
from weightdecay.claims.model import Claim, Part, read, write

pytestmark = pytest.mark.filterwarnings("error")

SEEN = {  # parts that say where training diverges: judged by what was seen, whatever diverged
    "curve_fitting": {("C4", "Limit"), ("C12", "Limit"), ("C12", "Absolute"), ("C12", "Smooth")}
}


COMPUTED = {  # claims with parts that need no network, and are decided whatever diverged
    "adam_vs_adamw": {"O1", "O2", "O3", "O10", "O14"},
    "curve_fitting": {"C5", "C6", "C7", "C8", "C9", "C10", "C11", "C14"},
    "double_descent": {"D9", "D14"},
    "sparsity": {"L1", "L2", "L3", "L4", "L5", "L7", "L8", "L9", "L10"},
}
UNDECIDED = {"published_sweep", "published_widths", "timescale"}  # which the shipped laptop scale does not decide
AT_ONCE, LATE = 0.0, 0.9  # the share of its steps after which a run diverges
CASES = {  # which runs diverge, and when
    "one at once": (lambda runs: one_of(runs, 0), AT_ONCE),
    "one late": (lambda runs: one_of(runs, 1), LATE),
    "half at once": (lambda runs: share_of(runs, 0.5), AT_ONCE),
    "half late": (lambda runs: share_of(runs, 0.5), LATE),
    "all but two seeds": (lambda runs: (runs["seed"] > 1).to_numpy(), 0.3),
    "all at once": (lambda runs: np.ones(len(runs), dtype=bool), AT_ONCE),
    "all late": (lambda runs: np.ones(len(runs), dtype=bool), LATE),
}


def one_of(runs: pd.DataFrame, seed: int) -> np.ndarray:
    return np.arange(len(runs)) == np.random.default_rng(seed).integers(len(runs))


def share_of(runs: pd.DataFrame, share: float) -> np.ndarray:
    return np.random.default_rng(0).random(len(runs)) < share


def by_part(claims: list[Claim]) -> dict[tuple[str, str], Part]:
    return {(claim.id, part.name): part for claim in claims for part in claim.parts if part.verdict is not None}


def written(claims: list[Claim]) -> str:
    return json.dumps(claims, default=vars)  # NaN is no equal of itself, but is written as one


@cache
def judged_where(name: str, case: str) -> tuple[list[Claim], list[Claim], list[Claim]]:
    """The claims of a finding in a case of `CASES`, and as `judge` gives them for all runs and for those that finished.

    Nothing else may have been judged.
    """
    results, (chosen, share) = shipped(name), CASES[case]
    lost = chosen(results.runs)
    found, ((of_all, raw), (of_finished, finished)) = judgments(name, diverged(results, lost, share))
    assert 0 < lost.sum() == of_all.runs["diverged_at"].notna().sum()
    assert list(of_finished.runs["run"]) == list(results.runs["run"][~lost])
    assert set(of_finished.history["run"]) == set(results.history["run"]) & set(of_finished.runs["run"])
    return found, raw, finished


def decided_parts(name: str, case: str) -> set[tuple[str, str]]:
    """What is decided in a case of `CASES`, but for the parts that say where training diverges."""
    found = by_part(judged_where(name, case)[0])
    return {key for key, part in found.items() if part.verdict != "undecided"} - SEEN.get(name, set())


@pytest.mark.parametrize("name", NAMES)
def test_where_none_diverged_claims_are_what_their_judges_say(name):
    (found, ((_, raw),)) = judgments(name, shipped(name))
    assert written(found) == written(raw)
    assert bool({part.verdict for part in by_part(found).values()} - {"undecided"}) == (name not in UNDECIDED)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_a_part_is_decided_only_as_the_runs_that_did_not_diverge_decide_it(name, case):
    found, raw, finished = map(by_part, judged_where(name, case))
    assert list(found) == list(raw)
    for key, part in found.items():
        before, left = raw[key], finished.get(key)
        alike = left is not None and (left.quantity, left.verdict) == (before.quantity, before.verdict)
        assert part.verdict == (before.verdict if alike or key in SEEN.get(name, ()) else "undecided"), key
    decided = decided_parts(name, case)
    if case.startswith("one") and name not in UNDECIDED:
        assert len(decided) > len(found) / 2  # one run does not undo a finding
    if case.startswith("all"):
        assert decided == decided_parts(name, "all at once")
        assert {id for id, _ in decided} == COMPUTED.get(name, set())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", NAMES)
def test_notes_say_how_many_runs_diverged(name, case, tmp_path):
    claims, raw, _ = judged_where(name, case)
    before, runs = by_part(raw), len(shipped(name).runs)
    lost = CASES[case][0](shipped(name).runs).sum()
    for claim in claims:
        judged = [part for part in claim.parts if part.verdict is not None]
        if opened := [part.name for part in judged if part.verdict != before[claim.id, part.name].verdict]:
            assert f"{lost} of {runs} runs diverged; without them {' and '.join(opened)} ha" in claim.note
        elif any(math.isnan(part.measured) for part in judged):
            assert "diverge" in claim.note
    assert not case.startswith("all") or any("diverge" in claim.note for claim in claims)
    write(tmp_path / "claims.json", claims)
    assert written(read(tmp_path / "claims.json")) == written(claims)


def test_the_parts_that_speak_of_divergence_are_those_that_the_findings_name():
    found = {}
    for name in NAMES:
        finding(name).check()  # imports its claims
        found[name] = {(id, part) for id, parts in finding(name)._of_divergence.items() for part in parts}
    assert {name: own for name, own in found.items() if own} == SEEN
    assert SEEN["curve_fitting"] <= set(by_part(judged_where("curve_fitting", "all late")[0]))


def test_where_all_learning_rates_diverge_no_limit_is_known():
    found = by_part(judged_where("curve_fitting", "all at once")[0])
    assert {found[key].verdict for key in SEEN["curve_fitting"]} == {"undecided"}


KINDS = 7  # of damage, one after the other
ROUNDS = {"binary_addition": 2, "sparsity": 2}  # the others take up to a second each: one round


@pytest.mark.parametrize("name", NAMES)
def test_claims_bear_any_runs_missing_and_any_values_unknown(name):
    for what, damaged in itertools.islice(damages(name), KINDS * ROUNDS.get(name, 1)):
        for claim in judged(name, damaged):
            assert isinstance(claim, Claim) and claim.parts, what
            for part in claim.parts:
                assert part.verdict in (None, "undecided") or part.n >= LEAST_SEEDS, what
                assert part.verdict in (None, "undecided") or not math.isnan(part.low + part.high), what


def damages(name: str):
    """Results in which runs diverged or are left out, values are unknown or were never logged: `(what, results)`."""
    results, generator = shipped(name), np.random.default_rng(NAMES.index(name))
    runs, history = results.runs, results.history
    logged = [each for each in history["metric"].unique() if "bin" not in each and "fit_" not in each]
    while True:
        share = generator.choice([0.02, 0.3, 0.9])
        lost = generator.random(len(runs)) < share
        yield f"{share:.0%} of runs diverged", diverged(results, lost, generator.random())
        yield f"{share:.0%} of runs left out", kept(results, pd.Series(~lost))
        unknown = history["value"].mask(generator.random(len(history)) < share)
        yield f"{share:.0%} of values unknown", replace(results, history=history.assign(value=unknown))
        metric = generator.choice(logged)
        yield f"{metric} never logged", replace(results, history=history[history["metric"] != metric])
        sweep = generator.choice(runs["sweep"].unique())
        yield f"all but {sweep}", kept(results, runs["sweep"] != sweep)
        yield "one seed", kept(results, runs["seed"] == generator.choice(runs["seed"].unique()))
        yield "no history", replace(results, history=history.iloc[:0])


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_drawn_where_half_or_all_networks_diverged(name, tmp_path):
    results = shipped(name)
    half = share_of(results.runs, 0.5)
    for case, lost, share in (("half", half, 0.5), ("all", np.ones_like(half), 0.0)):
        (folder := tmp_path / case).mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figures = drawn(config_of(name), diverged(results, lost, share), folder)
        assert {path.name for path in folder.iterdir()} == promised(config_of(name))
        if case == "all":
            texts = [text.get_text() for figure in figures for axes in figure.axes for text in axes.texts]
            assert any("diverged" in text or "no " in text for text in texts)
