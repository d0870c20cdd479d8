"""The base class of all losses. A loss has torch operations, a compiled loop, a literal form and checks of targets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from weightdecay.ensemble.checks import require
from weightdecay.ensemble.compiler import compiled


class Loss:
    """A loss that runs can name. It is a mean over a replica's batch, with a hand-written gradient."""

    name: ClassVar[str]
    # With at least so many outputs the loss classifies: examples are right or wrong, and there is an accuracy. None: a
    # regression.
    classes_from: ClassVar[int | None] = 1

    @classmethod
    def classifies(cls, outputs: int) -> bool:
        """Return whether the loss classifies examples of so many outputs, so that each is right or wrong."""
        return cls.classes_from is not None and outputs >= cls.classes_from

    @classmethod
    def check_targets(cls, targets: Tensor, split: str) -> None:
        """Raise ConfigError if the loss cannot take the targets `[U, N, K]` of a split: classes must be one-hot."""
        one_hot = not cls.classifies(targets.shape[2]) or bool(are_bits(targets) & (targets.sum(2) == 1).all())
        require(
            one_hot,
            f"loss is {cls.name} with {targets.shape[2]} outputs, which counts right answers and so needs one-hot "
            f"targets, but those of {split} are not: for a regression take absolute_error, smooth_l1, or one output",
        )

    @staticmethod
    def forward(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the loss `[R]`, which examples are right `[R, B]`, and ∂loss/∂outputs, from `[R, B, K]`.

        If the loss does not classify, the second has no meaning.
        """
        raise NotImplementedError

    loop: ClassVar[Callable[[Any, Any, Any], tuple[Any, Any]]]
    """Compiled: of outputs and targets `[K, B]` the loss and the number of right examples; the gradient is written."""

    @staticmethod
    def literal_targets(targets: Tensor) -> Tensor:
        """Return the targets `[B, K]` in the form that `literal` takes."""
        return targets

    @staticmethod
    def literal(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of one network and its number of right examples, by PyTorch's own functions."""
        raise NotImplementedError


def are_bits(targets: Tensor) -> Tensor:
    """Return whether all targets are 0 or 1."""
    return ((targets == 0) | (targets == 1)).all()


def none_right(outputs: Tensor) -> Tensor:
    """Return False for every example of the outputs `[..., K]`: in a regression no example counts as right."""
    return torch.zeros_like(outputs[..., 0], dtype=torch.bool)


class Pointwise(Loss):
    """A regression whose loss is the mean over the batch of Σ_k f(y_k − t_k). A subclass gives f as `formula`."""

    classes_from = None

    @staticmethod
    def formula(error: Any, number: Callable[[float], Any]) -> tuple[Any, Any]:
        """Return f and its derivative at an error, which is a number in compiled loops and a tensor elsewhere.

        `number` makes constants of the error's type. A bare constant would turn the result into float64.
        """
        raise NotImplementedError

    @classmethod
    def forward(cls, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        value, slope = cls.formula(outputs - targets, float)
        return value.sum((1, 2)) / outputs.shape[1], none_right(outputs), slope / outputs.shape[1]

    def __init_subclass__(cls) -> None:
        formula = compiled(cls.formula)

        @compiled
        def loop(outputs, targets, gradient):
            number = outputs.dtype.type
            batch, total = number(outputs.shape[1]), number(0)
            for k in range(outputs.shape[0]):
                for b in range(outputs.shape[1]):
                    value, slope = formula(outputs[k, b] - targets[k, b], number)
                    total += value
                    gradient[k, b] = slope / batch
            return total / batch, 0

        cls.loop = staticmethod(loop)
