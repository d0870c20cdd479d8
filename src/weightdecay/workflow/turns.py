"""One Snakemake at a time works in a folder: what holds from before it looks at files until its last job has ended.

Snakemake takes a lock of its own after it has decided what to run, and leaves it behind when it is killed. Ours comes
first, and the kernel takes it back from a process that ends in whatever way. Where ours is free, but says that its last
holder was killed, Snakemake's lock is a leftover and goes.
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
WITHIN = "WEIGHTDECAY_TURN"  # set for a Snakemake that another one starts in its own turn
# What Snakemake compares the times of.
DATED = (
    "results/**/*",
    *("paper/*.tex", "paper/*.bib", "paper/sections/*.tex", "paper/scale.txt", "paper/main.pdf", "paper/tables/*.tex"),
    *("paper/figures/*.pdf", "paper/figures/*.png"),
)
APART = 2.0  # seconds; the coarsest file system keeps no finer times


def guard(workflow: Workflow, plan: Plan) -> None:
    """Makes `workflow`, Snakemake's, execute its jobs in a turn; a dry run writes nothing and takes none.

    Snakemake has no hook between reading the Snakefile and looking at the files that it names: its methods are wrapped.
    `--unlock` needs a turn too, or it would open a folder in which another process works. Lists and graphs need none,
    and a job in a process of its own belongs to the turn that started it.
    """
    execute, unlock = workflow.execute, workflow.unlock

    @_in_a_sentence
    def guarded(**settings: Any) -> None:
        common = settings["executor_plugin"].common_settings
        if not common.touch_exec and (line := plan.outdated()):
            print(line, file=sys.stderr)
        if plan.left_out:
            print(plan.left_out, file=sys.stderr)
        if common.dryrun_exec or not workflow.execution_settings.lock:
            execute(**settings)
            return
        with nullcontext() if os.environ.pop(WITHIN, None) else turn():
            end_the_future()
            plan.check_folders()
            if common.touch_exec:
                plan.write()
            end_jobs_when_interrupted()
            execute(**settings)

    @_in_a_sentence
    def unlocked() -> None:
        with turn():
            unlock()

    if workflow.is_main_process:
        logging.raiseExceptions = False  # Snakemake's log that finds no room is no reason for a traceback
        workflow.execute, workflow.unlock = guarded, unlocked


def within(workflow: Workflow, scale: str | None) -> str:
    """The command of a Snakemake that makes everything of what was shipped, in the turn of the one that starts it."""
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
    """Holds the folder for this process. FolderError while another has it."""
    import fcntl  # where there is none the package can still be imported

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
        except OSError:  # a file system without locks: Snakemake's own must do
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
    """No file stays dated later than now, as Snakemake refuses an output that is older than its input.

    Their order stays, among themselves and after all others: what was edited after it was used must still look so.
    """
    now = time.time()
    dated: dict[Path, float] = {}
    for path in (path for pattern in DATED for path in Path().glob(pattern)):
        with suppress(OSError):  # gone
            dated[path] = path.stat().st_mtime
    future = sorted({when for when in dated.values() if when > now}, reverse=True)
    if not future:
        return
    latest = max((when for when in dated.values() if when <= now), default=0.0)
    apart = min(APART, (now - latest) / len(future))
    moved = {when: now - place * apart for place, when in enumerate(future)}
    for path, when in dated.items():
        if when in moved:
            with suppress(OSError):  # another's file
                os.utime(path, (moved[when], moved[when]))


def end_jobs_when_interrupted() -> None:
    """Ctrl-C and a dropped connection end the jobs, and let Snakemake take off its lock. A second one kills the jobs.

    A terminal sends both to the jobs too; `kill`, and whatever else knows one process alone, does not.
    """
    import psutil  # comes with Snakemake, in whose process this is

    ending = [signal.SIGTERM]

    def end(number: int, _: object) -> None:
        for job in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it has just ended
                job.send_signal(ending[-1])
        if ending[-1] == signal.SIGTERM:
            ending.append(signal.SIGKILL)
            if number == signal.SIGHUP:  # there may be nobody left to print for
                nowhere = os.open(os.devnull, os.O_RDWR)
                for stream in (1, 2):
                    if os.isatty(stream):
                        os.dup2(nowhere, stream)
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, end)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup has it
        signal.signal(signal.SIGHUP, end)
