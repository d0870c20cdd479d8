"""The detectors of events on series whose events are known, logged at any interval; concordance."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from weightdecay.statistics import events
from weightdecay.statistics.events import (
    collapses,
    concordance,
    destabilisations,
    dominant_period,
    relative_collapses,
    spacings,
    times_to_next,
    variation,
)

TAU = 10_000  # steps


def made(seed: int, every: int, events: bool = True, nearest: float = 0.2) -> tuple[pd.Series, pd.Series, np.ndarray]:
    """Norm and loss of 20 τ, logged `every` steps, and the true starts.

    ρ falls as e^(-t/τ) and jumps by 4 % to a factor of 3 within .05 τ, `nearest` to 1.5 τ apart; the loss jumps with it
    by a factor of 5 to 1000 and decays. Both are noisy.
    """
    generator = np.random.default_rng(seed)
    starts = np.cumsum(generator.uniform(nearest, nearest + 1.3, 40)) * TAU
    starts = starts[starts < 19 * TAU] if events else np.empty(0)
    steps = np.arange(0, 20 * TAU + 1, every, dtype=float)
    log_norm, log_loss = -steps / TAU, generator.normal(0, 0.15, len(steps))
    for start in starts:
        height, length = generator.uniform(np.log(1.04), np.log(3)), generator.uniform(0.002, 0.05) * TAU
        log_norm += height * np.clip((steps - start) / length, 0, 1)
        spike = np.log(generator.uniform(5, 1000)) * np.exp(-np.clip(steps - start, 0, None) / (0.03 * TAU))
        log_loss += spike * (steps >= start)
    log_norm += generator.normal(0, 1e-3, len(steps))
    return pd.Series(np.exp(log_norm), steps), pd.Series(np.exp(log_loss), steps), starts


@pytest.mark.parametrize(("every", "nearest"), [(50, 0.2), (100, 0.2), (200, 0.2), (400, 0.2), (100, 0.08)])
def test_recall_and_precision_at_any_logging_interval(every, nearest):
    """Both ≥ .95 over 30 series of some 22 events, logged every τ/200 to τ/25; a start counts if within .05 τ of a
    true one. Also where events are as near as .08 τ.
    """
    hits = right = true = all_found = 0
    for seed in range(30):
        norm, loss, starts = made(seed, every, nearest=nearest)
        found = destabilisations(norm, loss, 0.1 * TAU)["start"].to_numpy()
        near = np.abs(found[:, None] - starts[None, :]) <= 0.05 * TAU
        hits, true = hits + near.any(0).sum(), true + len(starts)
        right, all_found = right + near.any(1).sum(), all_found + len(found)
    assert hits >= 0.95 * true and right >= 0.95 * all_found


def test_what_never_jumps_has_no_events():
    for seed in range(30):
        norm, loss, _ = made(seed, 100, events=False)
        assert destabilisations(norm, loss, 0.1 * TAU).empty
        rising = pd.Series(np.exp(norm.index / TAU), norm.index)  # fast enough, but the loss stays where it is
        assert destabilisations(rising, loss * 0 + 1, 0.1 * TAU).empty
        assert destabilisations(norm, made(seed, 100)[1], 0.1 * TAU).empty  # the loss alone jumps


def test_an_event_has_its_factors():
    norm, loss, starts = made(3, 50)
    found = destabilisations(norm, loss, 0.1 * TAU).set_index("start")
    assert (found["rise"] >= 1.02).all() and (found["loss_rise"] >= 2).all() and (found["end"] > found.index).all()
    assert found["rise"].max() < 3.2 and found["loss_rise"].max() < 2000
    assert len(starts) == pytest.approx(len(found), abs=1)


@given(st.lists(st.floats(0, 10), min_size=1, max_size=60), st.data())
def test_the_highest_of_each_stretch_is_its_maximum(values, data):
    n = len(values)
    ends = np.array([data.draw(st.integers(i + 1, n)) for i in range(n)])
    found = events._highest(np.array(values), ends)
    assert found.tolist() == [max(values[i : ends[i]]) for i in range(n)]


def scanned(norm: pd.Series, loss: pd.Series, window: float) -> list[tuple[float, float]]:
    """Starts and ends of destabilisations, found by going through all steps as the definition says."""
    found, steps, here = [], list(norm.index), 0
    while here < len(steps):
        start, rest = steps[here], norm[steps[here] : steps[here] + window]
        top = rest.idxmax()
        rises = rest.max() / norm[start] >= events.RISE and norm[start] <= norm[start:top].min()
        before = loss[start - window : start].median()
        is_event = start >= steps[0] + window and rises and loss[start:top].max() / before >= events.LOSS_RISE
        if is_event:
            found.append((start, top))
        here = steps.index(top) if is_event else here + 1
    return found


@pytest.mark.parametrize("every", [100, 400])
def test_destabilisations_are_those_of_a_scan_over_all_steps(every):
    norm, loss, _ = made(0, every)
    found = destabilisations(norm, loss.iloc[::2], 0.1 * TAU)  # of half of the steps the loss is unknown
    assert len(found) > 5
    assert list(zip(found["start"], found["end"], strict=True)) == scanned(norm, loss.iloc[::2], 0.1 * TAU)


def test_a_collapse_is_a_fall_from_high_to_low():
    values = [0.1, 0.5, 0.96, 0.99, 0.9, 0.97, 0.7, 0.3, 0.9, 0.6, 0.96, 0.99, 0.79, 0.9]
    found = collapses(pd.Series(values, range(0, 140, 10)), 0.95, 0.8)
    assert found.to_numpy().tolist() == [[50.0, 70.0, 0.3], [110.0, 120.0, 0.79]]
    assert collapses(pd.Series([0.1, 0.9, 0.1], range(3)), 0.95, 0.8).empty  # never high: nothing to fall from


def stairs(seed: int, every: int, count: int) -> tuple[pd.Series, np.ndarray]:
    """An accuracy like that of S1's figure, logged `every` steps, and the true times of its collapses.

    It is at chance until step 9,000, and settles higher after each of `count` collapses, which are 1,300 to 4,000 steps
    apart. In each it falls within 100 steps to at most .4 of its level, for 200 to 500 steps; every third one rises to
    .8 of the level and falls again. Half-way between two collapses it dips to .6 to .9 of its level. The noise is that
    of 500 test examples.
    """
    generator = np.random.default_rng(seed)
    gaps = generator.uniform(1300, 4000, count)
    starts = 9_000 + np.cumsum(gaps)
    levels = np.concatenate([[0.02], 1 - generator.uniform(0.7, 0.85) * 0.6 ** np.arange(count + 1)])
    steps = np.arange(0, 12_000 + gaps.sum(), every)
    accuracy = np.interp(
        steps, np.repeat([9_000, *starts], 2) + np.tile([0, 300], count + 1), np.repeat(levels, 2)[1:-1]
    )
    for k, (start, gap) in enumerate(zip(starts, gaps, strict=True)):
        lasts, depth = generator.uniform(200, 500), generator.uniform(0, 0.4)
        shape = np.interp(steps - start, [-100, 0, lasts, lasts + 100], [1, depth, depth, 1])
        if k % 3 == 2:
            shape = np.maximum(
                shape, np.interp(steps - start, [lasts / 2 - 80, lasts / 2, lasts / 2 + 80], [0, 0.8, 0])
            )
        dip = np.interp(steps - (start - gap / 2), [-100, 0, 100, 200], [0, 1, 1, 0]) * generator.uniform(0.1, 0.4)
        accuracy = accuracy * shape * (1 - dip)
    return pd.Series(noisy(accuracy, generator), steps), starts


def noisy(accuracy: np.ndarray, generator: np.random.Generator, examples: int = 500) -> np.ndarray:
    return generator.binomial(examples, np.clip(accuracy, 0, 1)) / examples


@pytest.mark.parametrize("every", [39, 78, 156])
def test_relative_collapses_are_found_at_any_level_and_logging_interval(every):
    """Recall and precision ≥ .95 over 30 series; a bottom counts if it is within 600 steps of a true start."""
    hits = right = true = all_found = 0
    for seed in range(30):
        accuracy, starts = stairs(seed, every, count=1 + seed % 11)
        found = relative_collapses(accuracy, 1000)["bottom"].to_numpy()
        near = np.abs(found[:, None] - starts[None, :] - 250) <= 350
        hits, true = hits + near.any(0).sum(), true + len(starts)
        right, all_found = right + near.any(1).sum(), all_found + len(found)
    assert hits >= 0.95 * true and right >= 0.95 * all_found


def test_what_rises_or_drifts_or_stays_down_does_not_collapse():
    generator, steps = np.random.default_rng(0), np.arange(0, 40_001, 78.0)
    for _ in range(30):
        middle, width, height = generator.uniform(8e3, 3e4), generator.uniform(50, 5000), generator.uniform(0.1, 1)
        rise = height / (1 + np.exp((middle - steps) / width))
        drift = height * np.exp(-np.clip(steps - middle, 0, None) / generator.uniform(2500, 10_000))
        lost = height * np.where(steps > middle, generator.uniform(0, 0.3), 1)
        for accuracy in (rise, drift, lost):
            assert relative_collapses(pd.Series(noisy(accuracy, generator), steps), 1000).empty


def test_a_relative_collapse_is_a_short_fall_to_half_of_the_level():
    def found(*values: float) -> list[list[float]]:
        return relative_collapses(pd.Series(values, 100.0 * np.arange(len(values))), 400).round(9).to_numpy().tolist()

    level = [0.4] * 6
    assert found(*level, 0.2, 0.4, 0.5) == [[500, 600, 0.2, 0.4]]
    assert found(*level, 0.21, 0.4, 0.5) == []  # not to half
    assert found(*level, 0.1, 0.3, 0.05, 0.4, *level) == [[500, 800, 0.05, 0.4]]  # two falls within the window
    assert found(*level, 0.1, 0.1, 0.1, 0.1, 0.4) == []  # too long
    assert found(*level, 0.1) == []  # the end of the run: whether it comes back is not known
    assert found(*[value / 5 for value in (*level, 0.1, 0.4)]) == []  # from .08, which is too low
    assert found(0.4, 0.4, 0.1, 0.4, 0.4, 0.4) == [] == found()  # in the first window


def test_a_clock_is_regular_and_a_random_process_is_not():
    clock, steps = np.arange(100, 10_000, 500.0), np.arange(0, 10_000, 10.0)
    wave = pd.Series(np.cos(2 * np.pi * steps / 500), steps)
    noise = pd.Series(np.random.default_rng(0).normal(size=len(steps)), steps)
    assert variation(spacings(pd.Series(clock))) == 0
    assert variation(np.random.default_rng(0).exponential(size=5000)) == pytest.approx(1, abs=0.05)
    assert np.isnan(variation(np.array([1.0, 2.0])))
    period, share = dominant_period(wave)
    assert period == pytest.approx(500) and share > 0.95
    assert dominant_period(noise)[1] < 0.7
    assert np.isnan(dominant_period(wave * 0)[1])


def test_times_to_the_next_event_are_censored_by_the_end():
    time, observed = times_to_next(np.array([0.0, 5, 10, 11, 20]), np.array([5.0, 12.0]))
    assert time.tolist() == [5, 0, 2, 1, 0] and observed.tolist() == [True, True, True, True, False]


@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=40, unique=True))
def test_a_perfect_predictor_has_concordance_one(times):
    time, everything = np.array(times), np.ones(len(times), bool)
    assert concordance(1 / time, time, everything) == 1
    assert concordance(time, time, everything) == 0
    assert concordance(np.zeros(len(time)), time, everything) == 0.5


def test_concordance_is_harrell_s_by_its_definition():
    generator = np.random.default_rng(0)
    predictor, time, observed = generator.normal(size=60), generator.exponential(size=60), generator.random(60) < 0.6
    pairs = [(i, j) for i in range(60) for j in range(60) if observed[i] and time[i] < time[j]]
    expected = np.mean([predictor[i] > predictor[j] for i, j in pairs])
    assert concordance(predictor, time, observed) == pytest.approx(expected)
    assert np.isnan(concordance(predictor, time, np.zeros(60, bool)))
