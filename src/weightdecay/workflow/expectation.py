"""The shipped verdicts in Markdown: docs/claims.md, a page with every claim, and a summary for README.md."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from weightdecay.claims import model as ledger
from weightdecay.claims.model import Claim
from weightdecay.config import Criterion
from weightdecay.errors import ResultError
from weightdecay.finding import Finding
from weightdecay.report import tallies
from weightdecay.report.numbers import PLAIN
from weightdecay.results import said, shipped

INTRODUCTION = f"""\
# Every claim, its criterion, and what we measured

`weightdecay expected` writes this page. The words come from the findings' `config.yaml`, the numbers from the results
in `{shipped.FOLDER}`. A measured number is a mean over seeds, with its 95 % interval in brackets. An interval that ends
at ∞ is open; a dash is a quantity that the runs cannot give. [How claims are judged](statistics.md) says what the
verdicts mean.

To make one figure or table yourself, ask for its file: `snakemake --cores all TARGET` at laptop scale, and
`snakemake --cores all TARGET --config scale=paper` at paper scale. To see what you measured, call
`weightdecay claims NAME --scale laptop`."""
CORRECTION = """\
The last row corrects for the number of quantities judged (Holm): the chance that any verdict is wrong is then at most
2.5 %. A quantity can only become undecided; a mixed claim of which nothing is reproduced any more is then refuted.
Counts, and quantities on which all seeds agree, are left as they are."""
ESCAPED = {ord("|"): r"\|", ord("<"): "&lt;", ord("*"): r"\*"}


@dataclass(frozen=True)
class Shipped:
    """The shipped results of one finding: its claims by id and its provenance, at each scale."""

    finding: Finding
    claims: Mapping[str, Mapping[str, Claim]]  # by scale
    about: Mapping[str, Mapping[str, Any]]  # by scale

    @property
    def criteria(self) -> Mapping[str, Criterion]:
        """The criteria of the finding, by claim."""
        return self.finding.config.criteria

    def at(self, scale: str) -> Mapping[str, Claim]:
        """Return the claims at a scale; none if it was not shipped."""
        return self.claims.get(scale, {})


def page(known: Mapping[str, Finding]) -> str:
    """Return docs/claims.md: a section for each finding, with a paragraph for each claim, and the cost of training.

    Findings that were not shipped are left out. Checksums and settings are checked first; ResultError if they do not
    fit, or if nothing was shipped.
    """
    found = _shipped(known)
    sections = [INTRODUCTION, _verdicts(found), *(_section(each) for each in found), _costs(found)]
    return "\n\n".join(sections)


def summary(known: Mapping[str, Finding]) -> str:
    """Return the table of README.md: how many claims of each shipped finding have which verdict."""
    found = _shipped(known)
    ledgers = _ledgers(found)
    groups = [tallies.groups(claims) for claims in ledgers.values()]
    rows = [_row("Finding", "About", "Claims", *(f"At {scale} scale" for scale in ledgers))]
    rows.append(_row(*["---"] * (3 + len(ledgers))))
    for each in found:
        name, ids = each.finding.name, list(each.criteria)
        cells = [tallies.in_words(claims.values()) if claims else "not shipped" for claims in map(each.at, ledgers)]
        ends = " to ".join(dict.fromkeys((ids[0], ids[-1])))
        rows.append(_row(f"[`{name}`](docs/claims.md#{name})", each.finding.config.title, ends, *cells))
    for group in (tallies.ALL, tallies.FIXED["before"], tallies.CORRECTED):
        rows.append(_row(group, "", *_counted([each[group] for each in groups])))
    return "\n".join(rows)


def targets_of(finding: Finding) -> dict[str, list[str]]:
    """Return claim id -> the figures and tables that show it, as targets of the pipeline."""
    shown: dict[str, list[str]] = {}
    places = {"paper/figures/{}-{}.pdf": finding.figures, "paper/tables/{}-{}.tex": finding.tables}
    for place, made in places.items():
        for stem, one in made.items():
            for id in one.claims:
                shown.setdefault(id, []).append(place.format(finding.name, stem))
    return shown


def _shipped(known: Mapping[str, Finding]) -> list[Shipped]:
    """Check and return the shipped results of the findings, in the order of the letters of their claims."""
    about = {scale: shipped.provenance(scale) for scale in shipped.scales()}
    if not about:
        raise ResultError(f"{shipped.FOLDER} holds no shipped results: make some, then weightdecay ship.")
    for scale, made in about.items():
        shipped.check_settings(scale, {name: finding.config for name, finding in known.items() if name in made})
    found = []
    for name, finding in known.items():
        made_of = {scale: made[name] for scale, made in about.items() if name in made}
        claims = {scale: _claims(scale, name) for scale in made_of}
        if made_of:
            found.append(Shipped(finding, claims, made_of))
    return sorted(found, key=lambda each: next(iter(each.criteria), ""))


def _claims(scale: str, name: str) -> dict[str, Claim]:
    path = shipped.FOLDER / scale / name / "claims.json"
    return {claim.id: claim for claim in ledger.read(path, name, scale)}


def _ledgers(found: list[Shipped]) -> dict[str, list[Claim]]:
    """Return the claims of all findings at each shipped scale."""
    scales = [scale for scale in shipped.scales() if any(each.at(scale) for each in found)]
    return {scale: [claim for each in found for claim in each.at(scale).values()] for scale in scales}


def _counted(group: list[list[Claim]]) -> list[object]:
    """Return the cells of a group of claims, given for each scale: how many they are, and their verdicts."""
    return [max(map(len, group)), *map(tallies.in_words, group)]


def _verdicts(found: list[Shipped]) -> str:
    """Write the section that counts verdicts, by the kind of claim and by when its criterion was fixed."""
    ledgers = _ledgers(found)
    groups = [tallies.groups(claims) for claims in ledgers.values()]
    rows = [
        _row("Claims", "How many", *(f"At {scale} scale" for scale in ledgers)),
        _row(*["---"] * (2 + len(ledgers))),
    ]
    rows += [_row(group, *_counted([each[group] for each in groups])) for group in groups[0]]
    lines = ["## How many claims hold", "\n".join(rows), CORRECTION]
    for scale, claims in ledgers.items():
        number, lost = tallies.quantities(claims), ", ".join(tallies.lost(claims)) or "none"
        lines.append(f"At {scale} scale the correction is for {number} quantities. It changes the verdict of: {lost}.")
    return "\n\n".join(lines)


def _section(one: Shipped) -> str:
    """Write the section of a finding: its subject, its figure in docs/figures if there is one, and its claims."""
    finding = one.finding
    folder = f"experiments/{finding.name}"
    lines = [
        f"## `{finding.name}`",
        f"{_text(finding.config.title)}. Sources: {', '.join(finding.config.sources)}. Its files are in "
        f"[`{folder}`](../{folder}).",
    ]
    for name, shown in finding.figures.items():
        figure = f"figures/{finding.name}-{name}.png"
        if Path("docs", figure).is_file():
            caption = _text((shown.make.__doc__ or name).split("\n\n")[0])
            lines += [f"![{caption}]({figure})", f"*Shows {', '.join(shown.claims)}: {caption}*"]
    targets = targets_of(finding)
    lines += [_claim(one, id, targets.get(id, [])) for id in one.criteria]
    return "\n\n".join(lines)


def _claim(one: Shipped, id: str, targets: list[str]) -> str:
    words = one.criteria[id]
    lines = [
        f"### {id}",
        "",
        _text(words.statement),
        "",
        f"- Source: {_text(words.source)} ({words.kind})",
        f"- Criterion, fixed {words.fixed}{' its runs' if words.fixed == 'before' else ''}: {_text(words.criterion)}",
    ]
    if targets:
        lines.append(f"- Shown in: {', '.join(f'`{target}`' for target in targets)}")
    for scale, claims in one.claims.items():
        if id in claims:
            lines.append(f"- At {scale} scale: {_measured(claims[id])}")
    return "\n".join(lines)


def _measured(claim: Claim) -> str:
    judged = [part for part in claim.parts if part.verdict is not None]
    return f"**{claim.verdict}**. " + "; ".join(f"{_text(part.quantity)}: {PLAIN.interval(part)}" for part in judged)


def _costs(found: list[Shipped]) -> str:
    rows = [_row("Finding", "Scale", "Networks", "Seeds", "Minutes", "GiB per process", "Device"), _row(*["---"] * 7)]
    for one in found:
        for scale, about in one.about.items():
            seconds, memory = (about.get(key) or np.nan for key in ("wall_seconds", "peak_memory_mib"))
            cost = f"{seconds / 60:.1f}", f"{memory / 1024:.2f}", said(about, "device")
            rows.append(_row(f"`{one.finding.name}`", scale, about["runs"], about["seeds"], *cost))
    return "## What training took\n\nMinutes are summed over processes.\n\n" + "\n".join(rows)


def _row(*cells: object) -> str:
    return f"| {' | '.join(_text(str(cell)) for cell in cells)} |"


def _text(text: str) -> str:
    """Escape a text: one line without HTML, Markdown or ends of table cells."""
    return " ".join(text.split()).translate(ESCAPED)
