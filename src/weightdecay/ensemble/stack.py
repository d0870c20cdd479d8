"""A stack: R networks of one shape, with all parameters in one `[R, P]` buffer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from weightdecay.ensemble.layer import Layer
from weightdecay.ensemble.layers.sequential import Sequential
from weightdecay.errors import ConfigError

ALIGNMENT = 16  # floats: every tensor starts on a 64-byte line, so a matmul never sees a replica-dependent alignment


def layers_of(network: Layer) -> Iterator[Layer]:
    """Yield every layer of the tree, containers too, in forward order."""
    yield network
    for child in network.children:
        yield from layers_of(child)


def leaves(network: Layer) -> list[Layer]:
    """Return the layers that hold parameters, in forward order."""
    return [layer for layer in layers_of(network) if layer.shapes]


class Stack:
    """R networks of one shape: `parameters` and `gradients` are `[R, P]`, with one trained tensor after another.

    The weight matrices and kernels come first, in the first `decayed` columns. Biases and normalisation parameters
    follow. So decay applies either to the whole row or to its beginning. P is padded with zeros.
    """

    def __init__(self, network: Layer, generators: Sequence[torch.Generator], dtype: torch.dtype, device: torch.device):
        """`generators`: one for each replica. They draw on the CPU, so that all devices start from the same numbers."""
        self.network, self.leaves = network, leaves(network)
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
        everything = list(layers_of(network))
        tensors: dict[Layer, dict[str, Tensor]] = {layer: {} for layer in everything}
        gradients: dict[Layer, dict[str, Tensor]] = {layer: {} for layer in everything}
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
        numbers = Counter[str]()
        for layer in everything:
            layer.bind(tensors[layer], gradients[layer], numbers[layer.name])
            numbers[layer.name] += 1

    def scale(self, factors: Tensor) -> None:
        """Multiply all parameters of each replica by its factor `[R]`."""
        self.parameters *= factors[:, None]

    def columns(self, part: str) -> list[tuple[int, int]]:
        """Return the columns of `parameters` that belong to a part, as spans from the first to behind the last.

        The part is "all"; "normalised", the weights that feed a BatchNorm; or "others", all but these.
        """
        feeding = {
            layer
            for container in layers_of(self.network)
            if isinstance(container, Sequential)
            for layer, following in pairwise(container.children)
            if following.normalises
        }
        spans: list[tuple[int, int]] = []
        for layer, name, start in self.layout:
            normalised = layer in feeding and len(layer.shapes[name]) > 1
            if part == "all" or normalised == (part == "normalised"):
                end = start + _aligned(layer.shapes[name])
                adjoins = bool(spans) and spans[-1][1] == start
                spans[-1:] = [(spans[-1][0], end)] if adjoins else [*spans[-1:], (start, end)]
        return spans

    def norms(self) -> tuple[Tensor, Tensor]:
        """Return `weight_norm`, √Σw² over all parameters, and `weight_norm_sum`, the sum of the tensors' L2 norms.

        Both are `[R]`.
        """
        square, total = torch.zeros_like(self.parameters[:, 0]), torch.zeros_like(self.parameters[:, 0])
        for tensor in self.tensors:
            norm = torch.linalg.vector_norm(tensor.flatten(1), dim=1)
            square, total = square + norm.square(), total + norm
        return square.sqrt(), total


def _check_drawn(layer: Layer, drawn: dict[str, Tensor]) -> None:
    """Raise ConfigError for initial parameters of wrong names or shapes, which torch would broadcast."""
    name, shapes = type(layer).__name__, {key: tuple(value.shape) for key, value in drawn.items()}
    if shapes != dict(layer.shapes):
        raise ConfigError(f"{name}.initialise gives {shapes}, but must give {dict(layer.shapes)}.")
    if not all(value.isfinite().all() for value in drawn.values()):
        raise ConfigError(f"{name}.initialise gives parameters that are not finite.")


def _view(flat: Tensor, offset: int, shape: tuple[int, ...]) -> Tensor:
    """Return a view `[R, *shape]` of the rows `[R, P]`, from column `offset` on."""
    return flat[:, offset : offset + _size(shape)].view(len(flat), *shape)


def _size(shape: tuple[int, ...]) -> int:
    return torch.Size(shape).numel()


def _aligned(shape: tuple[int, ...]) -> int:
    return -(-_size(shape) // ALIGNMENT) * ALIGNMENT
