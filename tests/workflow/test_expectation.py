"""From claim to figure: read off the docstrings of figures.py."""

import pytest

from tests.programs import EXPERIMENTS
from weightdecay.config import load_config
from weightdecay.report import expectation

CONFIGS = sorted(EXPERIMENTS.glob("*/config.yaml"))


@pytest.mark.parametrize(
    ("docstring", "ids"),
    [
        ("A1: one.", ["A1"]),
        ("B2, B4-B6 and B10: several.", ["B2", "B4", "B5", "B6", "B10"]),
        ("A1-A3, S1's main figure.", ["A1", "A2", "A3"]),
        ("What A1 says, otherwise.", []),
        ("", []),
    ],
)
def test_the_claims_are_those_at_the_beginning(docstring, ids):
    assert expectation.leading_ids(docstring) == ids


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.parent.name)
def test_figures_show_claims_that_there_are(config):
    """And one claim at least; a source's name at the beginning, S1 say, is none."""
    loaded = load_config(config)
    shown = expectation.figures_of(config.with_name("figures.py"), loaded)
    assert shown and set(shown) <= set(loaded.criteria)


def test_the_page_of_expected_values_is_that_of_the_shipped_results(monkeypatch):
    monkeypatch.chdir(EXPERIMENTS.parent)
    page = (EXPERIMENTS.parent / "docs/expected.md").read_text(encoding="utf-8")
    configs = {path.parent.name: load_config(path) for path in CONFIGS}
    assert page == expectation.markdown(configs) + "\n"
