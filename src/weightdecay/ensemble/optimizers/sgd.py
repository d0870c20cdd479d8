"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weightdecay.ensemble.optimizer import Optimizer
from weightdecay.registry import OPTIMIZERS
from weightdecay.run import Run


@OPTIMIZERS.register
class SGD(Optimizer):
    """w ← w − η b with b ← μ b + g, as `torch.optim.SGD` (no dampening, no Nesterov)."""

    name = "sgd"
    settings = ("momentum",)
    slot_names = ("momentum",)
    coefficient_names = ("rate", "factor")
    torch_decays = ("l2",)

    @staticmethod
    def move(gradient: Any, momentum: Any, rate: Any, factor: Any) -> tuple[Any, ...]:
        momentum = factor * momentum + gradient
        return rate * momentum, momentum

    def own_coefficients(self, rate: Tensor, steps: range) -> list[Tensor]:
        return [rate, self.constants["momentum"]]

    @classmethod
    def literal(cls, groups: list[dict[str, Any]], run: Run, **options: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=run.learning_rate, momentum=run.momentum, **options)
