"""A forked program is told apart from a started one by nothing but its time."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.forks.start import python

TELLS = """
import json, os, signal, sys, weightdecay
about = {"arguments": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ), "path": sys.path[:2],
  "package": weightdecay.NAME, "name": __name__, "umask": os.umask(0), "group": os.getpgid(0),
  "input": sys.stdin.read(), "files": sorted(os.listdir("/proc/self/fd")),
  "signals": [str(signal.getsignal(number)) for number in range(1, 32)]}
print(json.dumps(about))
print("said", file=sys.stderr)
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "tells.py").write_text(TELLS)
    (tmp_path / "weightdecay.py").write_text("NAME = 'ours'")
    return tmp_path


def run(program: str, folder: Path, code: str = "", **options) -> subprocess.CompletedProcess:
    (folder / "code.py").write_text(code)
    command = [program, "-m", *(("code",) if code else ("tells", "a", "b c"))]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, **options)


def test_a_forked_program_finds_what_a_started_one_finds(folder):
    environment = {**os.environ, "PYTHONPATH": str(folder / "λ"), "MINE": "yes"}
    forked, started = (
        run(program, folder, input="text", env=environment, umask=0o027) for program in (python(), sys.executable)
    )
    assert json.loads(forked.stdout) == json.loads(started.stdout)
    assert (forked.returncode, forked.stderr) == (started.returncode, started.stderr) == (0, "said\n")


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("import sys; sys.exit(3)", 3),
        ("import sys; sys.exit('a sentence')", 1),
        ("raise ValueError('λ')", 1),
        ("import os; os.kill(os.getpid(), 9)", -9),
        ("import signal, os; os.kill(os.getpid(), signal.SIGTERM)", -15),
        ("import atexit; atexit.register(print, 'last', end='', flush=False)", 0),
        ("import sys; sys.stdout.close()", 0),
    ],
)
def test_a_forked_program_ends_as_a_started_one_does(folder, code, status):
    forked, started = (run(program, folder, code) for program in (python(), sys.executable))
    assert forked.returncode == started.returncode == status
    assert forked.stdout == started.stdout and forked.stderr.splitlines()[-1:] == started.stderr.splitlines()[-1:]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_signal_to_the_client_ends_its_program(folder, number):
    (folder / "waits.py").write_text("import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(60)")
    client = subprocess.Popen([python(), "-m", "waits"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    program = psutil.Process(int(client.stdout.readline()))
    client.send_signal(number)
    program.wait(30)
    client.communicate(timeout=30)
    assert client.returncode == -number
