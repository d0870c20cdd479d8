"""The door between the wings: what comes out is what went in, whole and of the same settings, or one sentence."""

import hashlib
import json
import math
import random
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from weightdecay import checksums, files, results
from weightdecay.errors import ResultError
from weightdecay.results import tables
from weightdecay.run import Run
from weightdecay.table import config_hash

TABLE = [
    Run(
        **{"experiment": "blobs", "sweep": "main", "seed": seed, "dataset": "blobs", "train_size": 9, "network": "mlp"},
        **{"width": 4, "blocks": 1, "batch_norm_eps": None, "loss": "squared_error", "optimizer": "sgd"},
        **{"learning_rate": 0.1, "decay": "l2", "weight_decay": 0.1, "batch_size": 3, "shuffle": True, "steps": 8},
        **{"log_every": 4, "log_dense_every": 1},
    )
    for seed in range(5)
]


def frames(runs: list[Run]) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows = [
        {**run.model_dump(), "run": run.id, "train_loss": 1.0 / (1 + run.seed), "diverged_at": math.nan} for run in runs
    ]
    history = [(run.id, step, "train_loss", 1.0 / (1 + step)) for run in runs for step in (0, 4, 8)]
    return pd.DataFrame(rows), pd.DataFrame(history, columns=["run", "step", "metric", "value"])


def write_shard(path, runs, **metadata) -> None:
    results.write_shard(path, *frames(runs), {"config_hash": config_hash(runs), **metadata})


def merged(folder, *parts, table=TABLE) -> results.Results:
    paths = [folder / f"{number}of{len(parts)}.parquet" for number in range(1, len(parts) + 1)]
    for path, part in zip(paths, parts, strict=True):
        write_shard(path, part, scale="smoke", wall_seconds=2.0, peak_memory_mib=100.0 * len(part), device="cpu")
    results.merge(paths, folder / "runs.parquet", folder / "history.parquet", table)
    return results.load(folder, config_hash(table))


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
    assert set(whole.runs.columns) == {*Run.model_fields, "run", "train_loss", "diverged_at"}
    assert whole.runs["batch_norm_eps"].dtype == whole.runs["diverged_at"].dtype == float
    pd.testing.assert_frame_equal(
        *(part.history.sort_values(["run", "step"], ignore_index=True) for part in (whole, parts))
    )


def test_times_of_shards_add_up_and_memory_is_the_largest(tmp_path):
    metadata = merged(tmp_path, TABLE[:2], TABLE[2:]).metadata
    assert (metadata["wall_seconds"], metadata["peak_memory_mib"], metadata["device"]) == (4.0, 300.0, "cpu")
    assert metadata["config_hash"] == config_hash(TABLE)


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
    with pytest.raises(RuntimeError), files.atomic_path(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == "old"
    with files.atomic_path(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def read_every_way(path) -> tuple:
    """A table as bytes that are equal only where all values, names, types and metadata are."""
    if "of" in path.stem:
        runs, history, metadata = results.read_shard(path)
        frames_read = (runs, history)
    else:
        frame, metadata = results.read_table(path)
        frames_read = (frame,)
    assert results.read_metadata(path) == metadata
    return *(pa.Table.from_pandas(frame) for frame in frames_read), metadata


@pytest.mark.parametrize("name", ["1of1", "runs", "history", "squares"])
def test_no_flipped_bit_is_read_as_another_value(tmp_path, name):
    """250 of each kind of table, 1,000 in all, wherever they fall: pages, statistics, footer, digest."""
    merged(tmp_path, TABLE)
    results.write_table(tmp_path / "squares.parquet", pd.DataFrame({"y": [0.0, 1.0, 4.0]}), {"config_hash": "x"})
    path, draw = tmp_path / f"{name}.parquet", random.Random(name)
    whole, read = path.read_bytes(), read_every_way(path)
    for _ in range(250):
        bit = draw.randrange(8 * len(whole))
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(ResultError, match=rf"{name}\.parquet (is|was) .*: (delete|move) it .*make .*\.$"):
            read_every_way(path)
        assert not results.is_made(path, {})
    path.write_bytes(whole)
    assert read_every_way(path) == read and results.is_made(path, {})


def test_nothing_cut_off_or_added_is_read(tmp_path):
    path, draw = tmp_path / "a.parquet", random.Random(0)
    results.write_table(path, frames(TABLE)[1], {"scale": "smoke"})
    whole = path.read_bytes()
    lengths = [0, 3, 4, 8, len(whole) // 2, len(whole) - 1, *draw.sample(range(len(whole)), 50)]
    others = [whole[:length] for length in lengths]
    others += [whole + b"\0", whole + whole, b"PAR1" + whole, whole[4:], whole[:-200] + whole[-4:], b"PAR1" * 99]
    for data in others:
        path.write_bytes(data)
        with pytest.raises(ResultError, match=r"a\.parquet (is|was|does) .*make it again\.$|of another program"):
            results.read_table(path)
        assert not results.is_made(path, {})


def test_a_table_is_a_parquet_file_that_others_can_read(tmp_path):
    results.write_table(tmp_path / "a.parquet", frames(TABLE)[1], {})
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "a.parquet"), frames(TABLE)[1])
    data = (tmp_path / "a.parquet").read_bytes()
    assert data.count(checksums.MARK) == 1 and checksums.is_sealed(data)


def test_final_values_of_a_shard_are_columns(tmp_path):
    """With the types that merging needs: what one shard never has is a float there, as in the others."""
    runs, history = frames(TABLE)
    runs["diverged_at"] = pd.array([None, 3, None, None, 7], dtype="Int64")
    runs["weight_norm"] = [1.5, math.inf, -math.inf, math.nan, 2.0]
    shuffled = history.sample(frac=1, random_state=0).sort_values("step", kind="stable")
    results.write_shard(tmp_path / "1of1.parquet", runs, shuffled, {"scale": "smoke"})
    columns = pq.read_schema(tmp_path / "1of1.parquet").names
    assert columns == [*runs.columns, "history"]
    read, curves, metadata = results.read_shard(tmp_path / "1of1.parquet")
    assert metadata == {"scale": "smoke"}
    assert read["diverged_at"].tolist()[1::3] == [3.0, 7.0] and read["batch_norm_eps"].isna().all()
    assert read["weight_norm"].fillna(0).tolist() == [1.5, 0, 0, 0, 2.0]
    assert {read[name].dtype for name in ("diverged_at", "batch_norm_eps", "weight_norm")} == {np.dtype(float)}
    pd.testing.assert_frame_equal(curves, history)  # by run, in order of each run's own


def test_a_shard_whose_history_is_of_other_runs_is_not_written(tmp_path):
    runs, history = frames(TABLE)
    with pytest.raises(ValueError, match="runs that the table of runs has not"):
        results.write_shard(tmp_path / "1of1.parquet", runs[:4], history, {})
    results.write_shard(tmp_path / "1of1.parquet", runs, history[:0], {})
    assert len(results.read_shard(tmp_path / "1of1.parquet")[1]) == 0


def older(path: Path) -> None:
    """The table as versions before the digest wrote it."""
    frame, metadata = results.read_table(path)
    made = pa.Table.from_pandas(frame)
    pq.write_table(made.replace_schema_metadata({**made.schema.metadata, tables.KEY: json.dumps(metadata)}), path)


def test_a_table_without_a_digest_is_read_only_if_it_was_shipped(tmp_path):
    folder = tmp_path / "laptop" / "first"
    results.write_table(folder / "runs.parquet", frames(TABLE)[0], {"scale": "laptop"})
    frame = results.read_table(folder / "runs.parquet")[0]
    older(folder / "runs.parquet")
    refused = r"runs\.parquet is damaged or was made by an earlier version, without a digest: delete it and make it ag"
    with pytest.raises(ResultError, match=refused):
        results.read_table(folder / "runs.parquet")
    digest = hashlib.sha256((folder / "runs.parquet").read_bytes()).hexdigest()
    (tmp_path / "laptop/SHA256SUMS").write_text(f"{digest}  first/runs.parquet\n")
    pd.testing.assert_frame_equal(results.read_table(folder / "runs.parquet")[0], frame)
    for line in (f"{digest}  second/runs.parquet\n", f"{digest[::-1]}  first/runs.parquet\n", ""):
        (tmp_path / "laptop/SHA256SUMS").write_text(line)
        with pytest.raises(ResultError, match=refused):
            results.read_table(folder / "runs.parquet")
    for line in (f"{digest}  ../x\n", f"{digest}  /etc/passwd\n", "junk\n", f"{digest}  a\n{digest}  a\n", "\xff"):
        (tmp_path / "laptop/SHA256SUMS").write_text(line, encoding="latin-1")
        with pytest.raises(ResultError, match=r"SHA256SUMS is damaged"):
            results.read_table(folder / "runs.parquet")


@pytest.mark.parametrize(
    "metadata",
    [b"", b"null", b"[1]", b'{"scale": 3}', b'{"wall_seconds": "long"}', b'{"wall_seconds": -1}', b"{", b"\xff"],
)
def test_a_table_that_does_not_say_how_it_was_made_is_refused(tmp_path, metadata):
    made = pa.table({"run": ["x"]}).replace_schema_metadata({tables.KEY: metadata})
    with pq.ParquetWriter(tmp_path / "a.parquet", made.schema) as writer:
        writer.write_table(made)
        writer.add_key_value_metadata({"digest": checksums.UNSEALED.decode()})
    path = tmp_path / "a.parquet"
    path.write_bytes(checksums.sealed(path.read_bytes()))
    with pytest.raises(ResultError, match=r"a\.parquet does not say how it was made: delete it and make it again\.$"):
        results.read_table(path)


def test_a_table_in_the_place_of_another_is_refused(tmp_path):
    merged(tmp_path, TABLE)
    with pytest.raises(ResultError, match=r"runs\.parquet is no shard"):
        results.merge([tmp_path / "runs.parquet"], tmp_path / "r.parquet", tmp_path / "h.parquet", TABLE)
    for name, other in (("runs", "history"), ("history", "runs")):
        folder = tmp_path / name
        shutil.copytree(tmp_path, folder, ignore=lambda *_: ["history", "runs"])
        shutil.copy(folder / f"{other}.parquet", folder / f"{name}.parquet")
        with pytest.raises(ResultError, match=rf"{name}\.parquet is another table: delete it and make it again\."):
            results.load(folder)


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
        results.load(tmp_path, config_hash(TABLE[:4]))
    other, history = config_hash(TABLE[:4]), results.read_table(tmp_path / "history.parquet")[0]
    results.write_table(tmp_path / "history.parquet", history, {"config_hash": other})
    with pytest.raises(ResultError, match=r"history\.parquet was made with other settings"):
        results.load(tmp_path)


def test_a_folder_that_cannot_be_written_is_refused_before_the_work(tmp_path):
    (tmp_path / "results").write_text("a file where a folder should be")
    with pytest.raises(ResultError, match=r"cannot write in .*results/smoke: Not a directory"):
        files.check_writable(tmp_path / "results" / "smoke")


def test_provenance_is_known_without_torch():
    about = results.provenance()
    assert about["code_version"] and about["python"].startswith("3.") and about["platform"]
