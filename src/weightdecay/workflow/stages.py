"""The stages of the pipeline: train, merge, compute, judge, draw. Each is a function of a finding.

A stage reads and writes files, so it can run anywhere and be resumed. A finished file is kept if its fingerprint is the
one that it would have now.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, ValidationError, validate_call

from weightdecay import files, module_text, results, yaml_file
from weightdecay.config import ScaleName, scale_of
from weightdecay.errors import ConfigError, ResultError
from weightdecay.finding import Finding, Inputs
from weightdecay.fingerprint import Fingerprint, fingerprint
from weightdecay.refusals import closest, sentence
from weightdecay.registry import LOSSES, NETWORKS, OPTIMIZERS
from weightdecay.run import Run, canonical
from weightdecay.setting_types import Precision
from weightdecay.shards import cut
from weightdecay.surroundings import importing
from weightdecay.table import computation_hashes, config_hash, table_of
from weightdecay.workflow import gpus

if TYPE_CHECKING:
    import pandas as pd

    from weightdecay.claims.model import Claim

PACKAGE = Path(__file__).parents[1]
# Each stage runs a module of the finding. These files run too, though the module need not import them.
BESIDE = {"claims": "claims/judging.py", "figures": "report/style.py"}
# What a module may read of its folder, by the ends of names.
DATA = {".csv", ".dat", ".gz", ".json", ".npy", ".npz", ".parquet", ".tsv", ".txt", ".yaml", ".yml"}


def code_of(finding: Finding, module: str) -> Fingerprint:
    """Return the fingerprint of a stage that runs one module of a finding: compute, claims or figures.

    The tables that it reads are not part of it. Judging and drawing read all of config.yaml. A computation has
    arguments, which are hashed by themselves.
    """
    beside = [PACKAGE / BESIDE[module]] if module in BESIDE else []
    config = {} if module == "compute" else _digests(finding, [finding.folder / "config.yaml"])
    return fingerprint([finding.folder / f"{module}.py", *beside], None, **config, **data_of(finding, module))


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
    return fingerprint(set(files), device, **data_of(finding, "train"))


def data_of(finding: Finding, module: str) -> dict[str, str]:
    """The digests of the files of data in a finding's folder that a module names, or that have an ending it looks for.

    A module names a file "published.yaml" and an ending "*.csv", itself or in what it imports. config.yaml is no data.
    """
    program = finding.folder / f"{module}.py"
    found = [path for path in finding.folder.rglob("*") if path.suffix.lower() in DATA and path.name != "config.yaml"]
    read = [path for path in found if any(module_text.writes(program, text) for text in (path.name, f"*{path.suffix}"))]
    return _digests(finding, read)


def _digests(finding: Finding, paths: Iterable[Path]) -> dict[str, str]:
    names = {path: path.relative_to(finding.folder).as_posix() for path in paths if path.is_file()}
    return {f"experiments/{finding.name}/{name}": _data_digest(path) for path, name in names.items()}


def _data_digest(path: Path) -> str:
    """SHA-256 of a file; of YAML that of what it says, so that a comment plays no part."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    is_yaml = path.suffix.lower() in (".yaml", ".yml")
    return _yaml_digest(path, content) if is_yaml else hashlib.sha256(content).hexdigest()


@cache
def _yaml_digest(path: Path, content: bytes) -> str:
    """The digest of a YAML file with this content, which is read once for all stages."""
    return hashlib.sha256(canonical(yaml_file.read(path)).encode()).hexdigest()


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
    """Join the shards of a scale into runs.parquet and history.parquet in `folder`, if every run is there once.

    ResultError where shards were trained at different precisions or, on devices of one kind, by different code.
    """
    runs = table_of(finding.config, scale)
    check = partial(_check_alike, finding, scale, {run.id: run for run in runs})
    results.merge(shards, folder / "runs.parquet", folder / "history.parquet", runs, check)


def _check_alike(finding: Finding, scale: str, runs: Mapping[str, Run], shards: Sequence[results.Shard]) -> None:
    """ResultError naming two shards that do not belong together. A shard that does not say, fits any."""
    precisions: dict[str, results.Shard] = {}  # and the first shard of each
    for shard in shards:
        if precision := shard.metadata.get("precision"):
            precisions.setdefault(str(precision), shard)
    if len(precisions) > 1:
        said = " and ".join(f"{shard.path} at {precision}" for precision, shard in list(precisions.items())[:2])
        raise ResultError(f"shards were trained at different precisions, {said}: delete one and train it again.")
    for kind in ("cpu", "cuda"):
        if odd := _of_different_code(finding, runs, [shard for shard in shards if _kind(shard) == kind], kind):
            raise ResultError(
                f"{odd[0].path} and {odd[1].path} were trained by different code or versions of libraries: train again "
                f"with weightdecay train {finding.name} --scale {scale}."
            )


def _of_different_code(
    finding: Finding, runs: Mapping[str, Run], shards: Sequence[results.Shard], device: str
) -> tuple[results.Shard, results.Shard] | None:
    """Two shards that different code trained on devices of a kind; None where no such pair is known.

    A shard's fingerprint has the losses, optimisers and networks that its own rows name. So those of different rows are
    compared through the fingerprints that they would have now: both must be of the code of now, or neither.
    """
    shards = [shard for shard in shards if shard.metadata.get("fingerprint")]
    if len({str(shard.metadata["fingerprint"]) for shard in shards}) < 2:
        return None
    now = [code_of_training(finding, [runs[id] for id in shard.runs], device).digest for shard in shards]
    made = [(shard, str(shard.metadata["fingerprint"]), code) for shard, code in zip(shards, now, strict=True)]
    current = next((shard for shard, was, code in made if was == code), None)
    seen: dict[str, tuple[str, results.Shard]] = {}
    for shard, was, code in made:
        if current and was != code:
            return current, shard
        earlier, other = seen.setdefault(code, (was, shard))
        if earlier != was:
            return other, shard
    return None


def _kind(shard: results.Shard) -> str:
    """The kind of device that trained it: only a CPU runs Numba's loops."""
    return "cpu" if str(shard.metadata.get("kernels")).startswith("numba ") else "cuda"


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
