"""Estimates and their 95 % intervals over seeds.

The house rule: the seed is the unit of replication. Whatever is measured is first reduced to one number per seed; the
interval is then Student's t over those numbers. With the 3 to 20 seeds of this project a percentile bootstrap
under-covers badly (with n = 3 a nominal 95 % interval covers about 75 %), t does not; the bootstrap (BCa) is left for
statistics that are no mean, and refused below 10 seeds. Ratios and times are averaged on the log scale.

No function here drops a value: a NaN is refused, because what a failed run counts as (accuracy 0, a censored time) is
for the caller to decide and to say.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from scipy import special

CONFIDENCE = 0.95
LEAST_BOOTSTRAP = 10  # seeds
ACCURACY = (0.0, 1.0)  # bounds of an accuracy
DIFFERENCE = (-1.0, 1.0)  # bounds of a difference of two
UNBOUNDED = (-np.inf, np.inf)

Values: TypeAlias = Sequence[float] | np.ndarray | pd.Series  # one number a seed, `[n]`


class Estimate(NamedTuple):
    """A value and its 95 % interval over `n` seeds (or trials); `low`, `high` are NaN where n is too small for one."""

    value: float
    low: float
    high: float
    n: int


UNKNOWN = Estimate(np.nan, np.nan, np.nan, 0)


def mean_interval(per_seed: Values, bounds: tuple[float, float] = UNBOUNDED) -> Estimate:
    """Return the mean of one number per seed `[n]` with Student's t interval, mean ± t(n-1) s/√n, clipped to `bounds`.

    Seeds that agree exactly give an interval of width 0: true of the seeds, and of nothing else. ValueError on NaN.
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
    """Return the interval.

    UNKNOWN where any seed has no value, as leaving it out would choose the seeds by their result.
    """
    return UNKNOWN if per_seed.empty or per_seed.isna().any() else mean_interval(per_seed, bounds)


def ratio_interval(log_per_seed: pd.Series) -> Estimate:
    """Return a ratio from its logarithm per seed, geometric mean and interval; UNKNOWN as in `every_seed`."""
    value, low, high, n = every_seed(log_per_seed)
    return Estimate(float(np.exp(value)), float(np.exp(low)), float(np.exp(high)), n)


def axial_interval(per_seed: Values) -> Estimate:
    """Return the mean of axes, angles in degrees of which 180 is 0, and its interval about it.

    Ends may lie outside (−90, 90].

    The mean is that of the doubled angles' directions (Mardia & Jupp 2000, section 1.1), which is no mean of numbers:
    its interval is the bootstrap's from 10 seeds on, below that Student's t over the seeds' angles from it.
    ValueError on NaN.
    """
    angles = _checked(per_seed)
    mean = float(axial_mean(angles))
    apart = (angles - mean + 90) % 180 - 90
    if len(apart) >= LEAST_BOOTSTRAP and np.ptp(apart) > 0:
        _, low, high, n = bootstrap_interval(apart, axial_mean)
    else:
        _, low, high, n = mean_interval(apart)
    return Estimate(mean, mean + low, mean + high, n)


def axial_mean(angles: np.ndarray, axis: int = -1) -> np.ndarray:
    """Return the mean axis along `axis`, of angles in degrees of which 180 is 0: in (−90, 90]."""
    return np.degrees(np.angle(np.exp(2j * np.radians(angles)).mean(axis))) / 2


def open_above(estimate: Estimate, censored: bool) -> Estimate:
    """Return the estimate, without an upper end where it is made of lower bounds."""
    return estimate._replace(high=np.inf) if censored else estimate


def paired_interval(first: pd.Series, second: pd.Series, bounds: tuple[float, float] = UNBOUNDED) -> Estimate:
    """Return the mean of `first - second`, both indexed by seed, over the seeds that have both.

    `n` is how many those are.
    """
    return mean_interval((first - second).loc[first.index.intersection(second.index)], bounds)


def proportion_interval(successes: int, trials: int) -> Estimate:
    """Return the exact interval of a proportion (Clopper & Pearson 1934).

    Never shorter than it should be, wide for few trials.
    """
    if trials == 0:
        return UNKNOWN
    from scipy import stats  # which takes a second to import, and few findings need

    interval = stats.binomtest(successes, trials).proportion_ci(CONFIDENCE, method="exact")
    return Estimate(successes / trials, float(interval.low), float(interval.high), trials)


def bootstrap_interval(per_seed: Values, statistic: Callable[..., Any]) -> Estimate:
    """Return the bias-corrected, accelerated bootstrap (Efron 1987) of `statistic` over n >= 10 seeds.

    Fewer: ValueError.

    `statistic(values, axis)` is vectorised, as `numpy.median`. Resampling is seeded: same data, same interval.
    """
    values = _checked(per_seed)
    if len(values) < LEAST_BOOTSTRAP:
        raise ValueError(f"a bootstrap over {len(values)} seeds under-covers: 10 are the least, or use mean_interval")
    from scipy import stats

    result = stats.bootstrap(
        (values,), statistic, confidence_level=CONFIDENCE, method="BCa", rng=np.random.default_rng(0)
    )
    interval = result.confidence_interval
    return Estimate(float(statistic(values, axis=0)), float(interval.low), float(interval.high), len(values))


def rank_correlation(x: Values, y: Values) -> float:
    """Return Spearman's correlation of two series of one run.

    0 where either is constant, as nothing then moves together.

    Steps of a run are not independent, so its p-value means nothing: take one correlation per seed and their interval.
    """
    first, second = _checked(x), _checked(y)
    if len(first) < 3 or np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    from scipy import stats

    return float(stats.spearmanr(first, second).statistic)


def rank_correlation_interval(rows: pd.DataFrame, x: str, y: str) -> Estimate:
    """Return the mean over seeds of the rank correlation of two columns of `rows`, with its interval.

    UNKNOWN where a seed has a value that is NaN, or fewer than three rows.
    """
    known = {seed: len(own) > 2 and own[[x, y]].notna().all(axis=None) for seed, own in rows.groupby("seed")}
    found = {seed: rank_correlation(own[x], own[y]) if known[seed] else np.nan for seed, own in rows.groupby("seed")}
    return every_seed(pd.Series(found, dtype=float), DIFFERENCE)


def digits_interval(rows: pd.DataFrame, column: str) -> Estimate:
    """Return the mean over seeds of the digits to which an error vanishes, −log10, at the worst row of each `seed`.

    An error below 1e-17 counts as 17 digits; UNKNOWN where one is NaN.
    """
    worst = rows.groupby("seed")[column].agg(lambda errors: errors.max(skipna=False))
    return every_seed(-np.log10(worst.clip(lower=1e-17)))


def leave_one_out(per_seed: pd.DataFrame, estimate: Callable[[pd.Series, pd.Series], float]) -> pd.Series:
    """Estimate per seed a quantity that needs a choice (the best λ, say), which is made on the other seeds.

    `per_seed` `[seeds, settings]`; `estimate(others, own)` gets the mean curve of the other seeds, to choose by, and
    the seed's own, to measure on. Choosing and measuring on the same noise would flatter the chosen ("winner's curse").
    NaN for a seed whose others have no value at all, so that nothing can be chosen. Empty with fewer than 2 seeds.
    """
    if len(per_seed) < 2:
        return pd.Series(dtype=float)
    found = {}
    for seed, own in per_seed.iterrows():
        others = per_seed.drop(index=seed).mean()
        found[seed] = np.nan if others.isna().all() else estimate(others, own)
    return pd.Series(found)


def _checked(values: Values) -> np.ndarray:
    array = np.asarray(values, dtype=float)
    if np.isnan(array).any():
        raise ValueError(
            f"{int(np.isnan(array).sum())} of {len(array)} values are NaN: say first what a failed run counts as"
        )
    return array
