"""What the tests of every experiment ask of its figures and tables: all that the config promises, and legible."""

import itertools
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests.programs import load_program
from weightdecay.config import Config
from weightdecay.report import style
from weightdecay.results import Results

SMALLEST = 7  # points, in print


def drawn(
    config: Config, results: Results, folder: Path, names: Iterable[str] | None = None, judged: bool = True
) -> list[Figure]:
    """Run the functions of figures.py into `folder`: all that the config promises, or those of `names`.

    Returns the figures; `judged`: they are given the claims as claims.py judges them.
    """
    programs = {name: load_program(config.experiment, name) for name in ("claims", "figures")}
    claims = {claim.id: claim for claim in programs["claims"].judge(results, config.criteria)} if judged else {}
    figures, save = [], style.save
    style.apply()
    plt.rcParams.update({"pdf.fonttype": 3, "savefig.dpi": 50})  # quicker; what is drawn does not depend on them
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "save", lambda figure, *rest: (figures.append(figure), save(figure, *rest)))
        for name in (*config.figures, *(f"{table}_table" for table in config.tables)) if names is None else names:
            getattr(programs["figures"], name)(style.Inputs("laptop", results, config, claims, folder, folder))
    return figures


def promised(config: Config) -> set[str]:
    """The names of all files that the config promises."""
    figures = {f"{config.experiment}-{name}.{kind}" for name, kind in itertools.product(config.figures, ("pdf", "png"))}
    return figures | {f"{config.experiment}-{name}.tex" for name in config.tables}


def assert_legible(figures: Iterable[Figure]) -> None:
    """Every figure has text, and none of it is smaller than `SMALLEST`."""
    for figure in figures:
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
        assert texts and min(text.get_fontsize() for text in texts) >= SMALLEST
