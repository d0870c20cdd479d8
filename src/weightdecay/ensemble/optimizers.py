"""SGD and Adam for R networks at once, each with its own learning rate, λ, kind of decay, betas and eps.

Semantics are `torch.optim`'s: `l2` adds λw to the gradient (the `weight_decay` of SGD and Adam), `decoupled` multiplies
the weights by 1 − ηλ before the step (AdamW; for SGD likewise: SGDW of Loshchilov & Hutter with λ in PyTorch's
convention). L1 has the same two forms: `l1` adds the subgradient λ sign(w) to the gradient; `proximal_l1` moves every
weight by ηλ towards 0 after the step, and no further (soft thresholding), which gives weights that are exactly 0.
`elastic_net` does so with ηλr, and decays by 1 − ηλ(1 − r), r = `l1_ratio`. `torch.optim` itself takes one setting for
all parameters.

An update is made of coefficients, computed beforehand for many steps, as a CUDA graph and a compiled loop can only read
what varies by step. The update itself is a kernel of one pass over memory, Numba's on a CPU (`loops.update`), Triton's
on a GPU, or torch operations on `[R, P]`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from types import ModuleType

import torch
from torch import Tensor

from weightdecay.ensemble import backend
from weightdecay.ensemble.networks import Stack
from weightdecay.run import Run


class Optimizer:
    """What SGD and Adam share: state of shape `[R, P]`, and λ for every parameter of every replica."""

    slot_names: tuple[str, ...]
    constant_names: tuple[str, ...]  # beside learning rate and λ: fields of `Run`

    def __init__(self, stack: Stack, runs: Sequence[Run]):
        """`runs`: one a replica, all with the optimiser of this class."""
        self.stack, self.runs = stack, runs
        self.slots = {name: torch.zeros_like(stack.parameters) for name in self.slot_names}

    def update(self, coefficients: Tensor) -> None:
        """One update of all replicas from `stack.gradients`, by a step's `coefficients` `[C, R]`. For GPUs."""
        if self.stack.parameters.device.type == "cuda" and (kernels := backend.triton_kernels()) is not None:
            self._kernel(kernels)(
                *(self.stack.parameters, self.stack.gradients, *self.slots.values()), coefficients, self.decayed
            )
        else:
            self._vectorised(coefficients)

    def coefficients(self, first: int, multipliers: Tensor) -> Tensor:
        """What the updates of S steps from `first` on (counted from 0) take, `[S, C, R]`.

        `multipliers`: the schedule's, `[S]` in float64, on the stack's device. C begins with l2, which enters the
        gradient, kept = 1 − ηλ, which multiplies the weights, l1, whose sign(w) enters the gradient, and the threshold
        after the step; the rest is what `_move` takes.
        """
        steps = range(first + 1, first + 1 + len(multipliers))
        rate = self.constants["learning_rate"] * multipliers[:, None]
        decays = [self.constants["l2"], 1 - rate * self.constants["decoupled"]]
        sparse = [self.constants["l1"], rate * self.constants["proximal"]]
        columns = [*decays, *sparse, *self._columns(rate, steps)]
        return torch.stack(torch.broadcast_tensors(*columns), 1).to(self.stack.parameters.dtype)

    @cached_property
    def constants(self) -> dict[str, Tensor]:
        """Every number of the runs that an update needs, `[R]` in float64 on the stack's device."""
        numbers = {
            **{
                name: [shares(run).get(name, 0.0) for run in self.runs]
                for name in ("l2", "decoupled", "l1", "proximal")
            },
            **{name: [getattr(run, name) for run in self.runs] for name in ("learning_rate", *self.constant_names)},
        }
        device = self.stack.parameters.device
        return {name: torch.tensor(values, dtype=torch.float64, device=device) for name, values in numbers.items()}

    @property
    def decayed(self) -> int:
        """Columns that λ applies to: a stack's runs agree on that."""
        return self.stack.parameters.shape[1] if self.runs[0].decay_exclude == "nothing" else self.stack.decayed

    def _vectorised(self, coefficients: Tensor) -> None:
        """The update as torch operations on `[R, P]`, on any device."""
        l2, kept, l1, threshold, *others = coefficients[:, :, None]
        decayed, gradients = self.stack.parameters[:, : self.decayed], self.stack.gradients.clone()
        gradients[:, : self.decayed].addcmul_(decayed, l2).addcmul_(decayed.sign(), l1)
        decayed.mul_(kept)
        self._move(self.stack.parameters, gradients, *others)
        decayed.sub_(decayed.clamp(-threshold, threshold))
        for tensor in (self.stack.parameters, *self.slots.values()):  # subnormal numbers, as a CPU does by itself
            tensor.masked_fill_(tensor.abs() < torch.finfo(tensor.dtype).tiny, 0.0)

    def _columns(self, rate: Tensor, steps: range) -> list[Tensor]:
        """The coefficients after those of decay, each `[S, R]` or `[R]`; `steps` counts from 1."""
        raise NotImplementedError

    def _move(self, parameters: Tensor, gradients: Tensor, *coefficients: Tensor) -> None:
        """The update after decay; `coefficients` `[R, 1]` each."""
        raise NotImplementedError

    def _kernel(self, kernels: ModuleType) -> Callable[..., None]:
        """The kernel that does what `_vectorised` does."""
        raise NotImplementedError


def shares(run: Run) -> dict[str, float]:
    """How much of λ goes which way: `l2` and `l1` into the gradient, `decoupled` before, `proximal` after the step."""
    λ, ratio = run.weight_decay, run.l1_ratio
    return {
        "none": {},
        "proximal_l1": {"proximal": λ},
        "elastic_net": {"proximal": λ * ratio, "decoupled": λ * (1 - ratio)},
    }.get(run.decay, {run.decay: λ})


class SGD(Optimizer):
    """w ← w − η b with b ← μ b + g, as `torch.optim.SGD` (no dampening, no Nesterov)."""

    slot_names = ("momentum",)
    constant_names = ("momentum",)

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

    def _columns(self, rate, steps):
        beta1, beta2 = self.constants["beta1"], self.constants["beta2"]
        first, second = (1 - self._powers(name, steps) for name in ("beta1", "beta2"))
        return [rate / first, beta1, 1 - beta1, beta2, 1 - beta2, 1 / second.sqrt(), self.constants["eps"]]

    def _powers(self, name: str, steps: range) -> Tensor:
        """βᵗ, `[S, R]`, one at a time: torch's vector code rounds it by its place in the tensor."""
        betas = [getattr(run, name) for run in self.runs]
        powers = {beta: [beta**step for step in steps] for beta in set(betas)}
        rows = torch.tensor([powers[beta] for beta in betas], dtype=torch.float64, device=self.stack.parameters.device)
        return rows.T

    def _move(self, parameters, gradients, rate, beta1, rest1, beta2, rest2, correction, eps):
        first, second = self.slots["first_moment"], self.slots["second_moment"]
        first.mul_(beta1).add_(rest1 * gradients)
        second.mul_(beta2).add_(rest2 * gradients.square())
        parameters.sub_(rate * first / (second.sqrt() * correction + eps))

    def _kernel(self, kernels):
        return kernels.adam


OPTIMIZERS: dict[str, type[Optimizer]] = {"sgd": SGD, "adam": Adam}
