"""D4, D11, D12, D15: what happens over the steps of training at one width."""

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
    """Validation loss of the widest falls and rises without decay, and ends lower with the single best λ."""
    main = sweeps.main
    width, choice = main.widest, main.single()
    validation = np.log(main.curves("validation_loss", width))
    train = np.log(main.curves("train_loss_batch", width))
    end = np.log(main.at_end("validation_loss", width))
    best = np.log(at_width(at_settings(main.finals("validation_loss"), choice), width))
    lowest = leave_one_out(validation, lambda others, own: others.idxmin())
    # at step 0 there is no step whose loss could be taken
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
    """A column of `[seeds, width]`; empty where it has none."""
    return table.get(width, pd.Series(dtype=float))


def at_steps(curves: pd.DataFrame, steps: pd.Series) -> pd.Series:
    """Per seed the value of its curve, of `[seeds, steps]`, at its own step; NaN where either is not known."""
    known = {seed: seed in curves.index and step in curves.columns for seed, step in steps.items()}
    return pd.Series({seed: curves.loc[seed, steps[seed]] if known[seed] else np.nan for seed in known}, dtype=float)


@finding.claim("D11")
def over_epochs(sweeps: Sweeps, *, error: float) -> tuple[list[Part], str]:
    """Test error of the widest rises over time and falls again; that at the peak's width beside it."""
    main, parts = sweeps.main, []
    for name, what, width in (("", "widest", main.widest), ("Peak", "peak's", peak_width(main))):
        curves = 1 - main.curves("test_accuracy", width)
        for kind, found in zip(("Rise", "Fall"), rises_and_falls(curves), strict=True):
            label, estimate = f"{what} width: {kind.lower()} of test error", every_seed(found, DIFFERENCE)
            parts.append(reported(f"{name}{kind}", label, estimate) if name else judged(kind, label, estimate, error))
    return parts, f"widths {main.widest} and {peak_width(main)}"


@finding.claim("D12")
def steadier(sweeps: Sweeps, *, fitted: float, range: float, spread: float) -> tuple[list[Part], str]:
    """Validation loss moves less with the single best λ than without, once the run without decay has fitted.

    Both runs of a seed over the same steps: from the lowest loss of each on, a run that is lowest at its end would be
    steady by definition.
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
    """Per seed a measure of its curve from its own `start` on; NaN where that is unknown, or where the run diverged.

    Of one value nothing is said: it cannot move.
    """
    found = {seed: curve[curve.index >= start.get(seed, np.nan)] for seed, curve in curves.iterrows()}
    known = {seed: len(curve) > 1 and curve.notna().all() for seed, curve in found.items()}
    return pd.Series({seed: measure(found[seed]) if known[seed] else np.nan for seed in found}, dtype=float)


def detrended(curve: pd.Series) -> float:
    """Standard deviation of a curve from its straight line, by least squares; NaN for two values, which lie on one."""
    if len(curve) < 3:
        return np.nan
    return float(np.std(curve - np.polyval(np.polyfit(curve.index, curve, 1), curve.index)))


@finding.claim("D15")
def hovers(sweeps: Sweeps, *, rise: float, change: float) -> tuple[list[Part], str]:
    """Test loss of the widest rises as it is trained on without decay, and its test accuracy stays."""
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
