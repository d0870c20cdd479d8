"""The base class of training on a CPU and on a GPU: a program advances an ensemble and measures it.

Training goes from table to table. A table covers some epochs, and holds what varies by step: the order of the batches
and the optimiser's coefficients. It is filled beforehand, because a compiled loop and a CUDA graph can only read it.
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

TABLE_STEPS = 256  # a table has at least so many steps, rounded up to whole epochs, unless its order is too large
EVALUATION_ROWS = 320  # examples measured at once; rows of 512 (2,048 bytes) would share two sets of a CPU's L1 cache
BATCH_METRICS = {"train_loss_batch", "train_accuracy_batch"}
NEVER = 2**62  # more right examples than any epoch has


class Program:
    """Advances and measures an ensemble."""

    table_rows: int  # the order of all replicas has at most so many rows, unless one epoch has more
    at_once: int  # steps in one call; Ctrl-C has to wait for its end

    def __init__(self, ensemble: Ensemble):
        self.ensemble = ensemble
        epoch, run = ensemble.epoch_steps, ensemble.run
        rows = epoch * run.batch_size * len(ensemble.runs)
        self.epochs = max(1, min(-(-TABLE_STEPS // epoch), self.table_rows // rows))
        self.steps, self.table = self.epochs * epoch, -1  # steps of a table, and the number of the present table
        self.seeds = sorted({run.seed for run in ensemble.runs})
        self.seed_of = torch.tensor([self.seeds.index(run.seed) for run in ensemble.runs], device="cpu")
        # The norm is held after an epoch with so many right examples, or by what is in `held_norm`; 0: it is free.
        saturated = math.ceil(Fraction(str(SATURATED)) * epoch * run.batch_size)
        self.held_from = {"never": 0, "start": NEVER, "saturation": saturated}[run.hold_norm]
        if any(run.held_norm is not None for run in ensemble.runs):
            self.held_from = NEVER

    def advance(self, steps: int = 1) -> None:
        """Do so many training steps of every replica; a GPU may still be at work when this returns."""
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
        """Return the present metrics, each `[R]`; NaN for a run that has diverged.

        The training split is evaluated only if `full`.
        """
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
        """Continue exactly from the state `ensemble.tensors()`, which was taken after `step` steps."""
        self.ensemble.restore(step, tensors)

    def multipliers(self, table: int) -> Tensor:
        """Return the schedule's multiplier at every step of a table, `[steps]` in float64."""
        steps = range(table * self.steps, (table + 1) * self.steps)
        return torch.tensor([multiplier(self.ensemble.run, step) for step in steps], dtype=torch.float64, device="cpu")

    def orders(self, table: int) -> Tensor:
        """Return the examples in every batch of a table, `[steps, seeds, B]`; only one epoch if nothing is shuffled."""
        epochs = range(table * self.epochs, (table + 1) * self.epochs) if self.ensemble.run.shuffle else [0]
        orders = [[self.ensemble.data_order(seed, epoch) for seed in self.seeds] for epoch in epochs]
        return torch.cat([torch.stack(order, 1) for order in orders])

    def fill(self, table: int) -> None:
        """Fill the table of this number, so that `run` reads it."""
        raise NotImplementedError

    def run(self, within: int, count: int) -> None:
        """Do `count` steps, beginning at the table's step `within`."""
        raise NotImplementedError

    def evaluate(self, split: str) -> tuple[Tensor, Tensor]:
        """Return mean loss and accuracy over a split, each `[R]`, with BatchNorm's running statistics."""
        raise NotImplementedError


def program_of(ensemble: Ensemble) -> Program:
    """Return the program that advances an ensemble on its device."""
    if ensemble.device.type == "cpu":
        from weightdecay.ensemble.cpu import CpuProgram  # imports Numba's loops, which a GPU does not need

        return CpuProgram(ensemble)
    from weightdecay.ensemble.gpu import GpuProgram

    return GpuProgram(ensemble)
