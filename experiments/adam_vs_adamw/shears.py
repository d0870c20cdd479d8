"""O4: whether η and λ are separable, by the shear of the basin; and what the same statistic says of synthetic basins.

The synthetic basins are controls. They have the grids, the noise and the f and g of AdamW and of Adam + L2, but a shear
that we set to 0 or to 1. Others have noise alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce

import numpy as np
import pandas as pd
from numpy.polynomial.chebyshev import chebvander

from weightdecay.claims.judging import joined, judge_interval, judged, reported
from weightdecay.claims.model import Part, combine
from weightdecay.statistics.estimates import Estimate, mean_interval, proportion_interval
from weightdecay.statistics.separability import DEGREE, shear

from . import finding
from .surfaces import COORDINATES, LETTERS, METHODS, Grids, computed

FAMILIES = {"Adam": ("AdamW", "Adam + L2"), "SGD": ("SGDW", "SGD + L2")}  # decoupled decay, L2 penalty
DRAWS, RESAMPLES = 10, 100  # synthetic data sets for each method and truth, and resamples for the interval of each


@finding.claim("O4")
def separable(grids: Grids, *, within: float, tolerance: float, explained: float) -> tuple[list[Part], str]:
    """η and λ are separable with decoupled decay, and not with an L2 penalty, in the same coordinate."""
    found = {method: grids.shear(method, grids.surfaces(method), within) for method in METHODS}
    known = {method: result.known(explained) for method, result in found.items()}
    parts, as_drawn = [], []
    for decoupled, coupled in FAMILIES.values():
        at = int(known[decoupled].value > 0.5)
        for method, bounds in ((decoupled, (0.0, tolerance)), (coupled, (tolerance, np.inf))):
            words = f"{method}: distance of the shear from {at}, where η and {COORDINATES[at]} are separable"
            parts.append(judged(LETTERS[method], words, distance(known[method], at), *bounds))
        as_drawn += [
            judge_interval(distance(known[decoupled], 1), most=tolerance),
            judge_interval(distance(known[coupled], 0), least=tolerance),
        ]
    for method, letters in LETTERS.items():
        parts.append(reported(f"{letters}Shear", f"{method}: shear", known[method]))
        words = f"{method}: share of the variance over λ that the form explains"
        parts.append(reported(f"{letters}Explained", words, computed(found[method].explained)))
    few = [
        f"{method}: {left} of {len(grids.surfaces(method))} basins have too few cells to have a say"
        for method in METHODS
        if (left := len(grids.surfaces(method)) - found[method].surfaces)
    ]
    drawn = "drawn as Loshchilov & Hutter do, L2 against λ and decoupled decay against ηλ, by the same rule"
    note = joined(f"{drawn}: {combine(as_drawn)}", *few, grids.missing())
    return parts + controls(grids, known, within, explained), note


def distance(found: Estimate, place: float) -> Estimate:
    """Return the distance of an estimate from a place; its interval has the distances of all points of the interval."""
    value, low, high = (end - place for end in found[:3])
    least = 0.0 if low <= 0 <= high else min(abs(low), abs(high))
    return Estimate(abs(value), least, max(abs(low), abs(high)), found.n)


def controls(grids: Grids, known: Mapping[str, Estimate], within: float, explained: float) -> list[Part]:
    """Report what is found on synthetic basins: bias and coverage, the power to tell 0 from 1, and noise alone."""
    apart, held, told, noise = [], [], [], []
    for method in FAMILIES["Adam"]:
        if np.isnan(s := known[method].value) or known[method].n < 2:
            continue
        for truth in (0, 1, None):
            for surfaces in synthetic(grids, method, s, truth, within):
                found = shear(surfaces, within, RESAMPLES).known(explained)
                if truth is None:
                    noise.append(found.low > 0 or found.high < 1)
                    continue
                told.append(found.high < 1 if truth == 0 else found.low > 0)
                if not np.isnan(found.value):
                    apart.append(found.value - truth)
                    held.append(found.low <= truth <= found.high)
    basins = "synthetic basins of shear 0 and 1"
    return [
        reported("ControlBias", f"{basins}: shear found, less the true one", mean_interval(apart)),
        reported("ControlCoverage", f"{basins}: share of intervals that hold it", share(held)),
        reported("ControlPower", f"{basins}: share of intervals that exclude the other one", share(told)),
        reported("ControlNoise", "noise alone: share of intervals that exclude 0 or 1", share(noise)),
    ]


def share(of: Sequence[bool]) -> Estimate:
    return proportion_interval(sum(map(bool, of)), len(of))


def synthetic(grids: Grids, method: str, s: float, truth: int | None, within: float) -> Iterator[list[pd.DataFrame]]:
    """Yield `DRAWS` sets of surfaces of errors on the grids of a method, whose common shear is `truth`.

    f and g of a surface are those of the measured one, whose shear is `s`; if `truth` is None, both are 0. Each seed
    has the deviations of some measured seed from the mean over seeds, with a random sign: the noise has its true size
    all over the basin, and its correlations between cells and between surfaces. Surfaces without a say are left out.
    """
    generator = np.random.default_rng(0)
    measured = grids.held_out(method, grids.surfaces(method))
    surfaces = [errors for errors in measured if shear([errors], within, 1).surfaces]
    seeds = reduce(pd.Index.intersection, (errors.index for errors in surfaces))
    n = len(seeds)
    made = []
    for errors in surfaces:
        level, source = resheared(errors, s, truth, within)
        logs = np.log(errors.loc[seeds].to_numpy()[:, source])
        noise = np.sqrt(n / (n - 1)) * (logs - logs.mean(axis=0))  # a mean of n seeds follows each of them
        made.append((errors.columns, level.to_numpy(), noise))
    for _ in range(DRAWS):
        order, sign = generator.permutation(n), generator.choice([-1.0, 1.0], (n, 1))
        yield [pd.DataFrame(np.exp(level + sign * noise[order]), columns=cells) for cells, level, noise in made]


def resheared(errors: pd.DataFrame, s: float, truth: int | None, within: float) -> tuple[pd.Series, np.ndarray]:
    """Return a surface of log error with the shear `truth`, and for each cell the place of the one that it comes from.

    The surface `[cells]` has the f and g that are measured with the shear `s`, and keeps the centre of the basin; it is
    NaN where the measured basin has no cell at this η or at this value of g. If `truth` is None, it is 0 in the
    measured basin. A cell comes from the cell of the measured basin at the same η that is nearest to having the same g.
    """
    mean = np.log(errors.mean(skipna=False))
    basin = (mean <= mean.min() + within).to_numpy()
    if truth is None:
        return mean.where(~basin, 0.0).where(basin), np.arange(len(mean))
    x, y = np.log(np.array(list(mean.index), dtype=float)).T
    z = y + s * x
    before = y + (truth - s) * (x - x[basin].mean())  # ln λ of the cell with the same g
    low, high = z[basin].min(), z[basin].max()
    rates = np.unique(x[basin])
    at_rate = (x[:, None] == rates).astype(float)

    def form(z: np.ndarray) -> np.ndarray:
        return np.column_stack([at_rate, chebvander((2 * z - low - high) / (high - low), DEGREE)[:, 1:]])

    fitted = np.linalg.lstsq(form(z)[basin], mean[basin], rcond=None)[0]
    moved = before + s * x
    known = at_rate.any(axis=1) & (moved >= low) & (moved <= high)
    apart = np.where((x[:, None] == x) & basin, np.abs(before[:, None] - y), np.inf)
    return pd.Series(np.where(known, form(moved) @ fitted, np.nan), mean.index), apart.argmin(axis=1)
