"""The state of R runs in training, which has one form on every device, and the protocol that makes it from rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from weightdecay.datasets import Splits
from weightdecay.ensemble.checks import checked_stack
from weightdecay.ensemble.data import gathered
from weightdecay.ensemble.layer import Layer
from weightdecay.ensemble.philox import words_of
from weightdecay.ensemble.schedules import log_steps
from weightdecay.ensemble.stack import Stack
from weightdecay.ensemble.structure import check_network
from weightdecay.errors import ConfigError, ResultError
from weightdecay.registry import LOSSES, NETWORKS, OPTIMIZERS
from weightdecay.run import Run


@dataclass(frozen=True)
class Protocol:
    """How a row of the table becomes a training problem."""

    splits: Callable[[Run], Splits]  # the run's data, a function of its seed
    # Makes one network for a stack of runs, with per-replica constants as `[R]`. None: the network that the rows name.
    network: Callable[[Sequence[Run]], Layer] | None = None
    # Further measurements at every logged step: name -> `[R]`. The gradients in `ensemble.stack` are those of the last
    # batch, without penalty, at the weights before the last step.
    measures: Callable[[Ensemble], dict[str, Tensor]] = lambda ensemble: {}
    # The number of examples in a row's train split; it differs from `train_size` if that counts examples held out.
    train_examples: Callable[[Run], int] = lambda run: run.train_size

    def built(self, runs: Sequence[Run], inputs: int, outputs: int) -> Layer:
        """Return one network for a stack of runs whose data have so many inputs and outputs."""
        return self.network(runs) if self.network else NETWORKS.get(runs[0].network).build(runs, inputs, outputs)


class Ensemble:
    """R runs of one `stack_key` in training. Everything that changes is in tensors, which can be saved and restored.

    A program advances it (`program.program_of`). Nothing here depends on how the device trains.
    """

    def __init__(self, runs: Sequence[Run], protocol: Protocol, dtype: torch.dtype, device: torch.device):
        """Raise ConfigError for runs, data and networks that cannot be trained or that contradict each other."""
        if not isinstance(protocol, Protocol):
            raise ConfigError(f"protocol is a {type(protocol).__name__}, but must be Protocol(splits).")
        self.runs, self.protocol, self.device = checked_stack(runs, dtype), protocol, device
        self.run = self.runs[0]  # for the settings that all runs of a stack share
        self.loss = LOSSES.get(self.run.loss)
        # Inputs and targets `[U, N, ...]`: replica r has those at index `which[r]`.
        self.data, self.which = gathered(self.runs, protocol.splits, protocol.train_examples, dtype, device)
        self.examples = self.data["train"][0].shape[1]
        inputs, outputs = (part.shape[2] for part in self.data["train"])
        self.classifies = self.loss.classifies(outputs)
        network = protocol.built(self.runs, inputs, outputs)
        check_network(network, self.runs, inputs, outputs)
        self.words = words_of(self.runs, device)
        self.stack = Stack(network, [generator_of(run.seed, 0) for run in self.runs], dtype, device)
        self.stack.scale(torch.tensor([run.init_scale for run in self.runs], dtype=dtype, device=device))
        self.optimizer = OPTIMIZERS.get(self.run.optimizer)(self.stack, self.runs)
        largest = self.optimizer.coefficients(0, torch.ones(1, dtype=torch.float64, device=device))  # the first step's
        if not largest.isfinite().all():
            raise ConfigError(f"learning_rate, weight_decay or a beta makes a step too large for {dtype}.")
        self.epoch_steps = self.examples // self.run.batch_size  # the last, incomplete batch is dropped
        self.log_steps = log_steps(self.run)
        self.step = 0
        zeros = torch.zeros(len(self.runs), dtype=dtype, device=device)
        self.sums = {
            "loss_sum": zeros.clone(),  # over the steps of the current epoch
            "correct_sum": zeros.clone(),
            "finite_steps": zeros.long(),  # steps whose loss was finite: one less than the step of divergence
            "held_norm": torch.full_like(zeros, torch.nan),  # negative: held once it has fallen to the positive value
        }
        if self.run.hold_norm == "saturation" and not self.classifies:
            raise ConfigError("hold_norm is saturation, which is of training accuracy, but a regression has none.")
        self.held_columns = self.stack.columns(self.run.hold_part)
        if not self.held_columns:
            raise ConfigError(f"hold_part is {self.run.hold_part}, but no weights of this network feed a BatchNorm.")
        if self.run.hold_norm == "start":
            self.sums["held_norm"] = self.norm_of_held()
        for replica, run in enumerate(self.runs):
            if run.held_norm is not None:
                self.sums["held_norm"][replica] = -run.held_norm

    def norm_of_held(self) -> Tensor:
        """Return the norm `[R]` of those parameters whose norm may be held."""
        parts = [self.stack.parameters[:, start:end] for start, end in self.held_columns]
        return torch.linalg.vector_norm(torch.cat(parts, 1), dim=1)

    def diverged_at(self) -> list[int | None]:
        """Return for each run the first step, counted from 1, whose loss was not finite; None if there is none."""
        return [None if steps == self.step else steps + 1 for steps in self.sums["finite_steps"].tolist()]

    def tensors(self) -> dict[str, Tensor]:
        """Return every tensor that training changes, by name."""
        stack = {"parameters": self.stack.parameters, "buffers": self.stack.buffers}
        return stack | {f"optimizer.{name}": slot for name, slot in self.optimizer.slots.items()} | self.sums

    def restore(self, step: int, tensors: dict[str, Tensor]) -> None:
        """Take over the values of `tensors()` after `step` steps; ResultError if they belong to other runs."""
        shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in self.tensors().items()}
        if {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()} != shapes:
            raise ResultError("the checkpoint holds tensors of other names or shapes than these runs have: delete it.")
        self.step = step
        for name, tensor in self.tensors().items():
            tensor.copy_(tensors[name])

    def data_order(self, seed: int, epoch: int) -> Tensor:
        """Return the examples in every batch of an epoch, `[epoch_steps, B]`, on the CPU."""
        if self.run.shuffle:
            order = torch.randperm(self.examples, generator=generator_of(seed, 1 + epoch), device="cpu")
        else:
            order = torch.arange(self.examples, device="cpu")
        return order[: self.epoch_steps * self.run.batch_size].view(self.epoch_steps, -1)


def generator_of(seed: int, stream: int) -> torch.Generator:
    """Return a run's own generator on the CPU: stream 0 for its initialisation, 1 + epoch for the order of its data.

    Seed and stream are hashed to 32 bits, because torch's CPU generator ignores the higher bits of a seed.
    """
    return torch.Generator("cpu").manual_seed(int(np.random.SeedSequence([seed, stream]).generate_state(1)[0]))
