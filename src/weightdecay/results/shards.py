"""Shard files: one table with a row for each run and its history as a list. As one file, it is never half finished."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from weightdecay.errors import ResultError
from weightdecay.files import check_writable
from weightdecay.results.tables import read_arrow, write_arrow, write_table
from weightdecay.run import Run
from weightdecay.table import config_hash

HISTORY = ("run", "step", "metric", "value")  # the columns of a history


@dataclass(frozen=True)
class Shard:
    """What is known of a shard before it is joined: its file, the ids of its runs, its metadata."""

    path: Path
    runs: frozenset[str]
    metadata: Mapping[str, Any]


def write_shard(path: str | Path, runs: pd.DataFrame, history: pd.DataFrame, metadata: Mapping[str, Any]) -> None:
    """Write a finished shard into one file: the table of its runs, each with its part of `history` as a list."""
    place = pd.Index(runs["run"]).get_indexer(history["run"])
    if (place < 0).any():
        raise ValueError("the history has runs that the table of runs has not")
    history = history.iloc[np.argsort(place, kind="stable")]
    ends = np.searchsorted(np.sort(place), np.arange(len(runs) + 1)).astype(np.int32)
    values = pa.Table.from_pandas(history[list(HISTORY[1:])], preserve_index=False).to_struct_array().combine_chunks()
    made = pa.Table.from_pandas(_numbers(runs), preserve_index=False)
    write_arrow(path, made.append_column("history", pa.ListArray.from_arrays(ends, values)), metadata)


def read_shard(path: str | Path) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Read the runs, the history and the metadata of a shard; the history is in the order of the runs."""
    made, metadata = read_arrow(path)
    if "history" not in made.column_names or "run" not in made.column_names:
        raise ResultError(f"{path} is no shard: delete it and make it again.")
    lists = made["history"].combine_chunks()
    history = pa.Table.from_struct_array(lists.flatten())
    history = history.add_column(0, "run", made["run"].take(pc.list_parent_indices(lists)))
    return made.drop_columns("history").to_pandas(), history.to_pandas(), metadata


def merge(
    shard_paths: Iterable[str | Path],
    runs_path: str | Path,
    history_path: str | Path,
    expected_runs: list[Run],
    check: Callable[[Sequence[Shard]], None] = lambda shards: None,
) -> None:
    """Join the shards into the two tables of the finding; ResultError unless every expected run is there once.

    `check` is given the shards before anything is written, and raises a ResultError where they do not belong together.
    """
    check_writable(Path(runs_path).parent)
    missing = {run.id for run in expected_runs}
    runs, histories, shards = [], [], []
    for path in shard_paths:
        shard_runs, history, about = read_shard(path)
        found = list(shard_runs["run"])
        if len(set(found)) != len(found) or not set(found) <= missing:
            raise ResultError(f"{path} holds runs that are not its own (other settings?): delete it and make it again.")
        missing -= set(found)
        runs.append(shard_runs)
        histories.append(history)
        shards.append(Shard(Path(path), frozenset(found), about))
    if missing:
        kept = f"{len(expected_runs) - len(missing)} of {len(expected_runs)}"
        raise ResultError(f"the shards of {Path(runs_path).parent} hold only {kept} runs: train the others first.")
    check(shards)
    about = {**_joined([shard.metadata for shard in shards]), "config_hash": config_hash(expected_runs)}
    order = {run.id: position for position, run in enumerate(expected_runs)}
    all_runs = pd.concat(runs, ignore_index=True).sort_values("run", key=lambda ids: ids.map(order), ignore_index=True)
    write_table(history_path, pd.concat(histories, ignore_index=True), about)
    write_table(runs_path, all_runs, about)


def _numbers(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the runs with NaN for unknown and infinite values; columns without any value become floats."""
    empty = runs.columns[runs.isna().all()]
    nullable = [name for name in runs if isinstance(runs[name].dtype, pd.Int64Dtype)]
    runs = runs.astype(dict.fromkeys([*empty, *nullable], "float64"))
    floats = runs.select_dtypes("float").columns
    return runs.assign(**runs[floats].replace([np.inf, -np.inf], np.nan))


def _joined(metadata: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Join the metadata of the shards: times are summed, memory is the largest, and differing values are listed."""
    joined: dict[str, Any] = {}
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
