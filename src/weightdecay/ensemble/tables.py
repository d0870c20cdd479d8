"""What the CPU's and the GPU's way to train have in common: the steps go from table to table.

A table holds what varies by step over some epochs: the order of the batches, and what the optimiser takes. It is filled
beforehand, as a compiled loop and a CUDA graph can only read it.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from weightdecay.ensemble.schedules import multiplier

if TYPE_CHECKING:
    from weightdecay.ensemble.training import Ensemble

TABLE_STEPS = 256  # at least, where an order of so many steps is not too large; then up to a whole epoch


class Program:
    """Advances and evaluates an ensemble."""

    table_rows: int  # at most, of the order of all replicas, unless an epoch has more

    def __init__(self, ensemble: Ensemble):
        self.ensemble = weakref.proxy(ensemble)  # no cycle: a stack's memory is free as soon as it is trained
        epoch, run = ensemble.epoch_steps, ensemble.run
        rows = epoch * run.batch_size * len(ensemble.runs)
        self.epochs = max(1, min(-(-TABLE_STEPS // epoch), self.table_rows // rows))
        self.steps, self.table = self.epochs * epoch, -1  # a table's steps, and which table is there
        self.seeds = sorted({run.seed for run in ensemble.runs})
        self.seed_of = torch.tensor([self.seeds.index(run.seed) for run in ensemble.runs], device="cpu")

    def advance(self, steps: int) -> None:
        """That many steps of every replica."""
        while steps:
            table, within = divmod(self.ensemble.step, self.steps)
            if table != self.table:
                self.fill(table)
                self.table = table
            count = min(steps, self.steps - within)
            self.run(within, count)
            self.ensemble.step += count
            steps -= count

    def multipliers(self, table: int) -> Tensor:
        """The schedule at every step of a table, `[steps]` in float64."""
        steps = range(table * self.steps, (table + 1) * self.steps)
        return torch.tensor([multiplier(self.ensemble.run, step) for step in steps], dtype=torch.float64, device="cpu")

    def orders(self, table: int) -> Tensor:
        """The examples in every batch of a table, `[steps, seeds, B]`; of one epoch where none is shuffled."""
        epochs = range(table * self.epochs, (table + 1) * self.epochs) if self.ensemble.run.shuffle else [0]
        orders = [[self.ensemble.data_order(seed, epoch) for seed in self.seeds] for epoch in epochs]
        return torch.cat([torch.stack(order, 1) for order in orders])

    def fill(self, table: int) -> None:
        """Make the table of that number the one that `run` reads."""
        raise NotImplementedError

    def run(self, within: int, count: int) -> None:
        """`count` steps, the first of them the table's step `within`."""
        raise NotImplementedError

    def evaluate(self, split: str) -> tuple[Tensor, Tensor]:
        """Mean loss and accuracy over a split, each `[R]`, with BatchNorm's running statistics."""
        raise NotImplementedError

    def seek(self) -> None:
        """The ensemble was restored to another step, by which tables are found."""
