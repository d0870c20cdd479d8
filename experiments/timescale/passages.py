"""Where each run passes a test accuracy: its step and the norm of its weights there, and when the norm foretells it."""

import numpy as np
import pandas as pd

from weightdecay.results import Results
from weightdecay.statistics.measures import Histories, longest, select

from . import finding

NORM = "weight_norm_sum"  # the sum of the tensors' L2 norms, which S1 plots
CELL = ["learning_rate", "weight_decay"]


@finding.measured
class Measured:
    """The runs of every cell (η, λ), and their curves."""

    def __init__(self, results: Results):
        self.runs = longest(results.runs, (*CELL, "seed"))
        self.histories = Histories(results.history)

    def passages(self, accuracy: float) -> pd.DataFrame:
        """Return the runs with the step and the norm at which test accuracy first passes a value, in `step`, `norm`.

        Both are interpolated between two logged steps. A run that never passes has those of its end, and `passed` is
        False. A run that diverged has NaN.
        """
        found = [self._passage(run, accuracy) for _, run in self.runs.iterrows()]
        table = pd.DataFrame(found, columns=["step", "norm", "passed"], index=self.runs.index)
        return self.runs.join(table)

    def _passage(self, run: pd.Series, accuracy: float) -> tuple[float, float, bool]:
        curve, norm = self.histories.curve(run["run"], "test_accuracy"), self.histories.curve(run["run"], NORM)
        if run["diverged_at"] > 0 or not len(norm) or not len(curve):
            return np.nan, np.nan, False
        above = np.flatnonzero(curve >= accuracy)
        if not len(above):
            return float(norm.index[-1]), float(norm.iloc[-1]), False
        at = max(above[0], 1)
        steps, values = curve.index[at - 1 : at + 1], curve.iloc[at - 1 : at + 1]
        step = float(np.interp(accuracy, values, steps))
        return step, float(np.interp(step, norm.index, norm)), True

    def norm_down_to(self, run: str, value: float) -> pd.Series:
        """Return the norm of a run at the logged steps after the first, up to the one at which it is below a value."""
        curve = self.histories.curve(run, NORM)
        curve = curve[curve.index > 0]
        below = np.flatnonzero(curve <= value)
        return curve.iloc[: below[0] + 1] if len(below) else curve


def foretold(norm: pd.Series, goal: float) -> float:
    """Return the step at which a norm will have fallen to `goal`.

    The norm is extrapolated as a power of the step that is fitted to its last quarter, from its last value on. Infinite
    if it does not fall there; NaN with fewer than two values.
    """
    late = norm[norm.index >= 0.75 * norm.index[-1]] if len(norm) else norm
    late = late if len(late) > 1 else norm.iloc[-2:]
    if len(late) < 2:
        return np.nan
    power = np.polyfit(np.log(late.index), np.log(late), 1)[0]
    return float(norm.index[-1] * (goal / norm.iloc[-1]) ** (1 / power)) if power < 0 else np.inf


def predictions(m: Measured, accuracy: float, weight_decay: float, cut: float) -> pd.DataFrame:
    """Predict the step of every run that passes, but for those at λ = `weight_decay`, which the rules learn from.

    The columns `first_passage`, `one_norm`, `tau` and `tau_logarithm` are the predicted steps by four rules. What is
    learned is learned from the other seeds. The norm is seen until it has fallen to `cut` times the norm to come.
    """
    table = m.passages(accuracy)
    learned = select(table, weight_decay=weight_decay)
    rows = []
    for _, run in table[table["passed"] & ~table.index.isin(learned.index)].iterrows():
        others = learned[learned["seed"] != run["seed"]]
        own = select(others, learning_rate=run["learning_rate"])
        if own.empty:
            continue
        goal, every = own["norm"].mean(), others.groupby("learning_rate")["norm"].mean().mean()
        first, τ = m.histories.curve(run["run"], NORM).iloc[0], 1 / (run["learning_rate"] * run["weight_decay"])
        rows.append(
            {
                **run[[*CELL, "seed", "step"]],
                "first_passage": foretold(m.norm_down_to(run["run"], cut * goal), goal),
                "one_norm": foretold(m.norm_down_to(run["run"], cut * every), every),
                "tau": own["step"].mean() * weight_decay / run["weight_decay"],
                "tau_logarithm": τ * np.log(first / goal),
            }
        )
    return pd.DataFrame(rows, columns=[*CELL, "seed", "step", "first_passage", "one_norm", "tau", "tau_logarithm"])
