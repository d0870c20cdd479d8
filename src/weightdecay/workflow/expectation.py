"""What a reader should find who makes the results again: the shipped ledger as a table in Markdown, for the README.

Which figure shows a claim is read from figures.py: a function's docstring begins with the ids, "A1, A4-A6: ...".
"""

import ast
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from weightdecay.claims import model as ledger
from weightdecay.claims.model import Claim, Part
from weightdecay.config import Config
from weightdecay.errors import ResultError
from weightdecay.results import said
from weightdecay.results import shipped as reference

ID = r"[A-Z]\d+(?!['’])"  # "S1's" is a source's
PLAIN = {ord("|"): r"\|", ord("<"): "&lt;"}
LEADING_IDS = re.compile(rf"(?:{ID}(?:[-–]{ID})?(?:, | and )?)+")


def markdown(configs: Mapping[str, Config]) -> str:
    """A page of two tables: claim, figures, command, expected values; experiment, size, cost. Checks the sums first."""
    shipped = {scale: reference.provenance(scale) for scale in reference.scales()}
    if not shipped:
        raise ResultError(f"{reference.FOLDER} holds no shipped results: make some, then weightdecay ship.")
    for scale, made in shipped.items():
        reference.check_settings(scale, {name: config for name, config in configs.items() if name in made})
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
        _row("Experiment", "Scale", "Networks", "Seeds", "Minutes", "GiB a process", "Device"),
        _row(*["---"] * 7),
    ]
    for name, config in sorted(configs.items(), key=lambda item: next(iter(item[1].criteria), "")):  # by letter
        shown = figures_of(Path("experiments", name, "figures.py"), config)
        found = {scale: _claims(scale, name) for scale, made in shipped.items() if name in made}
        for id in config.criteria:
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


def figures_of(program: Path, config: Config) -> dict[str, list[str]]:
    """Claim id -> the figures and tables that show it, as targets of the pipeline, those of most claims last."""
    name, shown = config.experiment, {}
    functions = _functions(program)
    targets = {stem: f"paper/figures/{name}-{stem}.pdf" for stem in config.figures}
    targets |= {f"{stem}_table": f"paper/tables/{name}-{stem}.tex" for stem in config.tables}
    for function, target in targets.items():
        if function in functions:
            for id in leading_ids(ast.get_docstring(functions[function]) or ""):
                shown.setdefault(id, []).append(target)
    return shown


def leading_ids(text: str) -> list[str]:
    """["A1", "A4", "A5", "A6"] of "A1, A4-A6: ..."; empty where the text begins otherwise."""
    found = LEADING_IDS.match(text)
    ids = []
    for first, last in re.findall(rf"({ID})(?:[-–]({ID}))?", found[0] if found else ""):
        ids += [f"{first[0]}{number}" for number in range(int(first[1:]), int((last or first)[1:]) + 1)]
    return ids


def _functions(program: Path) -> dict[str, ast.FunctionDef]:
    """The functions of a program, and those that it imports by name from its neighbours."""
    body = ast.parse(program.read_text(encoding="utf-8")).body
    functions = {}
    for node in body:
        neighbour = program.with_name(f"{node.module}.py") if isinstance(node, ast.ImportFrom) else program
        if isinstance(node, ast.ImportFrom) and neighbour.is_file():
            others = _functions(neighbour)
            functions |= {alias.name: others[alias.name] for alias in node.names if alias.name in others}
    return functions | {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


def _expected(claim: Claim) -> str:
    judged = [part for part in claim.parts if part.verdict is not None]
    found = "; ".join(f"{part.quantity}: {_interval(part)}" for part in judged)
    return f"**{claim.verdict}**. {found}"


def _interval(part: Part) -> str:
    if np.isnan(part.measured):
        return "unknown"
    ends = "" if np.isnan(part.low) else f" [{part.low:.3g}, {part.high:.3g}]"
    return f"{part.measured:.3g}{ends}"
