"""The CPU's way to train: a network as a table of operations, which one compiled loop runs.

`HostProgram` turns the tree of layers into the table. Nothing of Python is left in a step; replicas are trained one
after another, so that their activations, in the same place for all, stay in the core's cache, and no replica's numbers
can depend on which others there are.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from weightdecay.ensemble import loops
from weightdecay.ensemble.array_checks import check_program, check_table
from weightdecay.ensemble.constants import EVALUATION_ROWS
from weightdecay.ensemble.layers import BatchNorm, Conv1d, Dropout, Layer, Linear, ReLU, Residual, Sequential
from weightdecay.ensemble.tables import Program
from weightdecay.run import SATURATED

if TYPE_CHECKING:
    from weightdecay.ensemble.training import Ensemble

LOSSES = {
    "sigmoid_squared_error": loops.SIGMOID_SQUARED_ERROR,
    "squared_error": loops.SQUARED_ERROR,
    "cross_entropy": loops.CROSS_ENTROPY,
    "absolute_error": loops.ABSOLUTE_ERROR,
    "smooth_l1": loops.SMOOTH_L1,
}
HELD_FROM = {"never": 0.0, "start": math.inf, "saturation": SATURATED}  # training accuracy; `start` is held already


class HostProgram(Program):
    """Advances and evaluates an ensemble whose tensors are on the CPU."""

    table_rows = 2**23  # 64 MiB

    def __init__(self, ensemble: Ensemble):
        super().__init__(ensemble)
        stack, run = ensemble.stack, ensemble.run
        inputs, batch = ensemble.data["train"][0], max(run.batch_size, EVALUATION_ROWS)
        self.offsets, self.rows, self.operations = stack.offsets, inputs.shape[2], []
        self.dropout = ensemble.dropout.numpy().astype(np.uint64)
        output, outputs = self._add(stack.network, 0, self.rows)
        self.shape = self.rows, output, output + outputs
        self.operations = np.array(
            [tuple(row.get(name, 0) for name in loops.OPERATION.names) for row in self.operations], loops.OPERATION
        )
        self.sizes = self.rows * batch, self.rows * run.batch_size, outputs * batch
        kind = {"dtype": stack.parameters.dtype, "device": "cpu"}
        self.arrays = tuple(torch.zeros(size, **kind).numpy() for size in self.sizes)
        slots = list(ensemble.optimizer.slots.values())
        replicas = stack.parameters, stack.gradients, stack.buffers, slots[0], slots[-1]
        self.replicas = tuple(tensor.numpy() for tensor in replicas)
        sums = ("loss_sum", "correct_sum", "finite_steps", "held_norm")
        self.sums = tuple(ensemble.state[name].numpy() for name in sums)
        self.data = {name: (*(t.numpy() for t in pair), ensemble.which.numpy()) for name, pair in ensemble.data.items()}
        self.loss = LOSSES[run.loss]
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
        loops.advance(
            *(self.operations, self.shape, self.loss, HELD_FROM[ensemble.run.hold_norm], self.arrays),
            *(self.data["train"], self.orders_of_runs, coefficients, times, ensemble.optimizer.decayed),
            *(self.replicas, self.dropout, self.sums),
        )

    def evaluate(self, split: str) -> tuple[Tensor, Tensor]:
        results = loops.evaluate(self.operations, self.shape, self.loss, self.arrays, self.data[split], self.replicas)
        return tuple(map(torch.from_numpy, results))

    def _add(self, layer: Layer, x: int, inputs: int) -> tuple[int, int]:
        """Append what `layer` does with `inputs` rows from row `x` on; returns the same of its output."""
        match layer:
            case Sequential():
                for child in layer.children:
                    x, inputs = self._add(child, x, inputs)
                return x, inputs
            case Residual():
                fork = self._append(loops.FORK, x=x, inputs=inputs)
                y, outputs = self._add(layer.body, x, inputs)
                fork |= {"y": y, "outputs": outputs}
                self._append(loops.JOIN, x=x, inputs=inputs, y=y, outputs=outputs)
                return y, outputs
            case ReLU():
                self._append(loops.RELU, x=x, inputs=inputs, y=x, outputs=inputs)
                return x, inputs
            case Dropout():
                factors, _ = self._rows(-(-inputs // 4) * 4)
                place = {"factors": factors, "layer": layer.number}
                self._append(loops.DROPOUT, **place, x=x, inputs=inputs, y=x, outputs=inputs)
                return x, inputs
            case Linear():
                y, outputs = self._rows(layer.shapes["weight"][0])
                self._append(loops.LINEAR, **self._parameters(layer), x=x, inputs=inputs, y=y, outputs=outputs)
                return y, outputs
            case BatchNorm():
                y, outputs = self._rows(inputs)
                places = {name: self.offsets[layer, name] for name in layer.buffers}
                self._append(
                    loops.BATCH_NORM, **self._parameters(layer), **places, x=x, inputs=inputs, y=y, outputs=outputs
                )
                return y, outputs
            case Conv1d():
                channels, padding = layer.inputs, layer.padding * layer.inputs
                padded, rows = self._rows(inputs + 2 * padding)
                window = layer.kernel * channels
                positions = (rows - window) // (layer.stride * channels) + 1
                y, outputs = self._rows(positions * layer.outputs)
                shape = {"window": window, "stride": layer.stride * channels}
                self._append(
                    loops.CONV1D,
                    **self._parameters(layer),
                    **shape,
                    **{"padding": padding, "padded": padded, "x": x, "inputs": inputs, "y": y, "outputs": outputs},
                )
                return y, outputs
        raise TypeError(f"{type(layer).__name__} has no compiled form")

    def _append(self, kind: int, **fields: int) -> dict[str, int]:
        self.operations.append({"kind": kind, **fields})
        return self.operations[-1]

    def _rows(self, count: int) -> tuple[int, int]:
        self.rows += count
        return self.rows - count, count

    def _parameters(self, layer: Layer) -> dict[str, int]:
        fields = {"trained": int(layer.trained)}
        for name, number in (("weight", "weights"), ("bias", "biases")):
            if name in layer.shapes:
                fields |= {name: self.offsets[layer, name], number: math.prod(layer.shapes[name])}
        return fields
