"""Claims T1-T11 on the choice of λ, judged by the criteria of config.yaml.

One estimate per seed, then a 95 % interval over seeds. A run's final value is the mean over its last tenth. λ is chosen
on the validation split and reported on the test split. A best λ at an end of its grid is censored: what needs it is
unknown, and the note says so. A diverged run has no loss, so its λ is never the best.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from settings import BATCH_NORM, DECAYS, Runs, Setting, cross_validated, small_effects

from weightdecay.analysis import claims as ledger
from weightdecay.analysis.claims import NOT_RUN, Claim, Part, counts, joined, judged, reported
from weightdecay.analysis.measures import diverged
from weightdecay.analysis.shapes import at_largest
from weightdecay.analysis.statistics import DIFFERENCE, UNKNOWN, Estimate, every_seed, ratio_interval
from weightdecay.analysis.tables import in_letters

EXPERIMENT = "tuning_rules"
LEAST_SIZES = 4


def judge(results: Any, criteria: Mapping[str, Any]) -> list[Claim]:
    """The eleven claims, in order."""
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
    }
    return [ledger.claim(id, EXPERIMENT, criteria, *found) for id, found in parts.items()]


def falls_with_size(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T1: the power of n, and the best λ and what it gives at each n. By error, which is flat and noisy, beside it."""
    parts = [
        judged(
            name,
            f"power of n that the best λ goes as, {name.lower()}",
            every_seed(powers(runs, decay)),
            most=t["power"],
        )
        for decay, name in DECAYS.items()
    ]
    for decay, name in DECAYS.items():
        by_error = every_seed(powers(runs, decay, by="validation_error"))
        parts.append(
            reported(f"{name}ByError", f"the same, λ > 0 chosen by validation error, {name.lower()}", by_error)
        )
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
            ratio = np.log(runs.best(with_it) / runs.best(without_it))
            stem, where = f"{name}{in_letters(rate)}", f"{name.lower()}, dropout {rate:g}"
            parts.append(judged(stem, f"best λ, {where} over none", ratio_interval(ratio), most=t["ratio"]))
            error = runs.at("test_error", with_it, runs.tuned(with_it))
            alone = runs.final("test_error", with_it).get(0.0, pd.Series(dtype=float))
            beside += [
                reported(f"{stem}Best", f"best λ, {where}", place(runs.best(with_it))),
                reported(f"{stem}Error", f"test error at the best λ, {where}", every_seed(error)),
                reported(f"{stem}Alone", f"test error without decay, {where}", every_seed(alone)),
            ]
            used += [with_it, without_it]
    return [*(parts or [judged("Ratio", "best λ, dropout over none", UNKNOWN)]), *beside], noted(runs, used)


def left_out(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T3: biases and normalisation left out, against all decayed; λ chosen for each."""
    parts, beside, used = [], [], []
    for name, what, decayed in (("BatchNorm", "BatchNorm", BATCH_NORM), ("Plain", "MLP", Setting())):
        spared = replace(decayed, decay_exclude="bias_and_norm")
        choices = {setting: runs.tuned(setting) for setting in (spared, decayed)}
        loss, error = (
            [runs.at(metric, setting, choice) for setting, choice in choices.items()]
            for metric in ("test_loss", "test_error")
        )
        parts += [
            judged(
                f"{name}Loss",
                f"{what}: test loss, left out over decayed",
                ratio_interval(np.log(loss[0] / loss[1])),
                most=t["loss"],
            ),
            judged(
                f"{name}Error",
                f"{what}: test error, left out less decayed",
                every_seed(error[0] - error[1], DIFFERENCE),
                most=t["error"],
            ),
        ]
        by_error = [runs.at("test_error", s, runs.tuned(s, "validation_error")) for s in choices]
        difference = every_seed(by_error[0] - by_error[1], DIFFERENCE)
        beside.append(reported(f"{name}ByError", f"{what}: the same, λ chosen by validation error", difference))
        beside += [
            reported(f"{name}{word}Best", f"{what}: best λ, {said}", place(runs.best(setting)))
            for word, said, setting in (("Spared", "left out", spared), ("Decayed", "all decayed", decayed))
        ]
        used += [spared, decayed]
    return parts + beside, noted(runs, used, best=False)


def under_a_schedule(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T4: the best λ under a cosine schedule over that under a constant learning rate; other schedules beside it."""
    parts, beside, used = [], [], []
    schedules = sorted(set(runs.runs["schedule"]) - {"constant"})
    for decay, name in DECAYS.items():
        for schedule in schedules:
            constant, decaying = Setting(decay=decay), Setting(decay=decay, schedule=schedule)
            ratio = ratio_interval(np.log(runs.best(decaying) / runs.best(constant)))
            stem, what = f"{name}{schedule.title()}", f"{name.lower()}: best λ, {schedule} over constant"
            if schedule == "cosine":
                parts.append(outside(stem, what, ratio, t["factor"]))
            else:
                beside.append(reported(stem, what, ratio))
            own, other = runs.tuned(decaying), runs.tuned(constant)
            known = runs.final("test_loss", decaying).columns
            if set(other) <= set(known):
                regret = np.log(runs.at("test_loss", decaying, other) / runs.at("test_loss", decaying, own))
                label = f"{name.lower()}, {schedule}: test loss at the constant rate's λ over that at its own"
                beside.append(reported(f"{stem}Regret", label, ratio_interval(regret)))
            used += [decaying, constant]
    for schedule in schedules:
        alone = [runs.final("test_loss", Setting(schedule=name))[0.0] for name in (schedule, "constant")]
        label = f"test loss without decay, {schedule} over constant"
        beside.append(reported(f"{schedule.title()}None", label, ratio_interval(np.log(alone[0] / alone[1]))))
    return parts + beside, noted(runs, used)


def a_little(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T5: a small λ against none, at the setting where it does worst."""
    parts, beside, notes = [], [], []
    what_of = {"Fixed": f"λ = {t['weight_decay']:g}", "Tenth": "a tenth of the best λ"}
    for name, (losses, errors) in small_effects(runs, t).items():
        what = what_of[name]
        worst_loss, worst_error = (at_largest(table, table) for table in (losses, errors))
        parts += [
            judged(
                f"{name}Loss", f"test loss, {what} over none, worst setting", ratio_interval(worst_loss), most=t["loss"]
            ),
            judged(
                f"{name}Error",
                f"test error, {what} less none, worst setting",
                every_seed(worst_error, DIFFERENCE),
                most=t["error"],
            ),
        ]
        beside += [
            reported(
                f"{name}MeanLoss", f"test loss, {what} over none, all settings", ratio_interval(losses.mean(axis=1))
            ),
            reported(
                f"{name}MeanError",
                f"test error, {what} less none, all settings",
                every_seed(errors.mean(axis=1), DIFFERENCE),
            ),
        ]
        if len(losses.columns):
            notes.append(f"{what}: {len(losses.columns)} settings, in loss the worst is {losses.mean().idxmax()}")
            notes.append(f"in error {errors.mean().idxmax()}")
    return parts + beside, joined(*notes)


def grid_search(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T6: λ chosen by cross-validation among S0's five, against the best of the whole grid."""
    parts, beside, notes = [], [], []
    for decay, name in DECAYS.items():
        whole, chosen = Setting(decay=decay), cross_validated(runs, decay)
        best = runs.tuned(whole).loc[chosen.index]
        loss, error = (
            [runs.at(metric, whole, choice) for choice in (chosen, best)] for metric in ("test_loss", "test_error")
        )
        none = runs.final("test_loss", whole)[0.0]
        parts += [
            judged(
                f"{name}Loss",
                f"{name.lower()}: test loss, searched over best",
                ratio_interval(np.log(loss[0] / loss[1])),
                most=t["loss"],
            ),
            judged(
                f"{name}Error",
                f"{name.lower()}: test error, searched less best",
                every_seed(error[0] - error[1], DIFFERENCE),
                most=t["error"],
            ),
        ]
        beside.append(
            reported(
                f"{name}Gain",
                f"{name.lower()}: test loss, searched over no decay",
                ratio_interval(np.log(loss[0] / none)),
            )
        )
        notes.append(f"{name.lower()}: chosen {values(chosen)}, best {values(best)}")
    return parts + beside, joined(f"{len(runs.folds())} folds", *notes)


def named_values(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T7: S0's values for small and for large data sets."""
    ends = {"small": runs.sizes()[0], "large": runs.sizes()[-1]}
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


def too_large(runs: Runs, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """T8: training and test error at the largest λ. Divergence would speak for the claim, and leaves it undecided."""
    parts, notes = [], []
    for decay, name in DECAYS.items():
        setting = Setting(decay=decay)
        train, test = (runs.final(f"{split}_error", setting) for split in ("train", "test"))
        largest = train.columns[-1]
        where = f"{name.lower()}, λ = {largest:g}"
        lost = runs.of(setting)
        lost = lost[lost["diverged_at"].notna() & np.isclose(lost["weight_decay"], largest)]["seed"]
        train.loc[train.index.isin(lost), largest] = np.nan
        worse = test[largest].where(~test.index.isin(lost)) - test[0.0]
        parts += [
            judged(f"{name}Train", f"training error, {where}", every_seed(train[largest]), least=t["train_error"]),
            judged(
                f"{name}Test", f"test error, {where} less none", every_seed(worse, DIFFERENCE), least=t["test_error"]
            ),
        ]
        notes.append(counts(len(runs.of(setting)), {f"{name.lower()} diverged": diverged(runs.of(setting))}))
    return parts, joined(*notes)


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
    found = {name: every_seed(powers(runs, decay)) for decay, name in DECAYS.items()}
    parts = [judged(name, f"{what}, {name.lower()}", power, t["low"], t["high"]) for name, power in found.items()]
    return parts, sizes_noted(runs)


def powers(runs: Runs, decay: str, by: str = "validation_loss") -> pd.Series:
    """Per seed the power of n that the best λ goes as; empty for too few sizes, NaN where one of them has no best λ."""
    sizes = runs.sizes()
    if len(sizes) < LEAST_SIZES:
        return pd.Series(dtype=float)
    best = pd.DataFrame({n: runs.best(Setting(n, decay), by) for n in sizes})
    return np.log(best).apply(lambda row: np.polyfit(np.log(sizes), row, 1)[0] if row.notna().all() else np.nan, axis=1)


def outside(name: str, quantity: str, ratio: Estimate, factor: float) -> Part:
    """A part judged on "differs by `factor` either way": on the side where it was measured."""
    bounds = {"most": 1 / factor} if ratio.value < 1 else {"least": factor}
    part = judged(name, quantity, ratio, **bounds)
    within = 1 / factor < ratio.low and ratio.high < factor
    return replace(part, verdict="undecided") if part.verdict == "refuted" and not within else part


def place(per_seed: pd.Series) -> Estimate:
    """Geometric mean and interval of a λ per seed."""
    return ratio_interval(np.log(per_seed))


def without(runs: Runs, n: int) -> pd.Series:
    """Test error without decay, per seed."""
    return runs.final("test_error", Setting(n)).get(0.0, pd.Series(dtype=float))


def sized(runs: Runs) -> list[Setting]:
    """The settings that differ in their number of training examples."""
    return [Setting(n, decay) for decay in DECAYS for n in runs.sizes()]


def sizes_noted(runs: Runs) -> str:
    """The note of a claim on how the best λ goes with the number of examples."""
    few = len(runs.sizes()) < LEAST_SIZES
    return joined(noted(runs, sized(runs)), f"fewer than {LEAST_SIZES} sizes" if few else "")


def noted(runs: Runs, settings: Sequence[Setting], best: bool = True) -> str:
    """Of these settings: how many runs diverged and, where the `best` λ is used, where it is an end of the grid."""
    settings = list(dict.fromkeys(settings))
    used = pd.concat([runs.of(setting) for setting in settings]).drop_duplicates("run") if settings else pd.DataFrame()
    ends = []
    for setting in settings if best else ():
        found = runs.best(setting)
        if found.isna().any():
            ends.append(f"{setting} ({int(found.isna().sum())} of {len(found)} seeds)")
    return joined(
        counts(len(used), {"diverged": diverged(used)}) if len(used) else NOT_RUN,
        f"best λ at an end of the grid, or none: {', '.join(ends)}" if ends else "",
    )


def values(choice: Iterable[float]) -> str:
    """The λ that the seeds chose, each once."""
    return ", ".join(f"{λ:g}" for λ in sorted(set(choice)))


if __name__ == "__main__":
    ledger.main(judge, Path(__file__).with_name("config.yaml"))
