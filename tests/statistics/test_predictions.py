"""A prediction interval contains the next run as often as it says."""

import math

import numpy as np
import pytest

from weightdecay.statistics.estimates import ACCURACY, Estimate
from weightdecay.statistics.predictions import distance, prediction


@pytest.mark.parametrize("logarithmic", [False, True])
@pytest.mark.parametrize("n", [3, 5, 20])
def test_the_next_run_lies_within_in_95_percent_of_cases(n, logarithmic):
    drawn = np.random.default_rng(n).normal(size=(4000, n + 1))
    samples = np.exp(drawn) if logarithmic else drawn
    found = [prediction(sample[:-1], logarithmic=logarithmic) for sample in samples]
    within = np.mean([low <= sample[-1] <= high for sample, (_, low, high, _) in zip(samples, found, strict=True)])
    assert within == pytest.approx(0.95, abs=4 * math.sqrt(0.95 * 0.05 / 4000))


def test_the_interval_of_hahn_and_meeker():
    """Their example has 5 readings of mean 50.10 and deviation 1.31; t(4) is 2.776."""
    values = 50.10 + 1.31 * np.array([-1, -1, 0, 1, 1])
    median, low, high, n = prediction(values)
    reach = 2.776445 * 1.31 * math.sqrt(1.2)
    assert (median, n) == (50.10, 5)
    assert (low, high) == (pytest.approx(50.10 - reach, rel=1e-6), pytest.approx(50.10 + reach, rel=1e-6))


def test_an_accuracy_stays_between_0_and_1_and_few_seeds_have_no_interval():
    assert prediction([0.9, 0.99, 1.0], ACCURACY).high == 1
    assert math.isnan(prediction([0.5]).low) and prediction([0.5]).value == 0.5
    assert math.isnan(prediction([]).value)
    with pytest.raises(ValueError, match="every seed"):
        prediction([0.5, math.nan])


def test_the_distance_from_an_interval():
    found = Estimate(0.5, 0.4, 0.7, 5)
    assert [distance(value, found) for value in (0.4, 0.5, 0.7)] == [0, 0, 0]
    assert distance(0.35, found) == pytest.approx(0.05) and distance(0.8, found) == pytest.approx(0.1)
    assert math.isnan(distance(0.5, Estimate(0.5, math.nan, math.nan, 1)))
