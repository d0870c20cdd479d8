"""Shapes of a curve: where it peaks, where it falls to a level, how much it rises or falls again.

For quantities against width, against the number of features or against the step. What has to be chosen (the place of a
peak, say) is chosen on the mean of the other seeds and read on the seed left out (`statistics.leave_one_out`), or noise
alone would make peaks. On logarithms the differences are logarithms of ratios. A NaN is a value that is not known:
nothing is chosen there, and a seed that lacks the value chosen has NaN.
"""

from functools import reduce

import numpy as np
import pandas as pd

from weightdecay.statistics.estimates import leave_one_out


def peak(curve: pd.Series) -> float:
    """Return where a curve stands highest above its lowest point so far; its first point where it never rises.

    Not the largest value: networks too small for anything do worst of all, and are no peak. NaN for a curve without a
    value.
    """
    return (curve - curve.cummin()).idxmax() if curve.notna().any() else np.nan


def first_minimum(curve: pd.Series) -> float:
    """Return where a curve is lowest up to its peak.

    The peak itself where it never rises. NaN for a curve without a value.
    """
    return curve.loc[: peak(curve)].idxmin() if curve.notna().any() else np.nan


def first_rises(curves: pd.DataFrame) -> pd.Series:
    """Return per seed the height of the peak above the lowest point before it; from curves `[seeds, x]`. 0: no peak."""
    return leave_one_out(curves, lambda others, own: own[peak(others)] - own[first_minimum(others)])


def last_falls(curves: pd.DataFrame) -> pd.Series:
    """Return per seed the height of the peak above the curve's end; 0 where the end is the peak."""
    return leave_one_out(curves, lambda others, own: own[peak(others)] - own.iloc[-1])


def largest_rises(curves: pd.DataFrame) -> pd.Series:
    """Return per seed the largest rise from a point to a later one; negative where the curve falls throughout."""

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
    """Return per seed its `values` `[seeds, x]` where the other seeds' curve is largest."""
    chosen = leave_one_out(curves, lambda others, own: float(others.index.get_loc(others.idxmax())))
    found = {seed: values.loc[seed].iloc[int(place)] for seed, place in chosen.dropna().items()}
    return pd.Series(found, dtype=float).reindex(chosen.index)


def rises_and_falls(curves: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Return per seed the rise and the fall between three points in order, chosen for the largest lesser of the two."""

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
    """Return where a positive curve first falls to `level`, between its points on logarithmic axes.

    NaN where it never does.

    The first point itself where the curve begins below.
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
    """Return where a positive curve is largest, by a parabola on log axes through its largest point and the next two.

    The largest point itself where that is an end of the curve. Points without a value are left out; NaN without any.
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
    """Return where a positive curve is lowest, by a parabola on log axes through its lowest point and those about it.

    Least squares over `points` of the curve's, or as many of them as it has; NaN where the lowest is an end, beyond
    which the curve may fall on. The lowest point itself where the parabola has no minimum among those points.
    """
    curve = curve.dropna()
    low = int(curve.to_numpy().argmin()) if len(curve) else 0
    if low in (0, len(curve) - 1) or curve.empty:
        return np.nan
    near = curve.iloc[max(0, low - points // 2) : low + points // 2 + 1]
    x = np.log(near.index.to_numpy(float))
    square, linear, _ = np.polyfit(x - x.mean(), np.log(near.to_numpy()), 2)
    if square <= 0 or not x[0] <= (found := x.mean() - linear / (2 * square)) <= x[-1]:
        return float(curve.index[low])
    return float(np.exp(found))


def located(curve: pd.Series) -> tuple[float, int]:
    """Return where a positive curve is lowest, and 0 where that is known, 1 or −1 where it is a lower or upper bound.

    `valley`; where the lowest is an end of the curve, the geometric middle between that end and the point next to it,
    beyond which the minimum of a curve that is symmetric about it on a logarithmic axis lies. A NaN is no low point,
    and where it hides one side of the lowest that point stands. NaN for a curve without a value.
    """
    if curve.isna().all():
        return np.nan, 0
    low, last = int(np.nanargmin(curve.to_numpy(dtype=float))), len(curve) - 1
    if low in (0, last):
        inner = curve.index[min(1, last) if low == 0 else last - 1]
        return float(np.sqrt(curve.index[low] * inner)), 1 if low else -1
    found = valley(curve)
    return (float(curve.index[low]) if np.isnan(found) else found), 0


def best_settings(validation: dict[float, pd.DataFrame], joint: bool = False) -> pd.DataFrame:
    """Return the setting with the lowest validation loss, per seed and x, `[seeds, x]`.

    From losses `[seeds, x]` by setting.

    `joint`: one setting for all x, that with the lowest geometric mean over those that have a loss. NaN where none has.
    The seeds and the x are those that any setting has.
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
    """The same tables on the rows and the columns that any of them has, NaN where it has none."""
    rows, columns = (
        reduce(lambda first, second: first.union(second), (getattr(table, axis) for table in tables))
        for axis in ("index", "columns")
    )
    return [table.reindex(index=rows, columns=columns) for table in tables]


def at_settings(values: dict[float, pd.DataFrame], settings: pd.DataFrame) -> pd.DataFrame:
    """Return values `[seeds, x]`, each of the setting that `settings` names there."""
    result = pd.DataFrame(np.nan, index=settings.index, columns=settings.columns)
    for setting, table in values.items():
        result = result.mask(settings == setting, table)
    return result
