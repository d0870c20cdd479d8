"""All files are written here: completely or not at all, and never among shipped results.

If a file cannot be written, for example because the disk is full or the folder is read-only, one sentence says so. The
old file stays, and no part of the new one is left.
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

REFERENCE = Path("data/reference")  # shipped results: a folder for each scale
CHECKPOINT = b"weightdecay checkpoint "  # the beginning of a checkpoint: a file without it is not replaced or deleted
SUMS, PROVENANCE = "SHA256SUMS", "provenance.json"  # these files mark the folder of a shipped scale, wherever it lies
CHECKOUT = Path(__file__).resolve().parents[2]
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
FORGOTTEN_DAYS = 3  # no process of another machine writes to a file for longer
TEMPORARY = re.compile(r"(?P<owner>[A-Za-z0-9-]+)\.(?P<process>\d{1,9})")


@contextmanager
def atomic_path(path: str | Path, size: int = 0) -> Iterator[Path]:
    """Yield a temporary path in the same folder to write to. It becomes `path` at the end, or is removed on failure.

    `size`: the size of the file in bytes, if it is known beforehand. ResultError if the file cannot be written.
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
            os.fsync(written.fileno())  # some file systems report a full disk only here
        os.replace(temporary, path)
    except OSError as error:
        if error.errno is None or error.filename not in (None, str(temporary)):
            raise  # the error concerns another file
        raise cannot_write(path, error, max(size, _size(temporary), _size(path))) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write(path: str | Path, content: str | bytes) -> None:
    """Write a file atomically; text becomes UTF-8."""
    data = content.encode() if isinstance(content, str) else content
    with atomic_path(path, len(data)) as temporary:
        temporary.write_bytes(data)


def check_writable(folder: str | Path) -> None:
    """Make the folder; ResultError if no file can be made in it. Call this before the work whose result goes there."""
    check_unshipped(folder)
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ResultError(f"cannot write in {folder}: {error.strerror}.") from error


def is_checkpoint(path: Path) -> bool:
    """Return whether the file at `path` is a checkpoint; False if there is no file or it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(len(CHECKPOINT)) == CHECKPOINT
    except OSError:
        return False


def check_unshipped(path: str | Path) -> None:
    """Raise ResultError if `path` is among shipped results, which have checksums and are only read."""
    if folder := shipped_folder(path):
        raise ResultError(
            f"{path} is not written, as only weightdecay ship changes the shipped results in {folder}: "
            "name another place."
        )


def shipped_folder(path: str | Path) -> Path | None:
    """Return the folder of shipped results that `path` is or lies in: data/reference, or a copy. Links are followed."""
    try:
        place = Path(path).resolve()
    except (OSError, RuntimeError) as error:  # a link that leads to itself
        raise ResultError(f"cannot write {path}: it is no path ({error}).") from error
    around = (place, *place.parents)
    roots = [Path(folder, REFERENCE).resolve() for folder in (Path.cwd(), CHECKOUT)]
    scales = filter(_is_shipped_scale, around[:3])  # files lie in <scale>/<finding>/
    return next((folder for folder in around if folder in roots), None) or next(scales, None)


def _is_shipped_scale(folder: Path) -> bool:
    """Return whether `ship` made this folder of a scale. Its content counts: other folders may have such file names."""
    try:
        about = json.loads((folder / PROVENANCE).read_bytes())
    except (OSError, ValueError):
        return False
    return (folder / SUMS).is_file() and isinstance(about, dict) and "experiments" in about


def cannot_write(path: Path, error: OSError, size: int) -> ResultError:
    """Return the error for a file of about `size` bytes; on a full disk it says how much is needed and free."""
    text = f"cannot write in {path.parent}: {error.strerror}."
    if error.errno in NO_ROOM:
        free = ""
        with suppress(OSError):
            if error.errno == errno.ENOSPC:
                free = f" and {shutil.disk_usage(path.parent).free / 2**20:.1f} MiB are free"
        text += f" {path.name} takes about {max(size / 2**20, 0.1):.1f} MiB{free}: make room, then run the same again."
    return ResultError(text)


def temporary_path(path: Path, kind: str = "part") -> Path:
    """Return a path beside `path` that no other process uses."""
    return path.with_name(f".{path.name}.{_owner()}.{os.getpid()}.{kind}")


def abandoned(path: Path, kind: str = "part") -> list[Path]:
    """Return the temporary files of `path` and `kind` that processes left behind.

    A process of this machine has left its file behind if it no longer runs. The process numbers of another machine that
    shares the folder say nothing here, so its files count as left behind after some days.
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
    except OSError:  # another user's process, which runs
        pass
    return False


def _owner() -> str:
    """Return a name for this machine and for its set of process numbers: each container has its own set."""
    numbers = ""
    with suppress(OSError):
        numbers = os.readlink("/proc/self/ns/pid")
    return re.sub(r"[^A-Za-z0-9]+", "-", f"{platform.node()[:40]} {numbers}").strip("-")


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
