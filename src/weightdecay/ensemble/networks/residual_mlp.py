"""The residual MLP with BatchNorm: the network of S1's binary addition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from weightdecay.ensemble import layers
from weightdecay.ensemble.network import NO_DROPOUT, Network, eps_of
from weightdecay.registry import NETWORKS
from weightdecay.run import Run

if TYPE_CHECKING:
    from torch import Tensor


def residual_mlp(inputs: int, outputs: int, width: int, blocks: int, batch_norm_eps: Tensor | None) -> layers.Layer:
    """Return Linear, then `blocks` blocks ReLU(x + BN(Linear(ReLU(BN(Linear(x)))))), then Linear: `[R, B, outputs]`.

    The binary-addition network of S1's code has inputs 64, outputs 32, width 256 and 2 blocks: 290,080 parameters.
    `batch_norm_eps` is `[R]`, or None for a network without BatchNorm.
    """

    def half() -> list[layers.Layer]:
        norm = [] if batch_norm_eps is None else [layers.BatchNorm(width, batch_norm_eps)]
        return [layers.Linear(width, width), *norm]

    hidden: list[layers.Layer] = []
    for _ in range(blocks):
        hidden += [layers.Residual(layers.Sequential(*half(), layers.ReLU(), *half())), layers.ReLU()]
    return layers.Sequential(layers.Linear(inputs, width), *hidden, layers.Linear(width, outputs))


def build(runs: Sequence[Run], inputs: int, outputs: int) -> layers.Layer:
    """Build the network with `blocks` residual blocks, and with BatchNorm if the runs have an eps."""
    eps = None if runs[0].batch_norm_eps is None else eps_of(runs)
    return residual_mlp(inputs, outputs, runs[0].width, runs[0].blocks, eps)


def weights(run: Run) -> int:
    """Estimate the weights that an example meets, for 64 inputs and 32 outputs."""
    return 96 * run.width + 2 * run.blocks * run.width**2


NETWORKS.register(Network("residual_mlp", build, (NO_DROPOUT,), weights))
