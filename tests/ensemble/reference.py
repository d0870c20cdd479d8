"""The literal reference: one network at a time, plain PyTorch modules, `torch.optim`. What the trainer is held to."""

import torch
from torch import nn

from weightdecay.datasets import Splits
from weightdecay.ensemble.schedules import multiplier
from weightdecay.ensemble.training import _generator
from weightdecay.grid import Run


class Block(nn.Module):
    """ReLU(x + BN(Linear(ReLU(BN(Linear(x)))))), without BN when eps is None."""

    def __init__(self, width: int, eps: float | None):
        super().__init__()
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        self.first_norm, self.second_norm = (
            nn.Identity() if eps is None else nn.BatchNorm1d(width, eps=eps) for _ in range(2)
        )

    def forward(self, x):
        return torch.relu(x + self.second_norm(self.second(torch.relu(self.first_norm(self.first(x))))))


def residual_mlp(inputs: int, outputs: int, run: Run) -> nn.Module:
    blocks = [Block(run.width, run.batch_norm_eps) for _ in range(run.blocks)]
    return nn.Sequential(nn.Linear(inputs, run.width), *blocks, nn.Linear(run.width, outputs))


def in_forward_order(model: nn.Module) -> list[nn.Module]:
    """The modules with parameters, in the order in which the forward pass meets them."""
    ordered = []
    for module in model:
        parts = [module]
        if isinstance(module, Block):
            parts = [module.first, module.first_norm, module.second, module.second_norm]
        ordered += [part for part in parts if list(part.parameters())]
    return ordered


def initialise(model: nn.Module, seed: int) -> None:
    """PyTorch's own initialisation of nn.Linear, drawn from the run's generator."""
    generator = _generator(seed, 0)
    with torch.no_grad():
        for module in in_forward_order(model):
            if isinstance(module, nn.Linear):
                for parameter in (module.weight, module.bias):
                    bound = module.in_features**-0.5
                    draw = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
                    parameter.copy_(draw)


def optimizer_of(model: nn.Module, run: Run) -> torch.optim.Optimizer:
    """`torch.optim`'s own; SGD with decoupled decay, which it lacks, is done by hand in `train` from `sgdw`."""
    decay = 0.0 if run.decay == "none" else run.weight_decay
    spared = 0.0 if run.decay_exclude == "bias_and_norm" else decay
    groups = []
    for value, wanted in ((decay, True), (spared, False)):
        parameters = [parameter for parameter in model.parameters() if (parameter.dim() > 1) == wanted]
        by_hand = run.optimizer == "sgd" and run.decay == "decoupled"
        groups.append({"params": parameters, "weight_decay": 0.0 if by_hand else value, "sgdw": value * by_hand})
    if run.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=run.learning_rate, momentum=run.momentum)
    kind = torch.optim.AdamW if run.decay == "decoupled" else torch.optim.Adam
    return kind(groups, lr=run.learning_rate, betas=(run.beta1, run.beta2), eps=run.eps)


def train(run: Run, splits: Splits, dtype: torch.dtype) -> tuple[nn.Module, list[float]]:
    """The trained network and the training loss of every step."""
    inputs, targets = (tensor.to(dtype) for tensor in splits["train"])
    model = residual_mlp(inputs.shape[1], targets.shape[1], run)
    initialise(model, run.seed)
    model.to(dtype)
    optimizer = optimizer_of(model, run)
    epoch_steps = len(inputs) // run.batch_size
    losses = []
    for step in range(run.steps):
        epoch, within = divmod(step, epoch_steps)
        order = torch.arange(len(inputs))
        if run.shuffle:
            order = torch.randperm(len(inputs), generator=_generator(run.seed, 1 + epoch))
        batch = order[within * run.batch_size : (within + 1) * run.batch_size]
        for group in optimizer.param_groups:
            group["lr"] = run.learning_rate * multiplier(run, step)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(torch.sigmoid(model(inputs[batch])), targets[batch])
        loss.backward()
        with torch.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.mul_(1 - group["lr"] * group["sgdw"])
        optimizer.step()
        losses.append(loss.item())
    return model, losses
