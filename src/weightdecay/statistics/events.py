"""Events in which training breaks down and recovers: how regular they are, and what predicts them.

There are three definitions. A *destabilisation* is seen in the norm ρ of the weights before BatchNorm and in the loss;
but the norm does not matter in every network. A *collapse* is seen in an accuracy that is high, such as training
accuracy. A *relative collapse* is seen in an accuracy of any height, such as test accuracy while it rises. All read
logged values, at any steps that resolve the window.
"""

import numpy as np
import pandas as pd

RISE = 1.02  # least factor of ρ, from its lowest point to its highest within a window
LOSS_RISE = 2.0  # least factor of the loss during this rise, over its median in the window before
SHARE = 0.5  # a relative collapse is a fall to this share of the level before, or less
LEAST = 0.1  # least level that an accuracy can collapse from: half of a smaller one is noise


def destabilisations(norm: pd.Series, loss: pd.Series, window: float) -> pd.DataFrame:
    """Find sudden rises of ρ and of the loss: one row for each event, with columns `start, end, rise, loss_rise`.

    `norm` (ρ) and `loss` are indexed by step. An event starts where ρ is lowest before it rises by the factor `RISE` or
    more within `window` steps, and ends at the highest point of this window. The largest loss in between must be at
    least `LOSS_RISE` times its median over the window before the start. So the first window of a run has no events.
    `rise` is the factor of ρ.
    """
    steps, values = norm.index.to_numpy(float), norm.to_numpy(float)
    losses = loss.reindex(norm.index).to_numpy(float)
    lasts = np.searchsorted(steps, steps + window, side="right")
    first = int(np.searchsorted(steps, steps[0] + window)) if len(steps) else 0
    rows, free = [], 0  # `free`: where the last event has ended
    for here in first + np.flatnonzero(~(_highest(values, lasts) / values < RISE)[first : len(steps) - 1]):
        if here < free:
            continue
        top = here + int(values[here : lasts[here]].argmax())
        rise = values[top] / values[here]
        if values[here] > values[here : top + 1].min():
            continue
        during, before = losses[here : top + 1], losses[np.searchsorted(steps, steps[here] - window) : here + 1]
        during, before = during[~np.isnan(during)], before[~np.isnan(before)]
        loss_rise = during.max() / _median(before) if len(during) and len(before) else 0.0
        if loss_rise >= LOSS_RISE:
            rows.append((steps[here], steps[top], rise, loss_rise))
            free = top
    return pd.DataFrame(rows, columns=["start", "end", "rise", "loss_rise"], dtype=float)


def _highest(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Return the highest of `values[i:ends[i]]` for each i: of two overlapping stretches of 2^k values, for every k."""
    highest, lengths = values.copy(), ends - np.arange(len(values))
    reach, size = values, 1  # reach[i]: the highest of values[i : i + size]
    while (lengths > size).any():
        pair = np.flatnonzero((size <= lengths) & (lengths <= 2 * size))
        highest[pair] = np.maximum(reach[pair], reach[ends[pair] - size])
        reach, size = np.maximum(reach[:-size], reach[size:]), 2 * size
    return highest


def _median(values: np.ndarray) -> float:
    """Return the median, as `np.median` does for many values; of a few it takes a tenth of the time."""
    ordered, half = np.sort(values), len(values) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def collapses(accuracy: pd.Series, high: float, low: float) -> pd.DataFrame:
    """Find falls of an accuracy, indexed by step, from at least `high` to at most `low`: `start, bottom, lowest`.

    `start` is the last step at `high` or above before the fall. `bottom` is the step of the lowest accuracy before it
    is at `high` again.
    """
    rows, start, bottom = [], None, None
    for step, value in accuracy.dropna().items():
        if value >= high:
            if bottom is not None:
                rows.append((start, *bottom))
            start, bottom = step, None
        elif start is not None and value <= low and (bottom is None or value < bottom[1]):
            bottom = (step, value)
    if bottom is not None:
        rows.append((start, *bottom))
    return pd.DataFrame(rows, columns=["start", "bottom", "lowest"], dtype=float)


def relative_collapses(accuracy: pd.Series, window: float) -> pd.DataFrame:
    """Find short falls of an accuracy, indexed by step, to half of its level: `start, bottom, lowest, level`.

    `start` is the last step before the fall. The level is the median over the `window` steps up to it, and at least
    `LEAST`. The accuracy falls to at most `SHARE` of the level, and is above this share again within `window` steps of
    the start; so a slow fall does not count, nor one that lasts. `bottom` is the step of the lowest accuracy within
    this time, and falls within it are one event. The first window of a run has no events.
    """
    known = accuracy.dropna()
    steps, values = known.index.to_numpy(float), known.to_numpy(float)
    firsts = np.searchsorted(steps, steps - window)
    lasts = np.searchsorted(steps, steps + window, side="right")
    rows, here = [], int(np.searchsorted(steps, steps[0] + window)) if len(steps) else 0
    while here < len(steps) - 1:
        level = np.median(values[firsts[here] : here + 1])
        during = values[here + 1 : lasts[here]]
        if len(during) and level >= LEAST and during[0] <= SHARE * level < min(values[here], during.max()):
            bottom = here + 1 + int(during.argmin())
            rows.append((steps[here], steps[bottom], values[bottom], level))
            here = int(lasts[here])
        else:
            here += 1
    return pd.DataFrame(rows, columns=["start", "bottom", "lowest", "level"], dtype=float)


def spacings(starts: pd.Series) -> np.ndarray:
    """Return the steps from each event to the next; empty with fewer than two events."""
    return np.diff(starts.to_numpy(float))


def variation(spacing: np.ndarray) -> float:
    """Return the coefficient of variation of the spacings: 0 for a clock, 1 for random events; NaN for fewer than 3."""
    return float(np.std(spacing, ddof=1) / np.mean(spacing)) if len(spacing) >= 3 else np.nan


def dominant_period(values: pd.Series) -> tuple[float, float]:
    """Return the period in steps at the highest peak of the spectrum of an evenly logged series, and its share.

    This is the share of the power within ±20 % of the peak's frequency; it is near 1 for a clock. NaN for a series that
    does not vary or has fewer than 3 values.
    """
    if len(values) < 3:
        return np.nan, np.nan
    from scipy import signal  # which takes a second to import

    steps = np.median(np.diff(values.index))
    frequencies, power = signal.periodogram(signal.detrend(values.to_numpy(float)), fs=1 / steps)
    frequencies, power = frequencies[1:], power[1:]
    if not len(power) or power.max() == 0:
        return np.nan, np.nan
    peak = frequencies[power.argmax()]
    near = np.abs(frequencies / peak - 1) <= 0.2
    return float(1 / peak), float(power[near].sum() / power.sum())


def times_to_next(steps: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return for each step the time to the next start, and whether there is one; if not, the time to the last step."""
    following = np.searchsorted(starts, steps)
    observed = following < len(starts)
    ends = np.append(starts, steps[-1])[following]
    return ends - steps, observed


def concordance(predictor: np.ndarray, time: np.ndarray, observed: np.ndarray) -> float:
    """Return Harrell's C: how often, of two moments, the one with the larger predictor has its event first.

    By chance it is 0.5. All arguments are `[N]`. Only those pairs count for which it is known which event came first
    (Harrell et al. 1982). Equal predictors count half. NaN if no pair counts.
    """
    first = observed[:, None] & (time[:, None] < time[None, :])
    pairs, above, equal = (
        np.count_nonzero(counted)
        for counted in (
            first,
            first & (predictor[:, None] > predictor[None, :]),
            first & (predictor[:, None] == predictor[None, :]),
        )
    )
    return (above + 0.5 * equal) / pairs if pairs else np.nan
