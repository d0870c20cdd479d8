"""Linear models under L1, L2 and Elastic Net: plain descent and proximal steps, for many λ at once.

All minimise scikit-learn's objective, 1/(2m) ‖y − Xw‖² + λ r ‖w‖₁ + λ (1 − r)/2 ‖w‖², without a constant. S2's own,
(1/m) Σ L + (λ/m) Σ |w| with L = (y − ŷ)²/2, is the same with λ/m in place of λ.
"""

import numpy as np

from weightdecay.closed_form import ridge_path

TOLERANCE, MOST_STEPS = 1e-13, 100_000


def proximal(features: np.ndarray, targets: np.ndarray, penalties: np.ndarray, l1_ratio: float = 1.0) -> np.ndarray:
    """Return the weights `[p, λ]` after accelerated proximal gradient steps (FISTA: Beck & Teboulle 2009).

    The steps end when nothing changes. Momentum is reset if it leads uphill (O'Donoghue & Candès 2015). RuntimeError
    after too many steps.
    """
    gram, slope = features.T @ features / len(targets), features.T @ targets / len(targets)
    decay, threshold = penalties * (1 - l1_ratio), penalties * l1_ratio
    rate = 1 / (np.linalg.eigvalsh(gram)[-1] + decay)  # [λ]
    weights = ahead = np.zeros((len(gram), len(penalties)))
    inertia = np.ones(len(penalties))
    for _ in range(MOST_STEPS):
        gradient = gram @ ahead - slope[:, None] + decay * ahead
        moved = soft_threshold(ahead - rate * gradient, rate * threshold)
        step, correction = moved - weights, moved - ahead
        if max(np.abs(step).max(), np.abs(correction).max()) <= TOLERANCE * np.abs(moved).max(initial=1):
            return moved
        following = (1 + np.sqrt(1 + 4 * inertia**2)) / 2
        uphill = (correction * step).sum(0) < 0
        ahead = moved + np.where(uphill, 0, (inertia - 1) / following) * step
        weights, inertia = moved, np.where(uphill, 1, following)
    raise RuntimeError(f"no convergence in {MOST_STEPS} steps")


def subgradient(
    features: np.ndarray, targets: np.ndarray, penalties: np.ndarray, start: np.ndarray, rate: float, iterations: int
) -> np.ndarray:
    """Return the weights `[p, λ]` after S2's updates w ← w − η (gradient + λ sign(w)) for L1, from `start` `[p]`."""
    gram, slope = features.T @ features / len(targets), features.T @ targets / len(targets)
    weights = np.tile(start[:, None], len(penalties))
    for _ in range(iterations):
        weights -= rate * (gram @ weights - slope[:, None] + penalties * np.sign(weights))
    return weights


def ridge(features: np.ndarray, targets: np.ndarray, penalties: np.ndarray) -> np.ndarray:
    """Return the weights `[p, λ]` under L2, in closed form."""
    return np.hstack(list(ridge_path(features, targets[:, None], len(targets) * penalties)))


def soft_threshold(weights: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Return sign(w) max(|w| − threshold, 0), the proximal step of L1."""
    return np.sign(weights) * np.maximum(np.abs(weights) - threshold, 0)
