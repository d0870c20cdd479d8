"""Basins: the region of a grid of (η, λ) where a network does well, its best cell and its size.

Errors are tables `[seeds, cells]`; a cell is a pair (η, λ) of the columns. Whether a basin is separable is in
`separability`.
"""

import numpy as np
import pandas as pd

from weightdecay.statistics.estimates import means_of_others


def best_cells(errors: pd.DataFrame) -> pd.Series:
    """Return per seed the position of the cell with the lowest mean over the other seeds.

    Seeds without such a cell are left out.
    """
    if len(errors) < 2:
        return pd.Series(dtype=int)
    means = pd.DataFrame(means_of_others(errors), errors.index).dropna(how="all")
    return pd.Series(np.nanargmin(means.to_numpy(), axis=1), means.index)


def at_cells(values: pd.DataFrame, cells: pd.Series) -> pd.Series:
    """Return per seed its value in its own cell of `cells` (see `best_cells`); NaN for a seed without a cell."""
    rows = values.index.get_indexer(cells.index)
    return pd.Series(values.to_numpy(dtype=float)[rows, cells.to_numpy()], cells.index).reindex(values.index)


def areas(errors: pd.DataFrame, references: pd.Series, tolerance: float) -> pd.Series:
    """Return per seed the area of the cells with errors up to `tolerance` times the seed's reference.

    The unit is decades of η times decades of λ. The area is the same against λ and against ηλ, as the one is a shear of
    the other. NaN for a seed whose reference is unknown.
    """
    cells = errors.le(tolerance * references, axis="index").sum(axis=1)
    return (cells * float(np.prod(cell_sides(errors.columns) / np.log(10)))).where(references.notna())


def at_edges(errors: pd.DataFrame, references: pd.Series, tolerance: float) -> pd.Series:
    """Return per seed which share of the boundary of the region of `areas`, in sides of cells, is the grid's edge.

    NaN for a seed whose region is empty.
    """
    η, λ = (np.unique(errors.columns.get_level_values(level), return_inverse=True)[1] for level in (0, 1))
    inside = np.zeros((len(errors), η.max() + 3, λ.max() + 3), dtype=int)  # [seeds, η, λ], with a rim outside the grid
    inside[:, η + 1, λ + 1] = errors.le(tolerance * references, axis="index")
    boundary = sum(np.count_nonzero(np.diff(inside, axis=axis), axis=(1, 2)) for axis in (1, 2))
    grid = inside[:, 1:-1, 1:-1]
    edge = sum(side.sum(axis=1) for side in (grid[:, 0], grid[:, -1], grid[:, :, 0], grid[:, :, -1]))
    return pd.Series(edge / np.where(boundary, boundary, np.nan), errors.index)


def cell_sides(grid: pd.MultiIndex) -> np.ndarray:
    """Return the mean step of the grid in ln η and in ln λ; NaN where it has fewer than two values."""
    values = [np.unique(grid.get_level_values(number)) for number in (0, 1)]
    return np.array([np.log(v[-1] / v[0]) / (len(v) - 1) if len(v) > 1 else np.nan for v in values])
