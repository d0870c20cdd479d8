"""Every figure and table is made, twice the same, also from a grid of which most is missing."""

import shutil
import subprocess

import numpy as np
import pytest

from tests.experiments.drawing import assert_legible, drawn, promised
from weightdecay.report import style


@pytest.fixture
def draw(program, config, results_of, tmp_path):
    """`draw(scale, functions=None, **options)`: the folder with what the figure program makes of synthetic results."""

    def drawing(scale, functions=None, **options):
        figures, results = program("figures"), results_of(**options)
        claims = {claim.id: claim for claim in program("claims").judge(results, config.criteria)}
        style.apply()
        for name in functions or [*config.figures, *(f"{table}_table" for table in config.tables)]:
            getattr(figures, name)(style.Inputs(scale, results, config, claims, tmp_path, tmp_path))
        return tmp_path

    return drawing


def test_all_that_the_config_promises_is_made_and_legible_at_print_size(config, results_of, tmp_path):
    figures = drawn(config, results_of(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == promised(config)
    assert len(figures) == len(config.figures)
    assert_legible(figures)


def test_a_grid_of_which_most_is_missing_is_drawn_all_the_same(draw, config):
    folder = draw("smoke", seeds=1, lambdas=[0.0, 0.1], delay=1e6)
    assert {path.name for path in folder.iterdir()} == promised(config)
    assert "not run" in (folder / "binary_addition-published.tex").read_text()


def test_the_same_results_give_the_same_bytes(draw):
    path = draw("laptop", ["delay"]) / "binary_addition-delay.pdf"
    first = path.read_bytes()
    assert draw("laptop", ["delay"]) and path.read_bytes() == first
    assert b"CreationDate" not in first


@pytest.mark.skipif(not shutil.which("pdftotext"), reason="needs pdftotext")
@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_only_the_paper_scale_is_not_stamped(draw, scale):
    path = draw(scale, ["constant_norm"]) / "binary_addition-constant_norm.pdf"
    text = subprocess.run(["pdftotext", path, "-"], capture_output=True, text=True, check=True).stdout
    assert ("laptop scale" in text) == (scale == "laptop")


def test_any_number_of_learning_rates_can_be_drawn(program, config, results_of, tmp_path):
    results = results_of()
    claims = {claim.id: claim for claim in program("claims").judge(results, config.criteria)}
    many = results.runs["sweep"] == "delay"
    results.runs.loc[many, "learning_rate"] *= 1 + np.arange(many.sum()) // 3 / 100  # eight in all
    style.apply()
    program("figures").delay(style.Inputs("laptop", results, config, claims, tmp_path, tmp_path))
    assert (tmp_path / "binary_addition-delay.pdf").exists()


def test_weight_decay_has_one_colour_scale_whatever_the_grid():
    colours = [style.weight_decay_colour(λ) for λ in (1e-3, 1e-2, 0.1, 0.3, 1.0)]
    lightness = [np.dot(colour[:3], (0.21, 0.72, 0.07)) for colour in colours]
    assert lightness == sorted(lightness, reverse=True)  # ordered in grey as well, so seen by every eye
    assert style.weight_decay_colour(1e-9) == colours[0]  # outside the scale: its end, not a new scale
    assert style.weight_decay_colour(0) == "0.55"
