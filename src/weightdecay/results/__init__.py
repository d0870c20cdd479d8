"""The door between the wings: tidy tables on disk, each with its provenance, each written whole or not at all."""

from weightdecay.results.tables import (
    HISTORY,
    Results,
    is_made,
    load,
    load_scale,
    merge,
    provenance,
    read_metadata,
    read_shard,
    read_table,
    said,
    write_shard,
    write_table,
)

__all__ = [
    "HISTORY",
    "Results",
    "is_made",
    "load",
    "load_scale",
    "merge",
    "provenance",
    "read_metadata",
    "read_shard",
    "read_table",
    "said",
    "write_shard",
    "write_table",
]
