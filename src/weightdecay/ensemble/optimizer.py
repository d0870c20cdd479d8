"""The base class of all optimisers, which update R networks, each with its own learning rate, λ and constants.

Decay has the semantics of `torch.optim`. `l2` adds λw to the gradient (the `weight_decay` of SGD and Adam). `decoupled`
multiplies the weights by 1 − ηλ before the step (AdamW; for SGD this is SGDW of Loshchilov & Hutter, with λ in
PyTorch's convention). L1 has the same two forms. `l1` adds the subgradient λ sign(w) to the gradient. `proximal_l1`
moves every weight by ηλ towards 0 after the step, and no further (soft thresholding), so weights become exactly 0.
`elastic_net` does this with ηλr, and decays by 1 − ηλ(1 − r), where r is `l1_ratio`.

The coefficients of an update are computed beforehand for many steps, because a CUDA graph and a compiled loop can only
read what varies by step. Decay is the same for all optimisers. What an optimiser does with a gradient is its `move`,
which serves compiled loops (`loops`) and tensors alike. Where Triton works, a kernel of the optimiser's name, if there
is one, does the whole update in one pass over memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor

from weightdecay.ensemble import backend
from weightdecay.ensemble.stack import Stack
from weightdecay.run import Run

DECAYS = ("l2", "kept", "l1", "threshold")  # the first coefficients of every optimiser


class Optimizer:
    """An optimiser of the networks in a stack. Its state is `[R, P]` for each slot."""

    name: ClassVar[str]
    settings: ClassVar[tuple[str, ...]] = ()  # fields of `Run` that have no effect with other optimisers
    slot_names: ClassVar[tuple[str, ...]] = ()
    coefficient_names: ClassVar[tuple[str, ...]] = ()  # the arguments of `move` after gradient and slots
    torch_decays: ClassVar[tuple[str, ...]] = ()  # the kinds of decay that `literal` does by itself

    def __init__(self, stack: Stack, runs: Sequence[Run]):
        """`runs`: one for each replica, all with this optimiser."""
        self.stack, self.runs = stack, runs
        self.state = stack.parameters.new_zeros(len(self.slot_names), *stack.parameters.shape)  # [S, R, P]
        self.slots = dict(zip(self.slot_names, self.state, strict=True))

    @staticmethod
    def move(gradient: Any, *slots_and_coefficients: Any) -> tuple[Any, ...]:
        """Return the change to subtract from the weights, and the new values of the slots; takes numbers or tensors."""
        raise NotImplementedError

    def own_coefficients(self, rate: Tensor, steps: range) -> list[Tensor]:
        """Return the coefficients in `coefficient_names`, each `[S, R]` or `[R]`.

        `rate` is `[S, R]`, and `steps` count from 1.
        """
        raise NotImplementedError

    @classmethod
    def literal(cls, groups: list[dict[str, Any]], run: Run, **options: Any) -> torch.optim.Optimizer:
        """Return the optimiser of `torch.optim` for these groups of parameters; `options` are passed on to it."""
        raise NotImplementedError

    def update(self, coefficients: Tensor) -> None:
        """Update all replicas once from `stack.gradients`, with a step's `coefficients` `[C, R]`. For GPUs."""
        kernels = backend.triton_kernels(self.name, self.stack.parameters.device)
        if kernels is None:
            self.update_by_operations(coefficients)
        else:
            tensors = self.stack.parameters, self.stack.gradients, *self.state
            kernels.update(*tensors, coefficients, self.decayed)

    def coefficients(self, first: int, multipliers: Tensor) -> Tensor:
        """Return the coefficients `[S, C, R]` of the updates of S steps from step `first` on, counted from 0.

        `multipliers` `[S]`: the schedule's, in float64, on the stack's device. The C coefficients begin with `DECAYS`:
        l2, where l2·w enters the gradient; kept = 1 − ηλ, which multiplies the weights; l1, where l1·sign(w) enters the
        gradient; and the threshold that applies after the step. The optimiser's own coefficients follow.
        """
        steps = range(first + 1, first + 1 + len(multipliers))
        rate = self.constants["learning_rate"] * multipliers[:, None]
        decays = [self.constants["l2"], 1 - rate * self.constants["decoupled"]]
        sparse = [self.constants["l1"], rate * self.constants["proximal"]]
        columns = [*decays, *sparse, *self.own_coefficients(rate, steps)]
        return torch.stack(torch.broadcast_tensors(*columns), 1).to(self.stack.parameters.dtype)

    @cached_property
    def constants(self) -> dict[str, Tensor]:
        """The numbers of the runs that an update needs, each `[R]` in float64 on the stack's device."""
        ways = ("l2", "decoupled", "l1", "proximal")
        numbers = {way: [shares(run).get(way, 0.0) for run in self.runs] for way in ways}
        numbers |= {name: [getattr(run, name) for run in self.runs] for name in ("learning_rate", *self.settings)}
        device = self.stack.parameters.device
        return {name: torch.tensor(values, dtype=torch.float64, device=device) for name, values in numbers.items()}

    @property
    def decayed(self) -> int:
        """The number of columns that λ applies to. All runs of a stack agree on it."""
        return self.stack.parameters.shape[1] if self.runs[0].decay_exclude == "nothing" else self.stack.decayed

    def update_by_operations(self, coefficients: Tensor) -> None:
        """Do the update as torch operations on `[R, P]`, on any device."""
        l2, kept, l1, threshold, *others = coefficients[:, :, None]
        parameters = self.stack.parameters
        decayed, gradients = parameters[:, : self.decayed], self.stack.gradients.clone()
        gradients[:, : self.decayed].addcmul_(decayed, l2).addcmul_(decayed.sign(), l1)
        decayed.mul_(kept)
        change, *slots = self.move(gradients, *self.state, *others)
        parameters.sub_(change)
        for slot, value in zip(self.state, slots, strict=True):
            slot.copy_(value)
        decayed.sub_(decayed.clamp(-threshold, threshold))
        for tensor in (parameters, self.state):  # flush subnormal numbers, as the CPU does by itself
            tensor.masked_fill_(tensor.abs() < torch.finfo(tensor.dtype).tiny, 0.0)


def shares(run: Run) -> dict[str, float]:
    """Return how much of λ acts in which way.

    `l2` and `l1` enter the gradient, `decoupled` acts before the step, and `proximal` after it.
    """
    λ, ratio = run.weight_decay, run.l1_ratio
    return {
        "none": {},
        "proximal_l1": {"proximal": λ},
        "elastic_net": {"proximal": λ * ratio, "decoupled": λ * (1 - ratio)},
    }.get(run.decay, {run.decay: λ})
