"""SGD and Adam for R networks at once, each with its own learning rate, λ, kind of decay, betas and eps.

Semantics are `torch.optim`'s: `l2` adds λw to the gradient (the `weight_decay` of SGD and Adam), `decoupled` multiplies
the weights by 1 − ηλ before the step (AdamW; for SGD likewise: SGDW of Loshchilov & Hutter with λ in PyTorch's
convention). `torch.optim` itself takes one setting for all parameters. On the CPU each replica's row goes through a
fused kernel (torch's own for SGD), one pass over memory; on a GPU all rows go through one (Triton's), or the same
update is made of operations on `[R, P]`, and what varies by step is read from memory, as a CUDA graph replays it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from weightdecay.ensemble import backend
from weightdecay.ensemble.networks import Stack
from weightdecay.grid import Run


class Optimizer:
    """What SGD and Adam share: state of shape `[R, P]`, and λ for every parameter of every replica."""

    slot_names: tuple[str, ...]
    constant_names: tuple[str, ...]  # beside learning rate and λ: fields of `Run`

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
            one = torch.full((1,), multiplier, dtype=torch.float64, device=self.stack.parameters.device)
            self.update(self.coefficients(self.steps - 1, one)[0])

    def update(self, coefficients: Tensor) -> None:
        """One update of all replicas from `stack.gradients`, by a step's `coefficients` `[C, R]`. For GPUs."""
        if self.stack.parameters.device.type == "cuda" and (kernels := backend.triton_kernels()) is not None:
            self._kernel(kernels)(
                *(self.stack.parameters, self.stack.gradients, *self.slots.values()), coefficients, self.decayed
            )
        else:
            self._vectorised(coefficients)

    def coefficients(self, first: int, multipliers: Tensor) -> Tensor:
        """What the updates of S steps from `first` on (counted from 0) take, `[S, C, R]`: what `_fused` computes.

        `multipliers`: the schedule's, `[S]` in float64, on the stack's device. C begins with l2, which enters the
        gradient, and kept = 1 − ηλ, which multiplies the weights; the rest is what `_move` takes.
        """
        steps = torch.arange(first + 1, first + 1 + len(multipliers), dtype=torch.float64, device=multipliers.device)
        rate = self.constants["learning_rate"] * multipliers[:, None]
        columns = [self.constants["l2"], 1 - rate * self.constants["decoupled"], *self._columns(rate, steps[:, None])]
        return torch.stack(torch.broadcast_tensors(*columns), 1).to(self.stack.parameters.dtype)

    @cached_property
    def constants(self) -> dict[str, Tensor]:
        """Every number of the runs that an update needs, `[R]` in float64 on the stack's device."""
        decays = [0.0 if run.decay == "none" else run.weight_decay for run in self.runs]
        decoupled = [run.decay == "decoupled" for run in self.runs]
        numbers = {
            "l2": [0.0 if apart else decay for decay, apart in zip(decays, decoupled, strict=True)],
            "decoupled": [decay if apart else 0.0 for decay, apart in zip(decays, decoupled, strict=True)],
            **{name: [getattr(run, name) for run in self.runs] for name in ("learning_rate", *self.constant_names)},
        }
        device = self.stack.parameters.device
        return {name: torch.tensor(values, dtype=torch.float64, device=device) for name, values in numbers.items()}

    @property
    def decayed(self) -> int:
        """Columns that λ applies to: a stack's runs agree on that."""
        return self.stack.parameters.shape[1] if self.runs[0].decay_exclude == "nothing" else self.stack.decayed

    def _vectorised(self, coefficients: Tensor) -> None:
        """The update as torch operations on `[R, P]`, on any device; the gradients are used up."""
        l2, kept, *others = coefficients[:, :, None]
        decayed = self.stack.parameters[:, : self.decayed]
        self.stack.gradients[:, : self.decayed].addcmul_(decayed, l2)
        decayed.mul_(kept)
        self._move(self.stack.parameters, self.stack.gradients, *others)

    def _columns(self, rate: Tensor, steps: Tensor) -> list[Tensor]:
        """The coefficients after l2 and kept, each `[S, R]` or `[R]`; `steps` `[S, 1]` counts from 1."""
        raise NotImplementedError

    def _view(self, piece: Tensor) -> Any:
        """A piece of a row in the form that `_fused` takes."""
        raise NotImplementedError

    def _fused(self, run: Run, learning_rate: float, weight_decay: float, *views: Any) -> None:
        raise NotImplementedError

    def _move(self, parameters: Tensor, gradients: Tensor, *coefficients: Tensor) -> None:
        """The update after decay; `coefficients` `[R, 1]` each."""
        raise NotImplementedError

    def _kernel(self, kernels: ModuleType) -> Callable[..., None]:
        """The kernel that does what `_vectorised` does."""
        raise NotImplementedError


class SGD(Optimizer):
    """w ← w − η b with b ← μ b + g, as `torch.optim.SGD` (no dampening, no Nesterov)."""

    slot_names = ("momentum",)
    constant_names = ("momentum",)

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

    def _columns(self, rate, steps):
        return [rate, self.constants["momentum"]]

    def _move(self, parameters, gradients, rate, factor):
        momentum = self.slots["momentum"]
        momentum.mul_(factor).add_(gradients)
        parameters.sub_(rate * momentum)

    def _kernel(self, kernels):
        return kernels.sgd


class Adam(Optimizer):
    """Adam and AdamW with bias correction, as `torch.optim.Adam` and `torch.optim.AdamW`."""

    slot_names = ("first_moment", "second_moment")
    constant_names = ("beta1", "beta2", "eps")

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

    def _columns(self, rate, steps):
        beta1, beta2 = self.constants["beta1"], self.constants["beta2"]
        corrected = rate / (1 - beta1**steps)
        return [corrected, beta1, 1 - beta1, beta2, 1 - beta2, (1 - beta2**steps).rsqrt(), self.constants["eps"]]

    def _move(self, parameters, gradients, rate, beta1, rest1, beta2, rest2, correction, eps):
        first, second = self.slots["first_moment"], self.slots["second_moment"]
        first.mul_(beta1).add_(rest1 * gradients)
        second.mul_(beta2).add_(rest2 * gradients.square())
        parameters.sub_(rate * first / (second.sqrt() * correction + eps))

    def _kernel(self, kernels):
        return kernels.adam


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}


def _pieces(run: Run, decayed: int) -> list[tuple[slice, float]]:
    """Columns of a row and the λ that applies to them."""
    weight_decay = 0.0 if run.decay == "none" else run.weight_decay
    if run.decay_exclude == "nothing":
        return [(slice(None), weight_decay)]
    return [(slice(0, decayed), weight_decay), (slice(decayed, None), 0.0)]
