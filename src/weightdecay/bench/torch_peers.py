"""The peers written in PyTorch. A step is what a user would write: forward, backward, `torch.optim`, sums of metrics.

A contestant is built from a case, a number of replicas and a device. `first_steps()` trains `CHECKED_STEPS` steps,
which also warms it up, and returns the loss of replica 0 at the last of them. `train(steps)` trains so many steps and
returns when they are done.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from weightdecay.bench.cases import Case, batches, initial_network
from weightdecay.ensemble import layers
from weightdecay.ensemble.layer import filled
from weightdecay.ensemble.literal import module_of, optimizer_of
from weightdecay.registry import LOSSES

CHECKED_STEPS = 50
Named = dict[str, Tensor]


class TorchPeer:
    """The base of these contestants: the loop over the epoch's batches, and the sums of loss and accuracy."""

    unit = 1  # steps are trained in multiples of this

    def __init__(self, case: Case, replicas: int, device: torch.device):
        self.run, self.replicas, self.device = case.run, replicas, device
        self.objective = LOSSES.get(case.run.loss).literal
        self.batches = [tuple(self._batch(part.to(device)) for part in pair) for pair in batches(case)]
        self.loss_sum = self.correct_sum = torch.zeros((), device=device)
        self.step = 0

    def first_steps(self) -> float:
        self.train(CHECKED_STEPS)
        return self.loss.flatten()[0].item()

    def train(self, steps: int) -> None:
        for _ in range(steps):
            inputs, targets = self.batches[self.step % len(self.batches)]
            self.step += 1
            self.loss, correct = self._update(inputs, targets)
            self.loss_sum = self.loss_sum + self.loss
            self.correct_sum = self.correct_sum + correct
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def _batch(self, part: Tensor) -> Tensor:
        """Return a part `[B, ...]` of a batch in the shape that this contestant takes."""
        return part

    def _update(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Do one step; return its loss and number of right examples, detached from autograd's graph."""
        raise NotImplementedError


class Sequential(TorchPeer):
    """One network trained the usual way. R networks, one after another, take R times as long."""

    def __init__(self, case: Case, replicas: int, device: torch.device, fused: bool | None = None):
        super().__init__(case, 1, device)
        self.model = module_of(initial_network(case, 1), 0, case.run).to(device)
        self.optimizer = optimizer_of([p for p in self.model.parameters() if p.requires_grad], case.run, fused=fused)

    def _update(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        loss, correct = self.objective(self.model(inputs), targets)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), correct


class Vmap(TorchPeer):
    """`torch.func`: the gradient of one functional call, vectorised over stacked parameters; fused optimiser."""

    def __init__(self, case: Case, replicas: int, device: torch.device, compiled: bool = False):
        super().__init__(case, replicas, device)
        network = initial_network(case, replicas)
        models = [module_of(network, replica, case.run) for replica in range(replicas)]
        skeleton = copy.deepcopy(models[0]).to("meta")
        trained = {name for name, parameter in skeleton.named_parameters() if parameter.requires_grad}
        stacked, buffers = torch.func.stack_module_state(models)
        self.trained = {n: p.detach().to(device) for n, p in stacked.items() if n in trained}
        frozen = {n: p.detach().to(device) for n, p in stacked.items() if n not in trained}
        self.constant = frozen, {name: buffer.to(device) for name, buffer in buffers.items()}

        def loss_of(
            parameters: Named, frozen: Named, buffers: Named, inputs: Tensor, targets: Tensor
        ) -> tuple[Tensor, Tensor]:
            outputs = torch.func.functional_call(skeleton, (parameters, frozen, buffers), (inputs,))
            return self.objective(outputs, targets)

        gradients = torch.func.vmap(torch.func.grad_and_value(loss_of, has_aux=True))
        self.gradients = torch.compile(gradients) if compiled else gradients
        self.optimizer = optimizer_of(list(self.trained.values()), case.run, fused=True)

    def _batch(self, part: Tensor) -> Tensor:
        return part.expand(self.replicas, *part.shape).contiguous()

    def _update(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        gradients, (loss, correct) = self.gradients(self.trained, *self.constant, inputs, targets)
        for name, parameter in self.trained.items():
            parameter.grad = gradients[name]
        self.optimizer.step()
        return loss, correct


class Grouped(TorchPeer):
    """All replicas of the CNN as one network of grouped convolutions; the last one spans all positions."""

    def __init__(self, case: Case, replicas: int, device: torch.device):
        super().__init__(case, replicas, device)
        network = initial_network(case, replicas)
        modules = [
            nn.ReLU() if isinstance(layer, layers.ReLU) else self._grouped(layer, before)
            for before, layer in zip((None, *network.children), network.children, strict=False)
        ]
        self.model = nn.Sequential(*modules).to(device)
        self.optimizer = optimizer_of(list(self.model.parameters()), case.run, fused=True)

    def _grouped(self, layer: layers.Linear | layers.Conv1d, before: layers.Layer | None) -> nn.Module:
        outputs = layer.shapes["weight"][0]
        inputs, stride, padding = (
            (layer.inputs, layer.stride, layer.padding) if isinstance(layer, layers.Conv1d) else (self.run.width, 1, 0)
        )
        weight = layer.weight.reshape(self.replicas * outputs, -1, inputs).transpose(1, 2)
        module = nn.Conv1d(
            self.replicas * inputs, self.replicas * outputs, weight.shape[2], stride, padding, groups=self.replicas
        )
        bias = None if layer.bias is None else layer.bias.flatten()
        return filled(module, True, weight=weight, bias=bias)

    def _batch(self, part: Tensor) -> Tensor:
        """Return inputs as `[B, R, positions]`, one channel a replica, and targets as `[B · R]`."""
        if part.dim() == 2:
            return part[:, None].expand(-1, self.replicas, -1).contiguous()
        return part[:, None].expand(-1, self.replicas).flatten()

    def _update(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        outputs = self.model(inputs).view(len(targets), -1)  # [B · R, classes]
        loss = nn.functional.cross_entropy(outputs, targets, reduction="none").view(-1, self.replicas).mean(0)
        loss.sum().backward()
        self.optimizer.step()
        correct = (outputs.argmax(1) == targets).view(-1, self.replicas).sum(0)
        return loss.detach(), correct
