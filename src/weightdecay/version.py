"""The version of this code: the commit of this checkout or of the archive that was unpacked, or "unknown".

Git is asked about this folder alone. A repository that surrounds an unpacked archive, or that the environment names, is
not ours.
"""

import os
import re
import subprocess
from pathlib import Path

from weightdecay.commit import COMMIT

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown"


def code_version(root: Path = ROOT, commit: str = COMMIT) -> str:
    """Return the version by `git describe`: "v1.2", "v1.2-3-g0123456" or "0123456"; "-dirty" if files have changed."""
    try:
        _git(root, "ls-files", "--error-unmatch", "src/weightdecay/version.py")  # fails in another repository
        return _git(root, "describe", "--always", "--dirty", "--tags") or UNKNOWN
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):  # no git, or no repository here
        return commit[:7] if re.fullmatch(r"[0-9a-f]{40,64}", commit) else UNKNOWN


def _git(root: Path, *command: str) -> str:
    """Return git's output for the repository at `root`, whoever owns the folder: its code is running already."""
    about = ["git", "-c", f"safe.directory={root}", "-C", str(root)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_CEILING_DIRECTORIES"] = str(root.parent)  # git looks no further up
    answer = subprocess.run([*about, *command], env=environment, capture_output=True, text=True, check=True, timeout=60)
    return answer.stdout.strip()
