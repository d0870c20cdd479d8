"""The pages that are made of the shipped results say what these results say now, whatever is shipped."""

from collections.abc import Mapping

import pytest

from tests.programs import ROOT
from weightdecay.finding import Finding, findings
from weightdecay.results import shipped
from weightdecay.workflow import expectation


@pytest.fixture(scope="module")
def known() -> Mapping[str, Finding]:
    return findings(ROOT)


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_page_of_claims_is_that_of_the_shipped_results(known):
    assert (ROOT / "docs/claims.md").read_text(encoding="utf-8") == expectation.page(known) + "\n"


def test_the_summary_of_the_readme_is_that_of_the_shipped_results(known):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"\n{expectation.summary(known)}\n" in readme


@pytest.fixture
def less_shipped(monkeypatch):
    """Nothing is shipped of `sparsity`, and of `tuning_rules` the laptop scale alone."""
    everything = shipped.provenance
    missing = {"laptop": {"sparsity"}, "paper": {"sparsity", "tuning_rules"}}
    monkeypatch.setattr(
        shipped,
        "provenance",
        lambda scale: {name: about for name, about in everything(scale).items() if name not in missing[scale]},
    )


def test_what_was_not_shipped_is_left_out(known, less_shipped):
    some = {name: known[name] for name in ("binary_addition", "sparsity", "tuning_rules")}
    table, page = expectation.summary(some), expectation.page(some)
    assert "sparsity" not in table and "## `sparsity`" not in page and "### L1\n" not in page
    (row,) = (line for line in table.splitlines() if "tuning_rules" in line)
    assert row.endswith("| not shipped |")
    of_rules = page[page.index("## `tuning_rules`") : page.index("## What training took")]
    assert "- At laptop scale" in of_rules and "- At paper scale" not in of_rules
    assert "| all |  | 29 |" in table


def test_every_claim_is_shown_by_what_says_so(known):
    """A figure of the paper names the claims that it shows, and the page names the figure."""
    for finding in known.values():
        targets = expectation.targets_of(finding)
        assert targets and targets.keys() <= finding.config.criteria.keys()
