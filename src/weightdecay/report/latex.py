r"""LaTeX: booktabs tables, the claims ledger, and numbers.tex, in which every number of the paper's text is a macro.

Macro names are letters only, as TeX wants them, in CamelCase, and say where the number comes from:

    claim A4                        \AfourVerdict \AfourMeasured \AfourLow \AfourHigh \AfourN \AfourCI
    its part "Ratio"                \AfourRatio \AfourRatioLow \AfourRatioHigh \AfourRatioN \AfourRatioCI ...Verdict
    the experiment binary_addition  \BinaryAdditionScale \BinaryAdditionRuns \BinaryAdditionSeeds ...
    the whole                       \Scale \Code \Claims \ClaimsReproduced \ClaimsRefuted \ClaimsMixed \ClaimsUndecided

`Scale` of the whole is in words, "laptop and paper" where experiments differ.

`Measured, Low, High, N` are those of a claim's first part; `CI` is value and interval in one, "0.976 [0.970, 0.982]".
A number inside a name is spelled out: `\AoneTestZeroPointZeroZeroThree` is claim A1's test accuracy at λ = .003.
"""

import math
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import get_args

from weightdecay import files
from weightdecay.claims import model as ledger_of
from weightdecay.claims.model import Claim, Part, Verdict, title_of
from weightdecay.config import SCALES, in_order, in_words
from weightdecay.errors import ConfigError
from weightdecay.results import read_table, said
from weightdecay.statistics.estimates import Estimate

UNKNOWN = "--"
DIGITS = dict(
    zip(
        "0123456789.-",
        ["Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Point", "Minus"],
        strict=True,
    )
)
ACCENTS = "\u0300\u0301\u0302\u0303\u0304\u0306\u0307\u0308\u030a\u030b\u030c\u0327"  # of TeX's own fonts
SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "Σ": r"\ensuremath{\Sigma}",
    "α": r"\ensuremath{\alpha}",
    "λ": r"\ensuremath{\lambda}",
    "η": r"\ensuremath{\eta}",
    "θ": r"\ensuremath{\theta}",
    "∇": r"\ensuremath{\nabla}",
    "τ": r"\ensuremath{\tau}",
    "ρ": r"\ensuremath{\rho}",
    "≥": r"\ensuremath{\geq}",
    "≤": r"\ensuremath{\leq}",
    "∝": r"\ensuremath{\propto}",
    "≈": r"\ensuremath{\approx}",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
    "±": r"\ensuremath{\pm}",
    "−": r"\ensuremath{-}",
    "∞": r"\ensuremath{\infty}",
    "→": r"\ensuremath{\to}",
    "√": r"\ensuremath{\surd}",
    "–": "--",
    "—": "---",
    "²": r"\ensuremath{^2}",
    "§": r"\S{}",
    "‖": r"\ensuremath{\|}",
    "|": r"\ensuremath{|}",
    "[": "{[}",  # after the end of a row it would be the length of a gap, as a star would be a command
    "]": "{]}",
    "*": "{*}",
}

# All that our tables may ask of TeX: text that is not escaped would ask for more.
COMMANDS = frozenset(
    r"\ , { } & % $ # _ | begin end toprule midrule bottomrule addlinespace multicolumn emph textbf raggedright "
    "arraybackslash par medskip bigskip footnotesize textwidth endfirsthead endhead endfoot ensuremath mathrm "
    "textbackslash textasciitilde textasciicircum S alpha eta epsilon lambda nabla rho Sigma tau theta approx cdot "
    "circ geq infty leq pm propto surd times to".split()
)
COMMAND = re.compile(r"\\([A-Za-z@]+|.|\n)")
ENVIRONMENTS = ("tabular", "xltabular")
ENVIRONMENT = re.compile(r"\\(?:begin|end)(?![A-Za-z@])\s*\{?([^}]*)\}?")


def escape(text: str) -> str:
    """Plain text as LaTeX, with the field's signs (λ, η, ≤, ...) as mathematics; any TeX engine can set the result.

    No character of it is a command of TeX's. One that TeX's own fonts do not have is named, "(U+4E2D)".
    """
    return "".join(SPECIAL.get(character) or _set(character) for character in " ".join(text.split()))


def _set(character: str) -> str:
    letter, *accent = unicodedata.normalize("NFD", character)
    accented = character <= "ž" and letter.isascii() and len(accent) == 1 and accent[0] in ACCENTS
    known = " " <= character <= "~" or accented or character in "ßÆæØøŒœŁł‘’“”…"
    return character if known else f"(U+{ord(character):04X})"


def number(value: float) -> str:
    """A number as LaTeX: at least three decimals and two digits up to 1, whole from 100 on; "--" where unknown."""
    if math.isnan(value):
        return UNKNOWN
    if math.isinf(value):
        return r"\ensuremath{\infty}" if value > 0 else r"\ensuremath{-\infty}"
    size = abs(value)
    if 0 < size < 1e-5:
        mantissa, power = f"{value:.1e}".split("e")
        return rf"\ensuremath{{{mantissa}\cdot10^{{{int(power)}}}}}"
    decimals = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 1.0005 else 3
    decimals = max(decimals, 1 - math.floor(math.log10(size))) if 0 < size < 0.1 else decimals
    text = f"{size:,.{decimals}f}".replace(",", "{,}")
    return (r"\ensuremath{-}" if value < 0 and float(f"{size:.{decimals}f}") else "") + text


def integer(value: int) -> str:
    """As LaTeX shows it, with commas that leave no space: 40{,}170."""
    return f"{value:,}".replace(",", "{,}")


def interval(estimate: Estimate | Part | Claim) -> str:
    """Value and 95 % interval as LaTeX, "0.976 [0.970, 0.982]"; the value alone where there is no interval."""
    value = estimate.value if isinstance(estimate, Estimate) else estimate.measured
    if math.isnan(value) or math.isnan(estimate.low):
        return number(value)
    return f"{number(value)} [{number(estimate.low)}, {number(estimate.high)}]"


def booktabs(columns: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A booktabs tabular; `columns` is its LaTeX column specification, cells are LaTeX already."""
    first, *others = [" & ".join(cells) + r" \\" for cells in (header, *rows)]
    body = "\n".join([r"\toprule", first, r"\midrule", *others, r"\bottomrule"])
    return f"\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}\n"


def write(path: Path, text: str, macros: Collection[str] = ()) -> None:
    """A generated file: whole or not at all, and it says so in its first line. `macros`: names that it defines.

    ConfigError for a command that is not among `COMMANDS`: text that was not escaped, then, and might do anything.
    """
    check_commands(path.name, text, {*COMMANDS, "newcommand", *macros} if macros else COMMANDS)
    files.write(path, f"% Generated by the pipeline: edit nothing here.\n{text}")


def check_commands(place: str, text: str, allowed: Collection[str] = COMMANDS) -> None:
    """ConfigError that names the first command of a LaTeX text that is not allowed."""
    names = [found[1] for found in COMMAND.finditer(text) if found[1] not in allowed]
    names += [name for name in ENVIRONMENT.findall(text) if name not in ENVIRONMENTS]
    if "^^" in text:
        names.append("^^")
    if names:
        raise ConfigError(
            f"{place} would hold {names[0]!r}, which is no command of our tables: escape the text that it comes from, "
            "or name it in COMMANDS of report/latex.py."
        )


def in_letters(value: float | str) -> str:
    """The part of a macro's name that a number becomes: .003 is ZeroPointZeroZeroThree."""
    text = value if isinstance(value, str) else f"{value:.10f}".rstrip("0").rstrip(".")
    return "".join(DIGITS[character] for character in text)


def _spelled(count: int) -> str:
    """A number below 100 in letters: "four", "twentyone"."""
    if count < len(SMALL):
        return SMALL[count]
    return TENS[count // 10] + (SMALL[count % 10] if count % 10 else "")


def stem_of(experiment: str) -> str:
    """What the macros of an experiment begin with: BinaryAddition; a digit of its name is spelled out."""
    return "".join(DIGITS.get(character, character) for character in experiment.title().replace("_", ""))


def claim_macros(claim: Claim) -> dict[str, str]:
    """Macro name (no backslash) -> LaTeX, for one claim and its parts."""
    prefix = claim.id[0] + _spelled(int(claim.id[1:]))
    macros = {f"{prefix}Verdict": claim.verdict}
    for name, found in [("", claim), *((part.name, part) for part in claim.parts)]:
        stem = prefix + name
        macros |= {
            f"{prefix}Measured" if found is claim else stem: number(found.measured),
            f"{stem}Low": number(found.low),
            f"{stem}High": number(found.high),
            f"{stem}N": str(found.n),
            f"{stem}CI": interval(found),
        }
        if found.verdict is not None:
            macros[f"{stem}Verdict"] = found.verdict
    return macros


def experiment_macros(folder: Path) -> dict[str, str]:
    """How the results of one experiment were made: \\<Experiment>Runs, Seeds, Diverged, Minutes, Device, Torch, ..."""
    runs, metadata = read_table(folder / "runs.parquet")
    stem, seconds = stem_of(folder.name), metadata.get("wall_seconds")
    counts = {
        "Runs": len(runs),
        "Seeds": runs["seed"].nunique(),
        "Diverged": int(runs["diverged_at"].notna().sum()),
        "Minutes": UNKNOWN if seconds is None else f"{seconds / 60:.1f}",
    }
    words = {
        key.title().replace("_", ""): said(metadata, key)
        for key in ("scale", "device", "torch", "precision", "matmul", "code_version")
    }
    return {f"{stem}{key}": value if isinstance(value, str) else integer(value) for key, value in counts.items()} | {
        f"{stem}{key}": escape(value) for key, value in words.items()
    }


def builds_tex(experiments: Sequence[str], macros: Mapping[str, str]) -> str:
    """How the results were made, a row an experiment, from its macros."""
    keys = {
        "Scale": "scale",
        "Runs": "networks",
        "Seeds": "seeds",
        "Diverged": "diverged",
        "Minutes": "minutes",
        "CodeVersion": "code",
        "Device": "device",
    }
    rows = [[escape(title_of(name)), *(macros[f"{stem_of(name)}{key}"] for key in keys)] for name in experiments]
    return booktabs("@{}llrrrrll@{}", ["finding", *keys.values()], rows)


def macros_tex(macros: Mapping[str, str]) -> str:
    r"""numbers.tex: one \newcommand a number. ConfigError for a name that TeX would not read as one."""
    for name, value in macros.items():
        if not (name.isascii() and name.isalpha()):
            raise ConfigError(f"\\{name} is no macro name: letters only")
        check_commands(f"\\{name}", value)
    return "".join(f"\\newcommand{{\\{name}}}{{{value}}}\n" for name, value in macros.items())


def ledger_tex(claims: Sequence[Claim]) -> str:
    """The ledger, one table of the text's width for each experiment, broken between rows; needs booktabs, xltabular."""
    return "\n\\par\\bigskip\n".join(
        _experiment_tex(title, list(group))
        for title, group in groupby(claims, key=lambda claim: f"{title_of(claim.experiment)}, {claim.scale} scale")
    )


def _experiment_tex(title: str, claims: Sequence[Claim]) -> str:
    rows = []
    for claim in claims:
        parts = [
            rf"\raggedright {escape(part.quantity)} & {interval(part)}{'$^*$' if part.verdict else ''} & {part.n}"
            for part in claim.parts
        ]
        measured = r"\begin{tabular}[t]{@{}p{1.45in}p{1.25in}r@{}}" + r" \\ ".join(parts) + r"\end{tabular}"
        note = rf" \emph{{Note: {escape(claim.note)}.}}" if claim.note else ""
        words = rf"{escape(claim.statement)} \emph{{Criterion:}} {escape(claim.criterion)}{note}"
        rows.append(rf"{claim.id} & {escape(claim.source)} & \raggedright {words} & {measured} & {claim.verdict} \\")
    heading = rf"\multicolumn{{5}}{{@{{}}l}}{{\textbf{{{escape(title)}}}}} \\ \midrule"
    header = (
        r"Claim & Source & Statement & Measured: mean over seeds [95\,\% interval], $n$ ($^*$: judged) & Verdict \\"
    )
    body = "\n\\addlinespace\n".join(rows)
    return (
        "{\\footnotesize\n\\begin{xltabular}{\\textwidth}{@{}l>{\\raggedright\\arraybackslash}p{0.62in}Xll@{}}\n\\toprule\n"
        f"{heading}\n{header}\n\\midrule\n\\endfirsthead\n\\toprule\n{header}\n\\midrule\n\\endhead\n"
        f"\\bottomrule\n\\endfoot\n{body}\n\\end{{xltabular}}}}\n"
    )


def judgments(judged: Path, name: str, trained: Path) -> Path:
    """The claims.json of an experiment: in `judged` if it is there, else beside its tables."""
    found = judged / name / "claims.json"
    return found if found.is_file() else trained / "claims.json"


def ledger(judged: Path, trained: Mapping[str, Path], paper: Path | None) -> None:
    """Joins the claims of experiments into `judged`/claims.json and prints them, a line a claim.

    `judged`/<experiment>/claims.json are judgments of the tables in the folder `trained`[<experiment>], or, where there
    are none, those beside the tables. Into the folder `paper`, if given: tables/claims.tex, tables/builds.tex,
    numbers.tex. ResultError where an experiment's claims are missing or another's, ConfigError where two of them have a
    claim of one id.
    """
    claims = []
    for name, folder in trained.items():
        scale = folder.parent.name if folder.parent.name in SCALES else None
        claims += ledger_of.read(judgments(judged, name, folder), name, scale)
    claims.sort(key=lambda claim: claim.id[0])  # by letter, to be looked up; within one as the config has them
    owners: dict[str, str] = {}
    for claim in claims:
        if owners.setdefault(claim.id, claim.experiment) != claim.experiment:
            raise ConfigError(
                f"claim {claim.id} is in both experiments/{owners[claim.id]}/config.yaml and "
                f"experiments/{claim.experiment}/config.yaml, but ids must be unique over all experiments."
            )
    ledger_of.write(judged / "claims.json", claims)
    if paper:
        verdicts = Counter(claim.verdict for claim in claims)
        macros = {"Scale": in_words(claim.scale for claim in claims), "Claims": str(len(claims))}
        macros |= {f"Claims{verdict.title()}": str(verdicts[verdict]) for verdict in get_args(Verdict)}
        scales = Counter(claim.scale for claim in claims)
        macros["ClaimsByScale"] = " and ".join(f"{scales[scale]} at {scale} scale" for scale in in_order(scales))
        tables, metadata = zip(*(read_table(folder / "runs.parquet") for folder in trained.values()), strict=True)
        macros["Code"] = escape(", ".join(dict.fromkeys(said(about, "code_version") for about in metadata)))
        macros["Networks"] = integer(sum(map(len, tables)))
        macros["NetworksDiverged"] = integer(sum(int(runs["diverged_at"].notna().sum()) for runs in tables))
        for folder in trained.values():
            macros |= experiment_macros(folder)
        for claim in claims:
            macros |= claim_macros(claim)
        write(paper / "tables" / "claims.tex", ledger_tex(claims))
        write(paper / "tables" / "builds.tex", builds_tex(list(trained), macros))
        write(paper / "numbers.tex", macros_tex(macros), macros)
    for claim in claims:
        print(f"{claim.id:4} {claim.verdict:10} {_plain(claim)}")


def _plain(claim: Claim) -> str:
    found = f"{claim.parts[0].quantity}: {claim.measured:.4g} [{claim.low:.4g}, {claim.high:.4g}], n = {claim.n}"
    return " ".join((f"{found} ({claim.note})" if claim.note else found).split())
