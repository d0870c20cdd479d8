"""Linear models solved exactly, in float64. Nothing is trained, so nothing depends on steps or a learning rate."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np


def ridge_path(features: np.ndarray, targets: np.ndarray, ridges: Iterable[float]) -> Iterator[np.ndarray]:
    """Yield for each ρ of `ridges` the weights W `[N, K]` that minimise ‖ΦW − Y‖² + ρ‖W‖².

    For ρ = 0 this is the least-squares solution of the smallest norm. `features` are Φ `[n, N]`, `targets` Y `[n, K]`.
    One singular value decomposition Φ = U S Vᵀ serves the whole path: W = V (S / (S² + ρ)) Uᵀ Y. Singular values below
    max(n, N) ε of the largest count as zero, as in `numpy.linalg.lstsq`.
    """
    left, singular, right = np.linalg.svd(features, full_matrices=False)
    kept = singular > singular[0] * max(features.shape) * np.finfo(singular.dtype).eps
    projected = left[:, kept].T @ targets
    for ridge in ridges:
        shrunk = singular[kept] / (singular[kept] ** 2 + ridge)
        yield right[kept].T @ (shrunk[:, None] * projected)


class RandomFourierFeatures:
    """The features φ(x) = √(2/N) cos(xω + b) with ω ~ N(0, 1/bandwidth²) and b ~ U(0, 2π); N is `count`.

    Their inner products tend to the Gaussian kernel of this bandwidth as N grows (Rahimi & Recht 2007). Inputs are
    `[n, dimension]`.
    """

    def __init__(self, dimension: int, count: int, bandwidth: float, generator: np.random.Generator):
        self.frequencies = generator.normal(0, 1 / bandwidth, (dimension, count))  # ω
        self.phases = generator.uniform(0, 2 * np.pi, count)  # b
        self.scale = np.sqrt(2 / count)

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Return the features `[n, N]` of `inputs`."""
        return self.scale * np.cos(inputs @ self.frequencies + self.phases)

    def squared_gradients(self, inputs: np.ndarray, weights: Sequence[np.ndarray]) -> np.ndarray:
        """Return for each W `[N, K]` of `weights` the mean over `inputs` of ‖∂f/∂x‖², for f(x) = φ(x) W.

        The norm sums over outputs. ∂f/∂x = −√(2/N) Σ_j W_j sin(xω_j + b_j) ω_j, so the mean is a quadratic form in W
        with the matrix (2/N) (SᵀS/n) ∘ (ωᵀω), where S `[n, N]` are the sines. It is exact, and the same for all W.
        """
        sines = np.sin(inputs @ self.frequencies + self.phases)
        form = (sines.T @ sines) * (self.frequencies.T @ self.frequencies)  # [N, N]
        means = [np.vdot(each, form @ each) for each in weights]
        return self.scale**2 / len(inputs) * np.array(means)
