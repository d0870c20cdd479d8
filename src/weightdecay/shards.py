"""Shards: a table of runs is cut into parts of about equal cost, which several processes train side by side."""

import itertools
import math

from weightdecay.errors import ConfigError
from weightdecay.run import Run


def cut(runs: list[Run], count: int) -> list[list[Run]]:
    """Cut the table into `count` parts of about equal cost, none of them empty; into fewer if there are fewer runs.

    Runs that can share a stack stay together in pieces of a third of a fair share. The pieces are dealt out, the
    costliest first, each to the part with the lowest cost so far. The number of cores plays no role, so a table has the
    same shards on every machine. Raises ConfigError for a count below 1.
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
        pieces += _pieces(group, math.ceil(3 * _cost(group) / share))
    while len(pieces) < count:
        longest = max(pieces, key=len)
        pieces.remove(longest)
        pieces += _pieces(longest, 2)
    parts: list[list[Run]] = [[] for _ in range(count)]
    costs = [0.0] * count
    for piece in sorted(pieces, key=_cost, reverse=True):
        least = costs.index(min(costs))
        parts[least].extend(piece)
        costs[least] = _cost(parts[least])
    return parts


def _cost(runs: list[Run]) -> float:
    return sum(run.cost() for run in runs)


def _pieces(runs: list[Run], count: int) -> list[list[Run]]:
    """Cut runs into `count` pieces of equal length, or into pieces of one run if there are fewer runs."""
    count = min(count, len(runs))
    ends = [index * len(runs) // count for index in range(count + 1)]
    return [runs[start:end] for start, end in itertools.pairwise(ends)]
