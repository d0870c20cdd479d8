"""Losses and accuracies of R networks at once, each with its hand-written gradient.

A loss is a function `(outputs [R, B, K], targets [R, B, K]) -> (loss [R], correct [R, B], gradient [R, B, K])`: the
mean over the replica's batch, which examples are classified right, and ∂loss/∂outputs.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def sigmoid_squared_error(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean of (σ(z) − t)² over batch and bits; an example is right when every bit is, at threshold 1/2 (S1's code)."""
    probability = logits.sigmoid()
    error = probability - targets
    count = logits.shape[1] * logits.shape[2]
    loss = error.square().sum((1, 2)) / count
    correct = error.abs().amax(2) < 0.5
    gradient = error.mul_(2 / count).mul_(probability).mul_(1 - probability)
    return loss, correct, gradient
