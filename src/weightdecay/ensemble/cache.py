"""The folder that keeps the compiled training step, and what may be deleted in it.

    <cache folder>/weightdecay-compiled/<SHA-256 of the code>/.made-by-weightdecay

A cache folder also holds what other programs and other checkouts put there. A version is deleted only if it carries the
marker, lies in a folder that this module chose by itself, and has not been used for `UNUSED_SECONDS`.
"""

import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path

NAME = "weightdecay-compiled"
MARKER = ".made-by-weightdecay"
UNUSED_SECONDS = 90 * 24 * 3600
TOUCH_SECONDS = 24 * 3600  # the marker's time says when a version was last used, to a day


def version_folder(digest: str, parents: Mapping[Path, bool]) -> Path | None:
    """Make and return the folder of one version, or None where no folder can be written.

    `digest`: 64 hex digits. `parents`: the cache folders to try, and of each whether the user named it. Nothing is ever
    deleted in a folder that the user named; any other is rid of versions that nobody uses any more.
    """
    for parent, named in parents.items():
        folder = parent / NAME / digest
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _mark(folder / MARKER)
        except OSError:
            continue
        if not named:
            _delete_unused(folder)
        return folder
    return None


def _mark(marker: Path) -> None:
    """Note that the version is in use; an OSError where its folder cannot be written."""
    if not os.access(marker.parent, os.W_OK):
        raise PermissionError(f"{marker.parent} is read-only")
    if not marker.is_file() or time.time() - marker.stat().st_mtime > TOUCH_SECONDS:
        marker.write_text("Compiled code of weightdecay. It may be deleted at any time.\n", encoding="utf-8")


def _delete_unused(current: Path) -> None:
    for folder in current.parent.iterdir():
        marker = folder / MARKER
        ours = re.fullmatch(r"[0-9a-f]{64}", folder.name) and not folder.is_symlink() and marker.is_file()
        if ours and folder != current and time.time() - marker.stat().st_mtime > UNUSED_SECONDS:
            shutil.rmtree(folder, ignore_errors=True)
