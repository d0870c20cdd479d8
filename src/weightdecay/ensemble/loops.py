"""The compiled loops of the CPU: a table of operations run forward and backward, training steps, evaluation.

All activations of a replica stand in one array `[rows, B]` and their gradients in another: an operation knows its
operands as rows of it, and its parameters as places in the replica's flat row.
"""

import math

import numpy as np

from weightdecay.ensemble import kernels
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.constants import EVALUATION_ROWS

LINEAR, CONV1D, BATCH_NORM, RELU, DROPOUT, FORK, JOIN = range(7)
OPERATION = np.dtype(
    [
        (name, np.int64)
        for name in (
            "kind",
            *("x", "inputs", "y", "outputs"),  # first row and number of rows of input and output
            "trained",  # 0: weight and bias are not in the replica's row of parameters, but in that of buffers
            *("weight", "weights", "bias", "biases"),  # their offsets in that row and their numbers
            *("running_mean", "running_variance", "eps", "inverse_std"),  # BatchNorm: offsets in the row of buffers
            *("window", "stride", "padding", "padded"),  # Conv1d, in rows; `padded`: where the input is padded
            *("factors", "layer"),  # Dropout: where they stand, in rows, and which of the network's dropouts it is
        )
    ]
)
SIGMOID_SQUARED_ERROR, SQUARED_ERROR, CROSS_ENTROPY, ABSOLUTE_ERROR, SMOOTH_L1 = range(5)
SGD_COEFFICIENTS = 6  # as many as `optimizers.SGD` has; more are Adam's


@compiled
def forward(operations, activations, parameters, buffers, training, step, dropout):
    """Run the network on the first rows of `activations` `[rows, B]`; `parameters` and `buffers` are one replica's.

    `step` and the replica's `dropout` `[3]` (`dropout.words_of`) decide what is dropped in training.
    """
    for op in operations:
        x, y = activations[op.x : op.x + op.inputs], activations[op.y : op.y + op.outputs]
        store = parameters if op.trained else buffers
        weight, bias = store[op.weight : op.weight + op.weights], store[op.bias : op.bias + op.biases]
        if op.kind == LINEAR:
            kernels.linear_forward(weight.reshape(op.outputs, op.inputs), bias, x, y)
        elif op.kind == CONV1D:
            padded = activations[op.padded : op.padded + op.inputs + 2 * op.padding]
            padded[: op.padding] = 0
            padded[op.padding : op.padding + op.inputs] = x
            padded[op.padding + op.inputs :] = 0
            kernels.convolution_forward(weight.reshape(op.weights // op.window, op.window), bias, padded, y, op.stride)
        elif op.kind == BATCH_NORM:
            mean = buffers[op.running_mean : op.running_mean + op.weights]
            variance = buffers[op.running_variance : op.running_variance + op.weights]
            if training:
                inverse_std = buffers[op.inverse_std : op.inverse_std + op.weights]
                eps = buffers[op.eps]
                kernels.batch_norm_forward(x, weight, bias, eps, mean, variance, inverse_std, y)
            else:
                kernels.batch_norm_evaluation(x, weight, bias, buffers[op.eps], mean, variance, y)
        elif op.kind == RELU:
            kernels.relu_forward(y.reshape(-1))
        elif op.kind == DROPOUT and training and dropout[2] > 0:
            kernels.dropout_factors(
                dropout, step, op.layer, activations[op.factors : op.factors + (op.inputs + 3) // 4 * 4]
            )
            y *= activations[op.factors : op.factors + op.inputs]
        elif op.kind == JOIN:
            y += x


@compiled
def backward(operations, activations, gradients, parameters, buffers, parameter_gradients, dropout):
    """From the output's rows of `gradients` `[rows, B]` to `parameter_gradients` `[P]`."""
    for index in range(operations.size - 1, -1, -1):
        op = operations[index]
        x, gradient = activations[op.x : op.x + op.inputs], gradients[op.y : op.y + op.outputs]
        input_gradient = gradients[op.x : op.x + op.inputs] if op.x > 0 else gradients[:0]
        store = parameters if op.trained else buffers
        weight = store[op.weight : op.weight + op.weights]
        weight_gradient = parameter_gradients[op.weight : op.weight + op.weights * op.trained]
        bias_gradient = parameter_gradients[op.bias : op.bias + op.biases * op.trained]
        if op.kind == LINEAR:
            matrix = weight.reshape(op.outputs, op.inputs)
            if op.trained:
                kernels.linear_backward(x, gradient, weight_gradient.reshape(matrix.shape), bias_gradient)
            if input_gradient.size:
                np.dot(matrix.T, gradient, input_gradient)
        elif op.kind == CONV1D:
            matrix, rows = weight.reshape(op.weights // op.window, op.window), op.inputs + 2 * op.padding
            padded = activations[op.padded : op.padded + rows]
            padded_gradient = gradients[op.padded : op.padded + (rows if input_gradient.size else 0)]
            outputs = weight_gradient.reshape(matrix.shape), bias_gradient, padded_gradient
            kernels.convolution_backward(matrix, padded, gradient, *outputs, op.stride)
            if input_gradient.size:
                input_gradient[:] = padded_gradient[op.padding : op.padding + op.inputs]
        elif op.kind == BATCH_NORM:
            inverse_std = buffers[op.inverse_std : op.inverse_std + op.weights]
            kernels.batch_norm_backward(
                gradient, x, weight, inverse_std, weight_gradient, bias_gradient, input_gradient
            )
        elif op.kind == RELU:
            kernels.relu_backward(x.reshape(-1), gradient.reshape(-1))
        elif op.kind == DROPOUT and dropout[2] > 0:
            gradient *= activations[op.factors : op.factors + op.inputs]
        elif op.kind == FORK and input_gradient.size:
            input_gradient += gradient


@compiled
def update(coefficients, decays, weights, gradients, first, second):
    """One step of the optimiser on some weights of a replica, flat. `coefficients` `[C]`: see `optimizers`; l2, kept,
    l1 and threshold apply if it `decays`. `first` and `second` are Adam's moments; for SGD both are the momentum.
    """
    c = coefficients
    l2, kept = (c[0], c[1]) if decays else (c.dtype.type(0), c.dtype.type(1))
    if decays and c[2] > 0:  # passes of their own: without L1 there is no other
        gradients = kernels.with_sign(weights, gradients, c[2])
    if c.size == SGD_COEFFICIENTS:
        kernels.sgd(weights, gradients, first, l2, kept, c[4], c[5])
    else:
        kernels.adam(weights, gradients, first, second, l2, kept, c[4], c[5], c[6], c[7], c[8], c[9], c[10])
    if decays and c[3] > 0:
        kernels.soft_threshold(weights, c[3])


@compiled
def loss_of(kind, outputs, targets, gradient):
    """Mean loss of a batch, the number of examples that are right, and the gradient; all `[K, B]`."""
    if kind == SIGMOID_SQUARED_ERROR:
        return kernels.sigmoid_squared_error(outputs, targets, gradient)
    if kind == SQUARED_ERROR:
        return kernels.squared_error(outputs, targets, gradient)
    if kind == ABSOLUTE_ERROR:
        return kernels.absolute_error(outputs, targets, gradient)
    if kind == SMOOTH_L1:
        return kernels.smooth_l1(outputs, targets, gradient)
    return kernels.cross_entropy(outputs, targets, gradient)


@compiled
def gather(rows, order, columns):
    """Examples `rows[order]`, `[B, I]`, as columns `[I, B]`."""
    for b in range(order.size):
        row = rows[order[b]]
        for i in range(row.size):
            columns[i, b] = row[i]


@compiled
def hold_norm(parameters, held, begins):
    """Scale the weights `[P]` back to the norm `held`; returns it, taken now if it `begins` and there is none."""
    norm = parameters.dtype.type(0)
    for i in range(parameters.size):
        norm += parameters[i] * parameters[i]
    norm = math.sqrt(norm)
    if begins and math.isnan(held):
        held = norm
    if not math.isnan(held):
        parameters *= held / norm
    return held


@compiled
def advance(
    operations, shape, loss, held_from, arrays, data, orders, coefficients, times, decayed, replicas, dropout, sums
):
    """Train every replica for S steps.

    `shape`: number of rows, first and last row of the outputs. `arrays`: activations, their gradients and labels, all
    flat. `data`: inputs and targets `[U, N, ...]`, and `[R]`, which of the U a replica has. `orders`: `[R, O, B]`, the
    batches of steps 0 to O − 1, which then come again. `coefficients`: `[S, R, C]`. `times`: the first step, counted
    from 0, and the steps of an epoch. `replicas`: parameters, their gradients, buffers, the optimiser's two slots,
    `[R, ...]`. `dropout`: `[R, 3]`. `sums`: loss, right examples, steps of finite loss, held norm, `[R]` each.
    `held_from`: 0, the norm of the weights is free; otherwise the training accuracy of an epoch from which it is held,
    if it is not held already. A replica whose loss is not finite is trained no further.
    """
    inputs, targets, which = data
    loss_sum, correct_sum, finite_steps, held = sums
    start, epoch_steps = times
    batches, batch = orders.shape[1:]
    rows, start_row, end_row = shape
    activations, gradients = arrays[0][: rows * batch].reshape(rows, batch), arrays[1].reshape(rows, batch)
    labels = arrays[2][: targets.shape[2] * batch].reshape(targets.shape[2], batch)
    for r in range(which.size):
        parameters, parameter_gradients, buffers = replicas[0][r], replicas[1][r], replicas[2][r]
        first, second = replicas[3][r], replicas[4][r]
        for index in range(len(coefficients)):
            step = start + index
            if finite_steps[r] < step:
                break
            if step % epoch_steps == 0:
                loss_sum[r] = correct_sum[r] = 0
            if index == 0 or batches > 1:
                order = orders[r, step % batches]
                gather(inputs[which[r]], order, activations[: inputs.shape[2]])
                gather(targets[which[r]], order, labels)
            forward(operations, activations, parameters, buffers, True, step, dropout[r])
            y, upstream = activations[start_row:end_row], gradients[start_row:end_row]
            value, correct = loss_of(loss, y, labels, upstream)
            loss_sum[r] += value
            correct_sum[r] += correct
            if not math.isfinite(value):
                break
            finite_steps[r] += 1
            backward(operations, activations, gradients, parameters, buffers, parameter_gradients, dropout[r])
            c = coefficients[index, r]
            update(c, True, parameters[:decayed], parameter_gradients[:decayed], first[:decayed], second[:decayed])
            update(c, False, parameters[decayed:], parameter_gradients[decayed:], first[decayed:], second[decayed:])
            if held_from > 0:
                ends = step % epoch_steps == epoch_steps - 1
                held[r] = hold_norm(parameters, held[r], ends and correct_sum[r] >= held_from * epoch_steps * batch)


@compiled
def evaluate(operations, shape, loss, arrays, data, replicas):
    """Mean loss and accuracy over a split, each `[R]`, with BatchNorm's running statistics; see `advance`."""
    inputs, targets, which = data
    examples, outputs = targets.shape[1:]
    losses, accuracies = np.zeros(which.size, inputs.dtype), np.zeros(which.size, inputs.dtype)
    gradient = np.empty(outputs * EVALUATION_ROWS, inputs.dtype)
    rows, start_row, end_row = shape
    nothing = np.zeros(3, np.uint64)  # is dropped
    for r in range(which.size):
        for start in range(0, examples, EVALUATION_ROWS):
            order = np.arange(start, min(start + EVALUATION_ROWS, examples))
            activations = arrays[0][: rows * order.size].reshape(rows, order.size)
            labels = arrays[2][: outputs * order.size].reshape(outputs, order.size)
            gather(inputs[which[r]], order, activations[: inputs.shape[2]])
            gather(targets[which[r]], order, labels)
            forward(operations, activations, replicas[0][r], replicas[2][r], False, 0, nothing)
            unused = gradient[: labels.size].reshape(labels.shape)
            value, correct = loss_of(loss, activations[start_row:end_row], labels, unused)
            losses[r] += value * order.size
            accuracies[r] += correct
    number = inputs.dtype.type(examples)
    return losses / number, accuracies / number
