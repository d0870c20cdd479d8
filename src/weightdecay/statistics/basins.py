"""Basins: the region of a grid of (η, λ) where a network does well, its orientation and its size.

Errors are tables `[seeds, cells]`; a cell is a pair (η, λ) of the columns. The axes are x = ln η and y = ln λ, with
PyTorch's λ. Loshchilov & Hutter write λ for the whole shrinkage of a step, so they have ln ηλ = x + y in place of y: a
shear. Whether a region is diagonal depends on this choice, so functions for shapes take a coordinate, "λ" or "ηλ".
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from weightdecay.statistics.estimates import means_of_others

SHEARS = {"λ": np.eye(2), "ηλ": np.array([[1.0, 0.0], [1.0, 1.0]])}  # coordinate of decay -> (x, y) in it
LEAST_CELLS = 3  # fewer cells have no orientation


class Shape(NamedTuple):
    """A region's shape: the angle of its longer axis to the η axis, in (−90, 90] degrees, and its ratio of axes."""

    angle: float
    anisotropy: float

    @property
    def tilt(self) -> float:
        """The degrees from the longer axis to the nearest axis of the plane: 45 for a diagonal region."""
        return 45 - abs(abs(self.angle) - 45)


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


def good_cells(errors: pd.Series, share: float = 0.1) -> pd.MultiIndex:
    """Return the `share` of cells with the lowest errors, and at least three if so many errors are known.

    Of equal cells the first counts.
    """
    return errors.index[_good(errors.to_numpy(dtype=float), share)]


def _good(errors: np.ndarray, share: float) -> np.ndarray:
    """Return the places of the good cells among errors `[cells]`, the best first."""
    (known,) = np.nonzero(~np.isnan(errors))
    return known[np.argsort(errors[known], kind="stable")[: max(LEAST_CELLS, round(share * len(errors)))]]


def shape(cells: pd.MultiIndex, grid: pd.MultiIndex, coordinate: str) -> Shape:
    """Return the principal axes of a set of cells of a grid, in the coordinate "λ" or "ηλ".

    They are those of the covariance of the area that the cells cover. This is the covariance of the centres plus that
    of a single cell, which is as wide as the steps of the grid. So cells in a row still have a width. NaN for fewer
    than `LEAST_CELLS` cells.
    """
    return _shape(_centres(cells), cell_sides(grid), coordinate)


def shapes(errors: pd.DataFrame, coordinate: str, share: float = 0.1) -> dict[int, Shape]:
    """Return for each seed the `shape` of its good cells: of many seeds in a tenth of the time."""
    centres, sides = _centres(errors.columns), cell_sides(errors.columns)
    rows = zip(errors.index, errors.to_numpy(dtype=float), strict=True)
    return {seed: _shape(centres[_good(row, share)], sides, coordinate) for seed, row in rows}


def _centres(cells: pd.MultiIndex) -> np.ndarray:
    """Return the centres `[cells, 2]` in (ln η, ln λ)."""
    return np.log(np.array(list(cells), dtype=float).reshape(-1, 2))


def _shape(centres: np.ndarray, sides: np.ndarray, coordinate: str) -> Shape:
    if len(centres) < LEAST_CELLS:
        return Shape(np.nan, np.nan)
    (angle,), (ratio,) = _axes(centres[None], sides, coordinate)
    return Shape(float(angle), float(ratio))


def tilts(errors: np.ndarray, grid: pd.MultiIndex, coordinate: str, share: float = 0.1) -> np.ndarray:
    """Return the tilts of many surfaces `[surfaces, cells]`: `shape(good_cells(row), grid, coordinate).tilt`.

    NaN for a surface that has fewer known cells than should be good.
    """
    count = max(LEAST_CELLS, round(share * len(grid)))
    few = np.isfinite(errors).sum(axis=1) < count
    if few.all():
        return np.full(len(errors), np.nan)
    best = np.argsort(errors, axis=1, kind="stable")[:, :count]
    angles, _ = _axes(_centres(grid)[best], cell_sides(grid), coordinate)
    return np.where(few, np.nan, 45 - np.abs(np.abs(angles) - 45))


def noise_tilts(grid: pd.MultiIndex, coordinate: str, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Return the tilts `[draws]` of basins on surfaces of pure noise, where the good cells are random."""
    return tilts(generator.random((draws, len(grid))), grid, coordinate)


def renoised(errors: pd.DataFrame, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Draw surfaces `[draws, cells]` of log error: the mean over seeds plus, in each cell, the noise of a random seed.

    `errors` are positive, `[seeds, cells]`, of at least two seeds. The noise of a seed is the distance of its log
    errors from the mean, less the median of this distance over cells, which is a factor common to the surface and does
    not affect its shape. It is multiplied by √(n/(n − 1)), because the seed has a share in the mean. A statistic of
    these surfaces, less that of the mean surface, is what noise adds to the statistic. A draw is NaN where its seed
    does not know the cell.
    """
    logs, n = np.log(errors), len(errors)
    mean = logs.mean().to_numpy()
    noise = logs - mean
    noise = noise.sub(noise.median(axis=1), axis=0).to_numpy() * np.sqrt(n / (n - 1))
    picked = generator.integers(0, n, (draws, logs.shape[1]))
    return mean + noise[picked, np.arange(logs.shape[1])]


def _axes(points: np.ndarray, sides: np.ndarray, coordinate: str) -> tuple[np.ndarray, np.ndarray]:
    """Return angles and ratios of axes `[sets]` of sets of cells with centres `[sets, cells, 2]` in (ln η, ln λ).

    `sides` are those of a cell.
    """
    if np.isnan(sides).any():
        return np.full(len(points), np.nan), np.full(len(points), np.nan)
    apart = points - points.mean(axis=1, keepdims=True)
    covariance = np.swapaxes(apart, 1, 2) @ apart / points.shape[1] + np.diag(sides**2) / 12
    lengths, directions = np.linalg.eigh(SHEARS[coordinate] @ covariance @ SHEARS[coordinate].T)
    angles = np.degrees(np.arctan2(directions[:, 1, 1], directions[:, 0, 1]))
    angles = np.where(angles > 90, angles - 180, np.where(angles <= -90, angles + 180, angles))
    return angles, np.sqrt(lengths[:, 1] / lengths[:, 0])


def areas(errors: pd.DataFrame, references: pd.Series, tolerance: float) -> pd.Series:
    """Return per seed the area of the cells with errors up to `tolerance` times its reference.

    The unit is decades of η times decades of λ. The area is the same in both coordinates, as the shear has determinant
    1. NaN for a seed whose reference is unknown.
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


def at_border(errors: pd.DataFrame, share: float = 0.1) -> pd.Series:
    """Return per seed the share of its good cells at the border of the grid, where a region may extend beyond.

    NaN for a seed without cells.
    """
    levels = [errors.columns.get_level_values(level) for level in (0, 1)]
    border = np.any([(level == level.min()) | (level == level.max()) for level in levels], axis=0)
    shares = [border[good].mean() if len(good := _good(row, share)) else np.nan for row in errors.to_numpy(dtype=float)]
    return pd.Series(shares, errors.index, dtype=float)


def cell_sides(grid: pd.MultiIndex) -> np.ndarray:
    """Return the mean step of the grid in ln η and in ln λ; NaN where it has fewer than two values."""
    values = [np.unique(grid.get_level_values(number)) for number in (0, 1)]
    return np.array([np.log(v[-1] / v[0]) / (len(v) - 1) if len(v) > 1 else np.nan for v in values])
