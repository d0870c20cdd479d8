"""Numbers read alike in the paper, in figures and in the terminal."""

import math

import pytest

from weightdecay.report.numbers import LATEX, PLAIN
from weightdecay.statistics.estimates import UNKNOWN, Estimate


@pytest.mark.parametrize(
    ("value", "plain", "latex"),
    [
        (0.9764, "0.976", "0.976"),
        (1.0, "1.000", "1.000"),
        (2.345, "2.35", "2.35"),
        (12.34, "12.3", "12.3"),
        (3665, "3,665", "3{,}665"),
        (100152, "100,152", "100{,}152"),
        (-0.98, "−0.980", r"\ensuremath{-}0.980"),
        (0.0, "0.000", "0.000"),
        (0.023, "0.023", "0.023"),
        (-0.00031, "−0.00031", r"\ensuremath{-}0.00031"),
        (2.2e-16, "2.2·10⁻¹⁶", r"\ensuremath{2.2\cdot10^{-16}}"),
        (-1e-6, "−1.0·10⁻⁶", r"\ensuremath{-1.0\cdot10^{-6}}"),
        (math.nan, "–", "--"),
        (math.inf, "∞", r"\ensuremath{\infty}"),
        (-math.inf, "−∞", r"\ensuremath{-\infty}"),
    ],
)
def test_a_measured_number_has_as_many_digits_in_either_notation(value, plain, latex):
    assert (PLAIN.number(value), LATEX.number(value)) == (plain, latex)


@pytest.mark.parametrize(
    ("value", "text"), [(0.9, "0.9"), (250.0, "250"), (-2e-5, "−2·10⁻⁵"), (1e-5, "10⁻⁵"), (0.0, "0"), (1e6, "10⁶")]
)
def test_a_chosen_number_is_written_as_short_as_it_is(value, text):
    assert PLAIN.exact(value) == text


@pytest.mark.parametrize(
    ("estimate", "text"),
    [
        (Estimate(0.9764, 0.95, 0.99, 3), "0.976 [0.950, 0.990]"),
        (Estimate(0.9764, math.nan, math.nan, 1), "0.976"),
        (Estimate(4.0, 2.0, math.inf, 3), "4.00 [2.00, ∞]"),
        (UNKNOWN, "–"),
        (Estimate(0.99996, 0.99992, 1.0, 3), "1.000"),
        (Estimate(13, 13, 13, 15), "13"),
        (Estimate(0.25, 0.25, 0.25, 3), "0.250"),
    ],
)
def test_an_interval_is_value_and_ends(estimate, text):
    assert PLAIN.interval(estimate) == text


def test_whole_numbers_have_commas():
    assert (PLAIN.integer(40170), LATEX.integer(40170)) == ("40,170", "40{,}170")
