"""Computations for C5-C11 and C14: polynomials and ridge, its constrained form, and lines under three losses.

Polynomials are fitted to S0's data, y = 2x + 1 plus noise, with S0's convention of λ: (1/n) Σ (y − ŷ)² + λ Σ w². The
constant is not penalised. Lines are fitted to S3's data, y = 1.5 x plus noise.
"""

import itertools
from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from scipy import optimize

from weightdecay.closed_form import ridge_path
from weightdecay.errors import ConfigError

from . import finding
from .demo import SLOPE, TRAIN_NOISE, line
from .lines import FITS, distance, width_of_minimisers

Count = Annotated[int, Field(ge=1)]
Noise = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
TRUE = (1.0, 2.0)  # S0's constant and slope


@finding.computation
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
    """Return one row for each seed, degree and λ: mean squared error on every split, norm, `weight_00`, ...

    The weights are coefficients, beginning with the constant. Training points are evenly spaced on [−1, 1], the others
    are uniformly random, and all have the same noise. `sensitivity` is the exact root mean square of the polynomial's
    slope on [−1, 1].
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
                row: dict[str, float] = {"seed": seed, "degree": degree, "weight_decay": weight_decay}
                row["norm"] = float(np.linalg.norm(weights[1:]))
                row["sensitivity"] = sensitivity(weights)
                for name, (x, y) in splits.items():
                    row[f"{name}_loss"] = ((np.polynomial.polynomial.polyval(x, weights) - y) ** 2).mean()
                rows.append(row | {f"weight_{power:02}": weight for power, weight in enumerate(weights)})
    return pd.DataFrame(rows)


def polynomial_path(x: np.ndarray, y: np.ndarray, degree: int, weight_decays: list[float]) -> np.ndarray:
    """Return the coefficients `[λ, degree + 1]`, beginning with the constant; λ = 0 gives least squares."""
    paths = np.zeros((len(weight_decays), degree + 1))
    if degree:
        features, targets = centred(x, y, degree)
        ridges = [len(x) * weight_decay for weight_decay in weight_decays]
        paths[:, 1:] = [weights[:, 0] for weights in ridge_path(features, targets[:, None], ridges)]
    paths[:, 0] = y.mean() - paths[:, 1:] @ (x[:, None] ** np.arange(1, degree + 1)).mean(0)
    return paths


def sensitivity(weights: np.ndarray) -> float:
    """Return the root mean square slope on [−1, 1] of the polynomial with these coefficients, the constant first."""
    slope = np.polynomial.Polynomial(weights).deriv()
    integral = (slope * slope).integ()
    return np.sqrt(max((integral(1) - integral(-1)) / 2, 0.0))


def centred(x: np.ndarray, y: np.ndarray, degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the powers x, x², ... `[n, degree]` and the targets `[n]` less their means, which removes the constant."""
    features = x[:, None] ** np.arange(1, degree + 1)
    return features - features.mean(0), y - y.mean()


@finding.computation
def constraints(
    *,
    seeds: Count,
    train_size: Count,
    noise: Noise,
    degree: Count,
    weight_decays: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)],
) -> pd.DataFrame:
    """Compare the ridge solution w with the least loss in the ball ‖v‖² ≤ C = ‖w‖² (C6, C8): a row for each seed and λ.

    `residual` is ‖∇L(w) + 2λw‖ / ‖∇L(0)‖, the stationarity condition of Karush, Kuhn and Tucker; the choice of C
    fulfils the other conditions. `solver` is the relative distance from w to the solution of a constrained solver,
    which knows C but not λ. `multiplier` is the relative error of the multiplier there. `norm`, `loss` and `weight_01`,
    ... are those of w.
    """
    rows = []
    for seed in range(seeds):
        x = np.linspace(-1, 1, train_size)
        y = TRUE[0] + TRUE[1] * x + np.random.default_rng([seed, 2]).normal(0, noise, train_size)
        features, targets = centred(x, y, degree)
        hessian, slope = 2 * features.T @ features / len(x), -2 * features.T @ targets / len(x)
        for weight_decay in weight_decays:
            weights = next(ridge_path(features, targets[:, None], [len(x) * weight_decay]))[:, 0]
            found = in_ball(hessian, slope, float(np.linalg.norm(weights)))
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
    """Return the w with ‖w‖ ≤ radius that minimises ½ wᵀHw + sᵀw, by sequential quadratic programming (SLSQP)."""
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


@finding.computation
def balls(
    *,
    seeds: Count,
    train_size: Count,
    validation_size: Count,
    noise: Noise,
    degree: Count,
    radii: Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1)],
) -> pd.DataFrame:
    """Find the least loss in balls of several radii (C11); return a row for each seed and radius.

    The unit of length is the norm of the unconstrained optimum. The solver knows only the ball. `norm` is that of its
    solution, `surface` is |norm/radius − 1|, and `apart` the distance to the unconstrained optimum. `error` is the mean
    squared distance to the true line on [−1, 1]. There is also `validation_loss`.
    """
    if degree >= train_size:
        raise ConfigError(f"degree is {degree}, but must be less than train_size, {train_size}: many optima otherwise.")
    if 1.0 in radii:
        raise ConfigError("radii has 1.0, but must not: that ball ends at the unconstrained optimum.")
    rows = []
    for seed in range(seeds):
        generator = np.random.default_rng([seed, 4])
        x, fresh = np.linspace(-1, 1, train_size), generator.uniform(-1, 1, validation_size)
        y, held_out = (TRUE[0] + TRUE[1] * at + generator.normal(0, noise, len(at)) for at in (x, fresh))
        features, targets = centred(x, y, degree)
        hessian, slope = 2 * features.T @ features / len(x), -2 * features.T @ targets / len(x)
        free = np.linalg.solve(hessian, -slope)
        norm = float(np.linalg.norm(free))
        for radius in (1.0, *radii):
            weights = free if radius == 1 else in_ball(hessian, slope, radius * norm)
            constant = y.mean() - weights @ (x[:, None] ** np.arange(1, degree + 1)).mean(0)
            off = np.polynomial.Polynomial([constant, *weights]) - np.polynomial.Polynomial(TRUE)
            area = (off * off).integ()
            rows.append(
                {
                    **{"seed": seed, "radius": radius, "norm": np.linalg.norm(weights) / norm},
                    "surface": abs(np.linalg.norm(weights) / (radius * norm) - 1),
                    "apart": np.linalg.norm(weights - free) / norm,
                    "validation_loss": (
                        (np.polynomial.polynomial.polyval(fresh, [constant, *weights]) - held_out) ** 2
                    ).mean(),
                    "error": (area(1) - area(-1)) / 2,
                }
            )
    return pd.DataFrame(rows)


@finding.computation
def outliers(
    *,
    seeds: Count,
    train_size: Count,
    outliers: Count,
    noise: Noise,
    shifts: Annotated[list[NonNegative], Field(min_length=1)],
) -> pd.DataFrame:
    """Fit lines under three losses to points with outliers (C7); return a row for each seed, shift and loss.

    A row has constant, slope and distance to the true line. The same points are shifted upwards by each of `shifts`.
    The distance is the root mean square on [−1, 1].
    """
    if outliers > train_size:
        raise ConfigError(f"outliers is {outliers}, but must be at most train_size, {train_size}.")
    rows = []
    for seed in range(seeds):
        generator = np.random.default_rng([seed, 3])
        x = np.linspace(-1, 1, train_size)
        y = SLOPE * x + generator.normal(0, noise, train_size)
        shifted = np.isin(np.arange(train_size), generator.choice(train_size, outliers, replace=False))
        for shift in shifts:
            for loss, fit in FITS.items():
                constant, slope = fit(np.column_stack([np.ones_like(x), x]), y + shift * shifted)
                row = {"seed": seed, "shift": shift, "loss": loss, "constant": constant, "slope": slope}
                rows.append(row | {"distance": distance(constant, slope - SLOPE)})
    return pd.DataFrame(rows)


@finding.computation
def minimisers(*, seeds: Count, train_sizes: Annotated[list[Count], Field(min_length=1)], noise: Noise) -> pd.DataFrame:
    """Find whether a loss has several minimisers (C7); return a row for each seed, number of points, problem and loss.

    Problems are a constant and a line. Points are S3's except for their number (`size`). Under L1, `width` is the width
    of the interval of slopes (or constants) with the least sum of absolute errors, by linear programming. There are
    several minimisers if it is wider than 1e-3 of the noise. Under L2 there are several if the features are linearly
    dependent.
    """
    rows = []
    for seed, size in itertools.product(range(seeds), train_sizes):
        x, y, _ = line(seed, size, outlier=False)
        y = SLOPE * x + (y - SLOPE * x) * noise / TRAIN_NOISE
        for problem, features in (("constant", np.ones((size, 1))), ("line", np.column_stack([np.ones_like(x), x]))):
            width = width_of_minimisers(features, y)
            dependent = np.linalg.matrix_rank(features) < features.shape[1]
            row = {"seed": seed, "size": size, "problem": problem}
            rows.append(row | {"loss": "absolute_error", "width": width, "several": float(width > 1e-3 * noise)})
            rows.append(row | {"loss": "squared_error", "width": 0.0, "several": float(dependent)})
    return pd.DataFrame(rows)


@finding.computation
def nudges(*, seeds: Count, train_size: Count, noise: Noise, nudge: Noise, draws: Count) -> pd.DataFrame:
    """Measure how far lines move when all targets change by N(0, `nudge`) (C14); return a row for each seed and loss.

    `moved` is the distance between the lines on [−1, 1] over `nudge`, as root mean square over `draws` such changes.
    """
    rows = []
    for seed in range(seeds):
        generator = np.random.default_rng([seed, 5])
        x = np.linspace(-1, 1, train_size)
        features, y = np.column_stack([np.ones_like(x), x]), SLOPE * x + generator.normal(0, noise, train_size)
        changes = generator.normal(0, nudge, (draws, train_size))
        for loss, fit in FITS.items():
            before = fit(features, y)
            squares = [distance(*(fit(features, y + change) - before)) ** 2 for change in changes]
            rows.append({"seed": seed, "loss": loss, "moved": np.sqrt(np.mean(squares)) / nudge})
    return pd.DataFrame(rows)
