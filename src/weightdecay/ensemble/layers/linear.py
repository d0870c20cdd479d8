"""The linear layer, and a linear layer that is not trained."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from weightdecay.ensemble.arithmetic import total_of
from weightdecay.ensemble.checks import require
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.layer import Moment, Weighted, affine, filled, gradients_of, parameters_of, uniform
from weightdecay.ensemble.operations import Operations
from weightdecay.ensemble.products import (
    as_rows,
    forward_product,
    input_product,
    pays_as_rows,
    weight_product,
    weight_product_of_rows,
)
from weightdecay.registry import LAYERS
from weightdecay.run import Run


@compiled
def add_bias(bias, y):
    """Add `[O]` (or `[0]`: no bias) to `[O, B]` in place."""
    for o in range(bias.size):
        shift, row = bias[o], y[o]
        for b in range(row.size):
            row[b] += shift


@LAYERS.register
class Linear(Weighted):
    """y = x Wᵀ + b, with `torch.nn.Linear`'s initialisation U(±1/√inputs) for both."""

    name = "linear"

    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        self.inputs, self.outputs = inputs, outputs
        self.shapes = {"weight": (outputs, inputs), **({"bias": (outputs,)} if bias else {})}

    def check(self) -> None:
        sizes = {"inputs": self.inputs, "outputs": self.outputs}
        self.check_parameters(sizes, weight=(self.outputs, self.inputs), bias=(self.outputs,))

    def features_after(self, inputs: int) -> int:
        require(self.inputs == inputs, f"a linear layer of {self.inputs} inputs stands after {inputs} features")
        return self.outputs

    def words(self) -> Iterator[str]:
        yield self.described("Linear", self.inputs, self.outputs)

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        return uniform(self.shapes, self.inputs, generator)

    def forward(self, x: Tensor, moment: Moment) -> Tensor:
        self.x = x
        return affine(x, self.weight, self.bias)

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor | None:
        if self.trained:
            torch.bmm(gradient.transpose(1, 2), self.x, out=self.weight_gradient)
        if self.bias_gradient is not None:
            torch.sum(gradient, 1, out=self.bias_gradient)
        return torch.bmm(gradient, self.weight) if input_gradient else None

    def lay_out(self, operations: Operations, x: int, inputs: int) -> tuple[int, int]:
        y = operations.new_rows(self.outputs)
        operations.append(self, x, inputs, y, self.outputs, **operations.parameters(self))
        return y, self.outputs

    @classmethod
    def fits(cls, op: Mapping[str, int]) -> bool:
        return op["weights"] == op["inputs"] * op["outputs"] and op["biases"] in (0, op["outputs"])

    @staticmethod
    @compiled
    def forward_loop(op, x, y, replica, moment):
        weight, bias = parameters_of(op, replica)
        forward_product(weight.reshape(op.outputs, op.inputs), x, y)
        add_bias(bias, y)

    @staticmethod
    @compiled
    def backward_loop(op, x, gradient, input_gradient, replica, moment):
        weight, _ = parameters_of(op, replica)
        weight_gradient, bias_gradient = gradients_of(op, replica)
        matrix = weight.reshape(op.outputs, op.inputs)
        if op.trained:
            if pays_as_rows(gradient, op.inputs):
                rows = as_rows(x, replica.scratch) if op.x > 0 else replica.batch
                weight_product_of_rows(gradient, rows, 0, op.inputs, weight_gradient.reshape(matrix.shape), 0)
            else:
                weight_product(gradient, x, weight_gradient.reshape(matrix.shape))
            for o in range(bias_gradient.size):
                bias_gradient[o] = total_of(gradient[o])
        if input_gradient.size:
            input_product(matrix, gradient, input_gradient, 0)

    def literal(self, replica: int, channels: int, run: Run) -> tuple[list[nn.Module], int]:
        weight, bias = self.weight[replica], None if self.bias is None else self.bias[replica]
        if channels:
            weight = weight.view(self.outputs, -1, channels).transpose(1, 2).reshape(weight.shape)
        module = nn.Linear(self.inputs, self.outputs, bias=bias is not None)
        return [*([nn.Flatten()] if channels else []), filled(module, self.trained, weight=weight, bias=bias)], 0


class FrozenLinear(Linear):
    """A linear layer without bias that is not trained: random weights of a given L2 norm (Lobacheva et al. 2021)."""

    trained = False

    def __init__(self, inputs: int, outputs: int, norm: float):
        super().__init__(inputs, outputs, bias=False)
        self.norm = norm

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        weight = super().initialise(generator)["weight"]
        return {"weight": weight * (self.norm / weight.norm())}
