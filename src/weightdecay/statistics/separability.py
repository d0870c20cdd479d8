"""Separability: whether the error over (η, λ) is a function of η times a function of λ, or times one of η^s λ.

On a grid of (η, λ) the *shear* is the s for which the log error is most nearly f(ln η) + g(ln λ + s ln η). At s = 0, η
can be tuned apart from PyTorch's λ; at s = 1, apart from ηλ, which is the λ of Loshchilov & Hutter. In general the best
λ goes as η to the power −s.

The fit is by least squares, over the cells of the *basin*: their error is within a given factor of the best. f is free
at every η, and g is a polynomial. Several surfaces can share one shear, each with its own f and g: it is then the s of
maximum likelihood, with normal residuals whose variance differs between surfaces. A surface is a table `[seeds, cells]`
of errors, and a cell is a pair (η, λ) of the columns.

If λ does not matter, or there is only noise, every s is as good as another: g explains next to nothing, which
`Shear.explained` says, and the interval is about as wide as the range of s.
"""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.polynomial.chebyshev import chebvander
from scipy import special

from weightdecay.statistics.estimates import CONFIDENCE, UNKNOWN, Estimate, student_t

SHEARS = np.linspace(-1, 2, 31)  # the s that are tried; the best one is interpolated between them
DEGREE = 4  # of g; where g has a plateau at small λ, a parabola would be wrong by .1, and this is by .01


class Shear(NamedTuple):
    """A shear with its 95 % interval, and the share of the variance over λ that the form explains.

    `explained` is the adjusted R² of g, held against the variance in the basin at given η, and averaged over surfaces.
    The variance over η is left out, as f explains all of it whatever s is. `surfaces` counts those that have a say in
    the shear: their basins have more cells than the form has numbers.
    """

    estimate: Estimate
    explained: float
    surfaces: int

    def known(self, least: float) -> Estimate:
        """Return the estimate, or UNKNOWN if the form explains less than `least` of the variance."""
        return self.estimate if self.explained >= least else UNKNOWN


class _Fits(NamedTuple):
    """Fits to B surfaces at S shears: sums of squares about f + g, `residual` `[B, S]`, and about f, `left` `[B]`.

    `freedom` has the degrees of freedom of the former `[B]`; the latter has `DEGREE` + 1 more.
    """

    residual: np.ndarray
    left: np.ndarray
    freedom: np.ndarray


def shear(surfaces: Sequence[pd.DataFrame], within: float, resamples: int) -> Shear:
    """Return the shear that surfaces have in common, over the cells within a factor e^`within` of the best.

    The errors are averaged over the seeds that all surfaces have; a cell that is unknown for one of them is left out.
    The interval is a percentile bootstrap over seeds, stretched as few seeds require (Hesterberg 2015): by
    √(n/(n − 1)), as resamples vary too little, and by Student's t over the normal quantile. It ends where `SHEARS`
    ends. NaN if no basin has more cells than the form has numbers; UNKNOWN without seeds.
    """
    seeds = reduce(pd.Index.intersection, (table.index for table in surfaces)) if len(surfaces) else []
    if not (n := len(seeds)):
        return Shear(UNKNOWN, np.nan, 0)
    picked = np.random.default_rng(0).integers(0, n, (resamples, n))
    shares = np.vstack([np.ones(n), (picked[:, :, None] == np.arange(n)).sum(axis=1)]) / n  # first, each seed once
    fields = [_field(table.loc[seeds]) for table in surfaces]
    logs = [np.log(np.tensordot(shares, errors, 1)) for *_, errors in fields]
    value, *drawn = _best([_fit(means, x, y, within, SHEARS) for means, (x, y, _) in zip(logs, fields, strict=True)])
    at_best = [_fit(means[:1], x, y, within, np.array([value])) for means, (x, y, _) in zip(logs, fields, strict=True)]
    explained = [_explained(fit) for fit in at_best if fit.freedom[0] > 0]
    low, high = np.nan, np.nan
    if n > 1 and not np.isnan(value):
        stretch = np.sqrt(n / (n - 1)) * student_t(n) / special.ndtri((1 + CONFIDENCE) / 2)
        ends = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        low, high = np.clip(value + stretch * (ends - value), SHEARS[0], SHEARS[-1])
    share = float(np.mean(explained)) if explained else np.nan
    return Shear(Estimate(float(value), float(low), float(high), n), share, len(explained))


def _field(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ln η `[X]`, ln λ `[Y]` and the errors `[seeds, X, Y]` of a table; a cell that it lacks is NaN."""
    (rates, row), (decays, column) = (
        np.unique(table.columns.get_level_values(number), return_inverse=True) for number in (0, 1)
    )
    errors = np.full((len(table), len(rates), len(decays)), np.nan)
    errors[:, row, column] = table
    return np.log(rates), np.log(decays), errors


def _fit(logs: np.ndarray, x: np.ndarray, y: np.ndarray, within: float, shears: np.ndarray) -> _Fits:
    """Fit f + g to log errors `[B, X, Y]` over ln η `[X]` and ln λ `[Y]`, with each of `shears` `[S]`.

    f is taken out of everything first, as means over λ. Resamples with the same basin, as most are, share its matrices.
    """
    known = np.isfinite(logs)
    lowest = np.where(known, logs, np.inf).min(axis=(1, 2), keepdims=True)
    basins = known & (logs <= lowest + within)
    values = np.where(basins, logs, 0.0)
    counts, sums = basins.sum(axis=2), values.sum(axis=2)  # [B, X]
    left = (values**2).sum(axis=(1, 2)) - (sums**2 * (1 / np.maximum(counts, 1))).sum(axis=1)
    z = y[:, None] + shears * x[:, None, None]
    low, high = z.min(axis=(0, 1)), z.max(axis=(0, 1))
    powers = chebvander((2 * z - low - high) / (high - low), DEGREE)[..., 1:]  # [X, Y, S, K]
    products = powers[..., None] * powers[..., None, :]
    by_rate = powers.reshape(len(x), len(y), -1)
    residual = np.empty((len(logs), len(shears)))
    alike: dict[bytes, list[int]] = {}
    for place, basin in enumerate(basins):
        alike.setdefault(basin.tobytes(), []).append(place)
    for own in alike.values():
        basin, count = basins[own[0]].astype(float), counts[own[0]]
        means = (basin[:, None] @ by_rate)[:, 0] * (1 / np.maximum(count, 1))[:, None]
        means = means.reshape(len(x), len(shears), DEGREE).transpose(1, 2, 0)  # [S, K, X]
        gram = np.tensordot(basin, products, 2) - (means * count) @ means.transpose(0, 2, 1)
        gram += 1e-9 * np.eye(DEGREE)  # a basin of few cells may not determine all powers
        slope = np.tensordot(values[own], powers, 2).transpose(1, 2, 0) - means @ sums[own].T  # [S, K, own]
        residual[own] = left[own, None] - (np.linalg.solve(gram, slope) * slope).sum(axis=1).T
    freedom = counts.sum(axis=1) - (counts > 0).sum(axis=1) - DEGREE - 1  # the last one for s
    return _Fits(np.maximum(residual, 1e-12), left, np.maximum(freedom, 0))


def _best(fits: Sequence[_Fits]) -> np.ndarray:
    """Return the s of maximum likelihood of B sets of surfaces `[B]`, with one of `fits` for each surface of a set.

    The likelihood finds the best of `SHEARS`. Near it, the residual sums of squares, divided by the variances found
    there, are smooth: the lowest point of a quartic through five of them is returned. NaN without any freedom.
    """
    loss = sum(fit.freedom[:, None] * np.log(fit.residual) for fit in fits)
    near = np.clip(loss.argmin(axis=1), 2, len(SHEARS) - 3)[:, None]
    steps, between = np.arange(-2, 3), np.linspace(-2, 2, 401)
    squares = sum(
        fit.freedom[:, None]
        * np.take_along_axis(fit.residual, near + steps, 1)
        / np.take_along_axis(fit.residual, near, 1)
        for fit in fits
    )
    quartic = np.linalg.solve(np.vander(steps, 5).T, np.vander(between, 5).T)  # weights of the five, `[5, between]`
    found = SHEARS[near[:, 0]] + between[(squares @ quartic).argmin(axis=1)] * (SHEARS[1] - SHEARS[0])
    return np.where(sum(fit.freedom for fit in fits) > 0, found, np.nan)


def _explained(fit: _Fits) -> float:
    """Return the adjusted R² of the first fit; NaN without any variance over λ."""
    if fit.left[0] == 0:
        return np.nan
    return 1 - float(fit.residual[0, 0] / fit.freedom[0] * (fit.freedom[0] + DEGREE + 1) / fit.left[0])
