"""Claims A1-A12 on binary addition, judged by the criteria of config.yaml.

One estimate per seed, then a 95 % interval over seeds (weightdecay.statistics.estimates). A diverged run counts as
accuracy 0, but is no evidence where a claim predicts failure: such a part is unknown then. A time that never came is a
censored time. Neither is dropped, and the claim's note counts them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weightdecay.claims import model as ledger
from weightdecay.claims.model import NOT_RUN, Claim, Part, counts, joined, judged, reported
from weightdecay.report.latex import in_letters
from weightdecay.statistics.estimates import (
    DIFFERENCE,
    UNKNOWN,
    Estimate,
    every_seed,
    leave_one_out,
    mean_interval,
)
from weightdecay.statistics.measures import TRAIN, Histories, dip, diverged, final_table, select

from .generalisation import (
    delay_law,
    fitted_alone,
    held_norm,
    late_generalisation,
    norm_falls,
    nothing_without_decay,
    stays_fitted,
)
from .protocol import (
    EXPERIMENT,
    LAST_STEPS,
    MEASURED,
    NO_EVIDENCE,
    accuracy,
    failing,
    held_runs,
    lambda_sweep,
    noisy_sweeps,
    too_short,
)


def judge(results: Any, criteria: Mapping[str, Any]) -> list[Claim]:
    """The twelve claims, in order."""
    runs, histories = results.runs, Histories(results.history)
    sweep = lambda_sweep(runs)
    final = {metric: final_table(histories, sweep, metric, LAST_STEPS) for metric in MEASURED}
    threshold = {id: words.thresholds for id, words in criteria.items()}

    parts = {
        "A1": too_small(histories, sweep, final, threshold["A1"]),
        "A2": plateau(sweep, final["test_accuracy"], threshold["A2"]),
        "A3": too_large(sweep, final, threshold["A3"]),
        "A4": late_generalisation(histories, sweep, threshold["A4"]),
        "A5": norm_falls(histories, sweep, threshold["A5"]),
        "A6": nothing_without_decay(histories, sweep, final, threshold["A6"]),
        "A7": held_norm(histories, sweep, held_runs(runs, threshold["A7"]["weight_decay"]), threshold["A7"]),
        "A8": no_dip(sweep, final, threshold["A8"]),
        "A9": dip_with_noise(histories, noisy_sweeps(runs), threshold["A9"]),
        "A10": delay_law(histories, runs, threshold["A10"]),
        "A11": stays_fitted(histories, sweep, threshold["A11"]),
        "A12": fitted_alone(histories, sweep, threshold["A12"]),
    }
    return [ledger.claim(id, EXPERIMENT, criteria, *found) for id, found in parts.items()]


def too_small(
    histories: Histories, sweep: pd.DataFrame, final: Mapping[str, pd.DataFrame], t: Mapping[str, float]
) -> tuple[list[Part], str]:
    """A1: every small λ fits the training set and fails the test, in runs as long as a good λ takes to pass it."""
    small = [λ for λ in final["test_accuracy"].columns if 0 < λ <= t["weight_decay"] * (1 + 1e-9)]
    runs = sweep[sweep["weight_decay"].isin(small)]
    short, words = too_short(histories, sweep, runs, t)
    parts = []
    for λ in small or [t["weight_decay"]]:
        name = in_letters(λ)
        is_short = short[runs["weight_decay"] == λ].any()
        parts += [
            judged(
                f"Test{name}",
                f"test accuracy at λ = {λ:g}",
                UNKNOWN if is_short else failing(sweep, final, "test_accuracy", λ),
                most=t["test_accuracy"],
            ),
            judged(
                f"Train{name}",
                f"train accuracy at λ = {λ:g}",
                accuracy(final, TRAIN, λ),
                least=t["train_accuracy"],
            ),
            evaluated(final, λ, name),
        ]
    return parts, counts(len(runs), {NO_EVIDENCE: diverged(runs), words: short.sum()})


def plateau(sweep: pd.DataFrame, test: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A2: λ = .1 is good, near the best, and not alone."""
    λ, complete = t["weight_decay"], test.dropna()
    far = [other for other in test.columns if other > 0 and abs(np.log(other / λ)) >= np.log(t["factor"])]

    def regret(allowed: list[float]) -> Estimate:
        """How far the best of `allowed` stays below the best of all, each chosen on the other seeds."""
        if not allowed or λ not in test:
            return UNKNOWN
        choice = leave_one_out(complete, lambda others, own: own[others.idxmax()] - own[others[allowed].idxmax()])
        return mean_interval(choice, DIFFERENCE)

    return [
        judged("Test", f"test accuracy at λ = {λ:g}", accuracy({"test": test}, "test", λ), least=t["test_accuracy"]),
        judged("Regret", f"best λ's test accuracy less that of λ = {λ:g}", regret([λ]), most=t["regret"]),
        judged(
            "Second",
            f"best λ's test accuracy less that of the best λ a factor ≥ {t['factor']:g} from {λ:g}",
            regret(far),
            most=t["regret"],
        ),
    ], joined(
        f"best λ on average: {test.mean().idxmax():g}" if λ in test and test.notna().any(axis=None) else NOT_RUN,
        lengths(sweep),
        counts(len(sweep), {"diverged": diverged(sweep)}),
    )


def too_large(sweep: pd.DataFrame, final: Mapping[str, pd.DataFrame], t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A3: λ = 1 fails on both."""
    λ = t["weight_decay"]
    runs = select(sweep, weight_decay=λ)
    train, test = (failing(sweep, final, metric, λ) for metric in (TRAIN, "test_accuracy"))
    return [
        judged("Train", f"train accuracy at λ = {λ:g}", train, most=t["train_accuracy"]),
        judged("Test", f"test accuracy at λ = {λ:g}", test, most=t["test_accuracy"]),
        evaluated(final, λ),
    ], counts(len(runs), {NO_EVIDENCE: diverged(runs)})


def no_dip(sweep: pd.DataFrame, final: Mapping[str, pd.DataFrame], t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A8: clean labels, no dip."""
    depths = {
        metric: dip(splits(final, metric), t["interpolated"]) for metric in ("test_accuracy", "validation_accuracy")
    }
    return [
        judged(
            "TestDip",
            "dip in test accuracy, clean labels",
            every_seed(depths["test_accuracy"], DIFFERENCE),
            most=t["dip"],
        ),
        judged(
            "ValidationDip",
            "dip in validation accuracy, clean labels",
            every_seed(depths["validation_accuracy"], DIFFERENCE),
            most=t["dip"],
        ),
    ], joined(undefined(*depths.values()), lengths(sweep), counts(len(sweep), {"diverged": diverged(sweep)}))


def dip_with_noise(
    histories: Histories, sweeps: Mapping[float, pd.DataFrame], t: Mapping[str, float]
) -> tuple[list[Part], str]:
    """A9: noisy labels, a dip at every level of noise; the dip in test accuracy is reported beside it."""
    parts, depths = [], []
    for noise, runs in sweeps.items():
        final = {metric: final_table(histories, runs, metric, LAST_STEPS) for metric in MEASURED}
        for metric, part in (("validation_accuracy", judged), ("test_accuracy", reported)):
            depth = dip(splits(final, metric), t["interpolated"])
            depths.append(depth)
            kind = metric.removesuffix("_accuracy")
            arguments = (
                f"{kind.title()}Dip{in_letters(noise)}",
                f"dip in {kind} accuracy, label noise {noise:g}",
                every_seed(depth, DIFFERENCE),
            )
            parts.append(judged(*arguments, least=t["dip"]) if part is judged else reported(*arguments))
    if not parts:
        return [judged("ValidationDip", "dip in validation accuracy, noisy labels", UNKNOWN)], NOT_RUN
    runs = pd.concat(sweeps.values())
    return parts, joined(undefined(*depths), counts(len(runs), {"diverged": diverged(runs)}))


def lengths(sweep: pd.DataFrame) -> str:
    return "run lengths differ between λ" if sweep.groupby("weight_decay")["steps"].max().nunique() > 1 else ""


def evaluated(final: Mapping[str, pd.DataFrame], weight_decay: float, name: str = "") -> Part:
    """The training accuracy that evaluating gives, beside the one in train mode that is judged."""
    quantity = f"train accuracy, evaluated, at λ = {weight_decay:g}"
    return reported(f"Evaluated{name}", quantity, accuracy(final, "train_accuracy", weight_decay))


def splits(final: Mapping[str, pd.DataFrame], metric: str) -> pd.DataFrame:
    """Train accuracy and `metric` `[seeds, (split, λ)]`, over the seeds that were run at every λ."""
    return pd.concat({"train": final[TRAIN], "test": final[metric]}, axis=1).dropna()


def undefined(*per_seed: pd.Series) -> str:
    if all(depth.empty for depth in per_seed):
        return NOT_RUN
    missing = any(depth.isna().any() for depth in per_seed)
    return "no λ of the grid interpolates, or the grid ends at the threshold" if missing else ""


if __name__ == "__main__":
    ledger.main(judge, Path(__file__).with_name("config.yaml"))
