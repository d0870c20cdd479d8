"""All claims at a glance, on two pages: the verdict, the measured value, and its distance from the criterion.

Quantities of different units share one scale: the signed distance of the measured value from the nearest bound of the
criterion, divided by half the width of the 95 % interval. The bar is the interval. It lies wholly right of 0 if the
criterion is satisfied, and wholly left of 0 if it is violated. The scale shows the strength of the evidence; the size
of the effect stands beside it, in its own unit. The bar shows the first part of a claim; each further part is a small
marker in the colour of its own verdict.
"""

import math
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from weightdecay.claims.model import Claim, Part, Verdict, title_of
from weightdecay.config import in_words
from weightdecay.report import style
from weightdecay.report.numbers import PLAIN

VERDICTS: dict[Verdict, tuple[str, str]] = {  # colour and marker
    "reproduced": ("#009E73", "o"),
    "mixed": ("#E69F00", "s"),
    "undecided": ("0.55", "D"),
    "refuted": ("#D55E00", "X"),
}
FARTHEST = 30.0  # half-widths; values beyond are drawn here, with an arrow
TICKS = (-30, -5, -1, 0, 1, 5, 30)
ROW, TALLEST = 0.15, 7.55  # inches: the height of a row, and of all rows on a page that also has a caption
# Left end of each column, as a share of the figure's width; of the last one the right end.
COLUMNS = {"id": 0.0, "verdict": 0.045, "quantity": 0.058, "measured": 0.69, "bound": 1.0}
FOREST = 0.43, 0.68  # left and right end of the panel with the bars, as shares of the figure's width
SIZE = 7


def distances(part: Part) -> tuple[float, float, float] | None:
    """Return the distances of the measured value and of its interval's ends from the bound, in half-widths.

    The lower end comes before the upper one. Distances are positive if the criterion is satisfied. Of two bounds the
    one nearer to the measured value counts. None if the value or its interval is unknown.
    """
    half = (part.high - part.low) / 2
    if part.verdict is None or math.isnan(part.measured) or math.isnan(half):
        return None
    if abs(part.measured - part.least) <= abs(part.most - part.measured):
        sign, bound = 1, part.least
    else:
        sign, bound = -1, part.most
    if math.isinf(half):  # the interval is open above, so take its lower half
        half = part.measured - part.low
    found = (sign * (x - bound) for x in (part.measured, part.low, part.high))
    value, *ends = (math.copysign(math.inf, x) if half == 0 and x else x / half if half else 0.0 for x in found)
    return value, min(ends), max(ends)


def overview(claims: Sequence[Claim], folder: Path) -> None:
    """Draw overview-1 and overview-2, .pdf and .png, in `folder`: the claims by finding, a row for each."""
    scale = in_words(claim.scale for claim in claims)
    for place, groups in enumerate(pages(claims), 1):
        style.save(page(groups, claims), folder, f"overview-{place}", scale)


def pages(claims: Sequence[Claim]) -> tuple[list[list[Claim]], list[list[Claim]]]:
    """Split the claims into two pages of about equal length, without splitting a finding."""
    groups = [list(group) for _, group in groupby(claims, key=lambda claim: claim.experiment)]
    cut = min(range(1, len(groups) + 1), key=lambda cut: max(rows_of(groups[:cut]), rows_of(groups[cut:])))
    return groups[:cut], groups[cut:]


def rows_of(groups: Sequence[Sequence[Claim]]) -> int:
    """Count the rows: one for each claim, and one for the name of each finding."""
    return sum(1 + len(group) for group in groups)


def page(groups: Sequence[Sequence[Claim]], claims: Sequence[Claim]) -> Figure:
    """Draw the claims of some findings; the legend counts the verdicts of all `claims`."""
    scales = {claim.scale for claim in claims}
    rows = max(1, rows_of(groups))
    height = min(ROW, TALLEST / rows)
    figure = plt.figure(figsize=(style.PAGE, height * rows + 0.65))
    figure.set_layout_engine("none")  # everything is placed by hand below
    bottom, top = 0.48 / figure.get_figheight(), 1 - 0.17 / figure.get_figheight()
    axes = figure.add_axes((FOREST[0], bottom, FOREST[1] - FOREST[0], top - bottom))
    texts = figure.add_axes((0, bottom, 1, top - bottom), sharey=axes)
    texts.axis("off")
    texts.set(xlim=(0, 1), zorder=-1)
    axes.patch.set_visible(False)  # lets the shading of rows show through
    row = 0
    for group in groups:
        title = title_of(group[0].experiment) + (f", {group[0].scale} scale" if len(scales) > 1 else "")
        texts.text(0, row, title, weight="bold", va="center", fontsize=SIZE)
        for place, claim in enumerate(group, row + 1):
            _texts(texts, claim, place)
            _bar(axes, claim, place)
            texts.axhspan(place - 0.5, place + 0.5, color="black", alpha=0.04 * (place % 2), linewidth=0)
        row += 1 + len(group)
    axes.set_xscale("symlog", linthresh=1, linscale=0.6)
    axes.set(xlim=(-1.6 * FARTHEST, 1.6 * FARTHEST), ylim=(row - 0.4, -0.6), yticks=[])
    axes.set_xticks(TICKS, [PLAIN.exact(tick) for tick in TICKS], fontsize=SIZE)
    axes.set_xticks([], minor=True)
    axes.set_xlabel("distance from the criterion, in half-widths\nof the 95 % interval", fontsize=SIZE, labelpad=1)
    axes.axvline(0, color="black", linewidth=0.7)
    axes.spines["left"].set_visible(False)
    for x, word in ((0.24, "violated"), (0.76, "satisfied")):
        axes.text(x, 1.0, word, transform=axes.transAxes, ha="center", va="bottom", fontsize=SIZE, color=style.MUTED)
    heads = {"quantity": "first quantity of the claim", "measured": "measured [95 % interval]", "bound": "criterion"}
    for key, word in heads.items():
        side = "right" if key == "bound" else "left"
        words = texts.text(COLUMNS[key], 1.0, word, transform=texts.transAxes, ha=side, va="bottom")
        words.set(fontsize=SIZE, color=style.MUTED)
    _legend(figure, claims)
    return figure


def _texts(axes: Axes, claim: Claim, row: int) -> None:
    (colour, marker), lead = VERDICTS[claim.verdict], claim.parts[0]
    axes.plot(COLUMNS["verdict"], row, color=colour, marker=marker, markersize=4, clip_on=False)
    axes.text(COLUMNS["id"], row, claim.id, va="center", fontsize=SIZE, weight="bold", color=colour)
    quantity = axes.text(COLUMNS["quantity"], row, lead.quantity, va="center", fontsize=SIZE, parse_math=False)
    _fit(quantity, axes, FOREST[0] - 0.01)
    if math.isnan(lead.measured):
        axes.text(COLUMNS["measured"], row, "unknown", va="center", fontsize=SIZE, color=style.MUTED)
        return
    axes.text(COLUMNS["measured"], row, PLAIN.interval(lead), va="center", fontsize=SIZE)
    axes.text(COLUMNS["bound"], row, bound(lead), va="center", ha="right", fontsize=SIZE, color=style.MUTED)


def _fit(text: Text, axes: Axes, right: float) -> None:
    """Shorten a text by whole words, with an ellipsis, until it ends before `right`, a share of the figure's width."""
    words, width = text.get_text().split(), axes.figure.bbox.width
    while text.get_window_extent().x1 > right * width and len(words) > 1:
        words.pop()
        text.set_text(" ".join(words).rstrip(",;:") + " …")


def _bar(axes: Axes, claim: Claim, row: int) -> None:
    for part in reversed(claim.parts):
        found = distances(part)
        if found is None or part.verdict is None:
            continue
        colour, marker = VERDICTS[part.verdict]
        value, low, high = np.clip(found, -FARTHEST, FARTHEST)
        if part is not claim.parts[0]:
            axes.plot(value, row, marker=marker, color=colour, markersize=2.2, alpha=0.8, linestyle="")
            continue
        axes.plot([low, high], [row, row], color=colour, linewidth=1.4, solid_capstyle="butt")
        if abs(found[0]) > FARTHEST:
            marker = ">" if found[0] > 0 else "<"
        axes.plot(value, row, marker=marker, color=colour, markersize=4, linestyle="")


def _legend(figure: Figure, claims: Sequence[Claim]) -> None:
    handles = []
    for verdict, (colour, marker) in VERDICTS.items():
        count = sum(claim.verdict == verdict for claim in claims)
        label = f"{verdict} ({count})"
        handles.append(Line2D([], [], color=colour, marker=marker, markersize=4, linewidth=1.4, label=label))
    figure.legend(handles=handles, loc="lower left", bbox_to_anchor=(0, 0), ncols=2, fontsize=SIZE, borderaxespad=0.2)


def bound(part: Part) -> str:
    """Write the criterion of a part: "≥ 1.3", "≤ 0.05", or both bounds. Bounds may be computed numbers."""
    if math.isinf(part.most):
        return f"≥ {PLAIN.exact(part.least)}"
    if math.isinf(part.least):
        return f"≤ {PLAIN.exact(part.most)}"
    return " … ".join(PLAIN.exact(float(f"{end:.3g}")) for end in (part.least, part.most))
