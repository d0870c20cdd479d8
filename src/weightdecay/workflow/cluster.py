"""What the pipeline asks of Slurm before it submits a job: how it will learn that a job has ended."""

import re
import subprocess
from typing import Any

from weightdecay.errors import ConfigError

LEAST_AGE = 300  # seconds; Slurm's default. Snakemake looks every 180 at least, and Slurm may answer late.


def choose_status_command(settings: Any) -> None:
    """Choose `squeue` where `sacct` knows nothing, and refuse a Slurm in which neither tells how a job ended.

    `settings` are those of Snakemake's executor, whichever it is. Slurm's takes `sacct` wherever the program is
    installed; without a database of accounts Snakemake would then wait for ever for jobs that have ended.
    """
    if getattr(settings, "status_command", None) is None or _says(["sacct", "--allocations", "--noheader"]) is not None:
        return
    needed = max(LEAST_AGE, 3 * settings.init_seconds_before_status_checks)  # else it asks sacct all the same
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", _says(["scontrol", "show", "config"]) or "", re.MULTILINE)
    if found and int(found[1]) < needed:
        raise ConfigError(
            f"Slurm keeps no accounts here and has MinJobAge={found[1]}, so that Snakemake may wait for ever for a job "
            f"that has ended: Slurm needs accounting (slurmdbd), or MinJobAge={needed} in slurm.conf."
        )
    settings.status_command = "squeue"


def _says(command: list[str]) -> str | None:
    """What a program prints, or None where it is not there or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
