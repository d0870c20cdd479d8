"""From an experiment's config.yaml to its table of runs, and to the arguments of what it computes.

One row of the table, a `Run`, is one network to train. Nothing here needs torch: the pipeline imports it to plan.
"""

import hashlib
import itertools
from collections.abc import Iterator

from weightdecay.config import Config, blocks, scale_of
from weightdecay.run import SET, Run, canonical


def table_of(config: Config, scale: str) -> list[Run]:
    """Every run of a scale, once, in the order of the file; of equal settings in two sweeps the first is kept."""
    runs: dict[tuple, Run] = {}  # by settings: to make ids of tens of thousands of runs takes seconds
    for run in _rows(config, scale):
        settings = run.__dict__ | {"sweep": ""}
        runs.setdefault(tuple(settings.values()), run)
    return list(runs.values())


def table_text(runs: list[Run]) -> str:
    """The table as JSON lines: canonical, so equal tables are equal texts, whatever the order of the file."""
    return "".join(f"{line}\n" for line in sorted(canonical(run.model_dump(**SET)) for run in runs))


def config_hash(runs: list[Run]) -> str:
    """SHA-256 of `table_text`: stored in every result and checked when it is read."""
    return hashlib.sha256(table_text(runs).encode()).hexdigest()


def computations_of(config: Config, scale: str) -> dict[str, str]:
    """Name of every computation of a scale -> its arguments as JSON: canonical, so equal arguments are equal texts."""
    return {name: canonical(arguments) for name, arguments in scale_of(config, scale).computations.items()}


def computation_hashes(config: Config, scale: str) -> dict[str, str]:
    """Name of every computation of a scale -> SHA-256 of what is computed: stored in the table, checked when read."""
    return {
        name: hashlib.sha256(f"{config.experiment} {name} {arguments}".encode()).hexdigest()
        for name, arguments in computations_of(config, scale).items()
    }


def _rows(config: Config, scale: str) -> Iterator[Run]:
    """Every run of a scale, as often as the file asks for it."""
    for block in blocks(config, scale):
        chosen = itertools.product(*block.choices.values())
        settings = [block.first.model_copy(update=dict(zip(block.choices, one, strict=True))) for one in chosen]
        for seed in block.seeds:
            for run in settings:
                yield run.model_copy(update={"seed": seed})  # in a third of the time that checking it takes
