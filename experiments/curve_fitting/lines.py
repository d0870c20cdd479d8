"""Lines through points under three losses, and how far the minimisers of the L1 loss reach."""

import numpy as np
from scipy import optimize


def least_squares(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the weights `[p]` that minimise Σ (y − Xw)²."""
    return np.linalg.lstsq(features, targets, rcond=None)[0]


def least_absolute(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the weights that minimise Σ |y − Xw|, by a linear program in w and the absolute errors."""
    return _program(features, targets, np.append(np.zeros(features.shape[1]), np.ones(len(targets)))).x[
        : features.shape[1]
    ]


def least_smooth_l1(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the weights that minimise PyTorch's smooth L1 loss; scipy's Huber loss of scale 1 is twice this."""
    start = least_squares(features, targets)
    return optimize.least_squares(
        lambda w: features @ w - targets, start, lambda w: features, loss="huber", xtol=1e-12, ftol=1e-12, gtol=1e-12
    ).x


def distance(constant: float, slope: float) -> float:
    """Return the root mean square on [−1, 1] of constant + slope x."""
    return np.hypot(constant, slope / np.sqrt(3))


FITS = {"squared_error": least_squares, "smooth_l1": least_smooth_l1, "absolute_error": least_absolute}


def width_of_minimisers(features: np.ndarray, targets: np.ndarray) -> float:
    """Return the width of the interval of the last weight over all minimisers of Σ |y − Xw|."""
    count = features.shape[1]
    sums = np.append(np.zeros(count), np.ones(len(targets)))
    least = _program(features, targets, sums).fun
    ends = []
    for sign in (1.0, -1.0):
        direction = np.zeros(count + len(targets))
        direction[count - 1] = sign
        ends.append(_program(features, targets, direction, sums, least * (1 + 1e-9)).x[count - 1])
    return ends[1] - ends[0]


def _program(
    features: np.ndarray, targets: np.ndarray, cost: np.ndarray, also: np.ndarray | None = None, most: float = 0.0
) -> optimize.OptimizeResult:
    """Minimise `cost` · (w, t) subject to t ≥ |y − Xw|, and to `also` · (w, t) ≤ `most` if given."""
    identity = np.eye(len(targets))
    above = np.block([[-features, -identity], [features, -identity]])
    bounds = np.concatenate([-targets, targets])
    if also is not None:
        above, bounds = np.vstack([above, also]), np.append(bounds, most)
    free = [(None, None)] * features.shape[1] + [(0, None)] * len(targets)
    return optimize.linprog(cost, above, bounds, bounds=free, method="highs-ds")
