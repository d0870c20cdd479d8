"""Squared error, for classes or for a regression with one output."""

import numpy as np
from torch import Tensor
from torch.nn.functional import mse_loss

from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.loss import Loss
from weightdecay.registry import LOSSES


@LOSSES.register
class SquaredError(Loss):
    """Mean over the batch of Σ_k (y_k − t_k)². An example is right if the target's output is the largest alone."""

    name = "squared_error"
    classes_from = 2

    @staticmethod
    def forward(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch = outputs.shape[1]
        error = outputs - targets
        largest = outputs == outputs.amax(2, keepdim=True)
        correct = (largest * targets).sum(2) == largest.sum(2)  # a tie counts as wrong
        loss = error.square().sum((1, 2)) / batch
        return loss, correct, error.mul_(2 / batch)

    @staticmethod
    @compiled
    def loop(outputs, targets, gradient):
        number = outputs.dtype.type
        two, batch, total = number(2), number(outputs.shape[1]), number(0)
        largest, target, tied = outputs[0].copy(), np.zeros_like(outputs[0]), np.zeros(outputs.shape[1], np.int32)
        for k in range(outputs.shape[0]):
            for b in range(largest.size):
                error = outputs[k, b] - targets[k, b]
                total += error * error
                gradient[k, b] = error * (two / batch)
                largest[b] = max(largest[b], outputs[k, b])
                target[b] += outputs[k, b] * targets[k, b]
        for k in range(outputs.shape[0]):
            for b in range(largest.size):
                tied[b] += outputs[k, b] == largest[b]
        return total / batch, ((largest == target) & (tied == 1)).sum()

    @staticmethod
    def literal(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        right = (outputs.argmax(1) == targets.argmax(1)).sum()
        return mse_loss(outputs, targets) * targets.shape[1], right
