"""What the CPU's and the GPU's way to train have in common: they advance an ensemble, and measure it.

The steps go from table to table. A table holds what varies by step over some epochs: the order of the batches, and what
the optimiser takes. It is filled beforehand, as a compiled loop and a CUDA graph can only read it.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor

from weightdecay.ensemble.checks import check_measured
from weightdecay.ensemble.schedules import multiplier
from weightdecay.ensemble.state import Ensemble
from weightdecay.run import SATURATED

TABLE_STEPS = 256  # at least, where an order of so many steps is not too large; then up to a whole epoch
EVALUATION_ROWS = 320  # examples measured at once; 512 are 2,048 bytes, all in two sets of a CPU's first cache
BATCH_METRICS = {"train_loss_batch", "train_accuracy_batch"}
NEVER = 2**62  # right examples, of which no epoch has so many


class Program:
    """Advances and measures an ensemble."""

    table_rows: int  # at most, of the order of all replicas, unless an epoch has more
    at_once: int  # steps in one call, as Ctrl-C has to wait for its end

    def __init__(self, ensemble: Ensemble):
        self.ensemble = ensemble
        epoch, run = ensemble.epoch_steps, ensemble.run
        rows = epoch * run.batch_size * len(ensemble.runs)
        self.epochs = max(1, min(-(-TABLE_STEPS // epoch), self.table_rows // rows))
        self.steps, self.table = self.epochs * epoch, -1  # a table's steps, and which table is there
        self.seeds = sorted({run.seed for run in ensemble.runs})
        self.seed_of = torch.tensor([self.seeds.index(run.seed) for run in ensemble.runs], device="cpu")
        # Right examples of an epoch from which on the norm is held; 0: it is free.
        saturated = math.ceil(Fraction(str(SATURATED)) * epoch * run.batch_size)
        self.held_from = {"never": 0, "start": NEVER, "saturation": saturated}[run.hold_norm]

    def advance(self, steps: int = 1) -> None:
        """Do training steps of every replica; on a GPU they are launched, not waited for."""
        while steps:
            table, within = divmod(self.ensemble.step, self.steps)
            if table != self.table:
                self.fill(table)
                self.table = table
            count = min(steps, self.steps - within)
            self.run(within, count)
            self.ensemble.step += count
            steps -= count

    def measure(self, full: bool) -> dict[str, Tensor]:
        """Return metrics now, each `[R]`; NaN for a run that has diverged. Not `full`: without the training split."""
        ensemble, metrics = self.ensemble, {}
        for name in ensemble.data:
            if full or name != "train":
                metrics[f"{name}_loss"], accuracy = self.evaluate(name)
                metrics |= {f"{name}_accuracy": accuracy} if ensemble.classifies else {}
        if ensemble.step > 0:
            steps = (ensemble.step - 1) % ensemble.epoch_steps + 1
            metrics["train_loss_batch"] = ensemble.sums["loss_sum"] / steps
            if ensemble.classifies:
                metrics["train_accuracy_batch"] = ensemble.sums["correct_sum"] / (steps * ensemble.run.batch_size)
        metrics["weight_norm"], metrics["weight_norm_sum"] = ensemble.stack.norms()
        own = {f"{name}_{kind}" for name in ensemble.data for kind in ("loss", "accuracy")}
        measured = ensemble.protocol.measures(ensemble)
        check_measured(measured, own | BATCH_METRICS | metrics.keys(), metrics["weight_norm"])
        metrics |= measured
        diverged = ensemble.sums["finite_steps"] < ensemble.step
        return {name: values.masked_fill(diverged, torch.nan) for name, values in metrics.items()}

    def restore(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Go on exactly where `ensemble.tensors()` were taken, after `step` steps."""
        self.ensemble.restore(step, tensors)

    def multipliers(self, table: int) -> Tensor:
        """Return the schedule at every step of a table, `[steps]` in float64."""
        steps = range(table * self.steps, (table + 1) * self.steps)
        return torch.tensor([multiplier(self.ensemble.run, step) for step in steps], dtype=torch.float64, device="cpu")

    def orders(self, table: int) -> Tensor:
        """Return the examples in every batch of a table, `[steps, seeds, B]`; of one epoch where none is shuffled."""
        epochs = range(table * self.epochs, (table + 1) * self.epochs) if self.ensemble.run.shuffle else [0]
        orders = [[self.ensemble.data_order(seed, epoch) for seed in self.seeds] for epoch in epochs]
        return torch.cat([torch.stack(order, 1) for order in orders])

    def fill(self, table: int) -> None:
        """Make the table of that number the one that `run` reads."""
        raise NotImplementedError

    def run(self, within: int, count: int) -> None:
        """Do `count` steps, the first of them the table's step `within`."""
        raise NotImplementedError

    def evaluate(self, split: str) -> tuple[Tensor, Tensor]:
        """Return mean loss and accuracy over a split, each `[R]`, with BatchNorm's running statistics."""
        raise NotImplementedError


def program_of(ensemble: Ensemble) -> Program:
    """Return the program that advances an ensemble on its device."""
    if ensemble.device.type == "cpu":
        from weightdecay.ensemble.cpu import CpuProgram  # Numba's loops: of no use to a GPU

        return CpuProgram(ensemble)
    from weightdecay.ensemble.gpu import GpuProgram

    return GpuProgram(ensemble)
