"""Files are written whole or not at all, never among shipped results, and what cannot be written is one sentence."""

import errno
import os
import platform
import subprocess
import sys
import textwrap
import time

import pytest

from weightdecay import files
from weightdecay.errors import ResultError

FULL = [errno.ENOSPC, errno.EDQUOT, errno.EFBIG]
REFUSED = [errno.EROFS, errno.EACCES, errno.ENAMETOOLONG, errno.EIO]


@pytest.mark.parametrize("number", FULL + REFUSED, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["replace", "fsync", "write"])
def test_whatever_fails_is_one_sentence_and_the_old_file_stays(tmp_path, monkeypatch, number, call):
    path = tmp_path / "runs.parquet"
    path.write_bytes(b"old")

    def fails(*_):
        raise OSError(number, os.strerror(number))

    if call != "write":
        monkeypatch.setattr(files.os, call, fails)
    with pytest.raises(ResultError) as caught, files.atomic_path(path, 5 * 2**20) as temporary:
        temporary.write_bytes(b"half")
        if call == "write":
            fails()
    text = str(caught.value)
    assert text.startswith(f"cannot write in {tmp_path}: {os.strerror(number)}.") and "\n" not in text
    assert ("runs.parquet takes about 5.0 MiB" in text) == (number in FULL)
    assert ("MiB are free" in text) == (number == errno.ENOSPC)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["runs.parquet"]


def test_an_error_about_another_file_is_not_taken_for_ours(tmp_path):
    with pytest.raises(FileNotFoundError), files.atomic_path(tmp_path / "a.txt"):
        open(tmp_path / "not there", encoding="utf-8")


FILLED = """
import resource, sys
from pathlib import Path
import pandas as pd
from weightdecay import results
from weightdecay.errors import WeightDecayError
from weightdecay.claims import model as claims
from weightdecay.report import latex, style

resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
frame = pd.DataFrame({"run": [f"{k * 7919 % 100003:05}" for k in range(20_000)]})
table = frame.assign(step=range(20_000), metric="loss", value=0.5)
figure = style.plt.figure()
figure.add_subplot().plot(range(100))
for write in (
    lambda: results.write_table("a/runs.parquet", frame, {}),
    lambda: results.write_shard("a/1of1.parquet", frame, table, {}),
    lambda: latex.write(Path("a/claims.tex"), "text " * 1000),
    lambda: style.save(figure, Path("a"), "figure", "paper"),
):
    try:
        write()
        print("written")
    except WeightDecayError as error:
        print(error)
"""


def test_a_full_disk_stops_tables_tex_and_figures_alike(tmp_path):
    """The limit on a file's size stands for the disk: it stops a real write in the middle."""
    (tmp_path / "a").mkdir()
    for name in ("runs.parquet", "1of1.parquet", "claims.tex", "figure.pdf"):
        (tmp_path / "a" / name).write_text("old")
    done = subprocess.run([sys.executable, "-c", FILLED], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    said = done.stdout.splitlines()
    assert len(said) == 4
    for line, name in zip(said, ("runs.parquet", "1of1.parquet", "claims.tex", "figure.pdf"), strict=True):
        assert line.startswith(f"cannot write in a: File too large. {name} takes about 0.") and "make room" in line
        assert (tmp_path / "a" / name).read_text() == "old"
    assert len(os.listdir(tmp_path / "a")) == 4


def test_what_killed_processes_left_is_removed_and_what_others_write_is_not(tmp_path):
    path, owner = tmp_path / "runs.parquet", files._owner()
    code = f"""
        import os, signal
        from weightdecay.files import atomic_path
        with atomic_path({str(path)!r}) as temporary:
            temporary.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    for _ in range(3):
        subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
        left = [name for name in os.listdir(tmp_path) if name.endswith(".part")]
        assert len(left) == 1  # each removes what the one before left
    running, dead = os.getppid(), left[0].split(".")[-2]
    days_ago = time.time() - 4 * 86400
    kept = {
        f".runs.parquet.{owner}.{running}.part": None,
        f".runs.parquet.elsewhere-1.{dead}.part": None,  # another machine that shares the folder
        f".history.parquet.{owner}.{dead}.part": days_ago,  # of another file
        ".runs.parquet.notes.part": days_ago,
        ".runs.parquet.part": days_ago,
    }
    removed = {f".runs.parquet.elsewhere-1.{running}.part": days_ago, left[0]: None}
    for name, when in (kept | removed).items():
        (tmp_path / name).write_text("half")
        if when:
            os.utime(tmp_path / name, (when, when))
    (tmp_path / f".runs.parquet.{owner}.999999998.part").mkdir()  # no file
    (tmp_path / f".runs.parquet.{owner}.999999997.part").symlink_to(tmp_path / ".runs.parquet.part")
    files.write(path, "whole")
    there = {name for name in os.listdir(tmp_path) if "99999999" not in name}
    assert there == {"runs.parquet", *kept} and len(os.listdir(tmp_path)) == len(there) + 2


def test_process_numbers_are_those_of_this_machine_alone():
    assert platform.node().replace(".", "-")[:8] in files._owner()
    assert files.TEMPORARY.fullmatch(f"{files._owner()}.123")


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder with shipped results, in which the test runs, and a copy of these somewhere else."""
    for folder in ("data/reference/laptop", "copy/laptop"):
        (tmp_path / folder / "first").mkdir(parents=True)
        (tmp_path / folder / files.SUMS).write_text("")
        (tmp_path / folder / files.PROVENANCE).write_text('{"experiments": {}}')
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_nothing_is_written_among_shipped_results_whatever_they_are_called(shipped):
    (shipped / "results").symlink_to("data/reference/laptop")
    (shipped / "claims.json").symlink_to("data/reference/laptop/claims.json")
    (shipped / "loop").symlink_to("loop")
    inside = [
        *("data/reference/x", "data/reference/laptop/first/claims.json", "data/reference/laptop/new/folder/a"),
        *("data/../data/reference/laptop/a", f"{shipped}/data/reference/paper/a", "results/first/a", "claims.json"),
        *("copy/laptop/first/runs.parquet", "copy/laptop/SHA256SUMS", f"{files.CHECKOUT}/data/reference/tiny/a"),
    ]
    for path in inside:
        with pytest.raises(ResultError, match=r"^\S+ is not written, as only weightdecay ship changes the shipped"):
            files.write(path, "text")
        with pytest.raises(ResultError, match="is not written"):
            files.check_writable(path)
    with pytest.raises(ResultError, match=r"^cannot write"):
        files.write("loop/a", "text")
    assert sorted(os.listdir("data/reference")) == ["laptop"] and os.listdir("data/reference/laptop/first") == []
    for path in ("data/cache/a", "data/reference.txt", "copy/a", "data/referenced/a"):
        files.write(path, "text")


def test_the_folder_of_an_archive_may_have_files_of_the_same_names(shipped):
    for name, text in ((files.SUMS, ""), (files.PROVENANCE, '{"authors": []}')):
        (shipped / name).write_text(text)
    files.write("checkout/results/a", "text")
    (shipped / files.PROVENANCE).write_text('{"experiments": {}}')
    files.write("checkout/results/laptop/a", "text")  # three levels below: not the place of a shipped file
