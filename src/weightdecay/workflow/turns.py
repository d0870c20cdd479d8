"""Turns: only one Snakemake at a time works in a folder.

A turn lasts from before Snakemake looks at files until its last job has ended. Snakemake has a lock of its own, but
takes it only after it has decided what to run, and leaves it behind when it is killed. Our lock is taken first, and the
kernel releases it however the process ends. If our lock is free but its file says that the last holder was killed, then
Snakemake's lock is a leftover and is removed.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from weightdecay.errors import FolderError, WeightDecayError
from weightdecay.workflow.pipeline import Plan

if TYPE_CHECKING:
    from snakemake.workflow import Workflow

FOLDER = Path(".snakemake")
PLAN = "plan"  # in Snakemake's folder for temporary files: the files of the plan that the first job puts into place
WITHIN = "WEIGHTDECAY_TURN"  # set for a Snakemake that another one starts within its turn
# The files whose times Snakemake compares.
DATED = (
    "results/**/*",
    *("paper/*.tex", "paper/*.bib", "paper/sections/*.tex", "paper/scale.txt", "paper/main.pdf", "paper/tables/*.tex"),
    *("paper/figures/*.pdf", "paper/figures/*.png"),
)
APART = 2.0  # seconds; the resolution of times in the coarsest file system


def guard(workflow: Workflow, plan: Plan) -> None:
    """Make Snakemake's `workflow` execute its jobs within a turn. A dry run writes nothing and takes no turn.

    Snakemake has no hook between reading the Snakefile and looking at files, so its methods are wrapped. `--unlock`
    takes a turn too, or it would unlock a folder in which another process works. Lists and graphs take none. A job in
    another process belongs to the turn of the Snakemake that started it.
    """
    execute, unlock = workflow.execute, workflow.unlock

    @_in_a_sentence
    def guarded(**settings: Any) -> None:
        common = settings["executor_plugin"].common_settings
        if not common.touch_exec and (line := plan.outdated()):
            print(line, file=sys.stderr)
        if plan.left_out:
            print(plan.left_out, file=sys.stderr)
        if not common.dryrun_exec:
            plan.write(workflow.snakemake_tmp_dir / PLAN)
        if common.dryrun_exec or not workflow.execution_settings.lock:
            execute(**settings)
            return
        with nullcontext() if os.environ.pop(WITHIN, None) else turn():
            end_the_future()
            plan.check_folders()
            if common.touch_exec:
                plan.write(Path())
            end_jobs_when_interrupted()
            execute(**settings)

    @_in_a_sentence
    def unlocked() -> None:
        with turn():
            unlock()

    if workflow.is_main_process:
        logging.raiseExceptions = False  # no traceback if Snakemake cannot write its log
        workflow.execute, workflow.unlock = guarded, unlocked


def within(workflow: Workflow, scale: str | None) -> str:
    """Return the command of a Snakemake that builds everything from the shipped results within this turn."""
    cores = workflow.resource_settings.cores or os.cpu_count()
    options = ["results=reference", *([f"scale={scale}"] if scale else [])]
    command = [sys.executable, "-m", "snakemake", "--cores", str(cores), "--config", *options]
    return f"{WITHIN}=1 {shlex.join(command)}"


def _in_a_sentence(method: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(method)
    def saying(**settings: Any) -> None:
        try:
            method(**settings)
        except WeightDecayError as error:
            sys.exit(f"error: {error}")

    return saying


@contextmanager
def turn(folder: Path = FOLDER) -> Iterator[None]:
    """Hold the folder for this process; FolderError if another process holds it."""
    import fcntl  # imported here, as some systems lack it

    try:
        folder.mkdir(exist_ok=True)
        record = open(folder / "turn.json", "a+b", buffering=0)
    except OSError as error:
        raise FolderError(f"cannot write in {folder.absolute()}: {error.strerror}.") from error
    with record:
        try:
            fcntl.flock(record, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderError(f"{_said(record)} is at work in this folder: wait for it, or end it.") from None
        except OSError:  # a file system without locks: only Snakemake's lock protects the folder
            yield
            return
        killed = _read(record)
        left = list((folder / "locks").glob("*.lock"))
        if left and killed.get("host") == platform.node():
            for lock in left:
                lock.unlink(missing_ok=True)
            print(f"{_said(record)} was killed here. Its lock is taken off, and the work goes on.", file=sys.stderr)
        about = {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        record.truncate(0)
        try:
            record.write(json.dumps(about).encode())
        except OSError as error:
            raise FolderError(f"cannot write in {folder.absolute()}: {error.strerror}.") from error
        try:
            yield
        finally:
            record.truncate(0)


def _read(record: FileIO) -> dict[str, object]:
    record.seek(0)
    try:
        found = json.loads(record.read())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _said(record: FileIO) -> str:
    found = _read(record)
    return "A snakemake (process {}, on {}, since {})".format(
        *(found.get(key, "?") for key in ("pid", "host", "since"))
    )


def end_the_future() -> None:
    """Set files with times in the future back to now, as Snakemake refuses an output that is older than its input.

    They keep their order, and stay newer than all other files, so that a file that was edited after its use still looks
    so.
    """
    now = time.time()
    dated: dict[Path, float] = {}
    for path in (path for pattern in DATED for path in Path().glob(pattern)):
        with suppress(OSError):  # the file has just vanished
            dated[path] = path.stat().st_mtime
    future = sorted({when for when in dated.values() if when > now}, reverse=True)
    if not future:
        return
    latest = max((when for when in dated.values() if when <= now), default=0.0)
    apart = min(APART, (now - latest) / len(future))
    moved = {when: now - place * apart for place, when in enumerate(future)}
    for path, when in dated.items():
        if when in moved:
            with suppress(OSError):  # the file belongs to another user
                os.utime(path, (moved[when], moved[when]))


def end_jobs_when_interrupted() -> None:
    """Let Ctrl-C or a dropped connection end the jobs, so that Snakemake can remove its lock; a second one kills them.

    A terminal sends these signals to the jobs too, but `kill` sends them to a single process.
    """
    import psutil  # comes with Snakemake, in whose process this is

    ending = [signal.SIGTERM]

    def end(number: int, _: object) -> None:
        for job in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # the job has just ended
                job.send_signal(ending[-1])
        if ending[-1] == signal.SIGTERM:
            ending.append(signal.SIGKILL)
            if number == signal.SIGHUP:  # the terminal may be gone, so discard output
                nowhere = os.open(os.devnull, os.O_RDWR)
                for stream in (1, 2):
                    if os.isatty(stream):
                        os.dup2(nowhere, stream)
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        signal.signal(signal.SIGHUP, end)
