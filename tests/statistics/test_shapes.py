"""Peaks are where they were put, noise alone makes none, and a setting is chosen on one split and read on another."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightdecay.statistics.shapes import (
    at_largest,
    at_settings,
    best_settings,
    crossing,
    first_rises,
    largest_rises,
    last_falls,
    located,
    peak,
    rises_and_falls,
    valley,
    vertex,
)


def seeds(values, n: int = 3) -> pd.DataFrame:
    return pd.DataFrame([values] * n, columns=np.arange(1, len(values) + 1), dtype=float)


def test_the_peak_is_no_bad_start():
    assert peak(pd.Series([9.0, 1.0, 4.0, 2.0])) == 2
    assert peak(pd.Series([9.0, 3.0, 2.0, 1.0])) == 0  # none


def test_rises_and_falls_of_a_double_descent():
    curves = seeds([9, 1, 4, 6, 2])
    assert list(first_rises(curves)) == [5] * 3 and list(last_falls(curves)) == [4] * 3
    assert list(largest_rises(curves)) == [5] * 3
    rise, fall = rises_and_falls(curves)
    assert list(rise) == [5] * 3 and list(fall) == [4] * 3


def test_a_falling_curve_has_no_rise():
    curves = seeds([5, 4, 2, 1])
    assert list(first_rises(curves)) == [0] * 3
    assert list(largest_rises(curves)) == [-1] * 3
    assert list(rises_and_falls(curves)[0]) == [0] * 3


@pytest.mark.parametrize("measure", [first_rises, largest_rises, lambda noise: rises_and_falls(noise)[1]])
def test_noise_alone_makes_no_rise(measure):
    """Chosen on the seed's own noise, each of them would be more than 1 on average."""
    noise = pd.DataFrame(np.random.default_rng(0).normal(size=(100, 20)))
    assert abs(measure(noise).mean()) < 0.5


def test_a_crossing_lies_between_the_points():
    curve = pd.Series([1.0, 0.1, 0.001], index=[10, 100, 1000])
    assert crossing(curve, 0.01) == pytest.approx(100 * 10**0.5)
    assert crossing(curve, 0.1) == pytest.approx(100) and crossing(curve, 2.0) == 10
    assert np.isnan(crossing(curve, 1e-4))


def test_the_vertex_of_a_log_parabola_is_exact():
    x = np.array([10.0, 20.0, 50.0, 80.0, 200.0])
    curve = pd.Series(3 * np.exp(-2 * np.log(x / 42.0) ** 2), index=x)
    assert vertex(curve) == pytest.approx(42)
    assert vertex(curve.iloc[3:]) == 80 and vertex(pd.Series([1.0, 2.0], index=[1, 2])) == 2


def test_settings_are_chosen_on_validation_and_read_on_test():
    validation = {0.0: pd.DataFrame({1: [1.0, 4.0], 2: [4.0, 1.0]}), 0.1: pd.DataFrame({1: [2.0, 2.0], 2: [3.0, 1.5]})}
    test = {λ: table + 10 * λ for λ, table in validation.items()}
    tuned = best_settings(validation)
    assert tuned.to_numpy().tolist() == [[0.0, 0.1], [0.1, 0.0]]
    assert at_settings(test, tuned).to_numpy().tolist() == [[1.0, 4.0], [3.0, 1.0]]
    single = best_settings(validation, joint=True)  # geometric means 2 and √6; 2 and √3
    assert single.to_numpy().tolist() == [[0.0, 0.0], [0.1, 0.1]]


def test_a_joint_setting_counts_the_known_losses_alone():
    validation = {
        0.0: pd.DataFrame({1: [1.0, np.nan], 2: [9.0, np.nan]}),
        0.1: pd.DataFrame({1: [2.0, np.nan], 2: [1.0, np.nan]}),
    }
    first = {λ: table.where([[True, False], [True, True]]) for λ, table in validation.items()}
    chosen = best_settings(first, joint=True)
    assert chosen.loc[0].tolist() == [0.0, 0.0] and chosen.loc[1].isna().all()
    assert at_settings(validation, chosen).loc[1].isna().all()


def test_what_is_read_where_others_are_largest():
    curves = pd.DataFrame({1: [0.0, 0.0, 9.0], 2: [1.0, 1.0, 1.0]})
    assert at_largest(curves, curves * 10).tolist() == [0.0, 0.0, 10.0]


@given(st.floats(-1.5, 1.5), st.floats(0.05, 1))
def test_the_valley_of_a_parabola_is_found_between_the_points(place, curvature):
    x = np.linspace(-4, 4, 9) * np.log(2)
    curve = pd.Series(np.exp(curvature * (x - place) ** 2), index=np.exp(x))
    assert valley(curve) == pytest.approx(np.exp(place), rel=1e-6)


def test_a_valley_at_the_end_is_unknown():
    assert np.isnan(valley(pd.Series([1.0, 2.0, 3.0], index=[1.0, 2.0, 4.0])))
    assert np.isnan(valley(pd.Series([3.0, 2.0, 1.0], index=[1.0, 2.0, 4.0])))
    assert np.isnan(valley(pd.Series([np.nan, np.nan], index=[1.0, 2.0])))
    assert valley(pd.Series([3.0, 1.0, 1.0], index=[1.0, 2.0, 4.0])) == pytest.approx(2 * 2**0.5, rel=0.3)


def test_a_lowest_point_at_an_end_is_a_bound_half_a_step_inside():
    curve = pd.Series([5.0, 3.0, 1.0], index=[1.0, 4.0, 16.0])
    assert located(curve) == (8.0, 1) and located(curve[::-1].set_axis(curve.index)) == (2.0, -1)
    inside = pd.Series([5.0, 1.0, 5.0], index=[1.0, 4.0, 16.0])
    assert located(inside) == (pytest.approx(4.0), 0)
    assert located(pd.Series([5.0, 1.0, np.nan], index=[1.0, 4.0, 16.0])) == (4.0, 0)  # beyond it nothing is good
    assert np.isnan(located(pd.Series([np.nan, np.nan], index=[1.0, 4.0]))[0])
