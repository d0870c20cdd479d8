"""L1-L5, L7-L10: linear models under L1, L2 and Elastic Net, by the solvers of linear.py, checked by scikit-learn's.

Features and noise are normal, and models have no constant. λ (`penalty`) is that of linear.py. It is chosen on
validation data, with as many examples as there are for training.
"""

from typing import Annotated

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.linear_model import ElasticNet, Lasso, Ridge, enet_path

from weightdecay.errors import ConfigError

from . import finding
from .linear import proximal, ridge, subgradient

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Correlations = Annotated[list[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=1)]
SMALL = 1e-3
EXACT = {"fit_intercept": False, "tol": 1e-13, "max_iter": 1_000_000}


@finding.computation
def recovery(
    *,
    seeds: Count,
    samples: Count,
    features: Count,
    relevant: Count,
    noise: Positive,
    penalties: Annotated[list[Positive], Field(min_length=1)],
    l1_ratio: Share,
    step: Positive,
    iterations: Count,
) -> pd.DataFrame:
    """Recover sparse weights (L1, L2, L8-L10); return a row for each seed, method and λ.

    Features are independent, and the first few have weights ±1. λ = 0 is least squares. `zero_irrelevant` and
    `zero_relevant` are shares of weights that are exactly 0, `small_irrelevant` is the share below 1e-3. `size` is the
    root mean square of those irrelevant weights that proximal L1 sets to 0; NaN if there are none. `norm` is that of
    all weights. `disagreement` is the largest difference from scikit-learn's solution, if scikit-learn has the method.
    There is also `validation_loss`.
    """
    check("relevant", relevant, "features", features)
    rows, grid = [], np.array(penalties)
    for seed in range(seeds):
        generator = np.random.default_rng([seed, 1])
        true = np.zeros(features)
        true[:relevant] = generator.choice([-1.0, 1.0], relevant)
        x, x_validation = generator.normal(size=(2, samples, features))
        y, y_validation = (part @ true + generator.normal(0, noise, samples) for part in (x, x_validation))
        start = generator.uniform(-1, 1, features) / np.sqrt(features)  # as in PyTorch's linear layers
        solutions = {
            "least_squares": ridge(x, y, np.zeros(1)),
            "proximal": proximal(x, y, grid),
            "elastic_net": proximal(x, y, grid, l1_ratio),
            "ridge": ridge(x, y, grid),
            "subgradient": subgradient(x, y, grid, start, step, iterations),
        }
        theirs = {
            "proximal": lambda penalty: Lasso(alpha=penalty, **EXACT),
            "elastic_net": lambda penalty: ElasticNet(alpha=penalty, l1_ratio=l1_ratio, **EXACT),
            "ridge": lambda penalty: Ridge(alpha=samples * penalty, fit_intercept=False),
        }
        for method, weights in solutions.items():
            known = [0.0] if method == "least_squares" else penalties
            for penalty, w, sparse in zip(known, weights.T, solutions["proximal"].T, strict=False):
                zero = sparse[relevant:] == 0
                reference = theirs[method](penalty).fit(x, y).coef_ if method in theirs else np.nan
                rows.append(
                    {
                        **{"seed": seed, "method": method, "penalty": penalty, "step": step, "relevant": relevant},
                        "zero_irrelevant": (w[relevant:] == 0).mean(),
                        "zero_relevant": (w[:relevant] == 0).mean(),
                        "small_irrelevant": (np.abs(w[relevant:]) < SMALL).mean(),
                        "zero": (w == 0).mean(),
                        "size": np.sqrt((w[relevant:][zero] ** 2).mean()) if zero.any() else np.nan,
                        "norm": np.linalg.norm(w),
                        "validation_loss": ((x_validation @ w - y_validation) ** 2).mean(),
                        "disagreement": np.abs(w - reference).max(),
                        **{f"weight_{place:02}": value for place, value in enumerate(w)},
                    }
                )
    return pd.DataFrame(rows)


@finding.computation
def groups(
    *,
    seeds: Count,
    draws: Annotated[int, Field(ge=2)],
    samples: Count,
    groups: Count,
    relevant: Count,
    members: Count,
    noise: Positive,
    correlations: Correlations,
    penalties: Count,
) -> pd.DataFrame:
    """Fit groups of correlated features (L3, L4); return a row for each seed, correlation and method.

    The weights of the first groups are 1. A seed draws `draws` samples, and λ is tuned on each. `kept` is the number of
    weights in a relevant group that are not 0. `share` is the largest weight's share of the group's Σ|w|, and `same`
    says how often two draws agree on which weight is the largest. `spread` is the root of the summed variances of all
    weights over draws, and `bias` the distance of their mean from the true weights. `weight_<draw>_<member>` are the
    first group's weights in the first three draws, for a figure.
    """
    check("relevant", relevant, "groups", groups)
    rows = []
    true = np.repeat(np.arange(groups) < relevant, members).astype(float)
    for seed in range(seeds):
        for correlation in correlations:
            generator = np.random.default_rng([seed, 2, round(1e6 * correlation)])
            found: dict[str, list[np.ndarray]] = {"l1": [], "l2": []}
            for _ in range(draws):
                (x, y), validation = (
                    grouped(generator, samples, groups, members, correlation, true, noise) for _ in range(2)
                )
                found["l1"].append(best(*lasso_path(x, y, penalties, 1.0), validation)[0])
                found["l2"].append(best(*ridge_grid(x, y, penalties), validation)[0])
            for method, draw in found.items():
                weights = np.stack(draw)
                inside = np.abs(weights[:, : relevant * members].reshape(draws, relevant, members))
                largest = inside.argmax(2)
                agree = [(largest[i] == largest[j]).mean() for i in range(draws) for j in range(i)]
                rows.append(
                    {
                        **{"seed": seed, "correlation": correlation, "method": method, "members": members},
                        "kept": (inside > 0).sum(2).mean(),
                        "share": (inside.max(2) / np.maximum(inside.sum(2), np.finfo(float).tiny)).mean(),
                        "same": np.mean(agree),
                        "spread": np.sqrt(weights.var(0, ddof=1).sum()),
                        "bias": np.linalg.norm(weights.mean(0) - true),
                        **{f"weight_{i}_{j}": weights[i, j] for i in range(min(3, draws)) for j in range(members)},
                    }
                )
    return pd.DataFrame(rows)


@finding.computation
def wide(
    *,
    seeds: Count,
    samples: Count,
    groups: Count,
    relevant: Count,
    members: Count,
    noise: Positive,
    correlations: Correlations,
    l1_ratios: Annotated[list[Share], Field(min_length=1)],
    penalties: Count,
) -> pd.DataFrame:
    """Fit more features than samples (L5); return a row for each seed, correlation within groups, and method.

    `excess` is the expected squared error on new data beyond the noise, (w − w*)ᵀ Σ (w − w*), which is known exactly.
    `kept` is the number of weights that are not 0. `penalty` and `l1_ratio` are tuned on validation data; Elastic Net's
    ratio r is one of `l1_ratios`.
    """
    check("relevant", relevant, "groups", groups)
    rows = []
    true = np.repeat(np.arange(groups) < relevant, members).astype(float)
    for seed in range(seeds):
        for correlation in correlations:
            generator = np.random.default_rng([seed, 3, round(1e6 * correlation)])
            (x, y), validation = (
                grouped(generator, samples, groups, members, correlation, true, noise) for _ in range(2)
            )
            tries = {("l1", 1.0): lasso_path(x, y, penalties, 1.0), ("l2", 0.0): ridge_grid(x, y, penalties)}
            tries |= {("elastic_net", ratio): lasso_path(x, y, penalties, ratio) for ratio in l1_ratios}
            chosen = [(method, ratio, *best(*path, validation)) for (method, ratio), path in tries.items()]
            for method in ("l1", "l2", "elastic_net"):
                _, ratio, w, penalty, loss = min((row for row in chosen if row[0] == method), key=lambda row: row[-1])
                off = (w - true).reshape(groups, members)
                excess = (1 - correlation) * (off**2).sum() + correlation * (off.sum(1) ** 2).sum()
                row = {"seed": seed, "correlation": correlation, "method": method, "l1_ratio": ratio}
                row |= {"penalty": penalty, "excess": excess, "kept": (w != 0).sum(), "validation_loss": loss}
                rows.append(row | {"features": groups * members, "samples": samples})
    return pd.DataFrame(rows)


@finding.computation
def contributions(
    *, seeds: Count, samples: Count, features: Count, relevant: Count, noise: Positive, penalties: Count
) -> pd.DataFrame:
    """Fit independent features with two kinds of true weights (L7); return a row for each seed, truth and method.

    In `sparse`, the first `relevant` true weights are ±1. In `dense`, all have one size and random signs, with the same
    norm together. λ is tuned on validation data. `excess` is the expected squared error on new data beyond the noise,
    ‖w − w*‖².
    """
    check("relevant", relevant, "features", features)
    rows = []
    for seed in range(seeds):
        generator = np.random.default_rng([seed, 4])
        signs = generator.choice([-1.0, 1.0], features)
        truths = {"sparse": signs * (np.arange(features) < relevant), "dense": signs * np.sqrt(relevant / features)}
        x, fresh = generator.normal(size=(2, samples, features))
        noises = generator.normal(0, noise, (2, samples))
        for truth, true in truths.items():
            y, validation = x @ true + noises[0], (fresh, fresh @ true + noises[1])
            paths = {"l1": lasso_path(x, y, penalties, 1.0), "l2": ridge_grid(x, y, penalties)}
            for method, path in paths.items():
                w, penalty, _ = best(*path, validation)
                row = {"seed": seed, "truth": truth, "method": method, "excess": ((w - true) ** 2).sum()}
                rows.append(row | {"penalty": penalty, "kept": (w != 0).sum()})
    return pd.DataFrame(rows)


def check(part: str, few: int, whole: str, many: int) -> None:
    """Raise ConfigError if a part is larger than the whole."""
    if few > many:
        raise ConfigError(f"{part} is {few}, but must be at most {whole}, {many}.")


def grouped(
    generator: np.random.Generator,
    samples: int,
    groups: int,
    members: int,
    correlation: float,
    true: np.ndarray,
    noise: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Draw normal features `[samples, groups · members]` of variance 1, correlated within groups, and targets."""
    common, own = generator.normal(size=(samples, groups, 1)), generator.normal(size=(samples, groups, members))
    x = (np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own).reshape(samples, -1)
    return x, x @ true + generator.normal(0, noise, samples)


def lasso_path(x: np.ndarray, y: np.ndarray, count: int, l1_ratio: float) -> tuple[np.ndarray, np.ndarray]:
    """Return λ and weights `[p, λ]` of L1 (r = 1) or Elastic Net by scikit-learn.

    The path goes from the λ at which all weights are 0 to 1e-3 of it.
    """
    largest = np.abs(x.T @ y).max() / len(y) / l1_ratio
    penalties = np.geomspace(largest, 1e-3 * largest, count)
    _, weights, _ = enet_path(x, y, l1_ratio=l1_ratio, alphas=penalties, tol=1e-5, max_iter=20_000)
    return penalties, weights


def ridge_grid(x: np.ndarray, y: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return λ and weights `[p, λ]` of L2, for λ from 1e-3 to 1e3."""
    penalties = np.geomspace(1e3, 1e-3, count)
    return penalties, ridge(x, y, penalties)


def best(
    penalties: np.ndarray, weights: np.ndarray, validation: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, float, float]:
    """Return the weights `[p]` at the λ with the lowest validation loss, this λ, and the loss."""
    losses = ((validation[0] @ weights - validation[1][:, None]) ** 2).mean(0)
    place = losses.argmin()
    return weights[:, place], penalties[place], losses[place]
