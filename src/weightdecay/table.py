"""The table of runs of a configuration at one scale. A row is a `Run`, which is one network to train.

The arguments of computations, which need no training, are here too. Both have a text and a hash, which are the same for
equal tables. Nothing here needs torch, because the pipeline imports it to plan.
"""

import hashlib
import itertools
from collections.abc import Iterator
from typing import Any

from weightdecay.blocks import Block
from weightdecay.config import Config, blocks, scale_of
from weightdecay.run import NO_DECAY, Run, canonical


def table_of(config: Config, scale: str) -> list[Run]:
    """Return every run of a scale once, in the order of the file. A run that is in two sweeps belongs to the first."""
    runs: dict[tuple, Run] = {}  # by settings, as making ids of tens of thousands of runs takes seconds
    for run in _rows(config, scale):
        settings = run.__dict__ | {"sweep": ""}
        runs.setdefault(tuple(settings.values()), run)
    return list(runs.values())


def table_text(runs: list[Run]) -> str:
    """Return the table as sorted JSON lines. Equal tables give equal texts, whatever their order."""
    return "".join(f"{line}\n" for line in sorted(canonical(run.differing()) for run in runs))


def config_hash(runs: list[Run]) -> str:
    """Return the SHA-256 of `table_text`. Every result stores it, and readers check it."""
    return hashlib.sha256(table_text(runs).encode()).hexdigest()


def hash_of(config: Config, scale: str) -> str:
    """Return `config_hash(table_of(config, scale))` in a tenth of the time: the runs of a setting share its text."""
    lines: dict[str, str] = {}  # by settings, as in `table_of`
    for block in blocks(config, scale):
        for run in _settings(block):
            settings = run.differing()
            whole, key = _around_seed(settings), _around_seed(settings | {"sweep": ""})
            for seed in map(str, block.seeds):
                lines.setdefault(seed.join(key), seed.join(whole))
    return hashlib.sha256("".join(f"{line}\n" for line in sorted(lines.values())).encode()).hexdigest()


def _around_seed(settings: dict[str, Any]) -> list[str]:
    """Return the canonical text of settings before and after the number of the seed."""
    mark = "\0"  # no name has this character
    return canonical(settings | {"seed": mark}).split(canonical(mark))


def computations_of(config: Config, scale: str) -> dict[str, str]:
    """Return the arguments of every computation of a scale as JSON, by name. Equal arguments give equal texts."""
    return {name: canonical(arguments) for name, arguments in scale_of(config, scale).computations.items()}


def computation_hashes(config: Config, scale: str) -> dict[str, str]:
    """Return the SHA-256 of every computation of a scale, by name. Its table stores it, and readers check it."""
    return {
        name: hashlib.sha256(f"{config.experiment} {name} {arguments}".encode()).hexdigest()
        for name, arguments in computations_of(config, scale).items()
    }


def _rows(config: Config, scale: str) -> Iterator[Run]:
    """Yield every run of a scale, as often as it is in the file."""
    for block in blocks(config, scale):
        settings = _settings(block)
        for seed in block.seeds:
            for run in settings:
                yield run.model_copy(update={"seed": seed})  # not checked again: that takes three times as long


def _settings(block: Block) -> list[Run]:
    """Return the runs of a block with its first seed."""
    chosen = itertools.product(*block.choices.values())
    return [_copied(block.first, dict(zip(block.choices, one, strict=True))) for one in chosen]


def _copied(run: Run, settings: dict[str, Any]) -> Run:
    """Return a copy with other settings, which have been checked. λ = 0 is spelled in the one way that `Run` has."""
    copy = run.model_copy(update=settings)
    return copy if copy.weight_decay else copy.model_copy(update=NO_DECAY)
