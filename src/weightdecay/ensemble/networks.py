"""Networks as trees of layers, and `Stack`: R of them with all parameters in one `[R, P]` buffer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from weightdecay.ensemble.layers import (
    BatchNorm,
    Conv1d,
    Dropout,
    FrozenLinear,
    Layer,
    Linear,
    ReLU,
    Residual,
    Sequential,
)
from weightdecay.errors import ConfigError

ALIGNMENT = 16  # floats: every tensor starts on a 64-byte line, so a matmul never sees a replica-dependent alignment


def residual_mlp(inputs: int, outputs: int, width: int, blocks: int, batch_norm_eps: Tensor | None) -> Layer:
    """Linear, then `blocks` of ReLU(x + BN(Linear(ReLU(BN(Linear(x)))))), then Linear: logits `[R, B, outputs]`.

    The binary-addition network of S1's code has inputs 64, outputs 32, width 256, blocks 2: 290,080 parameters.
    `batch_norm_eps`: `[R]`, or None for the network without BatchNorm.
    """

    def block() -> list[Layer]:
        norm = [] if batch_norm_eps is None else [BatchNorm(width, batch_norm_eps)]
        also_norm = [] if batch_norm_eps is None else [BatchNorm(width, batch_norm_eps)]
        body = Sequential(Linear(width, width), *norm, ReLU(), Linear(width, width), *also_norm)
        return [Residual(body), ReLU()]

    hidden = [layer for _ in range(blocks) for layer in block()]
    return Sequential(Linear(inputs, width), *hidden, Linear(width, outputs))


def mlp(inputs: int, outputs: int, width: int, hidden: int, dropout: bool = False) -> Layer:
    """`hidden` layers Linear, ReLU (and Dropout) of one width, then Linear: logits `[R, B, outputs]`."""
    sizes = [inputs, *[width] * hidden]
    after_each = (ReLU, Dropout) if dropout else (ReLU,)
    layers = [
        layer
        for before, after in pairwise(sizes)
        for layer in (Linear(before, after), *(make() for make in after_each))
    ]
    return Sequential(*layers, Linear(width, outputs))


KERNELS = 5, 3, 3  # of the notebook's CNN, each with stride 2 and padding 1


def cnn(inputs: int, outputs: int, channels: int) -> Layer:
    """The 1-D CNN of MNIST-1D's notebook: three convolutions, then Linear (25 channels there).

    `inputs`: length of the one-channel signal.
    """
    layers: list[Layer] = []
    for before, kernel in zip((1, channels, channels), KERNELS, strict=True):
        layers += [Conv1d(before, channels, kernel, stride=2, padding=1), ReLU()]
    return Sequential(*layers, Linear(_positions(inputs) * channels, outputs))


def scale_invariant_mlp(
    inputs: int, outputs: int, width: int, hidden: int, batch_norm_eps: Tensor, last_norm: float = 10.0
) -> Layer:
    """An MLP whose trained weights all stand before BatchNorm without affine: the loss does not depend on their norm.

    The last layer is random, of norm `last_norm`, and not trained (Lobacheva et al. 2021). `batch_norm_eps`: `[R]`.
    """
    layers: list[Layer] = []
    for before, after in pairwise([inputs, *[width] * hidden]):
        layers += [Linear(before, after, bias=False), BatchNorm(after, batch_norm_eps, affine=False), ReLU()]
    return Sequential(*layers, FrozenLinear(width, outputs, last_norm))


def scale_invariant_cnn(
    inputs: int, outputs: int, channels: int, batch_norm_eps: Tensor, last_norm: float = 10.0
) -> Layer:
    """`cnn` made scale-invariant in the same way: BatchNorm without affine, over batch and positions."""
    layers: list[Layer] = []
    for before, kernel in zip((1, channels, channels), KERNELS, strict=True):
        convolution = Conv1d(before, channels, kernel, stride=2, padding=1, bias=False)
        layers += [convolution, BatchNorm(channels, batch_norm_eps, affine=False), ReLU()]
    return Sequential(*layers, FrozenLinear(_positions(inputs) * channels, outputs, last_norm))


def _positions(inputs: int) -> int:
    """Positions that the convolutions leave of a signal."""
    for kernel in KERNELS:
        inputs = (inputs + 2 - kernel) // 2 + 1
    return inputs


def leaves(layer: Layer) -> Iterator[Layer]:
    """The layers that hold parameters, in forward order."""
    if layer.shapes:
        yield layer
    for child in layer.children:
        yield from leaves(child)


def dropouts(layer: Layer) -> list[Dropout]:
    """The network's dropouts, in forward order."""
    own = [layer] if isinstance(layer, Dropout) else []
    return own + [found for child in layer.children for found in dropouts(child)]


class Stack:
    """R networks of one shape: `parameters` and `gradients` are `[R, P]`, trained tensors one after another.

    The weight matrices (and kernels) come first, `decayed` floats of each row; biases and normalisation parameters
    follow, so that either the whole row or its beginning is subject to decay. P is padded with zeros.
    """

    def __init__(self, network: Layer, generators: Sequence[torch.Generator], dtype: torch.dtype, device: torch.device):
        """`generators`: one a replica; draws on the CPU, so that every device starts from the same numbers."""
        self.network, self.leaves = network, list(leaves(network))
        self.layout: list[tuple[Layer, str, int]] = []  # (layer, name, offset in the row)
        end = 0
        for matrices in (True, False):
            for layer in self.leaves:
                for name, shape in layer.shapes.items():
                    if layer.trained and (len(shape) > 1) == matrices:
                        self.layout.append((layer, name, end))
                        end += _aligned(shape)
            if matrices:
                self.decayed = end
        replicas = len(generators)
        self.parameters = torch.zeros(replicas, end, dtype=dtype, device=device)
        self.gradients = torch.zeros_like(self.parameters)
        tensors, gradients = {layer: {} for layer in self.leaves}, {layer: {} for layer in self.leaves}
        for layer, name, offset in self.layout:
            tensors[layer][name] = _view(self.parameters, offset, layer.shapes[name])
            gradients[layer][name] = _view(self.gradients, offset, layer.shapes[name])
        self.tensors = [tensors[layer][name] for layer, name, _ in self.layout]
        untrained = [
            (layer, name, shape)
            for layer in self.leaves
            for name, shape in (*(() if layer.trained else layer.shapes.items()), *layer.buffers.items())
        ]
        self.buffers = self.parameters.new_zeros(replicas, sum(_aligned(shape) for _, _, shape in untrained))
        self.offsets = {(layer, name): offset for layer, name, offset in self.layout}
        end = 0
        for layer, name, shape in untrained:
            tensors[layer][name] = _view(self.buffers, end, shape)
            self.offsets[layer, name] = end
            end += _aligned(shape)
        for replica, generator in enumerate(generators):
            for layer in self.leaves:
                drawn = layer.initialise(generator)
                _check_drawn(layer, drawn)
                for name, value in drawn.items():
                    tensors[layer][name][replica] = value.to(dtype)
        for layer in self.leaves:
            layer.bind(tensors[layer], gradients[layer])

    @property
    def parameter_count(self) -> int:
        """Parameters of one network, padding not counted."""
        return sum(tensor[0].numel() for tensor in self.tensors)

    def norms(self) -> tuple[Tensor, Tensor]:
        """`weight_norm` √Σw² over all parameters, and `weight_norm_sum`, the sum of the tensors' L2 norms; `[R]`."""
        square, total = 0.0, 0.0
        for tensor in self.tensors:
            norm = torch.linalg.vector_norm(tensor.flatten(1), dim=1)
            square, total = square + norm.square(), total + norm
        return square.sqrt(), total


def _check_drawn(layer: Layer, drawn: dict[str, Tensor]) -> None:
    """ConfigError for initial parameters that are not the layer's: torch would broadcast them."""
    name, shapes = type(layer).__name__, {key: tuple(value.shape) for key, value in drawn.items()}
    if shapes != dict(layer.shapes):
        raise ConfigError(f"{name}.initialise gives {shapes}, but must give {dict(layer.shapes)}.")
    if not all(value.isfinite().all() for value in drawn.values()):
        raise ConfigError(f"{name}.initialise gives parameters that are not finite.")


def _view(flat: Tensor, offset: int, shape: tuple[int, ...]) -> Tensor:
    """`[R, *shape]` of the rows `[R, P]`."""
    return flat[:, offset : offset + _size(shape)].view(len(flat), *shape)


def _size(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _aligned(shape: tuple[int, ...]) -> int:
    return -(-_size(shape) // ALIGNMENT) * ALIGNMENT
