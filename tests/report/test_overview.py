"""The overview shows every claim, on the right side of its criterion, and can be read."""

import math
import re
from itertools import pairwise

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text

from weightdecay.claims.judging import judged, reported
from weightdecay.claims.model import Claim
from weightdecay.report import overview, style
from weightdecay.statistics.estimates import UNKNOWN, Estimate


def claim_of(id: str, *parts, experiment: str = "moons", verdict: str = "mixed", scale: str = "laptop") -> Claim:
    lead = parts[0]
    numbers = lead.measured, lead.low, lead.high, lead.n
    return Claim(
        id, "S0 §7", "stated", "before", experiment, "It is so.", "Enough.", *numbers, verdict, parts, "", scale
    )


@pytest.mark.parametrize(
    ("estimate", "bounds", "expected"),
    [
        (Estimate(0.96, 0.94, 0.98, 3), {"least": 0.90}, (3, 2, 4)),
        (Estimate(0.96, 0.94, 0.98, 3), {"most": 0.90}, (-3, -4, -2)),
        (Estimate(0.0, -0.1, 0.1, 3), {"least": -1.0, "most": 0.5}, (5, 4, 6)),  # nearer to 0.5
        (Estimate(2.0, 1.0, math.inf, 3), {"least": 1.5}, (0.5, -0.5, math.inf)),
        (Estimate(1.0, 1.0, 1.0, 3), {"least": 0.9}, (math.inf, math.inf, math.inf)),  # the seeds agree exactly
        (Estimate(1.0, 1.0, 1.0, 3), {"least": 1.0}, (0, 0, 0)),
    ],
)
def test_distances_are_in_half_widths_and_positive_where_satisfied(estimate, bounds, expected):
    assert overview.distances(judged("Part", "a quantity", estimate, **bounds)) == pytest.approx(expected)


@pytest.mark.parametrize(
    "part", [judged("Part", "unknown", UNKNOWN, least=1.0), reported("Part", "not judged", Estimate(1, 0, 2, 3))]
)
def test_what_is_unknown_or_not_judged_has_no_place(part):
    assert overview.distances(part) is None


@pytest.mark.parametrize("verdict", ["reproduced", "refuted", "undecided"])
def test_a_bar_lies_where_its_verdict_says(verdict):
    """A two-sided criterion, intervals of many places and widths."""
    for middle in range(-30, 31):
        for half in (0.5, 2.0, 9.0):
            part = judged("Part", "a quantity", Estimate(middle, middle - half, middle + half, 5), -10.0, 10.0)
            _, low, high = overview.distances(part)
            if part.verdict == verdict:
                assert {"reproduced": low >= 0, "refuted": high < 0, "undecided": low <= 0 <= high}[verdict]


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """`draw(claims)`: the two pages, after they were saved."""

    def drawing(claims):
        drawn, save = [], style.save
        monkeypatch.setattr(style, "save", lambda figure, *rest: (drawn.append(figure), save(figure, *rest)))
        style.apply()
        overview.overview(claims, tmp_path)
        return drawn

    return drawing


LONG = "the largest rise of the test loss from one width to any larger width, λ tuned for each of them"


@pytest.mark.parametrize("count", [1, 90])
def test_every_claim_is_there_and_legible_on_two_pages(draw, count, tmp_path):
    part = judged("Part", LONG, Estimate(-1234.5, -1300.0, -1200.0, 4), -2e-5, 1.0)
    claims = [claim_of(f"A{i}", part, experiment=f"moons_{i // 10}") for i in range(count)]
    drawn = draw([*claims, claim_of("B1", judged("Part", "unknown", UNKNOWN, least=1.0))])
    names = [f"overview-{page}.{kind}" for page in (1, 2) for kind in ("pdf", "png")]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    ids, extents = [], []
    for figure in drawn:
        width, height = figure.get_size_inches()
        assert width == style.PAGE and height <= 8.25
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        assert min(text.get_fontsize() for text in texts) >= 7
        renderer = FigureCanvasAgg(figure).get_renderer()
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in texts]
        assert not [text for text, box in boxes if box.x0 < -1 or box.x1 > figure.bbox.width + 1]
        rows = sorted((box for text, box in boxes if re.fullmatch(r"[AB]\d+", text)), key=lambda box: box.y0)
        assert all(below.y1 <= above.y0 for below, above in pairwise(rows))
        ids += [text for text, _ in boxes if re.fullmatch(r"[AB]\d+", text)]
        extents.append(dict(boxes))
    assert sorted(ids) == sorted([*(f"A{i}" for i in range(count)), "B1"])
    first = extents[0]
    shortened = next(text for text in first if text.startswith("the largest") and text.endswith(" …"))
    measured = next(text for text in first if text.startswith("−1,2"))
    criterion = next(text for text in first if text.startswith("−2·10⁻⁵"))
    assert first[shortened].x1 <= overview.FOREST[0] * drawn[0].bbox.width
    assert first[measured].x1 < first[criterion].x0


def test_the_scale_is_said_of_each_finding_where_they_differ(draw):
    part = judged("Part", "a quantity", Estimate(1.0, 0.9, 1.1, 4), 0.5)
    small, large = claim_of("A1", part), claim_of("B1", part, experiment="circles", scale="paper")
    said = {text.get_text() for page in draw([small, large]) for text in page.findobj(Text)}
    assert {"Moons, laptop scale", "Circles, paper scale", "laptop and paper scale"} <= said
    said = {text.get_text() for text in draw([small])[0].findobj(Text)}
    assert {"Moons", "laptop scale, not the paper's"} <= said
    assert not any(text.get_text().endswith("scale") for text in draw([large])[0].findobj(Text))
