"""T3, T5, T6, T8, T14, T15, T17: the cost of a choice of λ in test loss and error, for claims and figures."""

from dataclasses import replace

import numpy as np
import pandas as pd

from weightdecay.claims.judging import counts, distinct, joined, judged, reported
from weightdecay.claims.model import Part
from weightdecay.claims.names import in_letters
from weightdecay.statistics.estimates import DIFFERENCE, every_seed, ratio_interval, ratio_of
from weightdecay.statistics.measures import diverged
from weightdecay.statistics.shapes import at_largest

from . import finding
from .best import place
from .settings import BATCH_NORM, DECAYS, Runs, Setting, lowest, noted


@finding.claim("T3")
def left_out(runs: Runs, *, loss: float, error: float) -> tuple[list[Part], str]:
    """Leaving biases and normalisation out of decay costs nothing, if λ is tuned for each."""
    parts, beside, used = [], [], []
    for name, what, decayed in (("BatchNorm", "BatchNorm", BATCH_NORM), ("Plain", "MLP", Setting())):
        spared = replace(decayed, decay_exclude="bias_and_norm")
        first, second = (runs.outcome(setting, runs.tuned(setting)) for setting in (spared, decayed))
        parts += compared(name, f"{what}: test", ("left out", "decayed"), first, second, loss, error)
        by_error = [runs.at("test_error", s, runs.tuned(s, "validation_error")) for s in (spared, decayed)]
        difference = every_seed(by_error[0] - by_error[1], DIFFERENCE)
        beside.append(reported(f"{name}ByError", f"{what}: the same, λ chosen by validation error", difference))
        beside += [
            reported(f"{name}{word}Best", f"{what}: best λ, {said}", place(runs.best(setting)))
            for word, said, setting in (("Spared", "left out", spared), ("Decayed", "all decayed", decayed))
        ]
        used += [spared, decayed]
    return parts + beside, noted(runs, used)


@finding.claim("T5")
def a_little(runs: Runs, *, weight_decay: float, share: float, loss: float, error: float) -> tuple[list[Part], str]:
    """A small λ does no harm, not even at its worst setting."""
    parts, beside, notes = [], [], []
    what_of = {"Fixed": f"λ = {weight_decay:g}", "Tenth": "a tenth of the best λ"}
    for name, (losses, errors) in small_effects(runs, weight_decay, share).items():
        what = what_of[name]
        over, less = f"test loss, {what} over none", f"test error, {what} less none"
        worst_loss, worst_error = (at_largest(table, table) for table in (losses, errors))
        parts += [
            judged(f"{name}Loss", f"{over}, worst setting", ratio_interval(worst_loss), most=loss),
            judged(f"{name}Error", f"{less}, worst setting", every_seed(worst_error, DIFFERENCE), most=error),
        ]
        mean_loss, mean_error = ratio_interval(losses.mean(axis=1)), every_seed(errors.mean(axis=1), DIFFERENCE)
        beside += [
            reported(f"{name}MeanLoss", f"{over}, all settings", mean_loss),
            reported(f"{name}MeanError", f"{less}, all settings", mean_error),
        ]
        left = [str(setting) for setting in runs.settings() if str(setting) not in losses.columns]
        notes.append(f"{what}: {len(losses.columns)} settings" + (f", without {'; '.join(left)}" if left else ""))
        if losses.notna().any(axis=None) and errors.notna().any(axis=None):
            notes.append(f"in loss the worst is {losses.mean().idxmax()}, in error {errors.mean().idxmax()}")
    return parts + beside, joined(*notes)


@finding.claim("T6")
def grid_search(runs: Runs, *, loss: float, error: float) -> tuple[list[Part], str]:
    """Cross-validation among S0's five λ finds a λ that is as good as the best of the whole grid."""
    parts, beside, notes = [], [], []
    for decay, name in DECAYS.items():
        whole, chosen = Setting(decay=decay), cross_validated(runs, decay)
        searched, best = (runs.outcome(whole, choice) for choice in (chosen, runs.tuned(whole)))
        parts += compared(name, f"{name.lower()}: test", ("searched", "best"), searched, best, loss, error)
        gain = ratio_of(searched["test_loss"], runs.undecayed("test_loss", whole))
        label = f"{name.lower()}: test loss, searched over no decay"
        beside.append(reported(f"{name}Gain", label, gain))
        notes.append(f"{name.lower()}: chosen {distinct(chosen)}, best {distinct(runs.tuned(whole))}")
    return parts + beside, joined(f"{len(runs.folds())} folds", *notes)


@finding.claim("T8")
def too_large(runs: Runs, *, train_error: float, test_error: float) -> tuple[list[Part], str]:
    """Training and test error are high at the largest λ.

    A diverged run would count for this claim, so the claim is then undecided.
    """
    parts, notes = [], []
    for decay, name in DECAYS.items():
        setting = Setting(decay=decay)
        train = runs.final("train_error", setting)
        largest = train.columns[-1] if len(train.columns) else np.nan
        where = f"{name.lower()}, λ = {largest:g}"
        lost = runs.of(setting)
        lost = lost[lost["diverged_at"].notna() & np.isclose(lost["weight_decay"], largest)]["seed"]
        chosen = pd.Series(largest, train.index[~train.index.isin(lost)]).reindex(train.index)
        train_there, test_there = (runs.at(f"{split}_error", setting, chosen) for split in ("train", "test"))
        worse = every_seed(test_there - runs.undecayed("test_error", setting), DIFFERENCE)
        parts += [
            judged(f"{name}Train", f"training error, {where}", every_seed(train_there), least=train_error),
            judged(f"{name}Test", f"test error, {where} less none", worse, least=test_error),
        ]
        notes.append(counts(len(runs.of(setting)), {f"{name.lower()} diverged": diverged(runs.of(setting))}))
    return parts, joined(*notes)


@finding.claim("T14")
def tuned_upwards(
    runs: Runs, *, first: float, second: float, factor: float, loss: float, error: float
) -> tuple[list[Part], str]:
    """Increasing λ from a small value by factors of ten finds a λ that is as good as the best of the whole grid."""
    parts, notes = [], []
    for decay, name in DECAYS.items():
        setting = Setting(decay=decay)
        best = runs.outcome(setting, runs.tuned(setting))
        for start in (first, second):
            found = climbed(runs, setting, start, factor)
            where = f"{name.lower()}, from {start:g}"
            stem, outcome = f"{name}{in_letters(start)}", runs.outcome(setting, found)
            parts += compared(stem, f"{where}: test", ("found", "best"), outcome, best, loss, error)
            notes.append(f"{where}: found {distinct(found)}" if len(found) else f"{where}: not run at this scale")
    return parts, joined(*notes)


@finding.claim("T15")
def one_for_all(runs: Runs, *, loss: float) -> tuple[list[Part], str]:
    """A single λ costs test loss at the setting that it suits least; the mean over settings is reported beside it."""
    parts, beside, notes = [], [], []
    for decay, name in DECAYS.items():
        costs, single, shared = single_costs(runs, decay)
        where = f"{name.lower()}: test loss, one λ over each setting's own"
        cost = ratio_interval(at_largest(costs, costs))
        parts.append(judged(name, f"{where}, worst setting", cost, least=loss))
        beside.append(reported(f"{name}Mean", f"{where}, all settings", ratio_interval(costs.mean(axis=1))))
        if costs.notna().any(axis=None):
            worst = costs.mean().idxmax()
            chosen = f"{distinct(single)} of {distinct(shared)}"
            notes.append(f"{name.lower()}: {chosen}, {len(costs.columns)} settings, worst {worst}")
    return parts + beside, joined(*notes)


@finding.claim("T17")
def small_by_name(runs: Runs, *, first: float, second: float, loss: float, error: float) -> tuple[list[Part], str]:
    """S2's usual values, with its coupled decay, are as good as the best of the grid."""
    setting, parts = Setting(decay="l2"), []
    best = runs.tuned(setting)
    for λ in (first, second):
        small, tuned = (runs.outcome(setting, choice) for choice in (runs.on_grid(setting, λ), best))
        parts += compared(in_letters(λ), f"λ = {λ:g}: test", ("it", "best"), small, tuned, loss, error)
    return parts, f"best {distinct(best)}"


def compared(
    name: str,
    what: str,
    words: tuple[str, str],
    first: pd.DataFrame,
    second: pd.DataFrame,
    loss: float,
    error: float,
    strict: bool = False,
) -> list[Part]:
    """Judge two outcomes by seed: the ratio of test losses is at most `loss`, the difference of errors at most `error`.

    `strict`: the ratio must be below `loss`.
    """
    over = ratio_of(first["test_loss"], second["test_loss"])
    less = every_seed(first["test_error"] - second["test_error"], DIFFERENCE)
    return [
        judged(f"{name}Loss", f"{what} loss, {' over '.join(words)}", over, most=loss, strict=strict),
        judged(f"{name}Error", f"{what} error, {' less '.join(words)}", less, most=error),
    ]


def cross_validated(runs: Runs, decay: str) -> pd.Series:
    """Return per seed the λ with the lowest mean loss over held-out folds; empty if no fold was run."""
    tables = [runs.final("validation_loss", Setting(decay=decay, dataset=fold)) for fold in runs.folds()]
    return lowest(sum(tables) / len(tables)) if tables else pd.Series(dtype=float)


def small_effects(runs: Runs, weight_decay: float, share: float) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """Return the effect of a small λ against no decay: log ratio of test losses, and difference of test errors.

    "Fixed" has λ = `weight_decay`. "Tenth" has for each seed a `share` of the best λ > 0 of the grid. Tables are
    `[seeds, setting]`, for the settings whose grid has this λ for every seed. For "Tenth" this depends on the best λ.
    """
    found = {name: (pd.DataFrame(), pd.DataFrame()) for name in ("Fixed", "Tenth")}
    for setting in runs.settings():
        validation = runs.final("validation_loss", setting)
        if 0.0 not in validation.columns:
            continue
        best = lowest(validation[[λ for λ in validation.columns if λ > 0]])
        for name, aim in (("Fixed", weight_decay), ("Tenth", share * best)):
            choice = runs.on_grid(setting, aim)
            if len(choice):
                small = runs.outcome(setting, choice)
                losses, errors = found[name]
                losses[str(setting)] = np.log(small["test_loss"] / runs.undecayed("test_loss", setting))
                errors[str(setting)] = small["test_error"] - runs.undecayed("test_error", setting)
    return found


def climbed(runs: Runs, setting: Setting, start: float, factor: float) -> pd.Series:
    """Return per seed the λ that a search reaches: from `start`, times `factor` as long as validation loss falls.

    It also ends where the grid does.
    """
    losses, found = runs.final("validation_loss", setting), {}
    for seed, λ in runs.on_grid(setting, start).items():
        while True:
            larger = [other for other in losses.columns if np.isclose(other, factor * λ, rtol=1e-9, atol=0)]
            if not larger or not losses.loc[seed, larger[0]] < losses.loc[seed, λ]:
                break
            λ = larger[0]
        found[seed] = λ
    return pd.Series(found, dtype=float)


def single_costs(runs: Runs, decay: str) -> tuple[pd.DataFrame, pd.Series, list[float]]:
    """Return the cost of a single λ for all settings, this λ for each seed, and the λ that all grids share.

    The cost is the log of test loss at the single λ over that at the setting's own best λ, `[seeds, setting]`. The
    single λ has the lowest mean log validation loss among the shared λ.
    """
    settings = [setting for setting in runs.settings() if setting.decay == decay]
    tables = [np.log(runs.final("validation_loss", setting)) for setting in settings]
    shared = [λ for λ in tables[0].columns if λ > 0 and all(λ in table.columns for table in tables)] if tables else []
    if not shared:
        return pd.DataFrame(), pd.Series(dtype=float), []
    single = lowest(sum(table[shared] for table in tables))
    costs = {str(s): np.log(runs.at("test_loss", s, single) / runs.at("test_loss", s, runs.tuned(s))) for s in settings}
    return pd.DataFrame(costs), single, shared
