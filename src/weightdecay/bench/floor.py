"""The floor: the time of a step's matrix products and of moving the optimiser's state, which no program can beat.

floor = FLOPs / P + bytes / C, in seconds per replica-step.

- FLOPs: 2 for each multiplication in the product of the forward pass and in both products of the backward pass. The
  gradients of the data and of weights that are not trained do not count.
- P: the best rate of this machine's own library at a large square float32 product, measured within the same minutes on
  one core, or on the GPU in IEEE float32.
- bytes: what the optimiser must read and write: 28 a parameter for AdamW, 20 for SGD with momentum, 12 for SGD without.
- C: the measured bandwidth of copying. On a CPU the bytes count as nothing, as we assume that a network's state (at
  most 4.6 MB here) stays in the caches.

Activations, BatchNorm, the loss and every launch count as nothing. Products in TF32 may beat this floor.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from weightdecay.bench.cases import Case, batches, initial_network
from weightdecay.ensemble import backend
from weightdecay.ensemble.literal import module_of
from weightdecay.registry import LOSSES, OPTIMIZERS
from weightdecay.run import Run

PRODUCT_SIZE = {"cpu": 512, "cuda": 8192}  # a CPU is fastest where the three matrices stay in its caches
COPIED_BYTES = 2**30


@cache
def flops(case: Case) -> int:
    """Return the floating-point operations of one step's matrix products, counted by torch on the literal module."""
    module = module_of(initial_network(case, 1), 0, case.run)
    inputs, targets = batches(case)[0]
    with torch.enable_grad(), FlopCounterMode(display=False) as counter:
        LOSSES.get(case.run.loss).literal(module(inputs), targets)[0].backward()
    return counter.get_total_flops()


def optimizer_bytes(run: Run) -> int:
    """Return the bytes that one update must move for each float32 parameter.

    It reads weight, gradient and state, and writes weight and state.
    """
    unused = run.optimizer == "sgd" and not run.momentum
    return 12 + 8 * (0 if unused else len(OPTIMIZERS.get(run.optimizer).slot_names))


def parameters(case: Case) -> int:
    """Return the number of trained parameters of one network."""
    module = module_of(initial_network(case, 1), 0, case.run)
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def product_rate(device: torch.device) -> float:
    """Return the FLOP/s of a large square product: the best of several, by torch or, on a CPU, also by NumPy."""
    size = PRODUCT_SIZE[device.type]
    with backend.arithmetic(device):
        x, w = torch.randn(2, size, size, device=device)
        seconds = _fastest(lambda: x @ w, device)
        if device.type == "cpu":
            seconds = min(seconds, _fastest(lambda: x.numpy() @ w.numpy(), device))
        return 2 * size**3 / seconds


def copy_bandwidth(device: torch.device) -> float:
    """Return the bytes per second that a large copy reads and writes."""
    source = torch.zeros(COPIED_BYTES // 4, device=device)
    target = torch.zeros_like(source)
    return 2 * COPIED_BYTES / _fastest(lambda: target.copy_(source), device)


def floor_seconds(case: Case, product_rate: float, bandwidth: float | None) -> float:
    """Return the floor of one replica-step in seconds; `bandwidth` None leaves the optimiser out."""
    moved = parameters(case) * optimizer_bytes(case.run) / bandwidth if bandwidth else 0.0
    return flops(case) / product_rate + moved


def clock(device: torch.device) -> Callable[[], float]:
    """Return the clock to measure by: on a CPU it gives the CPU time of the process, all its threads together.

    On one core that is the time on the wall less the time that other processes take.
    """
    return time.process_time if device.type == "cpu" else time.perf_counter


def _fastest(call: Callable[[], object], device: torch.device, repeats: int = 8) -> float:
    now, times = clock(device), []
    for _ in range(repeats + 1):  # the first warms up
        start = now()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(now() - start)
    return min(times[1:])
