"""A training does without its checkpoint where it must, and leaves none behind when it is done."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.ensemble.test_kill_storm import CONFIG, write_finding
from weightdecay import files, results
from weightdecay.finding import findings
from weightdecay.workflow import stages


@pytest.fixture
def program(tmp_path, monkeypatch) -> Callable[[str], None]:
    """`program(output)`: train the shard, in this process, in a folder of its own."""
    few = CONFIG.replace("steps: 2000, log_every: 20", "steps: 20, log_every: 20")
    assert few != CONFIG
    write_finding(tmp_path / "storm", **{"config.yaml": few})
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    finding = findings(tmp_path / "storm")["storm"]
    return lambda output: stages.train(finding, "smoke", "1/1", Path(output), "cpu", "float32")


def everything(folder: str = ".") -> list[str]:
    return sorted(path.as_posix() for path in Path(folder).rglob("*"))


def test_an_output_in_the_working_folder_writes_nothing_outside(program):
    """It was an IndexError; its checkpoint is kept here meanwhile, not in the folder above."""
    before = everything("..")
    program("shard.parquet")
    assert set(everything("..")) - set(before) == {"../here/shard.parquet", "../here/checkpoints"}


def test_a_checkpoint_that_was_left_by_a_kill_after_the_last_write_is_deleted(program, capsys):
    program("smoke/shards/1.parquet")
    left = Path("smoke/checkpoints/1.checkpoint")
    left.write_bytes(files.CHECKPOINT)
    program("smoke/shards/1.parquet")
    assert "is finished already" in capsys.readouterr().out and not left.exists()


def test_a_training_whose_checkpoints_have_no_folder_finishes(program, capsys):
    """A file stands where the folder should be; what is written is the same."""
    program("one/shards/1.parquet")
    assert not capsys.readouterr().err
    Path("two").mkdir()
    Path("two/checkpoints").write_text("mine")
    program("two/shards/1.parquet")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("no checkpoint can be kept in two/checkpoints, where ")
    assert Path("two/checkpoints").read_text() == "mine"
    ours, theirs = (results.read_table(f"{name}/shards/1.parquet")[0] for name in ("one", "two"))
    assert ours.to_json() == theirs.to_json()


def test_a_file_of_the_user_in_the_place_of_the_checkpoint_is_kept(program, capsys):
    """Neither replaced meanwhile, nor deleted afterwards, nor when run again."""
    mine = Path("checkpoints/mine.checkpoint")
    mine.parent.mkdir()
    mine.write_text("weeks of work")
    for _ in range(2):
        program("out/mine.parquet")
        assert mine.read_text() == "weeks of work"
    (ignored, unkept) = capsys.readouterr().err.splitlines()
    assert ignored.startswith(f"the checkpoint {mine} is ignored")
    assert unkept == f"no checkpoint is kept, as {mine} is there already and is none: move it away."


def test_a_folder_in_the_place_of_the_checkpoint_is_kept(program):
    folder = Path("smoke/checkpoints/1.checkpoint")
    folder.mkdir(parents=True)
    os.utime(folder, (0, 0))
    program("smoke/shards/1.parquet")
    assert folder.is_dir() and Path("smoke/shards/1.parquet").is_file()
