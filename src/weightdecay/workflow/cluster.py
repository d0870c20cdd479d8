"""Checks Slurm before a job is submitted: can the pipeline learn that the job has ended?"""

import re
import subprocess
from typing import Any

from weightdecay.errors import ConfigError

LEAST_AGE = 300  # seconds; Slurm's default. Snakemake looks at least every 180 s, and Slurm may answer late.


def choose_status_command(settings: Any) -> None:
    """Choose `squeue` if `sacct` does not work, and refuse a Slurm in which neither tells how a job ended.

    `settings` are those of any executor of Snakemake. The executor for Slurm uses `sacct` if it is installed. Without a
    database of accounts, Snakemake would then wait for ever for jobs that have ended.
    """
    if getattr(settings, "status_command", None) is None or _says(["sacct", "--allocations", "--noheader"]) is not None:
        return
    needed = max(LEAST_AGE, 3 * settings.init_seconds_before_status_checks)  # otherwise Snakemake asks sacct anyway
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", _says(["scontrol", "show", "config"]) or "", re.MULTILINE)
    if found and int(found[1]) < needed:
        raise ConfigError(
            f"Slurm keeps no accounts here and has MinJobAge={found[1]}, so that Snakemake may wait for ever for a job "
            f"that has ended: Slurm needs accounting (slurmdbd), or MinJobAge={needed} in slurm.conf."
        )
    settings.status_command = "squeue"


def _says(command: list[str]) -> str | None:
    """Return what a program prints, or None if it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    except (OSError, subprocess.SubprocessError):
        return None
