"""Basins: where in a grid of (η, λ) a network does well, how that region lies, and how large it is.

Errors are tables `[seeds, cells]`, a cell a pair (η, λ) of the columns. Axes are x = ln η and y = ln λ, of PyTorch's
λ; Loshchilov & Hutter write λ for the whole shrinkage of a step, so that their y is ln ηλ, x more: a shear. A region is
diagonal or along an axis only in somebody's coordinates, so every shape here is asked for in one of the two.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

from weightdecay.statistics.estimates import leave_one_out

SHEARS = {"λ": np.eye(2), "ηλ": np.array([[1.0, 0.0], [1.0, 1.0]])}  # coordinate of decay -> (x, y) in it
LEAST_CELLS = 3  # that have an orientation


class Shape(NamedTuple):
    """Of a region: angle of its longer axis from the η axis, degrees in (−90, 90], and its ratio of axes."""

    angle: float
    anisotropy: float

    @property
    def tilt(self) -> float:
        """Return the degrees from the longer axis to the nearer axis of the plane: 45 on a diagonal."""
        return 45 - abs(abs(self.angle) - 45)


def best_cells(errors: pd.DataFrame) -> pd.Series:
    """Return per seed the position of the cell with the lowest mean over the other seeds; of those that have one."""
    found = leave_one_out(errors, lambda others, own: int(np.nanargmin(others.to_numpy(dtype=float))))
    return found.dropna().astype(int)


def at_cells(values: pd.DataFrame, cells: pd.Series) -> pd.Series:
    """Return per seed its value in its cell, one of `best_cells`; NaN for a seed without one."""
    found = pd.Series({seed: values.loc[seed].iloc[cell] for seed, cell in cells.items()}, dtype=float)
    return found.reindex(values.index)


def good_cells(errors: pd.Series, share: float = 0.1) -> pd.MultiIndex:
    """Return the `share` of cells with the lowest errors, at least three.

    The first of equals. Fewer where few are known.
    """
    count, known = max(LEAST_CELLS, round(share * len(errors))), errors.dropna()
    return known.index[np.argsort(known.to_numpy(), kind="stable")[:count]]


def shape(cells: pd.MultiIndex, grid: pd.MultiIndex, coordinate: str) -> Shape:
    """Return the principal axes of a set of cells of a grid, in the coordinate "λ" or "ηλ".

    From the covariance of the area that the cells cover, which is that of their centres and that of a cell itself, as
    wide as the grid's steps: cells in a row are no line. NaN for fewer than `LEAST_CELLS`.
    """
    if len(cells) < LEAST_CELLS:
        return Shape(np.nan, np.nan)
    (angle,), (ratio,) = _axes(np.log(np.array(list(cells), dtype=float))[None], grid, coordinate)
    return Shape(float(angle), float(ratio))


def tilts(errors: np.ndarray, grid: pd.MultiIndex, coordinate: str, share: float = 0.1) -> np.ndarray:
    """Return of many surfaces `[surfaces, cells]`, in degrees: `shape(good_cells(row), grid, coordinate).tilt`.

    NaN for a surface of which fewer cells are known than are good.
    """
    count = max(LEAST_CELLS, round(share * len(grid)))
    few = np.isfinite(errors).sum(axis=1) < count
    if few.all():
        return np.full(len(errors), np.nan)
    best = np.argsort(errors, axis=1, kind="stable")[:, :count]
    angles, _ = _axes(np.log(np.array(list(grid), dtype=float))[best], grid, coordinate)
    return np.where(few, np.nan, 45 - np.abs(np.abs(angles) - 45))


def noise_tilts(grid: pd.MultiIndex, coordinate: str, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Return the tilts `[draws]` of basins on surfaces that are noise and nothing else: cells drawn at random."""
    return tilts(generator.random((draws, len(grid))), grid, coordinate)


def renoised(errors: pd.DataFrame, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Draw surfaces `[draws, cells]`: the mean over seeds and the noise of one, of each cell from a seed at random.

    Logarithms of both, from positive errors `[seeds, cells]` of two seeds at least. Noise: a seed's distance from the
    mean, less its median over cells, a factor common to the surface that shapes nothing; times √(n/(n − 1)), as the
    mean has a share in it. What a statistic of them has beyond that of the mean is what noise adds to it. NaN in a draw
    whose seed does not know the cell.
    """
    logs, n = np.log(errors), len(errors)
    mean = logs.mean().to_numpy()
    noise = logs - mean
    noise = noise.sub(noise.median(axis=1), axis=0).to_numpy() * np.sqrt(n / (n - 1))
    picked = generator.integers(0, n, (draws, logs.shape[1]))
    return mean + noise[picked, np.arange(logs.shape[1])]


def _axes(points: np.ndarray, grid: pd.MultiIndex, coordinate: str) -> tuple[np.ndarray, np.ndarray]:
    """Angles and ratios of axes `[sets]` of sets of cells, by their centres `[sets, cells, 2]` in (ln η, ln λ)."""
    sides = cell_sides(grid)
    if np.isnan(sides).any():
        return np.full(len(points), np.nan), np.full(len(points), np.nan)
    apart = points - points.mean(axis=1, keepdims=True)
    covariance = np.swapaxes(apart, 1, 2) @ apart / points.shape[1] + np.diag(sides**2) / 12
    lengths, directions = np.linalg.eigh(SHEARS[coordinate] @ covariance @ SHEARS[coordinate].T)
    angles = np.degrees(np.arctan2(directions[:, 1, 1], directions[:, 0, 1]))
    angles = np.where(angles > 90, angles - 180, np.where(angles <= -90, angles + 180, angles))
    return angles, np.sqrt(lengths[:, 1] / lengths[:, 0])


def area(errors: pd.Series, reference: float, tolerance: float) -> float:
    """Return the area of the cells with errors up to `tolerance` times `reference`, in decades of η times decades of λ.

    The shear has determinant 1: it is the same in either coordinate. NaN where the reference is not known.
    """
    if np.isnan(reference):
        return np.nan
    cells = int((errors <= tolerance * reference).sum())
    return cells * float(np.prod(cell_sides(errors.index) / np.log(10)))


def at_edge(errors: pd.Series, reference: float, tolerance: float) -> float:
    """Return the share of that region's boundary, in sides of cells, that is the edge of the window."""
    table = errors.unstack().sort_index().sort_index(axis=1) <= tolerance * reference  # [η, λ]
    inside = np.pad(table.to_numpy(), 1)
    boundary = sum(np.count_nonzero(np.diff(inside.astype(int), axis=axis)) for axis in (0, 1))
    rim = table.to_numpy()
    edge = sum(int(line.sum()) for line in (rim[0], rim[-1], rim[:, 0], rim[:, -1]))
    return edge / boundary if boundary else np.nan


def at_border(cells: pd.MultiIndex, grid: pd.MultiIndex) -> float:
    """Return the share of the cells at the border of the grid, beyond which a region may go on; NaN without cells."""
    if not len(cells):
        return np.nan
    ends = [(level.min(), level.max()) for level in (grid.get_level_values(number) for number in (0, 1))]
    return float(np.mean([η in ends[0] or λ in ends[1] for η, λ in cells]))


def cell_sides(grid: pd.MultiIndex) -> np.ndarray:
    """Return the mean step of the grid in ln η and in ln λ; NaN where it has no two values."""
    values = [np.unique(grid.get_level_values(number)) for number in (0, 1)]
    return np.array([np.log(v[-1] / v[0]) / (len(v) - 1) if len(v) > 1 else np.nan for v in values])
