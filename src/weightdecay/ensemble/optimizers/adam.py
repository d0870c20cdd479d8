"""Adam. With decoupled decay it is AdamW."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from weightdecay.ensemble.arithmetic import root
from weightdecay.ensemble.optimizer import Optimizer, shares
from weightdecay.registry import OPTIMIZERS
from weightdecay.run import Run


@OPTIMIZERS.register
class Adam(Optimizer):
    """Adam and AdamW with bias correction, as `torch.optim.Adam` and `torch.optim.AdamW`.

    Coefficients: `rest` = 1 − β, `rate` = η / (1 − β₁ᵗ), `correction` = 1 / √(1 − β₂ᵗ).
    """

    name = "adam"
    settings = ("beta1", "beta2", "eps")
    slot_names = ("first_moment", "second_moment")
    coefficient_names = ("rate", "beta1", "rest1", "beta2", "rest2", "correction", "eps")
    torch_decays = ("l2", "decoupled")

    @staticmethod
    def move(
        gradient: Any, first: Any, second: Any, rate: Any, beta1: Any, rest1: Any, beta2: Any, rest2: Any,
        correction: Any, eps: Any,
    ) -> tuple[Any, ...]:  # fmt: skip
        first = beta1 * first + rest1 * gradient
        second = beta2 * second + rest2 * (gradient * gradient)
        return rate * first / (root(second) * correction + eps), first, second

    def own_coefficients(self, rate: Tensor, steps: range) -> list[Tensor]:
        beta1, beta2 = self.constants["beta1"], self.constants["beta2"]
        first, second = (1 - self._powers(name, steps) for name in ("beta1", "beta2"))
        return [rate / first, beta1, 1 - beta1, beta2, 1 - beta2, 1 / second.sqrt(), self.constants["eps"]]

    def _powers(self, name: str, steps: range) -> Tensor:
        """Return βᵗ `[S, R]`, computed one by one: torch's vector code rounds a power by its place in the tensor."""
        betas = [getattr(run, name) for run in self.runs]
        powers = {beta: [beta**step for step in steps] for beta in set(betas)}
        rows = torch.tensor([powers[beta] for beta in betas], dtype=torch.float64, device=self.stack.parameters.device)
        return rows.T

    @classmethod
    def literal(cls, groups: list[dict[str, Any]], run: Run, **options: Any) -> torch.optim.Optimizer:
        kind = torch.optim.AdamW if shares(run).get("decoupled") else torch.optim.Adam
        return kind(groups, lr=run.learning_rate, betas=(run.beta1, run.beta2), eps=run.eps, **options)
