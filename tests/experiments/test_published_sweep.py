"""S1's sweep point by point: runs like S1's meet its points, and other runs do not."""

import numpy as np
import pandas as pd
import pytest
import torch

from tests.experiments.drawing import drawn
from tests.histories import history
from tests.programs import EXPERIMENTS, finding, load_program
from tests.rows import defaults
from weightdecay.config import load_config
from weightdecay.ensemble.state import Ensemble
from weightdecay.results import Results
from weightdecay.run import Run

CONFIG = load_config(EXPERIMENTS / "published_sweep" / "config.yaml")
POINTS = load_program("published_sweep", "points").PUBLISHED["sweep"]
METRICS = {"test": "test_accuracy", "train": "train_accuracy_batch", "loss": "test_loss"}


def results_of(steps=390_000, seeds=5, moved=(), shift=0.0, diverged=()):
    """Runs that end near S1's points; those at the λ in `moved` end elsewhere, by a `shift` (of the log of losses)."""
    rows, logged = [], []
    for point in POINTS:
        for seed in range(seeds):
            λ = point["weight_decay"]
            fixed = {"experiment": CONFIG.experiment, "sweep": "weight_decay", **defaults(CONFIG)}
            run = Run(**{**fixed, "seed": seed, "weight_decay": λ, "steps": steps})
            generator = np.random.default_rng([seed, int(1e4 * λ)])
            lost = seed == 0 and λ in diverged
            rows.append({**run.model_dump(), "run": run.id, "diverged_at": 1.0 if lost else np.nan})
            for kind, metric in METRICS.items():
                far = shift if λ in moved else 0.0
                value = point[kind] * np.exp(far) if kind == "loss" else np.clip(point[kind] + far, 0, 1)
                value *= np.exp(0.002 * generator.normal())
                logged.append((run.id, metric, np.array([0.0, steps]), np.array([0.0, value])))
    return Results(pd.DataFrame(rows), history(logged), {})


def judged(results):
    return {claim.id: claim for claim in finding(CONFIG.experiment).judge(results, "paper")}


def test_runs_like_those_of_s1_meet_every_point():
    claims = judged(results_of())
    for claim in (claims["A13"], claims["A14"], claims["A15"]):
        assert (claim.verdict, claim.measured, claim.part("Long").measured, claim.note) == ("reproduced", 15, 3, "")


def test_two_points_may_be_missed_and_three_may_not():
    missed = [0.45, 0.65, 0.8]
    two, three = (judged(results_of(moved=missed[:n], shift=0.5))["A15"] for n in (2, 3))
    assert (two.verdict, two.measured) == ("reproduced", 13)
    assert (three.verdict, three.measured) == ("mixed", 12)  # those at small λ are met
    assert three.note == "missed at λ = 0.45, 0.65, 0.8"


def test_points_at_small_weight_decay_are_judged_by_themselves():
    claim = judged(results_of(moved=(0.003, 0.01), shift=-0.14))["A13"]
    assert (claim.measured, claim.part("Met").verdict, claim.part("Long").verdict) == (13, "reproduced", "refuted")
    assert claim.verdict == "mixed" and claim.note == "missed at λ = 0.003, 0.01"


def test_shorter_runs_and_missing_runs_decide_nothing_about_length():
    short = judged(results_of(steps=100_000))["A13"]
    assert (short.part("Met").verdict, short.part("Long").verdict) == ("reproduced", "undecided")
    assert short.note == "no runs of 390,000 steps at every λ from 0.003 to 0.03"
    results = results_of()
    without = results.runs[results.runs["weight_decay"] != 0.01]
    claim = judged(Results(without, results.history, {}))["A13"]
    assert claim.verdict == "undecided" and "1 of 15 points have no runs" in claim.note


def test_a_diverged_run_has_no_loss_and_accuracy_0():
    claims = judged(results_of(diverged=(0.1,)))
    assert claims["A15"].verdict == "undecided" and "1 of 75 runs diverged" in claims["A15"].note
    assert claims["A13"].part("AtZeroPointOne").low == 0  # one run at 0 makes any accuracy possible


def test_given_up_bits_halve_the_accuracy():
    def claim(per_bit):
        results = results_of(seeds=20)
        steps, logged = np.array([0.0, 390_000]), []
        for _, run in results.runs[results.runs["weight_decay"].between(0.6, 0.7)].iterrows():
            lost = 1 + int(100 * run["weight_decay"]) % 7
            accuracy = 0.9 * per_bit ** (lost + 0.1 * np.sin(run["seed"]))
            logged += [(run["run"], "lost_bits", steps, np.array([20.0, lost]))]
            logged += [(run["run"], "train_accuracy", steps, np.array([0.0, accuracy]))]
        return judged(Results(results.runs, pd.concat([results.history, history(logged)]), {}))["A16"]

    halved, kept = claim(0.5), claim(0.8)
    assert (halved.verdict, halved.measured, halved.n) == ("reproduced", pytest.approx(-1, abs=0.05), 20)
    assert kept.verdict == "refuted"


def test_a_bit_is_given_up_if_it_is_right_too_rarely():
    """A network that says 0 to every bit knows those that are mostly 0."""
    protocol = load_program("published_sweep", "train").PROTOCOL
    fixed = {"experiment": CONFIG.experiment, "sweep": "weight_decay", **defaults(CONFIG)}
    runs = [Run(**{**fixed, "seed": seed, "weight_decay": 0.1, "steps": 78}) for seed in (3, 4)]
    ensemble = Ensemble(runs, protocol, torch.float32, torch.device("cpu"))
    last = ensemble.stack.leaves[-1]
    last.weight.zero_()
    last.bias.fill_(-1.0)
    ones = [protocol.splits(run)["train"].targets.mean(0) for run in runs]
    assert protocol.measures(ensemble)["lost_bits"].tolist() == [int((share > 0.25).sum()) for share in ones]
    last.bias[0].copy_(torch.where(ones[0] > 0.5, 1.0, -1.0))  # the more frequent value of each
    assert protocol.measures(ensemble)["lost_bits"][0] == int(((ones[0] > 0.25) & (ones[0] < 0.75)).sum())


def test_the_figure_and_the_table_show_every_point(tmp_path):
    drawn(CONFIG, results_of(), tmp_path)
    table = (tmp_path / "published_sweep-points.tex").read_text()
    assert table.count("met") == 45 and "missed" not in table
    drawn(CONFIG, results_of(moved=(0.1,), shift=-0.5), tmp_path)
    assert (tmp_path / "published_sweep-points.tex").read_text().count("missed") == 3
    drawn(CONFIG, Results(results_of().runs[:0], results_of().history[:0], {}), tmp_path)
