"""S3's example: its data, and the grids for its fits and histograms. Training and figures use it; it needs no torch."""

import numpy as np

SLOPE = 1.5
TRAIN_NOISE, TEST_NOISE = 0.5, 0.3
OUTLIER = 5.0  # 10 standard deviations of the noise
GRID = np.linspace(-1, 1, 41)  # points at which the fitted curve is measured
WEIGHT_EDGES = np.linspace(-0.1, 0.1, 41)  # S3's second layer starts within ±1/√200 = ±.071
GRADIENT_EDGES = np.linspace(-10, 1, 45)  # of log10 |gradient|; zeros of dead units lie below the first edge
STREAM = 5  # of a seed's random numbers, other than the network's streams


def line(seed: int, size: int, outlier: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x, training y and test y, each `[size]`; with `outlier` one training point is shifted by ±OUTLIER."""
    generator = np.random.default_rng([seed, STREAM])
    x = np.linspace(-1, 1, size)
    train, test = (SLOPE * x + generator.normal(0, noise, size) for noise in (TRAIN_NOISE, TEST_NOISE))
    if outlier:
        train[generator.integers(size)] += OUTLIER * generator.choice([-1, 1])
    return x, train, test
