"""Whether two sets of results of the same settings are draws of the same thing: intervals of claims, and curves.

Two null hypotheses. The weak one: both sides follow the same protocol, on seeds that need have nothing in common; that
is tested of the quantities of claims and of each setting's curves. The strong one: the seeds are the same, so that the
runs differ by rounding alone, which training amplifies, independently in every run and in no direction; that is tested
over all runs of a sweep, and sees what three seeds a setting cannot. Every p-value is two-sided and belongs to a family
that `holm` corrects.
"""

from collections.abc import Sequence

import numpy as np
from scipy import optimize, special, stats

from weightdecay.claims.model import Part
from weightdecay.statistics.estimates import CONFIDENCE

RESOLUTION = 0.01  # smallest standard deviation over seeds that is believed: of an accuracy, or relative
NEGLIGIBLE = 1e-4
PART_RESOLUTION = 0.002  # the same of the standard error of a claim's quantity, relative: several runs enter it


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjust p-values (Holm 1979): the chance of any false alarm among those below α is at most α."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return adjusted


def interval_difference(first: Part, second: Part) -> float:
    """Return the p-value of Welch's t that two quantities are one, from their 95 % t intervals.

    NaN where either has no interval.

    The standard errors are those of the ends that face each other: the others may be clipped to a bound or open. On the
    logarithmic scale where the intervals are more symmetric on it.
    """
    if any(np.isnan([part.measured, part.low, part.high]).any() or part.n < 2 for part in (first, second)):
        return np.nan
    low, high = sorted((first, second), key=lambda part: part.measured)
    scale = np.log if _is_logarithmic(first, second) else np.asarray
    gap = float(scale(high.measured) - scale(low.measured))
    widths = float(scale(low.high) - scale(low.measured)), float(scale(high.measured) - scale(high.low))
    least = PART_RESOLUTION * (1 if scale is np.log else max(abs(low.measured), abs(high.measured)))
    counts = np.array([low.n, high.n])
    errors = np.maximum(np.array(widths) / stats.t.ppf((1 + CONFIDENCE) / 2, counts - 1), least)
    if not gap or np.isinf(errors).any():
        return 1.0
    freedom = (errors**2).sum() ** 2 / (errors**4 / (counts - 1)).sum()
    return float(2 * stats.t.sf(gap / np.sqrt((errors**2).sum()), freedom))


def _is_logarithmic(*parts: Part) -> bool:
    """Whether the intervals are those of a geometric mean: nearer to symmetric in logarithms."""
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
    """Return p-values `[F]` that the means over seeds of F features are one.

    From `[n, F]` and `[m, F]`, NaN for a lost seed.

    With three seeds a variance of one's own has 4 degrees of freedom, and hardly any difference would survive the
    correction for thousands of curves. The features' variances are therefore taken for draws of one inverse χ² law,
    whose parameters they determine together: the moderated t of Smyth (2004). A feature that varies more than that
    law's centre borrows nothing and is tested by Student's t, as bimodal ones must not profit from quiet ones. NaN
    where a side has fewer than 2 seeds.
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

    NaN for fewer than 6.

    Student's t over the runs: what rounding becomes in one of them says nothing about another. Not tested against 0, as
    other processors round sums in a direction of their own.
    """
    difference = (first - second)[np.isfinite(first) & np.isfinite(second)]
    if len(difference) < 6:
        return np.nan
    error = max(difference.std(ddof=1), RESOLUTION) / np.sqrt(len(difference))
    excess = max(abs(difference.mean()) - RESOLUTION, 0.0) / error
    return float(2 * stats.t.sf(excess, len(difference) - 1))


def variance_prior(variance: np.ndarray, freedom: np.ndarray) -> tuple[float, float]:
    """Return degrees of freedom and centre of the inverse χ² law of variances `[F]`, by moments of their logarithm.

    Smyth (2004), section 6.2; but no more degrees of freedom than half the features, as they cannot tell: with more,
    sets of independent seeds of networks that jump were told apart in 7 % of cases at a level of 0.3 %, with these in
    0.7 %. Fewer than 3 features: no law, (0, the mean).
    """
    if len(variance) < 3:
        return 0.0, float(variance.mean())
    most = len(variance) / 2
    logarithm = np.log(variance) - special.digamma(freedom / 2) + np.log(freedom / 2)
    centre = logarithm.mean()
    spread = logarithm.var(ddof=1) - special.polygamma(1, freedom / 2).mean()
    if spread <= special.polygamma(1, 1e6):
        return most, float(np.exp(centre))  # no more spread than chance gives
    half = np.exp(optimize.brentq(lambda x: special.polygamma(1, np.exp(x)) - spread, -20, 20))
    return min(2 * half, most), float(np.exp(centre + special.digamma(half) - np.log(half)))


def comparable(values: np.ndarray, metric: str, scale: float) -> np.ndarray:
    """Put values of a metric on a scale on which `RESOLUTION` is small.

    Accuracies as they are; positive ones as logarithms, but what is below `NEGLIGIBLE` of `scale` as that, since the
    loss of a network that fits is rounding; others in units of `scale`.
    """
    if "accuracy" in metric or not scale > 0:
        return values
    if (values[np.isfinite(values)] >= 0).all():
        return np.log(np.maximum(values, NEGLIGIBLE * scale))
    return values / scale


def repeated_seeds(values: np.ndarray) -> bool:
    """Return whether two rows of `[seeds, F]` agree in every value; of nothing but NaN there are no repetitions."""
    if len(values) < 2 or not np.isfinite(values).any():
        return False
    rows = {tuple(np.nan_to_num(row, nan=-1e308)) for row in values}
    return len(rows) < len(values)
