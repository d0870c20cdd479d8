"""Which runs of a table train together: the table cut into stacks, the same for every order of its rows.

A checkpoint counts on that. On a GPU the number of replicas in a stack is a function of the runs' shape alone, as
cuBLAS chooses its algorithm, and so the rounding of every result, by that number: stacks that are not full are padded
with runs again, whose results are dropped. A run's result then depends neither on the other runs of its table nor on
the shard that it is in.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

import torch

from weightdecay.registry import NETWORKS
from weightdecay.run import Run

CPU_REPLICAS = 64  # at most: memory, and how often a checkpoint falls between two stacks
GPU_FLOATS = 2**20  # of one layer's activations: enough for every multiprocessor of a large GPU to have work
GPU_REPLICAS = 64, 1024  # at least and at most; sweeps have groups of tens to hundreds, and padding is work for nothing
CNN_REPLICAS = 32  # at least: a step of so many takes an H200 .37 ms, twice that of 128 small MLPs; groups are of 20


def stacks_of(runs: Sequence[Run], device: torch.device) -> list[list[Run]]:
    """The table cut into stacks, on a CPU of about equal size, on a GPU all full but the last of each shape."""
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
    """Replicas of every stack of such runs on a GPU: a power of two, the smaller the larger batch times width.

    A replica takes 16 bytes a parameter (weights, gradients, both moments of Adam) and its data twice over: 8 MiB for
    the network of 290,080 parameters on 5,000 examples of 96 numbers, so half a GiB a stack. The order of
    shuffled batches takes up to 256 MiB more (`GpuProgram.table_rows`).
    """
    least, most = GPU_REPLICAS
    positions = NETWORKS.get(run.network).positions if run.network in NETWORKS.names() else 1
    if positions > 1:
        least = CNN_REPLICAS
    fitting = GPU_FLOATS // (run.batch_size * positions * run.width)
    return max(least, min(most, 1 << max(fitting, 1).bit_length() - 1))


def padded(stack: list[Run], device: torch.device) -> list[Run]:
    """The stack as it is trained: on a GPU followed by its own runs again, up to the number that its shape has."""
    if device.type != "cuda":
        return stack
    full = gpu_replicas(stack[0])
    return (stack * -(-full // len(stack)))[:full]
