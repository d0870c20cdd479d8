"""Every figure and table is made, twice the same, also from a grid of which most is missing."""

import shutil
import subprocess

import numpy as np
import pytest

from tests.experiments.drawing import assert_legible, drawn, promised
from tests.programs import finding
from weightdecay.report import style


def test_all_that_is_registered_is_made_and_legible_at_print_size(config, results_of, tmp_path):
    figures = drawn(config, results_of(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == promised(config)
    assert len(figures) == len(finding("binary_addition").figures)
    assert_legible(figures)


def test_a_grid_of_which_most_is_missing_is_drawn_all_the_same(config, results_of, tmp_path):
    drawn(config, results_of(seeds=1, lambdas=[0.0, 0.1], delay=1e6), tmp_path, scale="smoke")
    assert {path.name for path in tmp_path.iterdir()} == promised(config)
    table = (tmp_path / "binary_addition-accuracies.tex").read_text()
    assert "\n0.1 & " in table and "\n0.3 & " not in table


def test_the_same_results_give_the_same_bytes(config, results_of, tmp_path):
    made = []
    for _ in range(2):
        drawn(config, results_of(), tmp_path, ["delay"])
        made.append((tmp_path / "binary_addition-delay.pdf").read_bytes())
    assert made[0] == made[1] and b"CreationDate" not in made[0]


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="needs pdftotext")
@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_only_the_paper_scale_is_not_stamped(config, results_of, tmp_path, scale):
    drawn(config, results_of(), tmp_path, ["constant_norm"], scale=scale)
    path = tmp_path / "binary_addition-constant_norm.pdf"
    text = subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True, check=True).stdout
    assert ("laptop scale" in text) == (scale == "laptop")


def test_any_number_of_learning_rates_can_be_drawn(config, results_of, tmp_path):
    results = results_of()
    many = results.runs["sweep"] == "delay"
    results.runs.loc[many, "learning_rate"] *= 1 + np.arange(many.sum()) // 3 / 100  # eight in all
    drawn(config, results, tmp_path, ["delay"])
    assert (tmp_path / "binary_addition-delay.pdf").exists()


def test_weight_decay_has_one_colour_scale_whatever_the_grid():
    colours = [style.weight_decay_colour(λ) for λ in (1e-3, 1e-2, 0.1, 0.3, 1.0)]
    lightness = [np.dot(colour[:3], (0.21, 0.72, 0.07)) for colour in colours]
    assert lightness == sorted(lightness, reverse=True)  # ordered in grey as well, so seen by every eye
    assert style.weight_decay_colour(1e-9) == colours[0]  # outside the scale: its end, not a new scale
    assert style.weight_decay_colour(0) == "0.55"
