"""Trains a table of runs. Runs with the same `stack_key` are stacked; a protocol gives their data and their network.

A run's result is a function of its own row. Its initialisation and the order of its data come from its own generators,
no operation sums across replicas, and on a GPU the number of replicas in a stack depends on their shape alone.

Runs, data, initial weights, order of batches, measurements and checkpoints are the same on every device. Only the steps
between two measurements differ: on a CPU (`cpu`) compiled loops train one replica after another; on a GPU (`gpu`) torch
operations train all replicas at once, captured in a CUDA graph.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from weightdecay.ensemble import backend
from weightdecay.ensemble.checkpoint import Checkpoint
from weightdecay.ensemble.checks import checked_table
from weightdecay.ensemble.program import Program, program_of
from weightdecay.ensemble.progress import Progress
from weightdecay.ensemble.stacking import padded, stacks_of
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.run import Run
from weightdecay.setting_types import Precision
from weightdecay.table import config_hash

CHECKPOINT_SECONDS = 30.0


@dataclass(frozen=True)
class TrainingResult:
    """The result of training a table, as tables.

    `runs`: one row for each run, with its settings, last metrics and `diverged_at`. `history`: tidy, with the columns
    `run, step, metric, value`. `metadata`: versions, device, time and memory.
    """

    runs: pd.DataFrame
    history: pd.DataFrame
    metadata: dict[str, Any]


def train(
    runs: Sequence[Run],
    protocol: Protocol,
    device: str = "auto",
    checkpoint: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    precision: Precision = "float32",
    code: str = "",
) -> TrainingResult:
    """Train every run of a table, and measure it at the steps of its logging schedule.

    `checkpoint`: a file to resume from, and to save to every `checkpoint_seconds`. Training that was interrupted and
    resumed gives the same bits as training without interruption. If no checkpoint can be kept, training goes on without
    one. `code`: a name of the code that trains, such as its fingerprint; the checkpoint of other code is not resumed.
    Raises DeviceError if there is no such `device` or it does not have the `precision`, and ConfigError for runs, data
    and networks that cannot be trained or that contradict each other.
    """
    runs = checked_table(runs)
    where, began = backend.resolve_device(device), time.monotonic()
    backend.check_precision(precision, where)
    about = backend.description(where)
    stacks = stacks_of(runs, where)
    sizes = [len(padded(stack, where)) for stack in stacks]
    key = f"{config_hash(runs)} {where} {about} {dtype} {precision} {torch.__version__} {sizes} {code}"
    store = Checkpoint(checkpoint, key)
    state = store.load() or {"stacks": [], "current": None, "seconds": 0.0}
    done = len(state["stacks"])
    finished = sum(run.steps for stack in stacks[:done] for run in stack)
    finished += state["current"]["step"] * len(stacks[done]) if state["current"] else 0
    progress = Progress(f"{runs[0].experiment} ({len(runs)} runs)", sum(run.steps for run in runs), finished)

    def save(current: dict[str, Any] | None) -> None:
        state["current"] = current
        store.save(state | {"seconds": state["seconds"] + time.monotonic() - began})

    for stack in stacks[done:]:
        with backend.arithmetic(where, precision):
            program = program_of(Ensemble(padded(stack, where), protocol, dtype, where))
            history = _train_stack(program, len(stack), state["current"], save, checkpoint_seconds, progress)
        state["stacks"].append({"history": history, "diverged_at": program.ensemble.diverged_at()[: len(stack)]})
        del program  # free the stack's memory before the next stack is made
        save(None)
    progress.close()
    metadata = {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        **about,
        "precision": precision if dtype == torch.float32 else str(dtype).removeprefix("torch."),
        "wall_seconds": round(state["seconds"] + time.monotonic() - began, 2),
        "peak_memory_mib": backend.peak_memory(where),
    }
    return _tables(stacks, state["stacks"], metadata)


def _train_stack(
    program: Program,
    count: int,
    resumed: dict[str, Any] | None,
    save: Callable[[dict[str, Any]], None],
    checkpoint_seconds: float,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Train a stack to its end; return the history of its first `count` runs as `[{"step": s, metric: [values]}]`."""
    ensemble = program.ensemble
    schedule, stops = ensemble.log_steps, list(ensemble.log_steps)
    history: list[dict[str, Any]] = []

    def record() -> None:
        if ensemble.step in schedule:
            metrics = program.measure(full=schedule[ensemble.step])
            values = torch.stack(list(metrics.values()))[:, :count].tolist()  # one copy from the device
            history.append({"step": ensemble.step, **dict(zip(metrics, values, strict=True))})

    if resumed is None:
        record()
    else:
        program.restore(resumed["step"], resumed["tensors"])
        history = resumed["history"]
    saved = time.monotonic()
    while ensemble.step < ensemble.run.steps:
        steps = min(program.at_once, stops[bisect_right(stops, ensemble.step)] - ensemble.step)
        program.advance(steps)
        record()
        progress.advance(steps * count)
        if time.monotonic() - saved > checkpoint_seconds:
            save({"step": ensemble.step, "tensors": ensemble.tensors(), "history": history})
            saved = time.monotonic()
    return history


def _tables(stacks: list[list[Run]], done: list[dict[str, Any]], metadata: dict[str, Any]) -> TrainingResult:
    rows, parts = [], []
    for stack, result in zip(stacks, done, strict=True):
        measured = [
            (entry["step"], *item) for entry in result["history"] for item in entry.items() if item[0] != "step"
        ]
        steps, names, values = zip(*measured, strict=True)
        columns = {"step": np.repeat(steps, len(stack)), "metric": np.repeat(names, len(stack))}
        runs_of_rows = [run.id for run in stack] * len(measured)
        parts.append(pd.DataFrame({"run": runs_of_rows, **columns, "value": np.concatenate(values)}))
        last = dict(zip(names, values, strict=True))
        for replica, (run, diverged_at) in enumerate(zip(stack, result["diverged_at"], strict=True)):
            final = {name: values[replica] for name, values in last.items()}
            rows.append({"run": run.id, **run.model_dump(), **final, "diverged_at": diverged_at})
    runs = pd.DataFrame(rows).astype({"diverged_at": "Int64"})
    return TrainingResult(runs, pd.concat(parts, ignore_index=True), metadata)
