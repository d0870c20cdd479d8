"""The form in which the compiled loops run a network: a table of operations, whose operands are rows of one array."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from weightdecay.ensemble.layer import Layer
    from weightdecay.ensemble.stack import Stack

FIELDS = ("kind", "x", "inputs", "y", "outputs")  # of every operation: kind, and first row and number of rows of both


class Operations:
    """The operations of a stack's network in forward order, and how many rows its activations take."""

    def __init__(self, stack: Stack, inputs: int):
        self.rows, self.offsets, self.records = inputs, stack.offsets, list[dict[str, int]]()
        self.layers: list[type[Layer]] = []  # the layer of each operation
        y, outputs = stack.network.lay_out(self, 0, inputs)
        self.output = y, y + outputs

    def new_rows(self, count: int) -> int:
        """Add so many rows; return the first of them."""
        self.rows += count
        return self.rows - count

    def append(self, layer: Layer, x: int, inputs: int, y: int, outputs: int, **own: int) -> dict[str, int]:
        """Add an operation of a layer; return its record."""
        record = {"x": x, "inputs": inputs, "y": y, "outputs": outputs, **own}
        self.records.append(record)
        self.layers.append(type(layer))
        return record

    def parameters(self, layer: Layer) -> dict[str, int]:
        """Return offset and size of a layer's weight and bias, and whether they are trained: `Weighted.fields`."""
        fields = {"trained": int(layer.trained)}
        for name, number in (("weight", "weights"), ("bias", "biases")):
            if name in layer.shapes:
                fields |= {name: self.offsets[layer, name], number: math.prod(layer.shapes[name])}
        return fields

    def buffers(self, layer: Layer) -> dict[str, int]:
        """Return the offsets of a layer's buffers."""
        return {name: self.offsets[layer, name] for name in layer.buffers}

    def array(self, kind: np.dtype, codes: dict[str, int]) -> np.ndarray:
        """Return the records as an array of `kind`; `codes` has the number of each layer's operation."""
        rows = [{"kind": codes[layer.name], **row} for layer, row in zip(self.layers, self.records, strict=True)]
        return np.array([tuple(row.get(name, 0) for name in kind.names or ()) for row in rows], kind)
