"""Losses and accuracies of R networks at once, each with its hand-written gradient.

A run names its loss. A loss is a function `(outputs [R, B, K], targets [R, B, K]) -> (loss [R], correct [R, B],
gradient [R, B, K])`: the mean over the replica's batch, which examples are classified right, and ∂loss/∂outputs.
Where nothing is classified (`classifies`), `correct` has no meaning.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


def sigmoid_squared_error(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean of (σ(z) − t)² over batch and bits; an example is right when every bit is, at threshold 1/2 (S1's code)."""
    probability = logits.sigmoid()
    error = probability - targets
    count = logits.shape[1] * logits.shape[2]
    loss = error.square().sum((1, 2)) / count
    correct = error.abs().amax(2) < 0.5
    return loss, correct, torch.ops.aten.sigmoid_backward(error.mul_(2 / count), probability)


def squared_error(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean over the batch of Σ_k (y_k − t_k)²; right where the largest output is that of the one-hot target's class."""
    batch = outputs.shape[1]
    error = outputs - targets
    largest = outputs == outputs.amax(2, keepdim=True)
    correct = (largest * targets).sum(2) == largest.sum(2)  # in a tie none is right
    loss = error.square().sum((1, 2)) / batch
    return loss, correct, error.mul_(2 / batch)


def cross_entropy(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean over the batch of −log softmax at the one-hot target's class.

    Classes are moved to axis 1: a softmax over a last axis of ten is slow.
    """
    batch = logits.shape[1]
    z, t = logits.transpose(1, 2).contiguous(), targets.transpose(1, 2).contiguous()  # [R, K, B]
    z -= z.amax(1, keepdim=True)
    target, tied = (z * t).sum(1), (z == 0).sum(1)  # in a tie none is right
    exponential = z.exp()
    total = exponential.sum(1, keepdim=True)
    loss = (total.squeeze(1).log() - target).sum(1) / batch
    gradient = exponential.div_(total).sub_(t).div_(batch)
    return loss, (target == 0) & (tied == 1), gradient.transpose(1, 2)


def absolute_error(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean over the batch of Σ_k |y_k − t_k|: the L1 loss of a regression; its gradient at 0 is 0, as in PyTorch."""
    batch = outputs.shape[1]
    error = outputs - targets
    loss = error.abs().sum((1, 2)) / batch
    return loss, torch.zeros_like(error[:, :, 0], dtype=torch.bool), error.sign_().div_(batch)


def smooth_l1(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean over the batch of Σ_k e²/2 where |e| < 1, |e| − 1/2 elsewhere (Huber 1964, δ = 1): of a regression too."""
    batch = outputs.shape[1]
    error = outputs - targets
    slope = error.clamp(-1, 1)
    loss = (slope * (error - slope / 2)).sum((1, 2)) / batch
    return loss, torch.zeros_like(error[:, :, 0], dtype=torch.bool), slope.div_(batch)


def classifies(loss: Loss, outputs: int) -> bool:
    """Whether examples are right or wrong, so that there is an accuracy: not in a regression."""
    return loss in (sigmoid_squared_error, cross_entropy) or (loss is squared_error and outputs > 1)


LOSSES: dict[str, Loss] = {
    loss.__name__: loss for loss in (sigmoid_squared_error, squared_error, cross_entropy, absolute_error, smooth_l1)
}
