"""Tests that tell two sets of seeds apart no more often than they say, and do so where there is something to tell."""

import numpy as np
import pytest
from scipy import stats

from weightdecay.claims import agreement
from weightdecay.claims.agreement import holm, interval_difference, moderated_difference, paired_shift
from weightdecay.claims.judging import reported
from weightdecay.claims.model import Part
from weightdecay.statistics.estimates import ACCURACY, Estimate, geometric_interval, mean_interval, open_above


def part(estimate: Estimate) -> Part:
    return reported("Part", "a quantity", estimate)


def test_holm_is_the_published_example():
    """Holm (1979) steps down: the smallest times m, the next times m − 1, and never less than the one before."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_holm_keeps_the_family_wise_error():
    draws = np.random.default_rng(0).uniform(size=(4000, 20))
    assert np.mean([holm(p).min() < 0.05 for p in draws]) == pytest.approx(0.05, abs=0.01)


@pytest.mark.parametrize("interval", [mean_interval, lambda x: geometric_interval(np.exp(x))])
def test_intervals_give_welchs_t_of_their_seeds(interval):
    first, second = [1.0, 1.1, 1.3], [1.6, 1.5, 1.9, 1.7]
    expected = stats.ttest_ind(first, second, equal_var=False).pvalue
    assert interval_difference(part(interval(first)), part(interval(second))) == pytest.approx(expected, rel=1e-6)


def test_clipped_ends_do_not_count():
    """An accuracy's interval ends at 1, whatever its t says."""
    first, second = [0.97, 1.0, 0.99], [0.6, 0.7, 0.62]
    expected = stats.ttest_ind(first, second, equal_var=False).pvalue
    clipped = [part(mean_interval(side, ACCURACY)) for side in (first, second)]
    assert clipped[0].high == 1.0
    assert interval_difference(*clipped) == pytest.approx(expected, rel=0.3)


def test_lower_bounds_are_compared_on_the_side_that_is_known():
    censored = part(open_above(geometric_interval([100.0, 110.0, 105.0]), True))
    assert interval_difference(censored, part(geometric_interval([300.0, 310.0, 320.0]))) == 1.0
    assert interval_difference(censored, part(geometric_interval([30.0, 31.0, 32.0]))) < 1e-3


def test_what_has_no_interval_is_not_compared():
    known, unknown = part(mean_interval([1.0, 2.0, 3.0])), part(mean_interval([1.0]))
    assert np.isnan(interval_difference(known, unknown)) and np.isnan(interval_difference(unknown, known))


def test_seeds_that_agree_exactly_are_believed_to_a_resolution():
    one, two, near = (part(mean_interval([value] * 3)) for value in (1.0, 2.0, 1.001))
    assert interval_difference(one, one) == 1.0
    assert interval_difference(one, near) > 0.05
    assert interval_difference(one, two) < 1e-4


def draws(seeds: int, features: int, spread: float, rng: np.random.Generator) -> np.ndarray:
    """`[seeds, features]` with standard deviations that differ between features by e to the `spread`."""
    return rng.normal(0, np.exp(spread * rng.normal(size=features)) * 0.1, (seeds, features))


@pytest.mark.parametrize("spread", [0.0, 0.5, 1.5])
def test_independent_seeds_are_told_apart_no_more_often_than_said(spread):
    """Three seeds a side, 40 settings: a family-wise error of 5 % is kept, up to chance."""
    rng, alarms = np.random.default_rng(1), []
    for _ in range(400):
        both = draws(6, 40, spread, rng)
        alarms.append(holm(moderated_difference(both[:3], both[3:])).min() < 0.05)
    assert np.mean(alarms) < 0.08


def test_borrowing_sees_what_three_seeds_alone_cannot():
    """Among 1,000 curves, one shifted by eight standard deviations."""
    rng, seen, alone = np.random.default_rng(2), 0, 0
    for _ in range(100):
        first, second = draws(3, 1000, 0.0, rng), draws(3, 1000, 0.0, rng)
        second[:, 0] += 0.8
        seen += holm(moderated_difference(first, second))[0] < 0.01
        alone += holm(stats.ttest_ind(first, second).pvalue)[0] < 0.01
    assert seen > 40 and alone < 10


def test_a_setting_that_varies_more_than_others_borrows_nothing():
    rng = np.random.default_rng(3)
    first, second = draws(3, 40, 0.0, rng), draws(3, 40, 0.0, rng)
    first[:, 0], second[:, 0] = [0.0, 1.0, 0.01], [1.0, 0.99, 1.01]  # bimodal: one seed of six on the other side
    expected = stats.ttest_ind(first[:, 0], second[:, 0]).pvalue
    assert moderated_difference(first, second)[0] == pytest.approx(expected)


def test_lost_seeds_are_left_out_and_one_seed_is_none():
    first = np.array([[0.1, 0.1], [0.2, np.nan], [0.15, np.nan]])
    p = moderated_difference(first, first + 0.01)
    assert np.isfinite(p[0]) and np.isnan(p[1])


def test_rounding_that_training_amplified_is_no_shift_and_a_common_one_is():
    rng = np.random.default_rng(4)
    level = rng.normal(size=60)
    alarms = [paired_shift(level + rng.standard_t(3, 60) * 0.1, level) < 0.05 for _ in range(500)]
    assert np.mean(alarms) < 0.05  # a mean shift of up to `RESOLUTION` is allowed
    assert paired_shift(level + 0.05 + rng.normal(size=60) * 0.1, level) < 0.01
    assert paired_shift(level * (1 + 1e-6), level) == 1.0
    assert np.isnan(paired_shift(level[:5], level[:5] + 1))


def test_metrics_come_on_a_scale_on_which_a_hundredth_is_small():
    """An accuracy as it is, a loss relative, but no loss smaller than what rounding leaves of it."""
    values = np.array([0.5, 0.25, 1e-9, np.nan])
    assert np.array_equal(agreement.comparable(values, "test_accuracy", 1.0), values, equal_nan=True)
    logs = agreement.comparable(values, "test_loss", 1.0)
    assert logs[:3] == pytest.approx(np.log([0.5, 0.25, 1e-4])) and np.isnan(logs[3])
    assert agreement.comparable(np.array([-3.0, 3.0]), "cosine", 3.0) == pytest.approx([-1, 1])


def test_repeated_seeds_are_found():
    rng = np.random.default_rng(5)
    seeds = rng.normal(size=(3, 7))
    assert not agreement.repeated_seeds(seeds)
    seeds[2] = seeds[0]
    assert agreement.repeated_seeds(seeds)
    seeds[[0, 2]] = np.nan  # two that logged nothing
    assert not agreement.repeated_seeds(seeds)
