"""An experiment's config.yaml: its schema, and every check that needs no program of the experiment to run.

Whatever is wrong is refused before anything is trained, in a sentence that names the file, the key, its value and what
is allowed. Nothing here needs torch: the pipeline imports it to plan.
"""

import itertools
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, ValidationError

from weightdecay import yaml_file
from weightdecay.errors import ConfigError
from weightdecay.refusals import closest, sentence, short
from weightdecay.run import Run, broken_rule, telling_values
from weightdecay.setting_types import (
    MOST_RUNS,
    MOST_SEEDS,
    MOST_SHARDS,
    ClaimId,
    Finite,
    Identifier,
    Metrics,
    Name,
    Names,
    Plain,
    Strict,
    Text,
    unlike,
    whole,
)

ScaleName = Literal["smoke", "laptop", "paper"]
SCALES: tuple[str, ...] = get_args(ScaleName)
TABLES = ("runs", "history")  # what training makes; no computation may be called so
TAKEN = ("logs", "overview")  # results/<scale>/logs and paper/figures/overview-1.pdf; no experiment may be called so


class Criterion(Strict):
    """One claim of a source and how it is judged, fixed before the runs that judge it."""

    source: Text
    statement: Text
    criterion: Text
    thresholds: dict[Identifier, Finite] = Field(default_factory=dict)


def _no_table(name: str) -> str:
    if name in TABLES:
        raise ValueError("has the name of a table of training")
    return name


def _free(name: str) -> str:
    if name.lower() in TAKEN:
        raise ValueError(f"must be another name than {' and '.join(TAKEN)}")
    return name


Block = dict[str, Any]  # a field of Run -> its value, or the list of its values
Sweeps = Annotated[dict[Name, Annotated[list[Block], Field(min_length=1)]], Field(min_length=1), AfterValidator(unlike)]
Computations = dict[Annotated[Identifier, AfterValidator(_no_table)], dict[Name, Plain]]


class Scale(Strict):
    """How much of an experiment is run: a product of lists for each block of each sweep, over all seeds.

    `computations`: what needs no training: the function of compute.py of that name -> its arguments.
    """

    seeds: whole(1, MOST_SEEDS)
    shards: whole(1, MOST_SHARDS)
    sweeps: Sweeps
    computations: Computations = Field(default_factory=dict)


class Scales(Strict):
    smoke: Scale
    laptop: Scale
    paper: Scale


class Config(Strict):
    """An experiment: what it asks, what it trains at each scale, and how its claims are judged."""

    experiment: Annotated[Name, AfterValidator(_free)]
    title: Text
    sources: Annotated[Names, Field(min_length=1)]
    defaults: Block
    scales: Scales
    criteria: dict[ClaimId, Criterion]
    # Metrics that neither claims nor figures read, less the number at the end: variance_2.
    unread: Metrics = Field(default_factory=list)
    # Metrics whose equal values claims take for ties, or whose thresholds lie close.
    unrounded: Metrics = Field(default_factory=list)


def load_config(path: str | Path) -> Config:
    """The checked configuration; every setting of every scale is checked too, not only the scale in use."""
    path = Path(path)
    content = yaml_file.read(path)
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        # A key that is not known comes first: where one is misspelt, the one that was meant is missing too.
        first, *others = sorted(error.errors(), key=lambda each: each["type"] != "extra_forbidden")
        more = f" (and {len(others)} more)" if others else ""
        raise ConfigError(f"{path}: {sentence(first, Config)}{more}.") from error
    folder = Path(os.path.abspath(path)).parent.name  # of a link its own name, by which results are kept
    if config.experiment != folder:
        raise ConfigError(
            f"{path}: experiment is {config.experiment!r}, but must be the name of its folder, {short(folder)}."
        )
    try:
        for scale in SCALES:
            _check_size(config, scale)
            for _ in blocks(config, scale):
                pass  # each is checked as it is made; to make all its runs takes longer
            for name in getattr(config.scales, scale).computations:
                if not path.with_name("compute.py").is_file():
                    raise ConfigError(f"scales.{scale}.computations.{name} needs {path.with_name('compute.py')}.")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


def in_order(scales: Iterable[str]) -> list[str]:
    """Each of these scales once, the smallest first."""
    return sorted(set(scales), key=SCALES.index)


def in_words(scales: Iterable[str]) -> str:
    """Each of these scales once, the smallest first, as text: "laptop and paper"."""
    return " and ".join(in_order(scales))


def scale_of(config: Config, scale: str) -> Scale:
    """One scale; ConfigError where there is none of that name."""
    if scale not in SCALES:
        raise ConfigError(f"scale is {short(scale)}, but must be one of {', '.join(SCALES)}{closest(scale, SCALES)}.")
    return getattr(config.scales, scale)


def blocks(config: Config, scale: str) -> Iterator[tuple[Sequence[int], Run, dict[str, list[Any]]]]:
    """For each block of a scale its seeds, a run of its first values, and every other setting's values; all checked.

    Each value is checked once, beside the first of the others, and the rules for what several settings may be together
    with few values of each; to make and check all runs would take longer.
    """
    for where, sweep, values in _settings(config, scale):
        fixed = {"experiment": config.experiment, "sweep": sweep, **{key: of[0] for key, of in values.items()}}
        first = _checked(where, fixed)
        allowed = {
            key: [getattr(first, key), *(getattr(_checked(where, fixed | {key: one}), key) for one in of[1:])]
            for key, of in values.items()
            if not isinstance(of, range)
        }
        seeds = allowed.pop("seed", values["seed"])
        telling = {key: telling_values(key, of) for key, of in allowed.items()}
        for chosen in itertools.product(*telling.values()):
            broken = broken_rule(first.model_copy(update=dict(zip(telling, chosen, strict=True))))
            if broken:
                raise ConfigError(f"{where}: {broken}.")
        yield seeds, first, allowed


def _settings(config: Config, scale: str) -> Iterator[tuple[str, str, dict[str, Sequence[Any]]]]:
    """For each block of a scale where it stands, its sweep, and the values of every setting, the seeds first."""
    seeds = range(scale_of(config, scale).seeds)
    _check_keys("defaults", config.defaults)
    for sweep, listed in scale_of(config, scale).sweeps.items():
        for index, block in enumerate(listed):
            where = f"scales.{scale}.sweeps.{sweep}[{index}]"
            _check_keys(where, block)
            values = {"seed": seeds, **config.defaults, **block}
            yield where, sweep, {key: one if isinstance(one, list | range) else [one] for key, one in values.items()}


def _check_keys(place: str, block: Block) -> None:
    for key, value in block.items():
        if key not in Run.model_fields or key in ("experiment", "sweep"):
            raise ConfigError(f"{place}.{short(key, str)} is not a setting of a run{closest(key, Run.model_fields)}.")
        if value == []:
            raise ConfigError(f"{place}.{key} is an empty list, but must hold at least one value.")


def _check_size(config: Config, scale: str) -> None:
    """Counts a scale's runs without making them."""
    count = sum(math.prod(map(len, values.values())) for _, _, values in _settings(config, scale))
    if count > MOST_RUNS:
        said = f"{count:,}" if count < 10**15 else f"{count:.0e}"
        raise ConfigError(f"scales.{scale} asks for {said} runs, but a scale may have at most {MOST_RUNS:,}.")


def _checked(where: str, settings: Mapping[str, Any]) -> Run:
    try:
        return Run(**settings)
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
