"""Shapes of a curve: where it peaks, where it falls to a level, and how much it rises or falls again.

The curves are quantities against width, against the number of features or against the step. Whatever must be chosen,
such as the place of a peak, is chosen on the mean of the other seeds and then read on the seed that was left out
(`estimates.leave_one_out`), or noise alone would make peaks. If curves are logarithms, differences are logarithms of
ratios. NaN is an unknown value. It is never chosen, and a seed whose value at the chosen place is unknown gives NaN.
"""

from functools import reduce

import numpy as np
import pandas as pd

from weightdecay.statistics.estimates import leave_one_out


def peak(curve: pd.Series) -> float:
    """Return where a curve is highest above its lowest point so far, or its first point if it never rises.

    The largest value does not count as the peak: the smallest networks have the largest error, because they underfit.
    NaN for a curve without values.
    """
    return (curve - curve.cummin()).idxmax() if curve.notna().any() else np.nan


def first_minimum(curve: pd.Series) -> float:
    """Return where a curve is lowest up to its peak, or the peak itself if it never rises; NaN without values."""
    return curve.loc[: peak(curve)].idxmin() if curve.notna().any() else np.nan


def first_falls(curves: pd.DataFrame) -> pd.Series:
    """Return per seed how far the curve falls from its first point to the lowest one before the peak.

    0 if the first point is the lowest one, and if the curve never rises: it then has no peak to fall before.
    """
    return leave_one_out(curves, lambda others, own: own.iloc[0] - own[first_minimum(others)])


def first_rises(curves: pd.DataFrame) -> pd.Series:
    """Return per seed the height of the peak above the lowest point before it, or 0; `curves` are `[seeds, x]`."""
    return leave_one_out(curves, lambda others, own: own[peak(others)] - own[first_minimum(others)])


def last_falls(curves: pd.DataFrame) -> pd.Series:
    """Return per seed the height of the peak above the end of the curve; 0 if the peak is at the end."""
    return leave_one_out(curves, lambda others, own: own[peak(others)] - own.iloc[-1])


def largest_rises(curves: pd.DataFrame) -> pd.Series:
    """Return per seed the largest rise from a point to a later point; negative if the curve only falls."""

    def of_seed(others: pd.Series, own: pd.Series) -> float:
        known = others.dropna()
        if len(known) < 2:
            return np.nan
        rise = known.to_numpy() - known.to_numpy()[:, None]  # [from, to]
        rise[np.tril_indices(len(known))] = -np.inf
        start, end = (known.index[place] for place in np.unravel_index(rise.argmax(), rise.shape))
        return own[end] - own[start]

    return leave_one_out(curves, of_seed)


def at_largest(curves: pd.DataFrame, values: pd.DataFrame) -> pd.Series:
    """Return per seed its value in `values` `[seeds, x]` at the x where the other seeds' mean curve is largest."""
    chosen = leave_one_out(curves, lambda others, own: float(others.index.get_loc(others.idxmax())))
    found = {seed: values.loc[seed].iloc[int(place)] for seed, place in chosen.dropna().items()}
    return pd.Series(found, dtype=float).reindex(chosen.index)


def rises_and_falls(curves: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return per seed the rise and the fall between three successive points of its curve.

    The points are chosen so that the smaller of rise and fall is as large as possible.
    """

    def points(others: pd.Series) -> tuple[object, object, object]:
        known = others.dropna()
        values = known.to_numpy()
        before, after = np.minimum.accumulate(values), np.minimum.accumulate(values[::-1])[::-1]
        peak = int(np.argmax(values - np.maximum(before, after)))
        return known.index[values[: peak + 1].argmin()], known.index[peak], known.index[peak + values[peak:].argmin()]

    def rise(others: pd.Series, own: pd.Series) -> float:
        start, peak, _ = points(others)
        return own[peak] - own[start]

    def fall(others: pd.Series, own: pd.Series) -> float:
        _, peak, end = points(others)
        return own[peak] - own[end]

    return leave_one_out(curves, rise), leave_one_out(curves, fall)


def crossing(curve: pd.Series, level: float) -> float:
    """Return where a positive curve first falls to `level`, interpolated between its points on logarithmic axes.

    If the curve begins below the level, this is its first point. NaN if it never falls so low.
    """
    curve = curve.dropna()
    below = np.flatnonzero(curve.to_numpy() <= level)
    if not len(below):
        return np.nan
    end = below[0]
    if end == 0:
        return float(curve.index[0])
    x, y = np.log(curve.index[end - 1 : end + 1].to_numpy(float)), np.log(curve.iloc[end - 1 : end + 1].to_numpy())
    return float(np.exp(x[0] + (np.log(level) - y[0]) / (y[1] - y[0]) * (x[1] - x[0])))


def vertex(curve: pd.Series) -> float:
    """Return where a positive curve is largest, by a parabola on log axes through its largest point and the two beside.

    If the largest point is an end of the curve, it is returned itself. Unknown points are left out. NaN without points.
    """
    curve = curve.dropna()
    if curve.empty:
        return np.nan
    top = int(curve.to_numpy().argmax())
    if top in (0, len(curve) - 1):
        return float(curve.index[top])
    x = np.log(curve.index[top - 1 : top + 2].to_numpy(float))
    square, linear, _ = np.polyfit(x - x[1], np.log(curve.iloc[top - 1 : top + 2].to_numpy()), 2)
    return float(np.exp(x[1] - linear / (2 * square))) if square < 0 else float(curve.index[top])


def valley(curve: pd.Series, points: int = 5) -> float:
    """Return where a positive curve is lowest, by a parabola on log axes through the points around its lowest point.

    The parabola is fitted by least squares to `points` points, or fewer near an end. If it has no minimum among these
    points, the lowest point itself is returned. NaN if the lowest point is an end, where the curve may fall further.
    """
    return _valley(curve.index.to_numpy(dtype=float), curve.to_numpy(dtype=float), points)


def _valley(x: np.ndarray, y: np.ndarray, points: int) -> float:
    known = ~np.isnan(y)
    x, y = x[known], y[known]
    low = int(y.argmin()) if len(y) else 0
    if low in (0, len(y) - 1) or not len(y):
        return np.nan
    near = slice(max(0, low - points // 2), low + points // 2 + 1)
    logs = np.log(x[near])
    square, linear, _ = np.polyfit(logs - logs.mean(), np.log(y[near]), 2)
    if square <= 0 or not logs[0] <= (found := logs.mean() - linear / (2 * square)) <= logs[-1]:
        return float(x[low])
    return float(np.exp(found))


def located(curve: pd.Series) -> tuple[float, int]:
    """Return where a positive curve is lowest, and 0 if this is known, 1 if it is a lower bound, −1 if an upper bound.

    Inside the curve this is `valley`. If the lowest point is an end, it is a bound: the geometric mean of this end and
    the point next to it. The minimum lies beyond it if the curve is symmetric about its minimum on a logarithmic axis.
    NaN never counts as the lowest. If it hides one side of the lowest point, that point itself is returned. NaN for a
    curve without values.
    """
    return located_at(curve.index.to_numpy(dtype=float), curve.to_numpy(dtype=float))


def located_at(x: np.ndarray, y: np.ndarray) -> tuple[float, int]:
    """Return what `located` does, for a curve with the values `y` `[n]` at `x` `[n]`; a series takes far longer."""
    if np.isnan(y).all():
        return np.nan, 0
    low, last = int(np.nanargmin(y)), len(y) - 1
    if low in (0, last):
        inner = x[min(1, last) if low == 0 else last - 1]
        return float(np.sqrt(x[low] * inner)), 1 if low else -1
    found = _valley(x, y, points=5)
    return (float(x[low]) if np.isnan(found) else found), 0


def best_settings(validation: dict[float, pd.DataFrame], joint: bool = False) -> pd.DataFrame:
    """Return the setting with the lowest validation loss for each seed and x, `[seeds, x]`.

    `validation` has the losses `[seeds, x]` by setting. `joint`: choose one setting for all x, with the lowest
    geometric mean over the x that have a loss. NaN where no setting has a loss. Seeds and x are those of any setting.
    """
    if not validation:
        return pd.DataFrame(dtype=float)
    settings, tables = np.array(list(validation)), _of_one_shape(list(validation.values()))
    logs = np.log(np.stack([table.to_numpy(dtype=float) for table in tables]))  # [settings, seeds, x]
    if joint:
        counted = (~np.isnan(logs)).sum(2, keepdims=True)
        logs = np.broadcast_to(np.nansum(logs, axis=2, keepdims=True) / np.where(counted, counted, np.nan), logs.shape)
    known = ~np.isnan(logs).all(0)
    best = np.where(known, settings[np.where(np.isnan(logs), np.inf, logs).argmin(0)], np.nan)
    return pd.DataFrame(best, index=tables[0].index, columns=tables[0].columns)


def _of_one_shape(tables: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Return the tables with the rows and columns that any of them has, and NaN where a table has no value."""
    rows, columns = (
        reduce(lambda first, second: first.union(second), (getattr(table, axis) for table in tables))
        for axis in ("index", "columns")
    )
    return [table.reindex(index=rows, columns=columns) for table in tables]


def at_settings(values: dict[float, pd.DataFrame], settings: pd.DataFrame) -> pd.DataFrame:
    """Return values `[seeds, x]`, each taken from the setting that `settings` names for this seed and x."""
    result = pd.DataFrame(np.nan, index=settings.index, columns=settings.columns)
    for setting, table in values.items():
        result = result.mask(settings == setting, table)
    return result
