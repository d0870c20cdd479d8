"""The MLP whose loss does not depend on the norm of its weights (Lobacheva et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from weightdecay.ensemble import layers
from weightdecay.ensemble.network import BATCH_NORM, HIDDEN_LAYERS, NO_DROPOUT, Network, eps_of
from weightdecay.ensemble.networks.mlp import weights
from weightdecay.registry import NETWORKS
from weightdecay.run import Run

if TYPE_CHECKING:
    from torch import Tensor


def scale_invariant_mlp(
    inputs: int, outputs: int, width: int, hidden: int, batch_norm_eps: Tensor, last_norm: float = 10.0
) -> layers.Layer:
    """Return an MLP in which BatchNorm, without scale and shift, follows every trained layer.

    The last layer is random with norm `last_norm`, and not trained. `batch_norm_eps` is `[R]`.
    """
    body: list[layers.Layer] = []
    for before, after in pairwise([inputs, *[width] * hidden]):
        norm = layers.BatchNorm(after, batch_norm_eps, affine=False)
        body += [layers.Linear(before, after, bias=False), norm, layers.ReLU()]
    return layers.Sequential(*body, layers.FrozenLinear(width, outputs, last_norm))


def build(runs: Sequence[Run], inputs: int, outputs: int) -> layers.Layer:
    """Build an MLP of `blocks` hidden layers."""
    return scale_invariant_mlp(inputs, outputs, runs[0].width, runs[0].blocks, eps_of(runs))


NETWORKS.register(Network("scale_invariant_mlp", build, (BATCH_NORM, NO_DROPOUT, HIDDEN_LAYERS), weights))
