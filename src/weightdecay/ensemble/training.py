"""Trains a table of runs. Runs of equal `stack_key` are stacked; a protocol says what data and network they have.

Every run's result is a function of its own row: initialisation and data order come from the run's own generators, no
operation reduces across replicas, and on a GPU the number of replicas in a stack depends on their shape alone.

Runs, data, initial weights, order of batches, measurements and checkpoints are the same on every device. The steps
between two measurements are a CPU's (`program`: compiled loops, one replica after another) or a GPU's (`graph`: torch
operations on all replicas at once, captured in a CUDA graph).
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
from torch import Tensor

from weightdecay.datasets import Splits
from weightdecay.ensemble import backend
from weightdecay.ensemble.checkpoint import Checkpoint
from weightdecay.ensemble.checks import check_measured, checked_stack, checked_table
from weightdecay.ensemble.data import gathered
from weightdecay.ensemble.dropout import words_of
from weightdecay.ensemble.graph import REPLAYED, DeviceProgram
from weightdecay.ensemble.layers import BatchNorm, Layer
from weightdecay.ensemble.losses import LOSSES, classifies
from weightdecay.ensemble.networks import Stack, dropouts
from weightdecay.ensemble.optimizers import OPTIMIZERS
from weightdecay.ensemble.progress import Progress
from weightdecay.ensemble.schedules import log_steps
from weightdecay.ensemble.stacking import padded, stacks_of
from weightdecay.ensemble.structure import check_network
from weightdecay.errors import ConfigError, ResultError
from weightdecay.run import Run
from weightdecay.table import config_hash

CHECKPOINT_SECONDS = 30.0
BATCH_METRICS = {"train_loss_batch", "train_accuracy_batch"}
UNINTERRUPTED = 512  # steps of single networks in one call on a CPU: a second or so, as Ctrl-C has to wait for its end


@dataclass(frozen=True)
class Protocol:
    """How a row of the table becomes a training problem."""

    splits: Callable[[Run], Splits]  # the run's data, a function of its seed
    network: Callable[[Sequence[Run]], Layer]  # one network for a stack of runs, per-replica constants as `[R]`
    # What else is measured at every logged step, name -> `[R]`: of `ensemble.stack`, whose gradients are those of the
    # last batch, without penalty, at the weights before the last step.
    measures: Callable[[Ensemble], dict[str, Tensor]] = lambda ensemble: {}
    # How many examples the train split of a row has; another number where `train_size` counts some that are held out.
    train_examples: Callable[[Run], int] = lambda run: run.train_size


@dataclass(frozen=True)
class TrainingResult:
    """`runs`: one row a run, settings, last metrics, `diverged_at`. `history`: tidy `run, step, metric, value`."""

    runs: pd.DataFrame
    history: pd.DataFrame
    metadata: dict[str, Any]


class Ensemble:
    """R runs of one `stack_key` in training. All state is in tensors, so that it can be saved and restored exactly."""

    def __init__(self, runs: Sequence[Run], protocol: Protocol, dtype: torch.dtype, device: torch.device):
        if not isinstance(protocol, Protocol):
            raise ConfigError(f"protocol is a {type(protocol).__name__}, but must be Protocol(splits, network).")
        runs = checked_stack(runs, dtype)
        self.runs, self.device = runs, device
        self.run = runs[0]  # for what all runs of a stack have in common
        self.loss, self.measures = LOSSES[self.run.loss], protocol.measures
        # Inputs and targets, `[U, N, ...]`: replica r has those of index `which[r]`.
        self.data, self.which = gathered(runs, protocol.splits, protocol.train_examples, dtype, device)
        self.examples = self.data["train"][0].shape[1]
        inputs, outputs = (part.shape[2] for part in self.data["train"])
        self.classifies = classifies(self.loss, outputs)
        network = protocol.network(runs)
        check_network(network, runs, inputs, outputs)
        self.dropout = words_of(runs, device)
        for number, layer in enumerate(dropouts(network)):
            layer.number, layer.words = number, self.dropout
        self.stack = Stack(network, [generator_of(run.seed, 0) for run in runs], dtype, device)
        self.optimizer = OPTIMIZERS[self.run.optimizer](self.stack, runs)
        largest = self.optimizer.coefficients(0, torch.ones(1, dtype=torch.float64, device=device))  # the first step's
        if not largest.isfinite().all():
            raise ConfigError(f"learning_rate, weight_decay or a beta makes a step too large for {dtype}.")
        if self.run.batch_size == 1 and any(isinstance(layer, BatchNorm) for layer in self.stack.leaves):
            raise ConfigError("batch_size is 1, but BatchNorm needs at least 2 examples to have a variance.")
        self.epoch_steps = self.examples // self.run.batch_size  # the last, incomplete batch is dropped
        self.at_once = REPLAYED if device.type == "cuda" else max(1, UNINTERRUPTED // len(runs))  # steps
        self.log_steps = log_steps(self.run)
        self.step = 0
        zeros = torch.zeros(len(runs), dtype=dtype, device=device)
        self.state = {
            "loss_sum": zeros.clone(),  # over the steps of the current epoch
            "correct_sum": zeros.clone(),
            "finite_steps": zeros.long(),  # steps whose loss was finite: one less than the step of divergence
            "held_norm": torch.full_like(zeros, torch.nan),
        }
        if self.run.hold_norm == "saturation" and not self.classifies:
            raise ConfigError("hold_norm is saturation, which is of training accuracy, but a regression has none.")
        if self.run.hold_norm == "start":
            self.state["held_norm"] = self.stack.norms()[0]
        if device.type == "cpu":
            from weightdecay.ensemble.program import HostProgram  # Numba: of no use to a GPU

            self.program = HostProgram(self)
        else:
            self.program = DeviceProgram(self)

    def advance(self, steps: int = 1) -> None:
        """Training steps of every replica; on a GPU they are launched, not waited for."""
        self.program.advance(steps)

    def measure(self, full: bool) -> dict[str, Tensor]:
        """Metrics now, each `[R]`; NaN for a run that has diverged. Not `full`: the training split is left out."""
        metrics = {}
        for name in self.data:
            if full or name != "train":
                metrics[f"{name}_loss"], accuracy = self.program.evaluate(name)
                metrics |= {f"{name}_accuracy": accuracy} if self.classifies else {}
        if self.step > 0:
            steps = (self.step - 1) % self.epoch_steps + 1
            metrics["train_loss_batch"] = self.state["loss_sum"] / steps
            if self.classifies:
                metrics["train_accuracy_batch"] = self.state["correct_sum"] / (steps * self.run.batch_size)
        metrics["weight_norm"], metrics["weight_norm_sum"] = self.stack.norms()
        own = {f"{name}_{kind}" for name in self.data for kind in ("loss", "accuracy")}
        check_measured(measured := self.measures(self), own | BATCH_METRICS | metrics.keys(), metrics["weight_norm"])
        metrics |= measured
        diverged = self.state["finite_steps"] < self.step
        return {name: values.masked_fill(diverged, torch.nan) for name, values in metrics.items()}

    def diverged_at(self) -> list[int | None]:
        """Per run the step, counted from 1, whose loss was first not finite."""
        return [None if steps == self.step else steps + 1 for steps in self.state["finite_steps"].tolist()]

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor that training changes, by name."""
        named = {"parameters": self.stack.parameters, "buffers": self.stack.buffers}
        named |= {f"optimizer.{name}": tensor for name, tensor in self.optimizer.slots.items()}
        return named | self.state

    def restore(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Go on exactly where `tensors()` were taken, after `step` steps."""
        shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in self.tensors().items()}
        if {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()} != shapes:
            raise ResultError("the checkpoint holds tensors of other names or shapes than these runs have: delete it.")
        self.step = step
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])
        self.program.seek()

    def data_order(self, seed: int, epoch: int) -> Tensor:
        """The examples that every batch of an epoch has, `[epoch_steps, B]`, on the CPU."""
        if self.run.shuffle:
            order = torch.randperm(self.examples, generator=generator_of(seed, 1 + epoch), device="cpu")
        else:
            order = torch.arange(self.examples, device="cpu")
        return order[: self.epoch_steps * self.run.batch_size].view(self.epoch_steps, -1)


def train(
    runs: Sequence[Run],
    protocol: Protocol,
    device: str = "auto",
    checkpoint: str | Path | None = None,
    dtype: torch.dtype = torch.float32,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    precision: backend.Precision = "float32",
    code: str = "",
) -> TrainingResult:
    """Train every run of a table and measure it by its logging schedule.

    `checkpoint`: a file to resume from and to save to every `checkpoint_seconds`; an interrupted training that is
    resumed gives bit for bit what an undisturbed one gives, and one whose checkpoint cannot be kept goes on without.
    `code`: a fingerprint of the code, which a checkpoint must have to be taken up.
    Raises DeviceError when `device` is not there, or has no such `precision`, and ConfigError for runs, data and
    networks that cannot be trained, or that contradict each other.
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
    total = sum(run.steps for run in runs)
    finished = sum(run.steps for stack in stacks[: len(state["stacks"])] for run in stack)
    progress = Progress(f"{runs[0].experiment} ({len(runs)} runs)", total, finished)

    def save(current: dict[str, Any] | None) -> None:
        state["current"] = current
        store.save(state | {"seconds": state["seconds"] + time.monotonic() - began})

    for stack in stacks[len(state["stacks"]) :]:
        with backend.arithmetic(where, precision):
            ensemble = Ensemble(padded(stack, where), protocol, dtype, where)
            history = _train_stack(ensemble, len(stack), state["current"], save, checkpoint_seconds, progress)
        state["stacks"].append({"history": history, "diverged_at": ensemble.diverged_at()[: len(stack)]})
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
    ensemble: Ensemble,
    count: int,
    resumed: dict[str, Any] | None,
    save: Callable[[dict[str, Any]], None],
    checkpoint_seconds: float,
    progress: Progress,
) -> list[dict[str, Any]]:
    """Train a stack to its end; returns the history of its first `count` runs as `[{"step": s, metric: [values]}]`."""
    stops = list(ensemble.log_steps)
    history: list[dict[str, Any]] = []

    def record() -> None:
        if ensemble.step in ensemble.log_steps:
            metrics = ensemble.measure(full=ensemble.log_steps[ensemble.step])
            values = torch.stack(list(metrics.values()))[:, :count].tolist()  # one copy from the device
            history.append({"step": ensemble.step, **dict(zip(metrics, values, strict=True))})

    if resumed is None:
        record()
    else:
        ensemble.restore(resumed["step"], resumed["tensors"])
        history = resumed["history"]
        progress.advance(ensemble.step * count)
    saved = time.monotonic()
    while ensemble.step < ensemble.run.steps:
        steps = min(ensemble.at_once, stops[bisect_right(stops, ensemble.step)] - ensemble.step)
        ensemble.advance(steps)
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


def generator_of(seed: int, stream: int) -> torch.Generator:
    """A run's own generators on the CPU: stream 0 for its initialisation, 1 + epoch for the order of its data.

    Hashed to 32 bits, of which torch's CPU generator uses no more: seeds that differ above them would all be one.
    """
    return torch.Generator("cpu").manual_seed(int(np.random.SeedSequence([seed, stream]).generate_state(1)[0]))
