"""Layers for R networks at once, as torch operations: every tensor carries a leading replica axis.

Activations are `[R, B, features]`, parameters `[R, ...]`. This is what a GPU runs; a CPU runs `program`, the same
layers compiled, one replica after another. The backward passes are written by hand: it saves autograd's bookkeeping and
writes gradients straight into the flat buffer the optimiser reads. The tests hold all of them to autograd in float64.

Tensors are handed over, not shared: BatchNorm, ReLU and Dropout overwrite what they are given, the others leave it
alone. A network begins with one of the others, as its input is the data.

One replica's numbers must not depend on which replicas share the batch. That rules out any reduction across
replicas, and leaves only operations whose order of summation within a replica is fixed by its own shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor

from weightdecay.ensemble import backend, dropout
from weightdecay.ensemble.constants import BATCH_NORM_MOMENTUM

DRAWN = {"dtype": torch.float32, "device": "cpu"}  # initial values, whatever precision and device they are trained in


class Layer:
    """One layer of R stacked networks. Leaves list `shapes`; containers list `children`."""

    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({})  # parameters
    trained = True  # False: the parameters keep the values they were initialised with
    buffers: Mapping[str, tuple[int, ...]] = MappingProxyType({})  # shapes of what changes or is set otherwise
    children: tuple[Layer, ...] = ()

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Parameters of one replica, name -> tensor of `shapes[name]`, as PyTorch's own layer would start."""
        return {}

    def bind(self, tensors: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        """Take the `[R, *shape]` views of parameters and buffers, and of the gradients of what is trained."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        raise NotImplementedError

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor | None:
        """Store the parameters' gradients; return the input's, or None when it is not asked for."""
        raise NotImplementedError


class Linear(Layer):
    """y = x Wᵀ + b, with `torch.nn.Linear`'s initialisation U(±1/√inputs) for both."""

    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        self.inputs = inputs
        self.shapes = {"weight": (outputs, inputs), **({"bias": (outputs,)} if bias else {})}

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        return _uniform(self.shapes, self.inputs, generator)

    def bind(self, tensors: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        self.weight, self.bias = tensors["weight"], tensors.get("bias")
        self.weight_gradient, self.bias_gradient = gradients.get("weight"), gradients.get("bias")

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self.x = x
        return _affine(x, self.weight, self.bias)

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor | None:
        if self.trained:
            torch.bmm(gradient.transpose(1, 2), self.x, out=self.weight_gradient)
        if self.bias_gradient is not None:
            torch.sum(gradient, 1, out=self.bias_gradient)
        return torch.bmm(gradient, self.weight) if input_gradient else None


class FrozenLinear(Linear):
    """A linear layer without bias that is not trained: random weights of a given L2 norm (Lobacheva et al. 2021)."""

    trained = False

    def __init__(self, inputs: int, outputs: int, norm: float):
        super().__init__(inputs, outputs, bias=False)
        self.norm = norm

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        weight = super().initialise(generator)["weight"]
        return {"weight": weight * (self.norm / weight.norm())}


class Conv1d(Layer):
    """1-D convolution of channels-last activations, as one matrix product over its windows.

    Activations are `[R, B, positions · channels]` on both sides, position first, so that it stands between any layers.
    Weights are `[outputs, kernel · inputs]`; initialisation is `torch.nn.Conv1d`'s. Another way to keep replicas
    apart is one grouped convolution for all.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, bias: bool = True):
        self.inputs, self.outputs = inputs, outputs
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.shapes = {"weight": (outputs, kernel * inputs), **({"bias": (outputs,)} if bias else {})}

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        return _uniform(self.shapes, self.kernel * self.inputs, generator)

    def bind(self, tensors: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        self.weight, self.weight_gradient = tensors["weight"], gradients["weight"]
        self.bias, self.bias_gradient = tensors.get("bias"), gradients.get("bias")

    def forward(self, x: Tensor, training: bool) -> Tensor:
        replicas, batch, features = x.shape
        self.length = features // self.inputs
        padded = self.length + 2 * self.padding
        self.positions = (padded - self.kernel) // self.stride + 1
        x = torch.nn.functional.pad(x, (self.padding * self.inputs, self.padding * self.inputs)).contiguous()
        # A window is contiguous in memory, so all of them are one overlapping view of x.
        windows = x.as_strided(
            (replicas, batch, self.positions, self.kernel * self.inputs),
            (*x.stride()[:2], self.stride * self.inputs, 1),
        )
        self.windows = windows.reshape(replicas, batch * self.positions, -1)
        return _affine(self.windows, self.weight, self.bias).view(replicas, batch, -1)

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


class BatchNorm(Layer):
    """Batch normalisation, each replica with its own eps and running statistics (Ioffe & Szegedy 2015).

    Activations are `[R, B, positions · features]`, one position unless a convolution stands before; statistics are over
    batch and positions. Conventions are `torch.nn.BatchNorm1d`'s: biased variance normalises the batch, unbiased
    variance enters the running average, momentum 0.1.
    """

    def __init__(self, features: int, eps: Tensor, affine: bool = True):
        """`eps`: `[R]`, added to the variance. Not `affine`: scale 1 and shift 0 stay."""
        self.features, self.trained, self.eps_values = features, affine, eps
        self.shapes = {"weight": (features,), "bias": (features,)}
        self.buffers = {"running_mean": (features,), "running_variance": (features,), "eps": (1,)}
        self.buffers |= {"inverse_std": (features,)}  # of the last batch

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        weight, bias = (torch.full((self.features,), start, **DRAWN) for start in (1.0, 0.0))
        return {"weight": weight, "bias": bias}

    def bind(self, tensors: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        self.weight, self.bias = tensors["weight"], tensors["bias"]
        unused = torch.empty_like(self.weight)  # takes the gradients where nothing is trained
        self.weight_gradient, self.bias_gradient = gradients.get("weight", unused), gradients.get("bias", unused)
        self.running_mean, self.running_variance = tensors["running_mean"], tensors["running_variance"]
        self.running_variance.fill_(1)
        self.inverse_std = tensors["inverse_std"]
        self.eps = tensors["eps"].copy_(self.eps_values[:, None])
        self.fused = backend.triton_kernels() if self.weight.device.type == "cuda" else None

    def forward(self, x: Tensor, training: bool) -> Tensor:
        return self._forward(x.view(len(x), -1, self.features), training).view(x.shape)

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor:
        return self._backward(gradient.reshape(self.centred.shape)).view(gradient.shape)

    def _forward(self, x: Tensor, training: bool) -> Tensor:
        """Of `[R, N, features]`, N examples at all positions."""
        if not training:
            scale = self.weight * (self.running_variance + self.eps).rsqrt()
            shift = self.bias - self.running_mean * scale
            return torch.addcmul(shift[:, None], x, scale[:, None])
        if self.fused is not None:
            self.centred = x
            statistics = self.running_mean, self.running_variance, self.inverse_std
            arrays = self.weight, self.bias, self.eps, BATCH_NORM_MOMENTUM, *statistics
            return self.fused.batch_norm_forward(x, *arrays, torch.empty_like(x))
        batch = x.shape[1]
        mean = x.mean(1)
        self.centred = x.sub_(mean[:, None])
        variance = x.square().mean(1)
        torch.rsqrt(variance + self.eps, out=self.inverse_std)
        self.running_mean.lerp_(mean, BATCH_NORM_MOMENTUM)
        self.running_variance.lerp_(variance * (batch / (batch - 1)), BATCH_NORM_MOMENTUM)
        return torch.addcmul(self.bias[:, None], x, (self.weight * self.inverse_std)[:, None])

    def _backward(self, gradient: Tensor) -> Tensor:
        """dx = γ/σ · (dy − mean(dy) − x̂ · mean(dy·x̂)), with x̂ = centred/σ never formed."""
        if self.fused is not None:
            arrays = self.weight, self.inverse_std, self.weight_gradient, self.bias_gradient
            return self.fused.batch_norm_backward(gradient, self.centred, *arrays)
        total, product = gradient.sum(1), (gradient * self.centred).sum(1) * self.inverse_std
        self.bias_gradient.copy_(total)
        self.weight_gradient.copy_(product)
        scale = self.weight * self.inverse_std
        share = scale / -gradient.shape[1]
        result = torch.addcmul((share * total)[:, None], gradient, scale[:, None])
        return result.addcmul_(self.centred, (share * self.inverse_std * product)[:, None])


class ReLU(Layer):
    """max(x, 0); its gradient at 0 is 0, as in PyTorch."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self.y = x.clamp_min_(0)
        return self.y

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor:
        return torch.ops.aten.threshold_backward.grad_input(gradient, self.y, 0, grad_input=gradient)


class Dropout(Layer):
    """Inverted dropout, as `torch.nn.Dropout`: in training x · 0 or x / (1 − p), p its run's `dropout`, else x.

    May follow a ReLU, whose gradient is zero where the output is: what was dropped has none either way.
    """

    number: int  # among the network's dropouts, from 0
    words: Tensor  # `[R, 3]`, of `dropout.words_of`
    position: Tensor  # `[1]`, the step

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if not training:
            return x
        kernels = backend.triton_kernels() if x.device.type == "cuda" else None
        if kernels is not None:
            self.factors = kernels.dropout(x, self.words, self.position, self.number)
            return x
        self.factors = dropout.factors(self.words, self.position, self.number, x.shape, x.dtype)
        return x.mul_(self.factors)

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor:
        return gradient * self.factors


class Sequential(Layer):
    """Layers one after another."""

    def __init__(self, *children: Layer):
        self.children = children

    def forward(self, x: Tensor, training: bool) -> Tensor:
        for child in self.children:
            x = child.forward(x, training)
        return x

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor | None:
        for child in reversed(self.children[1:]):
            gradient = child.backward(gradient)
        return self.children[0].backward(gradient, input_gradient)


class Residual(Layer):
    """x + body(x) (He et al. 2016). The body must not end in a ReLU: it would overwrite the gradient still needed."""

    def __init__(self, body: Layer):
        self.body, self.children = body, (body,)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        return self.body.forward(x, training).add_(x)

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor:
        return self.body.backward(gradient).add_(gradient)


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b: `[R, N, inputs]`, `[R, outputs, inputs]`, `[R, outputs]` -> `[R, N, outputs]`."""
    transposed = weight.transpose(1, 2)
    return torch.bmm(x, transposed) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, transposed)


def _uniform(shapes: Mapping[str, tuple[int, ...]], fan_in: int, generator: torch.Generator) -> dict[str, Tensor]:
    """U(±1/√fan_in) for weights and biases alike: what PyTorch's linear and convolutional layers start from."""
    bound = 1 / math.sqrt(fan_in)
    return {
        name: torch.empty(shape, **DRAWN).uniform_(-bound, bound, generator=generator) for name, shape in shapes.items()
    }
