"""The ledger of all claims: joined from the findings, written as the paper's tables, and printed in the terminal."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import get_args

from rich.text import Text

from weightdecay import terminal
from weightdecay.claims import model
from weightdecay.claims.model import Claim, Verdict, title_of
from weightdecay.claims.names import stem_of_experiment
from weightdecay.config import SCALES
from weightdecay.errors import ConfigError
from weightdecay.report import tallies
from weightdecay.report.latex import booktabs, escape, write
from weightdecay.report.macros import macros_of, macros_tex
from weightdecay.report.numbers import LATEX, PLAIN

COLOURS: dict[Verdict, str] = {"reproduced": "green", "mixed": "yellow", "undecided": "dim", "refuted": "red"}


def judgments(judged: Path, name: str, trained: Path) -> Path:
    """Return the path of a finding's claims.json: in `judged` if it is there, else beside the tables."""
    found = judged / name / "claims.json"
    return found if found.is_file() else trained / "claims.json"


def join(judged: Path, trained: Mapping[str, Path], paper: Path | None) -> None:
    """Join the claims of all findings into `judged`/claims.json, and print them.

    `trained` has the folder of each finding's tables. The judgments of a finding are in `judged`/<finding>/claims.json,
    or else beside its tables. If `paper` is given, tables/claims.tex, tables/tallies.tex, tables/builds.tex and
    numbers.tex are written into that folder. ResultError if the claims of a finding are missing or belong to another
    one, ConfigError if two findings have a claim of the same id.
    """
    claims = []
    for name, folder in trained.items():
        scale = folder.parent.name if folder.parent.name in SCALES else None
        claims += model.read(judgments(judged, name, folder), name, scale)
    claims.sort(key=lambda claim: claim.id[0])  # by letter; within a letter in the order of config.yaml
    owners: dict[str, str] = {}
    for claim in claims:
        if owners.setdefault(claim.id, claim.experiment) != claim.experiment:
            raise ConfigError(
                f"claim {claim.id} is in both experiments/{owners[claim.id]}/config.yaml and "
                f"experiments/{claim.experiment}/config.yaml, but ids must be unique over all findings."
            )
    model.write(judged / "claims.json", claims)
    if paper:
        macros = macros_of(claims, trained.values())
        write(paper / "tables" / "claims.tex", ledger_tex(claims))
        write(paper / "tables" / "tallies.tex", tallies_tex(claims))
        write(paper / "tables" / "builds.tex", builds_tex(list(trained), macros))
        write(paper / "numbers.tex", macros_tex(macros), macros)
    print(ledger_text(claims))


def ledger_text(claims: Sequence[Claim]) -> str:
    """Return the ledger as a table for the terminal: a row for each claim, with its first part."""
    rows = [
        (
            claim.id,
            Text(claim.verdict, style=COLOURS[claim.verdict]),
            *(claim.kind, claim.fixed),
            *(claim.parts[0].quantity, PLAIN.interval(claim), str(claim.n), claim.note),
        )
        for claim in claims
    ]
    return terminal.table(["claim", "verdict", "kind", "fixed", "quantity", "mean [95 % interval]", "n", "note"], rows)


def tallies_tex(claims: Sequence[Claim]) -> str:
    """Return a LaTeX table of how many claims have which verdict: a row for each group of `tallies.groups`."""
    counted = {words: tallies.counts(group) for words, group in tallies.groups(claims).items()}
    rows = [[escape(words), str(sum(found.values())), *map(str, found.values())] for words, found in counted.items()]
    return booktabs("@{}lrrrrr@{}", ["", "claims", *get_args(Verdict)], rows)


def builds_tex(experiments: Sequence[str], macros: Mapping[str, str]) -> str:
    """Return a LaTeX table of how the results were made: a row for each finding, made of its macros."""
    keys = {
        "Scale": "scale",
        "Runs": "networks",
        "Seeds": "seeds",
        "Diverged": "diverged",
        "Minutes": "minutes",
        "CodeVersion": "code",
        "Device": "device",
    }
    stems = {name: stem_of_experiment(name) for name in experiments}
    rows = [[escape(title_of(name)), *(macros[f"{stem}{key}"] for key in keys)] for name, stem in stems.items()]
    return booktabs("@{}llrrrrlp{2in}@{}", ["finding", *keys.values()], rows)


def ledger_tex(claims: Sequence[Claim]) -> str:
    """Return the ledger as LaTeX: for each finding a table as wide as the text, which may break between rows.

    It needs the packages booktabs and xltabular.
    """
    return "\n\\par\\bigskip\n".join(
        _experiment_tex(title, list(group))
        for title, group in groupby(claims, key=lambda claim: f"{title_of(claim.experiment)}, {claim.scale} scale")
    )


def _experiment_tex(title: str, claims: Sequence[Claim]) -> str:
    rows = []
    for claim in claims:
        parts = [
            rf"\raggedright {escape(part.quantity)} & {LATEX.interval(part)}{'$^*$' if part.verdict else ''} & {part.n}"
            for part in claim.parts
        ]
        measured = r"\begin{tabular}[t]{@{}p{1.45in}p{1.25in}r@{}}" + r" \\ ".join(parts) + r"\end{tabular}"
        note = rf" \emph{{Note: {escape(claim.note)}.}}" if claim.note else ""
        words = rf"{escape(claim.statement)} \emph{{Criterion:}} {escape(claim.criterion)}{note}"
        origin = rf"{escape(claim.source)}\newline \emph{{{claim.kind}}}\newline fixed {claim.fixed}"
        rows.append(rf"{claim.id} & {origin} & \raggedright {words} & {measured} & {claim.verdict} \\")
    heading = rf"\multicolumn{{5}}{{@{{}}l}}{{\textbf{{{escape(title)}}}}} \\ \midrule"
    measuring = r"Measured: mean over seeds [95\,\% interval], $n$ ($^*$: judged)"
    header = rf"Claim & Source, kind, when its criterion was fixed & Statement & {measuring} & Verdict \\"
    body = "\n\\addlinespace\n".join(rows)
    return (
        "{\\footnotesize\n\\begin{xltabular}{\\textwidth}{@{}l>{\\raggedright\\arraybackslash}p{0.62in}Xll@{}}\n\\toprule\n"
        f"{heading}\n{header}\n\\midrule\n\\endfirsthead\n\\toprule\n{header}\n\\midrule\n\\endhead\n"
        f"\\bottomrule\n\\endfoot\n{body}\n\\end{{xltabular}}}}\n"
    )
