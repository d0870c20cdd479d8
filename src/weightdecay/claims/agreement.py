"""Tests of whether two sets of results of the same settings agree: the quantities of claims, and curves.

There are two null hypotheses. The weak one says that both sides follow the same protocol, on any seeds. It is tested on
the quantities of claims and on each setting's curves. The strong one says that the seeds are the same too, so that the
runs differ by rounding alone. Training amplifies rounding, independently in every run and in no direction. This
hypothesis is tested over all runs of a sweep, and so detects differences that the three seeds of a setting cannot show.
Every p-value is two-sided and belongs to a family that `holm` corrects.
"""

from collections.abc import Sequence

import numpy as np
from scipy import optimize, special, stats

from weightdecay.claims.model import Part
from weightdecay.statistics.estimates import CONFIDENCE

RESOLUTION = 0.01  # no standard deviation over seeds counts as smaller: of an accuracy, or relative
NEGLIGIBLE = 1e-4
PART_RESOLUTION = 0.002  # no relative standard error of a claim's quantity counts as smaller: it is of several runs


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjust p-values (Holm 1979): the chance of any false alarm among those below α is at most α."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def interval_difference(first: Part, second: Part) -> float:
    """Return the p-value of Welch's t test that two quantities are equal, from their 95 % t intervals.

    The standard errors come from the ends that face each other, as the other ends may be open or clipped to a bound.
    The test is on the logarithmic scale where the intervals are more symmetric there. NaN where either has no interval.
    """
    if any(np.isnan([part.measured, part.low, part.high]).any() or part.n < 2 for part in (first, second)):
        return np.nan
    low, high = sorted((first, second), key=lambda part: part.measured)
    scale = np.log if is_logarithmic(first, second) else np.asarray
    gap = float(scale(high.measured) - scale(low.measured))
    widths = float(scale(low.high) - scale(low.measured)), float(scale(high.measured) - scale(high.low))
    least = PART_RESOLUTION * (1 if scale is np.log else max(abs(low.measured), abs(high.measured)))
    counts = np.array([low.n, high.n])
    errors = np.maximum(np.array(widths) / stats.t.ppf((1 + CONFIDENCE) / 2, counts - 1), least)
    if not gap or np.isinf(errors).any():
        return 1.0
    freedom = (errors**2).sum() ** 2 / (errors**4 / (counts - 1)).sum()
    return float(2 * stats.t.sf(gap / np.sqrt((errors**2).sum()), freedom))


def is_logarithmic(*parts: Part) -> bool:
    """Return whether the intervals look like those of geometric means: more symmetric in logarithms."""
    if not all(0 < part.low <= part.measured <= part.high < np.inf for part in parts):
        return all(0 < part.low and part.high == np.inf for part in parts)
    skews = []
    for scale in (np.asarray, np.log):
        below, above = (
            np.array([scale(getattr(part, end)) - scale(part.measured) for part in parts]) for end in ("low", "high")
        )
        skews.append(abs(above + below).sum() / max((above - below).sum(), np.finfo(float).tiny))
    return skews[1] < skews[0]


def moderated_difference(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return p-values `[F]`, one for each of F features, that its means over the seeds of both sides are equal.

    The features are `[n, F]` and `[m, F]`, NaN for a lost seed.

    With three seeds on each side, the variance of a single feature has 4 degrees of freedom, and hardly any difference
    would survive the correction for thousands of curves. We therefore treat the features' variances as draws from one
    inverse χ² law, whose parameters are estimated from all features: the moderated t test of Smyth (2004). A feature
    that varies more than the centre of this law is tested by Student's t instead, because bimodal features must not
    profit from quiet ones. NaN where a side has fewer than 2 seeds.
    """
    counts = np.array([np.isfinite(side).sum(axis=0) for side in (first, second)])
    usable = (counts >= 2).all(axis=0)
    p = np.full(first.shape[1], np.nan)
    if not usable.any():
        return p
    n = counts[:, usable].astype(float)
    means, squares = [], 0.0
    for side in (first[:, usable], second[:, usable]):
        means.append(np.nanmean(side, axis=0))
        squares = squares + np.nansum((side - means[-1]) ** 2, axis=0)
    freedom = n.sum(axis=0) - 2
    variance = np.maximum(squares / freedom, RESOLUTION**2)
    prior_freedom, prior = variance_prior(variance, freedom)
    pooled = (prior_freedom * prior + freedom * variance) / (prior_freedom + freedom)
    quiet = variance <= prior
    chosen, degrees = np.where(quiet, pooled, variance), np.where(quiet, prior_freedom + freedom, freedom)
    t = np.abs(means[0] - means[1]) / np.sqrt(chosen * (1 / n).sum(axis=0))
    p[usable] = 2 * stats.t.sf(t, degrees)
    return p


def paired_shift(first: np.ndarray, second: np.ndarray) -> float:
    """Return the p-value that runs `[R]` of the same seeds differ by no more than `RESOLUTION` on average.

    This is Student's t over the runs, as rounding acts independently in each. The test is not against 0, as another
    processor may round sums in a preferred direction. NaN for fewer than 6 runs.
    """
    difference = (first - second)[np.isfinite(first) & np.isfinite(second)]
    if len(difference) < 6:
        return np.nan
    error = max(difference.std(ddof=1), RESOLUTION) / np.sqrt(len(difference))
    excess = max(abs(difference.mean()) - RESOLUTION, 0.0) / error
    return float(2 * stats.t.sf(excess, len(difference) - 1))


def variance_prior(variance: np.ndarray, freedom: np.ndarray) -> tuple[float, float]:
    """Return degrees of freedom and centre of the inverse χ² law of variances `[F]`, by moments of their logarithm.

    The estimate is that of Smyth (2004), section 6.2, but with no more degrees of freedom than half the number of
    features, because F features cannot determine more. Without this limit, two sets of independent seeds were told
    apart in 7 % of cases at a level of 0.3 %, where networks jump; with it in 0.7 %. Fewer than 3 features determine no
    law, and give (0, the mean).
    """
    if len(variance) < 3:
        return 0.0, float(variance.mean())
    most = len(variance) / 2
    logarithm = np.log(variance) - special.digamma(freedom / 2) + np.log(freedom / 2)
    centre = logarithm.mean()
    spread = logarithm.var(ddof=1) - special.polygamma(1, freedom / 2).mean()
    if spread <= special.polygamma(1, 1e6):
        return most, float(np.exp(centre))  # the spread is no more than chance gives
    half = np.exp(optimize.brentq(lambda x: special.polygamma(1, np.exp(x)) - spread, -20, 20))
    return min(2 * half, most), float(np.exp(centre + special.digamma(half) - np.log(half)))


def comparable(values: np.ndarray, metric: str, scale: float) -> np.ndarray:
    """Put the values of a metric on a scale on which a difference of `RESOLUTION` is small.

    Accuracies stay as they are. Positive metrics become logarithms; values below `NEGLIGIBLE` times `scale` count as
    that, since the loss of a network that fits its data is mere rounding. Other metrics are in units of `scale`.
    """
    if "accuracy" in metric or not scale > 0:
        return values
    if (values[np.isfinite(values)] >= 0).all():
        return np.log(np.maximum(values, NEGLIGIBLE * scale))
    return values / scale


def repeated_seeds(values: np.ndarray) -> bool:
    """Return whether two rows of `[seeds, F]` agree in every value. Rows of nothing but NaN do not count."""
    known = values[np.isfinite(values).any(axis=1)]
    return len({tuple(np.nan_to_num(row, nan=-1e308)) for row in known}) < len(known)
