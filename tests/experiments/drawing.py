"""What the tests of every experiment ask of its figures and tables: all that it registers, and legible."""

import itertools
from collections.abc import Collection, Iterable
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.programs import finding
from weightdecay.config import Config
from weightdecay.finding import Inputs
from weightdecay.report import latex, style
from weightdecay.results import Results

SMALLEST = 7  # points, in print


def drawn(
    config: Config,
    results: Results,
    folder: Path,
    names: Collection[str] | None = None,
    judged: bool = True,
    scale: str = "laptop",
) -> list[Figure]:
    """Draw the figures and write the tables of a finding into `folder`: all of them, or those of `names`.

    Returns the figures; `judged`: they are given the claims as claims.py judges them.
    """
    own, figures = finding(config.experiment), []
    claims = {claim.id: claim for claim in own.judge(results, scale)} if judged else {}
    inputs = Inputs(scale, results, config, claims)
    style.apply()
    plt.rcParams.update({"pdf.fonttype": 3, "savefig.dpi": 50})  # quicker; what is drawn does not depend on them
    for name, shown in own.figures.items():
        if names is None or name in names:
            figures.append(shown.make(inputs))
            style.save(figures[-1], folder, f"{own.name}-{name}", scale)
    for name, shown in own.tables.items():  # one may be named like a figure
        if names is None or name in names:
            latex.write(folder / f"{own.name}-{name}.tex", shown.make(inputs))
    return figures


def promised(config: Config) -> set[str]:
    """The names of the files of all figures and tables of a finding."""
    own = finding(config.experiment)
    figures = {f"{own.name}-{name}.{kind}" for name, kind in itertools.product(own.figures, ("pdf", "png"))}
    return figures | {f"{own.name}-{name}.tex" for name in own.tables}


def assert_legible(figures: Iterable[Figure]) -> None:
    """Every figure has text, and none of it is smaller than `SMALLEST`."""
    for figure in figures:
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        assert texts and min(text.get_fontsize() for text in texts) >= SMALLEST
