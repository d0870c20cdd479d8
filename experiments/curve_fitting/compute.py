"""C5-C8: what needs no training loop. Polynomials and ridge, its constrained form, lines under three losses.

Polynomials: S0's data, y = 2x + 1 and noise, and its convention of λ: (1/n) Σ (y − ŷ)² + λ Σ w². The constant is not
penalised. Lines: S3's data, y = 1.5 x and noise.
"""

from typing import Annotated

import numpy as np
import pandas as pd
from demo import SLOPE, TRAIN_NOISE, line
from pydantic import Field
from scipy import optimize

from weightdecay.closed_form import ridge_path
from weightdecay.computation import main

Count = Annotated[int, Field(ge=1)]
Noise = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
TRUE = (1.0, 2.0)  # S0's constant and slope


def polynomials(
    *,
    seeds: Count,
    train_size: Count,
    validation_size: Count,
    test_size: Count,
    noise: Noise,
    degrees: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)],
    weight_decays: Annotated[list[NonNegative], Field(min_length=1)],
) -> pd.DataFrame:
    """One row for each seed, degree and λ: mean squared error on every split, norm, coefficients `weight_00`, ...

    Training points are even on [−1, 1], the others uniform; all have the same noise.
    """
    rows = []
    for seed in range(seeds):
        generator = np.random.default_rng([seed, 1])
        places = [
            np.linspace(-1, 1, train_size),
            *(generator.uniform(-1, 1, size) for size in (validation_size, test_size)),
        ]
        splits = {
            name: (x, TRUE[0] + TRUE[1] * x + generator.normal(0, noise, len(x)))
            for name, x in zip(("train", "validation", "test"), places, strict=True)
        }
        for degree in degrees:
            paths = polynomial_path(*splits["train"], degree, weight_decays)
            for weight_decay, weights in zip(weight_decays, paths, strict=True):
                row = {"seed": seed, "degree": degree, "weight_decay": weight_decay}
                row["norm"] = np.linalg.norm(weights[1:])
                for name, (x, y) in splits.items():
                    row[f"{name}_loss"] = ((np.polynomial.polynomial.polyval(x, weights) - y) ** 2).mean()
                rows.append(row | {f"weight_{power:02}": weight for power, weight in enumerate(weights)})
    return pd.DataFrame(rows)


def polynomial_path(x: np.ndarray, y: np.ndarray, degree: int, weight_decays: list[float]) -> np.ndarray:
    """Coefficients `[λ, degree + 1]`, the constant's first; λ = 0: least squares."""
    paths = np.zeros((len(weight_decays), degree + 1))
    if degree:
        features, targets = centred(x, y, degree)
        ridges = [len(x) * weight_decay for weight_decay in weight_decays]
        paths[:, 1:] = [weights[:, 0] for weights in ridge_path(features, targets[:, None], ridges)]
    paths[:, 0] = y.mean() - paths[:, 1:] @ (x[:, None] ** np.arange(1, degree + 1)).mean(0)
    return paths


def centred(x: np.ndarray, y: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Powers x, x², ... `[n, degree]` and targets `[n]`, without their means: the best constant is taken out."""
    features = x[:, None] ** np.arange(1, degree + 1)
    return features - features.mean(0), y - y.mean()


def constraints(
    *,
    seeds: Count,
    train_size: Count,
    noise: Noise,
    degree: Count,
    weight_decays: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)],
) -> pd.DataFrame:
    """C6, C8: a row for each seed and λ. The ridge solution w, against the least loss in the ball ‖w‖² ≤ C of its norm.

    `residual`: ‖∇L(w) + 2λw‖ / ‖∇L(0)‖, the stationarity of Karush, Kuhn and Tucker; the other conditions hold by C.
    `solver`: relative distance from w of what a solver of the constrained problem finds, which is told C and not λ;
    `multiplier`: relative error of the multiplier at that point. `norm`, `loss` of w; `weight_01`, ...
    """
    rows = []
    for seed in range(seeds):
        x = np.linspace(-1, 1, train_size)
        y = TRUE[0] + TRUE[1] * x + np.random.default_rng([seed, 2]).normal(0, noise, train_size)
        features, targets = centred(x, y, degree)
        hessian, slope = 2 * features.T @ features / len(x), -2 * features.T @ targets / len(x)
        for weight_decay in weight_decays:
            weights = next(ridge_path(features, targets[:, None], [len(x) * weight_decay]))[:, 0]
            found = in_ball(hessian, slope, np.linalg.norm(weights))
            multiplier = -(hessian @ found + slope) @ found / (2 * found @ found)
            rows.append(
                {
                    **{"seed": seed, "weight_decay": weight_decay, "norm": np.linalg.norm(weights)},
                    "loss": ((features @ weights - targets) ** 2).mean(),
                    "residual": np.linalg.norm(hessian @ weights + slope + 2 * weight_decay * weights)
                    / np.linalg.norm(slope),
                    "solver": np.linalg.norm(found - weights) / np.linalg.norm(weights),
                    "multiplier": abs(multiplier / weight_decay - 1),
                    **{f"weight_{power:02}": weight for power, weight in enumerate(weights, 1)},
                }
            )
    return pd.DataFrame(rows)


def in_ball(hessian: np.ndarray, slope: np.ndarray, radius: float) -> np.ndarray:
    """argmin ½ wᵀHw + sᵀw over ‖w‖ ≤ radius, by sequential quadratic programming (SLSQP); in units of the radius."""
    scale = radius * np.linalg.norm(slope)
    square, linear = hessian * radius**2 / scale, slope * radius / scale
    result = optimize.minimize(
        lambda u: 0.5 * u @ square @ u + linear @ u,
        np.zeros(len(slope)),
        jac=lambda u: square @ u + linear,
        constraints={"type": "ineq", "fun": lambda u: 1 - u @ u, "jac": lambda u: -2 * u},
        method="SLSQP",
        options={"ftol": 1e-16, "maxiter": 2000},
    )
    return radius * result.x


def outliers(
    *,
    seeds: Count,
    train_size: Count,
    outliers: Count,
    noise: Noise,
    shifts: Annotated[list[NonNegative], Field(min_length=1)],
) -> pd.DataFrame:
    """C7: one row for each seed, shift of the outliers and loss: constant, slope, and distance to the true line.

    The same points are shifted upwards by each of `shifts`. The distance is the root of the mean square on [−1, 1].
    """
    rows = []
    for seed in range(seeds):
        generator = np.random.default_rng([seed, 3])
        x = np.linspace(-1, 1, train_size)
        y = SLOPE * x + generator.normal(0, noise, train_size)
        shifted = np.isin(np.arange(train_size), generator.choice(train_size, outliers, replace=False))
        for shift in shifts:
            for loss, fit in FITS.items():
                constant, slope = fit(np.column_stack([np.ones_like(x), x]), y + shift * shifted)
                distance = np.hypot(constant, (slope - SLOPE) / np.sqrt(3))
                row = {"seed": seed, "shift": shift, "loss": loss, "constant": constant, "slope": slope}
                rows.append(row | {"distance": distance})
    return pd.DataFrame(rows)


def minimisers(*, seeds: Count, train_size: Count, noise: Noise) -> pd.DataFrame:
    """C7: one row for each seed, problem (a constant, a line, through S3's points) and loss: has it several minimisers?

    L1: `width` of the interval of slopes (of constants) that reach the least sum of absolute errors, by linear
    programming; several where it is wider than 1e-3 of the noise. L2: several where features are linearly dependent.
    """
    rows = []
    for seed in range(seeds):
        x, y, _ = line(seed, train_size, outlier=False)
        y = SLOPE * x + (y - SLOPE * x) * noise / TRAIN_NOISE
        for problem, features in (
            ("constant", np.ones((train_size, 1))),
            ("line", np.column_stack([np.ones_like(x), x])),
        ):
            width = width_of_minimisers(features, y)
            dependent = np.linalg.matrix_rank(features) < features.shape[1]
            row = {"seed": seed, "problem": problem}
            rows.append(row | {"loss": "absolute_error", "width": width, "several": float(width > 1e-3 * noise)})
            rows.append(row | {"loss": "squared_error", "width": 0.0, "several": float(dependent)})
    return pd.DataFrame(rows)


def least_squares(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.linalg.lstsq(features, targets, rcond=None)[0]


def least_absolute(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """argmin Σ |y − Xw|, a linear program in w and the absolute errors."""
    return _program(features, targets, np.append(np.zeros(features.shape[1]), np.ones(len(targets)))).x[
        : features.shape[1]
    ]


def least_smooth_l1(features: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """argmin of PyTorch's smooth L1 loss: scipy's Huber loss of scale 1 is twice that."""
    start = least_squares(features, targets)
    return optimize.least_squares(
        lambda w: features @ w - targets, start, lambda w: features, loss="huber", xtol=1e-12, ftol=1e-12, gtol=1e-12
    ).x


FITS = {"squared_error": least_squares, "smooth_l1": least_smooth_l1, "absolute_error": least_absolute}


def width_of_minimisers(features: np.ndarray, targets: np.ndarray) -> float:
    """Width of the last weight's interval over all minimisers of Σ |y − Xw|."""
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
    """Least `cost` · (w, t) with t ≥ |y − Xw|, and `also` · (w, t) ≤ `most` if given."""
    identity = np.eye(len(targets))
    above = np.block([[-features, -identity], [features, -identity]])
    bounds = np.concatenate([-targets, targets])
    if also is not None:
        above, bounds = np.vstack([above, also]), np.append(bounds, most)
    free = [(None, None)] * features.shape[1] + [(0, None)] * len(targets)
    return optimize.linprog(cost, above, bounds, bounds=free, method="highs-ds")


if __name__ == "__main__":
    main([polynomials, constraints, outliers, minimisers])
