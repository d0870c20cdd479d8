"""Linear models solved exactly, in float64: nothing here is trained, so nothing depends on steps or a learning rate."""

from collections.abc import Iterator, Sequence

import numpy as np


def ridge_path(features: np.ndarray, targets: np.ndarray, ridges: Sequence[float]) -> Iterator[np.ndarray]:
    """For each ρ of `ridges` the weights `[N, K]` that minimise ‖ΦW − Y‖² + ρ‖W‖²; ρ = 0: the least of least squares.

    `features` Φ `[n, N]`, `targets` Y `[n, K]`. One singular value decomposition serves the path: Φ = U S Vᵀ gives
    W = V (S / (S² + ρ)) Uᵀ Y. Singular values below max(n, N) ε of the largest are zero, as in `numpy.linalg.lstsq`.
    """
    left, singular, right = np.linalg.svd(features, full_matrices=False)
    kept = singular > singular[0] * max(features.shape) * np.finfo(singular.dtype).eps
    projected = left[:, kept].T @ targets
    for ridge in ridges:
        shrunk = singular[kept] / (singular[kept] ** 2 + ridge)
        yield right[kept].T @ (shrunk[:, None] * projected)


def random_fourier_features(
    inputs: np.ndarray, count: int, bandwidth: float, generator: np.random.Generator
) -> np.ndarray:
    """√(2/N) cos(Xω + b) `[n, N]` with ω ~ N(0, 1/bandwidth²) and b ~ U(0, 2π), N = `count` (Rahimi & Recht 2007).

    Their inner products tend to the Gaussian kernel of that bandwidth as N grows. `inputs` X `[n, d]`.
    """
    frequencies = generator.normal(0, 1 / bandwidth, (inputs.shape[1], count))
    phases = generator.uniform(0, 2 * np.pi, count)
    return np.sqrt(2 / count) * np.cos(inputs @ frequencies + phases)
