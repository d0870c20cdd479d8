"""Tables on disk: parquet files that contain their provenance and a digest, written completely or not at all.

The digest covers all bytes of a table, and is checked before any of them is parsed.
"""

import json
import math
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, NonNegativeFloat

from weightdecay.checksums import MARK, UNSEALED, has_shipped_sum, is_sealed, sealed
from weightdecay.errors import ResultError
from weightdecay.files import atomic_path
from weightdecay.version import code_version

KEY = b"weightdecay"


class About(BaseModel):
    """The types of those metadata of a table that are used later on. It may have any other JSON too."""

    model_config = ConfigDict(strict=True, extra="allow")

    experiment: str | None = None
    scale: str | None = None
    config_hash: str | None = None
    wall_seconds: NonNegativeFloat | None = None
    peak_memory_mib: NonNegativeFloat | None = None


def write_table(path: str | Path, frame: pd.DataFrame, metadata: Mapping[str, Any], compression_level: int = 3) -> None:
    """Write a parquet file with its digest inside and `metadata` (anything JSON can hold; NaN becomes null)."""
    write_arrow(path, pa.Table.from_pandas(frame, preserve_index=False), metadata, compression_level)


def write_arrow(path: str | Path, made: pa.Table, metadata: Mapping[str, Any], compression_level: int = 3) -> None:
    """Write an Arrow table as `write_table` does.

    Floats are stored as the first bytes of all, then the second bytes, and so on, which zstd makes a quarter smaller.
    """
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


def read_table(path: str | Path, expect: Mapping[str, Any] | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a table and its metadata; ResultError if it is missing, damaged, not ours, or not as expected.

    `expect`: metadata that the table must have.
    """
    made, metadata = read_arrow(path, expect)
    return made.to_pandas(), metadata


def read_metadata(path: str | Path, expect: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read only the metadata of a table; all of its bytes are checked, as in `read_table`."""
    return read_arrow(path, expect, pq.read_schema)[1]


def read_arrow(
    path: str | Path, expect: Mapping[str, Any] | None = None, parse: Callable[[pa.BufferReader], Any] = pq.read_table
) -> tuple[Any, dict[str, Any]]:
    """Read an Arrow table, or whatever else `parse` makes of its bytes, and its metadata."""
    path = Path(path)
    data = _whole(path)
    try:
        read = parse(pa.BufferReader(data))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise ResultError(f"{path} is damaged or not a parquet file: delete it and make it again.") from error
    return read, _metadata(path, read if isinstance(read, pa.Schema) else read.schema, expect)


def _whole(path: Path) -> bytes:
    """Return the bytes of a table if they are as they were written, else raise ResultError. Nothing is parsed."""
    if not path.is_file():
        raise ResultError(f"{path} is missing: make it with snakemake or with weightdecay train.")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}.") from error
    whole = is_sealed(data)
    if whole is None and has_shipped_sum(path, data):  # shipped before tables had digests
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


def _metadata(path: str | Path, schema: pa.Schema, expect: Mapping[str, Any] | None) -> dict[str, Any]:
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


def is_made(path: str | Path, expected: Mapping[str, Any]) -> bool:
    """Return whether the table is there, undamaged, and has the `expected` metadata."""
    try:
        read_metadata(path, expected)
    except ResultError:
        return False
    return True


def provenance() -> dict[str, Any]:
    """Return the versions of code, Python and platform that make results here, as far as is known without torch."""
    return {"code_version": code_version(), "python": platform.python_version(), "platform": platform.platform()}


def said(metadata: Mapping[str, Any], key: str) -> str:
    """Return one entry of a table's metadata as text. If shards differed, it has the values of all."""
    value = metadata.get(key, "unknown")
    return " and ".join(map(str, value)) if isinstance(value, list) else str(value)


def _without_nan(value: Any) -> Any:
    """Return the value with None for NaN and infinities, which strict JSON lacks."""
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if hasattr(value, "item"):  # a numpy scalar
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _short(value: Any) -> str:
    return repr(value[:12] if isinstance(value, str) and len(value) == 64 else value)
