"""Compiles the CPU's training step during set-up: python -m weightdecay.ensemble.warm_up.

This takes 40 seconds for single precision, in which tables are trained, and as long for double precision, in which some
computations study single updates. Two processes share the work. Otherwise the first training compiles it, and two that
start together both do.
"""

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import torch

from weightdecay.datasets import Split
from weightdecay.ensemble.networks.mlp import mlp
from weightdecay.ensemble.state import Protocol
from weightdecay.ensemble.training import train
from weightdecay.run import Run

RUN = Run(
    **{"experiment": "warm_up", "sweep": "warm_up", "seed": 0, "dataset": "ones", "train_size": 2, "network": "mlp"},
    **{"width": 1, "blocks": 1, "batch_norm_eps": None, "loss": "squared_error", "optimizer": "sgd", "decay": "none"},
    **{"learning_rate": 0.1, "weight_decay": 0.0, "batch_size": 2, "shuffle": False, "steps": 1},
    **{"log_every": 1, "log_dense_every": 1},
)


def compile_step(dtype: torch.dtype) -> None:
    """Train one tiny network for one step, which compiles the loops for `dtype`."""
    ones = torch.ones(2, 1, dtype=torch.float32, device="cpu")
    data = {"train": Split(ones, ones)}
    train([RUN], Protocol(lambda run: data, lambda runs: mlp(1, 1, 1, 1)), "cpu", dtype=dtype)


if __name__ == "__main__":
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
        list(processes.map(compile_step, (torch.float32, torch.float64)))
