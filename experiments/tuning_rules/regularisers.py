"""T12, T13: decay compared with early stopping, dropout, both, and more examples, at n = 1,000."""

import numpy as np
import pandas as pd

from weightdecay.claims.judging import NOT_RUN, distinct, joined, reported
from weightdecay.claims.model import Part
from weightdecay.statistics.estimates import DIFFERENCE, Estimate, every_seed, ratio_interval, ratio_of
from weightdecay.statistics.shapes import crossing

from . import finding
from .best import place
from .costs import compared
from .settings import DECAYS, OUTCOME, Runs, Setting


@finding.claim("T12")
def among_others(runs: Runs, *, loss: float, error: float, gain: float, fewer: float) -> tuple[list[Part], str]:
    """Tuned decay is as good as early stopping and dropout, and better than no regularisation.

    The number of examples that it is worth is reported beside it.
    """
    parts, beside = [], []
    none, stopping, dropped = unregularised(runs), stopped(runs), with_dropout(runs, decayed=False)
    for decay, name in DECAYS.items():
        decayed, said = tuned(runs, decay), f"{name.lower()}: test"
        parts += compared(f"{name}Stopping", said, ("decay", "early stopping"), decayed, stopping, loss, error)
        parts += compared(f"{name}Dropout", said, ("decay", "dropout"), decayed, dropped, loss, error)
        parts += compared(f"{name}None", said, ("decay", "nothing"), decayed, none, gain, fewer)
        label = f"{name.lower()}: examples without decay for the same test error, over {Setting().train_size:,}"
        beside.append(reported(f"{name}Examples", label, worth(runs, decayed["test_error"])))
    every = {"Stopping": ("early stopping", stopping), "Dropout": ("dropout", dropped), "None": ("nothing", none)}
    every |= {name: (f"{name.lower()} decay", tuned(runs, decay)) for decay, name in DECAYS.items()}
    for name, (what, outcome) in every.items():
        beside += [
            reported(f"{name}TestLoss", f"test loss, {what}", ratio_interval(np.log(outcome["test_loss"]))),
            reported(f"{name}TestError", f"test error, {what}", every_seed(outcome["test_error"])),
        ]
    beside.append(reported("Step", "step of early stopping", ratio_interval(np.log(stopping["step"]))))
    return parts + beside, f"rates of dropout: {distinct(dropped['rate'])}" if len(dropped) else "dropout: " + NOT_RUN


@finding.claim("T13")
def together(runs: Runs, *, loss: float, error: float) -> tuple[list[Part], str]:
    """Decay and dropout together are better than either alone; early stopping is reported beside them."""
    both, decay, dropped = with_dropout(runs, decayed=True), tuned(runs), with_dropout(runs, decayed=False)
    stopping = stopped(runs)
    over = ratio_of(both["test_loss"], stopping["test_loss"])
    less = every_seed(both["test_error"] - stopping["test_error"], DIFFERENCE)
    chosen = [f"rates {distinct(both['rate'])}", f"λ {distinct(both['weight_decay'])}"] if len(both) else [NOT_RUN]
    return [
        *compared("Decay", "test", ("both", "decay alone"), both, decay, loss, error, strict=True),
        *compared("Dropout", "test", ("both", "dropout alone"), both, dropped, loss, error, strict=True),
        reported("StoppingLoss", "test loss, both over early stopping", over),
        reported("StoppingError", "test error, both less early stopping", less),
    ], joined(*chosen)


def tuned(runs: Runs, decay: str = "decoupled") -> pd.DataFrame:
    """Return `test_loss, test_error` per seed with the best λ of the grid."""
    return runs.outcome(Setting(decay=decay), runs.tuned(Setting(decay=decay)))


def unregularised(runs: Runs) -> pd.DataFrame:
    """Return `test_loss, test_error` per seed without any regularisation."""
    return pd.DataFrame({metric: runs.undecayed(metric, Setting()) for metric in OUTCOME})


def stopped(runs: Runs) -> pd.DataFrame:
    """Return `test_loss, test_error` per seed without decay, stopped early, and the `step` at which it was stopped.

    This is the logged step > 0 with the lowest validation loss; NaN if there is none.
    """
    found = {}
    for _, run in (chosen := runs.of(Setting()))[chosen["weight_decay"] == 0].iterrows():
        loss, accuracy, validation = (
            runs.histories.curve(run["run"], metric) for metric in ("test_loss", "test_accuracy", "validation_loss")
        )
        later = validation[validation.index > 0]
        step = later.idxmin() if len(later) else np.nan
        found[run["seed"]] = loss.get(step, np.nan), 1 - accuracy.get(step, np.nan), step
    return pd.DataFrame(found, [*OUTCOME, "step"], dtype=float).T


def with_dropout(runs: Runs, decayed: bool) -> pd.DataFrame:
    """Return `test_loss, test_error` per seed with dropout, and if `decayed` also with decay.

    The `rate` of dropout and `weight_decay` > 0 are those with the lowest validation loss.
    """
    rates = runs.rates("decoupled")
    if not rates:
        return pd.DataFrame(columns=[*OUTCOME, "rate", "weight_decay"], dtype=float)
    validation, *tests = (
        pd.concat({rate: runs.final(metric, Setting(dropout=rate)) for rate in rates}, axis=1)
        for metric in ("validation_loss", *OUTCOME)
    )
    allowed = validation[[column for column in validation.columns if (column[1] > 0) == decayed]]
    choices = {seed: row.idxmin() for seed, row in allowed.iterrows() if row.notna().any()}
    rows = {seed: [*(table.loc[seed, choice] for table in tests), *choice] for seed, choice in choices.items()}
    found = pd.DataFrame(rows, [*OUTCOME, "rate", "weight_decay"], dtype=float).T
    return found.reindex(allowed.index)  # NaN for a seed if all of its runs diverged


def worth(runs: Runs, errors: pd.Series) -> Estimate:
    """Return by which factor training without decay needs more examples to reach these test errors.

    It is censored at the smallest and largest n.
    """
    sizes, bounds = runs.sizes(), {}
    curves = pd.DataFrame({n: runs.undecayed("test_error", Setting(n)) for n in sizes}).reindex(errors.index)
    for seed, error in errors.items():
        found = crossing(curves.loc[seed], error)
        beyond = np.isnan(found) and not np.isnan(error)
        bounds[seed] = (sizes[-1], np.inf) if beyond else (0.0 if found == sizes[0] else found, found)
    best = pd.DataFrame(bounds, ["low", "high"], dtype=float).T / Setting().train_size
    return place(best)
