"""The stages of the pipeline: train, merge, compute, judge, draw. Each is a function of a finding.

A stage reads and writes files, so it can run anywhere and be resumed. A finished file is kept if its fingerprint is the
one that it would have now.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ConfigDict, ValidationError, validate_call

from weightdecay import files, results
from weightdecay.config import ScaleName, scale_of
from weightdecay.errors import ConfigError, ResultError
from weightdecay.finding import Finding, Inputs
from weightdecay.fingerprint import Fingerprint, fingerprint
from weightdecay.refusals import closest, sentence
from weightdecay.registry import LOSSES, NETWORKS, OPTIMIZERS
from weightdecay.run import Run, canonical
from weightdecay.shards import cut
from weightdecay.surroundings import importing
from weightdecay.table import computation_hashes, config_hash, table_of
from weightdecay.workflow import gpus

if TYPE_CHECKING:
    import pandas as pd

    from weightdecay.claims.model import Claim

Precision = Literal["float32", "tf32"]


PACKAGE = Path(__file__).parents[1]
# Each stage runs a module of the finding. These files run too, though the module need not import them.
BESIDE = {"claims": "claims/judging.py", "figures": "report/style.py"}


def code_of(finding: Finding, module: str) -> Fingerprint:
    """Return the fingerprint of the code of a stage, which runs one module of a finding: compute, claims or figures."""
    beside = [PACKAGE / BESIDE[module]] if module in BESIDE else []
    return fingerprint([finding.folder / f"{module}.py", *beside])


def code_of_training(finding: Finding, runs: Iterable[Run], device: str) -> Fingerprint:
    """Return the fingerprint of the code that trains these runs on `cpu` or `cuda`; the rows themselves do not count.

    Only those losses, optimisers and networks count that the rows name. On a GPU all Triton kernels count, because they
    are looked up by name at run time.
    """
    files = [finding.folder / "train.py", PACKAGE / "ensemble/training.py"]
    files += (PACKAGE / "ensemble/triton").glob("*.py") if device == "cuda" else []
    for run in runs:
        named = (LOSSES.files, run.loss), (OPTIMIZERS.files, run.optimizer), (NETWORKS.files, run.network)
        files += [known[name] for known, name in named if name in known]
    return fingerprint(set(files), device)


def fingerprint_of_results(finding: Finding, scale: str, device: str) -> Fingerprint:
    """Return the fingerprint of the trained results of a scale: every row of the table, the code and the versions."""
    runs = table_of(finding.config, scale)
    rows = {canonical(run.differing()): run.id for run in runs}
    return Fingerprint({**code_of_training(finding, runs, device).parts, **rows})


def shard_of(text: str, runs: list[Run]) -> list[Run]:
    """Return the part of the table that a text such as "2/4" names: the second of four."""
    try:
        number, count = (int(part) for part in text.split("/"))
        parts = cut(runs, count)
        return parts[range(1, len(parts) + 1).index(number)]
    except ValueError as error:
        raise ConfigError(
            f"shard is {text!r}, but must be k/K with 1 <= k <= K <= {len(runs)}, the number of runs."
        ) from error


def train(finding: Finding, scale: str, shard: str, output: Path, device: str, precision: Precision) -> None:
    """Train one shard of the table of a scale on `cpu` or `cuda`, and write it to `output`.

    Interrupted training continues from its checkpoint.
    """
    runs = shard_of(shard, table_of(finding.config, scale))
    gpus.take_one(device)
    code = code_of_training(finding, runs, device).digest
    about = {"config_hash": config_hash(runs), "precision": precision, "fingerprint": code}
    # Beside the results, but not declared as an output: Snakemake would delete it when a job fails.
    checkpoint = output.parent.parent / "checkpoints" / f"{output.stem}.checkpoint"
    if results.is_made(output, about):
        print(f"{output} is finished already.")
        _delete(checkpoint)  # left behind if the process was killed after writing the shard
        return
    files.check_writable(output.parent)
    with importing():
        from weightdecay.ensemble import training

        protocol = finding.protocol
    trained = training.train(runs, protocol, device=device, checkpoint=checkpoint, precision=precision, code=code)
    metadata = {**results.provenance(), **trained.metadata, "experiment": finding.name, "scale": scale, **about}
    results.write_shard(output, trained.runs, trained.history, metadata)
    _delete(checkpoint)


def _delete(checkpoint: Path) -> None:
    """Delete a checkpoint that is no longer needed; never another file."""
    try:
        if files.is_checkpoint(checkpoint):
            checkpoint.unlink()
    except OSError as error:
        raise ResultError(f"{checkpoint} cannot be deleted: {error.strerror}.") from error


def merge(finding: Finding, scale: str, shards: Iterable[Path], folder: Path) -> None:
    """Join the shards of a scale into runs.parquet and history.parquet in `folder`; every run must be there once."""
    results.merge(shards, folder / "runs.parquet", folder / "history.parquet", table_of(finding.config, scale))


def compute(finding: Finding, scale: str, name: str, output: Path) -> None:
    """Compute a table that needs no training, by the function `name` of compute.py, and write it to `output`.

    The arguments are checked against the function's signature: unknown, missing and wrongly typed ones are refused.
    """
    settings = scale_of(finding.config, scale).computations
    if name not in settings:
        raise ConfigError(f"scale {scale} of {finding.name} computes no {name}{closest(name, settings)}.")
    about: dict[str, str | float] = {
        "config_hash": computation_hashes(finding.config, scale)[name],
        "fingerprint": code_of(finding, "compute").digest,
    }
    if results.is_made(output, about):
        print(f"{output} is finished already.")
        return
    with importing():
        functions = finding.computations
    if name not in functions:
        place = finding.folder / "compute.py"
        raise ConfigError(f"{place} has no @finding.computation {name}{closest(name, functions)}.")
    files.check_writable(output.parent)
    began = time.monotonic()
    table = called(functions[name], settings[name])
    about |= {"experiment": finding.name, "scale": scale, "wall_seconds": round(time.monotonic() - began, 2)}
    results.write_table(output, table, results.provenance() | about)


def called(function: Callable[..., pd.DataFrame], settings: dict[str, Any]) -> pd.DataFrame:
    """Return `function(**settings)`; ConfigError if the settings do not fit the function's signature."""
    checked = validate_call(config=ConfigDict(strict=True, allow_inf_nan=False))(function)
    try:
        return checked(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"computation {function.__name__}: {sentence(first)}.") from error


def judge(finding: Finding, scale: ScaleName, folder: Path) -> list[Claim]:
    """Judge the claims of a finding by the tables in `folder`, which must have the present settings."""
    return finding.judge(results.load_scale(folder, finding.config, scale), scale)


def draw(finding: Finding, scale: str, folder: Path, claims: Path, figures: Path, tables: Path) -> None:
    """Draw the figures and write the LaTeX tables of a finding, from the results in `folder` and the file `claims`."""
    with importing():
        from weightdecay.claims import model as ledger
        from weightdecay.report import latex, style

    found = results.load_scale(folder, finding.config, scale)
    judged = {claim.id: claim for claim in ledger.read(claims, finding.name, scale)}
    inputs = Inputs(scale, found, finding.config, judged)
    style.apply()
    for name, figure in finding.figures.items():
        style.save(figure.make(inputs), figures, f"{finding.name}-{name}", scale)
    for name, table in finding.tables.items():
        latex.write(tables / f"{finding.name}-{name}.tex", table.make(inputs))
