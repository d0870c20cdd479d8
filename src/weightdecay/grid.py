"""From an experiment's config.yaml to its table of runs, and from the table to shards.

One row of the table, a `Run`, is one network to train. Nothing here needs torch: the pipeline imports it to plan.
"""

import hashlib
import itertools
import math
from collections.abc import Iterable, Iterator

from weightdecay.config import SCALES, Block, Config, Criterion, Scale, ScaleName, blocks, load_config, scale_of
from weightdecay.errors import ConfigError
from weightdecay.run import PER_REPLICA, SATURATED, SET, Run, canonical

__all__ = [
    "PER_REPLICA",
    "SATURATED",
    "SCALES",
    "Block",
    "Config",
    "Criterion",
    "Run",
    "Scale",
    "ScaleName",
    "computation_hashes",
    "computations",
    "config_hash",
    "in_order",
    "in_words",
    "load_config",
    "shards",
    "table",
    "table_text",
]


def in_order(scales: Iterable[str]) -> list[str]:
    """Each of these scales once, the smallest first."""
    return sorted(set(scales), key=SCALES.index)


def in_words(scales: Iterable[str]) -> str:
    """The same as text: "laptop and paper"."""
    return " and ".join(in_order(scales))


def table(config: Config, scale: str) -> list[Run]:
    """Every run of a scale, once, in the order of the file; of equal settings in two sweeps the first is kept."""
    runs: dict[tuple, Run] = {}  # by settings: to make ids of tens of thousands of runs takes seconds
    for run in _rows(config, scale):
        settings = run.__dict__ | {"sweep": ""}
        runs.setdefault(tuple(settings.values()), run)
    return list(runs.values())


def shards(runs: list[Run], count: int) -> list[list[Run]]:
    """The table cut into `count` parts of about equal cost (fewer if there are fewer runs), none of them empty.

    Runs that can share a stack stay together in pieces of a third of a fair share; the pieces are dealt out, the
    costliest first, each to the part that has least so far. The number of cores plays no part.
    """
    if count < 1:
        raise ConfigError(f"the number of shards is {count}, but must be at least 1.")
    count = min(count, len(runs))
    groups: dict[tuple, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.stack_key(), []).append(run)
    share = _cost(runs) / count
    pieces = []
    for group in groups.values():
        pieces += _cut(group, math.ceil(3 * _cost(group) / share))
    while len(pieces) < count:
        longest = max(pieces, key=len)
        pieces.remove(longest)
        pieces += _cut(longest, 2)
    parts: list[list[Run]] = [[] for _ in range(count)]
    costs = [0.0] * count
    for piece in sorted(pieces, key=_cost, reverse=True):
        least = costs.index(min(costs))
        parts[least].extend(piece)
        costs[least] = _cost(parts[least])
    return parts


def table_text(runs: list[Run]) -> str:
    """The table as JSON lines: canonical, so equal tables are equal texts, whatever the order of the file."""
    return "".join(f"{line}\n" for line in sorted(canonical(run.model_dump(**SET)) for run in runs))


def config_hash(runs: list[Run]) -> str:
    """SHA-256 of `table_text`: stored in every result and checked when it is read."""
    return hashlib.sha256(table_text(runs).encode()).hexdigest()


def computations(config: Config, scale: str) -> dict[str, str]:
    """Name of every computation of a scale -> its arguments as JSON: canonical, so equal arguments are equal texts."""
    return {name: canonical(arguments) for name, arguments in scale_of(config, scale).computations.items()}


def computation_hashes(config: Config, scale: str) -> dict[str, str]:
    """Name of every computation of a scale -> SHA-256 of what is computed: stored in the table, checked when read."""
    return {
        name: hashlib.sha256(f"{config.experiment} {name} {arguments}".encode()).hexdigest()
        for name, arguments in computations(config, scale).items()
    }


def _cost(runs: list[Run]) -> float:
    return sum(run.cost() for run in runs)


def _cut(runs: list[Run], count: int) -> list[list[Run]]:
    """`count` pieces of equal length, or of one run each where there are not as many."""
    count = min(count, len(runs))
    ends = [index * len(runs) // count for index in range(count + 1)]
    return [runs[start:end] for start, end in itertools.pairwise(ends)]


def _rows(config: Config, scale: str) -> Iterator[Run]:
    """Every run of a scale, as often as the file asks for it."""
    for seeds, first, allowed in blocks(config, scale):
        choices = itertools.product(*allowed.values())
        settings = [first.model_copy(update=dict(zip(allowed, chosen, strict=True))) for chosen in choices]
        for seed in seeds:
            for run in settings:
                yield run.model_copy(update={"seed": seed})  # in a third of the time that checking it takes
