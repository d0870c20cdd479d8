"""A comparison of two sets of results as text: first the contradictions, then every claim and every metric."""

from collections.abc import Iterator

import numpy as np

from weightdecay import terminal
from weightdecay.report.numbers import PLAIN
from weightdecay.workflow.comparison import SAME, STAGES, Comparison

MOST_LISTED = 10  # of each kind of contradiction


def comparison_text(comparison: Comparison) -> str:
    """Return the comparison as text for the terminal."""
    compared = f"{len(comparison.parts)} judged quantities, {len(comparison.curves)} points of curves"
    return "\n".join(
        [
            f"{comparison.contradictions or 'No'} contradictions in {compared}.",
            *(f"contradicts: {found}." for found in _contradictions(comparison)),
            *(f"note: {note}." for note in comparison.notes),
            "",
            _claims(comparison),
            "",
            _curves(comparison),
        ]
    )


def _contradictions(comparison: Comparison) -> Iterator[str]:
    for row in comparison.parts[comparison.parts["contradicts"]].itertuples():
        ends = f"{PLAIN.interval(row.here)}, was {PLAIN.interval(row.shipped)}"
        yield f"{row.id}, part {row.part}: {ends}, p = {row.adjusted:.1g}"
    yield from comparison.repeats
    worst = comparison.curves[comparison.curves["contradicts"]].sort_values("adjusted")
    for row in worst.head(MOST_LISTED).itertuples():
        distance = f"{row.here - row.shipped:+.3g}, p = {row.adjusted:.1g}"
        yield f"{row.experiment}, {row.setting}, {row.metric} at step {row.step}: {distance}"
    worst = comparison.shifts[comparison.shifts["contradicts"]].sort_values("adjusted")
    for row in worst.head(MOST_LISTED).itertuples():
        where = f"{row.experiment}, sweep {row.sweep}, {row.metric} at stage {row.stage + 1} of {STAGES}"
        yield f"{where}: shifted by {row.shift:+.3g} in {row.runs} runs, p = {row.adjusted:.1g}"


def _claims(comparison: Comparison) -> str:
    """Return a table with a row for each judged part of each claim."""
    rows = []
    for row in comparison.parts.itertuples():
        same_verdict = row.verdict_here == row.verdict_shipped
        verdict = row.verdict_here if same_verdict else f"{row.verdict_here}, was {row.verdict_shipped}"
        differs = "not compared" if np.isnan(row.p) else "within chance"
        state = "CONTRADICTS" if row.contradicts else "agrees" if same_verdict else differs
        rows.append((row.id, row.part, PLAIN.interval(row.here), PLAIN.interval(row.shipped), verdict, state))
    return terminal.table(["claim", "part", "here", "shipped", "verdict", "result"], rows)


def _curves(comparison: Comparison) -> str:
    """Return a table with a row for each finding and metric."""
    rows = []
    shifted = comparison.shifts.groupby(["experiment", "metric"])["contradicts"].sum()
    for (name, metric), curves in comparison.curves.groupby(["experiment", "metric"], sort=False):
        settings = curves.groupby("setting")
        same = (settings["distance"].max() <= SAME).sum()
        counts = (len(settings), same, settings["contradicts"].any().sum(), shifted.get((name, metric), 0))
        rows.append((name, metric, *map(str, counts)))
    header = ["finding", "metric", "settings", "same numbers", "contradict", "shifted sweeps"]
    return terminal.table(header, rows)
