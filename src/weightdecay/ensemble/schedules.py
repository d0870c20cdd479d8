"""Schedules: the steps that are measured, and the factor on the learning rate at each step."""

from __future__ import annotations

import math

from weightdecay.run import Run

DROPS = (0.3, 0.6, 0.8)  # of the run, ×0.1 at each: Loshchilov & Hutter's drop-step schedule (epochs 30, 60, 80 of 100)


def multiplier(run: Run, step: int) -> float:
    """Return the factor on the learning rate at a step of the run, counted from 0."""
    done = step / run.steps
    if run.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if run.schedule == "step":
        return 0.1 ** sum(done >= drop for drop in DROPS)
    return 1.0


def log_steps(run: Run) -> dict[int, bool]:
    """Return the steps after which a run is measured, each with whether in full; step 0 is the initialisation.

    A run is measured in full every `log_every` steps and at both ends. Up to `log_dense_until` it is also measured
    every `log_dense_every` steps, but without evaluating the training split, which costs more than everything else.
    """
    dense = range(0, min(run.log_dense_until, run.steps) + 1, run.log_dense_every)
    full = {0, run.steps, *range(0, run.steps + 1, run.log_every)}
    return {step: step in full for step in sorted(full | set(dense))}
