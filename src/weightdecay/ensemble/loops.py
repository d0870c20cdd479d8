"""The compiled loops of the CPU: they run a table of operations forward and backward, train and evaluate.

All activations of a replica are in one array `[rows, B]`, and their gradients in another. An operation knows its
operands by their rows, and its parameters by their offsets in the replica's flat array.

No layer, loss or optimiser is named here. A line `case(kind, ...)` stands for a chain of ifs over everything that is
registered (`if kind == 3: ...`). `loops_of_all` writes the chain out, and the compiler inlines it.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np

from weightdecay.ensemble.arithmetic import clamped
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.layer import Layer, Moment, Replica
from weightdecay.ensemble.loss import Loss
from weightdecay.ensemble.operations import FIELDS
from weightdecay.ensemble.optimizer import DECAYS, Optimizer
from weightdecay.ensemble.program import EVALUATION_ROWS
from weightdecay.ensemble.transposition import transpose
from weightdecay.registry import LAYERS, LOSSES, OPTIMIZERS


def case(kind: int, *arguments: Any) -> Any:
    """Stand for the chain of ifs that `_with_cases` puts here."""
    raise NotImplementedError


def forward(operations, replica, moment):
    """Run the network on the first rows of the replica's activations."""
    for op in operations:
        x, y = replica.activations[op.x : op.x + op.inputs], replica.activations[op.y : op.y + op.outputs]
        case(op.kind, op, x, y, replica, moment)


def backward(operations, replica, moment):
    """Run the backward pass: it reads the gradients of the output's rows and writes those of the parameters."""
    for index in range(operations.size - 1, -1, -1):
        op = operations[index]
        x, gradient = replica.activations[op.x : op.x + op.inputs], replica.gradients[op.y : op.y + op.outputs]
        input_gradient = replica.gradients[op.x : op.x + op.inputs] if op.x > 0 else replica.gradients[:0]
        case(op.kind, op, x, gradient, input_gradient, replica, moment)


def loss_of(loss, outputs, targets, gradient):
    """Return the mean loss of a batch and the number of right examples; write the gradient. Arrays are `[K, B]`."""
    return case(loss, outputs, targets, gradient)


def update(optimizer, coefficients, decays, weights, gradients, slots, row, start):
    """Do one step of the optimiser on some weights of a replica, flat.

    `coefficients` `[C]` are explained in `optimizer`; the first four, l2, kept, l1 and threshold, apply only if
    `decays`. `slots` are `[S, R, P]`; those of these weights are in row `row`, from column `start` on.
    """
    number = coefficients.dtype.type
    l2, kept = (coefficients[0], coefficients[1]) if decays else (number(0), number(1))
    if decays and coefficients[2] > 0:  # L1 takes extra passes, which other kinds of decay do not need
        gradients = with_sign(weights, gradients, coefficients[2])
    case(optimizer, coefficients, l2, kept, weights, gradients, slots, row, start)
    if decays and coefficients[3] > 0:
        soft_threshold(weights, coefficients[3])


@compiled
def with_sign(weights, gradients, l1):
    """Return g + l1·sign(w) as a new array; the gradients themselves stay without penalty."""
    penalised = np.empty_like(gradients)
    for i in range(weights.size):
        penalised[i] = gradients[i] + l1 * np.sign(weights[i])
    return penalised


@compiled
def soft_threshold(weights, threshold):
    """Set w ← sign(w)·max(|w| − threshold, 0) in place: weights within the threshold become exactly 0."""
    for i in range(weights.size):
        weights[i] -= clamped(weights[i], threshold)


@compiled
def gather(examples, order, rows, columns):
    """Copy examples of these numbers to `rows` `[B, I]` and to `columns` `[I, B]`."""
    for b in range(order.size):
        example, row = examples[order[b]], rows[b]
        for i in range(row.size):
            row[i] = example[i]
    transpose(rows, columns)


@compiled
def hold_norm(parameters, columns, held, begins):
    """Scale the weights in these `columns` `[S, 2]` of `[P]` back to the norm `held`, and return it.

    Where no norm is held yet (NaN), their present norm is held from now on if it `begins`. A negative `held` waits for
    the norm to fall to the positive value.
    """
    norm = parameters.dtype.type(0)
    for start, end in columns:
        for i in range(start, end):
            norm += parameters[i] * parameters[i]
    norm = math.sqrt(norm)
    if math.isnan(held) and begins:
        held = norm
    elif held < 0 and norm <= -held:
        held = -held
    if held > 0:
        for start, end in columns:
            parameters[start:end] *= held / norm
    return held


def advance(
    operations, shape, kinds, holding, arrays, data, orders, coefficients, times, decayed, replicas, words, sums
):
    """Train every replica for S steps. A replica stops when its loss is not finite.

    - `shape`: the number of rows, and the first and last row of the outputs.
    - `kinds`: the numbers of loss and optimiser.
    - `holding`: a number and columns `[S, 2]` of weights. 0: their norm is free. Otherwise it is held after the first
      epoch with so many right examples, unless it is held, or waits to be, already.
    - `arrays`: activations, their gradients, labels, the batch's inputs, and room for operations, all flat.
    - `data`: inputs and targets `[U, N, ...]`, and for each replica its index into U, `[R]`.
    - `orders` `[R, O, B]`: the batches of O steps, which repeat afterwards.
    - `coefficients`: `[S, R, C]`.
    - `times`: the first step, counted from 0, and the number of steps in an epoch.
    - `replicas`: parameters, their gradients and buffers, each `[R, ...]`, and the optimiser's slots `[S, R, P]`.
    - `words` `[R, 3]`: of `philox`.
    - `sums`: loss, right examples, steps with finite loss, and the norm that is held, each `[R]`.
    """
    inputs, targets, which = data
    loss_sum, correct_sum, finite_steps, held = sums
    start, epoch_steps = times
    held_from, held_columns = holding
    batches, batch = orders.shape[1:]
    rows, start_row, end_row = shape
    activations, gradients = arrays[0][: rows * batch].reshape(rows, batch), arrays[1].reshape(rows, batch)
    labels = arrays[2][: targets.shape[2] * batch].reshape(targets.shape[2], batch)
    inputs_of_batch = arrays[3][: inputs.shape[2] * batch].reshape(batch, inputs.shape[2])
    scratch, slots = arrays[4], replicas[3]
    for r in range(which.size):
        parameters, parameter_gradients = replicas[0][r], replicas[1][r]
        replica = Replica(
            activations, gradients, parameters, parameter_gradients, replicas[2][r], inputs_of_batch, scratch
        )
        for index in range(len(coefficients)):
            step = start + index
            if finite_steps[r] < step:
                break
            if step % epoch_steps == 0:
                loss_sum[r] = correct_sum[r] = 0
            if index == 0 or batches > 1:
                order = orders[r, step % batches]
                gather(inputs[which[r]], order, inputs_of_batch, activations[: inputs.shape[2]])
                gather(targets[which[r]], order, scratch[: labels.size].reshape(batch, -1), labels)
            moment = Moment(True, step, words[r])
            forward(operations, replica, moment)
            y, upstream = activations[start_row:end_row], gradients[start_row:end_row]
            value, correct = loss_of(kinds[0], y, labels, upstream)
            loss_sum[r] += value
            correct_sum[r] += correct
            if not math.isfinite(value):
                break
            finite_steps[r] += 1
            backward(operations, replica, moment)
            c = coefficients[index, r]
            update(kinds[1], c, True, parameters[:decayed], parameter_gradients[:decayed], slots, r, 0)
            update(kinds[1], c, False, parameters[decayed:], parameter_gradients[decayed:], slots, r, decayed)
            if held_from > 0:
                ends = step % epoch_steps == epoch_steps - 1
                held[r] = hold_norm(parameters, held_columns, held[r], ends and correct_sum[r] >= held_from)


def evaluate(operations, shape, loss, arrays, data, replicas):
    """Return mean loss and accuracy over a split, each `[R]`, with BatchNorm's running statistics.

    The arguments are explained in `advance`.
    """
    inputs, targets, which = data
    examples, outputs = targets.shape[1:]
    losses, accuracies = np.zeros(which.size, inputs.dtype), np.zeros(which.size, inputs.dtype)
    gradient = np.empty(outputs * EVALUATION_ROWS, inputs.dtype)
    rows, start_row, end_row = shape
    moment = Moment(False, 0, np.zeros(3, np.uint64))
    for r in range(which.size):
        for start in range(0, examples, EVALUATION_ROWS):
            end = min(start + EVALUATION_ROWS, examples)
            size = end - start
            activations = arrays[0][: rows * size].reshape(rows, size)
            labels = arrays[2][: outputs * size].reshape(outputs, size)
            batch = inputs[which[r], start:end]
            transpose(batch, activations[: inputs.shape[2]])
            transpose(targets[which[r], start:end], labels)
            parameters = replicas[0][r]
            replica = Replica(
                activations, activations[:0], parameters, parameters[:0], replicas[2][r], batch, arrays[4]
            )
            forward(operations, replica, moment)
            unused = gradient[: labels.size].reshape(labels.shape)
            value, correct = loss_of(loss, activations[start_row:end_row], labels, unused)
            losses[r] += value * size
            accuracies[r] += correct
    number = inputs.dtype.type(examples)
    return losses / number, accuracies / number


class Loops(NamedTuple):
    """The loops for everything that is registered, and the numbers of layers, losses and optimisers in them."""

    advance: Any
    evaluate: Any
    update: Any
    operation: np.dtype  # a record of the table of operations: the fields of all layers
    layers: dict[str, int]
    losses: dict[str, int]
    optimizers: dict[str, int]


def loops_of_all() -> Loops:
    """Return the loops for everything that is registered now."""
    kept = not any(registry.known.keys() - registry.files for registry in (LAYERS, LOSSES, OPTIMIZERS))
    return _loops(tuple(LAYERS.all().items()), tuple(LOSSES.all().items()), tuple(OPTIMIZERS.all().items()), kept)


@cache
def _loops(
    layers: tuple[tuple[str, type[Layer]], ...],
    losses: tuple[tuple[str, type[Loss]], ...],
    optimizers: tuple[tuple[str, type[Optimizer]], ...],
    kept: bool,
) -> Loops:
    """Return the loops; `kept` on disk unless something was registered at run time, which the cache cannot see."""
    forwards = {name: layer.forward_loop for name, layer in layers if layer.forward_loop}
    backwards = {name: layer.backward_loop for name, layer in layers if layer.backward_loop}
    cases: dict[Callable, Mapping[str, Callable]] = {
        forward: forwards,
        backward: backwards,
        loss_of: {name: loss.loop for name, loss in losses},
        update: {name: update_by(optimizer) for name, optimizer in optimizers},
    }
    namespace = dict(globals())
    for function, kinds in cases.items():
        namespace[function.__name__] = _with_cases(function, kinds)
    for function in (advance, evaluate):
        bound = FunctionType(function.__code__, namespace, function.__name__)
        namespace[function.__name__] = compiled(bound, keep=kept)
    own = sorted({field for _, layer in layers for field in layer.fields})
    return Loops(
        **{name: namespace[name] for name in ("advance", "evaluate", "update")},
        operation=np.dtype([(name, np.int64) for name in (*FIELDS, *own)]),
        layers=numbers(forwards),
        losses=numbers(dict(losses)),
        optimizers=numbers(dict(optimizers)),
    )


def numbers(kinds: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of each kind in its chain of ifs."""
    return {name: number for number, name in enumerate(kinds)}


def _with_cases(function: Callable, cases: Mapping[str, Callable]) -> Any:
    """Compile a function of this file with `case(kind, ...)` written out as ifs that call one of `cases`."""
    text = inspect.getsource(function)
    (found,) = re.finditer(r"^( *)(return )?case\((.*?), (.*)\)$", text, re.M)
    indent, returned, kind, arguments = found.groups("")
    numbered = numbers(cases).items()
    tests = [f"{indent}if {kind} == {number}:\n{indent}    {returned}{name}({arguments})" for name, number in numbered]
    chain = f"\n{indent}el".join(test.lstrip() for test in tests)
    unknown = f"{indent}else:\n{indent}    raise ValueError('an unknown kind')"
    text = re.sub(r"^ *(return )?case\(.*\)$", f"{indent}{chain}\n{unknown}", text, flags=re.M)
    return _written(text, globals() | dict(cases))


def update_by(optimizer: type[Optimizer]) -> Any:
    """Return the compiled loop over the weights for one optimiser, whose formula is `move`."""
    slots = [f"slot{index}" for index in range(len(optimizer.slot_names))]
    own = [f"c{len(DECAYS) + index}" for index in range(len(optimizer.coefficient_names))]
    lines = ["def loop(c, l2, kept, weights, gradients, slots, row, start):"]
    lines += [f"    {coefficient} = c[{coefficient[1:]}]" for coefficient in own]
    lines += [f"    {slot} = slots[{index}, row, start : start + weights.size]" for index, slot in enumerate(slots)]
    lines += ["    for i in range(weights.size):"]
    moved = ", ".join(["gradients[i] + l2 * weights[i]", *(f"{slot}[i]" for slot in slots), *own])
    lines += [f"        {', '.join(['change', *(f'new_{slot}' for slot in slots)])}, = move({moved})"]
    lines += [f"        {slot}[i] = new_{slot}" for slot in slots]
    lines += ["        weights[i] = weights[i] * kept - change"]
    return _written("\n".join(lines), {"move": compiled(optimizer.move)})


def _written(text: str, namespace: dict[str, Any]) -> Any:
    """Return the function that a text defines, compiled."""
    exec(text, namespace)
    return compiled(namespace[text.split("(")[0].removeprefix("def ")])
