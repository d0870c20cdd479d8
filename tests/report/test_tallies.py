"""Tallies count each claim once by kind and once by when its criterion was fixed; history explains the late ones."""

import re

import pytest

from tests.programs import ROOT
from weightdecay.claims.judging import claim, judged
from weightdecay.claims.model import Claim
from weightdecay.config import Criterion
from weightdecay.finding import findings
from weightdecay.report import tallies
from weightdecay.statistics.estimates import Estimate

SURE, CLOSE, UNSURE = Estimate(5.0, 4.9, 5.1, 20), Estimate(1.5, 1.01, 1.99, 4), Estimate(1.5, 0.5, 2.5, 4)


def claim_of(id: str, kind: str, fixed: str, estimate: Estimate) -> Claim:
    words = Criterion(source="S1", kind=kind, fixed=fixed, statement="It decays.", criterion="Enough.")
    return claim(id, "moons", {id: words}, [judged("Part", "a quantity", estimate, least=1.0)])


LEDGER = [
    claim_of("A1", "stated", "before", SURE),
    claim_of("A2", "stated", "after judged runs", CLOSE),
    claim_of("A3", "implied", "after first runs", UNSURE),
    claim_of("A4", "identity", "before", SURE),
]


def test_tallies_of_a_ledger():
    found = {name: tallies.in_words(group) for name, group in tallies.groups(LEDGER).items()}
    assert found == {
        "all": "3 reproduced, 1 undecided",
        "stated by a source": "2 reproduced",
        "implied by a source": "1 undecided",
        "our own reading or control": "",
        "identities, which algebra decides": "1 reproduced",
        "criterion fixed before its runs": "2 reproduced",
        "criterion fixed after first runs": "1 undecided",
        "criterion fixed after judged runs": "1 reproduced",
        "all, after Holm's correction": "2 reproduced, 2 undecided",
    }
    assert tallies.lost(LEDGER) == ["A2"] and tallies.quantities(LEDGER) == 4


@pytest.fixture(scope="module")
def history() -> dict[str, str]:
    """The sections of docs/history.md, by the letter of their claims."""
    text = (ROOT / "docs/history.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^## ([A-Z]), .*?\n(.*?)(?=^## )", text, flags=re.MULTILINE | re.DOTALL))


def named(text: str) -> set[str]:
    """The ids in a text, with those between the ends of "D12 to D15"."""
    ids = set(re.findall(r"\b[A-Z]\d+\b", text))
    for letter, first, last in re.findall(r"\b([A-Z])(\d+) to \1(\d+)\b", text):
        ids |= {f"{letter}{number}" for number in range(int(first), int(last) + 1)}
    return ids


def test_history_says_of_every_late_criterion_what_was_known(history):
    for finding in findings(ROOT).values():
        for id, criterion in finding.config.criteria.items():
            if criterion.fixed != "before":
                assert id in named(history[id[0]]), f"docs/history.md does not say why {id} is {criterion.fixed}"
