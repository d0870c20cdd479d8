"""What a reader should find who makes the results again: the shipped ledger as a table in Markdown, for the README."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weightdecay.claims import model as ledger
from weightdecay.claims.model import Claim, Part
from weightdecay.errors import ResultError
from weightdecay.finding import Finding
from weightdecay.results import said
from weightdecay.results import shipped as reference

PLAIN = {ord("|"): r"\|", ord("<"): "&lt;"}


def markdown(known: Mapping[str, Finding]) -> str:
    """A page of two tables: claim, figures, command, expected values; finding, size, cost. Checks the sums first.

    A finding of which nothing is shipped is left out.
    """
    shipped = {scale: reference.provenance(scale) for scale in reference.scales()}
    if not shipped:
        raise ResultError(f"{reference.FOLDER} holds no shipped results: make some, then weightdecay ship.")
    for scale, made in shipped.items():
        reference.check_settings(scale, {name: finding.config for name, finding in known.items() if name in made})
    known = {name: finding for name, finding in known.items() if any(name in made for made in shipped.values())}
    claims = [
        "# What to expect",
        "",
        f"Made by `weightdecay expected` of the results in `{reference.FOLDER}`. Every judged quantity of every claim, "
        "its mean over seeds and its 95 % interval; statements and criteria are in the paper's ledger. Commands are "
        "those of the laptop scale: for the paper's add `--config scale=paper`, and write `results/paper` where one "
        "names `results/laptop`.",
        "",
        _row("Claim", "Figure or table", "Command", *(f"Expected at {scale} scale" for scale in shipped)),
        _row(*["---"] * (3 + len(shipped))),
    ]
    costs = [
        "Training, summed over processes:",
        "",
        _row("Finding", "Scale", "Networks", "Seeds", "Minutes", "GiB a process", "Device"),
        _row(*["---"] * 7),
    ]
    for name, finding in sorted(known.items(), key=lambda item: next(iter(item[1].config.criteria), "")):  # by letter
        shown = targets_of(finding)
        found = {scale: _claims(scale, name) for scale, made in shipped.items() if name in made}
        for id in finding.config.criteria:
            targets = shown.get(id, [f"results/laptop/{name}/claims.json"])  # the ledger shows all
            names = ", ".join(f"`{Path(target).stem.removeprefix(f'{name}-')}`" for target in targets)
            judged = [found.get(scale, {}).get(id) for scale in shipped]
            expected = [_expected(claim) if claim else "" for claim in judged]
            claims.append(_row(id, names, f"`snakemake --cores all {targets[0]}`", *expected))
        for scale in found:
            about = shipped[scale][name]
            seconds, memory = (about.get(key) or np.nan for key in ("wall_seconds", "peak_memory_mib"))
            cost = f"{seconds / 60:.1f}", f"{memory / 1024:.2f}", said(about, "device")
            costs.append(_row(f"`{name}`", scale, about["runs"], about["seeds"], *cost))
    return "\n".join([*claims, "", *costs])


def _claims(scale: str, name: str) -> dict[str, Claim]:
    path = reference.FOLDER / scale / name / "claims.json"
    return {claim.id: claim for claim in ledger.read(path, name, scale)}


def _row(*cells: object) -> str:
    """One row of a table: a cell's text can neither end it nor be HTML."""
    return f"| {' | '.join(' '.join(str(cell).split()).translate(PLAIN) for cell in cells)} |"


def targets_of(finding: Finding) -> dict[str, list[str]]:
    """Claim id -> the figures and tables that show it, as targets of the pipeline."""
    shown: dict[str, list[str]] = {}
    places = {"paper/figures/{}-{}.pdf": finding.figures, "paper/tables/{}-{}.tex": finding.tables}
    for place, made in places.items():
        for stem, one in made.items():
            for id in one.claims:
                shown.setdefault(id, []).append(place.format(finding.name, stem))
    return shown


def _expected(claim: Claim) -> str:
    judged = [part for part in claim.parts if part.verdict is not None]
    found = "; ".join(f"{part.quantity}: {_interval(part)}" for part in judged)
    return f"**{claim.verdict}**. {found}"


def _interval(part: Part) -> str:
    if np.isnan(part.measured):
        return "unknown"
    ends = "" if np.isnan(part.low) else f" [{part.low:.3g}, {part.high:.3g}]"
    return f"{part.measured:.3g}{ends}"
