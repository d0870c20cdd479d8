"""Interruptions, second instances, odd clocks and copied results: nothing is lost, and the same command goes on.

All of it is done to real processes in a copy of this checkout (tests/checkout.py).
"""

import fcntl
import json
import os
import pty
import random
import re
import shutil
import signal
import subprocess
import termios
import time
from pathlib import Path

import psutil
import pytest

from tests.checkout import Checkout
from weightdecay import results
from weightdecay.surroundings import INTERRUPTED
from weightdecay.workflow import turns

SMOKE = ("--cores", "2", "--config", "scale=smoke")
SLOW = "(open(f'{time.time_ns()}.begun', 'w').close(), time.sleep(60))"
QUICK = 'time.sleep(0.3 if device == "cuda" else 0)'
TIMES = ("started", "finished", "resumed", "wall_seconds", "fingerprint")


@pytest.fixture
def training(checkout) -> Checkout:
    """A checkout whose training takes a minute, with nothing trained yet."""
    shutil.rmtree(checkout.path("results"))
    shutil.rmtree(checkout.path(".snakemake"))
    checkout.edit("src/weightdecay/ensemble/training.py", QUICK, SLOW)
    return checkout


def until(condition, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def trainings(folder: Path) -> list[psutil.Process]:
    """The training programs that run in this folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if "weightdecay train" in " ".join(process.cmdline()) and Path(process.cwd()) == folder:
                found.append(process)
        except psutil.Error:
            continue
    return found


def started(checkout: Checkout, *command: str, **options) -> subprocess.Popen:
    """A pipeline in the middle of two trainings."""
    process = checkout.start(*command, *SMOKE, **options)
    until(lambda: len(list(checkout.folder.glob("*.begun"))) == 2)
    return process


def goes_on(checkout: Checkout) -> subprocess.CompletedProcess:
    """The same command once more, with a training that takes no time."""
    checkout.edit("src/weightdecay/ensemble/training.py", SLOW, QUICK)
    done = checkout.run("snakemake", *SMOKE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(json.loads(checkout.path("results/smoke/claims.json").read_text())) == 2
    return done


def seen(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file of the working folder with its time and content, except Snakemake's own and compiled code."""
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in sorted(folder.rglob("*"))
        if not {".snakemake", "__pycache__"} & set(path.parts) and path != folder
    }


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT], ids=["connection dropped", "interrupted"])
def test_a_signal_to_snakemake_alone_ends_its_jobs_and_leaves_no_lock(training, number):
    process = started(training, "snakemake")
    process.send_signal(number)
    said = process.communicate(timeout=60)[0].decode()
    assert process.returncode != 0 and "Traceback" not in said
    until(lambda: not trainings(training.folder), 20)
    assert not training.path(".snakemake/locks").exists()
    assert "was killed here" not in goes_on(training).stderr


def test_a_closed_terminal_ends_the_pipeline_and_leaves_no_lock(training):
    terminal, end = pty.openpty()
    process = started(
        training,
        "snakemake",
        **dict.fromkeys(("stdin", "stdout", "stderr"), end),
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(end)
    os.close(terminal)
    process.wait(timeout=60)
    until(lambda: not trainings(training.folder), 20)
    assert not training.path(".snakemake/locks").exists()
    goes_on(training)


def test_after_a_kill_the_jobs_end_and_the_same_command_takes_off_the_lock(training):
    process = started(training, "snakemake")
    process.kill()
    process.communicate()
    until(lambda: not trainings(training.folder), 20)  # two would train the same otherwise
    assert training.path(".snakemake/locks").exists()
    said = goes_on(training).stderr
    assert f"A snakemake (process {process.pid}, on " in said and "was killed here" in said


def test_a_training_ends_with_the_command_that_started_it(training):
    process = training.start("weightdecay", "train", "first", "--scale", "smoke")
    until(lambda: any(training.folder.glob("*.begun")))
    process.kill()
    process.communicate()
    until(lambda: not trainings(training.folder), 20)


def test_a_second_snakemake_is_refused_in_one_line_and_touches_nothing(training):
    process = started(training, "snakemake")
    before = seen(training.folder)
    sentence = (
        rf"^error: A snakemake \(process {process.pid}, on .*\) is at work in this folder: wait for it, or end it\.$"
    )
    for command in (("--cores", "1", "--config", "scale=laptop"), ("--unlock",)):
        refused = training.run("snakemake", *command)
        assert refused.returncode == 1 and "Traceback" not in refused.stderr
        assert re.search(sentence, refused.stderr, re.MULTILINE)
    assert seen(training.folder) == before
    assert any(training.path(".snakemake/locks").iterdir())
    process.terminate()
    for job in trainings(training.folder):
        job.terminate()
    process.communicate(timeout=60)


def test_a_lock_that_is_not_ours_is_left(checkout):
    checkout.path("paper/scale.txt").unlink()
    checkout.write(".snakemake/locks/0.output.lock", "paper/scale.txt\n")  # of another workflow, say
    refused = checkout.run("snakemake", *SMOKE)
    assert refused.returncode == 1 and "--unlock" in refused.stderr
    assert checkout.path(".snakemake/locks/0.output.lock").exists()


@pytest.mark.parametrize("after", [0.05, 0.3, 0.8, 2, 4])
def test_an_interrupt_in_the_first_seconds_is_one_line(training, after):
    """Ctrl-C goes to a command and to what it has started."""
    commands = [("weightdecay.workflow.make", *SMOKE, "--forceall", "--quiet"), ("weightdecay", "claims", "--help")]
    for command in (*commands, ("weightdecay", "train", "first", "--scale", "smoke")):
        process = training.start(*command, stderr=subprocess.PIPE)
        until(lambda process=process: _imports_ours(process) or process.poll() is not None)
        if "train" in command:
            until(lambda: any(map(_imports_ours, trainings(training.folder))))
        time.sleep(after if "--help" not in command else 0)
        os.killpg(process.pid, signal.SIGINT)
        output, said = process.communicate(timeout=60)
        assert b"Traceback" not in output + said
        assert process.returncode == 0 or INTERRUPTED in said.decode() or b"user request" in output + said
    assert not trainings(training.folder)


def test_a_connection_that_drops_ends_nothing_under_nohup(training):
    process = started(training, "snakemake", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    os.killpg(process.pid, signal.SIGHUP)
    time.sleep(1)
    assert process.poll() is None and len(trainings(training.folder)) == 2
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)


def _imports_ours(process: subprocess.Popen) -> bool:
    """Whether the process ignores no signal for which it has a handler of ours: then our first lines have been run."""
    status = Path(f"/proc/{process.pid}/status")
    text = status.read_text() if status.exists() else ""
    caught = re.search(r"^SigCgt:\s+([0-9a-f]+)$", text, re.MULTILINE)
    return bool(caught) and bool(int(caught[1], 16) >> (signal.SIGHUP - 1) & 1)


@pytest.mark.parametrize(
    "command",
    [
        ("-n",),
        ("--lint",),
        ("--summary",),
        ("--unlock",),
        ("--dag",),
        ("-n", "--config", "results=reference"),
        ("--list-rules",),
    ],
)
def test_looking_at_the_plan_writes_nothing(checkout, command):
    for folder in ("paper/figures", "results/smoke/first/logs"):
        shutil.rmtree(checkout.path(folder))
    checkout.edit("experiments/first/config.yaml", "steps: 10", "steps: 20")
    before = seen(checkout.folder)
    checkout.run("snakemake", *command, *(() if "--config" in command else SMOKE))
    assert seen(checkout.folder) == before


def test_files_of_the_future_are_taken_as_of_now(checkout):
    tomorrow = time.time() + 86_400
    for path in checkout.folder.rglob("*"):
        if not path.is_symlink() and ".snakemake" not in path.parts:
            os.utime(path, (tomorrow, tomorrow))
    checkout.edit("experiments/first/config.yaml", "enough: 1.0", "enough: 2.0")
    shard = checkout.path("results/smoke/first/shards/1of2.parquet").read_bytes()
    checkout.make("--config", "scale=smoke")
    assert checkout.path("results/smoke/first/shards/1of2.parquet").read_bytes() == shard
    assert max(path.stat().st_mtime for path in checkout.path("results").rglob("*")) <= time.time()
    assert checkout.planned("--config", "scale=smoke") == {}


def test_what_was_edited_after_the_results_is_made_again_where_both_are_of_the_future(checkout):
    """Whatever the clock said, the trainer was edited two hours after it had trained."""
    now = time.time()
    for path in (*checkout.path("results").rglob("*"), *checkout.path("paper").rglob("*")):
        os.utime(path, (now + 86_400, now + 86_400))
    trainer = "src/weightdecay/ensemble/training.py"
    checkout.edit(trainer, "LOSS = 1.0", "LOSS = 3.0")
    os.utime(checkout.path(trainer), (now + 93_600, now + 93_600))
    notes = [checkout.path(f"paper/{name}") for name in ("notes.txt", "figures/photo.svg")]
    for path in notes:  # somebody's own
        path.write_text("", encoding="utf-8")
        os.utime(path, (now + 86_400, now + 86_400))
    checkout.make("--config", "scale=smoke")
    claims = json.loads(checkout.path("results/smoke/claims.json").read_text())
    assert {claim["measured"] for claim in claims} == {3.0}
    assert {path.stat().st_mtime for path in notes} == {now + 86_400}
    assert checkout.planned("--config", "scale=smoke") == {}


def test_files_of_the_future_keep_their_order_and_stay_newer_than_others(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results"
    folder.mkdir()
    now = time.time()
    times = [now - 86_400, now - 0.5, *(now + 1_000 + day * 86_400 for day in range(40)), now + 1_000]
    paths = [folder / f"{number}.parquet" for number in range(len(times))]
    for path, when in zip(paths, times, strict=True):
        path.touch()
        os.utime(path, (when, when))
    os.utime(folder, (now - 86_400, now - 86_400))
    turns.end_the_future()
    found = [path.stat().st_mtime for path in paths]
    assert found[:-1] == sorted(set(found)) and found[-1] == found[2]
    assert found[:2] == pytest.approx(times[:2], abs=1e-3) and max(found) <= time.time()


def test_copied_results_that_look_old_are_named_and_can_be_kept(checkout, tmp_path):
    """Trained on the CPU of a machine with a GPU, on which the shards would have other names."""
    clone = Checkout(tmp_path / "clone")
    clone.gpu()
    here = (*SMOKE, "device=cpu")
    shutil.copytree(checkout.path("results"), clone.path("results"))
    for path in clone.path("results").rglob("*"):  # as a copy may date them that keeps no times
        when = 1e9 + (path.suffix != ".parquet")
        os.utime(path, (when, when))
    planned = clone.run("snakemake", "-n", *here)
    line = "4 of 4 shards in results/smoke are older than the code or the settings"
    assert line in planned.stderr and "If you edited the code, do nothing." in planned.stderr
    keeping = re.search(r"run `(snakemake --touch .*)` once to keep them\.", planned.stderr)
    kept = clone.path("results/smoke/first/shards/1of2.parquet").read_bytes()
    touched = clone.run(*keeping[1].split())
    assert touched.returncode == 0, touched.stderr
    done = clone.run("snakemake", *here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert line not in done.stderr and "Train first" not in done.stderr
    assert clone.path("results/smoke/first/shards/1of2.parquet").read_bytes() == kept


def test_a_job_on_a_full_disk_says_so_at_the_end(checkout):
    checkout.edit("src/weightdecay/workflow/pipeline.py", "SPARE = 64", "SPARE = 2**40")
    checkout.edit(
        "src/weightdecay/ensemble/training.py", "    started =", "    raise OSError(28, 'full')\n    started ="
    )
    shutil.rmtree(checkout.path("results"))
    done = checkout.run("snakemake", *SMOKE)
    assert done.returncode == 1
    assert re.search(
        r"^Only [\d.]+ MiB are free in .*: make room, and run the same command again\.", done.stderr, re.MULTILINE
    )


@pytest.mark.slow
def test_a_storm_of_kills_changes_no_file(checkout, tmp_path):
    chance = random.Random(20)
    stormy = Checkout(tmp_path / "stormy")
    stormy.edit("src/weightdecay/ensemble/training.py", QUICK, "time.sleep(0.5)")
    kills = 0
    while kills < 5:
        process = stormy.start("snakemake", *SMOKE)
        try:
            process.wait(timeout=chance.uniform(2, 8))
            assert process.returncode == 0, process.stdout.read().decode()
            shutil.rmtree(stormy.path("results"))  # done sooner than thought
        except subprocess.TimeoutExpired:
            kills += 1
            if chance.random() < 0.5:
                os.killpg(process.pid, signal.SIGKILL)  # a power cut
            process.kill()
        process.communicate()
    done = stormy.run("snakemake", *SMOKE)
    assert done.returncode == 0, done.stdout + done.stderr
    made, expected = (_contents(folder) for folder in (stormy.folder, checkout.folder))
    assert made == expected and len(made) > 20


def _contents(folder: Path) -> dict[str, object]:
    """Everything that the pipeline makes, without what a clock says, and what names the code."""
    found: dict[str, object] = {}
    for path in sorted([*folder.glob("results/**/*"), *folder.glob("paper/**/*")]):
        name = str(path.relative_to(folder))
        if path.suffix == ".parquet":
            frame, about = results.read_table(path)
            found[name] = (frame.to_csv(), {key: value for key, value in about.items() if key not in TIMES})
        elif path.is_file() and path.suffix != ".log" and path.parent.name != "code":
            found[name] = path.read_bytes()
    return found
