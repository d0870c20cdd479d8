"""Basins of known orientation are found as they are, in both coordinates, and their area is what they cover."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from weightdecay.statistics.basins import (
    Shape,
    areas,
    at_border,
    at_cells,
    at_edges,
    best_cells,
    cell_sides,
    good_cells,
    noise_tilts,
    renoised,
    shape,
    tilts,
)

RATES, DECAYS = (np.exp(np.linspace(-4, 4, 33)) for _ in range(2))
GRID = pd.MultiIndex.from_product([RATES, DECAYS])


def valley(angle: float, ratio: float) -> pd.Series:
    """1 + r², r the radius in axes of which the longer is at `angle` degrees and `ratio` times the other."""
    x, y = np.log(np.array(list(GRID))).T
    θ = np.radians(angle)
    along, across = x * np.cos(θ) + y * np.sin(θ), y * np.cos(θ) - x * np.sin(θ)
    return pd.Series(1 + (along / ratio) ** 2 + across**2, index=GRID)


@given(st.floats(-89, 90), st.floats(2, 3))
def test_angle_and_ratio_of_an_ellipse_are_found(angle, ratio):
    found = shape(good_cells(valley(angle, ratio)), GRID, "λ")
    assert abs((found.angle - angle + 90) % 180 - 90) < 5
    assert found.anisotropy == pytest.approx(ratio, rel=0.14)  # 13 % at most over all angles, by the size of cells


@given(st.floats(-89, 90), st.floats(1.2, 3))
def test_against_ηλ_a_shape_is_sheared(angle, ratio):
    """The covariance R diag(ratio², 1) Rᵀ becomes S C Sᵀ with S = [[1, 0], [1, 1]]."""
    cells = good_cells(valley(angle, ratio))
    θ = np.radians(angle)
    rotation = np.array([[np.cos(θ), -np.sin(θ)], [np.sin(θ), np.cos(θ)]])
    shear = np.array([[1, 0], [1, 1]])
    lengths, directions = np.linalg.eigh(shear @ rotation @ np.diag([ratio**2, 1]) @ rotation.T @ shear.T)
    expected = np.degrees(np.arctan2(*directions[::-1, 1]))
    found = shape(cells, GRID, "ηλ")
    assume(lengths[1] > 3 * lengths[0])  # what is nearly round has no angle
    assert abs((found.angle - expected + 90) % 180 - 90) < 6
    assert found.anisotropy == pytest.approx(np.sqrt(lengths[1] / lengths[0]), rel=0.15)


def test_a_round_basin_is_no_longer_round_against_ηλ():
    """[[1, 1], [1, 2]] has axes of ratio 2.618, the golden ratio squared, at 58.3 degrees."""
    found = shape(good_cells(valley(0, 1.0)), GRID, "ηλ")
    assert found.angle == pytest.approx(58.28, abs=1) and found.anisotropy == pytest.approx(2.618, rel=0.02)


@pytest.mark.parametrize(("angle", "tilt"), [(0, 0), (90, 0), (45, 45), (-45, 45), (-30, 30), (70, 20)])
def test_tilt_is_the_angle_to_the_nearer_axis(angle, tilt):
    assert Shape(angle, 2.0).tilt == tilt


def test_three_cells_in_a_row_are_no_line():
    found = shape(pd.MultiIndex.from_tuples([(RATES[k], DECAYS[5]) for k in (4, 5, 6)]), GRID, "λ")
    assert abs(found.angle) < 1e-6 and found.anisotropy == pytest.approx(np.sqrt((2 / 3 + 1 / 12) * 12))


def test_area_is_that_of_the_ellipse():
    """Errors up to 1.25 lie within axes of length .5 and 1: π/2 in natural logarithms."""
    errors = pd.DataFrame([valley(30, 2.0)] * 3, index=[0, 1, 2])
    found = areas(errors, pd.Series([1.0, 0.5, np.nan]), tolerance=1.25)
    assert found[0] == pytest.approx(np.pi / 2 / np.log(10) ** 2, rel=0.1)
    assert found[1] == 0 and np.isnan(found[2])


def test_the_best_cell_is_chosen_on_the_other_seeds():
    errors = pd.DataFrame([[0.1, 0.5, 0.3], [0.6, 0.2, 0.3], [0.5, 0.2, 0.3]], columns=GRID[:3])
    cells = best_cells(errors)
    assert cells.tolist() == [1, 0, 2] or cells.tolist() == [1, 2, 2]
    assert at_cells(errors, cells)[0] == 0.5  # not its own lowest


def test_cells_at_the_border_are_counted_and_a_step_is_measured():
    grid = pd.MultiIndex.from_product([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    errors = pd.DataFrame(2.0, [0, 1, 2], grid)
    errors.loc[0, [(1.0, 1.0), (2.0, 2.0), (4.0, 1.0)]] = 1.0  # the three good cells, two of them at the border
    errors.loc[2] = np.nan
    assert at_border(errors).tolist() == pytest.approx([2 / 3, 1.0, np.nan], nan_ok=True)
    assert cell_sides(GRID) == pytest.approx([0.25, 0.25])
    few = pd.MultiIndex.from_tuples(itertools.product([1, 2], [1, 10, 100]))
    assert cell_sides(few) == pytest.approx(np.log([2, 10]))


@pytest.mark.parametrize("coordinate", ["λ", "ηλ"])
def test_tilts_of_many_surfaces_are_those_of_each(coordinate):
    surfaces = np.random.default_rng(0).random((20, len(GRID))) + valley(30, 2.0).to_numpy()
    each = [shape(good_cells(pd.Series(row, GRID)), GRID, coordinate).tilt for row in surfaces]
    assert tilts(surfaces, GRID, coordinate) == pytest.approx(each)


def test_noise_alone_has_a_tilt():
    """Of points uniform in a square: 2 cov(x, y) has variance 4/9, var(x) − var(y) 8/45, and tan 2φ is their ratio.

    So axes lie nearer to a diagonal than 22.5 degrees; and sheared, a set that is round on the mean lies at 58 degrees.
    """
    found = {at: noise_tilts(GRID, at, 1000, np.random.default_rng(0)).mean() for at in ("λ", "ηλ")}
    normal = np.random.default_rng(1).normal(size=(2, 100_000))
    φ = np.degrees(np.arctan2(normal[0] * np.sqrt(4 / 9), normal[1] * np.sqrt(8 / 45))) / 2
    assert found["λ"] == pytest.approx(np.mean(45 - np.abs(np.abs(φ) - 45)), abs=1)
    assert found["ηλ"] == pytest.approx(90 - 58.28, abs=1)


def test_noise_of_cells_pulls_a_tilt_towards_that_of_noise():
    """Surfaces made again of a mean and its noise have the spread of the seeds, and the tilt that noise leaves."""
    generator, truth = np.random.default_rng(0), np.log(valley(45, 3.0).to_numpy())
    factors = np.arange(10)[:, None]  # of a seed's whole surface: no noise
    seeds = np.exp(truth + generator.normal(0, 0.8, (10, len(GRID))) + factors)
    again = renoised(pd.DataFrame(seeds, columns=GRID), 400, generator)
    assert again.std(axis=0).mean() == pytest.approx(0.8, rel=0.05)
    own, noisy = (tilts(values, GRID, "λ").mean() for values in (seeds, again))
    assert tilts(truth[None], GRID, "λ")[0] > own + 1 and own == pytest.approx(noisy, abs=2)


def test_the_share_of_a_boundary_at_the_windows_edge():
    """Of 3 × 3 cells, a corner has 2 of its 4 sides at the edge, the middle none, all of them every side."""
    grid = pd.MultiIndex.from_product([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    corner, middle, none = (pd.Series(5.0, grid) for _ in range(3))
    corner[1.0, 1.0] = middle[2.0, 2.0] = 1.0
    errors = pd.DataFrame([corner, middle, none, none])
    assert at_edges(errors, pd.Series([1.0, 1.0, 5.0, 1.0]), 1.1).tolist() == pytest.approx([0.5, 0.0, 1.0, np.nan], nan_ok=True)
