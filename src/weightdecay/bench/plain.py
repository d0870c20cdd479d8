"""A case as PyTorch's own modules, with our initial weights: what a newcomer would write, and what the peers train."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from weightdecay.bench.cases import Case
from weightdecay.ensemble import layers
from weightdecay.ensemble.networks import Stack
from weightdecay.ensemble.training import generator_of
from weightdecay.run import Run


def initial_network(case: Case, replicas: int) -> layers.Layer:
    """Our network of that many replicas as it starts, on the CPU: the tree of layers, with `[R, ...]` parameters."""
    runs = case.runs(replicas)
    generators = [generator_of(run.seed, 0) for run in runs]
    return Stack(case.protocol().network(runs), generators, torch.float32, torch.device("cpu")).network


def batches(case: Case) -> list[tuple[Tensor, Tensor]]:
    """The batches of an epoch, `[B, ...]` each, as our trainer cuts them; the classes of cross-entropy as integers."""
    size = case.run.batch_size
    inputs, targets = case.splits()["train"]
    if case.run.loss == "cross_entropy":
        targets = targets.argmax(1)
    full = len(inputs) // size * size
    return list(zip(inputs[:full].split(size), targets[:full].split(size), strict=True))


class Residual(nn.Module):
    """x + body(x)."""

    def __init__(self, body: nn.Module):
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def plain_module(network: layers.Layer, replica: int) -> nn.Module:
    """One replica of our network as a literal module: the same weights, channels first where ours has them last."""
    modules: list[nn.Module] = []
    channels = 0  # of the convolution before, whose activations are [B, channels, positions]
    for layer in network.children if isinstance(network, layers.Sequential) else (network,):
        if isinstance(layer, layers.Residual):
            modules.append(Residual(plain_module(layer.body, replica)))
        elif isinstance(layer, layers.ReLU):
            modules.append(nn.ReLU())
        elif isinstance(layer, layers.BatchNorm):
            modules.append(_batch_norm(layer, replica))
        elif isinstance(layer, layers.Conv1d):
            if not channels:
                modules.append(nn.Unflatten(1, (layer.inputs, -1)))
            modules.append(_convolution(layer, replica))
            channels = layer.outputs
        elif isinstance(layer, layers.Linear):
            if channels:
                modules.append(nn.Flatten())
            modules.append(_linear(layer, replica, channels))
            channels = 0
        else:
            raise TypeError(f"{type(layer).__name__} has no plain counterpart")
    return nn.Sequential(*modules)


def objective(run: Run, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Loss (mean over the batch) and the number of examples classified right, of one network."""
    if run.loss == "cross_entropy":
        return nn.functional.cross_entropy(outputs, targets), (outputs.argmax(1) == targets).sum()
    outputs = torch.sigmoid(outputs)
    right = ((outputs > 0.5) == (targets > 0.5)).all(1).sum()
    return nn.functional.mse_loss(outputs, targets), right


def optimizer(run: Run, parameters: list[Tensor], fused: bool | None) -> torch.optim.Optimizer:
    """`torch.optim`'s own with the settings of the run; `fused` None is its default choice of implementation."""
    common = {"lr": run.learning_rate, "weight_decay": run.weight_decay, "fused": fused}
    if run.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=run.momentum, **common)
    return torch.optim.AdamW(parameters, betas=(run.beta1, run.beta2), eps=run.eps, **common)


def _linear(layer: layers.Linear, replica: int, channels: int) -> nn.Module:
    outputs, inputs = layer.shapes["weight"]
    weight = layer.weight[replica]
    if channels:
        weight = weight.view(outputs, -1, channels).transpose(1, 2).reshape(outputs, inputs)
    module = nn.Linear(inputs, outputs, bias=layer.bias is not None)
    return _filled(module, weight, layer.bias, replica, layer.trained)


def _convolution(layer: layers.Conv1d, replica: int) -> nn.Module:
    module = nn.Conv1d(layer.inputs, layer.outputs, layer.kernel, layer.stride, layer.padding)
    weight = layer.weight[replica].view(layer.outputs, layer.kernel, layer.inputs).transpose(1, 2)
    return _filled(module, weight, layer.bias, replica, layer.trained)


def _batch_norm(layer: layers.BatchNorm, replica: int) -> nn.Module:
    eps = float(layer.eps[replica])
    module = nn.BatchNorm1d(*layer.shapes["weight"], eps=eps, affine=layer.trained)
    return _filled(module, layer.weight[replica], layer.bias, replica, True) if layer.trained else module


def _filled(module: nn.Module, weight: Tensor, bias: Tensor | None, replica: int, trained: bool) -> nn.Module:
    module.weight.data.copy_(weight)
    if bias is not None:
        module.bias.data.copy_(bias[replica])
    return module.requires_grad_(trained)
