"""Reads the results of a finding: its runs, their history, and the tables of its computations."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd

from weightdecay.config import Config
from weightdecay.errors import ResultError
from weightdecay.results.shards import HISTORY
from weightdecay.results.tables import read_table
from weightdecay.table import computation_hashes, hash_of


@dataclass(frozen=True)
class Results:
    """The results of one finding at one scale."""

    runs: pd.DataFrame  # one row for each run: settings, last value of every metric, diverged_at (step or NaN)
    history: pd.DataFrame  # run, step, metric, value
    metadata: dict[str, Any]
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)  # of compute.py, by name


def load(
    folder: str | Path, expected_hash: str | None = None, computations: Mapping[str, str] = MappingProxyType({})
) -> Results:
    """Load the results of a finding at one scale from their folder: runs.parquet, history.parquet and computed tables.

    `expected_hash`: the configuration's; ResultError if the results have another. `computations`: name -> hash for each
    table of compute.py, which is <name>.parquet in the same folder.
    """
    expect = None if expected_hash is None else {"config_hash": expected_hash}
    runs, metadata = read_table(Path(folder) / "runs.parquet", expect)
    history, _ = read_table(Path(folder) / "history.parquet", {"config_hash": metadata.get("config_hash")})
    tables = {
        name: read_table(Path(folder) / f"{name}.parquet", {"config_hash": hash_})[0]
        for name, hash_ in computations.items()
    }
    _check_columns(folder, runs, history)
    history = history.astype({"step": "int64", "value": "float64"})  # shipped histories have smaller types
    return Results(runs, history, metadata, tables)


def load_scale(folder: str | Path, config: Config, scale: str) -> Results:
    """Load the results of one scale; ResultError unless they were made with the present settings of `config`."""
    return load(folder, hash_of(config, scale), computation_hashes(config, scale))


def _check_columns(folder: str | Path, runs: pd.DataFrame, history: pd.DataFrame) -> None:
    """Raise ResultError if one of the two files holds another table, for example because they were swapped."""
    numbers = all(name in history and pd.api.types.is_numeric_dtype(history[name]) for name in ("step", "value"))
    for name, is_one in (
        ("runs", {"run", "diverged_at"} <= set(runs) and runs["run"].is_unique),
        ("history", set(history) == set(HISTORY) and numbers),
    ):
        if not is_one:
            raise ResultError(f"{Path(folder) / name}.parquet is another table: delete it and make it again.")
