"""Every figure and table is made, twice the same, also from a grid of which most is missing."""

import shutil
import subprocess

import matplotlib.pyplot as plt
import numpy as np
import pytest
import seaborn as sns
from matplotlib.figure import Figure

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
    assert "not run" in (tmp_path / "binary_addition-published.tex").read_text()


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


def test_pdf_and_png_are_those_of_savefig_with_one_layout(tmp_path):
    """A label of two lines makes room for itself, and the room is the same in both files."""

    def figure() -> Figure:
        made, axes = plt.subplots(1, 2, figsize=(4, 2))
        axes[0].set(xlabel="λ", ylabel="a label\nof two lines", xscale="log")
        axes[0].plot([1e-2, 1], [0.2, 0.3])
        axes[1].plot([1, 2], [3, 4])
        return made

    style.apply()
    style.save(figure(), tmp_path, "made", "paper")
    expected = figure()
    for kind, about in {"pdf": style.UNDATED, "png": {"Software": None}}.items():
        expected.savefig(tmp_path / f"expected.{kind}", metadata=about)
        expected.set_layout_engine("none")
        assert (tmp_path / f"made.{kind}").read_bytes() == (tmp_path / f"expected.{kind}").read_bytes()


def test_the_style_is_seaborn_s_apart_from_our_own_settings():
    """Its default colour map is missing too; no figure uses the default."""
    style.apply()
    ours = dict(plt.rcParams)
    plt.rcdefaults()
    sns.set_theme(context="paper", style="ticks", palette="colorblind")
    apart = {key for key in ours if ours[key] != plt.rcParams[key]}
    style.apply()
    assert apart - set(style.OWN) == {"image.cmap"}


@pytest.mark.parametrize(("name", "count"), [("colorblind", 3), ("colorblind", 12), ("viridis_r", 5), ("mako", 4)])
def test_a_palette_is_seaborn_s(name, count):
    assert style.palette(name, count) == pytest.approx(list(sns.color_palette(name, count)))


def test_weight_decay_has_one_colour_scale_whatever_the_grid():
    colours = [style.weight_decay_colour(λ) for λ in (1e-3, 1e-2, 0.1, 0.3, 1.0)]
    lightness = [np.dot(colour[:3], (0.21, 0.72, 0.07)) for colour in colours]
    assert lightness == sorted(lightness, reverse=True)  # ordered in grey as well, so seen by every eye
    assert style.weight_decay_colour(1e-9) == colours[0]  # outside the scale: its end, not a new scale
    assert style.weight_decay_colour(0) == "0.55"
