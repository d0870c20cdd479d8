"""Prediction intervals: where one more run would lie, to which a number published from a single run can be held."""

import math

import numpy as np
from numpy.typing import ArrayLike

from weightdecay.statistics.estimates import UNBOUNDED, Estimate, student_t


def prediction(per_seed: ArrayLike, bounds: tuple[float, float] = UNBOUNDED, logarithmic: bool = False) -> Estimate:
    """Return the median of one number per seed `[n]`, and the 95 % prediction interval of one more run.

    The interval is mean ± t(n−1) s √(1 + 1/n), cut at `bounds`; it is unknown for fewer than two seeds. `logarithmic`:
    it is that of the logarithms, for positive numbers. ValueError on NaN. Source: Hahn & Meeker 1991, Statistical
    Intervals, section 4.7.
    """
    values = np.asarray(per_seed, dtype=float)
    if np.isnan(values).any():
        raise ValueError("a prediction needs a number from every seed")
    n = len(values)
    if n < 2:
        return Estimate(float(values[0]) if n else math.nan, math.nan, math.nan, n)
    scaled = np.log(values) if logarithmic else values
    reach = student_t(n) * scaled.std(ddof=1) * math.sqrt(1 + 1 / n)
    ends = scaled.mean() - reach, scaled.mean() + reach
    low, high = np.clip(np.exp(ends) if logarithmic else ends, *bounds)
    return Estimate(float(np.median(values)), float(low), float(high), n)


def lies_within(value: float, found: Estimate, error: float) -> bool | None:
    """Return whether a published value, read to within `error`, lies in an interval; None if that is unknown."""
    outside = distance(value, found)
    return None if math.isnan(outside) else outside <= error


def distance(value: float, found: Estimate) -> float:
    """Return how far a value lies outside an interval: 0 within it, NaN if the interval is unknown."""
    return math.nan if math.isnan(found.low) else max(found.low - value, value - found.high, 0.0)
