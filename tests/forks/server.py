"""A Python that has imported the libraries of others, and forks for each program that it is asked to run.

    python server.py ADDRESS    listens on the Unix socket ADDRESS until its standard input ends

tests/forks/client.py asks. The forked process takes over the client's streams, folder, environment, umask and ignored
signals, imports our code anew, and runs the module as `python -m` does. What a process reads only when it starts is
that of the server: LD_LIBRARY_PATH, limits, and the interpreter's own variables.
"""

import atexit
import gc
import importlib
import marshal
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import NoReturn

# What Snakemake and the command line of weightdecay import with a trainer, a ledger and a plot style for tests.
LIBRARIES = (
    *("pandas", "psutil", "pyarrow.parquet", "pydantic", "requests", "scipy.stats", "smart_open", "typer.rich_utils"),
    *("yaml", "snakemake.cli", "snakemake.report.html_reporter", "snakemake.executors.local"),
)


def serve(address: str) -> dict:
    """Answer requests. Only in a process that was forked to run one, return it."""
    watched = selectors.DefaultSelector()  # each with the function that is called when it can be read
    door = socket.socket(socket.AF_UNIX)
    door.bind(address)
    door.listen(64)
    watched.register(door, selectors.EVENT_READ, lambda: begin(watched, door.accept()[0]))
    watched.register(0, selectors.EVENT_READ, lambda: os._exit(0))
    print("ready", flush=True)
    while True:
        for key, _ in watched.select():
            if key.fd in watched.get_map() and (request := key.data()):
                return request


def begin(watched: selectors.BaseSelector, client: socket.socket) -> dict | None:
    """Fork. Return the request in the new process, and nothing here."""
    size, streams, _, _ = socket.recv_fds(client, 8, 3)
    request = marshal.loads(client.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL))
    pid = os.fork()
    if not pid:
        for place in [client.detach(), *watched.get_map()]:
            os.close(place)
        watched.close()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return request
    for stream in streams:
        os.close(stream)
    say(client, pid)
    process = os.pidfd_open(pid)

    def kill() -> None:
        watched.unregister(client)
        os.kill(pid, signal.SIGKILL)  # as the client was

    def end() -> None:
        watched.unregister(process)
        os.close(process)
        with suppress(KeyError):
            watched.unregister(client)
        say(client, os.waitpid(pid, 0)[1])
        client.close()

    watched.register(client, selectors.EVENT_READ, kill)
    watched.register(process, selectors.EVENT_READ, end)
    return None


def say(client: socket.socket, number: int) -> None:
    with suppress(BrokenPipeError):
        client.sendall(b"%d\n" % number)


def become(request: dict, libraries: list[str]) -> None:
    """Make this process the one that was asked for, with `libraries` at the end of Python's path."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        default = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in request["ignored"] else default)
    os.chdir(request["folder"])
    os.umask(request["umask"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.executable, sys.orig_argv = request["command"][0], request["command"]
    sys.argv = ["-m", *request["command"][3:]]  # as while `python -m` looks for the module
    ours = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.path[:] = [os.getcwd(), *map(os.path.abspath, ours), *libraries]
    importlib.invalidate_caches()


def run(module: str) -> NoReturn:
    """Run the module and end as Python does, but do not take apart what the server has imported: it takes longer."""
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException as error:
        status = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
        sys.excepthook(*sys.exc_info())
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError):  # it is closed
            stream.flush()
    if status == -signal.SIGINT:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(status & 0xFF)


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the tests, and their end ends this process
    os.environ["JE_ARROW_MALLOC_CONF"] = "background_thread:false"
    for name in LIBRARIES:
        importlib.import_module(name)
    ours = [name for name in sys.modules if name.split(".")[0] in ("weightdecay", "experiments", "tests")]
    threads = len(os.listdir("/proc/self/task"))
    if ours or threads > 1:  # a fork would run old code, or lack threads that hold locks
        sys.exit(f"cannot fork: there are {threads} threads, and {ours} are imported")
    gc.collect()
    gc.freeze()
    request = serve(sys.argv[1])
    become(request, sys.path[1:])
    run(request["command"][2])
