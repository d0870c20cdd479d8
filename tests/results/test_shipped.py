"""Looking changes nothing, only `ship` writes among shipped results, and it deletes only what was shipped."""

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from tests.checkout import Checkout
from weightdecay import checksums, files, results
from weightdecay.errors import ResultError
from weightdecay.results import shipped
from weightdecay.workflow import shipping

SHIPPED = "data/reference/smoke"


def everything(folder: Path) -> dict[str, str]:
    """All of a checkout but compiled Python."""
    paths = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def refusal(checkout: Checkout, *command: str) -> str:
    done = checkout.run("weightdecay", *command)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stdout + done.stderr
    return done.stderr


def test_looking_at_shipped_results_changes_nothing(shipped_beside):
    checkout = shipped_beside
    before = everything(checkout.folder)
    for arguments in ((), ("first",), ("second", "--scale", "smoke")):
        done = checkout.run("weightdecay", "claims", *arguments, "--results", SHIPPED)
        assert done.returncode == 0 and "'id': 'A1'" in done.stdout and "'id': 'D1'" in done.stdout, done.stderr
    assert everything(checkout.folder) == before
    elsewhere = checkout.run("weightdecay", "claims", "--results", SHIPPED, "--output", "out")  # reads judgments there
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert [path.name for path in checkout.path("out").iterdir()] == ["claims.json"]
    assert everything(checkout.path("data")) == {path: sum for path, sum in before.items() if "/data/" in path}


def test_looking_at_damaged_shipped_results_is_refused(shipped_beside):
    path = shipped_beside.path(f"{SHIPPED}/first/claims.json")
    path.write_text(path.read_text().replace("reproduced", "refuted"))
    told = refusal(shipped_beside, "claims", "--results", SHIPPED)
    assert f"error: {SHIPPED}/first/claims.json is not the file that was shipped" in told


def test_no_command_but_ship_writes_among_shipped_results(shipped_beside):
    checkout = shipped_beside
    before = everything(checkout.path("data"))
    inside = f"{checkout.folder}/src/../{SHIPPED}"
    checkout.path("link").symlink_to(SHIPPED)
    for output in (SHIPPED, inside, "link", "data/reference/new"):
        assert "is not written, as only weightdecay ship" in refusal(checkout, "claims", "first", "--output", output)
        assert "is not written" in refusal(checkout, "claims", "--results", "results/smoke", "--paper", output)
    shutil.move(checkout.path("results/smoke"), checkout.path("results/own"))
    checkout.path("results/smoke").symlink_to(checkout.path(SHIPPED))
    assert "is not written" in refusal(checkout, "merge", "first", "--scale", "smoke")
    assert "is not written" in refusal(checkout, "claims", "first", "--scale", "smoke")
    done = checkout.run("weightdecay", "train", "first", "--scale", "smoke")
    assert done.returncode == 2 and "is not written" in done.stderr and "Traceback" not in done.stderr
    assert everything(checkout.path("data")) == before


def test_the_verdicts_of_one_finding_need_no_other(checkout):
    shutil.rmtree(checkout.path("results/smoke/second"))
    checkout.path("results/smoke/claims.json").unlink()
    done = checkout.run("weightdecay", "claims", "first", "--scale", "smoke")
    assert done.returncode == 0 and done.stderr == "not judged yet: second\n"
    assert "'id': 'A1'" in done.stdout and "'id': 'D1'" not in done.stdout
    assert [made["id"] for made in json.loads(checkout.path("results/smoke/claims.json").read_text())] == ["A1"]


def test_ship_deletes_nothing_that_was_not_shipped(shipped_beside):
    checkout, notes = shipped_beside, f"{SHIPPED}/first/notes.txt"
    checkout.write(notes, "mine")
    assert f"error: {notes} was not shipped, and would be lost" in refusal(checkout, "ship", "--scale", "smoke")
    checkout.write(f"{SHIPPED}/SHA256SUMS", f"{'0' * 64}  ../../../paper/main.tex\n")
    assert "SHA256SUMS is damaged" in refusal(checkout, "ship", "--scale", "smoke")
    assert checkout.path(notes).read_text() == "mine"
    shutil.rmtree(checkout.path(SHIPPED))
    checkout.write("elsewhere/mine.txt", "mine")
    checkout.path(SHIPPED).symlink_to(checkout.path("elsewhere"))
    assert f"error: {SHIPPED} is a symbolic link" in refusal(checkout, "ship", "--scale", "smoke")
    assert os.listdir(checkout.path("elsewhere")) == ["mine.txt"]


def test_ship_takes_up_what_a_killed_one_left(shipped_beside):
    """Killed between its two renames, the shipped results lie beside data/reference under a name of ship's own."""
    checkout = shipped_beside
    before = everything(checkout.path(SHIPPED))
    name = f".reference-smoke.{files._owner()}.999999998"
    os.replace(checkout.path(SHIPPED), checkout.path(f"data/{name}.old"))
    checkout.write(f"data/{name}.part/first/runs.parquet", "half")
    checkout.write("data/.reference-smoke.mine.part/notes.txt", "mine")
    done = checkout.run("weightdecay", "ship", "first", "--scale", "smoke")
    assert done.returncode == 0, done.stderr
    after = everything(checkout.path(SHIPPED))
    assert after.keys() == before.keys()
    assert {path for path in before if before[path] == after[path]} >= {path for path in before if "/second/" in path}
    assert sorted(os.listdir(checkout.path("data"))) == [".reference-smoke.mine.part", "reference"]


def test_a_disk_that_is_full_while_shipping_changes_nothing(shipped_beside, monkeypatch):
    monkeypatch.chdir(shipped_beside.folder)
    before = everything(shipped_beside.path("data"))
    whole = os.replace

    def fails(source, target):
        if str(target) == SHIPPED and str(source).endswith(".part"):
            raise OSError(errno.ENOSPC, "No space left on device")
        whole(source, target)

    monkeypatch.setattr(shipping.os, "replace", fails)
    monkeypatch.setattr(shipping, "_ship_finding", lambda finding, scale, made, mib: made.mkdir() or {})
    with pytest.raises(ResultError, match=r"^cannot write in data/reference: No space left on device\.$"):
        shipping.ship("smoke", ["first"], dict.fromkeys(["first", "second"]))
    assert everything(shipped_beside.path("data")) == before


def about(**changes) -> str:
    digest = "0" * 64
    counts = {"runs": 1, "seeds": 1, "diverged": 0, "history_mib": 4.0, "significant_bits": 24, "stride": 1}
    made = {"config_hash": digest, "computations": {"squares": digest}, **counts, "share_of_history": 1.0}
    made |= {"device": ["a", "b"], "cuda": None, "wall_seconds": 2, **changes.pop("made", {})}
    names = {changes.pop("name", "first"): made}
    return json.dumps({"scale": "smoke", "rule": "", "shipped_by": {}, "experiments": names, **changes})


JUNK = [
    *("", "[]", "null", "{", "\0", '{"experiments": 1}', about(scale="paper"), about(scale="../x"), about(rule=None)),
    *(about(name="../x"), about(more=1), about(shipped_by={"a": 1}), about(experiments=[])),
    *(about(made={key: value}) for key, value in [("runs", "1"), ("runs", -1), ("config_hash", "x"), ("stride", 1.5)]),
    *(about(made={key: value}) for key, value in [("wall_seconds", "x"), ("device", {"a": 1}), ("computations", [])]),
]


@pytest.mark.parametrize("text", JUNK)
def test_junk_in_provenance_is_one_sentence(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / SHIPPED / "provenance.json"
    path.parent.mkdir(parents=True)
    path.write_text(about())
    assert shipped.provenance("smoke")["first"]["device"] == ["a", "b"]
    path.write_text(text)
    with pytest.raises(ResultError, match=rf"^{SHIPPED}/provenance\.json is .*again[^\n]*\.$"):
        shipped.provenance("smoke")


@pytest.mark.parametrize("path", ["../a", "/a", "a/../b", "a//b", "./a", ".", "SHA256SUMS", "a/./b", "a/"])
def test_sums_name_files_below_their_folder_alone(tmp_path, path):
    (tmp_path / "SHA256SUMS").write_text(f"{'0' * 64}  {path}\n")
    with pytest.raises(ResultError, match=r"SHA256SUMS is damaged: get it again, with git checkout or from the arch"):
        checksums.read_sums(tmp_path / "SHA256SUMS")


def test_every_shipped_table_is_read_without_a_digest_of_its_own():
    """They were shipped before tables had one, and are what they were."""
    for path in sorted(files.CHECKOUT.glob("data/reference/*/*/*.parquet")):
        assert results.read_metadata(path)["config_hash"]
