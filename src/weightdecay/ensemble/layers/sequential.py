"""Layers one after another."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor, nn

from weightdecay.ensemble.checks import require
from weightdecay.ensemble.layer import Layer, Moment
from weightdecay.ensemble.operations import Operations
from weightdecay.registry import LAYERS
from weightdecay.run import Run


@LAYERS.register
class Sequential(Layer):
    """Layers one after another."""

    name = "sequential"

    def __init__(self, *children: Layer):
        self.children = children

    def check(self) -> None:
        require(self.children, "Sequential has no layers")

    def features_after(self, inputs: int) -> int:
        for child in self.children:
            inputs = child.features_after(inputs)
        return inputs

    def words(self) -> Iterator[str]:
        for child in self.children:
            yield from child.words()

    def forward(self, x: Tensor, moment: Moment) -> Tensor:
        for child in self.children:
            x = child.forward(x, moment)
        return x

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor | None:
        for child in reversed(self.children[1:]):
            passed_on = child.backward(gradient)
            assert passed_on is not None  # it was asked for
            gradient = passed_on
        return self.children[0].backward(gradient, input_gradient)

    def lay_out(self, operations: Operations, x: int, inputs: int) -> tuple[int, int]:
        for child in self.children:
            x, inputs = child.lay_out(operations, x, inputs)
        return x, inputs

    def literal(self, replica: int, channels: int, run: Run) -> tuple[list[nn.Module], int]:
        modules: list[nn.Module] = []
        for child in self.children:
            more, channels = child.literal(replica, channels, run)
            modules += more
        return modules, channels
