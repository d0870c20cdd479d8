"""Results: tidy tables on disk, each with its provenance. Training writes them, and analysis reads them."""

from weightdecay.results.loading import Results, load, load_scale
from weightdecay.results.shards import HISTORY, Shard, merge, read_shard, write_shard
from weightdecay.results.tables import is_made, provenance, read_metadata, read_table, said, write_table

__all__ = [
    "HISTORY",
    "Results",
    "Shard",
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
