"""Which steps are measured, and what the learning rate is multiplied by at each step."""

from __future__ import annotations

import math

from weightdecay.run import Run

DROPS = (0.3, 0.6, 0.8)  # of the run, ×0.1 at each: Loshchilov & Hutter's drop-step schedule (epochs 30, 60, 80 of 100)


def multiplier(run: Run, step: int) -> float:
    """Factor on the learning rate at `step` (counted from 0) of `run.steps`."""
    done = step / run.steps
    if run.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    if run.schedule == "step":
        return 0.1 ** sum(done >= drop for drop in DROPS)
    return 1.0


def log_steps(run: Run) -> dict[int, bool]:
    """Steps after which a run is measured -> whether in full; 0 is the initialisation.

    In full every `log_every` steps and at both ends; up to `log_dense_until` also every `log_dense_every` steps, but
    then without an evaluation of the training split, which costs more than all the rest.
    """
    dense = range(0, min(run.log_dense_until, run.steps) + 1, run.log_dense_every)
    full = {0, run.steps, *range(0, run.steps + 1, run.log_every)}
    return {step: step in full for step in sorted(full | set(dense))}
