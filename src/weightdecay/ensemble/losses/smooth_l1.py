"""The smooth L1 loss of a regression (Huber 1964, δ = 1)."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from weightdecay.ensemble.arithmetic import clamped
from weightdecay.ensemble.loss import Pointwise, none_right
from weightdecay.registry import LOSSES


@LOSSES.register
class SmoothL1(Pointwise):
    """Mean over the batch of Σ_k e²/2 where |e| < 1, |e| − 1/2 elsewhere."""

    name = "smooth_l1"
    classes_from = None

    @staticmethod
    def formula(error: Any, number: Callable[[float], Any]) -> tuple[Any, Any]:
        slope = clamped(error, number(1))
        return slope * (error - number(0.5) * slope), slope

    @staticmethod
    def literal(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return smooth_l1_loss(outputs, targets) * targets.shape[1], none_right(outputs).sum()
