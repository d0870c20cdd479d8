"""Claims D1-D16 on double descent, judged by the criteria of config.yaml.

Each quantity is one number per seed, with a 95 % interval over seeds. A run's final value is the mean over its last
tenth. Peaks, first minima and rises are chosen on the other seeds (weightdecay.statistics.shapes), λ on the validation
split. A diverged run has no loss, so quantities that need it are unknown.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from weightdecay.claims.judging import NOT_RUN, counts, distinct, joined, judge_interval, judged, reported
from weightdecay.claims.model import Part
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
    first_falls,
    first_minimum,
    first_rises,
    largest_rises,
    last_falls,
    peak,
)

from . import exact, finding, over_time  # noqa: F401 (the claims of exact and over_time)
from .sweeps import Sweep, Sweeps, effect, error_added, peaks_and_thresholds, region_tables


@finding.claim("D1")
def descends(sweeps: Sweeps, *, first: float, second: float, error: float, descent: float) -> tuple[list[Part], str]:
    """Test error and loss of an MLP fall, rise to a peak and fall again against width."""
    return both_protocols(sweeps.notebook, sweeps.main, first, second, error, descent)


@finding.claim("D10")
def cnn_descends(
    sweeps: Sweeps, *, first: float, second: float, error: float, descent: float
) -> tuple[list[Part], str]:
    """Test error and loss of a CNN fall, rise to a peak and fall again against its channels."""
    return both_protocols(sweeps.cnn, sweeps.small_cnn, first, second, error, descent)


def both_protocols(
    notebook: Sweep, small: Sweep, first: float, second: float, error: float, descent: float
) -> tuple[list[Part], str]:
    """Judge fall, rise and second fall of test error and of test loss, under each protocol that was run."""
    of_both = {"error": error, "first": first, "second": second, "least": descent}
    parts = double_descent(notebook, "Notebook", "notebook", **of_both) if notebook else []
    return parts + double_descent(small, "", "small", **of_both), joined(
        places(notebook, "notebook") if notebook else f"the notebook's protocol: {NOT_RUN}",
        places(small, "small"),
        counts(len(small.runs) + len(notebook.runs), {"diverged": diverged(small.runs) + diverged(notebook.runs)}),
    )


@finding.claim("D2")
def peak_at_threshold(
    sweeps: Sweeps, *, tolerance: float, step: float, low: float, high: float
) -> tuple[list[Part], str]:
    """The peak is where training loss reaches zero, and moves with it.

    Reported beside it are the other numbers of samples, the widths at which training error reaches zero, and the
    notebook's protocol.
    """
    main, notebook = sweeps.main, sweeps.notebook
    found = peaks_and_thresholds(sweeps.results, tolerance)
    ratios = np.log(found["peak"] / found["threshold"]).unstack("seed")  # [n, seeds]
    samples = int(main.runs["train_size"].iloc[0]) if main else 0
    sizes = [*([samples] if samples in ratios.index else []), *(n for n in ratios.index if n != samples)]
    own = ratios.loc[samples] if samples in ratios.index else pd.Series(dtype=float)
    slopes = np.log(found).groupby("seed").apply(slope) if len(ratios) >= 3 else pd.Series(dtype=float)
    return [
        judged("Ratio", "peak's width over threshold", ratio_interval(own), 1 / step, step),
        judged("Slope", "power of the threshold that the peak goes as", every_seed(slopes), low, high),
        *(
            reported(f"{kind.title()}{letter}", f"{what}, n = {n}", widths(found.loc[n, kind]))
            for letter, n in zip(("", *"ABCDEF"), sizes, strict=False)
            for kind, what in (("peak", "width of the peak"), ("threshold", "width of the threshold"))
        ),
        *(
            reported(f"Ratio{letter}", f"peak's width over threshold, n = {n}", ratio_interval(ratios.loc[n]))
            for letter, n in zip("ABCDEF", sizes[1:], strict=False)
        ),
        fitted("", f"n = {samples}", main, tolerance),
        *(notebook_places(notebook, tolerance) if notebook else []),
    ], joined(
        f"training samples: {', '.join(str(n) for n in ratios.index)}",
        *(
            f"at n = {n}, which is not judged, the ratio is outside the factor {step:g}"
            for n in sizes[1:]
            if judge_interval(ratio_interval(ratios.loc[n]), 1 / step, step) == "refuted"
        ),
        "" if len(ratios) >= 3 else "fewer than 3 numbers of training samples",
        "in some seeds no width reaches the threshold" if found["threshold"].isna().any() else "",
    )


def notebook_places(notebook: Sweep, tolerance: float) -> list[Part]:
    """Report where the notebook's training error and training loss reach zero, and where its test loss peaks."""
    return [
        fitted("Notebook", "notebook", notebook, tolerance),
        reported("NotebookThreshold", "width of the threshold, notebook", widths(notebook.thresholds(tolerance))),
        reported("NotebookPeak", "width of the peak, notebook", widths(notebook.peaks())),
    ]


@finding.claim("D3")
def noise_makes_it(sweeps: Sweeps, *, raised: float, flat: float, flat_error: float) -> tuple[list[Part], str]:
    """Noisy labels raise the peak, and clean labels flatten it: under each protocol that was run."""
    parts = []
    if sweeps.notebook and sweeps.notebook_clean:
        parts += noise(sweeps.notebook, sweeps.notebook_clean, "Notebook", "notebook", raised, flat, flat_error)
    parts += noise(sweeps.main, sweeps.clean, "", "small", raised, flat, flat_error)
    runs = pd.concat([sweeps.clean.runs, sweeps.notebook_clean.runs])
    return parts, joined(
        "" if sweeps.notebook_clean else f"the notebook's protocol with clean labels: {NOT_RUN}",
        counts(len(runs), {"with clean labels diverged": diverged(runs)}),
    )


def noise(
    with_noise: Sweep, clean: Sweep, name: str, protocol: str, raised: float, flat: float, flat_error: float
) -> list[Part]:
    """Judge under one protocol the peak with clean labels in error and loss, and how much noise raises that of loss."""
    loss, error = np.log(clean.final("test_loss")), clean.final("test_error")
    noisy_loss = np.log(with_noise.final("test_loss")).reindex(columns=loss.columns)
    noisy_error = with_noise.final("test_error").reindex(columns=error.columns)
    risen, noisy_risen = first_rises(error), first_rises(noisy_error)
    higher = last_falls(noisy_loss) - last_falls(loss)
    labelled = "peak less first minimum"
    return [
        judged(
            f"{name}FlatError",
            f"{protocol}, clean: error, {labelled}",
            every_seed(risen, DIFFERENCE),
            most=flat_error,
        ),
        judged(
            f"{name}Flat",
            f"{protocol}, clean: loss, peak over first minimum",
            ratio_interval(first_rises(loss)),
            most=flat,
        ),
        judged(
            f"{name}Raised",
            f"{protocol}: loss, peak over widest, noisy over clean labels",
            ratio_interval(higher),
            least=raised,
        ),
        reported(f"{name}CleanSecond", f"{protocol}, clean: loss, peak over widest", ratio_interval(last_falls(loss))),
        reported(f"{name}Noisy", f"{protocol}, noisy: error, {labelled}", every_seed(noisy_risen, DIFFERENCE)),
        reported(
            f"{name}More",
            f"{protocol}: error, {labelled}, noisy less clean labels",
            every_seed(noisy_risen - risen, DIFFERENCE),
        ),
    ]


@finding.claim("D5")
def helps_wide(sweeps: Sweeps, *, helps: float, tolerance: float, factor: float) -> tuple[list[Part], str]:
    """The single best λ gains most where the network is over-parameterised."""
    main = sweeps.main
    regions, choice = region_tables(main, tolerance, factor), main.single()
    gains = {name: effect(main, choice, among) for name, among in regions.items()}
    return [
        judged("Over", "loss without over with decay, over-parameterised", ratio_interval(gains["over"]), least=helps),
        judged(
            "OverUnder",
            "the same over that where under-parameterised",
            ratio_interval(gains["over"] - gains["under"]),
            1.0,
        ),
        judged("OverNear", "the same over that near the threshold", ratio_interval(gains["over"] - gains["near"]), 1.0),
        reported("Under", "loss without over with decay, under-parameterised", ratio_interval(gains["under"])),
        reported("Near", "loss without over with decay, near the threshold", ratio_interval(gains["near"])),
    ], joined(f"single λ: {distinct(choice)}", missing_regions(regions))


@finding.claim("D6")
def harms_narrow(sweeps: Sweeps, *, harm: float, tolerance: float, factor: float) -> tuple[list[Part], str]:
    """The λ that suits wide networks harms under-parameterised networks."""
    main = sweeps.main
    regions = region_tables(main, tolerance, factor)
    choice = main.single(regions["over"])
    ratio = -effect(main, choice, regions["under"])
    narrowest = regions["under"].copy()
    narrowest.iloc[:, 1:] = False
    return [
        judged("Harm", "loss with over without decay, under-parameterised", ratio_interval(ratio), least=harm),
        reported("Narrowest", "the same at the narrowest", ratio_interval(-effect(main, choice, narrowest))),
        reported(
            "Error",
            "test error with less without decay, under-parameterised",
            every_seed(error_added(main, choice, regions["under"]), DIFFERENCE),
        ),
    ], joined(f"λ best where over-parameterised: {distinct(choice)}", missing_regions(regions))


@finding.claim("D16")
def harms_underfit(
    sweeps: Sweeps, *, harm: float, error: float, tolerance: float, factor: float
) -> tuple[list[Part], str]:
    """The λ that suits wide networks harms networks that underfit."""
    main = sweeps.main
    choice, table = main.single(region_tables(main, tolerance, factor)["over"]), main.final("test_error")
    first = minima(table)
    underfit = pd.DataFrame({width: width <= first for width in table.columns}).reindex(table.index, fill_value=False)
    return [
        judged(
            "Loss",
            "loss with over without decay, where underfitting",
            ratio_interval(-effect(main, choice, underfit)),
            least=harm,
        ),
        judged(
            "Error",
            "test error with less without decay, where underfitting",
            every_seed(error_added(main, choice, underfit), DIFFERENCE),
            least=error,
        ),
        reported("First", "width of the first minimum of test error", widths(first)),
    ], f"λ best where over-parameterised: {distinct(choice)}"


@finding.claim("D7")
def tuned_per_width(sweeps: Sweeps, *, rise: float, removed: float) -> tuple[list[Part], str]:
    """With λ tuned for each width there is no peak.

    The notebook's protocol with decay, which is our addition, is reported beside it.
    """
    main, notebook, errors = sweeps.main, sweeps.notebook, sweeps.main.finals("test_error")
    tuned_rise, peak_left, rise_without = tuning(main)
    parts = [
        judged("Rise", "tuned: largest rise of test loss with width", tuned_rise, most=rise),
        judged("Removed", "at the peak: test loss, tuned over no decay", peak_left, most=removed),
        reported("RiseWithout", "no decay: largest rise of test loss", rise_without),
        *(
            reported(
                f"ErrorRise{by.title()}",
                f"λ tuned by validation {by}: largest rise of test error",
                every_seed(largest_rises(at_settings(errors, main.tuned(f"validation_{by}"))), DIFFERENCE),
            )
            for by in ("error", "loss")
        ),
    ]
    if len(notebook.weight_decays) > 1:
        tuned_rise, peak_left, rise_without = tuning(notebook)
        parts += [
            reported("NotebookRise", "notebook, tuned: largest rise of test loss", tuned_rise),
            reported("NotebookRemoved", "notebook, at the peak: test loss, tuned over no decay", peak_left),
            reported("NotebookRiseWithout", "notebook, no decay: largest rise of test loss", rise_without),
            reported(
                "NotebookErrorRise",
                "notebook, λ tuned by validation error: largest rise of test error",
                every_seed(
                    largest_rises(at_settings(notebook.finals("test_error"), notebook.tuned("validation_error"))),
                    DIFFERENCE,
                ),
            ),
        ]
    return parts, f"median tuned λ: {', '.join(f'{λ:g} at h = {h}' for h, λ in main.tuned().median().dropna().items())}"


def tuning(sweep: Sweep) -> tuple[Estimate, Estimate, Estimate]:
    """Return three estimates of test loss.

    They are its largest rise with λ tuned for each width, its ratio at the peak with tuned λ to that without decay, and
    its largest rise without decay.
    """
    without = np.log(sweep.final("test_loss"))
    tuned = np.log(at_settings(sweep.finals("test_loss"), sweep.tuned()))
    removed = at_largest(without, tuned - without)
    return ratio_interval(largest_rises(tuned)), ratio_interval(removed), ratio_interval(largest_rises(without))


@finding.claim("D8")
def one_for_all(sweeps: Sweeps, *, regret: float, rise: float) -> tuple[list[Part], str]:
    """With the single best λ test loss still rises, and another λ beats it at some width.

    The λ with the smallest rise is reported beside it.
    """
    main = sweeps.main
    test, choice = main.finals("test_loss"), main.single()
    tuned = np.log(at_settings(test, main.tuned()))
    rises = {λ: ratio_interval(largest_rises(np.log(table))) for λ, table in test.items()}
    flattest = min(rises, key=lambda λ: np.nan_to_num(rises[λ].value, nan=np.inf), default=0.0)
    rises, test = {flattest: UNKNOWN} | rises, {flattest: tuned} | test

    def over_tuned(logs: pd.DataFrame) -> Estimate:
        return ratio_interval(at_largest(logs - tuned, logs - tuned))

    single, flat = np.log(at_settings(test, choice)), np.log(test[flattest])
    return [
        judged("Regret", "single over tuned λ, at its worst width", over_tuned(single), least=regret),
        judged("Rise", "single λ: largest rise of test loss with width", ratio_interval(largest_rises(single)), rise),
        reported("Flattest", f"λ = {flattest:g}, the flattest: largest rise of test loss", rises[flattest]),
        reported("FlattestRegret", f"λ = {flattest:g} over tuned λ, at its worst width", over_tuned(flat)),
        *(
            reported(f"Rise{letter}", f"λ = {λ:g}: largest rise of test loss", rises[λ])
            for letter, λ in zip("ABCDEFGHIJKL", (λ for λ in rises if λ != flattest), strict=False)
        ),
    ], f"single λ: {distinct(choice)}"


@finding.claim("D13")
def sweet_spot(
    sweeps: Sweeps, *, tolerance: float, loss: float, error: float, memorised: float
) -> tuple[list[Part], str]:
    """At the threshold, a tuned λ does as well as the best of all widths without decay, and memorises less."""
    main = sweeps.main
    known = main.thresholds(tolerance).dropna()
    nearest = known.map(lambda place: min(main.widths, key=lambda width: abs(np.log(width / place))))

    def there(table: pd.DataFrame) -> pd.Series:
        """Return per seed the value at the width nearest to its threshold; NaN if it has no threshold."""
        found = {seed: table[width].get(seed, np.nan) for seed, width in nearest.items() if width in table.columns}
        return pd.Series(found, dtype=float).reindex(table.index)

    def tuned(metric: str, by: str) -> pd.Series:
        return there(at_settings(main.finals(metric), main.tuned(by)))

    losses, errors = np.log(main.final("test_loss")), main.final("test_error")
    best_loss, best_error = (
        leave_one_out(table, lambda others, own: own[others.idxmin()]) for table in (losses, errors)
    )
    forgotten = tuned("train_error", "validation_loss") - there(main.final("train_error"))
    tuned_loss, tuned_error = tuned("test_loss", "validation_loss"), tuned("test_error", "validation_error")
    return [
        judged(
            "Loss", "test loss, tuned, over the best width's", ratio_interval(np.log(tuned_loss) - best_loss), most=loss
        ),
        judged(
            "Error",
            "test error, tuned, less the best width's",
            every_seed(tuned_error - best_error, DIFFERENCE),
            most=error,
        ),
        judged("Memorised", "training error, tuned less no decay", every_seed(forgotten, DIFFERENCE), least=memorised),
        reported(
            "LossWithout", "test loss, no decay, over the best width's", ratio_interval(there(losses) - best_loss)
        ),
        reported(
            "ErrorWithout",
            "test error, no decay, less the best width's",
            every_seed(there(errors) - best_error, DIFFERENCE),
        ),
        reported(
            "TrainError",
            "training error, tuned by validation error",
            every_seed(tuned("train_error", "validation_error"), ACCURACY),
        ),
    ], joined(
        f"width {', '.join(f'{width:g}' for width in sorted(set(nearest)))}" if len(nearest) else "",
        f"lowest on average at width {losses.mean().idxmin()} (loss) and {errors.mean().idxmin()} (error)"
        if losses.notna().any(axis=None) and errors.notna().any(axis=None)
        else "",
        "in some seeds no width reaches the threshold" if len(nearest) < len(losses) else "",
    )


def fitted(name: str, where: str, sweep: Sweep, tolerance: float) -> Part:
    """Return a part with the width at which the training error, rather than the loss, falls to the tolerance."""
    return reported(f"{name}Fitted", f"width of training error {tolerance:g}, {where}", widths(sweep.fitted(tolerance)))


def double_descent(
    sweep: Sweep, name: str, protocol: str, *, error: float, first: float, second: float, least: float
) -> list[Part]:
    """Judge first fall, rise to the peak and second fall of test error and test loss; report where they are."""
    losses, errors = (sweep.final(metric) if sweep else pd.DataFrame() for metric in ("test_loss", "test_error"))
    logs, mean, at = np.log(losses), errors.mean(), {}
    if mean.notna().any():
        at = {"First minimum": first_minimum(mean), "Peak": peak(mean), "Widest": mean.index[-1]}
    moves = {
        "Descent": ("narrowest", "first minimum", first_falls, least),
        "Rise": ("peak", "first minimum", first_rises, first),
        "Fall": ("peak", "widest", last_falls, second),
    }
    return [
        *(
            judged(
                f"{name}Error{move}",
                f"{protocol}: error, {top} less {bottom}",
                every_seed(height(errors), DIFFERENCE),
                error,
            )
            for move, (top, bottom, height, _) in moves.items()
        ),
        *(
            judged(f"{name}{move}", f"{protocol}: loss, {top} over {bottom}", ratio_interval(height(logs)), bound)
            for move, (top, bottom, height, bound) in moves.items()
        ),
        *(
            reported(
                f"{name}Error{what.split()[0]}",
                f"{protocol}: test error, {what.lower()} (h = {width})",
                every_seed(errors[width]),
            )
            for what, width in at.items()
        ),
        *(
            reported(
                f"{name}{word}Minimum", f"{protocol}: width of the first minimum of test {kind}", widths(minima(table))
            )
            for word, kind, table in (("", "loss", logs), ("Error", "error", errors))
            if sweep
        ),
    ]


def widths(per_seed: pd.Series) -> Estimate:
    """Return the geometric mean and interval of a width per seed."""
    return ratio_interval(np.log(per_seed))


def minima(curves: pd.DataFrame) -> pd.Series:
    """Return per seed the width of the other seeds' first minimum."""
    return leave_one_out(curves, lambda others, own: float(first_minimum(others)))


def slope(logs: pd.DataFrame) -> float:
    known = len(logs) > 2 and logs.notna().all(axis=None)
    return float(np.polyfit(logs["threshold"], logs["peak"], 1)[0]) if known else np.nan


def places(sweep: Sweep, protocol: str) -> str:
    loss, error = np.log(sweep.final("test_loss")).mean(), sweep.final("test_error").mean()
    found = ((name, first_minimum(mean), peak(mean)) for name, mean in (("error", error), ("loss", loss)))
    words = "{}, test {}: first minimum at h = {}, peak at h = {}"
    return joined(*(words.format(protocol, *each) for each in found if not np.isnan(each[1])))


def missing_regions(regions: Mapping[str, pd.DataFrame]) -> str:
    empty = [name for name, among in regions.items() if not among.any(axis=1).all()]
    return f"in some seeds no width is {' or '.join(empty)} by the threshold" if empty else ""
