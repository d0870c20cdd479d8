"""The intervals cover what they say, the exponents are those of the law that made the data, and nothing drops a NaN."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from weightdecay.statistics import censored, estimates
from weightdecay.statistics.measures import Histories, band, best_rows, dip, final_table, finals, longest, select


@pytest.mark.parametrize("n", [3, 5, 20])
def test_t_interval_covers_95_percent(n):
    draws = np.random.default_rng(0).normal(2.0, 0.3, (2000, n))
    intervals = [estimates.mean_interval(draw) for draw in draws]
    covered = np.mean([interval.low <= 2.0 <= interval.high for interval in intervals])
    assert covered == pytest.approx(0.95, abs=0.015)  # 3 standard errors of 2000 trials


def test_student_s_t_is_scipy_s_to_the_last_bit():
    assert [estimates.student_t(n) for n in range(2, 300)] == [stats.t.ppf(0.975, n - 1) for n in range(2, 300)]


def test_percentile_bootstrap_would_not_at_3_seeds():
    """Why the house rule is t: with 3 seeds the range of the bootstrap's means is the range of the data."""
    draws = np.random.default_rng(0).normal(2.0, 0.3, (2000, 3))
    covered = np.mean((draws.min(axis=1) <= 2.0) & (2.0 <= draws.max(axis=1)))
    assert covered < 0.8


def test_geometric_interval_covers_the_geometric_mean():
    draws = np.exp(np.random.default_rng(1).normal(np.log(3.0), 0.5, (2000, 4)))
    intervals = [estimates.geometric_interval(draw) for draw in draws]
    assert np.mean([interval.low <= 3.0 <= interval.high for interval in intervals]) == pytest.approx(0.95, abs=0.015)


def test_accuracies_stay_in_their_bounds():
    interval = estimates.mean_interval([1.0, 0.99, 0.9], estimates.ACCURACY)
    assert interval.high == 1.0 and interval.low < 0.9


def test_one_seed_has_no_interval_and_none_no_value():
    assert np.isnan(estimates.mean_interval([0.5]).low)
    assert estimates.mean_interval([]).n == 0


@pytest.mark.parametrize("function", [estimates.mean_interval, estimates.geometric_interval])
def test_nan_is_refused_rather_than_dropped(function):
    with pytest.raises(ValueError, match="1 of 2 values are NaN"):
        function([1.0, np.nan])


@pytest.mark.parametrize(("successes", "trials"), [(0, 3), (3, 3), (2, 5), (19, 20), (250, 500)])
def test_proportion_interval_is_the_exact_one(successes, trials):
    """Clopper & Pearson: at either end, the tail beyond what was seen has probability 2.5 %."""
    interval = estimates.proportion_interval(successes, trials)
    if successes:
        assert stats.binom.sf(successes - 1, trials, interval.low) == pytest.approx(0.025)
    if successes < trials:
        assert stats.binom.cdf(successes, trials, interval.high) == pytest.approx(0.025)


def test_paired_interval_uses_the_pairs_alone():
    first, second = pd.Series({0: 0.9, 1: 0.8, 2: 0.7, 3: 0.1}), pd.Series({0: 0.5, 1: 0.4, 2: 0.3})
    interval = estimates.paired_interval(first, second)
    assert interval.n == 3
    assert interval.value == pytest.approx(0.4) and interval.high - interval.low < 1e-9


@given(st.lists(st.tuples(st.integers(-3, 3), st.floats(-5, 5)), min_size=3, max_size=30))
def test_rank_correlation_is_spearman_s(pairs):
    x, y = np.array(pairs).T  # the first has ties
    if np.ptp(x) and np.ptp(y):
        assert estimates.rank_correlation(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


def test_rank_correlation_of_a_constant_is_none():
    assert estimates.rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) == 0
    assert estimates.rank_correlation([4, 3, 2, 1], [1, 2, 30, 400]) == pytest.approx(-1)


def test_rank_correlation_of_each_seed():
    rows = pd.DataFrame({"seed": [0, 0, 0, 1, 1, 1], "x": [1, 2, 3, 3, 2, 1], "y": [1.0, 5.0, 9.0, 2.0, 4.0, 8.0]})
    both = estimates.rank_correlation_interval(rows, "x", "y")
    assert (both.value, both.low, both.high, both.n) == (pytest.approx(0), -1, 1, 2)
    assert estimates.rank_correlation_interval(rows.iloc[:5], "x", "y").n == 0
    assert estimates.rank_correlation_interval(rows.assign(y=[1.0, np.nan, 2, 3, 4, 5]), "x", "y").n == 0


def test_digits_are_those_of_each_seed_s_worst_row():
    rows = pd.DataFrame({"seed": [0, 0, 1, 1], "error": [1e-9, 1e-4, 0.0, 1e-6]})
    assert estimates.digits_interval(rows, "error").value == pytest.approx(5)
    assert estimates.digits_interval(rows.assign(error=0.0), "error").value == pytest.approx(17)
    assert estimates.digits_interval(rows.assign(error=[np.nan, 1, 1, 1]), "error").n == 0


def grid_of_times(noise: float, generator: np.random.Generator):
    η, λ = (axis.ravel() for axis in np.meshgrid([5e-4, 1e-3, 2e-3], [0.01, 0.03, 0.1, 0.3]))
    return η, λ, 0.5 * η**-1.0 * λ**-0.8 * np.exp(generator.normal(0, noise, η.size))


def test_exponents_of_an_exact_law():
    η, λ, times = grid_of_times(0, np.random.default_rng(0))
    fit = censored.power_law({"η": η, "λ": λ}, times, np.full(η.size, True))
    assert fit == pytest.approx({"η": -1.0, "λ": -0.8, "constant": 0.5})


def test_a_seed_whose_runs_tell_no_exponents_has_none():
    η, λ, times = grid_of_times(0, np.random.default_rng(0))
    runs = pd.DataFrame({"seed": 0, "η": η, "λ": λ, "time": times, "reached": True})
    silent = runs.assign(seed=1, time=np.nan)
    fits = censored.power_laws(pd.concat([runs, silent, runs.tail(1).assign(time=np.nan)]), ["η", "λ"], "time")
    assert fits.loc[0].to_dict() == pytest.approx({"η": -1.0, "λ": -0.8, "constant": 0.5})
    assert list(fits.index) == [0, 1] and fits.loc[1].isna().all()


def test_without_censoring_the_fit_is_least_squares():
    η, λ, times = grid_of_times(0.3, np.random.default_rng(0))
    fit = censored.power_law({"η": η, "λ": λ}, times, np.full(η.size, True))
    line = np.linalg.lstsq(np.column_stack([np.log(η), np.log(λ), np.ones(η.size)]), np.log(times))[0]
    assert [fit["η"], fit["λ"], np.log(fit["constant"])] == pytest.approx(list(line))


def test_censored_times_do_not_bias_the_exponents_and_dropping_them_does():
    generator, longest_run = np.random.default_rng(3), 15_000.0
    fitted, dropped = [], []
    for _ in range(100):
        η, λ, times = grid_of_times(0.5, generator)
        reached, seen = times <= longest_run, np.minimum(times, longest_run)
        fitted.append(censored.power_law({"η": η, "λ": λ}, seen, reached)["λ"])
        kept = {"η": η[reached], "λ": λ[reached]}
        dropped.append(censored.power_law(kept, times[reached], np.full(reached.sum(), True))["λ"])
    assert np.mean(fitted) == pytest.approx(-0.8, abs=0.05)
    assert np.mean(dropped) > -0.72  # flatter than the truth


def test_bounds_on_either_side_bend_no_line():
    """y = 2x and noise, cut off below 1 and above 9: taken for values, the ends flatten the line."""
    generator, fitted, kept, spreads = np.random.default_rng(0), [], [], []
    x = np.linspace(0, 5, 30)
    design = np.column_stack([x, np.ones(30)])
    for _ in range(60):
        y = 2 * x + generator.normal(0, 1, 30)
        side = np.where(y > 9, 1, np.where(y < 1, -1, 0))
        coefficients, spread = censored.censored_line(design, y.clip(1, 9), side)
        fitted.append(coefficients[0])
        spreads.append(spread)
        kept.append(censored.censored_line(design, y.clip(1, 9), 0 * side)[0][0])
    assert np.mean(fitted) == pytest.approx(2, abs=0.04) and np.mean(spreads) == pytest.approx(1, abs=0.07)
    assert np.mean(kept) < 1.85


def test_exponents_that_the_data_cannot_tell_are_unknown():
    one_rate = censored.power_law({"η": [1e-3] * 5, "λ": [0.1, 0.2, 0.3, 0.4, 0.5]}, [5, 4, 3, 2, 1], [True] * 5)
    assert np.isnan(one_rate["η"])
    η, λ, times = grid_of_times(0, np.random.default_rng(0))
    assert np.isnan(censored.power_law({"η": η, "λ": λ}, times, np.arange(η.size) < 3)["λ"])


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 2**32 - 1), st.sampled_from([0.0, 0.2, 0.8]))
def test_the_means_of_the_other_seeds_are_pandas_to_the_last_bit(seeds, settings, seed, unknown):
    generator = np.random.default_rng(seed)
    values = generator.normal(0, 1, (seeds, settings))
    values[generator.random(values.shape) < unknown] = np.nan
    table = pd.DataFrame(values, index=range(10, 10 + seeds))
    expected = [table.drop(index=seed).mean().to_numpy() for seed in table.index]
    assert np.array_equal(estimates.means_of_others(table), expected, equal_nan=True)


def test_choosing_on_the_other_seeds_does_not_flatter_the_best():
    """20 equal settings: the best of one's own noise looks better than the rest, the best of others' does not."""
    noise = pd.DataFrame(np.random.default_rng(4).normal(size=(200, 20)))
    honest = estimates.leave_one_out(noise, lambda others, own: own[others.idxmax()] - own[0])
    assert abs(honest.mean()) < 0.3
    assert (noise.max(axis=1) - noise[0]).mean() > 1.5


def test_noise_alone_makes_no_dip():
    train = pd.DataFrame(np.tile([1.0, 1.0, 1.0, 0.5, 0.2, 0.0], (100, 1)), columns=[0.0, 0.1, 0.2, 0.3, 0.4, 0.5])
    test = pd.DataFrame(np.random.default_rng(5).normal(0.8, 0.05, train.shape), columns=train.columns)
    depth = dip(pd.concat({"train": train, "test": test}, axis=1), interpolated=0.99)
    assert abs(depth.mean()) < 0.02  # 0.05 √2 / √100 = 0.007 is its standard error


def history(values, run="a", metric="test_accuracy", every=100):
    steps = np.arange(len(values)) * every
    return pd.DataFrame({"run": run, "step": steps, "metric": metric, "value": values})


def test_final_accuracy_is_the_mean_of_the_last_steps_and_0_when_diverged():
    histories = Histories(history([0.0] * 80 + [0.5] * 21))  # 10,000 steps, of which the last fifth is .5
    run = pd.Series({"run": "a", "diverged_at": np.nan})
    assert histories.final_accuracy(run, "test_accuracy", window=3900) == 0.5
    assert histories.final_accuracy(run, "test_accuracy", window=3900, until=5000) == 0.0
    diverged = pd.Series({"run": "a", "diverged_at": 9000.0})
    assert histories.final_accuracy(diverged, "test_accuracy", window=3900) == 0.0
    assert np.isnan(histories.final_accuracy(run, "validation_accuracy", window=3900))


def test_first_step_is_the_first_logged_one_that_reaches():
    histories = Histories(history([0.0, 0.5, 0.95, 0.9, 1.0]))
    assert histories.first_step("a", "test_accuracy", 0.95) == 200
    assert np.isnan(histories.first_step("a", "test_accuracy", 1.1))


def test_of_two_run_lengths_the_longest_counts():
    runs = pd.DataFrame({"run": ["a", "b", "c"], "weight_decay": [0.1, 0.1, 0.3], "seed": 0, "steps": [10, 20, 10]})
    assert list(longest(runs)["run"]) == ["b", "c"]
    assert list(select(runs, weight_decay=0.1 + 1e-12, seed=0)["run"]) == ["a", "b"]
    table = final_table(
        Histories(history([1.0, 1.0], run="b")), longest(runs).assign(diverged_at=np.nan), "test_accuracy", 5
    )
    assert table.loc[0, 0.1] == 1.0 and np.isnan(table.loc[0, 0.3])


def test_band_is_the_interval_at_every_step():
    curves = {seed: pd.Series(np.random.default_rng(seed).uniform(size=5)) for seed in range(4)}
    found = band(curves, estimates.ACCURACY).loc[2]
    interval = estimates.mean_interval([curve[2] for curve in curves.values()], estimates.ACCURACY)
    assert list(found) == pytest.approx([interval.value, interval.low, interval.high])


def test_finals_of_many_runs_are_those_of_one_after_another():
    steps, generator = np.arange(0, 101, 5), np.random.default_rng(0)
    runs = pd.DataFrame({"run": list("abc"), "steps": 100, "diverged_at": [np.nan, np.nan, 40.0], "seed": [0, 1, 2]})
    parts = [
        pd.DataFrame({"run": run, "step": steps, "metric": metric, "value": generator.random(len(steps))})
        for run in "abc"
        for metric in ("test_loss", "test_accuracy")
    ]
    history = pd.concat(parts)
    history.loc[(history["run"] == "c") & (history["step"] >= 40), "value"] = np.nan
    table = finals(runs, history, ("test_loss", "test_accuracy"))
    histories = Histories(history)
    for index, run in runs.iterrows():
        assert table.loc[index, "test_accuracy"] == pytest.approx(histories.final_accuracy(run, "test_accuracy", 10))
        assert table.loc[index, "test_loss"] == pytest.approx(histories.final(run, "test_loss", 10), nan_ok=True)


def test_the_best_row_of_a_seed_is_that_of_its_lowest_loss():
    rows = pd.DataFrame({"seed": [2, 1, 1, 1, 0], "validation_loss": [np.nan, 3.0, 1.0, np.nan, 5.0], "λ": range(5)})
    assert best_rows(rows)["λ"].fillna(-1).to_dict() == {0: 4, 1: 2, 2: -1}
    assert best_rows(rows).index.name == "seed"
