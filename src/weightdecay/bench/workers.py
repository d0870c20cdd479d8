"""The processes in which contestants run, one for each kind, so that none disturbs another's threads, flags or memory.

On a CPU every process has one thread and is pinned to one core before it imports a library. It runs `server`.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import shutil
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from weightdecay.errors import WeightDecayError

if TYPE_CHECKING:
    from weightdecay.bench.server import Server

# name -> module, class, its options, text for the table
KINDS: dict[str, tuple[str, str, dict[str, Any], str]] = {
    "sequential": ("torch_peers", "Sequential", {}, "sequential torch.optim"),
    "fused": ("torch_peers", "Sequential", {"fused": True}, "sequential torch.optim, fused=True"),
    "vmap": ("torch_peers", "Vmap", {}, "torch.func vmap"),
    "vmap_compiled": ("torch_peers", "Vmap", {"compiled": True}, "torch.func vmap, torch.compile"),
    "grouped": ("torch_peers", "Grouped", {}, "grouped convolution"),
    "jax": ("jax_peer", "Jax", {}, "JAX vmap+scan+jit"),
    "jax_default": ("jax_peer", "Jax", {"precision": None}, "JAX, its default precision"),
    "ours_tf32": ("trainer", "Trainer", {"precision": "tf32"}, "weightdecay, TF32"),
    "ours": ("trainer", "Trainer", {}, "weightdecay"),
}
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    **{"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "JAX_PLATFORMS": "cpu"},
}
STOP_SECONDS = 10


class Refused(WeightDecayError):
    """A contestant that cannot take part, and why."""


class Worker:
    """The measuring process's handle on a contestant's process. It calls the methods of `server.Server` there."""

    def __init__(self, kind: str, device: str, core: int | None):
        self.kind = kind
        context = multiprocessing.get_context("spawn")
        self.connection, other = context.Pipe()
        self.process = context.Process(target=_serve, args=(other, kind, device, core), daemon=True)
        self.process.start()
        other.close()

    def start(self, method: str, *arguments: Any) -> None:
        """Begin a call; `result` waits for its end."""
        try:
            self.connection.send((method, arguments))
        except BrokenPipeError as error:
            raise self._dead() from error

    def result(self) -> Any:
        """Wait for the call and return its value. Raises Refused with the reason if it failed."""
        try:
            succeeded, value = self.connection.recv()
        except EOFError as error:
            raise self._dead() from error
        if not succeeded:
            raise Refused(f"{KINDS[self.kind][3]}: {value}")
        return value

    def call(self, method: str, *arguments: Any) -> Any:
        self.start(method, *arguments)
        return self.result()

    def stop(self) -> None:
        self.connection.close()
        self.process.join(STOP_SECONDS)
        if self.process.is_alive():
            self.process.kill()

    def _dead(self) -> Refused:
        self.process.join(STOP_SECONDS)
        return Refused(f"{KINDS[self.kind][3]}: its process ended with status {self.process.exitcode}")


def missing(kind: str) -> str | None:
    """Return why a contestant cannot run on this machine, or None."""
    if kind.startswith("jax") and importlib.util.find_spec("jax") is None:
        return "JAX is not installed (pip install --editable .[peers])"
    if kind == "vmap_compiled" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return "torch.compile needs a C++ compiler, and there is none"
    return None


def cores() -> list[int]:
    """Return the cores that this process may use, the last first: the system's own work runs mostly on the first."""
    return sorted(os.sched_getaffinity(0), reverse=True) if hasattr(os, "sched_getaffinity") else []


def _serve(connection: Connection, kind: str, device: str, core: int | None) -> None:
    """Run in the contestant's process: answer calls until the other side closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the measuring one ends the others
    if device == "cpu":
        os.environ |= ONE_THREAD
        if core is not None:
            os.sched_setaffinity(0, {core})
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    server: Server | None = None
    with suppress(EOFError, BrokenPipeError):
        while True:
            method, arguments = connection.recv()
            try:
                if server is None:
                    server = _server(kind, device)
                reply = True, getattr(server, method)(*arguments)
            except Exception as error:  # any error of a library: measuring goes on without this contestant
                reply = False, f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            connection.send(reply)


def _server(kind: str, device: str) -> Server:
    import torch  # noqa: F401 - by itself, so that its seconds are told from ours

    imported = time.perf_counter()
    from weightdecay.bench.server import Server

    return Server(kind, device, imported)
