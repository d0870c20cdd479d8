"""How fast the trainer is beside plain PyTorch, on the same core, in one run: the binary-addition network, batch 64.

The peers train one network at a time with `torch.optim.AdamW`, in its default and its fused form. All start from the
same weights, see the same batches and sum up loss and accuracy of every step, and times count only if all reach the
same loss. Contestants take turns, so that a machine whose speed drifts does not favour one: quote the ratio.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import nn

from weightdecay.datasets.binary_addition import BITS, binary_addition
from weightdecay.ensemble import backend
from weightdecay.ensemble.losses import sigmoid_squared_error
from weightdecay.ensemble.networks import leaves, residual_mlp
from weightdecay.ensemble.training import Ensemble, Protocol, stacks_of
from weightdecay.grid import Run

WIDTH, BLOCKS, BATCH_NORM_EPS = 256, 2, 1e-2
CHECKED_STEPS, TOLERANCE = 50, 1e-3


class Block(nn.Module):
    """ReLU(x + BN(Linear(ReLU(BN(Linear(x))))))."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.first_norm, self.second_norm = (nn.BatchNorm1d(WIDTH, eps=BATCH_NORM_EPS) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.second_norm(self.second(torch.relu(self.first_norm(self.first(x))))))


class Sequential:
    """One network of S1, trained the usual way."""

    def __init__(self, ensemble: Ensemble, fused: bool | None):
        blocks = [Block() for _ in range(BLOCKS)]
        self.model = nn.Sequential(nn.Linear(2 * BITS, WIDTH), *blocks, nn.Linear(WIDTH, BITS))
        ordered = [self.model[0]]
        for block in blocks:
            ordered += [block.first, block.first_norm, block.second, block.second_norm]
        for module, layer in zip([*ordered, self.model[-1]], leaves(ensemble.stack.network), strict=True):
            module.weight.data.copy_(layer.weight[0].view_as(module.weight))
            module.bias.data.copy_(layer.bias[0].view_as(module.bias))
        run = ensemble.run
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            lr=run.learning_rate,
            betas=(run.beta1, run.beta2),
            eps=run.eps,
            weight_decay=run.weight_decay,
            fused=fused,
        )
        rows = ensemble.epoch_steps * run.batch_size
        inputs, targets = (part[:rows].split(run.batch_size) for part in ensemble.train_rows)
        self.batches, self.step = list(zip(inputs, targets, strict=True)), 0
        self.loss_sum = self.correct_sum = torch.zeros(())

    @torch.enable_grad()
    def advance(self) -> None:
        """One training step."""
        inputs, targets = self.batches[self.step % len(self.batches)]
        self.step += 1
        self.optimizer.zero_grad()
        outputs = torch.sigmoid(self.model(inputs))
        self.loss = nn.functional.mse_loss(outputs, targets)
        self.loss.backward()
        self.optimizer.step()
        self.loss_sum = self.loss_sum + self.loss.detach()
        self.correct_sum = self.correct_sum + ((outputs > 0.5) == (targets > 0.5)).all(1).sum()


def bench(replicas: int | None = None, steps: int = 60, repeats: int = 9) -> str:
    """A table of median ms per replica-step and of the median ratio, repeat by repeat, to the default sequential loop.

    `replicas`: networks in our stack; by default as many as the trainer itself stacks. Raises ArithmeticError when the
    contestants do not compute the same thing.
    """
    cpu = torch.device("cpu")
    runs = [_run(seed) for seed in range(replicas or 60)]
    runs = runs if replicas else stacks_of(runs, cpu)[0]
    protocol = Protocol(lambda run: binary_addition(run.seed), _network, sigmoid_squared_error)
    matmul = backend.choose_matmul()
    with backend.arithmetic(cpu, matmul):
        ensemble = Ensemble(runs, protocol, torch.float32, cpu)
        contestants = {
            "sequential torch.optim.AdamW": Sequential(ensemble, None),
            "sequential torch.optim.AdamW(fused=True)": Sequential(ensemble, True),
            f"weightdecay, {len(runs)} stacked ({matmul})": ensemble,
        }
        _check(contestants)
        times: dict[str, list[float]] = {name: [] for name in contestants}
        for _ in range(repeats):
            for name, contestant in contestants.items():
                count = len(runs) if contestant is ensemble else 1
                times[name].append(_seconds(contestant.advance, steps) / steps / count * 1e3)
    baseline = next(iter(times.values()))
    lines = [f"{'one core, batch 64, 290,080 parameters':<42} {'ms/replica-step':>15} {'speed':>7}"]
    for name, each in times.items():
        ratio = statistics.median(first / own for first, own in zip(baseline, each, strict=True))
        lines.append(f"{name:<42} {statistics.median(each):>15.3f} {ratio:>6.2f}×")
    return "\n".join(lines)


def _run(seed: int) -> Run:
    return Run(
        **{"experiment": "bench", "sweep": "bench", "seed": seed, "dataset": "binary_addition", "train_size": 5000},
        **{"network": "residual_mlp", "width": WIDTH, "blocks": BLOCKS, "batch_norm_eps": BATCH_NORM_EPS},
        **{"loss": "sigmoid_squared_error", "optimizer": "adam", "learning_rate": 1e-3, "beta2": 0.98, "eps": 1e-3},
        **{"decay": "decoupled", "weight_decay": 0.1, "batch_size": 64, "shuffle": False, "steps": 10**6},
        **{"log_every": 10**6, "log_dense_every": 10**6},
    )


def _network(runs: Sequence[Run]):
    return residual_mlp(2 * BITS, BITS, WIDTH, BLOCKS, torch.full((len(runs),), BATCH_NORM_EPS))


def _check(contestants: dict[str, Ensemble | Sequential]) -> None:
    """The loss of the 50th step, the same for all; it also warms up."""
    losses = {}
    for name, contestant in contestants.items():
        for _ in range(CHECKED_STEPS - 1):
            contestant.advance()
        before = contestant.state["loss_sum"].clone() if isinstance(contestant, Ensemble) else None
        contestant.advance()
        last = contestant.loss if before is None else (contestant.state["loss_sum"] - before)[0]
        losses[name] = last.item()
    reference = next(iter(losses.values()))
    for name, loss in losses.items():
        if abs(loss - reference) > TOLERANCE * reference:
            raise ArithmeticError(f"after {CHECKED_STEPS} steps the loss of {name} is {loss:.6f}, not {reference:.6f}")


def _seconds(advance: Callable[[], None], steps: int) -> float:
    start = time.perf_counter()
    for _ in range(steps):
        advance()
    return time.perf_counter() - start
