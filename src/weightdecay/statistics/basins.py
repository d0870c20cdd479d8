"""Basins: the region of a grid of (η, λ) where a network does well, its best cell and its size.

Errors are tables `[seeds, cells]`; a cell is a pair (η, λ) of the columns. Whether a basin is separable is in
`separability`.
"""

import numpy as np
import pandas as pd

from weightdecay.statistics.estimates import leave_one_out


def best_cells(errors: pd.DataFrame) -> pd.Series:
    """Return per seed the position of the cell with the lowest mean over the other seeds.

    Seeds without such a cell are left out.
    """
    found = leave_one_out(errors, lambda others, own: int(np.nanargmin(others.to_numpy(dtype=float))))
    return found.dropna().astype(int)


def at_cells(values: pd.DataFrame, cells: pd.Series) -> pd.Series:
    """Return per seed its value in its own cell of `cells` (see `best_cells`); NaN for a seed without a cell."""
    found = pd.Series({seed: values.loc[seed].iloc[cell] for seed, cell in cells.items()}, dtype=float)
    return found.reindex(values.index)


def area(errors: pd.Series, reference: float, tolerance: float) -> float:
    """Return the area of the cells with errors up to `tolerance` times `reference`, in decades of η times decades of λ.

    It is the same against λ and against ηλ, as the one is a shear of the other. NaN if the reference is unknown.
    """
    if np.isnan(reference):
        return np.nan
    cells = int((errors <= tolerance * reference).sum())
    return cells * float(np.prod(cell_sides(errors.index) / np.log(10)))


def at_edge(errors: pd.Series, reference: float, tolerance: float) -> float:
    """Return which share of the boundary of the region of `area`, in sides of cells, is the edge of the grid."""
    table = errors.unstack().sort_index().sort_index(axis=1) <= tolerance * reference  # [η, λ]
    inside = np.pad(table.to_numpy(), 1)
    boundary = sum(np.count_nonzero(np.diff(inside.astype(int), axis=axis)) for axis in (0, 1))
    rim = table.to_numpy()
    edge = sum(int(line.sum()) for line in (rim[0], rim[-1], rim[:, 0], rim[:, -1]))
    return edge / boundary if boundary else np.nan


def cell_sides(grid: pd.MultiIndex) -> np.ndarray:
    """Return the mean step of the grid in ln η and in ln λ; NaN where it has fewer than two values."""
    values = [np.unique(grid.get_level_values(number)) for number in (0, 1)]
    return np.array([np.log(v[-1] / v[0]) / (len(v) - 1) if len(v) > 1 else np.nan for v in values])
