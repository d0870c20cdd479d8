"""The residual connection (He et al. 2016)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

from weightdecay.ensemble.checks import require
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.layer import Layer, Moment
from weightdecay.ensemble.operations import Operations
from weightdecay.registry import LAYERS
from weightdecay.run import Run


@LAYERS.register
class Residual(Layer):
    """x + body(x). It is two operations: one before the body, whose backward pass adds up gradients, and one after."""

    name = "residual"
    adds_input = True
    fields = ("joins",)

    def __init__(self, body: Layer):
        self.body, self.children = body, (body,)

    def features_after(self, inputs: int) -> int:
        outputs = self.body.features_after(inputs)
        require(outputs == inputs, f"a residual body has {inputs} inputs, but {outputs} outputs")
        return outputs

    def words(self) -> Iterator[str]:
        yield "the beginning of a residual body"
        yield from self.body.words()
        yield "the end of a residual body"

    def forward(self, x: Tensor, moment: Moment) -> Tensor:
        return self.body.forward(x, moment).add_(x)

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor:
        through: Any = self.body.backward(gradient)
        return through.add_(gradient)

    def lay_out(self, operations: Operations, x: int, inputs: int) -> tuple[int, int]:
        fork = operations.append(self, x, inputs, x, inputs)
        y, outputs = self.body.lay_out(operations, x, inputs)
        fork |= {"y": y, "outputs": outputs}
        operations.append(self, x, inputs, y, outputs, joins=1)
        return y, outputs

    @staticmethod
    @compiled
    def forward_loop(op, x, y, replica, moment):
        if op.joins:
            y += x

    @staticmethod
    @compiled
    def backward_loop(op, x, gradient, input_gradient, replica, moment):
        if not op.joins and input_gradient.size:
            input_gradient += gradient

    def literal(self, replica: int, channels: int, run: Run) -> tuple[list[nn.Module], int]:
        modules, channels = self.body.literal(replica, channels, run)
        return [LiteralResidual(nn.Sequential(*modules))], channels


class LiteralResidual(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)
