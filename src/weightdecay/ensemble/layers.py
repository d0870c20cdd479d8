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

from weightdecay.ensemble import backend

MKL_NARROW = 12


class Layer:
    """One layer of R stacked networks. Leaves list `shapes`; containers list `children`."""

    shapes: Mapping[str, tuple[int, ...]] = MappingProxyType({})
    trained = True  # False: the parameters keep the values they were initialised with
    children: tuple[Layer, ...] = ()

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Parameters of one replica, name -> tensor of `shapes[name]`, as PyTorch's own layer would start."""
        return {}

    def bind(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        """Take the `[R, *shape]` views of the flat parameter and gradient buffers (buffers apart if not `trained`)."""

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

    def __init__(self, inputs: int, outputs: int, bias: bool = True):
        self.inputs = inputs
        self.shapes = {"weight": (outputs, inputs), **({"bias": (outputs,)} if bias else {})}

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        return _uniform(self.shapes, self.inputs, generator)

    def bind(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        self.weight, self.weight_gradient = parameters["weight"], gradients["weight"]
        self.bias, self.bias_gradient = parameters.get("bias"), gradients.get("bias")

    def forward(self, x: Tensor, training: bool) -> Tensor:
        self.x = x
        return _affine(x, self.weight, self.bias)

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor | None:
        torch.bmm(gradient.transpose(1, 2), self.x, out=self.weight_gradient)
        if self.bias is not None:
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
    Weights are `[outputs, kernel · inputs]`; initialisation is `torch.nn.Conv1d`'s. A grouped convolution, the other
    way to keep replicas apart, runs at a third of the speed on a CPU.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0):
        self.inputs, self.outputs = inputs, outputs
        self.kernel, self.stride, self.padding = kernel, stride, padding
        self.shapes = {"weight": (outputs, kernel * inputs), "bias": (outputs,)}

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        return _uniform(self.shapes, self.kernel * self.inputs, generator)

    def bind(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        self.weight, self.weight_gradient = parameters["weight"], gradients["weight"]
        self.bias, self.bias_gradient = parameters["bias"], gradients["bias"]

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
        torch.sum(gradient, 1, out=self.bias_gradient)
        if not input_gradient:
            return None
        windows = torch.bmm(gradient, self.weight).view(replicas, batch, self.positions, self.kernel, self.inputs)
        x = gradient.new_zeros(replicas, batch, self.length + 2 * self.padding, self.inputs)
        for offset in range(self.kernel):
            x[:, :, offset : offset + self.stride * (self.positions - 1) + 1 : self.stride] += windows[:, :, :, offset]
        return x[:, :, self.padding : self.padding + self.length].reshape(replicas, batch, -1)


class BatchNorm(Layer):
    """Batch normalisation over axis 1, each replica with its own eps and running statistics (Ioffe & Szegedy 2015).

    Conventions are `torch.nn.BatchNorm1d`'s: biased variance normalises the batch, unbiased variance enters the
    running average, momentum 0.1.
    """

    def __init__(self, features: int, eps: Tensor, affine: bool = True, momentum: float = 0.1):
        """`eps`: `[R]`, added to the variance. Not `affine`: scale 1 and shift 0 stay."""
        self.shapes = {"weight": (features,), "bias": (features,)}
        self.eps, self.trained, self.momentum = eps, affine, momentum

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        return {"weight": torch.ones(self.shapes["weight"]), "bias": torch.zeros(self.shapes["bias"])}

    def bind(self, parameters: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
        self.weight, self.bias = parameters["weight"], parameters["bias"]
        self.weight_gradient, self.bias_gradient = gradients["weight"], gradients["bias"]
        self.eps = self.eps.to(self.weight)
        self.running_mean = torch.zeros_like(self.weight, memory_format=torch.contiguous_format)
        self.running_variance = torch.ones_like(self.running_mean)
        self.inverse_std = torch.empty_like(self.running_mean)
        self.fused = backend.triton_kernels() if self.weight.device.type == "cuda" else None
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
        if self.fused is not None:
            return self.fused.batch_norm_forward(
                *(x, self.weight, self.bias, self.eps, self.momentum),
                *(self.running_mean, self.running_variance, self.inverse_std, torch.empty_like(x)),
            )
        batch = x.shape[1]
        mean = x.mean(1)
        variance = x.sub_(mean[:, None]).square().mean(1)
        torch.rsqrt(variance + self.eps[:, None], out=self.inverse_std)
        self.running_mean.lerp_(mean, self.momentum)
        self.running_variance.lerp_(variance * (batch / (batch - 1)), self.momentum)
        return torch.addcmul(self.bias[:, None], x, (self.weight * self.inverse_std)[:, None])

    def _backward(self, gradient: Tensor) -> Tensor:
        """dx = γ/σ · (dy − mean(dy) − x̂ · mean(dy·x̂)), with x̂ = centred/σ never formed."""
        if self.fused is not None:
            arrays = self.weight, self.inverse_std, self.weight_gradient, self.bias_gradient
            return self.fused.batch_norm_backward(gradient, self.centred, *arrays)
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


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x Wᵀ + b: `[R, N, inputs]`, `[R, outputs, inputs]`, `[R, outputs]` -> `[R, N, outputs]`.

    With fewer than 12 outputs MKL's product with a transposed matrix rounds by the address of x, and so by the
    replica's place in the stack; with a copy in plain order it does not.
    """
    transposed = weight.transpose(1, 2)
    if weight.shape[1] < MKL_NARROW:
        transposed = transposed.contiguous()
    return torch.bmm(x, transposed) if bias is None else torch.baddbmm(bias.unsqueeze(1), x, transposed)


def _uniform(shapes: Mapping[str, tuple[int, ...]], fan_in: int, generator: torch.Generator) -> dict[str, Tensor]:
    """U(±1/√fan_in) for weights and biases alike: what PyTorch's linear and convolutional layers start from."""
    bound = 1 / math.sqrt(fan_in)
    return {name: torch.empty(shape).uniform_(-bound, bound, generator=generator) for name, shape in shapes.items()}
