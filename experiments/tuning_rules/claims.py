"""Claims T1-T17 on the choice of λ, judged by the criteria of config.yaml.

One estimate per seed, then a 95 % interval over seeds. A run's final value is the mean over its last tenth. λ is chosen
on the validation split and reported on the test split. A best λ at an end of its grid is censored: a bound is known,
which leaves open a side of the interval of what needs it, and the note says so. A diverged run has no loss, so its λ is
never the best. Here are the claims on where the best λ lies; on what a choice costs: costs.py, regularisers.py.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weightdecay.claims import model as ledger
from weightdecay.claims.model import Claim, Part, joined, judged, reported
from weightdecay.report.latex import in_letters
from weightdecay.statistics.estimates import UNKNOWN, Estimate, every_seed, ratio_interval

from .best import place, power, ratio
from .costs import a_little, grid_search, left_out, one_for_all, small_by_name, too_large, tuned_upwards
from .regularisers import among_others, together
from .settings import DECAYS, Runs, Setting, noted

EXPERIMENT = "tuning_rules"
LEAST_SIZES = 4


def judge(results: Any, criteria: Mapping[str, Any]) -> list[Claim]:
    """The seventeen claims, in order."""
    threshold = {id: words.thresholds for id, words in criteria.items()}
    runs = Runs(results)
    parts = {
        "T1": falls_with_size(runs, threshold["T1"]),
        "T2": smaller_with_dropout(runs, threshold["T2"]),
        "T3": left_out(runs, threshold["T3"]),
        "T4": under_a_schedule(runs, threshold["T4"]),
        "T5": a_little(runs, threshold["T5"]),
        "T6": grid_search(runs, threshold["T6"]),
        "T7": named_values(runs, threshold["T7"]),
        "T8": too_large(runs, threshold["T8"]),
        "T9": typical_range(runs, threshold["T9"]),
        "T10": goes_with_size(runs, threshold["T10"]),
        "T11": goes_with_size(runs, threshold["T11"]),
        "T12": among_others(runs, threshold["T12"]),
        "T13": together(runs, threshold["T13"]),
        "T14": tuned_upwards(runs, threshold["T14"]),
        "T15": one_for_all(runs, threshold["T15"]),
        "T16": norm_in_range(runs, threshold["T16"]),
        "T17": small_by_name(runs, threshold["T17"]),
    }
    return [ledger.claim(id, EXPERIMENT, criteria, *found) for id, found in parts.items()]


def falls_with_size(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T1: the power of n, and the best λ and what it gives at each n. By error, which is flat and noisy, beside it."""
    what = "power of n that the best λ goes as"
    parts = [
        judged(name, f"{what}, {name.lower()}", powers(runs, decay), most=t["power"]) for decay, name in DECAYS.items()
    ]
    parts += [
        reported(
            f"{name}ByError",
            f"the same, λ > 0 chosen by validation error, {name.lower()}",
            powers(runs, decay, by="validation_error"),
        )
        for decay, name in DECAYS.items()
    ]
    for decay, name in DECAYS.items():
        for n in runs.sizes():
            setting = Setting(n, decay)
            stem, where = f"{name}{in_letters(n)}", f"{name.lower()}, n = {n:,}"
            error = runs.at("test_error", setting, runs.tuned(setting))
            parts += [
                reported(stem, f"best λ, {where}", place(runs.best(setting))),
                reported(f"{stem}Error", f"test error at the best λ, {where}", every_seed(error)),
            ]
    none = [
        reported(f"None{in_letters(n)}Error", f"test error without decay, n = {n:,}", every_seed(without(runs, n)))
        for n in runs.sizes()
    ]
    return parts + none, sizes_noted(runs)


def smaller_with_dropout(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T2: best λ with dropout over that without, at each rate."""
    parts, beside, used = [], [], []
    for decay, name in DECAYS.items():
        for rate in runs.rates(decay):
            with_it, without_it = Setting(decay=decay, dropout=rate), Setting(decay=decay)
            found = ratio(runs.best(with_it), runs.best(without_it))
            stem, where = f"{name}{in_letters(rate)}", f"{name.lower()}, dropout {rate:g}"
            parts.append(judged(stem, f"best λ, {where} over none", found, most=t["ratio"]))
            error = runs.at("test_error", with_it, runs.tuned(with_it))
            alone = runs.undecayed("test_error", with_it)
            beside += [
                reported(f"{stem}Best", f"best λ, {where}", place(runs.best(with_it))),
                reported(f"{stem}Error", f"test error at the best λ, {where}", every_seed(error)),
                reported(f"{stem}Alone", f"test error without decay, {where}", every_seed(alone)),
            ]
            used += [with_it, without_it]
    return [*(parts or [judged("Ratio", "best λ, dropout over none", UNKNOWN)]), *beside], noted(runs, used)


def under_a_schedule(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T4: the best λ under a cosine schedule over that under a constant learning rate; other schedules beside it."""
    parts, beside, used = [], [], []
    schedules = sorted(set(runs.runs["schedule"]) - {"constant"})
    for decay, name in DECAYS.items():
        for schedule in schedules:
            constant, decaying = Setting(decay=decay), Setting(decay=decay, schedule=schedule)
            found = ratio(runs.best(decaying), runs.best(constant))
            stem, what = f"{name}{schedule.title()}", f"{name.lower()}: best λ, {schedule} over constant"
            if schedule == "cosine":
                parts.append(outside(stem, what, found, t["factor"]))
            else:
                beside.append(reported(stem, what, found))
            own, other = runs.tuned(decaying), runs.tuned(constant)
            known = runs.final("test_loss", decaying).columns
            if set(other.dropna()) <= set(known):
                regret = np.log(runs.at("test_loss", decaying, other) / runs.at("test_loss", decaying, own))
                label = f"{name.lower()}, {schedule}: test loss at the constant rate's λ over that at its own"
                beside.append(reported(f"{stem}Regret", label, ratio_interval(regret)))
            used += [decaying, constant]
    for schedule in schedules:
        alone = [runs.undecayed("test_loss", Setting(schedule=name)) for name in (schedule, "constant")]
        label = f"test loss without decay, {schedule} over constant"
        beside.append(reported(f"{schedule.title()}None", label, ratio_interval(np.log(alone[0] / alone[1]))))
    return parts + beside, noted(runs, used)


def named_values(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T7: S0's values for small and for large data sets."""
    sizes = runs.sizes()
    ends = {"small": sizes[0], "large": sizes[-1]} if sizes else {}
    used = [Setting(n, decay) for decay in DECAYS for n in ends.values()]
    return [
        judged(
            f"{name}{end.title()}",
            f"{name.lower()}: best λ at n = {n:,}",
            place(runs.best(Setting(n, decay))),
            t[f"{end}_low"],
            t[f"{end}_high"],
        )
        for decay, name in DECAYS.items()
        for end, n in ends.items()
    ], joined("our large set is not large by S0's measure, which it does not give", noted(runs, used))


def typical_range(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T9: the best λ of every size within S1's range."""
    return [
        judged(
            f"{name}{in_letters(n)}",
            f"best λ, {name.lower()}, n = {n:,}",
            place(runs.best(Setting(n, decay))),
            t["low"],
            t["high"],
        )
        for decay, name in DECAYS.items()
        for n in runs.sizes()
    ], noted(runs, sized(runs))


def goes_with_size(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T10: the power of n that S2's λ/m implies. T11: that of S3's λ."""
    what = "power of n that the best λ goes as"
    found = {name: powers(runs, decay) for decay, name in DECAYS.items()}
    parts = [judged(name, f"{what}, {name.lower()}", power, t["low"], t["high"]) for name, power in found.items()]
    return parts, sizes_noted(runs)


def norm_in_range(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T16: how far apart the norms at the best λ are, and whether those without decay lie above them."""
    decayed, none = norms(runs)
    ends = {"Smallest": decayed.min(axis=1), "Largest": decayed.max(axis=1), "None": none.min(axis=1)}
    spread, above = np.log(ends["Largest"] / ends["Smallest"]), np.log(ends["None"] / ends["Largest"])
    known = decayed.notna().all(axis=1) & none.notna().all(axis=1)  # a diverged run has no norm, and is no smallest one
    spread, above = (ratio_interval(logs.where(known)) for logs in (spread, above))
    said = {"Smallest": "smallest norm at the best λ", "Largest": "largest", "None": "smallest without decay"}
    return [
        judged("Range", "norm at the best λ, largest over smallest", spread, most=t["range"]),
        judged("Above", "smallest norm without decay over largest at the best λ", above, least=t["above"]),
        *(reported(name, said[name], ratio_interval(np.log(norm.where(known)))) for name, norm in ends.items()),
    ], noted(runs, sized(runs))


def norms(runs: Runs) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Final norm of all parameters with the grid's best λ, `[seeds, (decay, n)]`, and without decay, `[seeds, n]`."""
    decayed = {(s.decay, s.train_size): runs.at("weight_norm", s, runs.tuned(s)) for s in sized(runs)}
    none = {n: runs.undecayed("weight_norm", Setting(n)) for n in runs.sizes()}
    return pd.DataFrame(decayed, dtype=float), pd.DataFrame(none, dtype=float)


def powers(runs: Runs, decay: str, by: str = "validation_loss") -> Estimate:
    """The power of n that the best λ goes as; UNKNOWN for too few sizes."""
    sizes = runs.sizes()
    return power({n: runs.best(Setting(n, decay), by) for n in sizes}) if len(sizes) >= LEAST_SIZES else UNKNOWN


def outside(name: str, quantity: str, found: Estimate, factor: float) -> Part:
    """A part judged on "differs by `factor` either way": on the side where it was measured."""
    bounds = {"most": 1 / factor} if found.value < 1 else {"least": factor}
    part = judged(name, quantity, found, **bounds)
    within = 1 / factor < found.low and found.high < factor
    return replace(part, verdict="undecided") if part.verdict == "refuted" and not within else part


def without(runs: Runs, n: int) -> pd.Series:
    """Test error without decay, per seed."""
    return runs.undecayed("test_error", Setting(n))


def sized(runs: Runs) -> list[Setting]:
    """The settings that differ in their number of training examples."""
    return [Setting(n, decay) for decay in DECAYS for n in runs.sizes()]


def sizes_noted(runs: Runs) -> str:
    """The note of a claim on how the best λ goes with the number of examples."""
    few = len(runs.sizes()) < LEAST_SIZES
    return joined(noted(runs, sized(runs)), f"fewer than {LEAST_SIZES} sizes" if few else "")


if __name__ == "__main__":
    ledger.main(judge, Path(__file__).with_name("config.yaml"))
