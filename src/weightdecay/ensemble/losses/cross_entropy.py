"""Cross-entropy of softmax outputs."""

import numpy as np
from torch import Tensor
from torch.nn import functional

from weightdecay.ensemble.arithmetic import exponential, logarithm
from weightdecay.ensemble.checks import require
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.loss import Loss
from weightdecay.registry import LOSSES


@LOSSES.register
class CrossEntropy(Loss):
    """Mean over the batch of −log softmax at the one-hot target's class. A tie counts as wrong."""

    name = "cross_entropy"
    classes_from = 1

    @classmethod
    def check_targets(cls, targets: Tensor, split: str) -> None:
        several = f"loss is {cls.name}, which needs at least 2 outputs, one a class, but there is 1"
        require(targets.shape[2] > 1, several)
        super().check_targets(targets, split)

    @staticmethod
    def forward(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        batch = logits.shape[1]
        # Classes on axis 1, [R, K, B]: a softmax over a last axis of ten is slow.
        z, t = logits.transpose(1, 2).contiguous(), targets.transpose(1, 2).contiguous()
        z -= z.amax(1, keepdim=True)
        target, tied = (z * t).sum(1), (z == 0).sum(1)
        exponential = z.exp()
        total = exponential.sum(1, keepdim=True)
        loss = (total.squeeze(1).log() - target).sum(1) / batch
        gradient = exponential.div_(total).sub_(t).div_(batch)
        return loss, (target == 0) & (tied == 1), gradient.transpose(1, 2)

    @staticmethod
    @compiled
    def loop(logits, targets, gradient):
        number = logits.dtype.type
        classes, batch, total = logits.shape[0], number(logits.shape[1]), number(0)
        largest = logits[0].copy()
        for k in range(1, classes):
            for b in range(largest.size):
                largest[b] = max(largest[b], logits[k, b])
        exponentials, target, tied = np.zeros_like(largest), np.zeros_like(largest), np.zeros(largest.size, np.int32)
        for k in range(classes):
            for b in range(largest.size):
                z = logits[k, b] - largest[b]
                target[b] += z * targets[k, b]
                tied[b] += z == 0
                power = exponential(z)
                gradient[k, b] = power
                exponentials[b] += power
        for b in range(largest.size):
            total += logarithm(exponentials[b]) - target[b]
        for k in range(classes):
            for b in range(largest.size):
                gradient[k, b] = (gradient[k, b] / exponentials[b] - targets[k, b]) / batch
        return total / batch, ((target == 0) & (tied == 1)).sum()

    @staticmethod
    def literal_targets(targets: Tensor) -> Tensor:
        return targets.argmax(1)

    @staticmethod
    def literal(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return functional.cross_entropy(outputs, targets), (outputs.argmax(1) == targets).sum()
