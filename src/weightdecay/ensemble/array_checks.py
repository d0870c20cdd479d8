"""The last check before the compiled loops run: all indices lie within their arrays.

The loops check no bounds, so an index beyond an array would read foreign memory. Users' mistakes are refused earlier,
in their own terms (`data`, `structure`). Here every array and operation is checked once for each stack, and the order
of the batches whenever it is filled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from weightdecay.ensemble.checks import require
from weightdecay.ensemble.layer import Layer
from weightdecay.ensemble.optimizer import DECAYS

if TYPE_CHECKING:
    from weightdecay.ensemble.cpu import CpuProgram


def check_program(program: CpuProgram) -> None:
    """Raise ConfigError unless every operation stays within its arrays, and every array has the compiled type."""
    parameters, gradients, buffers, slots = program.replicas
    replicas, kind, optimizer = len(parameters), parameters.dtype, program.ensemble.optimizer
    _check_array("parameters", parameters, kind, parameters.shape)
    _check_array("gradients", gradients, kind, parameters.shape)
    _check_array("slots", slots, kind, (len(optimizer.slot_names), *parameters.shape))
    _check_array("buffers", buffers, kind, (replicas, buffers.shape[-1]))
    _check_array("words", program.words, np.uint64, (replicas, 3))
    for name, array in zip(("loss_sum", "correct_sum", "finite_steps", "held_norm"), program.sums, strict=True):
        _check_array(name, array, np.int64 if name == "finite_steps" else kind, (replicas,))
    rows, start, end = program.shape
    for name, (inputs, targets, which) in program.data.items():
        _check_array(f"{name} inputs", inputs, kind, (*inputs.shape[:2], program.operations[0]["inputs"]))
        _check_array(f"{name} targets", targets, kind, (*inputs.shape[:2], end - start))
        _check_array(f"{name} which", which, np.int64, (replicas,))
        _check_range(f"{name} which", which, len(inputs))
    names = "activations", "gradients", "labels", "batch", "scratch"
    for name, array, size in zip(names, program.arrays, program.sizes, strict=True):
        _check_array(name, array, kind, (size,))
    require(0 <= optimizer.decayed <= parameters.shape[1], "decayed is beyond the parameters")
    columns = program.holding[1]
    _check_array("held columns", columns, np.int64, (len(columns), 2))
    _check_range("held columns", columns, parameters.shape[1] + 1)
    ends = {"activations": rows, "parameters": parameters.shape[1], "buffers": buffers.shape[1]}
    _check_operations(program.operations, program.layers, ends)


def check_table(program: CpuProgram) -> None:
    """Check in the same way what is filled every few epochs: orders `[R, O, B]` and coefficients `[S, R, C]`."""
    replicas, orders, coefficients = len(program.sums[0]), program.orders_of_runs, program.coefficients
    examples, batch = program.data["train"][0].shape[1], program.ensemble.run.batch_size
    _check_array("orders", orders, np.int64, (replicas, orders.shape[1], batch))
    _check_range("orders", orders, examples)
    numbers = len(DECAYS) + len(program.ensemble.optimizer.coefficient_names)
    _check_array("coefficients", coefficients, program.replicas[0].dtype, (program.steps, replicas, numbers))


def _check_array(name: str, array: np.ndarray, kind: np.dtype | type, shape: tuple[int, ...]) -> None:
    fits = array.dtype == kind and array.shape == shape and array.flags.c_contiguous and array.flags.aligned
    found = f"{array.dtype} {list(array.shape)}{'' if array.flags.c_contiguous else ', not contiguous'}"
    require(fits, f"the array {name} is {found}, but the loops take {np.dtype(kind)} {list(map(int, shape))}")


def _check_range(name: str, array: np.ndarray, end: int) -> None:
    least, most = array.min(), array.max()
    require(0 <= least and most < end, f"the array {name} has indices from {least} to {most}, but there are {end}")


def _check_operations(operations: np.ndarray, layers: Sequence[type[Layer]], ends: dict[str, int]) -> None:
    """Check every operation. `ends`: how many numbers, or rows, each array of a replica has."""
    for number, (record, layer) in enumerate(zip(operations, layers, strict=True)):
        op = {name: int(record[name]) for name in record.dtype.names}
        rows = [("activations", op["x"], op["inputs"]), ("activations", op["y"], op["outputs"])]
        fits = op["inputs"] > 0 and op["outputs"] > 0 and layer.fits(op)
        spans = [*rows, *layer.spans(op)]
        inside = all(first >= 0 and count >= 0 and first + count <= ends[array] for array, first, count in spans)
        require(
            fits and inside, f"operation {number} of the compiled network is {record}, which its arrays do not hold"
        )
