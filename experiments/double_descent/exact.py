"""D9, D14: least squares on random features, solved exactly (compute.py): its peak, and how rough it is."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weightdecay.claims.model import Part, joined, judged, reported
from weightdecay.statistics.estimates import every_seed, ratio_interval
from weightdecay.statistics.shapes import at_settings, best_settings, largest_rises, last_falls

from .sweeps import ridge_tables


def without_training(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """D9: random features, solved exactly."""
    test, validation = ridge_tables(table, "test_loss"), ridge_tables(table, "validation_loss")
    least, tuned = np.log(test[0.0]), np.log(at_settings(test, best_settings(validation)))
    examples = int(table["train_size"].iloc[0])
    place = np.log(least.idxmax(axis=1) / examples)
    return [
        judged("Place", "features at the peak over n", ratio_interval(place), t["low"], t["high"]),
        judged("Second", "test loss, peak over most features", ratio_interval(last_falls(least)), least=t["second"]),
        judged("Rise", "tuned ridge: largest rise with features", ratio_interval(largest_rises(tuned)), most=t["rise"]),
        reported("Removed", "test loss at N = n, tuned over none", ratio_interval((tuned - least)[examples])),
    ], f"n = {examples}"


def bumpy(table: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """D14: how rough the exact solutions are: the least of norm, and that of the tuned ridge."""
    rough = {ridge: np.log(squares) / 2 for ridge, squares in ridge_tables(table, "squared_gradient").items()}
    choice = best_settings(ridge_tables(table, "validation_loss"))
    least, tuned, norm = rough[0.0], at_settings(rough, choice), np.log(ridge_tables(table, "weight_norm")[0.0])
    train = at_settings(ridge_tables(table, "train_loss"), choice)
    examples, most = int(table["train_size"].iloc[0]), least.columns[-1]
    parts = []
    for name, what, logs in (("", "roughness", least), ("Norm", "weight norm", norm)):
        place = ratio_interval(np.log(logs.idxmax(axis=1) / examples))
        fall = ratio_interval(last_falls(logs))
        parts += [
            judged(f"{name}Place", f"features at the peak of {what} over n", place, t["low"], t["high"]),
            judged(f"{name}Fall", f"{what}, peak over most features", fall, least=t["fall"]),
        ]
    smoother = tuned - least
    return [
        *parts,
        judged(
            "Left", "roughness, tuned ridge: peak over most features", ratio_interval(last_falls(tuned)), most=t["left"]
        ),
        judged(
            "Smoother",
            "roughness at most features, tuned over least norm",
            ratio_interval(smoother[most]),
            most=t["smoother"],
        ),
        reported("SmootherPeak", "the same at N = n", ratio_interval(smoother[examples])),
        reported(
            "LeftPlace",
            "features at the peak of roughness over n, tuned ridge (looked at afterwards)",
            ratio_interval(np.log(tuned.idxmax(axis=1) / examples)),
        ),
        reported("Train", "training loss at most features, tuned ridge", every_seed(train[most])),
    ], joined(
        f"n = {examples}; most features: {most}",
        f"median tuned ridge: {', '.join(f'{ridge:g} at N = {count}' for count, ridge in choice.median().items())}",
    )
