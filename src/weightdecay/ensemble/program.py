"""Training on a CPU: a network as a table of operations, and the compiled loops that run it.

`Program` turns a tree of layers into the table; `advance` trains and `evaluate` measures, one replica after another.
Nothing of Python is left in a step, one replica's activations are soon overwritten by the next one's and so stay in the
core's cache, and a replica's numbers cannot depend on which others there are.

All activations stand in one array `[rows, B]` and their gradients in another: an operation knows its operands as rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch

from weightdecay.ensemble import kernels, losses
from weightdecay.ensemble.kernels import compiled
from weightdecay.ensemble.layers import BatchNorm, Conv1d, Layer, Linear, ReLU, Residual, Sequential
from weightdecay.ensemble.networks import Stack
from weightdecay.grid import SATURATED

LINEAR, CONV1D, BATCH_NORM, RELU, FORK, JOIN = range(6)
OPERATION = np.dtype(
    [
        (name, np.int64)
        for name in (
            "kind",
            *("x", "inputs", "y", "outputs"),  # first row and number of rows of input and output
            "trained",  # 0: weight and bias are not in the replica's row of parameters, but in that of buffers
            *("weight", "bias", "biases"),  # offsets in that row, and the number of biases
            *("mean", "variance", "eps", "inverse_std"),  # BatchNorm: offsets in the row of buffers
            *("channels", "window", "stride", "padding", "padded"),  # Conv1d, in rows; `padded`: where the input is padded
        )
    ]
)
SETTINGS = np.dtype(  # of one replica; λ is `l2` or `decoupled`, and applies to biases and norms `spared` = 0 or not
    [
        (name, np.float64)
        for name in ("learning_rate", "momentum", "beta1", "beta2", "eps", "l2", "decoupled", "spared")
    ]
)
SGD, ADAM = range(2)
LOSSES: dict[Callable, int] = {losses.sigmoid_squared_error: 0, losses.squared_error: 1, losses.cross_entropy: 2}
HOLD_FROM_SATURATION = 2
HOLD_NORM = {"never": 0, "start": 1, "saturation": HOLD_FROM_SATURATION}
EVALUATION_ROWS = 512


class Program:
    """The operations of a stack's network, and the arrays they work in."""

    def __init__(self, stack: Stack, inputs: int, batch_size: int):
        self.offsets, self.rows, self.operations = stack.offsets, inputs, []
        y, outputs = self._add(stack.network, 0, inputs)
        self.operations = np.array([tuple(row.get(name, 0) for name in OPERATION.names) for row in self.operations], OPERATION)
        self.output = y, y + outputs
        self.arrays = tuple(
            torch.zeros(size, dtype=stack.parameters.dtype).numpy()
            for size in (
                self.rows * max(batch_size, EVALUATION_ROWS),
                self.rows * batch_size,
                stack.parameters.shape[1],
                outputs * max(batch_size, EVALUATION_ROWS),
            )
        )

    def _add(self, layer: Layer, x: int, inputs: int) -> tuple[int, int]:
        """Append what `layer` does with `inputs` rows from row `x` on; returns the same of its output."""
        match layer:
            case Sequential():
                for child in layer.children:
                    x, inputs = self._add(child, x, inputs)
                return x, inputs
            case Residual():
                fork = self._append(FORK, x=x, inputs=inputs)
                y, outputs = self._add(layer.body, x, inputs)
                fork |= {"y": y, "outputs": outputs}
                self._append(JOIN, x=x, inputs=inputs, y=y, outputs=outputs)
                return y, outputs
            case ReLU():
                self._append(RELU, x=x, inputs=inputs, y=x, outputs=inputs)
                return x, inputs
            case Linear():
                y, outputs = self._rows(layer.shapes["weight"][0])
                self._append(LINEAR, **self._parameters(layer), x=x, inputs=inputs, y=y, outputs=outputs)
                return y, outputs
            case BatchNorm():
                y, outputs = self._rows(inputs)
                names = {"mean": "running_mean", "variance": "running_variance", "eps": "eps", "inverse_std": "inverse_std"}
                places = {name: self.offsets[layer, buffer] for name, buffer in names.items()}
                self._append(BATCH_NORM, **self._parameters(layer), **places, x=x, inputs=inputs, y=y, outputs=outputs)
                return y, outputs
            case Conv1d():
                channels, padding = layer.inputs, layer.padding * layer.inputs
                padded, rows = self._rows(inputs + 2 * padding)
                window = layer.kernel * channels
                positions = (rows - window) // (layer.stride * channels) + 1
                y, outputs = self._rows(positions * layer.outputs)
                shape = {"channels": channels, "window": window, "stride": layer.stride * channels}
                self._append(
                    CONV1D,
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
        biases = layer.shapes["bias"][0] if "bias" in layer.shapes else 0
        bias = self.offsets[layer, "bias"] if biases else 0
        return {"weight": self.offsets[layer, "weight"], "bias": bias, "biases": biases, "trained": int(layer.trained)}


@compiled
def forward(operations, activations, parameters, buffers, training):
    """Run the network on the first rows of `activations` `[rows, B]`; `parameters` and `buffers` are one replica's."""
    for op in operations:
        x, y = activations[op.x : op.x + op.inputs], activations[op.y : op.y + op.outputs]
        store = parameters if op.trained else buffers
        bias = store[op.bias : op.bias + op.biases]
        if op.kind == LINEAR:
            weight = store[op.weight : op.weight + op.outputs * op.inputs].reshape(op.outputs, op.inputs)
            kernels.linear_forward(weight, bias, x, y)
        elif op.kind == CONV1D:
            weight = store[op.weight : op.weight + op.biases * op.window].reshape(op.biases, op.window)
            padded = activations[op.padded : op.padded + op.inputs + 2 * op.padding]
            padded[: op.padding] = 0
            padded[op.padding : op.padding + op.inputs] = x
            padded[op.padding + op.inputs :] = 0
            kernels.convolution_forward(weight, bias, padded, y, op.stride)
        elif op.kind == BATCH_NORM:
            weight = store[op.weight : op.weight + op.inputs]
            mean = buffers[op.mean : op.mean + op.inputs]
            variance = buffers[op.variance : op.variance + op.inputs]
            if training:
                inverse_std = buffers[op.inverse_std : op.inverse_std + op.inputs]
                eps = buffers[op.eps]
                kernels.batch_norm_forward(x, weight, bias, eps, mean, variance, inverse_std, y)
            else:
                kernels.batch_norm_evaluation(x, weight, bias, buffers[op.eps], mean, variance, y)
        elif op.kind == RELU:
            kernels.relu_forward(y.reshape(-1))
        elif op.kind == JOIN:
            y += x


@compiled
def backward(operations, activations, gradients, parameters, buffers, parameter_gradients):
    """From the output's rows of `gradients` `[rows, B]` to `parameter_gradients` `[P]`."""
    for index in range(operations.size - 1, -1, -1):
        op = operations[index]
        x, gradient = activations[op.x : op.x + op.inputs], gradients[op.y : op.y + op.outputs]
        input_gradient = gradients[op.x : op.x + op.inputs] if op.x > 0 else gradients[:0]
        store = parameters if op.trained else buffers
        bias_gradient = parameter_gradients[op.bias : op.bias + op.biases * op.trained]
        if op.kind == LINEAR:
            size = op.outputs * op.inputs
            if op.trained:
                weight_gradient = parameter_gradients[op.weight : op.weight + size].reshape(op.outputs, op.inputs)
                kernels.linear_backward(x, gradient, weight_gradient, bias_gradient)
            if input_gradient.size:
                weight = store[op.weight : op.weight + size].reshape(op.outputs, op.inputs)
                np.dot(weight.T, gradient, input_gradient)
        elif op.kind == CONV1D:
            size = op.biases * op.window
            weight = store[op.weight : op.weight + size].reshape(op.biases, op.window)
            weight_gradient = parameter_gradients[op.weight : op.weight + size].reshape(op.biases, op.window)
            padded = activations[op.padded : op.padded + op.inputs + 2 * op.padding]
            padded_gradient = gradients[op.padded : op.padded + op.inputs + 2 * op.padding]
            if not input_gradient.size:
                padded_gradient = gradients[:0]
            kernels.convolution_backward(
                weight, padded, gradient, weight_gradient, bias_gradient, padded_gradient, op.stride
            )
            if input_gradient.size:
                input_gradient[:] = padded_gradient[op.padding : op.padding + op.inputs]
        elif op.kind == BATCH_NORM:
            weight = store[op.weight : op.weight + op.inputs]
            weight_gradient = parameter_gradients[op.weight : op.weight + op.biases * op.trained]
            inverse_std = buffers[op.inverse_std : op.inverse_std + op.inputs]
            kernels.batch_norm_backward(
                gradient, x, weight, inverse_std, weight_gradient, bias_gradient, input_gradient
            )
        elif op.kind == RELU:
            kernels.relu_backward(x.reshape(-1), gradient.reshape(-1))
        elif op.kind == FORK and input_gradient.size:
            input_gradient += gradient


@compiled
def loss_of(kind, outputs, targets, gradient):
    """Mean loss of a batch, the number of examples that are right, and the gradient; all `[K, B]`."""
    if kind == 0:
        return kernels.sigmoid_squared_error(outputs, targets, gradient)
    if kind == 1:
        return kernels.squared_error(outputs, targets, gradient)
    return kernels.cross_entropy(outputs, targets, gradient)


@compiled
def update(optimizer, settings, multiplier, step, decayed, parameters, gradients, slots):
    """One step of a replica's optimiser, the `step`-th from 1; `slots` is `[1, P]` for SGD, `[2, P]` for Adam."""
    rate = settings.learning_rate * multiplier
    for start, end, share in ((0, decayed, 1.0), (decayed, parameters.size, 1.0 - settings.spared)):
        w, g, first, second = parameters[start:end], gradients[start:end], slots[0, start:end], slots[-1, start:end]
        number = parameters.dtype.type
        l2, kept = number(settings.l2 * share), number(1 - rate * settings.decoupled * share)
        if optimizer == SGD:
            kernels.sgd(w, g, first, l2, kept, number(rate), number(settings.momentum))
            continue
        beta1, beta2 = settings.beta1, settings.beta2
        scaled, correction = number(rate / (1 - beta1**step)), number(1 / math.sqrt(1 - beta2**step))
        rates = (number(beta1), number(1 - beta1), number(beta2), number(1 - beta2))
        kernels.adam(w, g, first, second, l2, kept, scaled, *rates, correction, number(settings.eps))


@compiled
def gather(rows, order, columns):
    """Examples `rows[order]`, `[B, I]`, as columns `[I, B]`."""
    for b in range(order.size):
        row = rows[order[b]]
        for i in range(row.size):
            columns[i, b] = row[i]


@compiled
def hold_norm(mode, parameters, held, accuracy):
    """Scale the weights `[P]` back to the norm `held`; returns it, taken now if `accuracy` first calls for it."""
    norm = parameters.dtype.type(0)
    for i in range(parameters.size):
        norm += parameters[i] * parameters[i]
    norm = math.sqrt(norm)
    if mode == HOLD_FROM_SATURATION and math.isnan(held) and accuracy >= SATURATED:
        held = norm
    if not math.isnan(held):
        parameters *= held / norm
    return held


@compiled
def advance(operations, output, kinds, arrays, data, orders, settings, multipliers, start, decayed, replicas, sums):
    """Train every replica for `multipliers.size` steps of one epoch, the first of them the `start`-th of the run from 0.

    `data`: inputs and targets `[U, N, ...]`, and which of the U each replica has; `orders`: `[R, steps, B]`, the epoch's
    batches; `replicas`: parameters, buffers, slots `[R, ...]`; `sums`: per replica loss, right examples, steps of finite
    loss, held norm. A replica whose loss is not finite is trained no further.
    """
    optimizer, loss_kind, hold = kinds
    inputs, targets, which = data
    loss_sum, correct_sum, finite_steps, held = sums
    steps, batch = orders.shape[1:]
    rows = arrays[1].size // batch
    activations = arrays[0][: rows * batch].reshape(rows, batch)
    gradients = arrays[1].reshape(rows, batch)
    parameter_gradients = arrays[2]
    labels = arrays[3][: targets.shape[2] * batch].reshape(targets.shape[2], batch)
    for r in range(len(which)):
        parameters, buffers, slots = replicas[0][r], replicas[1][r], replicas[2][r]
        for index in range(multipliers.size):
            step = start + index
            within = step % steps
            if finite_steps[r] < step:
                break
            if within == 0:
                loss_sum[r] = correct_sum[r] = 0
            if index == 0 or steps > 1:
                order = orders[r, within]
                gather(inputs[which[r]], order, activations[: inputs.shape[2]])
                gather(targets[which[r]], order, labels)
            forward(operations, activations, parameters, buffers, True)
            y, upstream = activations[output[0] : output[1]], gradients[output[0] : output[1]]
            loss, correct = loss_of(loss_kind, y, labels, upstream)
            loss_sum[r] += loss
            correct_sum[r] += correct
            if not math.isfinite(loss):
                break
            finite_steps[r] += 1
            backward(operations, activations, gradients, parameters, buffers, parameter_gradients)
            update(optimizer, settings[r], multipliers[index], step + 1, decayed, parameters, parameter_gradients, slots)
            if hold:
                accuracy = correct_sum[r] / (steps * batch) if within == steps - 1 else 0.0
                held[r] = hold_norm(hold, parameters, held[r], accuracy)


@compiled
def evaluate(operations, output, loss_kind, arrays, data, replicas):
    """Mean loss and accuracy over a split, each `[R]`, with BatchNorm's running statistics."""
    inputs, targets, which = data
    examples, outputs = targets.shape[1:]
    losses, accuracies = np.zeros(len(which), inputs.dtype), np.zeros(len(which), inputs.dtype)
    gradient = np.empty((outputs, EVALUATION_ROWS), inputs.dtype)
    rows = arrays[0].size // EVALUATION_ROWS
    for r in range(len(which)):
        for first in range(0, examples, EVALUATION_ROWS):
            order = np.arange(first, min(first + EVALUATION_ROWS, examples))
            activations = arrays[0][: rows * order.size].reshape(rows, order.size)
            labels = arrays[3][: outputs * order.size].reshape(outputs, order.size)
            gather(inputs[which[r]], order, activations[: inputs.shape[2]])
            gather(targets[which[r]], order, labels)
            forward(operations, activations, replicas[0][r], replicas[1][r], False)
            y = activations[output[0] : output[1]]
            loss, correct = loss_of(loss_kind, y, labels, gradient.reshape(-1)[: labels.size].reshape(labels.shape))
            losses[r] += loss * order.size
            accuracies[r] += correct
    return losses / examples, accuracies / examples
