"""Starts the server of tests/forks/server.py: once in each process that runs tests."""

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
_servers: list[subprocess.Popen] = []  # they end when their standard input does, that is with this process


@cache
def python() -> str:
    """A Python whose `-m MODULE` takes a tenth of a second instead of two, as it has imported most libraries before.

    Its module runs in a process of its own, with our code imported anew. Where the kernel lacks what this needs, it is
    the Python that runs the tests.
    """
    if not hasattr(os, "pidfd_open"):
        return sys.executable
    folder = Path(tempfile.mkdtemp(prefix="forks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    client = folder / "python"
    client.write_text(f"#!{sys.executable} -IS\n{(HERE / 'client.py').read_text(encoding='utf-8')}", encoding="utf-8")
    client.chmod(0o700)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, HERE / "server.py", folder / "server"]
    _servers.append(subprocess.Popen(command, env=environment, **pipes))
    assert _servers[-1].stdout.readline() == b"ready\n"
    return str(client)
