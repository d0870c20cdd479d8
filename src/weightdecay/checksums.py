"""SHA-256 checksums: each table holds one of all its other bytes, and shipped results have a file SHA256SUMS."""

import hashlib
import re
from pathlib import Path, PurePosixPath

from weightdecay.errors import ResultError
from weightdecay.files import SUMS

MARK = b"weightdecay-sha256:"  # 64 hexadecimal digits follow
UNSEALED = MARK + b"0" * 64
SEAL = re.compile(re.escape(MARK) + rb"[0-9a-f]{64}")
LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<path>.+)")


def sealed(data: bytes) -> bytes:
    """Return the bytes with their digest written over the zeros of `UNSEALED`, which they must hold once."""
    start = data.rindex(UNSEALED) + len(MARK)
    return data[:start] + _digest(data, start).encode() + data[start + 64 :]


def is_sealed(data: bytes) -> bool | None:
    """Return whether the digest inside the bytes fits the other bytes; None where there is no digest."""
    place = data.rfind(MARK)
    if place < 0 or not SEAL.match(data, place):
        return None
    start = place + len(MARK)
    return data[start : start + 64] == _digest(data, start).encode()


def _digest(data: bytes, start: int) -> str:
    view = memoryview(data)
    digest = hashlib.sha256(view[:start])
    digest.update(view[start + 64 :])
    return digest.hexdigest()


def read_sums(path: Path) -> dict[str, str]:
    """Return the digests in a SHA256SUMS by path; ResultError if it is damaged or names a file outside its folder."""
    digests: dict[str, str] = {}
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            found = LINE.fullmatch(line)
            if found is None or not _is_below(found["path"]) or found["path"] in digests:
                raise ValueError(line)
            digests[found["path"]] = found["digest"]
    except (OSError, ValueError) as error:
        raise ResultError(f"{path} is damaged: get it again, with git checkout or from the archive.") from error
    return digests


def _is_below(path: str) -> bool:
    pure = PurePosixPath(path)
    return not pure.is_absolute() and ".." not in pure.parts and str(pure) == path and path not in (".", SUMS)


def has_shipped_sum(path: Path, data: bytes) -> bool:
    """Return whether `data` has the checksum that the SHA256SUMS of the shipped scale holds for this file.

    The file is <scale>/<finding>/<path>, and SHA256SUMS lies in <scale>.
    """
    path = path.absolute()
    sums = path.parents[1] / SUMS
    if not sums.is_file():
        return False
    name = path.relative_to(sums.parent).as_posix()
    return read_sums(sums).get(name) == hashlib.sha256(data).hexdigest()


def sums_of(folder: Path, pattern: str = "**/*") -> dict[str, str]:
    """Return the SHA-256 of every file below `folder` that fits, by its path from there, without SHA256SUMS itself."""
    paths = sorted(path for path in folder.glob(pattern) if path.is_file() and path != folder / SUMS)
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
