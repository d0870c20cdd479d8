"""The rectifier."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.layer import Layer, Moment
from weightdecay.ensemble.operations import Operations
from weightdecay.registry import LAYERS
from weightdecay.run import Run


@LAYERS.register
class ReLU(Layer):
    """max(x, 0); its gradient at 0 is 0, as in PyTorch."""

    name = "relu"
    overwrites_input = in_place = True

    def forward(self, x: Tensor, moment: Moment) -> Tensor:
        self.y = x.clamp_min_(0)
        return self.y

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor:
        return torch.ops.aten.threshold_backward.grad_input(gradient, self.y, 0, grad_input=gradient)

    def lay_out(self, operations: Operations, x: int, inputs: int) -> tuple[int, int]:
        operations.append(self, x, inputs, x, inputs)
        return x, inputs

    @staticmethod
    @compiled
    def forward_loop(op, x, y, replica, moment):
        values = y.reshape(-1)
        zero = values.dtype.type(0)
        for i in range(values.size):
            values[i] = zero if values[i] < zero else values[i]  # NaN stays NaN

    @staticmethod
    @compiled
    def backward_loop(op, x, gradient, input_gradient, replica, moment):
        values, flat = x.reshape(-1), gradient.reshape(-1)
        zero = values.dtype.type(0)
        for i in range(values.size):
            flat[i] = flat[i] if values[i] > zero else zero

    def literal(self, replica: int, channels: int, run: Run) -> tuple[list[nn.Module], int]:
        return [nn.ReLU()], channels
