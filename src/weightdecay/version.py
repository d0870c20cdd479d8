"""Which version of this code is running: the commit of this checkout, or of the archive that was unpacked, or unknown.

Git is asked about this folder alone. A repository around an unpacked archive, or one that the environment names, is
somebody else's.
"""

import os
import re
import subprocess
from pathlib import Path

from weightdecay.commit import COMMIT

ROOT = Path(__file__).resolve().parents[2]
UNKNOWN = "unknown"


def code_version(root: Path = ROOT, commit: str = COMMIT) -> str:
    """As `git describe` names it, "v1.2", "v1.2-3-g0123456" or "0123456", with "-dirty" where files were changed."""
    try:
        _git(root, "ls-files", "--error-unmatch", "src/weightdecay/version.py")  # or the repository is not of this code
        return _git(root, "describe", "--always", "--dirty", "--tags") or UNKNOWN
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):  # no git, or no repository here
        return commit[:7] if re.fullmatch(r"[0-9a-f]{40,64}", commit) else UNKNOWN


def _git(root: Path, *command: str) -> str:
    """What git says of the repository whose top is `root`, whoever owns it: its code is running already."""
    about = ["git", "-c", f"safe.directory={root}", "-C", str(root)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_CEILING_DIRECTORIES"] = str(root.parent)  # it does not look further up
    answer = subprocess.run([*about, *command], env=environment, capture_output=True, text=True, check=True, timeout=60)
    return answer.stdout.strip()
