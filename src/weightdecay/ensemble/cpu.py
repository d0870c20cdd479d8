"""Training on a CPU: a network is a table of operations, which one compiled loop runs.

No Python runs within a step. Replicas are trained one after another and use the same memory for their activations, so
that it stays in the core's cache. A replica's numbers cannot depend on which other replicas there are.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from weightdecay.ensemble.array_checks import check_program, check_table
from weightdecay.ensemble.loops import loops_of_all
from weightdecay.ensemble.operations import Operations
from weightdecay.ensemble.program import EVALUATION_ROWS, Program
from weightdecay.ensemble.state import Ensemble

UNINTERRUPTED = 512  # steps of single networks in one call, about a second


class CpuProgram(Program):
    """Advances and evaluates an ensemble whose tensors are on the CPU."""

    table_rows = 2**23  # 64 MiB

    def __init__(self, ensemble: Ensemble):
        super().__init__(ensemble)
        self.loops, self.at_once = loops_of_all(), max(1, UNINTERRUPTED // len(ensemble.runs))
        stack, run = ensemble.stack, ensemble.run
        inputs, batch = ensemble.data["train"][0], max(run.batch_size, EVALUATION_ROWS)
        self.words = ensemble.words.numpy().astype(np.uint64)
        table = Operations(stack, inputs.shape[2])
        self.layers, self.shape = table.layers, (table.rows, *table.output)
        self.operations = table.array(self.loops.operation, self.loops.layers)
        outputs = self.shape[2] - self.shape[1]
        rows, size = table.rows, run.batch_size
        self.sizes = rows * batch, rows * size, outputs * batch, inputs.shape[2] * size, max(rows, outputs) * size
        self.arrays = tuple(stack.parameters.new_zeros(size).numpy() for size in self.sizes)
        replicas = stack.parameters, stack.gradients, stack.buffers, ensemble.optimizer.state
        self.replicas = tuple(tensor.numpy() for tensor in replicas)
        self.sums = tuple(tensor.numpy() for tensor in ensemble.sums.values())
        self.data = {name: (*(t.numpy() for t in pair), ensemble.which.numpy()) for name, pair in ensemble.data.items()}
        self.holding = self.held_from, np.array(ensemble.held_columns, dtype=np.int64)
        self.loss, self.optimizer = self.loops.losses[run.loss], self.loops.optimizers[run.optimizer]
        check_program(self)

    def fill(self, table: int) -> None:
        if self.ensemble.run.shuffle or self.table < 0:
            self.orders_of_runs = self.orders(table)[:, self.seed_of].transpose(0, 1).contiguous().numpy()
        coefficients = self.ensemble.optimizer.coefficients(table * self.steps, self.multipliers(table))
        self.coefficients = coefficients.transpose(1, 2).contiguous().numpy()
        check_table(self)

    def run(self, within: int, count: int) -> None:
        ensemble = self.ensemble
        coefficients, times = self.coefficients[within : within + count], (ensemble.step, ensemble.epoch_steps)
        self.loops.advance(
            *(self.operations, self.shape, (self.loss, self.optimizer), self.holding, self.arrays),
            *(self.data["train"], self.orders_of_runs, coefficients, times, ensemble.optimizer.decayed),
            *(self.replicas, self.words, self.sums),
        )

    def evaluate(self, split: str) -> tuple[Tensor, Tensor]:
        arguments = self.operations, self.shape, self.loss, self.arrays, self.data[split], self.replicas
        loss, accuracy = self.loops.evaluate(*arguments)
        return torch.from_numpy(loss), torch.from_numpy(accuracy)
