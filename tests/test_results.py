"""The door between the wings: what comes out is what went in, whole and of the same settings, or one sentence."""

import json
import math

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weightdecay import grid, results
from weightdecay.errors import ResultError

TABLE = [
    grid.Run(
        **{"experiment": "blobs", "sweep": "main", "seed": seed, "dataset": "blobs", "train_size": 9, "network": "mlp"},
        **{"width": 4, "blocks": 1, "batch_norm_eps": None, "loss": "squared_error", "optimizer": "sgd"},
        **{"learning_rate": 0.1, "decay": "l2", "weight_decay": 0.1, "batch_size": 3, "shuffle": True, "steps": 8},
        **{"log_every": 4, "log_dense_every": 1},
    )
    for seed in range(5)
]


def frames(runs: list[grid.Run]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [
        {**run.model_dump(), "run": run.id, "train_loss": 1.0 / (1 + run.seed), "diverged_at": math.nan} for run in runs
    ]
    history = [(run.id, step, "train_loss", 1.0 / (1 + step)) for run in runs for step in (0, 4, 8)]
    return pd.DataFrame(rows), pd.DataFrame(history, columns=["run", "step", "metric", "value"])


def write_shard(path, runs, **metadata) -> None:
    results.write_shard(path, *frames(runs), {"config_hash": grid.config_hash(runs), **metadata})


def merged(folder, *parts, table=TABLE) -> results.Results:
    paths = [folder / f"{number}of{len(parts)}.parquet" for number in range(1, len(parts) + 1)]
    for path, part in zip(paths, parts, strict=True):
        write_shard(path, part, scale="smoke", wall_seconds=2.0, peak_memory_mib=100.0 * len(part), device="cpu")
    results.merge(paths, folder / "runs.parquet", folder / "history.parquet", table)
    return results.load(folder, grid.config_hash(table))


def test_what_is_read_is_what_was_written(tmp_path):
    _, history = frames(TABLE)
    results.write_table(tmp_path / "a.parquet", history, {"scale": "smoke", "cuda": None, "loss": math.nan})
    frame, metadata = results.read_table(tmp_path / "a.parquet", {"scale": "smoke"})
    pd.testing.assert_frame_equal(frame, history)
    assert metadata == {"scale": "smoke", "cuda": None, "loss": None}


def test_merging_does_not_depend_on_how_the_table_was_cut(tmp_path):
    whole, parts = merged(tmp_path / "whole", TABLE), merged(tmp_path / "parts", TABLE[3:], TABLE[:2], TABLE[2:3])
    pd.testing.assert_frame_equal(whole.runs, parts.runs)
    assert list(whole.runs["seed"]) == [0, 1, 2, 3, 4]
    assert set(whole.runs.columns) == {*grid.Run.model_fields, "run", "train_loss", "diverged_at"}
    assert whole.runs["batch_norm_eps"].dtype == whole.runs["diverged_at"].dtype == float
    pd.testing.assert_frame_equal(
        *(part.history.sort_values(["run", "step"], ignore_index=True) for part in (whole, parts))
    )


def test_times_of_shards_add_up_and_memory_is_the_largest(tmp_path):
    metadata = merged(tmp_path, TABLE[:2], TABLE[2:]).metadata
    assert (metadata["wall_seconds"], metadata["peak_memory_mib"], metadata["device"]) == (4.0, 300.0, "cpu")
    assert metadata["config_hash"] == grid.config_hash(TABLE)


def test_of_shards_that_differ_all_is_said(tmp_path):
    paths = [tmp_path / "1of2.parquet", tmp_path / "2of2.parquet"]
    for path, part, device in zip(paths, (TABLE[:2], TABLE[2:]), ("cpu", "gpu"), strict=True):
        write_shard(path, part, device=device, torch="2.13")
    results.merge(paths, tmp_path / "runs.parquet", tmp_path / "history.parquet", TABLE)
    metadata = results.load(tmp_path).metadata
    assert [results.said(metadata, key) for key in ("device", "torch", "matmul")] == ["cpu and gpu", "2.13", "unknown"]


def test_merging_refuses_a_lacking_a_doubled_and_a_foreign_run(tmp_path):
    with pytest.raises(ResultError, match="hold only 4 of 5 runs"):
        merged(tmp_path, TABLE[:4])
    with pytest.raises(ResultError, match=r"2of2\.parquet holds runs that are not its own"):
        merged(tmp_path, TABLE[:3], TABLE[2:])
    with pytest.raises(ResultError, match=r"1of1\.parquet holds runs that are not its own"):
        merged(tmp_path, TABLE, table=TABLE[:4])
    assert not (tmp_path / "runs.parquet").exists()


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), results.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with results.atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_damage_is_noticed_wherever_the_data_is_hit(tmp_path):
    path = tmp_path / "a.parquet"
    results.write_table(path, frames(TABLE)[1], {"scale": "smoke"})
    whole = path.read_bytes()
    chunks = [pq.ParquetFile(path).metadata.row_group(0).column(column) for column in range(4)]
    starts = [chunk.dictionary_page_offset or chunk.data_page_offset for chunk in chunks]
    # values end a page; the statistics in its header, on which nothing here depends, have no checksum
    hits = [start + chunk.total_compressed_size - 2 for start, chunk in zip(starts, chunks, strict=True)]
    hits += [chunk.data_page_offset - 2 for chunk in chunks if chunk.has_dictionary_page]
    assert len(hits) == 7
    for position in hits:
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        with pytest.raises(ResultError, match=r"a\.parquet is damaged"):
            results.read_table(path)
    for length in (0, 3, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ResultError, match=r"a\.parquet is damaged"):
            results.read_table(path)


def test_files_that_are_not_ours_are_refused(tmp_path):
    path = tmp_path / "a.parquet"
    with pytest.raises(ResultError, match=r"a\.parquet is missing"):
        results.read_table(path)
    pq.write_table(pa.table({"run": ["x"]}), path)
    with pytest.raises(ResultError, match=r"a\.parquet is a parquet file of another program"):
        results.read_table(path)
    path.write_text(json.dumps({"run": "x"}))
    with pytest.raises(ResultError, match=r"a\.parquet is damaged or not a parquet file"):
        results.read_table(path)


def test_results_of_other_settings_are_refused(tmp_path):
    merged(tmp_path, TABLE)
    with pytest.raises(
        ResultError, match=r"runs\.parquet was made with other settings \(config_hash is '[0-9a-f]{12}'"
    ):
        results.load(tmp_path, grid.config_hash(TABLE[:4]))
    other, history = grid.config_hash(TABLE[:4]), results.read_table(tmp_path / "history.parquet")[0]
    results.write_table(tmp_path / "history.parquet", history, {"config_hash": other})
    with pytest.raises(ResultError, match=r"history\.parquet was made with other settings"):
        results.load(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(ResultError, match=r"cannot write in .*results/smoke: Not a directory"):
        results.check_writable(tmp_path / "results" / "smoke")


def test_provenance_is_known_without_torch():
    about = results.provenance()
    assert about["code_version"] and about["python"].startswith("3.") and about["platform"]
