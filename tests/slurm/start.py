"""A Slurm of one machine, for tests: munged, slurmctld and slurmd of Debian's packages, without a database of accounts.

    python tests/slurm/start.py          starts it and prints how to use it; Ctrl-C stops it
    apt-get install --no-install-recommends slurm-wlm munge          what it needs

Everything that it writes is in a temporary folder, and its ports are free ones: another Slurm may run beside it. It
stops what it started, even when it is killed, and nothing else.
"""

import getpass
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct")

# cgroups are often read-only in containers: processes are tracked by their parents instead.
CONFIG = """
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
MpiDefault=none
ReturnToService=2
MinJobAge={min_job_age}
KillWait=5
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} Gres=gpu:2 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# Two files that are always there stand for two GPUs.
GPUS = "Name=gpu File=/dev/null,/dev/zero\n"
CGROUPS = "CgroupPlugin=cgroup/v1\nCgroupMountpoint={folder}/cgroup\n"


def missing() -> list[str]:
    """The programs that this machine lacks."""
    return [name for name in (*DAEMONS, *COMMANDS) if shutil.which(name, path=search_path()) is None]


def search_path() -> str:
    """Daemons are in /usr/sbin, which is not on every user's path."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])


class Slurm:
    """Daemons that run between `with` and its end."""

    def __init__(self, min_job_age: int = 300, cpus: int | None = None):
        self.min_job_age = min_job_age
        self.cpus = cpus or os.cpu_count()
        self.daemons: dict[str, subprocess.Popen] = {}

    @property
    def environment(self) -> dict[str, str]:
        """What this Slurm needs around it."""
        return {**os.environ, "SLURM_CONF": f"{self.folder}/slurm.conf", "PATH": f"{self.folder}/bin:{search_path()}"}

    def __enter__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="slurm-"))  # short: the path of a socket has 107 characters
        try:
            self._configure()
            key, seed = self.folder / "munge.key", self.folder / "munge.seed"
            key.write_bytes(secrets.token_bytes(128))
            key.chmod(0o600)
            files = (f"--key-file={key}", f"--seed-file={seed}", f"--socket={self.folder}/munge.socket")
            self._start("munged", "--foreground", "--force", *files, f"--pid-file={self.folder}/munge.pid")
            self._wait_for("munge.socket", lambda: (self.folder / "munge.socket").exists())
            self._start("slurmctld", "-D")
            self.start_slurmd()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in reversed(list(self.daemons)):
            self._stop(name)
        shutil.rmtree(self.folder)

    def start_slurmd(self) -> None:
        """Start the daemon of the node, and wait until the node takes jobs."""
        self._start("slurmd", "-D", "-N", self.host)
        self._wait_for("an idle node", lambda: self.run("sinfo", "-h", "-o", "%t").strip() in ("idle", "mix", "alloc"))

    def kill_slurmd(self) -> None:
        """Take the daemon of the node away at once; the jobs that it started live on."""
        self.daemons.pop("slurmd").kill()

    def run(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return done.stdout

    def running(self, *options: str) -> list[str]:
        """The numbers of the jobs that run."""
        return self.run("squeue", "--noheader", "--states=running", "--format=%i", *options).split()

    def _configure(self) -> None:
        self.host = socket.gethostname().split(".")[0]
        for name in ("state", "spool", "bin"):
            (self.folder / name).mkdir()
        for name in COMMANDS:  # Snakemake takes SLURM_CONF from its jobs
            said = f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which(name)} "$@"\n'
            (self.folder / "bin" / name).write_text(said, encoding="utf-8")
            (self.folder / "bin" / name).chmod(0o755)
        with socket.socket() as one, socket.socket() as other:  # both open, so that they differ
            ports = [each.getsockname()[1] for each in (one, other) if not each.bind(("127.0.0.1", 0))]
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 * 9 // 10
        known = {"folder": self.folder, "host": self.host, "user": getpass.getuser(), "ports": ports, "memory": memory}
        files = {"slurm.conf": CONFIG, "gres.conf": GPUS, "cgroup.conf": CGROUPS}
        for name, text in files.items():
            filled = text.format(**known, cpus=self.cpus, min_job_age=self.min_job_age)
            (self.folder / name).write_text(filled, encoding="utf-8")

    def _start(self, name: str, *arguments: str) -> None:
        program = shutil.which(name, path=search_path())
        with open(self.folder / f"{name}.out", "ab") as out:
            self.daemons[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", program, *arguments],  # ends with us, even if we are killed
                env=self.environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def _stop(self, name: str) -> None:
        daemon = self.daemons.pop(name)
        if name == "slurmd":
            for job in self.run("squeue", "--noheader", "--format=%i").split():
                self.run("scancel", "--signal=KILL", "--full", job)
                self.run("scancel", job)
        daemon.terminate()
        try:
            daemon.wait(20)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()

    def _wait_for(self, what: str, is_there) -> None:
        for _ in range(300):
            if is_there():
                return
            dead = [name for name, daemon in self.daemons.items() if daemon.poll() is not None]
            if dead:
                break
            time.sleep(0.1)
        said = "\n".join(path.read_text(errors="replace")[-2000:] for path in sorted(self.folder.glob("*.[lo]*[gt]")))
        raise RuntimeError(f"no {what} after 30 s, or {dead or 'no daemon'} ended:\n{said}")


def main() -> None:
    if lacking := missing():
        sys.exit(f"error: this machine lacks {', '.join(lacking)}: apt-get install slurm-wlm munge")
    with Slurm() as slurm:
        print(f"export PATH={slurm.folder}/bin:$PATH", flush=True)
        print("Ctrl-C stops it.", file=sys.stderr)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit())
        try:
            signal.pause()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
