"""SGD and Adam for R networks at once, each with its own learning rate, λ, kind of decay, betas and eps.

Semantics are `torch.optim`'s: `l2` adds λw to the gradient (the `weight_decay` of SGD and Adam), `decoupled` multiplies
the weights by 1 − ηλ before the step (AdamW; for SGD likewise: SGDW of Loshchilov & Hutter with λ in PyTorch's
convention). `torch.optim` itself takes one setting for all parameters. On the CPU each replica's row goes through a
fused kernel (torch's own for SGD), one pass over memory; elsewhere the same update is made of operations on `[R, P]`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from weightdecay.ensemble.networks import Stack
from weightdecay.grid import Run


class Optimizer:
    """What SGD and Adam share: state of shape `[R, P]`, and λ for every parameter of every replica."""

    slot_names: tuple[str, ...]

    def __init__(self, stack: Stack, runs: Sequence[Run]):
        """`runs`: one a replica, all with the optimiser of this class."""
        self.stack, self.runs, self.steps = stack, runs, 0
        self.slots = {name: torch.zeros_like(stack.parameters) for name in self.slot_names}
        tensors = (stack.parameters, stack.gradients, *self.slots.values())
        # (run, λ, views of every tensor): a replica's row in one piece, or in two where biases and norms are spared
        self.pieces = [
            (run, weight_decay, [self._view(tensor[replica, columns]) for tensor in tensors])
            for replica, run in enumerate(runs)
            for columns, weight_decay in _pieces(run, stack.decayed)
        ]

    def step(self, multiplier: float) -> None:
        """One update from `stack.gradients`, with every learning rate scaled by the schedule's `multiplier`."""
        self.steps += 1
        if self.stack.parameters.device.type == "cpu":
            for run, weight_decay, views in self.pieces:
                self._fused(run, run.learning_rate * multiplier, weight_decay, *views)
        else:
            self._vectorised(multiplier)

    def _vectorised(self, multiplier: float) -> None:
        """The same update for all replicas, on any device."""
        parameters, gradients = self.stack.parameters, self.stack.gradients
        rate = self._column(run.learning_rate * multiplier for run in self.runs)
        decay = torch.zeros_like(parameters)
        for replica, run in enumerate(self.runs):
            for columns, weight_decay in _pieces(run, self.stack.decayed):
                decay[replica, columns] = weight_decay
        decoupled = self._column(run.decay == "decoupled" for run in self.runs)
        parameters.mul_(1 - rate * decay * decoupled)
        self._move(parameters, gradients + parameters * decay * (1 - decoupled), rate)

    def _column(self, values: Iterable[float]) -> Tensor:
        """Per-replica numbers as `[R, 1]`."""
        like = self.stack.parameters
        return torch.tensor([float(value) for value in values], dtype=like.dtype, device=like.device)[:, None]

    def _view(self, piece: Tensor) -> Any:
        """A piece of a row in the form that `_fused` takes."""
        raise NotImplementedError

    def _fused(self, run: Run, learning_rate: float, weight_decay: float, *views: Any) -> None:
        raise NotImplementedError

    def _move(self, parameters: Tensor, gradients: Tensor, rate: Tensor) -> None:
        raise NotImplementedError


class SGD(Optimizer):
    """w ← w − η b with b ← μ b + g, as `torch.optim.SGD` (no dampening, no Nesterov)."""

    slot_names = ("momentum",)

    def _view(self, piece):
        return [piece]  # torch's kernel takes lists of tensors

    def _fused(self, run, learning_rate, weight_decay, parameters, gradients, momentum):
        if run.decay == "decoupled":
            parameters[0].mul_(1 - learning_rate * weight_decay)
            weight_decay = 0.0
        torch._fused_sgd_(
            parameters,
            gradients,
            momentum if run.momentum else [],
            weight_decay=weight_decay,
            momentum=run.momentum,
            lr=learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
            is_first_step=self.steps == 1,
        )

    def _move(self, parameters, gradients, rate):
        momentum = self.slots["momentum"]
        momentum.mul_(self._column(run.momentum for run in self.runs)).add_(gradients)
        parameters.sub_(rate * momentum)


class Adam(Optimizer):
    """Adam and AdamW with bias correction, as `torch.optim.Adam` and `torch.optim.AdamW`."""

    slot_names = ("first_moment", "second_moment")

    def _view(self, piece):
        return piece.numpy() if piece.device.type == "cpu" else None

    def _fused(self, run, learning_rate, weight_decay, *arrays):
        from weightdecay.ensemble import kernels  # Numba: of no use to a GPU

        decoupled = run.decay == "decoupled"
        scalars = (
            *(0.0 if decoupled else weight_decay, 1 - learning_rate * weight_decay * decoupled),
            learning_rate / (1 - run.beta1**self.steps),
            *(run.beta1, 1 - run.beta1, run.beta2, 1 - run.beta2),
            *(1 / math.sqrt(1 - run.beta2**self.steps), run.eps),
        )
        kernels.adam(*arrays, *map(arrays[0].dtype.type, scalars))

    def _move(self, parameters, gradients, rate):
        beta1 = self._column(run.beta1 for run in self.runs)
        beta2 = self._column(run.beta2 for run in self.runs)
        first, second = self.slots["first_moment"], self.slots["second_moment"]
        first.mul_(beta1).add_((1 - beta1) * gradients)
        second.mul_(beta2).add_((1 - beta2) * gradients.square())
        denominator = (second / (1 - beta2**self.steps)).sqrt_().add_(self._column(run.eps for run in self.runs))
        parameters.sub_(rate / (1 - beta1**self.steps) * first / denominator)


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}


def _pieces(run: Run, decayed: int) -> list[tuple[slice, float]]:
    """Columns of a row and the λ that applies to them."""
    weight_decay = 0.0 if run.decay == "none" else run.weight_decay
    if run.decay_exclude == "nothing":
        return [(slice(None), weight_decay)]
    return [(slice(0, decayed), weight_decay), (slice(decayed, None), 0.0)]
