"""D4, D11, D12, D15: loss and error over the steps of training at one width."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from weightdecay.claims.judging import distinct, judged, reported
from weightdecay.claims.model import Part
from weightdecay.statistics.estimates import ACCURACY, DIFFERENCE, every_seed, leave_one_out, ratio_interval, ratio_of
from weightdecay.statistics.shapes import at_settings, rises_and_falls

from . import finding
from .sweeps import Sweeps, by_seed, peak_width


@finding.claim("D4")
def over_time(sweeps: Sweeps, *, rise: float, fall: float, better: float) -> tuple[list[Part], str]:
    """Without decay, the widest network's validation loss falls and rises; with the single best λ it ends lower."""
    main = sweeps.main
    width, choice = main.widest, main.single()
    validation = np.log(main.curves("validation_loss", width))
    train = np.log(main.curves("train_loss_batch", width))
    end = np.log(main.at_end("validation_loss", width))
    best = np.log(at_width(at_settings(main.finals("validation_loss"), choice), width))
    lowest = leave_one_out(validation, lambda others, own: others.idxmin())
    # Step 0 has no training loss, so a minimum there is moved to the first step that has one.
    lowest = lowest.clip(lower=train.columns.min()).where(lambda step: step > 0)
    risen = end - at_steps(validation, lowest)
    fallen = np.log(main.at_end("train_loss_batch", width)) - at_steps(train, lowest)
    decayed = np.log(main.curves("validation_loss", width, at_width(choice, width)))
    return [
        judged("Rise", "no decay: final validation loss over the lowest", ratio_interval(risen), least=rise),
        judged("Fall", "no decay: final training loss over that at the lowest", ratio_interval(fallen), most=fall),
        judged("Better", "final validation loss, λ over no decay", ratio_interval(best - end), most=better),
        reported("Lowest", "step of the lowest validation loss, no decay", ratio_interval(np.log(lowest))),
        reported("DecayedRise", "λ: final validation loss over the lowest", ratio_interval(best - decayed.min(axis=1))),
    ], f"width {width}; single λ: {distinct(choice)}"


def at_width(table: pd.DataFrame, width: float) -> pd.Series:
    """Return a column of `[seeds, width]`; empty if there is no such column."""
    return table.get(width, pd.Series(dtype=float))


def at_steps(curves: pd.DataFrame, steps: pd.Series) -> pd.Series:
    """Return per seed the value of its curve in `[seeds, steps]` at its own step; NaN if either is unknown."""
    known = {seed: seed in curves.index and step in curves.columns for seed, step in steps.items()}
    return pd.Series({seed: curves.loc[seed, steps[seed]] if known[seed] else np.nan for seed in known}, dtype=float)


@finding.claim("D11")
def over_epochs(sweeps: Sweeps, *, error: float) -> tuple[list[Part], str]:
    """The widest network's test error rises over time and falls again; that at the peak's width is reported too."""
    main, parts = sweeps.main, []
    for name, what, width in (("", "widest", main.widest), ("Peak", "peak's", peak_width(main))):
        curves = 1 - main.curves("test_accuracy", width)
        for kind, found in zip(("Rise", "Fall"), rises_and_falls(curves), strict=True):
            label, estimate = f"{what} width: {kind.lower()} of test error", every_seed(found, DIFFERENCE)
            parts.append(reported(f"{name}{kind}", label, estimate) if name else judged(kind, label, estimate, error))
    return parts, f"widths {main.widest} and {peak_width(main)}"


@finding.claim("D12")
def steadier(sweeps: Sweeps, *, fitted: float, range: float, spread: float) -> tuple[list[Part], str]:
    """Once the run without decay has fitted, validation loss varies less with the single best λ than without decay.

    Both runs of a seed are compared over the same steps. If each was taken from its own lowest loss on, a run whose
    loss is lowest at its end would be steady by definition.
    """
    main = sweeps.main
    width, choice = main.widest, main.single()
    accuracy = main.curves("train_accuracy_batch", width)
    start = by_seed(accuracy, lambda curve: (curve >= fitted).idxmax() if curve.max() >= fitted else np.nan)
    validation = {
        "Without": np.log(main.curves("validation_loss", width)),
        "With": np.log(main.curves("validation_loss", width, at_width(choice, width))),
    }
    lowest = leave_one_out(validation["Without"], lambda others, own: others.idxmin())
    half = pd.Series(main.runs["steps"].max() / 2, validation["Without"].index)
    measured = {
        "Range": {kind: over_window(logs, start, np.ptp) for kind, logs in validation.items()},
        "Spread": {kind: over_window(logs, start, detrended) for kind, logs in validation.items()},
        "Rise": {kind: over_window(logs, lowest, np.ptp) for kind, logs in validation.items()},
        "Settled": {kind: over_window(logs, half, detrended) for kind, logs in validation.items()},
    }
    named = {
        "Range": "range of log validation loss after fitting",
        "Spread": "its standard deviation from its straight line",
        "Rise": "range from the lowest without decay on",
        "Settled": "standard deviation from a straight line, second half",
    }
    over = {name: ratio_of(each["With"], each["Without"]) for name, each in measured.items()}
    return [
        judged("Range", f"{named['Range']}: λ over none", over["Range"], most=range),
        judged("Spread", f"{named['Spread']}: λ over none", over["Spread"], most=spread),
        *(reported(name, f"{named[name]}: λ over none", over[name]) for name in ("Rise", "Settled")),
        *(
            reported(f"{name}{kind}", f"{named[name]}: {word}", every_seed(measured[name][kind]))
            for name in measured
            for kind, word in (("Without", "no decay"), ("With", "λ"))
        ),
        reported("Fitted", "step at which the run without decay has fitted", ratio_interval(np.log(start))),
    ], f"width {width}; single λ: {distinct(choice)}"


def over_window(curves: pd.DataFrame, start: pd.Series, measure: Callable[[pd.Series], float]) -> pd.Series:
    """Return per seed a measure of its curve from its own `start` on.

    NaN if the start is unknown, if the run diverged, or if there is only one value, which cannot vary.
    """
    found = {seed: curve[curve.index >= start.get(seed, np.nan)] for seed, curve in curves.iterrows()}
    known = {seed: len(curve) > 1 and curve.notna().all() for seed, curve in found.items()}
    return pd.Series({seed: measure(found[seed]) if known[seed] else np.nan for seed in found}, dtype=float)


def detrended(curve: pd.Series) -> float:
    """Return the standard deviation of a curve from its least-squares line; NaN for two values, which define a line."""
    if len(curve) < 3:
        return np.nan
    return float(np.std(curve - np.polyval(np.polyfit(curve.index, curve, 1), curve.index)))


@finding.claim("D15")
def hovers(sweeps: Sweeps, *, rise: float, change: float) -> tuple[list[Part], str]:
    """As training goes on without decay, the widest network's test loss rises, and its test accuracy stays."""
    main, width = sweeps.main, sweeps.main.widest
    lowest = leave_one_out(np.log(main.curves("validation_loss", width)), lambda others, own: others.idxmin())
    loss, accuracy = np.log(main.curves("test_loss", width)), main.curves("test_accuracy", width)

    before = at_steps(accuracy, lowest)
    risen = np.log(main.at_end("test_loss", width)) - at_steps(loss, lowest)
    changed = (main.at_end("test_accuracy", width) - before).where(risen.notna())  # diverged: unknown, not 0
    later = {seed: accuracy.loc[seed, lowest[seed] :] for seed in before.dropna().index}
    furthest = pd.Series({seed: (curve - before[seed]).abs().max() for seed, curve in later.items()}, dtype=float)
    furthest = furthest.reindex(risen.index).where(risen.notna())
    return [
        judged("Rise", "test loss, end of the run over lowest validation loss", ratio_interval(risen), least=rise),
        judged("Change", "test accuracy, the same, difference", every_seed(changed, DIFFERENCE), -change, change),
        reported("Furthest", "largest change of test accuracy at any later step", every_seed(furthest, ACCURACY)),
        reported("Accuracy", "test accuracy at the lowest validation loss", every_seed(before, ACCURACY)),
    ], f"width {width}"
