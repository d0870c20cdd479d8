"""The literal reference: one network at a time, as PyTorch's modules, `torch.optim` and a plain loop over batches.

This is what a newcomer would write. The tests compare the trainer with it, and the benchmark's peers are built from it.
Each layer, loss and optimiser has its own literal form. `trained` adds the kinds of decay that `torch.optim` lacks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from weightdecay.datasets import Splits
from weightdecay.ensemble.layer import Layer
from weightdecay.ensemble.optimizer import shares
from weightdecay.ensemble.schedules import multiplier
from weightdecay.ensemble.state import Ensemble, Protocol, generator_of
from weightdecay.registry import LOSSES, OPTIMIZERS
from weightdecay.run import Run


def initial(protocol: Protocol, run: Run, dtype: torch.dtype = torch.float32) -> nn.Module:
    """Return the run's network before training."""
    ensemble = Ensemble([run], protocol, dtype, torch.device("cpu"))
    return module_of(ensemble.stack.network, 0, run)


def module_of(network: Layer, replica: int, run: Run) -> nn.Module:
    """Return one replica of a stack's network, with its present weights and running statistics; `run` is its row."""
    modules, _ = network.literal(replica, 0, run)
    return nn.Sequential(*modules)


def optimizer_of(parameters: Sequence[Tensor], run: Run, **options: Any) -> torch.optim.Optimizer:
    """Return `torch.optim`'s optimiser for these parameters, in groups with and without decay.

    The entry `by_hand` of a group holds the kinds of decay that this optimiser lacks, each with its λ. `_decay` applies
    them.
    """
    kind, everything, groups = OPTIMIZERS.get(run.optimizer), run.decay_exclude == "nothing", []
    decayed, spared = (
        [parameter for parameter in parameters if (everything or parameter.dim() > 1) == decays]
        for decays in (True, False)
    )
    for members, way in ((decayed, shares(run)), (spared, {})):
        own = sum(way.get(name, 0.0) for name in kind.torch_decays)
        by_hand = {name: λ for name, λ in way.items() if name not in kind.torch_decays}
        groups.append({"params": members, "weight_decay": own, "by_hand": by_hand})
    return kind.literal([group for group in groups if group["params"]], run, **options)


def train(run: Run, protocol: Protocol, dtype: torch.dtype = torch.float32) -> tuple[nn.Module, list[float]]:
    """Train the run; return its network and the training loss of every step."""
    return trained(initial(protocol, run, dtype), run, protocol.splits(run), dtype)


def trained(module: nn.Module, run: Run, splits: Splits, dtype: torch.dtype) -> tuple[nn.Module, list[float]]:
    """Train a module; return it and the training loss of every step."""
    loss_of = LOSSES.get(run.loss)
    optimizer = optimizer_of([parameter for parameter in module.parameters() if parameter.requires_grad], run)
    inputs, targets = (part.to(dtype) for part in splits["train"])
    epoch_steps, losses = len(inputs) // run.batch_size, []
    for step in range(run.steps):
        epoch, within = divmod(step, epoch_steps)
        order = torch.arange(len(inputs))
        if run.shuffle:
            order = torch.randperm(len(inputs), generator=generator_of(run.seed, 1 + epoch))
        batch = order[within * run.batch_size : (within + 1) * run.batch_size]
        for group in optimizer.param_groups:
            group["lr"] = run.learning_rate * multiplier(run, step)
        optimizer.zero_grad()
        loss, _ = loss_of.literal(module(inputs[batch]), loss_of.literal_targets(targets[batch]))
        loss.backward()
        _decay(optimizer, before=True)
        optimizer.step()
        _decay(optimizer, before=False)
        losses.append(loss.item())
    return module, losses


@torch.no_grad()
def _decay(optimizer: torch.optim.Optimizer, before: bool) -> None:
    """Apply the decay that `torch.optim` lacks: the part that acts `before` a step, or the part that acts after it."""
    for group in optimizer.param_groups:
        λ: dict[str, float] = group["by_hand"]
        for parameter in group["params"]:
            if before:
                parameter.grad += λ.get("l2", 0.0) * parameter + λ.get("l1", 0.0) * parameter.sign()
                parameter.mul_(1 - group["lr"] * λ.get("decoupled", 0.0))
            elif "proximal" in λ:
                parameter.copy_(nn.functional.softshrink(parameter, group["lr"] * λ["proximal"]))
