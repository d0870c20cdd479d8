"""The door between the wings: tidy tables on disk, each with its provenance, each written whole or not at all.

A shard file holds the history of its runs as the table and the runs themselves in the metadata, so that a shard is
finished or not, never half. `merge` makes runs.parquet and history.parquet of them; `load` is how analysis reads them.
"""

import json
import math
import os
import platform
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from weightdecay import __version__
from weightdecay.errors import ResultError
from weightdecay.grid import Config, Run, computation_hashes, config_hash, table

KEY = b"weightdecay"


@dataclass(frozen=True)
class Results:
    """One experiment at one scale."""

    runs: pd.DataFrame  # one row a run: settings, last value of every metric, diverged_at (step or NaN)
    history: pd.DataFrame  # run, step, metric, value
    metadata: dict
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # of compute.py, by name


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A path to write to, in the same folder; it becomes `path` at the end, or vanishes if anything fails."""
    path = Path(path)
    check_writable(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(folder: str | Path) -> None:
    """Makes the folder; a ResultError if a file cannot be made in it. To be asked before the work, not after."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ResultError(f"cannot write in {folder}: {error.strerror}.") from error


def write_table(path: str | Path, frame: pd.DataFrame, metadata: dict, compression_level: int = 3) -> None:
    """Writes a parquet file with checksums in its pages and `metadata` (anything JSON can hold; NaN becomes null).

    Floats are stored with the first bytes of all, then the second, and so on, which zstd makes a quarter smaller.
    """
    made = pa.Table.from_pandas(frame, preserve_index=False)
    split = [field.name for field in made.schema if pa.types.is_floating(field.type)]
    text = json.dumps(_without_nan(metadata), allow_nan=False)
    made = made.replace_schema_metadata({**(made.schema.metadata or {}), KEY: text.encode()})
    with atomic_path(path) as temporary:
        pq.write_table(
            made,
            temporary,
            compression="zstd",
            compression_level=compression_level,
            use_dictionary=[name for name in made.column_names if name not in split],
            column_encoding=dict.fromkeys(split, "BYTE_STREAM_SPLIT"),
            write_page_checksum=True,
        )


def read_table(path: str | Path, expect: dict | None = None) -> tuple[pd.DataFrame, dict]:
    """The table and its metadata; a ResultError if it is missing, damaged, not ours or not what is expected."""
    path = Path(path)
    if not path.is_file():
        raise ResultError(f"{path} is missing: make it with snakemake or with weightdecay train.")
    try:
        read = pq.read_table(path, page_checksum_verification=True)
        frame = read.to_pandas()
        text = (read.schema.metadata or {}).get(KEY)
        metadata = None if text is None else json.loads(text)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise ResultError(f"{path} is damaged or not a parquet file: delete it and make it again.") from error
    if metadata is None:
        raise ResultError(f"{path} is a parquet file of another program: move it away and make ours again.")
    for key, value in (expect or {}).items():
        if metadata.get(key) != value:
            raise ResultError(
                f"{path} was made with other settings ({key} is {_short(metadata.get(key))}, now {_short(value)}): "
                "delete it and make it again."
            )
    return frame, metadata


def is_made(path: str | Path, expected: dict, since: float) -> bool:
    """Whether the table is there and whole, its metadata as `expected`, and no older than `since`."""
    try:
        read_table(path, expected)
    except ResultError:
        return False
    return Path(path).stat().st_mtime >= since


def write_shard(path: str | Path, runs: pd.DataFrame, history: pd.DataFrame, metadata: dict) -> None:
    """One finished shard in one file: `history` is the table, `runs` (settings and results) is in the metadata."""
    write_table(path, history, {**metadata, "runs": runs.to_dict(orient="records")})


def merge(
    shard_paths: Iterable[str | Path], runs_path: str | Path, history_path: str | Path, expected_runs: list[Run]
) -> None:
    """Joins the shards into the two tables of the experiment, if every run of the table is there exactly once."""
    missing = {run.id for run in expected_runs}
    runs, histories, metadata = [], [], []
    for path in shard_paths:
        history, about = read_table(path)
        shard_runs = _frame(about.pop("runs", []))
        found = list(shard_runs.get("run", []))
        if len(set(found)) != len(found) or not set(found) <= missing:
            raise ResultError(f"{path} holds runs that are not its own (other settings?): delete it and make it again.")
        missing -= set(found)
        runs.append(shard_runs)
        histories.append(history)
        metadata.append(about)
    if missing:
        found = f"{len(expected_runs) - len(missing)} of {len(expected_runs)}"
        raise ResultError(f"the shards of {Path(runs_path).parent} hold only {found} runs: train the others first.")
    about = {**_joined(metadata), "config_hash": config_hash(expected_runs)}
    order = {run.id: position for position, run in enumerate(expected_runs)}
    all_runs = pd.concat(runs, ignore_index=True).sort_values("run", key=lambda ids: ids.map(order), ignore_index=True)
    write_table(history_path, pd.concat(histories, ignore_index=True), about)
    write_table(runs_path, all_runs, about)


def load(
    folder: str | Path, expected_hash: str | None = None, computations: Mapping[str, str] = MappingProxyType({})
) -> Results:
    """The results of one experiment at one scale, from the folder that holds runs.parquet and history.parquet.

    `computations`: name -> hash of the tables of compute.py, <name>.parquet in the same folder.
    """
    expect = None if expected_hash is None else {"config_hash": expected_hash}
    runs, metadata = read_table(Path(folder) / "runs.parquet", expect)
    history, _ = read_table(Path(folder) / "history.parquet", {"config_hash": metadata.get("config_hash")})
    tables = {
        name: read_table(Path(folder) / f"{name}.parquet", {"config_hash": hash_})[0]
        for name, hash_ in computations.items()
    }
    history = history.astype({"step": "int64", "value": "float64"})  # shipped ones are smaller
    return Results(runs, history, metadata, tables)


def load_scale(folder: str | Path, config: Config, scale: str) -> Results:
    """The same, all of it made with the settings that `config` has for the scale."""
    return load(folder, config_hash(table(config, scale)), computation_hashes(config, scale))


def provenance() -> dict:
    """What made a result, as far as it can be known without torch."""
    describe = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--tags"]
    try:
        answer = subprocess.run(describe, capture_output=True, text=True, check=False)
        version = answer.stdout.strip() if answer.returncode == 0 else __version__
    except OSError:  # no git
        version = __version__
    return {"code_version": version, "python": platform.python_version(), "platform": platform.platform()}


def said(metadata: Mapping, key: str) -> str:
    """One entry of a table's metadata as text; where shards differed, as on several devices, all of theirs."""
    value = metadata.get(key, "unknown")
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _frame(records: list[dict]) -> pd.DataFrame:
    """Records as a frame in which a column of nothing but None is a column of NaN."""
    frame = pd.DataFrame(records)
    empty = frame.columns[frame.isna().all()]
    return frame.astype(dict.fromkeys(empty, "float64"))


def _joined(metadata: list[dict]) -> dict:
    """What the shards say of themselves as one: times add up, memory is the largest, differing values are listed."""
    joined = {}
    for key in {key: None for about in metadata for key in about}:
        values = [about[key] for about in metadata if about.get(key) is not None]
        if key == "wall_seconds":
            joined[key] = sum(values)
        elif key == "peak_memory_mib":
            joined[key] = max(values, default=None)
        else:
            distinct = [value for index, value in enumerate(values) if value not in values[:index]]
            joined[key] = distinct[0] if len(distinct) == 1 else distinct or None
    return joined


def _without_nan(value):
    """The same value with NaN and infinities as None: strict JSON has neither."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(value) -> str:
    return repr(value[:12] if isinstance(value, str) and len(value) == 64 else value)
