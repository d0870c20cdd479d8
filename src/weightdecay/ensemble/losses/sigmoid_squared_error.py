"""Squared error of sigmoid outputs: the loss of S1's binary addition."""

import numpy as np
import torch
from torch import Tensor

from weightdecay.ensemble.arithmetic import exponential
from weightdecay.ensemble.checks import require
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.loss import Loss, are_bits
from weightdecay.registry import LOSSES


@LOSSES.register
class SigmoidSquaredError(Loss):
    """Mean of (σ(z) − t)² over batch and bits. An example is right if every bit is, at threshold 1/2 (S1's code)."""

    name = "sigmoid_squared_error"
    classes_from = 1

    @classmethod
    def check_targets(cls, targets: Tensor, split: str) -> None:
        bits = f"loss is {cls.name}, whose targets must be 0 or 1, but those of {split} are not"
        require(bool(are_bits(targets)), bits)

    @staticmethod
    def forward(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        probability = logits.sigmoid()
        error = probability - targets
        count = logits.shape[1] * logits.shape[2]
        loss = error.square().sum((1, 2)) / count
        correct = error.abs().amax(2) < 0.5
        return loss, correct, torch.ops.aten.sigmoid_backward(error.mul_(2 / count), probability)

    @staticmethod
    @compiled
    def loop(logits, targets, gradient):
        number = logits.dtype.type
        one, two, half, count = number(1), number(2), number(0.5), number(logits.size)
        right = np.ones(logits.shape[1], np.bool_)
        total = number(0)
        for k in range(logits.shape[0]):
            for b in range(right.size):
                probability = one / (one + exponential(-logits[k, b]))
                error = probability - targets[k, b]
                total += error * error
                right[b] &= abs(error) < half
                gradient[k, b] = error * (two / count) * (probability * (one - probability))
        return total / count, right.sum()

    @staticmethod
    def literal(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        outputs = torch.sigmoid(outputs)
        right = ((outputs > 0.5) == (targets > 0.5)).all(1).sum()
        return torch.nn.functional.mse_loss(outputs, targets), right
