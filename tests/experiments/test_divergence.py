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

from tests.experiments.diverging import NAMES, config_of, diverged, judged, kept, program_of, shipped
from tests.experiments.drawing import drawn, promised
from weightdecay.analysis.claims import LEAST_SEEDS, Claim, read, write
from weightdecay.results import Results

pytestmark = pytest.mark.filterwarnings("error")

SEEN = {  # parts that say where training diverges: judged by what was seen, whatever diverged
    "curve_fitting": {("C4", "Limit"), ("C12", "Limit"), ("C12", "Absolute"), ("C12", "Smooth")}
}


def by_part(claims: list[Claim]) -> dict[tuple[str, str], str]:
    return {(claim.id, part.name): part.verdict for claim in claims for part in claim.parts if part.verdict is not None}


@cache
def judged_where(name: str, case: str) -> list[Claim]:
    """The claims of a finding where all of its networks diverged: a case of `ALL`."""
    results = shipped(name)
    return judged(name, diverged(results, *ALL[case](results.runs)))


@pytest.fixture(scope="module")
def verdicts_of():
    """`verdicts_of(name, results)`: by (claim, part) the verdict of every judged part."""

    return lambda name, results: by_part(judged(name, results))


@pytest.fixture(scope="module")
def computed(verdicts_of):
    """`computed(name)`: the verdicts of the parts that need no network, as they are without a run."""
    made = {}

    def found(name: str) -> dict[tuple[str, str], str]:
        if name not in made:
            results = shipped(name)
            nothing = verdicts_of(name, kept(results, pd.Series(False, results.runs.index)))
            made[name] = {key: verdict for key, verdict in nothing.items() if verdict != "undecided"}
        return made[name]

    return found


ALL = {
    "late": lambda runs: (runs["seed"] >= 0, 0.9),
    "in the first step": lambda runs: (runs["seed"] >= 0, 0.0),
    "but for two seeds": lambda runs: (runs["seed"] > 1, 0.3),
}


@pytest.mark.parametrize("name", NAMES)
def test_diverged_runs_alone_decide_nothing(name, computed):
    for case in ALL:
        found = by_part(judged_where(name, case))
        decided = {key: verdict for key, verdict in found.items() if verdict != "undecided"}
        assert {key: verdict for key, verdict in decided.items() if key not in SEEN.get(name, ())} == {
            key: verdict for key, verdict in computed(name).items() if key in found
        }


@pytest.mark.parametrize("name", NAMES)
def test_a_part_that_is_decided_is_decided_alike_by_the_runs_that_did_not_diverge(name, verdicts_of):
    results, generator = shipped(name), np.random.default_rng(0)
    lost = generator.random(len(results.runs)) < 0.3
    found, left = (verdicts_of(name, r) for r in (diverged(results, lost), kept(results, pd.Series(~lost))))
    for key, verdict in found.items():
        assert verdict in ("undecided", left.get(key)) or key in SEEN.get(name, ()), key


@pytest.mark.parametrize("name", NAMES)
def test_notes_say_how_many_runs_diverged(name, tmp_path):
    claims = judged_where(name, "late")
    unknown = [c for c in claims if any(part.verdict and math.isnan(part.measured) for part in c.parts)]
    assert unknown and all("diverge" in claim.note for claim in unknown)
    write(tmp_path / "claims.json", claims)
    again = read(tmp_path / "claims.json")
    assert json.dumps(claims, default=vars, allow_nan=True) == json.dumps(again, default=vars, allow_nan=True)


def test_the_parts_that_speak_of_divergence_are_those_that_the_findings_name():
    named = {name: getattr(program_of(name, "claims"), "OF_DIVERGENCE", {}) for name in NAMES}
    found = {name: {(id, part) for id, parts in own.items() for part in parts} for name, own in named.items() if own}
    assert found == SEEN
    claims = {(c.id, p.name) for c in judged("curve_fitting", shipped("curve_fitting")) for p in c.parts if p.verdict}
    assert SEEN["curve_fitting"] <= claims


def test_where_all_learning_rates_diverge_no_limit_is_known():
    found = by_part(judged_where("curve_fitting", "in the first step"))
    assert {found[key] for key in SEEN["curve_fitting"]} == {"undecided"}


CASES = {"binary_addition": 24, "sparsity": 24, "adam_vs_adamw": 3}  # a judgment of the others takes a second


@pytest.mark.parametrize("name", NAMES)
def test_claims_bear_any_runs_missing_and_any_values_unknown(name):
    for _, damaged in itertools.islice(damages(shipped(name)), CASES.get(name, 5)):
        for claim in judged(name, damaged):
            assert isinstance(claim, Claim) and claim.parts
            for part in claim.parts:
                assert part.verdict in (None, "undecided") or part.n >= LEAST_SEEDS
                assert part.verdict in (None, "undecided") or not math.isnan(part.low + part.high)


def damages(results: Results):
    """Results with runs left out, values unknown, a metric never logged or a sweep not run: `(what, results)`."""
    runs, generator = results.runs, np.random.default_rng(0)
    logged = [name for name in results.history["metric"].unique() if "bin" not in name and "fit_" not in name]
    yield "no history", replace(results, history=results.history.iloc[:0])
    yield "one seed", kept(results, runs["seed"] == runs["seed"].min())
    while True:
        sweep = generator.choice(runs["sweep"].unique())
        yield f"all but {sweep}", kept(results, runs["sweep"] != sweep)
        metric = generator.choice(logged)
        yield f"{metric} never logged", replace(results, history=results.history[results.history["metric"] != metric])
        share = generator.choice([0.02, 0.3, 0.9])
        history = results.history.copy()
        history.loc[generator.random(len(history)) < share, "value"] = np.nan
        yield f"{share:.0%} of values unknown", replace(results, history=history)
        yield f"{share:.0%} of runs left out", kept(results, pd.Series(generator.random(len(runs)) >= share))
        lost = generator.random(len(runs)) < share
        yield f"{share:.0%} of runs diverged", diverged(results, lost, generator.random())


@pytest.mark.parametrize("name", NAMES)
def test_figures_are_drawn_where_half_or_all_networks_diverged(name, tmp_path):
    results, claims = shipped(name), program_of(name, "claims")
    half = np.random.default_rng(0).random(len(results.runs)) < 0.5
    for case, lost, share in (("half", half, 0.5), ("all", np.ones_like(half), 0.0)):
        (folder := tmp_path / case).mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            figures = drawn(config_of(name), diverged(results, lost, share), folder)
        assert {path.name for path in folder.iterdir()} == promised(config_of(name))
        if case == "all":
            texts = [text.get_text() for figure in figures for axes in figure.axes for text in axes.texts]
            assert claims and any("diverged" in text or "no " in text for text in texts)
