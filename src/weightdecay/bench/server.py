"""A contestant's process: it builds, trains and measures on request. The requests come from `workers`."""

from __future__ import annotations

import importlib
import platform
import resource
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import torch

from weightdecay.bench import floor
from weightdecay.bench.cases import CASES
from weightdecay.bench.workers import KINDS
from weightdecay.ensemble import backend

UPDATES = 20


class Server:
    """All of a case's contestants of one kind, one for each number of replicas."""

    def __init__(self, kind: str, device: str, torch_imported: float):
        """`torch_imported`: the time when torch was imported, by `time.perf_counter`."""
        self.device = torch.device(device)
        self.now = floor.clock(self.device)
        if device == "cpu":
            torch.set_num_threads(1)
        elif not kind.startswith("jax"):
            torch.cuda.init()  # the GPU's memory can be read only after this
            torch.backends.cudnn.allow_tf32 = False  # torch's default is TF32 in convolutions, though not in products
        module, name, self.options, _ = KINDS[kind]
        self.kind = getattr(importlib.import_module(f"weightdecay.bench.{module}"), name)
        self.import_seconds: float | None = time.perf_counter() - torch_imported
        self.case = ""
        self.contestants: dict[int, Any] = {}
        self.step_seconds: dict[int, float] = {}

    def prepare(self, name: str, replicas: int) -> dict[str, Any]:
        """Build the contestant and train its first steps; return replicas at once, last loss, seconds and memory.

        `cold_seconds`: from the import of torch to the end of the first steps; None unless it is this process's first
        contestant. `memory_mib`: on a GPU the most that this contestant allocated, on a CPU the process's resident set
        so far.
        """
        if name != self.case:
            self._forget()
            self.case = name
        before = self._memory(now=True)
        began = time.perf_counter()
        contestant = self.kind(CASES[name], replicas, self.device, **self.options)
        loss = contestant.first_steps()
        seconds = time.perf_counter() - began
        cold, self.import_seconds = self.import_seconds, None
        self.contestants[replicas] = contestant
        self.step_seconds[replicas] = self._seconds(contestant.train, contestant.unit)
        return {
            "stacked": contestant.replicas,
            "loss": loss,
            "cold_seconds": None if cold is None else cold + seconds,
            "memory_mib": round(self._memory() - before, 1),
        }

    def turn(self, replicas: int, seconds: float) -> float:
        """Train for about so many seconds; return the seconds per replica-step, by `floor.clock`."""
        contestant = self.contestants[replicas]
        units = max(1, round(seconds / self.step_seconds[replicas] / contestant.unit))
        steps = units * contestant.unit
        self.step_seconds[replicas] = self._seconds(contestant.train, steps)
        return self.step_seconds[replicas] / contestant.replicas

    def product_rate(self) -> float:
        return floor.product_rate(self.device)

    def copy_bandwidth(self) -> float:
        return floor.copy_bandwidth(self.device)

    def optimizer_bandwidth(self, name: str, replicas: int) -> float:
        """Return the bytes per second that our optimiser moves, counting only the bytes that it must move."""
        contestant, case = self.contestants[replicas], CASES[name]
        contestant.update(UPDATES)
        seconds = self._seconds(contestant.update, UPDATES)
        return (
            len(contestant.program.ensemble.runs) * floor.parameters(case) * floor.optimizer_bytes(case.run) / seconds
        )

    def machine(self) -> dict[str, str]:
        """Return a description of the machine that measures."""
        device = torch.cuda.get_device_name() if self.device.type == "cuda" else backend.processor()
        return {"device": device, "python": platform.python_version(), "torch": version("torch")}

    def _forget(self) -> None:
        """Free all contestants, as their case is over."""
        self.contestants.clear()
        if self.device.type == "cuda" and torch.cuda.is_initialized():
            torch.cuda.empty_cache()

    def _seconds(self, train: Callable[[int], None], steps: int) -> float:
        began = self.now()
        train(steps)
        return (self.now() - began) / steps

    def _memory(self, now: bool = False) -> float:
        """Return the peak memory in MiB: allocated on a GPU, or resident on a CPU.

        `now`: the memory that is allocated at the moment; 0 on a CPU.
        """
        if self.device.type == "cpu":
            return 0.0 if now else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
        if self.kind.__name__ == "Jax":
            import jax

            statistics = jax.devices("gpu")[0].memory_stats() or {}
            return statistics.get("bytes_in_use" if now else "peak_bytes_in_use", 0) / 2**20
        if now:
            torch.cuda.reset_peak_memory_stats()
        return torch.cuda.max_memory_allocated() / 2**20
