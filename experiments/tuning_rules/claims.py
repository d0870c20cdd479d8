"""Claims T1-T17 on the choice of λ, judged by the criteria of config.yaml.

Each quantity is one number per seed, with a 95 % interval over seeds. A run's final value is the mean over its last
tenth. λ is chosen on the validation split and judged on the test split. A best λ at an end of its grid is censored: we
know only a bound. Intervals that depend on it are then open on one side, and the note says so. A diverged run has no
loss, so its λ is never the best. Claims on the best λ are here, and claims on the cost of a choice in costs.py and
regularisers.py.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from weightdecay.claims.judging import joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.claims.names import in_letters
from weightdecay.statistics.estimates import UNKNOWN, Estimate, every_seed, ratio_interval, ratio_of

from . import costs, finding, regularisers  # noqa: F401 (the claims of costs and regularisers)
from .best import place, power, quotient
from .settings import DECAYS, Runs, Setting, noted

LEAST_SIZES = 4


@finding.claim("T1")
def falls_with_size(runs: Runs, *, power: float) -> tuple[list[Part], str]:
    """The best λ falls as a power of n.

    The best λ of each n, and the power by error, which is flat and noisy, are reported beside it.
    """
    what = "power of n that the best λ goes as"
    parts = [judged(name, f"{what}, {name.lower()}", powers(runs, decay), most=power) for decay, name in DECAYS.items()]
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


@finding.claim("T2")
def smaller_with_dropout(runs: Runs, *, ratio: float) -> tuple[list[Part], str]:
    """The best λ with dropout is smaller than that without, at each rate."""
    parts, beside, used = [], [], []
    for decay, name in DECAYS.items():
        for rate in runs.rates(decay):
            with_it, without_it = Setting(decay=decay, dropout=rate), Setting(decay=decay)
            found = quotient(runs.best(with_it), runs.best(without_it))
            stem, where = f"{name}{in_letters(rate)}", f"{name.lower()}, dropout {rate:g}"
            parts.append(judged(stem, f"best λ, {where} over none", found, most=ratio))
            error = runs.at("test_error", with_it, runs.tuned(with_it))
            alone = runs.undecayed("test_error", with_it)
            beside += [
                reported(f"{stem}Best", f"best λ, {where}", place(runs.best(with_it))),
                reported(f"{stem}Error", f"test error at the best λ, {where}", every_seed(error)),
                reported(f"{stem}Alone", f"test error without decay, {where}", every_seed(alone)),
            ]
            used += [with_it, without_it]
    return [*(parts or [judged("Ratio", "best λ, dropout over none", UNKNOWN)]), *beside], noted(runs, used)


@finding.claim("T4")
def under_a_schedule(runs: Runs, *, factor: float) -> tuple[list[Part], str]:
    """A cosine schedule changes the best λ in either direction; other schedules are reported beside it."""
    parts, beside, used = [], [], []
    schedules = sorted(set(runs.runs["schedule"]) - {"constant"})
    for decay, name in DECAYS.items():
        for schedule in schedules:
            constant, decaying = Setting(decay=decay), Setting(decay=decay, schedule=schedule)
            found = quotient(runs.best(decaying), runs.best(constant))
            stem, what = f"{name}{schedule.title()}", f"{name.lower()}: best λ, {schedule} over constant"
            if schedule == "cosine":
                parts.append(outside(stem, what, found, factor))
            else:
                beside.append(reported(stem, what, found))
            own, other = runs.tuned(decaying), runs.tuned(constant)
            known = runs.final("test_loss", decaying).columns
            if set(other.dropna()) <= set(known):
                kept, tuned = (runs.at("test_loss", decaying, choice) for choice in (other, own))
                label = f"{name.lower()}, {schedule}: test loss at the constant rate's λ over that at its own"
                beside.append(reported(f"{stem}Regret", label, ratio_of(kept, tuned)))
            used += [decaying, constant]
    for schedule in schedules:
        alone = [runs.undecayed("test_loss", Setting(schedule=name)) for name in (schedule, "constant")]
        label = f"test loss without decay, {schedule} over constant"
        beside.append(reported(f"{schedule.title()}None", label, ratio_of(*alone)))
    return parts + beside, noted(runs, used)


@finding.claim("T7")
def named_values(
    runs: Runs, *, small_low: float, small_high: float, large_low: float, large_high: float
) -> tuple[list[Part], str]:
    """The best λ of the smallest and of the largest data set lie in S0's ranges for small and large data sets."""
    sizes = runs.sizes()
    ends = {"Small": (sizes[0], small_low, small_high), "Large": (sizes[-1], large_low, large_high)} if sizes else {}
    used = [Setting(n, decay) for decay in DECAYS for n, _, _ in ends.values()]
    return [
        judged(f"{name}{end}", f"{name.lower()}: best λ at n = {n:,}", place(runs.best(Setting(n, decay))), low, high)
        for decay, name in DECAYS.items()
        for end, (n, low, high) in ends.items()
    ], joined("our large set is not large by S0's measure, which it does not give", noted(runs, used))


@finding.claim("T9")
def typical_range(runs: Runs, *, low: float, high: float) -> tuple[list[Part], str]:
    """The best λ of every size lies within S1's range."""
    return [
        judged(
            f"{name}{in_letters(n)}",
            f"best λ, {name.lower()}, n = {n:,}",
            place(runs.best(Setting(n, decay))),
            low,
            high,
        )
        for decay, name in DECAYS.items()
        for n in runs.sizes()
    ], noted(runs, sized(runs))


@finding.claim("T10", "T11")
def goes_with_size(runs: Runs, *, low: float, high: float) -> tuple[list[Part], str]:
    """The best λ follows the power of n that S2's λ/m implies (T10), or S3's λ (T11)."""
    what = "power of n that the best λ goes as"
    return [
        judged(name, f"{what}, {name.lower()}", powers(runs, decay), low, high) for decay, name in DECAYS.items()
    ], sizes_noted(runs)


@finding.claim("T16")
def norm_in_range(runs: Runs, *, range: float, above: float) -> tuple[list[Part], str]:
    """The norms of the weights at the best λ are close together, and those without decay are larger."""
    decayed, none = norms(runs)
    ends = {"Smallest": decayed.min(axis=1), "Largest": decayed.max(axis=1), "None": none.min(axis=1)}
    known = decayed.notna().all(axis=1) & none.notna().all(axis=1)  # a diverged run has no norm
    spread, gap = (
        ratio_interval(np.log(ends[upper] / ends[lower]).where(known))
        for upper, lower in (("Largest", "Smallest"), ("None", "Largest"))
    )
    said = {"Smallest": "smallest norm at the best λ", "Largest": "largest", "None": "smallest without decay"}
    return [
        judged("Range", "norm at the best λ, largest over smallest", spread, most=range),
        judged("Above", "smallest norm without decay over largest at the best λ", gap, least=above),
        *(reported(name, said[name], ratio_interval(np.log(norm.where(known)))) for name, norm in ends.items()),
    ], noted(runs, sized(runs))


def norms(runs: Runs) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the final norm of all parameters, with the best λ `[seeds, (decay, n)]` and without decay `[seeds, n]`."""
    decayed = {(s.decay, s.train_size): runs.at("weight_norm", s, runs.tuned(s)) for s in sized(runs)}
    none = {n: runs.undecayed("weight_norm", Setting(n)) for n in runs.sizes()}
    return pd.DataFrame(decayed, dtype=float), pd.DataFrame(none, dtype=float)


def powers(runs: Runs, decay: str, by: str = "validation_loss") -> Estimate:
    """Return the power of n that the best λ follows; UNKNOWN for too few sizes."""
    sizes = runs.sizes()
    return power({n: runs.best(Setting(n, decay), by) for n in sizes}) if len(sizes) >= LEAST_SIZES else UNKNOWN


def outside(name: str, quantity: str, found: Estimate, factor: float) -> Part:
    """Return a part that is judged on whether a ratio differs from 1 by `factor`, on the side that was measured."""
    least, most = (-np.inf, 1 / factor) if found.value < 1 else (factor, np.inf)
    part = judged(name, quantity, found, least, most)
    within = 1 / factor < found.low and found.high < factor
    return replace(part, verdict="undecided") if part.verdict == "refuted" and not within else part


def without(runs: Runs, n: int) -> pd.Series:
    """Return the test error without decay, per seed."""
    return runs.undecayed("test_error", Setting(n))


def sized(runs: Runs) -> list[Setting]:
    """Return the settings that differ only in decay and in the number of training examples."""
    return [Setting(n, decay) for decay in DECAYS for n in runs.sizes()]


def sizes_noted(runs: Runs) -> str:
    """Write the note of a claim on how the best λ depends on the number of examples."""
    few = len(runs.sizes()) < LEAST_SIZES
    return joined(noted(runs, sized(runs)), f"fewer than {LEAST_SIZES} sizes" if few else "")
