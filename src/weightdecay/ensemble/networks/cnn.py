"""The 1-D CNN of MNIST-1D's notebook."""

from __future__ import annotations

from collections.abc import Sequence

from weightdecay.ensemble import layers
from weightdecay.ensemble.network import NO_BATCH_NORM, NO_DROPOUT, THREE_CONVOLUTIONS, Network
from weightdecay.registry import NETWORKS
from weightdecay.run import Run

KERNELS = 5, 3, 3  # each with stride 2 and padding 1


def cnn(inputs: int, outputs: int, channels: int) -> layers.Layer:
    """Return three convolutions and then Linear. `inputs`: the length of the one-channel signal.

    The notebook has 25 channels.
    """
    body: list[layers.Layer] = []
    for before, kernel in zip((1, channels, channels), KERNELS, strict=True):
        body += [layers.Conv1d(before, channels, kernel, stride=2, padding=1), layers.ReLU()]
    return layers.Sequential(*body, layers.Linear(positions_after(inputs) * channels, outputs))


def positions_after(inputs: int) -> int:
    """Return how many positions the convolutions leave of a signal of so many inputs."""
    for kernel in KERNELS:
        inputs = (inputs + 2 - kernel) // 2 + 1
    return inputs


def build(runs: Sequence[Run], inputs: int, outputs: int) -> layers.Layer:
    """Build the CNN with `width` channels."""
    return cnn(inputs, outputs, runs[0].width)


def weights(run: Run) -> int:
    """Estimate the weights that an example meets, for signals of 40 numbers."""
    return 2 * (120 * run.width + 45 * run.width**2)


NETWORKS.register(Network("cnn", build, (NO_BATCH_NORM, NO_DROPOUT, THREE_CONVOLUTIONS), weights, positions=20))
