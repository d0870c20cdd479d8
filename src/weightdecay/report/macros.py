r"""numbers.tex: every number in the paper's text is a macro, whose name says where the number comes from.

    claim A4                        \AfourVerdict \AfourMeasured \AfourLow \AfourHigh \AfourN \AfourCI
    its part "Ratio"                \AfourRatio \AfourRatioLow \AfourRatioHigh \AfourRatioN \AfourRatioCI ...Verdict
    the finding binary_addition     \BinaryAdditionScale \BinaryAdditionRuns \BinaryAdditionSeeds ...
    the whole                       \Scale \Code \Claims \ClaimsReproduced \ClaimsRefuted \ClaimsMixed \ClaimsUndecided
    its claims by group             \FixedBefore \FixedBeforeReproduced ... \CorrectedReproduced ... \CorrectedChanged

`Scale` of the whole is in words: "laptop and paper" if findings differ. `Measured, Low, High, N` of a claim are those
of its first part. `CI` has the value and its interval: "0.976 [0.970, 0.982]".
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from weightdecay.claims.model import Claim, Part
from weightdecay.claims.names import stem_of_claim, stem_of_experiment
from weightdecay.config import in_order, in_words
from weightdecay.errors import ConfigError
from weightdecay.report import tallies
from weightdecay.report.latex import check_commands, escape
from weightdecay.report.numbers import LATEX
from weightdecay.results import read_table, said


def macros_of(claims: Sequence[Claim], trained: Iterable[Path]) -> dict[str, str]:
    """Return macro name (no backslash) -> LaTeX, for all claims and the findings whose tables are in `trained`."""
    scales = Counter(str(claim.scale) for claim in claims)
    macros = {"Scale": in_words(scales), "Quantities": str(tallies.quantities(claims))}
    groups = tallies.groups(claims)
    shown = {"Claims": tallies.ALL, "FixedBefore": tallies.FIXED["before"], "Corrected": tallies.CORRECTED}
    for stem, group in shown.items():
        macros[stem] = str(len(groups[group]))
        macros |= {f"{stem}{verdict.title()}": str(n) for verdict, n in tallies.counts(groups[group]).items()}
    macros["CorrectedChanged"] = ", ".join(tallies.lost(claims)) or "none"
    macros["ClaimsByScale"] = " and ".join(f"{scales[scale]} at {scale} scale" for scale in in_order(scales))
    folders = list(trained)
    tables, metadata = zip(*(read_table(folder / "runs.parquet") for folder in folders), strict=True)
    macros["Code"] = escape(", ".join(dict.fromkeys(said(about, "code_version") for about in metadata)))
    macros["Networks"] = LATEX.integer(sum(map(len, tables)))
    macros["NetworksDiverged"] = LATEX.integer(sum(int(runs["diverged_at"].notna().sum()) for runs in tables))
    for folder, runs, about in zip(folders, tables, metadata, strict=True):
        macros |= experiment_macros(folder.name, runs, about)
    for claim in claims:
        macros |= claim_macros(claim)
    return macros


def claim_macros(claim: Claim) -> dict[str, str]:
    """Return macro name -> LaTeX, for one claim and its parts."""
    prefix = stem_of_claim(claim.id)
    macros: dict[str, str] = {f"{prefix}Verdict": claim.verdict}
    named: list[tuple[str, Claim | Part]] = [("", claim), *((part.name, part) for part in claim.parts)]
    for name, found in named:
        stem = prefix + name
        macros |= {
            stem if name else f"{prefix}Measured": LATEX.number(found.measured),
            f"{stem}Low": LATEX.number(found.low),
            f"{stem}High": LATEX.number(found.high),
            f"{stem}N": str(found.n),
            f"{stem}CI": LATEX.interval(found),
        }
        if found.verdict is not None:
            macros[f"{stem}Verdict"] = found.verdict
    return macros


def experiment_macros(name: str, runs: pd.DataFrame, metadata: Mapping[str, Any]) -> dict[str, str]:
    """Return macros of how a finding's results were made: \\<Finding>Runs, Seeds, Diverged, Minutes, Device, ..."""
    stem, seconds = stem_of_experiment(name), metadata.get("wall_seconds")
    macros = {
        "Runs": LATEX.integer(len(runs)),
        "Seeds": LATEX.integer(runs["seed"].nunique()),
        "Diverged": LATEX.integer(int(runs["diverged_at"].notna().sum())),
        "Minutes": LATEX.unknown if seconds is None else f"{seconds / 60:.1f}",
    }
    for key in ("scale", "device", "torch", "precision", "matmul", "code_version"):
        macros[key.title().replace("_", "")] = escape(said(metadata, key))
    return {f"{stem}{key}": value for key, value in macros.items()}


def macros_tex(macros: Mapping[str, str]) -> str:
    r"""Return numbers.tex, with a \newcommand for each number; ConfigError for a name that TeX cannot read."""
    for name, value in macros.items():
        if not (name.isascii() and name.isalpha()):
            raise ConfigError(f"\\{name} is no macro name: letters only")
        check_commands(f"\\{name}", value)
    return "".join(f"\\newcommand{{\\{name}}}{{{value}}}\n" for name, value in macros.items())
