"""Ridge regression is the minimiser it says, and random features peak where there are as many of them as examples."""

import numpy as np
import pytest

from weightdecay.closed_form import RandomFourierFeatures, ridge_path

GENERATOR = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(30, 10), (30, 30), (30, 90)])
def test_the_gradient_vanishes_at_the_ridge_solution(shape):
    features, targets = GENERATOR.normal(size=shape), GENERATOR.normal(size=(shape[0], 3))
    for ridge, weights in zip([1e-3, 1.0, 100.0], ridge_path(features, targets, [1e-3, 1.0, 100.0]), strict=True):
        gradient = features.T @ (features @ weights - targets) + ridge * weights
        assert np.abs(gradient).max() < 1e-11 * np.abs(features.T @ targets).max()


@pytest.mark.parametrize("shape", [(30, 10), (30, 90)])
def test_without_ridge_it_is_the_least_of_least_squares(shape):
    features, targets = GENERATOR.normal(size=shape), GENERATOR.normal(size=(shape[0], 3))
    (weights,) = ridge_path(features, targets, [0.0])
    assert weights == pytest.approx(np.linalg.lstsq(features, targets)[0], abs=1e-11)
    if shape[1] > shape[0]:
        assert features @ weights == pytest.approx(targets)  # it interpolates
        other = weights + np.linalg.svd(features)[2][-1][:, None]  # so does this, by adding what features do not see
        assert features @ other == pytest.approx(targets) and np.linalg.norm(other) > np.linalg.norm(weights)


def test_features_that_repeat_do_not_break_it():
    features = np.repeat(GENERATOR.normal(size=(20, 5)), 2, axis=1)
    (weights,) = ridge_path(features, features.sum(1, keepdims=True), [0.0])
    assert weights == pytest.approx(np.ones((10, 1)))


def test_inner_products_of_many_features_are_the_gaussian_kernel():
    inputs = GENERATOR.normal(size=(6, 4))
    mapped = RandomFourierFeatures(4, 200_000, 2.0, np.random.default_rng(1))(inputs)
    squared = ((inputs[:, None] - inputs) ** 2).sum(2)
    assert mapped @ mapped.T == pytest.approx(np.exp(-squared / (2 * 2.0**2)), abs=0.01)  # 3 standard errors


def test_squared_gradients_are_those_of_the_function_by_differences():
    """Central differences of f(x) = φ(x) W in every input, averaged over the examples and summed over the outputs."""
    features, step = RandomFourierFeatures(4, 30, 2.0, np.random.default_rng(1)), 1e-5
    inputs, path = GENERATOR.normal(size=(7, 4)), [GENERATOR.normal(size=(30, 3)), 100 * GENERATOR.normal(size=(30, 3))]
    for weights, found in zip(path, features.squared_gradients(inputs, path), strict=True):
        change = [(features(inputs + step * axis) - features(inputs - step * axis)) @ weights for axis in np.eye(4)]
        assert found == pytest.approx((np.square(change).sum((0, 2)) / (2 * step) ** 2).mean(), rel=1e-7)


def test_test_loss_peaks_at_as_many_features_as_examples():
    """A noisy linear teacher: least squares has its peak at N = n, and ridge none. Geometric means of 20 draws."""
    examples, counts, ridges = 40, [10, 20, 36, 40, 44, 80, 400], [0.0, 1.0]
    losses = np.empty((20, len(counts), len(ridges)))
    for seed in range(20):
        generator = np.random.default_rng(seed)
        inputs, teacher = generator.normal(size=(1040, 10)), generator.normal(size=(10, 1))
        targets = inputs @ teacher / 10**0.5 + generator.normal(0, 0.5, (1040, 1))
        for index, count in enumerate(counts):
            mapped = RandomFourierFeatures(10, count, 4.0, generator)(inputs)
            for column, weights in enumerate(ridge_path(mapped[:examples], targets[:examples], ridges)):
                losses[seed, index, column] = ((mapped[examples:] @ weights - targets[examples:]) ** 2).mean()
    without, with_ridge = np.exp(np.log(losses).mean(0)).T
    assert counts[int(without.argmax())] == examples and without.max() > 10 * without[-1]
    assert with_ridge.max() < 1.01 * with_ridge[0]  # never worse than with few features
