"""D9, D14: least squares on random features, solved exactly (compute.py): its peak and its roughness."""

import numpy as np

from weightdecay.claims.judging import joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.statistics.estimates import every_seed, ratio_interval
from weightdecay.statistics.shapes import at_settings, best_settings, largest_rises, last_falls

from . import finding
from .sweeps import Sweeps, ridge_tables


@finding.claim("D9")
def without_training(sweeps: Sweeps, *, low: float, high: float, second: float, rise: float) -> tuple[list[Part], str]:
    """Least squares on random features has the peak at N = n, and a tuned ridge removes it."""
    table = sweeps.results.tables["random_features"]
    test, validation = ridge_tables(table, "test_loss"), ridge_tables(table, "validation_loss")
    least, tuned = np.log(test[0.0]), np.log(at_settings(test, best_settings(validation)))
    examples = int(table["train_size"].iloc[0])
    place = np.log(least.idxmax(axis=1) / examples)
    return [
        judged("Place", "features at the peak over n", ratio_interval(place), low, high),
        judged("Second", "test loss, peak over most features", ratio_interval(last_falls(least)), least=second),
        judged("Rise", "tuned ridge: largest rise with features", ratio_interval(largest_rises(tuned)), most=rise),
        reported("Removed", "test loss at N = n, tuned over none", ratio_interval((tuned - least)[examples])),
    ], f"n = {examples}"


@finding.claim("D14")
def bumpy(
    sweeps: Sweeps, *, low: float, high: float, fall: float, left: float, smoother: float
) -> tuple[list[Part], str]:
    """The exact solution of least norm is roughest at N = n and smoother beyond; with a tuned ridge it is smoother."""
    table = sweeps.results.tables["random_features"]
    rough = {ridge: np.log(squares) / 2 for ridge, squares in ridge_tables(table, "squared_gradient").items()}
    choice = best_settings(ridge_tables(table, "validation_loss"))
    least, tuned, norm = rough[0.0], at_settings(rough, choice), np.log(ridge_tables(table, "weight_norm")[0.0])
    train = at_settings(ridge_tables(table, "train_loss"), choice)
    examples, most = int(table["train_size"].iloc[0]), least.columns[-1]
    parts = []
    for name, what, logs in (("", "roughness", least), ("Norm", "weight norm", norm)):
        place = ratio_interval(np.log(logs.idxmax(axis=1) / examples))
        fallen = ratio_interval(last_falls(logs))
        parts += [
            judged(f"{name}Place", f"features at the peak of {what} over n", place, low, high),
            judged(f"{name}Fall", f"{what}, peak over most features", fallen, least=fall),
        ]
    over_least = tuned - least
    return [
        *parts,
        judged("Left", "roughness, tuned ridge: peak over most features", ratio_interval(last_falls(tuned)), most=left),
        judged(
            "Smoother",
            "roughness at most features, tuned over least norm",
            ratio_interval(over_least[most]),
            most=smoother,
        ),
        reported("SmootherPeak", "the same at N = n", ratio_interval(over_least[examples])),
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
