"""Stacking: a table of runs is cut into stacks, whose runs train together.

The stacks do not depend on the order of the rows, because a checkpoint must find the same stacks again. On a GPU, the
number of replicas in a stack depends on the shape of the runs alone. From this number cuBLAS chooses its algorithm, and
so the rounding of every result. A stack that is not full is padded with copies of its own runs, whose results are
dropped. So a run's result depends neither on the other runs of its table nor on the shard that it is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

import torch

from weightdecay.registry import NETWORKS
from weightdecay.run import Run

CPU_REPLICAS = 64  # at most: more would take more memory, and checkpoints rarely fall between two stacks
GPU_FLOATS = 2**20  # in one layer's activations: enough work for every multiprocessor of a large GPU
GPU_REPLICAS = 64, 1024  # at least and at most: sweeps have groups of tens to hundreds of runs, and padding is wasted
CNN_REPLICAS = 32  # at least: a step of 32 CNNs takes an H200 .37 ms, twice as long as 128 small MLPs; groups have 20


def stacks_of(runs: Sequence[Run], device: torch.device) -> list[list[Run]]:
    """Cut the table into stacks: on a CPU of about equal size, on a GPU all full except the last of each shape."""
    stacks = []
    for _, group in groupby(sorted(runs, key=lambda run: (str(run.stack_key()), run.id)), key=Run.stack_key):
        members = list(group)
        if device.type == "cuda":
            full = gpu_replicas(members[0])
            ends = [*range(0, len(members), full), len(members)]
        else:
            count = -(-len(members) // CPU_REPLICAS)
            ends = [index * len(members) // count for index in range(count + 1)]
        stacks += [members[start:end] for start, end in pairwise(ends)]
    return stacks


def gpu_replicas(run: Run) -> int:
    """Return the number of replicas of a stack on a GPU for runs of this shape: a power of two.

    It falls with batch size times width. A replica takes 16 bytes for each parameter (weights, gradients, both moments
    of Adam) and twice the size of its data. This makes 8 MiB for the network of 290,080 parameters on 5,000 examples of
    96 numbers, and half a GiB for its stack. The order of shuffled batches takes up to 256 MiB more
    (`GpuProgram.table_rows`).
    """
    least, most = GPU_REPLICAS
    positions = NETWORKS.get(run.network).positions if run.network in NETWORKS.names() else 1
    if positions > 1:
        least = CNN_REPLICAS
    fitting = GPU_FLOATS // (run.batch_size * positions * run.width)
    return max(least, min(most, 1 << max(fitting, 1).bit_length() - 1))


def padded(stack: list[Run], device: torch.device) -> list[Run]:
    """Return the stack that is trained: on a GPU, padded with its own runs again to the full number of replicas."""
    if device.type != "cuda":
        return stack
    full = gpu_replicas(stack[0])
    return (stack * -(-full // len(stack)))[:full]
