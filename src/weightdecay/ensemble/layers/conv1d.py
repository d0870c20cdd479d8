"""The 1-D convolution."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from numbers import Integral

import torch
from torch import Tensor, nn

from weightdecay.ensemble.arithmetic import total_of
from weightdecay.ensemble.checks import require
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.layer import Moment, Span, Weighted, affine, filled, gradients_of, parameters_of, uniform
from weightdecay.ensemble.layers.linear import add_bias
from weightdecay.ensemble.operations import Operations
from weightdecay.ensemble.products import as_rows, forward_product, input_product, weight_product_of_rows
from weightdecay.registry import LAYERS
from weightdecay.run import Run


@compiled
def convolution(weight, bias, x, y, stride):
    """Write the convolution of the padded input `x` `[length · C, B]` to `y` `[positions · O, B]`.

    `weight` is `[O, kernel · C]`, `bias` `[O]`. With the batch last, a window is one block of memory, so each position
    takes one product and no copy.
    """
    outputs, window = weight.shape
    for start in range(y.shape[0] // outputs):
        first = start * stride
        at = y[start * outputs : (start + 1) * outputs]
        forward_product(weight, x[first : first + window], at)
        add_bias(bias, at)


@compiled
def convolution_gradients(weight, rows, gradient, weight_gradient, bias_gradient, input_gradient, stride):
    """Write the gradients of the parameters, and that of the padded input unless `input_gradient` is empty.

    `rows`: the padded input as `[B, length · C]`.
    """
    outputs, window = weight.shape
    bias_gradient[:] = 0
    input_gradient[:] = 0
    for start in range(gradient.shape[0] // outputs):
        first = start * stride
        upstream = gradient[start * outputs : (start + 1) * outputs]
        if weight_gradient.size:
            weight_product_of_rows(upstream, rows, first, window, weight_gradient, min(start, 1))
        for o in range(bias_gradient.size):
            bias_gradient[o] += total_of(upstream[o])
        if input_gradient.size:
            input_product(weight, upstream, input_gradient[first : first + window], 1)


@LAYERS.register
class Conv1d(Weighted):
    """A 1-D convolution of channels-last activations, computed as one matrix product over its windows.

    Input and output are `[R, B, positions · channels]`, with the channels of one position side by side, so any layer
    can come before and after. Weights are `[outputs, kernel · inputs]`, initialised as in `torch.nn.Conv1d`.
    """

    name = "conv1d"
    fields = (
        *Weighted.fields,
        "window",
        "stride",
        "padding",
        "padded",
    )  # in rows; `padded`: where the padded input stands

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True):
        self.inputs, self.outputs = inputs, outputs
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.shapes = {"weight": (outputs, kernel * inputs), **({"bias": (outputs,)} if bias else {})}

    def check(self) -> None:
        fits = isinstance(self.padding, Integral) and int(self.padding) >= 0
        require(fits, f"{type(self).__name__} has a padding of {self.padding!r}")
        sizes = {name: getattr(self, name) for name in ("inputs", "outputs", "kernel", "stride")}
        self.check_parameters(sizes, weight=(self.outputs, self.kernel * self.inputs), bias=(self.outputs,))

    def features_after(self, inputs: int) -> int:
        length, rest = divmod(inputs, self.inputs)
        require(rest == 0, f"a convolution of {self.inputs} channels stands after {inputs} features")
        padded = length + 2 * self.padding
        require(padded >= self.kernel, f"a convolution over {self.kernel} positions stands after {padded}")
        return ((padded - self.kernel) // self.stride + 1) * self.outputs

    def words(self) -> Iterator[str]:
        yield self.described("Conv1d", self.inputs, self.outputs, self.kernel, self.stride, self.padding)

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        return uniform(self.shapes, self.kernel * self.inputs, generator)

    def forward(self, x: Tensor, moment: Moment) -> Tensor:
        replicas, batch, features = x.shape
        self.length = features // self.inputs
        padded = self.length + 2 * self.padding
        self.positions = (padded - self.kernel) // self.stride + 1
        x = nn.functional.pad(x, (self.padding * self.inputs, self.padding * self.inputs)).contiguous()
        # A window is contiguous in memory, so all windows are one overlapping view of x.
        windows = x.as_strided(
            (replicas, batch, self.positions, self.kernel * self.inputs),
            (*x.stride()[:2], self.stride * self.inputs, 1),
        )
        self.windows = windows.reshape(replicas, batch * self.positions, -1)
        return affine(self.windows, self.weight, self.bias).view(replicas, batch, -1)

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor | None:
        replicas, batch, _ = gradient.shape
        gradient = gradient.reshape(replicas, -1, self.outputs)
        torch.bmm(gradient.transpose(1, 2), self.windows, out=self.weight_gradient)
        if self.bias_gradient is not None:
            torch.sum(gradient, 1, out=self.bias_gradient)
        if not input_gradient:
            return None
        windows = torch.bmm(gradient, self.weight).view(replicas, batch, self.positions, self.kernel, self.inputs)
        x = gradient.new_zeros(replicas, batch, self.length + 2 * self.padding, self.inputs)
        for offset in range(self.kernel):
            x[:, :, offset : offset + self.stride * (self.positions - 1) + 1 : self.stride] += windows[:, :, :, offset]
        return x[:, :, self.padding : self.padding + self.length].reshape(replicas, batch, -1)

    def lay_out(self, operations: Operations, x: int, inputs: int) -> tuple[int, int]:
        padding, window, stride = self.padding * self.inputs, self.kernel * self.inputs, self.stride * self.inputs
        rows = inputs + 2 * padding
        padded = operations.new_rows(rows)
        outputs = ((rows - window) // stride + 1) * self.outputs
        y = operations.new_rows(outputs)
        places = {"window": window, "stride": stride, "padding": padding, "padded": padded}
        operations.append(self, x, inputs, y, outputs, **operations.parameters(self), **places)
        return y, outputs

    @classmethod
    def spans(cls, op: Mapping[str, int]) -> Iterator[Span]:
        yield from super().spans(op)
        yield "activations", op["padded"], op["inputs"] + 2 * op["padding"]

    @classmethod
    def fits(cls, op: Mapping[str, int]) -> bool:
        channels, rest = divmod(op["weights"], op["window"])
        positions = (op["inputs"] + 2 * op["padding"] - op["window"]) // op["stride"] + 1
        return rest == 0 and op["outputs"] == positions * channels and op["biases"] in (0, channels)

    @staticmethod
    @compiled
    def forward_loop(op, x, y, replica, moment):
        weight, bias = parameters_of(op, replica)
        padded = replica.activations[op.padded : op.padded + op.inputs + 2 * op.padding]
        padded[: op.padding] = 0
        padded[op.padding : op.padding + op.inputs] = x
        padded[op.padding + op.inputs :] = 0
        convolution(weight.reshape(op.weights // op.window, op.window), bias, padded, y, op.stride)

    @staticmethod
    @compiled
    def backward_loop(op, x, gradient, input_gradient, replica, moment):
        weight, _ = parameters_of(op, replica)
        weight_gradient, bias_gradient = gradients_of(op, replica)
        matrix, rows = weight.reshape(op.weights // op.window, op.window), op.inputs + 2 * op.padding
        padded = replica.activations[op.padded : op.padded + rows]
        padded_gradient = replica.gradients[op.padded : op.padded + (rows if input_gradient.size else 0)]
        rows_of_examples = as_rows(padded, replica.scratch)
        weights = weight_gradient.reshape(-1, op.window)
        convolution_gradients(matrix, rows_of_examples, gradient, weights, bias_gradient, padded_gradient, op.stride)
        if input_gradient.size:
            input_gradient[:] = padded_gradient[op.padding : op.padding + op.inputs]

    def literal(self, replica: int, channels: int, run: Run) -> tuple[list[nn.Module], int]:
        weight = self.weight[replica].view(self.outputs, self.kernel, self.inputs).transpose(1, 2)
        bias = None if self.bias is None else self.bias[replica]
        shape = self.inputs, self.outputs, self.kernel, self.stride, self.padding
        module = filled(nn.Conv1d(*shape, bias=bias is not None), self.trained, weight=weight, bias=bias)
        if channels:
            return [module], self.outputs
        one = self.inputs == 1  # a signal of one channel
        before = [nn.Unflatten(1, (1, -1))] if one else [nn.Unflatten(1, (-1, self.inputs)), Transposed()]
        return [*before, module], self.outputs


class Transposed(nn.Module):
    """Transposes `[B, positions, channels]` to `[B, channels, positions]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)
