"""Absolute error: the L1 loss of a regression."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.nn.functional import l1_loss

from weightdecay.ensemble.arithmetic import sign
from weightdecay.ensemble.loss import Pointwise, none_right
from weightdecay.registry import LOSSES


@LOSSES.register
class AbsoluteError(Pointwise):
    """Mean over the batch of Σ_k |y_k − t_k|; its gradient at 0 is 0, as in PyTorch."""

    name = "absolute_error"
    classes_from = None

    @staticmethod
    def formula(error: Any, number: Callable[[float], Any]) -> tuple[Any, Any]:
        return abs(error), sign(error)

    @staticmethod
    def literal(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        return l1_loss(outputs, targets) * targets.shape[1], none_right(outputs).sum()
