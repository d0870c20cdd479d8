"""First passage: a norm that decides is found and foretells the step, and one that does not is refuted."""

import numpy as np
import pandas as pd
import pytest

from tests.experiments.drawing import drawn
from tests.histories import history
from tests.programs import EXPERIMENTS, finding, load_program
from tests.rows import defaults
from weightdecay.config import load_config
from weightdecay.results import Results
from weightdecay.run import Run

CONFIG = load_config(EXPERIMENTS / "timescale" / "config.yaml")
CELLS = [(1e-3, λ) for λ in (0.03, 0.05, 0.1, 0.2, 0.3)] + [(η, λ) for η in (5e-4, 2e-3) for λ in (0.05, 0.1, 0.2, 0.3)]


def results_of(law="norm", seeds=5, cut=1.0, spread=0.01, diverged=()):
    """Runs whose norm falls as a power of the step. `law`: they generalise at a norm, or after a number of τ."""
    rows, logged = [], []
    fixed = {"experiment": CONFIG.experiment, "sweep": "cells", **defaults(CONFIG)}
    for η, λ in CELLS:
        for seed in range(seeds):
            jitter = np.exp(spread * np.random.default_rng([seed, int(1e5 * η * λ)]).normal(size=2))
            goal, start = 67 * (η / 1e-3) ** 0.08 * jitter[0], 117.0
            passage = 0.3 * (η * λ) ** -1.2 * jitter[1] ** 5 if law == "norm" else 1 / (η * λ)
            power = 0.35 if law == "norm" else 0.1 / λ**0.5
            end = int(2 * passage * cut) + 2
            steps = np.unique(np.linspace(0, end, 200).astype(int)).astype(float)
            norms = np.minimum(start, goal * (np.maximum(steps, 1) / passage) ** -power)
            accuracy = 1 / (1 + np.exp(-np.clip(40 * (np.log(np.maximum(steps, 1)) - np.log(passage)), -50, 50)))
            run = Run(**{**fixed, "seed": seed, "learning_rate": η, "weight_decay": λ, "steps": end})
            lost = seed == 0 and (η, λ) in diverged
            rows.append({**run.model_dump(), "run": run.id, "diverged_at": 1.0 if lost else np.nan})
            logged += [(run.id, "test_accuracy", steps, accuracy), (run.id, "weight_norm_sum", steps, norms)]
    return Results(pd.DataFrame(rows), history(logged), {})


def judged(results):
    return {claim.id: claim for claim in finding(CONFIG.experiment).judge(results, "paper")}


def test_a_norm_at_which_networks_generalise_is_found_and_foretells_when():
    claims = judged(results_of())
    assert claims["X1"].verdict == "reproduced" and claims["X1"].note == ""
    assert claims["X1"].part("Power").measured == pytest.approx(0.08, abs=0.01)
    assert claims["X1"].measured == pytest.approx(0.01, abs=0.005)  # the spread of the seeds
    assert claims["X2"].verdict == "reproduced" and claims["X2"].measured < 1.1
    assert claims["X2"].note == "50 runs are predicted"  # all but those at λ = .1


def test_a_step_that_goes_as_tau_is_no_first_passage():
    claims = judged(results_of("τ"))
    assert claims["X2"].part("Better").verdict == "refuted" and claims["X2"].part("Tau").measured < 1.05


def test_runs_that_never_pass_are_counted_and_count_with_their_end():
    claims = judged(results_of(cut=0.4))
    assert claims["X1"].note == "65 of 65 runs never pass" and claims["X1"].verdict == "undecided"
    assert claims["X2"].verdict == "undecided"
    lost = judged(results_of(diverged=[(1e-3, 0.2)]))
    assert "1 of 65 runs diverged" in lost["X1"].note


def test_a_narrow_range_of_weight_decay_decides_nothing_of_the_norm():
    results = results_of()
    few = results.runs[results.runs["weight_decay"].between(0.09, 0.31) & (results.runs["learning_rate"] > 6e-4)]
    claims = judged(Results(few, results.history, {}))
    assert (claims["X1"].verdict, claims["X2"].verdict) == ("undecided", "reproduced")
    assert claims["X1"].note == "the λ at η = 0.001 and 0.002 do not span a factor of 5"
    unlearned = few[few["weight_decay"] > 0.15]
    assert judged(Results(unlearned, results.history, {}))["X2"].verdict == "undecided"


@pytest.mark.parametrize("power", [0.2, 0.5])
def test_a_norm_that_falls_as_a_power_is_foretold_exactly(power):
    passages = load_program("timescale", "passages")
    steps = np.arange(78, 4000, 78.0)
    norm = pd.Series(100 * (steps / 78) ** -power, index=steps)
    assert passages.foretold(norm, 10.0) == pytest.approx(78 * 10 ** (1 / power))
    assert passages.foretold(pd.Series(norm.to_numpy()[::-1].copy(), index=steps), 10.0) == np.inf  # it grows
    assert np.isnan(passages.foretold(norm.iloc[:1], 10.0))


def test_the_passage_is_interpolated_between_logged_steps():
    results = results_of(seeds=1)
    m = load_program("timescale", "passages").Measured(results)
    table = m.passages(0.5)
    for _, run in table.iterrows():
        assert run["step"] == pytest.approx(run["steps"] / 2, rel=0.02)
        assert run["norm"] == pytest.approx(67 * (run["learning_rate"] / 1e-3) ** 0.08, rel=0.05) and run["passed"]


def test_the_figure_and_the_table_are_drawn(tmp_path):
    drawn(CONFIG, results_of(), tmp_path)
    assert (tmp_path / "timescale-passages.tex").read_text().count("5 of 5") == len(CELLS)
    drawn(CONFIG, Results(results_of().runs[:0], results_of().history[:0], {}), tmp_path)
