"""Claims A1-A11 on binary addition, judged by the criteria of config.yaml.

One estimate per seed, then a 95 % interval over seeds (weightdecay.analysis.statistics). A diverged run counts as
accuracy 0, but is no evidence where a claim predicts failure: such a part is unknown then. A time that never came is a
censored time. Neither is dropped, and the claim's note counts them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weightdecay.analysis import claims as ledger
from weightdecay.analysis.claims import NOT_RUN, Claim, Part, counts, joined, judged, reported
from weightdecay.analysis.measures import (
    TRAIN,
    Histories,
    between,
    delays,
    dip,
    diverged,
    final_table,
    longest,
    select,
)
from weightdecay.analysis.statistics import (
    ACCURACY,
    DIFFERENCE,
    UNKNOWN,
    Estimate,
    every_seed,
    geometric_interval,
    leave_one_out,
    mean_interval,
    open_above,
    paired_interval,
    power_law,
    rank_correlation,
)
from weightdecay.analysis.tables import in_letters
from weightdecay.grid import SATURATED

EXPERIMENT = "binary_addition"
LAST_STEPS = 3900  # S1's points are means over the last 50 epochs of 78 steps
LEARNING_RATE = 1e-3  # S1's; the delay claim alone looks at others
MEASURED = (TRAIN, "train_accuracy", "test_accuracy", "validation_accuracy")
NO_EVIDENCE = "diverged, so that their failing is not judged"
WINDOW = "diverged, where their window ends"


def main_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """S1's protocol: decimal digits, clean labels, free norm; any λ and learning rate."""
    return select(runs, dataset=EXPERIMENT, label_noise=0.0, hold_norm="never")


def lambda_sweep(runs: pd.DataFrame) -> pd.DataFrame:
    """S1's protocol at S1's learning rate, of the sweep of that name alone: one run for each λ and seed."""
    return longest(select(main_runs(runs), sweep="weight_decay", learning_rate=LEARNING_RATE))


def every_rate(runs: pd.DataFrame) -> pd.DataFrame:
    """S1's protocol at every λ and learning rate: what the delay claim looks at."""
    return longest(main_runs(runs), ("learning_rate", "weight_decay", "seed"))


def held_runs(runs: pd.DataFrame, weight_decay: float, hold_norm: str = "saturation") -> pd.DataFrame:
    """The control whose parameter norm is held constant."""
    held = select(runs, dataset=EXPERIMENT, label_noise=0.0, hold_norm=hold_norm, weight_decay=weight_decay)
    return longest(select(held, learning_rate=LEARNING_RATE))


def noisy_sweeps(runs: pd.DataFrame) -> dict[float, pd.DataFrame]:
    """The λ sweep at each level of label noise, by level."""
    noisy = select(runs, dataset=EXPERIMENT, hold_norm="never", learning_rate=LEARNING_RATE)
    return {noise: longest(group) for noise, group in noisy[noisy["label_noise"] > 0].groupby("label_noise")}


def judge(results: Any, criteria: Mapping[str, Any]) -> list[Claim]:
    """The eleven claims, in order."""
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
    }
    return [ledger.claim(id, EXPERIMENT, criteria, *found) for id, found in parts.items()]


def too_small(
    histories: Histories, sweep: pd.DataFrame, final: Mapping[str, pd.DataFrame], t: Mapping[str, float]
) -> tuple[list[Part], str]:
    """A1: every small λ fits the training set and fails the test, in runs as long as a good λ takes to pass it."""
    small = [λ for λ in final["test_accuracy"].columns if 0 < λ <= t["weight_decay"] * (1 + 1e-9)]
    runs = sweep[sweep["weight_decay"].isin(small)]
    reference = select(sweep, weight_decay=t["reference"])
    passed = pd.Series([histories.first_step(run, "test_accuracy", t["generalised"]) for run in reference["run"]])
    least = geometric_interval(passed.fillna(reference["steps"].reset_index(drop=True))).value
    short = ~(runs["steps"] >= least * (1 - 1e-9))  # all of them where λ = .1 was not run
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
    too_short = f"not known to last as long as λ = {t['reference']:g} takes to test accuracy {t['generalised']:g}"
    return parts, counts(len(runs), {NO_EVIDENCE: diverged(runs), too_short: short.sum()})


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
        f"best λ on average: {test.mean().idxmax():g}" if λ in test else NOT_RUN,
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


def late_generalisation(histories: Histories, sweep: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A4: how long after fitting the unseen length is solved."""
    runs = select(sweep, weight_decay=t["weight_decay"])
    fit = np.array([histories.first_step(run, TRAIN, t["fitted"]) for run in runs["run"]])
    general = np.array([histories.first_step(run, "test_accuracy", t["generalised"]) for run in runs["run"]])
    never_fit, censored = np.isnan(fit), np.isnan(general)
    lasted = np.where(censored, runs["diverged_at"].fillna(runs["steps"]), general)
    ratio = open_above(geometric_interval(np.where(never_fit, 1.0, lasted / fit)), (censored & ~never_fit).any())
    return [
        judged("Ratio", "step of generalising over step of fitting", ratio, least=t["ratio"]),
        reported("Fitted", f"step of fitting (train ≥ {t['fitted']:g})", geometric_interval(fit[~never_fit])),
        reported(
            "Generalised",
            f"step of generalising (test ≥ {t['generalised']:g})",
            open_above(geometric_interval(lasted), censored.any()),
        ),
    ], counts(
        len(runs),
        {"diverged": diverged(runs), "never fitted": never_fit.sum(), "never generalised": censored.sum()},
    )


def after_fitting(histories: Histories, runs: pd.DataFrame, t: Mapping[str, float]) -> pd.DataFrame:
    """Each run in the window after fitting: `correlation` of norm and test accuracy, `norm_ratio`, end over start.

    NaN for a run that never fits. The window of a run that diverges ends there.
    """
    rows = []
    for run in runs["run"]:
        fit = histories.first_step(run, TRAIN, t["fitted"])
        norm, test = (
            histories.curve(run, metric).loc[fit : fit + t["window"]] for metric in ("weight_norm_sum", "test_accuracy")
        )
        norm, test = norm.align(test, join="inner")
        fits = not np.isnan(fit) and len(norm)
        rows.append((rank_correlation(norm, test), norm.iloc[-1] / norm.iloc[0]) if fits else (np.nan, np.nan))
    return pd.DataFrame(rows, columns=["correlation", "norm_ratio"], dtype=float)


def norm_falls(histories: Histories, sweep: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A5: with decay the norm falls and test accuracy rises."""
    runs = select(sweep, weight_decay=t["weight_decay"])
    seen = after_fitting(histories, runs, t)
    return [
        judged(
            "Correlation",
            "Spearman correlation of norm and test accuracy",
            mean_interval(seen["correlation"].fillna(0), DIFFERENCE),  # never fitted: against the claim
            most=t["correlation"],
        ),
        judged(
            "NormRatio",
            "norm at the window's end over norm at fitting",
            geometric_interval(seen["norm_ratio"].fillna(1)),
            most=t["norm_ratio"],
        ),
    ], counts(len(runs), {WINDOW: diverged(runs), "never fitted": seen["norm_ratio"].isna().sum()})


def nothing_without_decay(
    histories: Histories, sweep: pd.DataFrame, final: Mapping[str, pd.DataFrame], t: Mapping[str, float]
) -> tuple[list[Part], str]:
    """A6: without decay neither the norm falls nor the test is passed."""
    runs = select(sweep, weight_decay=0.0)
    seen = after_fitting(histories, runs, t)
    never_fitted = seen["norm_ratio"].isna()  # no ratio stands for such a run: 1 would speak for the claim
    return [
        judged(
            "NormRatio",
            "norm at the window's end over norm at fitting, λ = 0",
            UNKNOWN if never_fitted.any() else geometric_interval(seen["norm_ratio"]),
            least=t["norm_ratio"],
        ),
        judged("Test", "test accuracy at λ = 0", failing(sweep, final, "test_accuracy", 0.0), most=t["test_accuracy"]),
    ], counts(len(runs), {f"{WINDOW}; their failing is not judged": diverged(runs), "never fitted": never_fitted.sum()})


def held_norm(
    histories: Histories, sweep: pd.DataFrame, held: pd.DataFrame, t: Mapping[str, float]
) -> tuple[list[Part], str]:
    """A7: free against held norm, paired by seed, at the last step both reached. Unknown where no norm was held.

    Unknown, too, where a held run diverged: its accuracy of 0 would speak for the claim.
    """
    pairs = select(sweep, weight_decay=t["weight_decay"]).merge(held, on="seed", suffixes=("_free", "_held"))
    never_held = sum(np.isnan(histories.first_step(run, TRAIN, SATURATED)) for run in held["run"])
    accuracies = {"free": {}, "held": {}}
    for _, pair in pairs.iterrows():
        until = min(pair["steps_free"], pair["steps_held"])
        for kind, values in accuracies.items():
            run = pd.Series({"run": pair[f"run_{kind}"], "diverged_at": pair[f"diverged_at_{kind}"]})
            values[pair["seed"]] = histories.final_accuracy(run, "test_accuracy", LAST_STEPS, until)
    free, control = (pd.Series(accuracies[kind], dtype=float) for kind in ("free", "held"))
    held_diverged = diverged(held)
    part = judged(
        "Difference",
        "test accuracy, free less held norm",
        UNKNOWN if never_held or held_diverged else paired_interval(free, control, DIFFERENCE),
        least=t["difference"],
    )
    if part.verdict == "refuted" and part.high > t["no_difference"]:
        within = part.low > t["no_difference"]
        part = Part(**vars(part) | {"verdict": "mixed" if within else "undecided"})
    return [
        part,
        reported(
            "Held", "test accuracy with the norm held", UNKNOWN if held_diverged else mean_interval(control, ACCURACY)
        ),
        reported("Free", "test accuracy with the norm free, same steps", mean_interval(free, ACCURACY)),
    ], joined(
        counts(len(pairs), {"with the norm free diverged": pairs["diverged_at_free"].notna().sum()}),
        counts(
            len(held),
            {
                f"with the norm held {NO_EVIDENCE}": held_diverged,
                "never saturated, so that no norm was held": never_held,
            },
        ),
    )


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


def delay_law(histories: Histories, runs: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A10: exponents of the delay in η and λ, and the delay itself in units of 1/(ηλ).

    Reported beside: the same exponents of the step of generalising itself, counted from the start of the run. Where τ
    is so short that generalising overlaps fitting, the difference of the two says little.
    """
    table = delays(histories, every_rate(runs), t["fitted"], t["generalised"])
    table = table[between(table["weight_decay"], t["weight_decay_low"], t["weight_decay_high"])]
    usable, seeds = table.dropna(subset="delay"), table["seed"].unique()
    fits, whole = (exponents(usable, time).reindex(seeds) for time in ("delay", "generalised"))
    undetermined = int(fits.isna().any(axis=1).sum())
    timescales = usable[usable["reached"]].assign(
        count=lambda rows: rows["delay"] * rows["learning_rate"] * rows["weight_decay"]
    )
    per_seed = np.exp(np.log(timescales["count"]).groupby(timescales["seed"]).mean())
    names = {"η": "LearningRate", "λ": "WeightDecay"}
    limits = t["exponent_low"], t["exponent_high"]
    parts = [
        *(
            judged(names[symbol], f"exponent of the delay in {symbol}", every_seed(fits[symbol]), *limits)
            for symbol in names
        ),
        reported("Timescales", "delay in units of 1/(ηλ), runs that generalised", geometric_interval(per_seed)),
        *(
            reported(
                f"Whole{names[symbol]}",
                f"exponent of the step of generalising in {symbol} (looked at afterwards)",
                every_seed(whole[symbol]),
            )
            for symbol in names
        ),
    ]
    cases = table.loc[table["diverged_at"].isna(), "note"].value_counts().drop("", errors="ignore")
    too_few = f"in {undetermined} of {len(seeds)} seeds too few runs generalised to fit both exponents"
    return parts, joined(
        counts(len(table), {"diverged": diverged(table), **cases}),
        too_few if undetermined else "",
    )


def stays_fitted(histories: Histories, sweep: pd.DataFrame, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """A11: training accuracy in the window after fitting, in which A5 has the norm fall."""
    runs = select(sweep, weight_decay=t["weight_decay"])
    fit = np.array([histories.first_step(run, TRAIN, t["fitted"]) for run in runs["run"]])
    never_fitted, lost = np.isnan(fit), runs["diverged_at"].to_numpy() <= fit + t["window"]
    least, perfect = np.zeros(len(runs)), np.zeros(len(runs))  # a run that never fits or is lost: against the claim
    for index in np.flatnonzero(~never_fitted & ~lost):
        curve = histories.curve(runs["run"].iloc[index], TRAIN).loc[fit[index] : fit[index] + t["window"]]
        least[index], perfect[index] = curve.min(), (curve >= t["fitted"]).mean()
    return [
        judged(
            "Least", "least train accuracy after fitting", mean_interval(least, ACCURACY), least=t["train_accuracy"]
        ),
        reported("Perfect", f"share of logged steps at ≥ {t['fitted']:g}", mean_interval(perfect, ACCURACY)),
    ], counts(len(runs), {"diverged": diverged(runs), "never fitted": never_fitted.sum()})


def exponents(runs: pd.DataFrame, time: str) -> pd.DataFrame:
    """One fit per seed `[seeds, (η, λ, constant)]` of a column of times, censored where not `reached`.

    NaN where a seed's runs do not determine it.
    """
    fits = {
        seed: power_law({"η": rows["learning_rate"], "λ": rows["weight_decay"]}, rows[time], rows["reached"])
        for seed, rows in runs.groupby("seed")
    }
    return pd.DataFrame(fits, index=["η", "λ", "constant"]).T


def accuracy(final: Mapping[str, pd.DataFrame], metric: str, weight_decay: float) -> Estimate:
    """Final accuracy at one λ; UNKNOWN where that λ was not run."""
    table = final[metric]
    return mean_interval(table[weight_decay].dropna(), ACCURACY) if weight_decay in table else UNKNOWN


def failing(sweep: pd.DataFrame, final: Mapping[str, pd.DataFrame], metric: str, weight_decay: float) -> Estimate:
    """Final accuracy for a claim that it is low; UNKNOWN where a run diverged, as its 0 would speak for the claim."""
    return UNKNOWN if diverged(select(sweep, weight_decay=weight_decay)) else accuracy(final, metric, weight_decay)


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
