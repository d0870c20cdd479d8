"""The contestant that is ours: one of the stacks that the trainer makes of R runs, advanced as the trainer does."""

from __future__ import annotations

import torch

from weightdecay.bench.cases import Case
from weightdecay.bench.torch_peers import CHECKED_STEPS
from weightdecay.ensemble import backend
from weightdecay.ensemble.training import NARROW, Ensemble, stacks_of


class Trainer:
    """A contestant as in `torch_peers`. The trainer trains stack after stack, so one stack's speed is that of all."""

    unit = 1

    def __init__(self, case: Case, replicas: int, device: torch.device):
        runs = next(stack for stack in stacks_of(case.runs(replicas), device) if any(run.seed == 0 for run in stack))
        self.first = [run.seed for run in runs].index(0)
        self.replicas, self.device = len(runs), device
        self.matmul = backend.choose_matmul() if case.run.width >= NARROW else "mkl"
        with backend.arithmetic(device, self.matmul):
            self.ensemble = Ensemble(runs, case.protocol(), torch.float32, device)

    def first_steps(self) -> float:
        self.train(CHECKED_STEPS - 1)
        before = self.ensemble.state["loss_sum"][self.first].item()
        self.train(1)
        return self.ensemble.state["loss_sum"][self.first].item() - before

    def train(self, steps: int) -> None:
        with backend.arithmetic(self.device, self.matmul):
            for _ in range(steps):
                self.ensemble.advance()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def update(self, steps: int) -> None:
        """The optimiser alone, on the gradients that happen to be there."""
        with backend.arithmetic(self.device, self.matmul):
            for _ in range(steps):
                self.ensemble.optimizer.step(1.0)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
