"""Checks of what users hand to the trainer: the table of runs, the dtype, and what a protocol measures.

Their data are checked in `data`, and their networks in `structure`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor

from weightdecay.errors import ConfigError
from weightdecay.registry import LOSSES, OPTIMIZERS
from weightdecay.run import PER_REPLICA, Run

DTYPES = torch.float32, torch.float64  # the loops are compiled for these
RESERVED = {*Run.model_fields, "run", "step", "diverged_at"}  # columns of the tables of results


def require(fits: object, sentence: str) -> None:
    """Raise ConfigError with the sentence unless the condition `fits` is true."""
    if not fits:
        raise ConfigError(f"{sentence}.")


def checked_table(runs: Iterable[Run]) -> list[Run]:
    """Return the table as a list of valid runs.

    ConfigError if the table is empty, if a row is not a valid `Run`, or if two rows are the same run.
    """
    table = _valid(list(runs))
    if not table:
        raise ConfigError("the table of runs is empty.")
    seen: dict[str, int] = {}
    for row, run in enumerate(table):
        if seen.setdefault(run.id, row) != row:
            raise ConfigError(f"rows {seen[run.id]} and {row} of the table are the same run, {run.id}.")
    return table


def checked_stack(runs: Sequence[Run], dtype: torch.dtype) -> list[Run]:
    """Return the runs; ConfigError if they cannot be trained as one stack, or not in `dtype`."""
    if not runs:
        raise ConfigError("the stack of runs is empty.")
    runs = _valid(runs)
    other = next((run for run in runs if run.stack_key() != runs[0].stack_key()), None)
    if other is not None:
        shared = [name for name in Run.model_fields if name not in PER_REPLICA]
        unlike = [name for name in shared if getattr(other, name) != getattr(runs[0], name)] or ["batch_norm_eps"]
        raise ConfigError(f"runs of one stack differ in {', '.join(unlike)}, but must have one shape and one program.")
    for registry, name in ((LOSSES, runs[0].loss), (OPTIMIZERS, runs[0].optimizer)):
        registry.get(name)
    if dtype not in DTYPES:
        raise ConfigError(f"dtype is {dtype}, but must be one of {', '.join(map(str, DTYPES))}.")
    return runs


def _valid(runs: Sequence[Run]) -> list[Run]:
    """Return the runs, each made anew so that it is checked: `model_copy` makes runs without a check."""
    made = []
    for row, run in enumerate(runs):
        if not isinstance(run, Run):
            raise ConfigError(f"row {row} of the table is a {type(run).__name__}, but must be a Run.")
        try:
            made.append(Run(**run.__dict__))
        except ConfigError as error:
            raise ConfigError(f"row {row} of the table: {error}") from error
    return made


def check_measured(measured: Mapping[str, Tensor], own: Iterable[str], like: Tensor) -> None:
    """Raise ConfigError unless each of a protocol's measures has a name of its own and one float for each run.

    `own`: the names that the trainer uses itself. `like`: a tensor `[R]` of the type and device that are needed.
    """
    if not isinstance(measured, Mapping):
        raise ConfigError(f"measures gives a {type(measured).__name__}, but must give a dict of tensors [R].")
    taken = RESERVED | set(own)
    for name, values in measured.items():
        if not isinstance(name, str) or name in taken:
            raise ConfigError(f"measures gives {name!r}, which is no name of its own: the results have one of that.")
        if not isinstance(values, Tensor) or not values.is_floating_point() or values.shape != like.shape:
            found = f"{values.dtype} {list(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
            raise ConfigError(f"measures gives {name} as {found}, but must give floats {list(like.shape)}, one a run.")
        if values.device != like.device:
            raise ConfigError(f"measures gives {name} on {values.device}, but the runs are on {like.device}.")
