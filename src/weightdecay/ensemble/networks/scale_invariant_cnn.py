"""The 1-D CNN whose loss does not depend on the norm of its weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightdecay.ensemble import layers
from weightdecay.ensemble.network import BATCH_NORM, NO_DROPOUT, THREE_CONVOLUTIONS, Network, eps_of
from weightdecay.ensemble.networks.cnn import KERNELS, positions_after, weights
from weightdecay.registry import NETWORKS
from weightdecay.run import Run

if TYPE_CHECKING:
    from torch import Tensor


def scale_invariant_cnn(
    inputs: int, outputs: int, channels: int, batch_norm_eps: Tensor, last_norm: float = 10.0
) -> layers.Layer:
    """Return `cnn` with BatchNorm, without scale and shift, after every convolution; it is over batch and positions.

    The last layer is random with norm `last_norm`, and not trained. `batch_norm_eps` is `[R]`.
    """
    body: list[layers.Layer] = []
    for before, kernel in zip((1, channels, channels), KERNELS, strict=True):
        convolution = layers.Conv1d(before, channels, kernel, stride=2, padding=1, bias=False)
        body += [convolution, layers.BatchNorm(channels, batch_norm_eps, affine=False), layers.ReLU()]
    return layers.Sequential(*body, layers.FrozenLinear(positions_after(inputs) * channels, outputs, last_norm))


def build(runs: Sequence[Run], inputs: int, outputs: int) -> layers.Layer:
    """Build the CNN with `width` channels."""
    return scale_invariant_cnn(inputs, outputs, runs[0].width, eps_of(runs))


RULES = (BATCH_NORM, NO_DROPOUT, THREE_CONVOLUTIONS)
NETWORKS.register(Network("scale_invariant_cnn", build, RULES, weights, positions=20))
