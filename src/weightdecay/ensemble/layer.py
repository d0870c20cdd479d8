"""The base class of all layers. A layer has four forms: checks, torch operations, compiled loops, a literal module.

The torch form trains R networks at once on a GPU. Activations are `[R, B, features]`, parameters `[R, ...]`. The
backward pass is written by hand: this saves autograd's bookkeeping and writes gradients straight into the flat buffer
that the optimiser reads. A layer may overwrite its input if it says so (`overwrites_input`).

The compiled form trains one network after another on a CPU. Activations are `[features, B]`, with the batch last, so
sums over the batch run along memory and the BLAS gets both operands of a product in its preferred layout. At 40 inputs,
4 outputs and batch 128 a core of a Zen 4 EPYC reaches 60 GFLOP/s, where torch's stacked product of `[B, features]`
reaches 17. From width 64 on it stays near the peak. A network is a table of operations, whose operands are rows of one
array.

The literal form is a PyTorch module of one network. The tests compare the other forms with it.

One replica's numbers must not depend on which other replicas there are. So no layer may sum across replicas, and the
order of a sum within a replica must follow from the replica's own shape.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from weightdecay.ensemble.checks import require
from weightdecay.ensemble.compiler import compiled
from weightdecay.run import Run

if TYPE_CHECKING:
    from weightdecay.ensemble.operations import Operations

DRAWN: dict[str, Any] = {"dtype": torch.float32, "device": "cpu"}  # of initial values, on every device
Span = tuple[str, int, int]  # a part of a replica's array: name of the array, first index, number of indices
Shapes = Mapping[str, tuple[int, ...]]


class Moment(NamedTuple):
    """When a pass through a network happens, which matters to some layers.

    `step` counts from 0. It is a tensor `[1]` on the device, or a number in compiled loops. `words` are
    `philox.words_of` the runs `[R, 3]`, or of one run in compiled loops. An evaluation reads neither.
    """

    training: bool
    step: Any
    words: Any


EVALUATION = Moment(False, None, None)


class Replica(NamedTuple):
    """The arrays of one network in compiled loops."""

    activations: Any  # `[rows, B]`
    gradients: Any  # of the activations, `[rows, B]`
    parameters: Any  # `[P]`
    parameter_gradients: Any  # `[P]`
    buffers: Any  # what is not trained
    batch: Any  # the network's inputs in rows, `[B, inputs]`; of no use in an evaluation
    scratch: Any  # room for one operation's own use, as much as the activations take, flat


class Layer:
    """One layer of R stacked networks. Leaves list `shapes`; containers list `children`."""

    name: ClassVar[str]
    # The forward pass overwrites its input, so the layer cannot come first in a network or in a residual body.
    overwrites_input: ClassVar[bool] = False
    in_place: ClassVar[bool] = False  # its output takes the memory of its input
    adds_input: ClassVar[bool] = False  # its output is the sum of its input and its child's output
    needs_output: ClassVar[bool] = False  # its backward pass reads its output, which no other layer may overwrite
    normalises: ClassVar[bool] = False  # its output does not change with the scale of its input, but for an eps
    setting: ClassVar[str] = ""  # the field of `Run` that only this layer reads

    shapes: Shapes = MappingProxyType({})  # parameters
    trained = True  # False: the parameters keep the values they were initialised with
    buffers: Shapes = MappingProxyType({})  # shapes of tensors that the optimiser does not train
    children: tuple[Layer, ...] = ()
    weight: Tensor  # `[R, *shape]`, set by `bind` in layers that have one, as are the next two
    bias: Tensor | None
    weight_gradient: Tensor | None

    def check(self) -> None:
        """Raise ConfigError if sizes are not whole numbers, or parameters do not have the shapes that follow."""

    def check_runs(self, runs: Sequence[Run]) -> None:
        """Raise ConfigError if the layer does not agree with the rows of its runs."""

    def features_after(self, inputs: int) -> int:
        """Return how many outputs the layer makes of `inputs` inputs; ConfigError if it cannot take so many."""
        return inputs

    def words(self) -> Iterator[str]:
        """Yield the layer's operations as text."""
        yield type(self).__name__

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Draw the parameters of one replica as PyTorch's own layer does: name -> tensor of `shapes[name]`."""
        return {}

    def bind(self, tensors: dict[str, Tensor], gradients: dict[str, Tensor], number: int) -> None:
        """Receive the views `[R, *shape]` of parameters and buffers, and of the gradients of trained parameters.

        `number`: the index of this layer among the network's layers of its kind, from 0 on.
        """

    def forward(self, x: Tensor, moment: Moment) -> Tensor:
        """Return the output of `[R, B, inputs]`, and keep what the backward pass needs."""
        raise NotImplementedError

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor | None:
        """Store the gradients of the parameters; return that of the input, or None if not `input_gradient`."""
        raise NotImplementedError

    # The layer's operation `op` in compiled loops is a record with the fields `x`, `inputs`, `y`, `outputs` (first row
    # and number of rows of input and output) and the layer's own `fields`. A container has no loops, as it only lays
    # out its children. Loops check no bounds. In a network's first layer `input_gradient` has no rows, as nobody needs
    # it.
    fields: ClassVar[tuple[str, ...]] = ()
    forward_loop: ClassVar[Callable[..., None] | None] = None  # (op, x, y, replica, moment), x and y `[rows, B]`
    backward_loop: ClassVar[Callable[..., None] | None] = None  # (op, x, gradient, input_gradient, replica, moment)

    def lay_out(self, operations: Operations, x: int, inputs: int) -> tuple[int, int]:
        """Append the layer's operations on `inputs` rows from row `x` on; return first row and number of outputs."""
        raise NotImplementedError

    @classmethod
    def spans(cls, op: Mapping[str, int]) -> Iterator[Span]:
        """Yield the parts of arrays that an operation reads or writes, beside its rows of input and output."""
        yield from ()

    @classmethod
    def fits(cls, op: Mapping[str, int]) -> bool:
        """Return whether the numbers of an operation agree with each other."""
        return op["inputs"] == op["outputs"]

    def literal(self, replica: int, channels: int, run: Run) -> tuple[list[nn.Module], int]:
        """Return PyTorch's modules with the weights of one replica, whose run is `run`, and their output's channels.

        `channels`: the number of channels of an input `[B, channels, positions]`, which follows a convolution, or 0
        for an input `[B, features]`. The number that is returned says the same about the output.
        """
        raise NotImplementedError


class Weighted(Layer):
    """A layer with a weight and perhaps a bias, trained or not. An operation holds their offsets and sizes."""

    fields: ClassVar[tuple[str, ...]] = ("trained", "weight", "weights", "bias", "biases")
    weight: Tensor
    bias: Tensor | None

    def check_parameters(self, sizes: Mapping[str, Any], **shapes: tuple[int, ...]) -> None:
        """Raise ConfigError unless sizes are whole numbers of at least 1 and the parameters have these shapes."""
        name = type(self).__name__
        for size, value in sizes.items():
            fits = isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= 1
            require(fits, f"{name} has {value!r} {size}, but must have a whole number of at least 1")
        unlike = {key: shape for key, shape in self.shapes.items() if shape != shapes.get(key)}
        require("weight" in self.shapes and not unlike, f"{name} has parameters of shapes {dict(self.shapes)}")

    def described(self, name: str, *sizes: int) -> str:
        """Return the layer as text."""
        without = "" if "bias" in self.shapes else " without bias"
        return f"{'' if self.trained else 'untrained '}{name}({', '.join(map(str, sizes))}){without}"

    def bind(self, tensors: dict[str, Tensor], gradients: dict[str, Tensor], number: int) -> None:
        self.weight, self.bias = tensors["weight"], tensors.get("bias")
        self.weight_gradient, self.bias_gradient = gradients.get("weight"), gradients.get("bias")

    @classmethod
    def spans(cls, op: Mapping[str, int]) -> Iterator[Span]:
        store = "parameters" if op["trained"] else "buffers"
        yield store, op["weight"], op["weights"]
        yield store, op["bias"], op["biases"]


@compiled
def parameters_of(op, replica):
    """Return the weight and the bias of an operation, flat."""
    store = replica.parameters if op.trained else replica.buffers
    return store[op.weight : op.weight + op.weights], store[op.bias : op.bias + op.biases]


@compiled
def gradients_of(op, replica):
    """Return the arrays for the gradients of weight and bias, flat; empty if they are not trained."""
    row = replica.parameter_gradients
    return row[op.weight : op.weight + op.weights * op.trained], row[op.bias : op.bias + op.biases * op.trained]


def uniform(shapes: Shapes, fan_in: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Draw from U(±1/√fan_in) for weights and biases alike, as PyTorch's linear layers and convolutions do."""
    bound = 1 / math.sqrt(fan_in)
    return {
        name: torch.empty(shape, **DRAWN).uniform_(-bound, bound, generator=generator) for name, shape in shapes.items()
    }


def affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return x Wᵀ + b: `[R, N, inputs]`, `[R, outputs, inputs]`, `[R, outputs]` -> `[R, N, outputs]`."""
    transposed = weight.transpose(1, 2)
    return torch.bmm(x, transposed) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, transposed)


def filled(module: nn.Module, trained: bool, **tensors: Tensor | None) -> nn.Module:
    """Return the module filled with these values, in their precision."""
    found = {name: tensor for name, tensor in tensors.items() if tensor is not None}
    module.to(next(iter(found.values())).dtype).load_state_dict(found, strict=False)
    return module.requires_grad_(trained)
