"""The table of runs that a configuration asks for at a scale: one row, a `Run`, is one network to train.

Beside it stand the arguments of what needs no training. Both have a text and a hash that are the same for equal tables.
Nothing here needs torch: the pipeline imports it to plan.
"""

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

from weightdecay.config import Config, blocks, scale_of
from weightdecay.run import NO_DECAY, Run, canonical


def table_of(config: Config, scale: str) -> list[Run]:
    """Return every run of a scale once, in the order of the file. Of equal settings in two sweeps the first is kept."""
    runs: dict[tuple, Run] = {}  # by settings: to make ids of tens of thousands of runs takes seconds
    for run in _rows(config, scale):
        settings = run.__dict__ | {"sweep": ""}
        runs.setdefault(tuple(settings.values()), run)
    return list(runs.values())


def table_text(runs: list[Run]) -> str:
    """Return the table as JSON lines, sorted: equal tables are equal texts, whatever the order of the file."""
    return "".join(f"{line}\n" for line in sorted(canonical(run.differing()) for run in runs))


def config_hash(runs: list[Run]) -> str:
    """Return the SHA-256 of `table_text`. Every result stores it, and it is checked when the result is read."""
    return hashlib.sha256(table_text(runs).encode()).hexdigest()


def computations_of(config: Config, scale: str) -> dict[str, str]:
    """Return the arguments of every computation of a scale by its name, as JSON: equal arguments are equal texts."""
    return {name: canonical(arguments) for name, arguments in scale_of(config, scale).computations.items()}


def computation_hashes(config: Config, scale: str) -> dict[str, str]:
    """Return the SHA-256 of every computation of a scale by its name. Its table stores it; readers check it."""
    return {
        name: hashlib.sha256(f"{config.experiment} {name} {arguments}".encode()).hexdigest()
        for name, arguments in computations_of(config, scale).items()
    }


def _rows(config: Config, scale: str) -> Iterator[Run]:
    """Yield every run of a scale, as often as the file asks for it."""
    for block in blocks(config, scale):
        chosen = itertools.product(*block.choices.values())
        settings = [_copied(block.first, dict(zip(block.choices, one, strict=True))) for one in chosen]
        for seed in block.seeds:
            for run in settings:
                yield run.model_copy(update={"seed": seed})  # in a third of the time that checking it takes


def _copied(run: Run, settings: dict[str, Any]) -> Run:
    """Return a copy with other settings, which have been checked, and no decay spelled as `Run` spells it."""
    copy = run.model_copy(update=settings)
    return copy if copy.weight_decay else copy.model_copy(update=NO_DECAY)
