"""Binary addition: A6 and A12 on results whose truth is known, and which points are hollow."""

import dataclasses
import math

import numpy as np
import pytest

from tests.experiments.binary_addition import FOLDER, World, synthetic, table
from tests.experiments.drawing import drawn
from tests.programs import finding
from weightdecay.config import load_config

CONFIG = load_config(FOLDER / "config.yaml")


def results_of(lambdas=None, steps=None, **world):
    return synthetic(table(CONFIG, 3, lambdas, steps), World(**world))


def judged(id, results):
    return next(claim for claim in finding("binary_addition").judge(results, "laptop") if claim.id == id)


@pytest.mark.parametrize("growth", [1.1, 0.3], ids=["grows", "falls"])
def test_the_control_is_judged_only_in_runs_as_long_as_a_good_weight_decay_needs(growth):
    short = judged("A6", results_of(steps={0.0: 4680}, growth=growth))
    assert short.verdict == "undecided" and [part.n for part in short.parts] == [0, 0]
    assert short.note == "3 of 3 runs not known to last as long as λ = 0.1 takes to test accuracy 0.5"
    long = judged("A6", results_of(steps={0.0: 9360}, growth=growth))  # λ = .1 needs about 7,000
    assert (long.verdict, long.note) == ("reproduced" if growth > 1 else "mixed", "")
    assert judged("A6", results_of(lambdas=[0.0], growth=growth)).verdict == "undecided"  # λ = .1 was not run


def test_a_control_lasts_until_it_diverges():
    claim = judged("A6", results_of(diverged=(0.0,)))  # one of three, before λ = .1 generalises
    assert claim.verdict == "undecided" and math.isnan(claim.part("NormRatio").measured)
    assert "1 of 3 runs not known to last as long" in claim.note


def test_almost_no_loss_is_left_at_fitting_and_the_test_is_not_passed():
    assert judged("A12", results_of()).verdict == "reproduced"
    soon = judged("A12", results_of(delay=50.0))  # generalises while it fits
    assert (soon.verdict, soon.part("Test").verdict) == ("mixed", "refuted")


def test_the_loss_at_fitting_is_read_at_that_step_as_a_share():
    results = results_of()
    fitted = results.history["step"] > 2000  # every run fits by 2,500, and none before 1,500
    loss = results.history["metric"] == "train_loss_batch"
    values = np.where(loss, np.where(fitted, 0.005, 1e-9), results.history["value"])
    claim = judged("A12", dataclasses.replace(results, history=results.history.assign(value=values)))
    assert claim.part("Loss").measured == pytest.approx(0.02) and claim.verdict == "mixed"


def test_a_run_that_never_fits_counts_against_both():
    claim = judged("A12", results_of(steps={0.1: 1500}))
    assert [part.measured for part in claim.parts] == pytest.approx([1, 1]) and claim.verdict == "refuted"
    assert claim.note == "3 of 3 runs never fitted"


@pytest.mark.parametrize("name", ["accuracy_vs_lambda", "label_noise"])
def test_weight_decays_whose_runs_are_shorter_than_their_timescale_are_hollow(tmp_path, name):
    figure = drawn(CONFIG, results_of(), tmp_path, [name])[0]
    lines = [line for axes in figure.axes for line in axes.lines if line.get_markerfacecolor() == "white"]
    shorter = [0.003, 0.01, 0.03]  # 30,030 steps at η = 1e-3, where τ is 1/(ηλ); λ = 0 has none
    assert lines and all(np.allclose(line.get_xdata(), shorter) for line in lines)
