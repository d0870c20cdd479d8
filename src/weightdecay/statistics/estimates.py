"""Estimates and their 95 % intervals over seeds.

The seed is the unit of replication. Every measurement is first reduced to one number per seed, and the interval is then
Student's t over these numbers. With the 3 to 20 seeds of this project, a percentile bootstrap would cover too little:
with n = 3, a nominal 95 % interval covers about 75 %. Student's t does not have this problem. Only a shear, which all
seeds give together, has a bootstrap, which is stretched accordingly (`separability`). Ratios and times are averaged on
the log scale.

No function here drops a value. NaN is refused, because the caller must decide and say what a failed run counts as
(accuracy 0, a censored time).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy import special

CONFIDENCE = 0.95
ACCURACY = (0.0, 1.0)  # bounds of an accuracy, and of any other share
DIFFERENCE = (-1.0, 1.0)  # bounds of a difference of two of them
UNBOUNDED = (-np.inf, np.inf)

Values: TypeAlias = Sequence[float] | np.ndarray | pd.Series  # one number per seed, `[n]`


class Estimate(NamedTuple):
    """A value and its 95 % interval over `n` seeds or trials; `low` and `high` are NaN if n is too small."""

    value: float
    low: float
    high: float
    n: int


UNKNOWN = Estimate(np.nan, np.nan, np.nan, 0)


def mean_interval(per_seed: Values, bounds: tuple[float, float] = UNBOUNDED) -> Estimate:
    """Return the mean of one number per seed `[n]` with Student's t interval, mean ± t(n-1) s/√n, clipped to `bounds`.

    Seeds that agree exactly give an interval of width 0, which says nothing about other seeds. ValueError on NaN.
    """
    values = _checked(per_seed)
    n = len(values)
    if n == 0:
        return UNKNOWN
    mean = float(values.mean())
    if n == 1:
        return Estimate(mean, np.nan, np.nan, 1)
    half = student_t(n) * (values.std(ddof=1) / np.sqrt(n))
    low, high = np.clip([mean - half, mean + half], *bounds)
    return Estimate(mean, float(low), float(high), n)


def student_t(n: int) -> float:
    """Return how many standard errors the 95 % interval of a mean of `n` numbers reaches to either side."""
    # scipy.stats.t.ppf gives the same bits, but takes a hundred times longer and a second to import
    return float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2))


def geometric_interval(per_seed: Values) -> Estimate:
    """Return the geometric mean of positive ratios or times `[n]`, with the t interval of their logarithms."""
    values = _checked(per_seed)
    if (values <= 0).any():
        raise ValueError(f"a geometric mean takes positive numbers, and the smallest here is {values.min():g}")
    value, low, high, n = mean_interval(np.log(values))
    return Estimate(float(np.exp(value)), float(np.exp(low)), float(np.exp(high)), n)


def every_seed(per_seed: pd.Series, bounds: tuple[float, float] = UNBOUNDED) -> Estimate:
    """Return the mean and its interval, as `mean_interval`, but UNKNOWN if any seed has no value.

    To leave such a seed out would select seeds by their result.
    """
    return UNKNOWN if per_seed.empty or per_seed.isna().any() else mean_interval(per_seed, bounds)


def ratio_interval(log_per_seed: pd.Series) -> Estimate:
    """Return the geometric mean of a ratio and its interval, from logarithms per seed; UNKNOWN as in `every_seed`."""
    value, low, high, n = every_seed(log_per_seed)
    return Estimate(float(np.exp(value)), float(np.exp(low)), float(np.exp(high)), n)


def ratio_of(first: pd.Series, second: pd.Series) -> Estimate:
    """Return `first` over `second`, both by seed: geometric mean and interval; UNKNOWN as in `every_seed`."""
    return ratio_interval(np.log(first / second))


def open_above(estimate: Estimate, censored: bool) -> Estimate:
    """Return the estimate; if `censored`, it is made of lower bounds, and so its interval is open above."""
    return estimate._replace(high=np.inf) if censored else estimate


def paired_interval(first: pd.Series, second: pd.Series, bounds: tuple[float, float] = UNBOUNDED) -> Estimate:
    """Return the mean of `first - second` and its interval, over the seeds that both have; both are indexed by seed."""
    return mean_interval((first - second).loc[first.index.intersection(second.index)], bounds)


def proportion_interval(successes: int, trials: int) -> Estimate:
    """Return the exact interval of a proportion (Clopper & Pearson 1934).

    It covers at least 95 %, and is wide for few trials.
    """
    if trials == 0:
        return UNKNOWN
    from scipy import stats  # which takes a second to import, and few findings need

    interval = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="exact")
    return Estimate(successes / trials, float(interval.low), float(interval.high), trials)


def rank_correlation(x: Values, y: Values) -> float:
    """Return Spearman's correlation of two series of one run; 0 if either is constant.

    The steps of a run are not independent, so its p-value would mean nothing. Compute one correlation per seed, and
    their interval.
    """
    first, second = _checked(x), _checked(y)
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    ranks = [pd.Series(values).rank() for values in (first, second)]  # scipy.stats takes a second to import
    return float(np.corrcoef(np.column_stack(ranks), rowvar=False)[1, 0])


def rank_correlation_interval(rows: pd.DataFrame, x: str, y: str) -> Estimate:
    """Return the mean over seeds of the rank correlation of two columns of `rows`, with its interval.

    UNKNOWN if a seed has a NaN or fewer than three rows.
    """
    known = {seed: len(own) > 2 and own[[x, y]].notna().all(axis=None) for seed, own in rows.groupby("seed")}
    found = {seed: rank_correlation(own[x], own[y]) if known[seed] else np.nan for seed, own in rows.groupby("seed")}
    return every_seed(pd.Series(found, dtype=float), DIFFERENCE)


def digits_interval(rows: pd.DataFrame, column: str) -> Estimate:
    """Return the mean over seeds of −log10 of the largest error of each seed, that is of the digits that are right.

    An error below 1e-17 counts as 17 digits; UNKNOWN if an error is NaN.
    """
    worst = rows.groupby("seed")[column].agg(lambda errors: errors.max(skipna=False))
    return every_seed(-np.log10(worst.clip(lower=1e-17)))


def leave_one_out(per_seed: pd.DataFrame, estimate: Callable[[pd.Series, pd.Series], float]) -> pd.Series:
    """Estimate for each seed a quantity that needs a choice, such as the best λ; the other seeds make the choice.

    `per_seed` is `[seeds, settings]`. `estimate(others, own)` receives the mean curve of the other seeds to choose by,
    and the seed's own curve to measure on. If one noise decided both, the chosen setting would look too good ("winner's
    curse"). NaN for a seed if the other seeds have no value to choose by. Empty with fewer than 2 seeds.
    """
    if len(per_seed) < 2:
        return pd.Series(dtype=float)
    found = {}
    for (seed, own), others in zip(per_seed.iterrows(), means_of_others(per_seed), strict=True):
        found[seed] = np.nan if np.isnan(others).all() else estimate(pd.Series(others, per_seed.columns), own)
    return pd.Series(found)


def means_of_others(per_seed: pd.DataFrame) -> np.ndarray:
    """Return for each seed the mean over the other seeds that have a value, `[seeds, settings]`; NaN where none has.

    The bits are those of `per_seed.drop(index=seed).mean()`, which takes ten times as long.
    """
    values = per_seed.to_numpy(dtype=float).T  # [settings, seeds], as pandas holds them
    return np.array([_known_means(np.delete(values, place, axis=1)) for place in range(len(per_seed))])


def _known_means(values: np.ndarray) -> np.ndarray:
    unknown = np.isnan(values)
    counts = values.shape[1] - unknown.sum(axis=1)
    if unknown.any():
        values = values.copy()
        values[unknown] = 0
    with np.errstate(invalid="ignore"):  # 0/0, where no value is known
        return values.sum(axis=1) / counts


def _checked(values: Values) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if np.isnan(array).any():
        raise ValueError(
            f"{int(np.isnan(array).sum())} of {len(array)} values are NaN: say first what a failed run counts as"
        )
    return array
