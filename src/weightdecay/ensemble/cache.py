"""The folder that keeps the compiled training step, and what may be deleted in it.

    <cache folder>/weightdecay-compiled/<SHA-256 of the code>/.made-by-weightdecay

A cache folder also holds files of other programs and other checkouts. A version is deleted only if it has the marker
file, lies in a folder that this module chose by itself, and has not been used for `UNUSED_SECONDS`.
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
TOUCH_SECONDS = 24 * 3600  # the time of the marker file says when a version was last used, to within a day


def version_folder(digest: str, parents: Mapping[Path, bool]) -> Path | None:
    """Make and return the folder of one version; None if no folder can be written.

    `digest` names the version by 64 hex digits. `parents` are the cache folders to try, each with whether the user
    named it. Unused versions are deleted from the chosen folder, but never from one that the user named.
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
    """Note that the version is in use; OSError if its folder cannot be written."""
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
