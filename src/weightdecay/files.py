"""The one door through which files are written: whole or not at all, and never among results that were shipped.

Where a file cannot be written, because a disk is full or a folder is read-only say, one sentence tells, the old file
stays, and nothing half-written is left.
"""

import errno
import glob
import json
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from weightdecay.errors import ResultError

REFERENCE = Path("data/reference")  # shipped results, a folder a scale
CHECKPOINT = b"weightdecay checkpoint "  # how a checkpoint begins: nothing else is replaced or deleted as one
SUMS, PROVENANCE = "SHA256SUMS", "provenance.json"  # what marks such a folder, wherever it lies
CHECKOUT = Path(__file__).resolve().parents[2]
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORGOTTEN_DAYS = 3  # after so long no process of another machine still writes a file
TEMPORARY = re.compile(r"(?P<owner>[A-Za-z0-9-]+)\.(?P<process>\d{1,9})")


@contextmanager
def atomic_path(path: str | Path, size: int = 0) -> Iterator[Path]:
    """A path to write to, in the same folder; it becomes `path` at the end, or vanishes if anything fails.

    `size`: of what will be written, in bytes, where it is known. ResultError where it cannot be written.
    """
    path = Path(path)
    check_unshipped(path)
    check_writable(path.parent)
    for left in abandoned(path):
        if left.is_file() and not left.is_symlink():
            with suppress(OSError):
                left.unlink()
    temporary = temporary_path(path)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())  # some file systems say only here that a disk is full
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise  # it is not about this file
        raise cannot_write(path, error, max(size, _size(temporary), _size(path))) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write(path: str | Path, content: str | bytes) -> None:
    """Writes a file, text as UTF-8."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(path, len(data)) as temporary:
        temporary.write_bytes(data)


def check_writable(folder: str | Path) -> None:
    """Makes the folder; a ResultError if a file cannot be made in it. To be asked before the work, not after."""
    check_unshipped(folder)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ResultError(f"cannot write in {folder}: {error.strerror}.") from error


def is_checkpoint(path: Path) -> bool:
    """Whether a checkpoint of ours is at `path`; False where there is nothing, or what cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(CHECKPOINT)) == CHECKPOINT
    except OSError:
        return False


def check_unshipped(path: str | Path) -> None:
    """ResultError where `path` is among shipped results: they are for reading, and have checksums."""
    if folder := shipped_folder(path):
        raise ResultError(
            f"{path} is not written, as only weightdecay ship changes the shipped results in {folder}: "
            "name another place."
        )


def shipped_folder(path: str | Path) -> Path | None:
    """The folder of shipped results that `path` is or lies in, with links followed: data/reference, or a copy."""
    try:
        place = Path(path).resolve()
    except (OSError, RuntimeError) as error:  # a link to itself
        raise ResultError(f"cannot write {path}: it is no path ({error}).") from error
    around = (place, *place.parents)
    roots = [Path(folder, REFERENCE).resolve() for folder in (Path.cwd(), CHECKOUT)]
    scales = filter(_is_shipped_scale, around[:3])  # a file of it lies in the folder of an experiment
    return next((folder for folder in around if folder in roots), None) or next(scales, None)


def _is_shipped_scale(folder: Path) -> bool:
    """Whether it has what `ship` puts into the folder of a scale; an archive may have files of these names too."""
    try:
        about = json.loads((folder / PROVENANCE).read_bytes())
    except (OSError, ValueError):
        return False
    return (folder / SUMS).is_file() and isinstance(about, dict) and "experiments" in about


def cannot_write(path: Path, error: OSError, size: int) -> ResultError:
    """The sentence about a file of about `size` bytes; of a full disk with what is needed and what is free."""
    text = f"cannot write in {path.parent}: {error.strerror}."
    if error.errno in NO_ROOM:
        free = ""
        with suppress(OSError):
            if error.errno == errno.ENOSPC:
                free = f" and {shutil.disk_usage(path.parent).free / 2**20:.1f} MiB are free"
        text += f" {path.name} takes about {max(size / 2**20, 0.1):.1f} MiB{free}: make room, then run the same again."
    return ResultError(text)


def temporary_path(path: Path, kind: str = "part") -> Path:
    """A name beside `path` that no other process uses."""
    return path.with_name(f".{path.name}.{_owner()}.{os.getpid()}.{kind}")


def abandoned(path: Path, kind: str = "part") -> list[Path]:
    """What processes that are gone left under a `temporary_path` of `path` and `kind`.

    Gone is a process of this machine that no longer runs, and any of another whose file is days old: process numbers
    of other machines that share the folder say nothing here.
    """
    left = []
    for other in path.parent.glob(f".{glob.escape(path.name)}.*.{kind}"):
        named = TEMPORARY.fullmatch(other.name.removeprefix(f".{path.name}.").removesuffix(f".{kind}"))
        if named and _is_gone(named["owner"], int(named["process"]), other):
            left.append(other)
    return left


def _is_gone(owner: str, process: int, path: Path) -> bool:
    if owner != _owner():
        with suppress(OSError):
            return time.time() - path.lstat().st_mtime > FORGOTTEN_DAYS * 86400
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    except OSError:  # somebody else's
        pass
    return False


def _owner() -> str:
    """This machine, and where it has several sets of process numbers, as containers have, which of them is ours."""
    numbers = ""
    with suppress(OSError):
        numbers = os.readlink("/proc/self/ns/pid")
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{platform.node()[:40]} {numbers}").strip("-")


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
