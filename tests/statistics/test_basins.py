"""The area of a basin is what it covers, its boundary is counted, and its best cell is chosen on the other seeds."""

import itertools

import numpy as np
import pandas as pd
import pytest

from weightdecay.statistics.basins import areas, at_cells, at_edges, best_cells, cell_sides

RATES, DECAYS = (np.exp(np.linspace(-4, 4, 33)) for _ in range(2))
GRID = pd.MultiIndex.from_product([RATES, DECAYS])


def valley(angle: float, ratio: float) -> pd.Series:
    """1 + r², r the radius in axes of which the longer is at `angle` degrees and `ratio` times the other."""
    x, y = np.log(np.array(list(GRID))).T
    θ = np.radians(angle)
    along, across = x * np.cos(θ) + y * np.sin(θ), y * np.cos(θ) - x * np.sin(θ)
    return pd.Series(1 + (along / ratio) ** 2 + across**2, index=GRID)


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


def test_the_steps_of_a_grid_are_measured():
    assert cell_sides(GRID) == pytest.approx([0.25, 0.25])
    few = pd.MultiIndex.from_tuples(itertools.product([1, 2], [1, 10, 100]))
    assert cell_sides(few) == pytest.approx(np.log([2, 10]))


def test_the_share_of_a_boundary_at_the_windows_edge():
    """Of 3 × 3 cells, a corner has 2 of its 4 sides at the edge, the middle none, all of them every side."""
    grid = pd.MultiIndex.from_product([[1.0, 2.0, 4.0], [1.0, 2.0, 4.0]])
    corner, middle, none = (pd.Series(5.0, grid) for _ in range(3))
    corner[1.0, 1.0] = middle[2.0, 2.0] = 1.0
    errors = pd.DataFrame([corner, middle, none, none])
    found = at_edges(errors, pd.Series([1.0, 1.0, 5.0, 1.0]), 1.1)
    assert found.tolist() == pytest.approx([0.5, 0.0, 1.0, np.nan], nan_ok=True)
