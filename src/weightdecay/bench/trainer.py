"""Our contestant: one of the stacks that the trainer makes of R runs, advanced as the trainer advances it."""

from __future__ import annotations

from functools import partial

import torch

from weightdecay.bench.cases import Case
from weightdecay.bench.torch_peers import CHECKED_STEPS
from weightdecay.ensemble import backend
from weightdecay.ensemble.program import program_of
from weightdecay.ensemble.stacking import padded, stacks_of
from weightdecay.ensemble.state import Ensemble
from weightdecay.setting_types import Precision


class Trainer:
    """A contestant as in `torch_peers`. The trainer trains stack after stack, so one stack's speed is that of all."""

    unit = 1

    def __init__(self, case: Case, replicas: int, device: torch.device, precision: Precision = "float32"):
        backend.check_precision(precision, device)
        runs = next(stack for stack in stacks_of(case.runs(replicas), device) if any(run.seed == 0 for run in stack))
        self.first = [run.seed for run in runs].index(0)
        self.replicas, self.device = len(runs), device
        self.arithmetic = partial(backend.arithmetic, device, precision)
        with self.arithmetic():
            self.program = program_of(Ensemble(padded(runs, device), case.protocol(), torch.float32, device))

    def first_steps(self) -> float:
        self.train(CHECKED_STEPS - 1)
        losses = self.program.ensemble.sums["loss_sum"]
        before = losses[self.first].item()
        self.train(1)
        return losses[self.first].item() - before

    def train(self, steps: int) -> None:
        with self.arithmetic():
            for _ in range(steps // self.program.at_once):
                self.program.advance(self.program.at_once)
            self.program.advance(steps % self.program.at_once)
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def update(self, steps: int) -> None:
        """Run the optimiser alone for so many steps, on the gradients of the last training step."""
        optimizer = self.program.ensemble.optimizer
        one = torch.ones(1, dtype=torch.float64, device=self.device)
        with self.arithmetic():
            coefficients = optimizer.coefficients(0, one)[0]
            for _ in range(steps):
                optimizer.update(coefficients)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
