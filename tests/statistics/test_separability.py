"""A known shear is found, its interval covers, 0 is told from 1; and what has no shear has an interval that says so."""

import itertools

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial.chebyshev import chebvander

from weightdecay.statistics import separability
from weightdecay.statistics.separability import DEGREE, shear

RATES, DECAYS = 0.01 * 2.0 ** np.arange(-5, 6), 0.1 * 2.0 ** np.arange(-5, 6)
GRID = pd.MultiIndex.from_product([RATES, DECAYS])
X, Y = np.log(np.array(list(GRID)) / [0.01, 0.1]).T
WITHIN = 0.5
SHAPES = {  # of g: a parabola, steeper on one side, and with a plateau at small λ
    "parabola": lambda z: 0.05 * z**2,
    "skew": lambda z: np.where(z > 0, 0.1, 0.01) * z**2,
    "plateau": lambda z: 0.17 * np.logaddexp(0, 2 * z - 2) + 0.12 * (1 - np.tanh(z + 1)),
}


def surface(s: float | None, seeds: int = 20, noise: float = 0.06, seed: int = 0, shape: str = "plateau"):
    """Errors `[seeds, cells]`: a valley of shear `s` over the grid with noise in each cell, or noise alone."""
    of_rate = 0.03 * X**2
    log = of_rate if s is None else of_rate + SHAPES[shape](Y + s * X)
    drawn = np.random.default_rng(seed).normal(0, noise, (seeds, len(GRID)))
    return pd.DataFrame(0.3 * np.exp(log + drawn), columns=GRID)


@given(st.floats(-0.95, 1.95))
def test_the_shear_of_a_surface_without_noise_is_found(s):
    found = shear([surface(s, seeds=2, noise=0, shape="parabola")], WITHIN, resamples=2)
    assert found.estimate.value == pytest.approx(s, abs=0.02) and found.explained > 0.999


@pytest.mark.parametrize("s", [0.0, 0.3, 1.0])
def test_a_basin_s_shear_is_that_of_the_power_by_which_the_best_λ_falls(s):
    """Where ηˢλ is best at every η, the lowest cells follow λ ∝ η^−s."""
    mean = surface(s, noise=0, shape="parabola").mean()
    best = mean.unstack().idxmin(axis=1)
    assert np.polyfit(np.log(best.index), np.log(best), 1)[0] == pytest.approx(-s, abs=0.1)


def test_a_fit_is_that_of_least_squares():
    """Of ordinary regression on a column for each η and the powers of ln λ + s ln η, over the known cells."""
    errors = surface(0.4).mean()
    errors.iloc[[40, 41, 60]] = np.nan
    x, y = np.log(RATES), np.log(DECAYS)
    fit = separability._fit(np.log(errors.to_numpy()).reshape(1, 11, 11), x, y, WITHIN, np.array([0.4]))
    basin = (np.log(errors) <= np.log(errors.min()) + WITHIN).to_numpy()
    at_rate = pd.get_dummies(X[basin]).to_numpy(float)
    design = np.column_stack([at_rate, chebvander((Y + 0.4 * X)[basin] / 5, DEGREE)[:, 1:]])
    values = np.log(errors.to_numpy()[basin])
    _, (residual,), rank, _ = np.linalg.lstsq(design, values, rcond=None)
    assert fit.residual[0, 0] == pytest.approx(residual) and fit.freedom[0] == basin.sum() - rank - 1
    about_f = values - at_rate @ np.linalg.lstsq(at_rate, values, rcond=None)[0]
    assert fit.left[0] == pytest.approx((about_f**2).sum())


@pytest.mark.parametrize(("seeds", "trials"), [(20, 60), (4, 60)])
def test_the_interval_covers_and_tells_0_from_1(seeds, trials):
    found = {
        s: [shear([surface(s, seeds, 0.15, trial)], WITHIN, 200).estimate for trial in range(trials)] for s in (0, 1)
    }
    for s, estimates in found.items():
        assert np.mean([one.low <= s <= one.high for one in estimates]) >= 0.87  # .95 less 3 standard errors
        assert np.mean([one.value for one in estimates]) == pytest.approx(s, abs=0.02)
    if seeds == 20:
        assert max(one.high for one in found[0]) < 0.5 < min(one.low for one in found[1])


def test_four_seeds_would_not_be_covered_without_the_stretch(monkeypatch):
    def covered() -> float:
        found = [shear([surface(1.0, 4, seed=trial)], WITHIN, 200).estimate for trial in range(60)]
        return float(np.mean([one.low <= 1 <= one.high for one in found]))

    stretched = covered()
    monkeypatch.setattr(separability, "student_t", lambda n: 1.96 / np.sqrt(n / (n - 1)))
    assert stretched >= 0.87 and covered() < stretched


def test_a_parabola_for_g_would_be_biased_by_a_plateau(monkeypatch):
    """Why g has the fourth degree."""

    def biases() -> list[float]:
        return [abs(shear([surface(s, 2, noise=0)], WITHIN, 2).estimate.value - s) for s in (0.0, 0.5, 1.0)]

    assert max(biases()) < 0.01
    monkeypatch.setattr(separability, "DEGREE", 2)
    assert max(biases()) > 0.1


@pytest.mark.parametrize("seeds", [4, 20])
def test_noise_alone_and_a_λ_that_does_not_matter_have_no_shear(seeds):
    """f may explain much, but g explains little, and the interval holds what a judge would have to tell apart."""
    found = [shear([surface(None, seeds, noise=0.1, seed=trial)], WITHIN, 200) for trial in range(20)]
    assert max(one.explained for one in found) < 0.5 and np.mean([one.explained for one in found]) < 0.1
    wide = [one.estimate for one in found if one.estimate.low <= 0 and one.estimate.high >= 1]
    assert len(wide) >= 18 and np.median([one.high - one.low for one in wide]) > 2.5


def test_surfaces_share_a_shear_and_the_clear_one_decides():
    clear, vague = surface(0.2, noise=0.01), surface(0.9, noise=0.4, seed=1)
    assert shear([clear, vague], WITHIN, 50).estimate.value == pytest.approx(0.2, abs=0.03)
    silent = clear[list(itertools.product(RATES[4:6], DECAYS[4:7]))]
    assert shear([clear, silent], WITHIN, 50) == shear([clear], WITHIN, 50)
    alike = shear([surface(0.5, noise=0.1), surface(0.5, noise=0.1, seed=1)], WITHIN, 200).estimate
    alone = shear([surface(0.5, noise=0.1)], WITHIN, 200).estimate
    assert alike.high - alike.low < 0.9 * (alone.high - alone.low)


def test_surfaces_on_different_grids_and_seeds_are_taken_together():
    """Of 5 and 7 seeds the 5 that both have count, and a column that a surface lacks is a cell that is unknown."""
    first = surface(0.5, 7, noise=0.01)
    second = surface(0.5, 5, noise=0.01).drop(columns=[GRID[0], GRID[60]])
    found = shear([first, second], WITHIN, 50).estimate
    assert found.n == 5 and found.value == pytest.approx(0.5, abs=0.02)


def test_one_seed_has_no_interval_and_too_few_cells_have_no_shear():
    one = shear([surface(0.5, 1, noise=0.01)], WITHIN, 20)
    assert one.estimate.value == pytest.approx(0.5, abs=0.05) and np.isnan(one.estimate.low)
    few = shear([surface(0.5)[list(itertools.product(RATES[4:6], DECAYS[4:7]))]], WITHIN, 20)
    assert np.isnan(few.estimate.value) and np.isnan(few.explained) and few.surfaces == 0
    assert shear([], WITHIN, 20).estimate.n == 0
