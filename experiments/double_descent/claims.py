"""Claims D1-D16 on double descent, judged by the criteria of config.yaml.

One estimate per seed, then a 95 % interval over seeds. A run's final value is the mean over its last tenth. Peaks,
first minima and rises are chosen on the other seeds (weightdecay.statistics.shapes), λ on the validation split. A
diverged run has no loss: what needs it is unknown.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weightdecay.claims import model as ledger
from weightdecay.claims.model import NOT_RUN, Claim, Part, counts, joined, judged, reported
from weightdecay.statistics.estimates import (
    ACCURACY,
    DIFFERENCE,
    UNKNOWN,
    Estimate,
    every_seed,
    leave_one_out,
    ratio_interval,
)
from weightdecay.statistics.measures import diverged
from weightdecay.statistics.shapes import (
    at_largest,
    at_settings,
    first_minimum,
    first_rises,
    largest_rises,
    last_falls,
    peak,
)

from .exact import bumpy, without_training
from .over_time import hovers, over_epochs, over_time, steadier
from .sweeps import Sweep, effect, error_added, peaks_and_thresholds, region_tables, values

EXPERIMENT = "double_descent"
VALIDATION = ("validation_loss", "validation_error")


def judge(results: Any, criteria: Mapping[str, Any]) -> list[Claim]:
    """The sixteen claims, in order."""
    threshold = {id: words.thresholds for id, words in criteria.items()}
    main, clean = Sweep(results, "width"), Sweep(results, "clean")
    notebook = {noise: Sweep(results, "notebook", label_noise=noise) for noise in (0.15, 0.0)}
    parts = {
        "D1": both_protocols(main, notebook[0.15], threshold["D1"]),
        "D2": peak_at_threshold(results, main, notebook[0.15], threshold["D2"]),
        "D3": noise_makes_it(main, clean, notebook, threshold["D3"]),
        "D4": over_time(main, threshold["D4"]),
        "D5": helps_wide(main, threshold["D5"]),
        "D6": harms_narrow(main, threshold["D6"]),
        "D7": tuned_per_width(main, notebook[0.15], threshold["D7"]),
        "D8": one_for_all(main, threshold["D8"]),
        "D9": without_training(results.tables["random_features"], threshold["D9"]),
        "D10": both_protocols(Sweep(results, "small_cnn"), Sweep(results, "cnn"), threshold["D10"]),
        "D11": over_epochs(main, threshold["D11"]),
        "D12": steadier(main, threshold["D12"]),
        "D13": sweet_spot(main, threshold["D13"]),
        "D14": bumpy(results.tables["random_features"], threshold["D14"]),
        "D15": hovers(main, threshold["D15"]),
        "D16": harms_underfit(main, threshold["D16"]),
    }
    return [ledger.claim(id, EXPERIMENT, criteria, *found) for id, found in parts.items()]


def both_protocols(small: Sweep, notebook: Sweep, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """D1, D10: a first minimum, a peak, a second descent; under the notebook's protocol too where that was run."""
    parts = descent(small, t)
    if notebook:
        parts += descent(notebook, t, "Notebook", ", notebook")
    return parts, joined(
        places(small),
        "" if notebook else f"the notebook's protocol: {NOT_RUN}",
        counts(len(small.runs) + len(notebook.runs), {"diverged": diverged(small.runs) + diverged(notebook.runs)}),
    )


def peak_at_threshold(results: Any, main: Sweep, notebook: Sweep, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """D2: the peak stands where training loss reaches zero, and moves with it; the notebook's is reported beside."""
    found = peaks_and_thresholds(results, t["tolerance"])
    ratios = np.log(found["peak"] / found["threshold"]).unstack("seed")  # [n, seeds]
    samples = int(main.runs["train_size"].iloc[0]) if main else 0
    sizes = [*([samples] if samples in ratios.index else []), *(n for n in ratios.index if n != samples)]
    own = ratios.loc[samples] if samples in ratios.index else pd.Series(dtype=float)
    slopes = np.log(found).groupby("seed").apply(slope) if len(ratios) >= 3 else pd.Series(dtype=float)
    return [
        judged("Ratio", "peak's width over threshold", ratio_interval(own), 1 / t["step"], t["step"]),
        judged("Slope", "power of the threshold that the peak goes as", every_seed(slopes), t["low"], t["high"]),
        *(
            reported(f"{kind.title()}{letter}", f"{what}, n = {n}", widths(found.loc[n, kind]))
            for letter, n in zip(("", *"ABCDEF"), sizes, strict=False)
            for kind, what in (("peak", "width of the peak"), ("threshold", "width of the threshold"))
        ),
        *(
            reported(f"Ratio{letter}", f"peak's width over threshold, n = {n}", ratio_interval(ratios.loc[n]))
            for letter, n in zip("ABCDEF", sizes[1:], strict=False)
        ),
        fitted("", f"n = {samples}", main, t["tolerance"]),
        *([fitted("Notebook", "notebook", notebook, t["tolerance"])] if notebook else []),
        *([reported("NotebookPeak", "width of the peak, notebook", widths(notebook.peaks()))] if notebook else []),
    ], joined(
        f"training samples: {', '.join(str(n) for n in ratios.index)}",
        "" if len(ratios) >= 3 else "fewer than 3 numbers of training samples",
        "in some seeds no width reaches the threshold" if found["threshold"].isna().any() else "",
    )


def noise_makes_it(
    main: Sweep, clean: Sweep, notebook: Mapping[float, Sweep], t: Mapping[str, float]
) -> tuple[list[Part], str]:
    """D3: noisy labels raise the peak, clean ones flatten it; the notebook's protocol is reported beside."""
    loss, error = np.log(clean.final("test_loss")), clean.final("test_error")
    raised = last_falls(np.log(main.final("test_loss")).reindex(columns=loss.columns)) - last_falls(loss)
    parts = [
        judged("Raised", "peak over widest, noisy over clean labels", ratio_interval(raised), least=t["raised"]),
        judged("Flat", "clean: loss, peak over first minimum", ratio_interval(first_rises(loss)), most=t["flat"]),
        judged(
            "FlatError",
            "clean: error, peak less first minimum",
            every_seed(first_rises(error), DIFFERENCE),
            most=t["flat_error"],
        ),
        reported("CleanSecond", "clean: loss, peak over widest", ratio_interval(last_falls(loss))),
    ]
    if all(notebook.values()):
        parts += [
            reported(
                f"Notebook{kind}",
                f"notebook, {kind.lower()}: error, peak less first minimum",
                every_seed(first_rises(notebook[noise].final("test_error")), DIFFERENCE),
            )
            for kind, noise in (("Noisy", 0.15), ("Clean", 0.0))
        ]
    return parts, counts(len(clean.runs), {"with clean labels diverged": diverged(clean.runs)})


def helps_wide(main: Sweep, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """D5: what the single best λ gains, by region."""
    regions, choice = region_tables(main, t), main.single()
    gains = {name: effect(main, choice, among) for name, among in regions.items()}
    return [
        judged(
            "Over", "loss without over with decay, over-parameterised", ratio_interval(gains["over"]), least=t["helps"]
        ),
        judged(
            "OverUnder",
            "the same over that where under-parameterised",
            ratio_interval(gains["over"] - gains["under"]),
            1.0,
        ),
        judged("OverNear", "the same over that near the threshold", ratio_interval(gains["over"] - gains["near"]), 1.0),
        reported("Under", "loss without over with decay, under-parameterised", ratio_interval(gains["under"])),
        reported("Near", "loss without over with decay, near the threshold", ratio_interval(gains["near"])),
    ], joined(f"single λ: {values(choice)}", missing_regions(regions))


def harms_narrow(main: Sweep, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """D6: what the λ that suits wide networks does to narrow ones."""
    regions = region_tables(main, t)
    choice = main.single(regions["over"])
    ratio = -effect(main, choice, regions["under"])
    narrowest = regions["under"].copy()
    narrowest.iloc[:, 1:] = False
    return [
        judged("Harm", "loss with over without decay, under-parameterised", ratio_interval(ratio), least=t["harm"]),
        reported("Narrowest", "the same at the narrowest", ratio_interval(-effect(main, choice, narrowest))),
        reported(
            "Error",
            "test error with less without decay, under-parameterised",
            every_seed(error_added(main, choice, regions["under"]), DIFFERENCE),
        ),
    ], joined(f"λ best where over-parameterised: {values(choice)}", missing_regions(regions))


def harms_underfit(main: Sweep, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """D16: what the λ that suits wide networks does to those that underfit."""
    choice, error = main.single(region_tables(main, t)["over"]), main.final("test_error")
    first = minima(error)
    underfit = pd.DataFrame({width: width <= first for width in error.columns}).reindex(error.index, fill_value=False)
    return [
        judged(
            "Loss",
            "loss with over without decay, where underfitting",
            ratio_interval(-effect(main, choice, underfit)),
            least=t["harm"],
        ),
        judged(
            "Error",
            "test error with less without decay, where underfitting",
            every_seed(error_added(main, choice, underfit), DIFFERENCE),
            least=t["error"],
        ),
        reported("First", "width of the first minimum of test error", widths(first)),
    ], f"λ best where over-parameterised: {values(choice)}"


def tuned_per_width(main: Sweep, notebook: Sweep, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """D7: with λ tuned per width there is no peak; the notebook's protocol with decay, our addition, beside it."""
    rise, removed, rise_without = tuning(main)
    errors = {metric: at_settings(main.finals("test_error"), main.tuned(metric)) for metric in VALIDATION}
    parts = [
        judged("Rise", "tuned: largest rise of test loss with width", rise, most=t["rise"]),
        judged("Removed", "at the peak: test loss, tuned over no decay", removed, most=t["removed"]),
        reported("RiseWithout", "no decay: largest rise of test loss", rise_without),
        *(
            reported(
                f"ErrorRise{by.title()}",
                f"λ tuned by validation {by}: largest rise of test error",
                every_seed(largest_rises(errors[f"validation_{by}"]), DIFFERENCE),
            )
            for by in ("error", "loss")
        ),
    ]
    if len(notebook.weight_decays) > 1:
        rise, removed, rise_without = tuning(notebook)
        parts += [
            reported("NotebookRise", "notebook, tuned: largest rise of test loss", rise),
            reported("NotebookRemoved", "notebook, at the peak: test loss, tuned over no decay", removed),
            reported("NotebookRiseWithout", "notebook, no decay: largest rise of test loss", rise_without),
        ]
    return parts, f"median tuned λ: {', '.join(f'{λ:g} at h = {h}' for h, λ in main.tuned().median().dropna().items())}"


def tuning(sweep: Sweep) -> tuple[Estimate, Estimate, Estimate]:
    """Of test loss: its largest rise, λ tuned per width; at the peak, tuned over not; its largest rise, no decay."""
    without = np.log(sweep.final("test_loss"))
    tuned = np.log(at_settings(sweep.finals("test_loss"), sweep.tuned()))
    removed = at_largest(without, tuned - without)
    return ratio_interval(largest_rises(tuned)), ratio_interval(removed), ratio_interval(largest_rises(without))


def one_for_all(main: Sweep, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """D8: the single best λ leaves a rise, and is beaten at some width. The flattest λ of all is reported beside it."""
    test, choice = main.finals("test_loss"), main.single()
    tuned = np.log(at_settings(test, main.tuned()))
    rises = {λ: ratio_interval(largest_rises(np.log(table))) for λ, table in test.items()}
    flattest = min(rises, key=lambda λ: np.nan_to_num(rises[λ].value, nan=np.inf), default=0.0)
    rises, test = {flattest: UNKNOWN} | rises, {flattest: tuned} | test

    def regret(losses: pd.DataFrame) -> Estimate:
        behind = np.log(losses) - tuned
        return ratio_interval(at_largest(behind, behind))

    single = at_settings(test, choice)
    rise = ratio_interval(largest_rises(np.log(single)))
    return [
        judged("Regret", "single over tuned λ, at its worst width", regret(single), least=t["regret"]),
        judged("Rise", "single λ: largest rise of test loss with width", rise, least=t["rise"]),
        reported("Flattest", f"λ = {flattest:g}, the flattest: largest rise of test loss", rises[flattest]),
        reported("FlattestRegret", f"λ = {flattest:g} over tuned λ, at its worst width", regret(test[flattest])),
        *(
            reported(f"Rise{letter}", f"λ = {λ:g}: largest rise of test loss", rises[λ])
            for letter, λ in zip("ABCDEFGHIJKL", (λ for λ in rises if λ != flattest), strict=False)
        ),
    ], f"single λ: {values(choice)}"


def sweet_spot(main: Sweep, t: Mapping[str, float]) -> tuple[list[Part], str]:
    """D13: at the threshold, the λ tuned there against the best of all widths without decay."""
    nearest = pd.Series(
        {
            seed: min(main.widths, key=lambda width, place=place: abs(np.log(width / place)))
            for seed, place in main.thresholds(t["tolerance"]).items()
            if np.isfinite(place)
        },
        dtype=float,
    )

    def there(table: pd.DataFrame) -> pd.Series:
        """Per seed the value at the width nearest to its threshold; NaN where it has none."""
        found = {seed: table[width].get(seed, np.nan) for seed, width in nearest.items() if width in table.columns}
        return pd.Series(found, dtype=float).reindex(table.index)

    def tuned(metric: str, by: str) -> pd.Series:
        return there(at_settings(main.finals(metric), main.tuned(by)))

    loss, error = np.log(main.final("test_loss")), main.final("test_error")
    best_loss, best_error = (leave_one_out(table, lambda others, own: own[others.idxmin()]) for table in (loss, error))
    memorised = tuned("train_error", "validation_loss") - there(main.final("train_error"))
    tuned_loss, tuned_error = tuned("test_loss", "validation_loss"), tuned("test_error", "validation_error")
    return [
        judged(
            "Loss",
            "test loss, tuned, over the best width's",
            ratio_interval(np.log(tuned_loss) - best_loss),
            most=t["loss"],
        ),
        judged(
            "Error",
            "test error, tuned, less the best width's",
            every_seed(tuned_error - best_error, DIFFERENCE),
            most=t["error"],
        ),
        judged(
            "Memorised", "training error, tuned less no decay", every_seed(memorised, DIFFERENCE), least=t["memorised"]
        ),
        reported("LossWithout", "test loss, no decay, over the best width's", ratio_interval(there(loss) - best_loss)),
        reported(
            "ErrorWithout",
            "test error, no decay, less the best width's",
            every_seed(there(error) - best_error, DIFFERENCE),
        ),
        reported(
            "TrainError",
            "training error, tuned by validation error",
            every_seed(tuned("train_error", "validation_error"), ACCURACY),
        ),
    ], joined(
        f"width {', '.join(f'{width:g}' for width in sorted(set(nearest)))}" if len(nearest) else "",
        f"lowest on average at width {loss.mean().idxmin()} (loss) and {error.mean().idxmin()} (error)"
        if loss.notna().any(axis=None) and error.notna().any(axis=None)
        else "",
        "in some seeds no width reaches the threshold" if len(nearest) < len(loss) else "",
    )


def fitted(name: str, where: str, sweep: Sweep, tolerance: float) -> Part:
    """Where the training error, rather than the loss, falls to the tolerance."""
    return reported(f"{name}Fitted", f"width of training error {tolerance:g}, {where}", widths(sweep.fitted(tolerance)))


def descent(sweep: Sweep, t: Mapping[str, float], name: str = "", label: str = "") -> list[Part]:
    """First rise and last fall of test loss and error, judged; the errors at the three places, reported."""
    nothing = pd.DataFrame()
    loss, error = (sweep.final("test_loss"), sweep.final("test_error")) if sweep else (nothing, nothing)
    mean = error.mean()
    last = mean.index[-1] if len(mean) else np.nan
    places = {"First": first_minimum(mean), "Peak": peak(mean), "Widest": last}
    places = places if mean.notna().any() else {}
    words = {"First": "first minimum", "Peak": "peak", "Widest": "widest"}
    least = {"least": t["error"]}
    return [
        judged(
            f"{name}Rise",
            f"loss, peak over first minimum{label}",
            ratio_interval(first_rises(np.log(loss))),
            t["first"],
        ),
        judged(f"{name}Fall", f"loss, peak over widest{label}", ratio_interval(last_falls(np.log(loss))), t["second"]),
        judged(
            f"{name}ErrorRise",
            f"error, peak less first minimum{label}",
            every_seed(first_rises(error), DIFFERENCE),
            **least,
        ),
        judged(
            f"{name}ErrorFall", f"error, peak less widest{label}", every_seed(last_falls(error), DIFFERENCE), **least
        ),
        *(
            reported(f"{name}Error{key}", f"test error, {words[key]} (h = {width}){label}", every_seed(error[width]))
            for key, width in places.items()
        ),
        *(
            reported(f"{name}{word}Minimum", f"width of the first minimum of test {kind}{label}", widths(minima(table)))
            for word, kind, table in (("", "loss", np.log(loss)), ("Error", "error", error))
            if sweep
        ),
    ]


def widths(per_seed: pd.Series) -> Estimate:
    """Geometric mean and interval of a width per seed."""
    return ratio_interval(np.log(per_seed))


def minima(curves: pd.DataFrame) -> pd.Series:
    """Per seed the width of the other seeds' first minimum."""
    return leave_one_out(curves, lambda others, own: float(first_minimum(others)))


def slope(logs: pd.DataFrame) -> float:
    known = len(logs) > 2 and logs.notna().all(axis=None)
    return float(np.polyfit(logs["threshold"], logs["peak"], 1)[0]) if known else np.nan


def places(main: Sweep) -> str:
    loss, error = np.log(main.final("test_loss")).mean(), main.final("test_error").mean()
    found = ((name, first_minimum(mean), peak(mean)) for name, mean in (("loss", loss), ("error", error)))
    words = "test {}: first minimum at h = {}, peak at h = {}"
    return joined(*(words.format(*each) for each in found if not np.isnan(each[1])))


def missing_regions(regions: Mapping[str, pd.DataFrame]) -> str:
    empty = [name for name, among in regions.items() if not among.any(axis=1).all()]
    return f"in some seeds no width is {' or '.join(empty)} by the threshold" if empty else ""


if __name__ == "__main__":
    ledger.main(judge, Path(__file__).with_name("config.yaml"))
