"""Basins: where in a grid of (η, λ) a network does well, how that region lies, and how large it is.

Errors are tables `[seeds, cells]`, a cell a pair (η, λ) of the columns. Axes are x = ln η and y = ln λ, of PyTorch's
λ; Loshchilov & Hutter write λ for the whole shrinkage of a step, so that their y is ln ηλ, x more: a shear. A region is
diagonal or along an axis only in somebody's coordinates, so every shape here is asked for in one of the two.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from weightdecay.analysis.statistics import leave_one_out

SHEARS = {"λ": np.eye(2), "ηλ": np.array([[1.0, 0.0], [1.0, 1.0]])}  # coordinate of decay -> (x, y) in it
LEAST_CELLS = 3  # that have an orientation


class Shape(NamedTuple):
    """Of a region: angle of its longer axis from the η axis, degrees in (−90, 90], and its ratio of axes."""

    angle: float
    anisotropy: float

    @property
    def tilt(self) -> float:
        """Degrees from the longer axis to the nearer axis of the plane: 0 along one of them, 45 on a diagonal."""
        return 45 - abs(abs(self.angle) - 45)


def best_cells(errors: pd.DataFrame) -> pd.Series:
    """Per seed the position of the cell with the lowest mean over the other seeds."""
    return leave_one_out(errors, lambda others, own: int(others.to_numpy().argmin())).astype(int)


def at_cells(values: pd.DataFrame, cells: pd.Series) -> pd.Series:
    """Per seed its value in its cell, one of `best_cells`."""
    return pd.Series({seed: values.loc[seed].iloc[cell] for seed, cell in cells.items()}, dtype=float)


def good_cells(errors: pd.Series, share: float = 0.1) -> pd.MultiIndex:
    """The `share` of cells with the lowest errors, at least three; the first of equals."""
    count = max(LEAST_CELLS, round(share * len(errors)))
    return errors.index[np.argsort(errors.to_numpy(), kind="stable")[:count]]


def shape(cells: pd.MultiIndex, grid: pd.MultiIndex, coordinate: str) -> Shape:
    """Principal axes of a set of cells of a grid, in the coordinate "λ" or "ηλ".

    From the covariance of the area that the cells cover, which is that of their centres and that of a cell itself, as
    wide as the grid's steps: cells in a row are no line.
    """
    covariance = np.cov(np.log(np.array(list(cells), dtype=float)).T, bias=True) + np.diag(cell_sides(grid) ** 2) / 12
    sheared = SHEARS[coordinate] @ covariance @ SHEARS[coordinate].T
    lengths, directions = np.linalg.eigh(sheared)
    x, y = directions[:, 1]
    angle = np.degrees(np.arctan2(y, x))
    angle = angle - 180 if angle > 90 else angle + 180 if angle <= -90 else angle
    return Shape(float(angle), float(np.sqrt(lengths[1] / lengths[0])))


def area(errors: pd.Series, reference: float, tolerance: float) -> float:
    """Area of the cells with errors up to `tolerance` times `reference`, in decades of η times decades of λ.

    The shear has determinant 1: it is the same in either coordinate.
    """
    cells = int((errors <= tolerance * reference).sum())
    return cells * float(np.prod(cell_sides(errors.index) / np.log(10)))


def at_border(cells: pd.MultiIndex, grid: pd.MultiIndex) -> float:
    """Share of the cells at the border of the grid, beyond which a region may go on."""
    ends = [(level.min(), level.max()) for level in (grid.get_level_values(number) for number in (0, 1))]
    return float(np.mean([η in ends[0] or λ in ends[1] for η, λ in cells]))


def cell_sides(grid: pd.MultiIndex) -> np.ndarray:
    """Mean step of the grid in ln η and in ln λ."""
    values = (np.unique(grid.get_level_values(number)) for number in (0, 1))
    return np.array([np.log(level[-1] / level[0]) / (len(level) - 1) for level in values])
