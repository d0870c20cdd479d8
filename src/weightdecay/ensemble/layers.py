"""Layers for R networks at once: every tensor carries a leading replica axis.

Activations are `[R, B, features]`, parameters `[R, ...]`. The backward passes are written by hand: it saves
autograd's bookkeeping, which at batch 64 costs as much as the arithmetic, and writes gradients straight into the
flat buffer the optimiser reads. The tests hold all of them to autograd in float64.

Tensors are handed over, not shared: BatchNorm and ReLU overwrite what they are given, the others leave it alone. A
network begins with one of the others, as its input is the data.

One replica's numbers must not depend on which replicas share the batch. That rules out any reduction across
replicas, and leaves only operations whose order of summation within a replica is fixed by its own shape.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

import torch
from torch import Tensor


class Layer:
    """One layer of R stacked networks. Leaves list `shapes`; containers list `children`."""

    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    children: tuple[Layer, ...] = ()

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Parameters of one replica, name -> tensor of `shapes[name]`, as PyTorch's own layer would start."""
        return {}

    def bind(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        """Take the `[R, *shape]` views of the flat parameter and gradient buffers."""

    def buffers(self) -> dict[str, Tensor]:
        """State that is not trained, `[R, ...]`: saved in checkpoints."""
        return {}

    def forward(self, x: Tensor, training: bool) -> Tensor:
        raise NotImplementedError

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor | None:
        """Store the parameters' gradients; return the input's, or None when it is not asked for."""
        raise NotImplementedError


class Linear(Layer):
    """y = x Wᵀ + b, with `torch.nn.Linear`'s initialisation U(±1/√inputs) for both."""

    def __init__(self, inputs: int, outputs: int):
        self.inputs = inputs
        self.shapes = {"weight": (outputs, inputs), "bias": (outputs,)}

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        bound = 1 / math.sqrt(self.inputs)
        return {
            name: torch.empty(shape).uniform_(-bound, bound, generator=generator) for name, shape in self.shapes.items()
        }

    def bind(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        self.weight, self.weight_gradient = parameters["weight"], gradients["weight"]
        self.bias, self.bias_gradient = parameters["bias"].unsqueeze(1), gradients["bias"]
        self.weight_transposed = self.weight.transpose(1, 2)

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self.x = x
        return torch.baddbmm(self.bias, x, self.weight_transposed)

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor | None:
        torch.bmm(gradient.transpose(1, 2), self.x, out=self.weight_gradient)
        torch.sum(gradient, 1, out=self.bias_gradient)
        return torch.bmm(gradient, self.weight) if input_gradient else None


class BatchNorm(Layer):
    """Batch normalisation over axis 1, each replica with its own eps and running statistics (Ioffe & Szegedy 2015).

    Conventions are `torch.nn.BatchNorm1d`'s: biased variance normalises the batch, unbiased variance enters the
    running average, momentum 0.1.
    """

    def __init__(self, features: int, eps: Tensor, momentum: float = 0.1):
        """`eps`: `[R]`, added to the variance."""
        self.shapes = {"weight": (features,), "bias": (features,)}
        self.eps, self.momentum = eps, momentum

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        return {"weight": torch.ones(self.shapes["weight"]), "bias": torch.zeros(self.shapes["bias"])}

    def bind(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        self.weight, self.bias = parameters["weight"], parameters["bias"]
        self.weight_gradient, self.bias_gradient = gradients["weight"], gradients["bias"]
        self.eps = self.eps.to(self.weight)
        self.running_mean = torch.zeros_like(self.weight, memory_format=torch.contiguous_format)
        self.running_variance = torch.ones_like(self.running_mean)
        self.inverse_std = torch.empty_like(self.running_mean)
        if self.weight.device.type == "cpu":
            from weightdecay.ensemble import kernels  # Numba: half a second, and of no use to a GPU

            self.kernels = kernels
            self.forward_arrays = [
                tensor.numpy()
                for tensor in (
                    self.running_mean,
                    self.running_variance,
                    self.inverse_std,
                    self.weight,
                    self.bias,
                    self.eps,
                )
            ]
            self.gradient_arrays = [tensor.numpy() for tensor in (self.weight_gradient, self.bias_gradient)]

    def buffers(self) -> dict[str, Tensor]:
        return {"running_mean": self.running_mean, "running_variance": self.running_variance}

    def forward(self, x: Tensor, training: bool) -> Tensor:
        if not training:
            scale = self.weight * (self.running_variance + self.eps[:, None]).rsqrt()
            shift = self.bias - self.running_mean * scale
            return torch.addcmul(shift[:, None], x, scale[:, None])
        self.centred = x
        if x.device.type != "cpu":
            return self._forward(x)
        y = torch.empty_like(x)
        mean, variance, inverse_std, weight, bias, eps = self.forward_arrays
        self.kernels.batch_norm_forward(
            x.numpy(), weight, bias, eps, self.momentum, mean, variance, inverse_std, y.numpy()
        )
        return y

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor:
        if gradient.device.type != "cpu":
            return self._backward(gradient)
        _, _, inverse_std, weight, _, _ = self.forward_arrays
        self.kernels.batch_norm_backward(
            gradient.numpy(), self.centred.numpy(), weight, inverse_std, *self.gradient_arrays
        )
        return self.centred

    def _forward(self, x: Tensor) -> Tensor:
        """What the kernel does, as torch operations: `x` becomes x − mean, and is kept as `centred`."""
        batch = x.shape[1]
        mean = x.mean(1)
        variance = x.sub_(mean[:, None]).square().mean(1)
        torch.rsqrt(variance + self.eps[:, None], out=self.inverse_std)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_variance.lerp_(variance * (batch / (batch - 1)), self.momentum)
        return torch.addcmul(self.bias[:, None], x, (self.weight * self.inverse_std)[:, None])

    def _backward(self, gradient: Tensor) -> Tensor:
        """dx = γ/σ · (dy − mean(dy) − x̂ · mean(dy·x̂)), with x̂ = centred/σ never formed."""
        self.bias_gradient.copy_(gradient.sum(1))
        self.weight_gradient.copy_((gradient * self.centred).sum(1) * self.inverse_std)
        scale = self.weight * self.inverse_std
        share = scale / -gradient.shape[1]
        result = torch.addcmul((share * self.bias_gradient)[:, None], gradient, scale[:, None])
        return result.addcmul_(self.centred, (share * self.inverse_std * self.weight_gradient)[:, None])


class ReLU(Layer):
    """max(x, 0); its gradient at 0 is 0, as in PyTorch."""

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self.y = x.clamp_min_(0)
        return self.y

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor:
        return torch.ops.aten.threshold_backward.grad_input(gradient, self.y, 0, grad_input=gradient)


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
