"""Where the best λ lies: per seed its bounds, and estimates made of them.

The bounds `low, high` of a seed are equal where the best λ lies inside its grid. At an end of the grid it is censored,
and one of them is 0 or ∞. Ratios and powers take the bounds with them, and an interval is open where one is infinite.
How far beyond its grid a censored one lies is not known, so nothing may hang on where the grid ends: what lies below a
bound lies below a larger one too, and an outlier made of a bound would widen the interval of what it bounds.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weightdecay.statistics.estimates import UNKNOWN, Estimate, mean_interval
from weightdecay.statistics.shapes import vertex


def best_of(losses: pd.Series) -> tuple[float, float]:
    """Bounds of the λ of the lowest loss, from losses by λ; between those of the grid by a parabola on log axes.

    Censored where the lowest is λ = 0 or the smallest (0, the next larger λ) or the largest (the next smaller λ, ∞):
    the two between which a curve with one minimum has it. A diverged run has no loss. NaN where none has.
    """
    losses = losses.dropna()
    if losses.empty:
        return np.nan, np.nan
    decayed, lowest = losses[losses.index > 0], losses.idxmin()
    last, place = len(decayed) - 1, decayed.index.get_loc(lowest) if lowest > 0 else -1
    if 0 < place < last:
        return (vertex(1 / decayed),) * 2
    return decayed.index[place - 1] if place > 0 else 0.0, decayed.index[place + 1] if place < last else np.inf


def censored(best: pd.DataFrame) -> pd.DataFrame:
    """The seeds whose bounds differ."""
    return best[best["low"] < best["high"]]


def place(best: pd.DataFrame) -> Estimate:
    """Geometric mean and interval of the best λ."""
    return exponential(bounded(*logarithms(best)))


def quotient(first: pd.DataFrame, second: pd.DataFrame) -> Estimate:
    """Geometric mean and interval of the first best λ over the second, same seeds."""
    (low, high), (other_low, other_high) = logarithms(first), logarithms(second)
    return exponential(bounded(low - other_high, high - other_low))


def power(best: Mapping[int, pd.DataFrame]) -> Estimate:
    """Mean and interval of the power of n that the best λ goes as, from bests by n: slopes of least squares."""
    x = np.log(list(best))
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()  # the slope is their product with log λ
    ends = [0.0, 0.0]
    for weight, table in zip(weights, best.values(), strict=True):
        if abs(weight) > 1e-9 * np.abs(weights).max():  # the middle one has no weight, and may have no bound
            low, high = logarithms(table)[:: 1 if weight > 0 else -1]
            ends = [ends[0] + weight * low, ends[1] + weight * high]
    return bounded(*ends)


def logarithms(best: pd.DataFrame) -> tuple[pd.Series, pd.Series]:
    """Logarithms of the bounds; of 0 it is −∞. Seeds that are censored on the same side share the loosest bound."""
    with np.errstate(divide="ignore"):
        low, high = np.log(best["low"]), np.log(best["high"])
    below, above = np.isneginf(low), np.isposinf(high)
    return low.where(~above, low[above].min()), high.where(~below, high[below].max())


def bounded(low: pd.Series, high: pd.Series) -> Estimate:
    """Mean and interval of a number known per seed to lie in [low, high], one of which may be infinite.

    The ends are those of the mean lower and of the mean upper bound, each with its t interval. A seed's upper bound
    without a lower one is first raised to the smallest value that is known, where there is any, and a lower bound
    without an upper one is lowered to the largest. Where a seed has one bound alone, that one enters the value.
    Of four normal values censored at a tight bound, an end so made misses the mean in up to 6 % (6 % unraised,
    2.5 % uncensored); bounds that are looser miss it less. UNKNOWN where a seed has no value.
    """
    if low.empty or low.isna().any() or high.isna().any():
        return UNKNOWN
    below, above = np.isneginf(low), np.isposinf(high)
    known = ~(below | above)
    low = low.where(~above, low.clip(upper=low[known].max()))
    high = high.where(~below, high.clip(lower=high[known].min()))
    entering = low.where(~below, high)
    value = entering.mean() if np.isfinite(entering).all() else np.nan
    lower = mean_interval(low).low if np.isfinite(low).all() else -np.inf
    upper = mean_interval(high).high if np.isfinite(high).all() else np.inf
    return Estimate(float(value), float(lower), float(upper), len(low))


def exponential(estimate: Estimate) -> Estimate:
    """An estimate of a logarithm as one of the number itself.

    To 12 digits: a bound is a value of the grid, which a criterion may name, and exp(log(1e-5)) is below 1e-5.
    """
    value, low, high = (float(f"{np.exp(end):.12g}") for end in estimate[:3])
    return Estimate(value, low, high, estimate.n)
