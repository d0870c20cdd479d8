"""Separability: whether the error over (η, λ) is a function of η times a function of λ, or of another product η^s λ.

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
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.polynomial.chebyshev import chebvander
from scipy import special

from weightdecay.statistics.estimates import CONFIDENCE, UNKNOWN, Estimate, student_t

SHEARS = np.linspace(-1, 2, 31)  # the s that are tried; a parabola finds the best one between them
DEGREE = 4  # of g; where g has a plateau at small λ, a parabola would be wrong by .1, and this is by .01


class Shear(NamedTuple):
    """A shear with its 95 % interval, and the share of the variance over λ that the form explains.

    `explained` is the adjusted R² of g, held against the variance in the basin at given η, and averaged over surfaces.
    The variance over η is left out, as f explains all of it whatever s is. NaN if a basin has too few cells.
    """

    estimate: Estimate
    explained: float


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
    ends. NaN, and UNKNOWN without seeds, if no basin has more cells than the form has numbers.
    """
    seeds = pd.concat([table.iloc[:, 0] for table in surfaces], axis=1, join="inner").index if len(surfaces) else []
    if not (n := len(seeds)):
        return Shear(UNKNOWN, np.nan)
    picked = np.random.default_rng(0).integers(0, n, (resamples, n))
    shares = np.vstack([np.ones(n), (picked[:, :, None] == np.arange(n)).sum(axis=1)]) / n  # first, each seed once
    fields = [_field(table.loc[seeds]) for table in surfaces]
    logs = [np.log(np.tensordot(shares, errors, 1)) for *_, errors in fields]
    value, *drawn = _best([_fit(means, x, y, within, SHEARS) for means, (x, y, _) in zip(logs, fields, strict=True)])
    fits = [_fit(means[:1], x, y, within, np.array([value])) for means, (x, y, _) in zip(logs, fields, strict=True)]
    low, high = np.nan, np.nan
    if n > 1 and not np.isnan(value):
        stretch = np.sqrt(n / (n - 1)) * student_t(n) / special.ndtri((1 + CONFIDENCE) / 2)
        ends = np.nanquantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        low, high = np.clip(value + stretch * (ends - value), SHEARS[0], SHEARS[-1])
    return Shear(Estimate(float(value), float(low), float(high), n), float(np.mean([_explained(fit) for fit in fits])))


def _field(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return ln η `[X]`, ln λ `[Y]` and the errors `[seeds, X, Y]` of a table; a cell that it lacks is NaN."""
    rates, decays = (np.unique(table.columns.get_level_values(number)) for number in (0, 1))
    errors = table.reindex(columns=pd.MultiIndex.from_product([rates, decays])).to_numpy(dtype=float)
    return np.log(rates), np.log(decays), errors.reshape(len(table), len(rates), len(decays))


def _fit(logs: np.ndarray, x: np.ndarray, y: np.ndarray, within: float, shears: np.ndarray) -> _Fits:
    """Fit f + g to log errors `[B, X, Y]` over ln η `[X]` and ln λ `[Y]`, with each of `shears` `[S]`.

    f is taken out of everything first, as means over λ.
    """
    known = np.isfinite(logs)
    lowest = np.where(known, logs, np.inf).min(axis=(1, 2), keepdims=True)
    basin = (known & (logs <= lowest + within)).astype(float)
    values = np.where(basin, logs, 0.0)
    counts, sums = basin.sum(axis=2), values.sum(axis=2)  # [B, X]
    each = 1 / np.maximum(counts, 1)
    left = (values**2).sum(axis=(1, 2)) - (sums**2 * each).sum(axis=1)
    residual = np.empty((len(logs), len(shears)))
    for place, s in enumerate(shears):
        z = y + s * x[:, None]
        powers = chebvander((2 * z - z.min() - z.max()) / np.ptp(z), DEGREE)[..., 1:]  # [X, Y, K]
        products = powers[..., None] * powers[..., None, :]
        means = basin.transpose(1, 0, 2) @ powers * each.T[..., None]  # [X, B, K]
        gram = np.tensordot(basin, products, 2) - np.einsum("bx,xbk,xbl->bkl", counts, means, means)
        slope = np.tensordot(values, powers, 2) - np.einsum("bx,xbk->bk", sums, means)
        gram += 1e-9 * np.eye(DEGREE)  # a basin of few cells may not determine all powers
        fitted = np.linalg.solve(gram, slope[..., None])[..., 0]
        residual[:, place] = left - (fitted * slope).sum(axis=1)
    freedom = counts.sum(axis=1) - (counts > 0).sum(axis=1) - DEGREE - 1  # the last one for s
    return _Fits(np.maximum(residual, 1e-12), left, np.maximum(freedom, 0))


def _best(fits: Sequence[_Fits]) -> np.ndarray:
    """Return the s of maximum likelihood of B sets of surfaces `[B]`, with one of `fits` for each surface of a set.

    The likelihood finds the best of `SHEARS`. A parabola through it and its neighbours then refines it: through the
    residual sums of squares, divided by the variances found there, as these are smoother. NaN without any freedom.
    """
    loss = sum(fit.freedom[:, None] * np.log(fit.residual) for fit in fits)
    place = loss.argmin(axis=1)
    rows, near = np.arange(len(loss)), np.clip(place, 1, len(SHEARS) - 2)
    left, middle, right = (
        sum(fit.freedom * fit.residual[rows, near + step] / fit.residual[rows, near] for fit in fits)
        for step in (-1, 0, 1)
    )
    bend = left + right - 2 * middle
    aside = np.where(bend > 0, (left - right) / (2 * np.where(bend > 0, bend, 1)), 0)
    found = SHEARS[near] + np.clip(aside, -1, 1) * (SHEARS[1] - SHEARS[0])
    return np.where(sum(fit.freedom for fit in fits) > 0, found, np.nan)


def _explained(fit: _Fits) -> float:
    """Return the adjusted R² of the first fit; NaN without freedom or variance."""
    if fit.freedom[0] == 0 or fit.left[0] == 0:
        return np.nan
    return 1 - float(fit.residual[0, 0] / fit.freedom[0] * (fit.freedom[0] + DEGREE + 1) / fit.left[0])
