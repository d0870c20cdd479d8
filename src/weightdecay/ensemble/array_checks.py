"""Holds what the compiled loops are handed to their bounds: a loop that reads beyond an array reads foreign memory.

Users' data and networks are refused before, in their own words (`data`, `structure`). This is the last door: every
array and every operation, once a stack, and the order of the batches whenever it is filled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from weightdecay.ensemble import loops
from weightdecay.ensemble.checks import require

if TYPE_CHECKING:
    from weightdecay.ensemble.program import HostProgram

COEFFICIENTS = {"sgd": loops.SGD_COEFFICIENTS, "adam": 11}  # that `loops.update` reads


def check_program(program: HostProgram) -> None:
    """ConfigError unless every operation stays within the arrays, and every array is of the kind that is compiled."""
    parameters, _, buffers, *_ = program.replicas
    replicas, kind = len(parameters), parameters.dtype
    for name, array in zip(("parameters", "gradients", "first", "second"), _per_parameter(program), strict=True):
        _check_array(name, array, kind, parameters.shape)
    _check_array("buffers", buffers, kind, (replicas, buffers.shape[-1]))
    _check_array("dropout", program.dropout, np.uint64, (replicas, 3))
    for name, array in zip(("loss_sum", "correct_sum", "finite_steps", "held_norm"), program.sums, strict=True):
        _check_array(name, array, np.int64 if name == "finite_steps" else kind, (replicas,))
    rows, start, end = program.shape
    for name, (inputs, targets, which) in program.data.items():
        _check_array(f"{name} inputs", inputs, kind, (*inputs.shape[:2], program.operations[0]["inputs"]))
        _check_array(f"{name} targets", targets, kind, (*inputs.shape[:2], end - start))
        _check_array(f"{name} which", which, np.int64, (replicas,))
        _check_range(f"{name} which", which, len(inputs))
    for name, array, size in zip(("activations", "gradients", "labels"), program.arrays, program.sizes, strict=True):
        _check_array(name, array, kind, (size,))
    require(0 <= program.ensemble.optimizer.decayed <= parameters.shape[1], "decayed is beyond the parameters")
    _check_operations(program.operations, rows, parameters.shape[1], buffers.shape[1])


def check_table(program: HostProgram) -> None:
    """The same of what is filled every few epochs: orders `[R, O, B]` and coefficients `[S, R, C]`."""
    replicas, orders, coefficients = len(program.sums[0]), program.orders_of_runs, program.coefficients
    examples, batch = program.data["train"][0].shape[1], program.ensemble.run.batch_size
    _check_array("orders", orders, np.int64, (replicas, orders.shape[1], batch))
    _check_range("orders", orders, examples)
    numbers = COEFFICIENTS[program.ensemble.run.optimizer]
    _check_array("coefficients", coefficients, program.replicas[0].dtype, (program.steps, replicas, numbers))


def _per_parameter(program: HostProgram) -> list[np.ndarray]:
    return [array for index, array in enumerate(program.replicas) if index != 2]


def _check_array(name: str, array: np.ndarray, kind: np.dtype | type, shape: tuple[int, ...]) -> None:
    fits = array.dtype == kind and array.shape == shape and array.flags.c_contiguous and array.flags.aligned
    found = f"{array.dtype} {list(array.shape)}{'' if array.flags.c_contiguous else ', not contiguous'}"
    require(fits, f"the array {name} is {found}, but the loops take {np.dtype(kind)} {list(map(int, shape))}")


def _check_range(name: str, array: np.ndarray, end: int) -> None:
    least, most = array.min(), array.max()
    require(0 <= least and most < end, f"the array {name} has indices from {least} to {most}, but there are {end}")


def _check_operations(operations: np.ndarray, rows: int, parameters: int, buffers: int) -> None:
    """`rows` of activations; `parameters` and `buffers` in the row of a replica."""
    for number, op in enumerate(operations):
        kind, inputs, outputs, weights = (int(op[name]) for name in ("kind", "inputs", "outputs", "weights"))
        width = 2 * int(op["padding"]) + inputs
        spans = [
            (op["x"], inputs, rows),
            (op["y"], outputs, rows),
            (op["padded"], width * (kind == loops.CONV1D), rows),
        ]
        spans += [(op["factors"], -(-inputs // 4) * 4 * (kind == loops.DROPOUT), rows)]
        store = parameters if op["trained"] else buffers
        spans += [(op["weight"], weights, store), (op["bias"], op["biases"], store)]
        fits = inputs > 0 and outputs > 0
        if kind == loops.LINEAR:
            fits &= weights == inputs * outputs and op["biases"] in (0, outputs)
        elif kind == loops.CONV1D:
            channels, rest = divmod(weights, int(op["window"]))
            positions = (width - int(op["window"])) // int(op["stride"]) + 1
            fits &= rest == 0 and outputs == positions * channels and op["biases"] in (0, channels)
        elif kind == loops.BATCH_NORM:
            spans += [(op[name], weights, buffers) for name in ("running_mean", "running_variance", "inverse_std")]
            spans += [(op["eps"], 1, buffers)]
            fits &= inputs == outputs and inputs % weights == 0 and op["biases"] == weights
        else:
            fits &= inputs == outputs
        inside = all(first >= 0 and count >= 0 and first + count <= end for first, count, end in spans)
        require(fits and inside, f"operation {number} of the compiled network is {op}, which its arrays do not hold")
