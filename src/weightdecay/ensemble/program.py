"""The CPU's way to train: a network as a table of operations, which one compiled loop runs.

`HostProgram` turns the tree of layers into the table. Nothing of Python is left in a step; replicas are trained one
after another, so that their activations, in the same place for all, stay in the core's cache, and no replica's numbers
can depend on which others there are.
"""

from __future__ import annotations

import math
import weakref
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from weightdecay.ensemble import loops
from weightdecay.ensemble.layers import BatchNorm, Conv1d, Layer, Linear, ReLU, Residual, Sequential
from weightdecay.ensemble.schedules import multiplier

if TYPE_CHECKING:
    from weightdecay.ensemble.training import Ensemble

LOSSES = {
    "sigmoid_squared_error": loops.SIGMOID_SQUARED_ERROR,
    "squared_error": loops.SQUARED_ERROR,
    "cross_entropy": loops.CROSS_ENTROPY,
}
HOLD_NORM = {"never": loops.NEVER, "start": loops.FROM_START, "saturation": loops.FROM_SATURATION}


class HostProgram:
    """Advances and evaluates an ensemble whose tensors are on the CPU."""

    def __init__(self, ensemble: Ensemble):
        self.ensemble, stack, run = weakref.proxy(ensemble), ensemble.stack, ensemble.run
        inputs, targets = ensemble.data["train"]
        outputs, batch = targets.shape[2], max(run.batch_size, loops.EVALUATION_ROWS)
        self.offsets, self.rows, self.operations = stack.offsets, inputs.shape[2], []
        output, _ = self._add(stack.network, 0, self.rows)
        self.shape = self.rows, output, output + outputs
        self.operations = np.array(
            [tuple(row.get(name, 0) for name in loops.OPERATION.names) for row in self.operations], loops.OPERATION
        )
        sizes = self.rows * batch, self.rows * run.batch_size, stack.parameters.shape[1], outputs * batch
        self.arrays = tuple(torch.zeros(size, dtype=stack.parameters.dtype).numpy() for size in sizes)
        slots = list(ensemble.optimizer.slots.values())
        self.replicas = tuple(t.numpy() for t in (stack.parameters, stack.buffers, slots[0], slots[-1]))
        self.sums = tuple(tensor.numpy() for tensor in ensemble.state.values())
        self.data = {name: (*(t.numpy() for t in pair), ensemble.which.numpy()) for name, pair in ensemble.data.items()}
        self.loss, self.epoch = LOSSES[run.loss], -1

    def advance(self, steps: int) -> None:
        """That many steps of every replica."""
        ensemble = self.ensemble
        while steps:
            epoch, within = divmod(ensemble.step, ensemble.epoch_steps)
            if epoch != self.epoch:
                self._begin(epoch)
            count = min(steps, ensemble.epoch_steps - within)
            loops.advance(
                *(self.operations, self.shape, self.loss, HOLD_NORM[ensemble.run.hold_norm], self.arrays),
                *(self.data["train"], self.orders, self.coefficients[within : within + count], ensemble.step),
                *(ensemble.optimizer.decayed, self.replicas, self.sums),
            )
            ensemble.step += count
            steps -= count

    def evaluate(self, split: str) -> tuple[Tensor, Tensor]:
        """Loss and accuracy, `[R]`."""
        results = loops.evaluate(self.operations, self.shape, self.loss, self.arrays, self.data[split], self.replicas)
        return tuple(map(torch.from_numpy, results))

    def seek(self) -> None:
        """The ensemble was restored to another step: nothing here depends on it."""

    def _begin(self, epoch: int) -> None:
        """Orders and coefficients of an epoch."""
        ensemble, run = self.ensemble, self.ensemble.run
        if run.shuffle or self.epoch < 0:
            orders = {seed: ensemble.data_order(seed, epoch) for seed in {run.seed for run in ensemble.runs}}
            self.orders = torch.stack([orders[run.seed] for run in ensemble.runs]).numpy()
        first = epoch * ensemble.epoch_steps
        multipliers = [multiplier(run, step) for step in range(first, first + ensemble.epoch_steps)]
        coefficients = ensemble.optimizer.coefficients(first, torch.tensor(multipliers, dtype=torch.float64))
        self.coefficients = coefficients.transpose(1, 2).contiguous().numpy()
        self.epoch = epoch

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
            case Linear():
                y, outputs = self._rows(layer.shapes["weight"][0])
                self._append(loops.LINEAR, **self._parameters(layer), x=x, inputs=inputs, y=y, outputs=outputs)
                return y, outputs
            case BatchNorm():
                y, outputs = self._rows(inputs)
                names = {
                    "mean": "running_mean",
                    "variance": "running_variance",
                    "eps": "eps",
                    "inverse_std": "inverse_std",
                }
                places = {name: self.offsets[layer, buffer] for name, buffer in names.items()}
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
                shape = {"channels": channels, "window": window, "stride": layer.stride * channels}
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
