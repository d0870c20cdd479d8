"""The door between the wings: tidy tables on disk, each with its provenance, each written whole or not at all.

Every table has a digest of all its bytes inside, which is checked before anything of it is read. A shard file is one
table with a row a run: settings, last values, and the history as a list, so that a shard is finished or not, never
half. `merge` makes runs.parquet and history.parquet of them; `load` is how analysis reads them.
"""

import json
import math
import platform
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, NonNegativeFloat

from weightdecay.checksums import MARK, UNSEALED, has_shipped_sum, is_sealed, sealed
from weightdecay.config import Config
from weightdecay.errors import ResultError
from weightdecay.files import atomic_path, check_writable
from weightdecay.run import Run
from weightdecay.table import computation_hashes, config_hash, table_of
from weightdecay.version import code_version

KEY = b"weightdecay"
HISTORY = ("run", "step", "metric", "value")  # the columns of a history


class About(BaseModel):
    """What a table says of how it was made, as far as anything is computed from it; of the rest any JSON will do."""

    model_config = ConfigDict(strict=True, extra="allow")

    experiment: str | None = None
    scale: str | None = None
    config_hash: str | None = None
    wall_seconds: NonNegativeFloat | None = None
    peak_memory_mib: NonNegativeFloat | None = None


@dataclass(frozen=True)
class Results:
    """One experiment at one scale."""

    runs: pd.DataFrame  # one row a run: settings, last value of every metric, diverged_at (step or NaN)
    history: pd.DataFrame  # run, step, metric, value
    metadata: dict
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # of compute.py, by name


def write_table(path: str | Path, frame: pd.DataFrame, metadata: dict, compression_level: int = 3) -> None:
    """Writes a parquet file with its digest inside and `metadata` (anything JSON can hold; NaN becomes null)."""
    _write(path, pa.Table.from_pandas(frame, preserve_index=False), metadata, compression_level)


def _write(path: str | Path, made: pa.Table, metadata: dict, compression_level: int = 3) -> None:
    """Floats are stored with the first bytes of all, then the second, and so on: zstd makes that a quarter smaller."""
    split = [field.name for field in made.schema if pa.types.is_floating(field.type)]
    text = json.dumps(_without_nan(metadata), allow_nan=False)
    made = made.replace_schema_metadata({**(made.schema.metadata or {}), KEY: text.encode()})
    buffer = pa.BufferOutputStream()
    with pq.ParquetWriter(
        buffer,
        made.schema,
        compression="zstd",
        compression_level=compression_level,
        use_dictionary=[name for name in made.column_names if name not in split],
        column_encoding=dict.fromkeys(split, "BYTE_STREAM_SPLIT"),
    ) as writer:
        writer.write_table(made)
        writer.add_key_value_metadata({"digest": UNSEALED.decode()})
    data = sealed(buffer.getvalue().to_pybytes())
    with atomic_path(path, len(data)) as temporary:
        temporary.write_bytes(data)


def read_table(path: str | Path, expect: dict | None = None) -> tuple[pd.DataFrame, dict]:
    """The table and its metadata; a ResultError if it is missing, damaged, not ours or not what is expected."""
    made, metadata = _read(path, expect)
    return made.to_pandas(), metadata


def read_metadata(path: str | Path, expect: dict | None = None) -> dict:
    """The metadata of a table, all of whose bytes are checked as `read_table` checks them."""
    return _read(path, expect, pq.read_schema)[1]


def _read(path: str | Path, expect: dict | None = None, parse: Callable = pq.read_table) -> tuple[Any, dict]:
    """A table, or what else of it `parse` makes of its bytes, and its metadata."""
    path = Path(path)
    data = _whole(path)
    try:
        read = parse(pa.BufferReader(data))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ResultError(f"{path} is damaged or not a parquet file: delete it and make it again.") from error
    return read, _metadata(path, read if isinstance(read, pa.Schema) else read.schema, expect)


def _whole(path: Path) -> bytes:
    """The bytes of a table if they are those that were written, else a ResultError. Nothing is parsed before that."""
    if not path.is_file():
        raise ResultError(f"{path} is missing: make it with snakemake or with weightdecay train.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}.") from error
    whole = is_sealed(data)
    if whole is None and has_shipped_sum(path, data):  # it was shipped before tables had digests
        whole = True
    if whole:
        return data
    again = "delete it and make it again."
    if not (data[:4] == data[-4:] == b"PAR1"):
        raise ResultError(f"{path} is damaged or not a parquet file: {again}")
    if whole is None and KEY not in data:
        raise ResultError(f"{path} is a parquet file of another program: move it away and make ours again.")
    if whole is None and MARK not in data:
        raise ResultError(f"{path} is damaged or was made by an earlier version, without a digest: {again}")
    raise ResultError(f"{path} is damaged, as its digest does not fit: {again}")


def _metadata(path: str | Path, schema: pa.Schema, expect: dict | None) -> dict:
    try:
        metadata = json.loads((schema.metadata or {}).get(KEY, b"null"))
        About.model_validate(metadata)
    except ValueError as error:
        raise ResultError(f"{path} does not say how it was made: delete it and make it again.") from error
    for key, value in (expect or {}).items():
        if metadata.get(key) != value:
            raise ResultError(
                f"{path} was made with other settings ({key} is {_short(metadata.get(key))}, now {_short(value)}): "
                "delete it and make it again."
            )
    return metadata


def is_made(path: str | Path, expected: dict, since: float = 0) -> bool:
    """Whether the table is there and whole, its metadata as `expected`, and no older than `since`."""
    try:
        read_metadata(path, expected)
    except ResultError:
        return False
    return Path(path).stat().st_mtime >= since


def write_shard(path: str | Path, runs: pd.DataFrame, history: pd.DataFrame, metadata: dict) -> None:
    """One finished shard in one file: the table of its runs, each with its part of `history` as a list."""
    place = pd.Index(runs["run"]).get_indexer(history["run"])
    if (place < 0).any():
        raise ValueError("the history has runs that the table of runs has not")
    history = history.iloc[np.argsort(place, kind="stable")]
    ends = np.searchsorted(np.sort(place), np.arange(len(runs) + 1)).astype(np.int32)
    values = pa.Table.from_pandas(history[list(HISTORY[1:])], preserve_index=False).to_struct_array().combine_chunks()
    made = pa.Table.from_pandas(_numbers(runs), preserve_index=False)
    _write(path, made.append_column("history", pa.ListArray.from_arrays(ends, values)), metadata)


def read_shard(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame, dict]:
    """The runs, the history and the metadata of a shard; the history is in the order of the runs."""
    made, metadata = _read(path)
    if "history" not in made.column_names or "run" not in made.column_names:
        raise ResultError(f"{path} is no shard: delete it and make it again.")
    lists = made["history"].combine_chunks()
    history = pa.Table.from_struct_array(lists.flatten())
    history = history.add_column(0, "run", made["run"].take(pc.list_parent_indices(lists)))
    return made.drop_columns("history").to_pandas(), history.to_pandas(), metadata


def merge(
    shard_paths: Iterable[str | Path], runs_path: str | Path, history_path: str | Path, expected_runs: list[Run]
) -> None:
    """Joins the shards into the two tables of the experiment, if every run of the table is there exactly once."""
    check_writable(Path(runs_path).parent)
    missing = {run.id for run in expected_runs}
    runs, histories, metadata = [], [], []
    for path in shard_paths:
        shard_runs, history, about = read_shard(path)
        found = list(shard_runs["run"])
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
    _check_columns(folder, runs, history)
    history = history.astype({"step": "int64", "value": "float64"})  # shipped ones are smaller
    return Results(runs, history, metadata, tables)


def load_scale(folder: str | Path, config: Config, scale: str) -> Results:
    """The same, all of it made with the settings that `config` has for the scale."""
    return load(folder, config_hash(table_of(config, scale)), computation_hashes(config, scale))


def provenance() -> dict:
    """What made a result, as far as it can be known without torch."""
    return {"code_version": code_version(), "python": platform.python_version(), "platform": platform.platform()}


def said(metadata: Mapping, key: str) -> str:
    """One entry of a table's metadata as text; where shards differed, as on several devices, all of theirs."""
    value = metadata.get(key, "unknown")
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _check_columns(folder: str | Path, runs: pd.DataFrame, history: pd.DataFrame) -> None:
    """ResultError where one of the two tables has taken the other's place, or a third's."""
    numbers = all(name in history and pd.api.types.is_numeric_dtype(history[name]) for name in ("step", "value"))
    for name, is_one in (
        ("runs", {"run", "diverged_at"} <= set(runs) and runs["run"].is_unique),
        ("history", set(history) == set(HISTORY) and numbers),
    ):
        if not is_one:
            raise ResultError(f"{Path(folder) / name}.parquet is another table: delete it and make it again.")


def _numbers(runs: pd.DataFrame) -> pd.DataFrame:
    """The same runs with NaN, and a column of floats, for whatever is unknown, infinite or has never a value."""
    empty = runs.columns[runs.isna().all()]
    nullable = [name for name in runs if isinstance(runs[name].dtype, pd.Int64Dtype)]
    runs = runs.astype(dict.fromkeys([*empty, *nullable], "float64"))
    floats = runs.select_dtypes("float").columns
    return runs.assign(**runs[floats].replace([np.inf, -np.inf], np.nan))


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
