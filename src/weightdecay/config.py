"""A finding's config.yaml: its schema, and every check that can be made without running the finding's programs.

All faults are reported at once, before anything is trained. Each is a sentence that names the key, its value and what
is allowed. Nothing here needs torch, because the pipeline imports it to plan.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, ValidationInfo, field_validator

from weightdecay import criteria, yaml_file
from weightdecay.blocks import Block, Checker, Settings
from weightdecay.errors import ConfigError
from weightdecay.refusals import Fault, Kind, closest, fault, listing, short
from weightdecay.registry import DATASETS, LOSSES, NETWORKS, OPTIMIZERS
from weightdecay.setting_types import (
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
SCALES: tuple[ScaleName, ...] = get_args(ScaleName)
ClaimKind = Literal["stated", "implied", "own reading", "identity"]
Fixed = Literal["before", "after first runs", "after judged runs"]
TABLES = ("runs", "history")  # training makes these; no computation may have such a name
TAKEN = ("logs", "overview")  # results/<scale>/logs, paper/figures/overview-1.pdf; no finding may have such a name


class Criterion(Strict):
    """One claim, where it comes from, and how it is judged."""

    source: Text = Field(description="The source of the claim, by section.")
    kind: ClaimKind = Field(
        description="The kind says how far the claim is the source's own. The source has `stated` it, in words or in a "
        "figure; or `implied` it; or it is our `own reading`, extension or control. Algebra decides an `identity`, so "
        "that its runs test the code."
    )
    fixed: Fixed = Field(
        description="This says when the criterion was fixed. It was `before` any run that judges it had been seen; "
        "`after first runs` of the finding had been; or `after judged runs`, by which the claim, or its quantity, had "
        "been judged already."
    )
    statement: Text = Field(description="The statement is what the source says.")
    thresholds: dict[Identifier, Finite] = Field(
        default_factory=dict, description="The thresholds are the numbers that the judgment reads, by name."
    )
    criterion: Text = Field(
        description="The criterion says in words when the claim counts as reproduced. A threshold's name in braces "
        "stands for its number: `{share}`, `{share:.2f}`, `{share:.0%}`, `{count:,}` or `{tiny:.0e}`; `{change:|}` "
        "leaves out a minus."
    )

    @field_validator("criterion")
    @classmethod
    def _rendered(cls, template: str, info: ValidationInfo) -> str:
        return criteria.rendered(template, info.data.get("thresholds", {}))


def _no_table(name: str) -> str:
    if name in TABLES:
        raise ValueError("has the name of a table of training")
    return name


def _free(name: str) -> str:
    if name.lower() in TAKEN:
        raise ValueError(f"must be another name than {' and '.join(TAKEN)}")
    return name


Sweeps = Annotated[
    dict[Name, Annotated[list[Settings], Field(min_length=1)]], Field(min_length=1), AfterValidator(unlike)
]
Computations = dict[Annotated[Identifier, AfterValidator(_no_table)], dict[Name, Plain]]


class Scale(Strict):
    """How much of a finding is run at one scale."""

    seeds: Annotated[int, whole(1, MOST_SEEDS)] = Field(
        description="Every block is run with the seeds 0, 1, 2, ..., this many."
    )
    shards: Annotated[int, whole(1, MOST_SHARDS)] = Field(
        1, description="The table of runs is cut into this many parts of equal cost, which cores train side by side."
    )
    sweeps: Sweeps = Field(
        description="A sweep is a list of blocks, and a block a product: each setting has a value, a list of values, "
        "or a grid `{from: 0.001, to: 1, factor: 10}`. What a block does not set is in `defaults`."
    )
    computations: Computations = Field(
        default_factory=dict,
        description="A computation needs no training: the function of compute.py of that name, with its arguments.",
    )


class Scales(Strict):
    """The scales of a finding: one that runs in seconds, one in minutes, and the paper's."""

    smoke: Scale = Field(description="The smallest scale shows in seconds that everything runs.")
    laptop: Scale | None = Field(None, description="The scale of a laptop takes minutes. It may be left out.")
    paper: Scale | None = Field(None, description="The paper's scale has all seeds. It may be left out.")


class Config(Strict):
    """The configuration of a finding: what it trains at each scale, and how its claims are judged."""

    experiment: Annotated[Name, AfterValidator(_free)] = Field(description="The finding's name is that of its folder.")
    title: Text = Field(description="The title stands above its claims in the paper.")
    sources: Annotated[Names, Field(min_length=1)] = Field(description="The sources are those of its claims, by name.")
    datasets: Names = Field(
        default_factory=list, description="These data sets are the finding's own: its train.py makes them."
    )
    defaults: Settings = Field(description="The defaults are the settings of every run that its block does not set.")
    scales: Scales = Field(description="A scale says how much is run: smoke, laptop or paper.")
    criteria: dict[ClaimId, Criterion] = Field(description="The criteria say how each claim is judged, by its id.")
    unread: Metrics = Field(
        default_factory=list,
        description="These metrics are read by neither claims nor figures, so that results need not be shipped with "
        "them. The number at the end of a name is left out: variance for variance_2.",
    )
    unrounded: Metrics = Field(
        default_factory=list,
        description="These metrics are shipped without rounding, as claims take equal values for ties or have "
        "thresholds close by.",
    )


def load_config(path: str | Path) -> Config:
    """Read and check a finding's configuration: every setting of every scale, not only of the scale in use.

    Raises ConfigError with all faults, the most telling first.
    """
    path = Path(path)
    content = yaml_file.read(path)
    faults: list[Fault] = []
    try:
        config = Config.model_validate(content)
    except ValidationError as error:
        faults += [fault(each, Config) for each in error.errors()]
    if isinstance(content, dict):
        faults += [*_outside_faults(path, content), *_settings_faults(content)]
    if faults:
        raise ConfigError(f"{path}{listing(faults)}")
    return config


def _outside_faults(path: Path, content: Mapping[str, Any]) -> Iterator[Fault]:
    """Yield the faults that concern the folder of the file."""
    folder = Path(os.path.abspath(path)).parent.name  # a link counts by its own name: results are kept under it
    name = content.get("experiment")
    if _valid("experiment", content) and name != folder:
        said = f"experiment is {short(name)}, but must be the name of its folder, {short(folder)}"
        yield Fault(Kind.VALUE, said)
    if not path.with_name("compute.py").is_file():
        for scale, given in _scales(content).items():
            for name in _valid("computations", given) or ():
                said = f"scales.{scale}.computations.{name} needs {path.with_name('compute.py')}"
                yield Fault(Kind.MISSING, said)


def _settings_faults(content: Mapping[str, Any]) -> list[Fault]:
    """Return the faults of the settings, in as much of the file as has the form of a configuration."""
    defaults = _valid("defaults", content)
    if defaults is None:
        return []
    checker = Checker(str(content.get("experiment")), defaults, _known(_valid("datasets", content) or []))
    for scale, given in _scales(content).items():
        sweeps, seeds = _valid("sweeps", given), _valid("seeds", given)
        for _ in checker.blocks(scale, seeds or 1, sweeps or {}):
            pass  # each is checked as it is made
    return checker.faults


PARTS: dict[str, TypeAdapter[Any]] = {
    "experiment": TypeAdapter(Name),
    "datasets": TypeAdapter(Names),
    "defaults": TypeAdapter(Settings),
    "seeds": TypeAdapter(Annotated[int, whole(1, MOST_SEEDS)]),
    "sweeps": TypeAdapter(Sweeps),
    "computations": TypeAdapter(Computations),
}


def _valid(key: str, content: Mapping[str, Any]) -> Any:
    """Return one part of a configuration whose other parts may be wrong; None if this part is wrong itself."""
    try:
        return PARTS[key].validate_python(content.get(key), strict=True)
    except ValidationError:
        return None


def _scales(content: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return those scales that are mappings, of a configuration whose other parts may be wrong."""
    scales = content.get("scales")
    known = {name: scales.get(name) for name in SCALES} if isinstance(scales, dict) else {}
    return {name: scale for name, scale in known.items() if isinstance(scale, dict)}


def _known(own: Iterable[str]) -> dict[str, list[str]]:
    """Return the names that a configuration may use. In Python, a user's own network or data set may have any name."""
    names = {"network": NETWORKS.names(), "loss": LOSSES.names(), "optimizer": OPTIMIZERS.names()}
    return names | {"dataset": [*DATASETS.names(), *own]}


def in_order(scales: Iterable[str]) -> list[str]:
    """Return each of these scales once, the smallest first."""
    return sorted(set(scales), key=SCALES.index)


def in_words(scales: Iterable[str]) -> str:
    """Return each of these scales once, the smallest first, as text: "laptop and paper"."""
    return " and ".join(in_order(scales))


def check_scale(scale: str) -> ScaleName:
    """Return the name if it is that of a scale; ConfigError otherwise."""
    for known in SCALES:
        if known == scale:
            return known
    raise ConfigError(f"scale is {short(scale)}, but must be one of {', '.join(SCALES)}{closest(scale, SCALES)}.")


def scale_of(config: Config, scale: str) -> Scale:
    """Return one scale. Raises ConfigError for an unknown name, and for a scale that the finding lacks."""
    check_scale(scale)
    found = getattr(config.scales, scale)
    if found is None:
        raise ConfigError(f"finding {config.experiment} has no scale {scale}, but only {in_words(scales_of(config))}.")
    return found


def scales_of(config: Config) -> dict[str, Scale]:
    """Return the scales of the finding by name, the smallest first."""
    return {name: scale for name in SCALES if (scale := getattr(config.scales, name)) is not None}


def blocks(config: Config, scale: str) -> Iterator[Block]:
    """Yield the blocks of a scale in the order of the file. Raises ConfigError with all of their faults."""
    checker = Checker(config.experiment, config.defaults, _known(config.datasets))
    chosen = scale_of(config, scale)
    yield from checker.blocks(scale, chosen.seeds, chosen.sweeps)
    if checker.faults:
        raise ConfigError(f"finding {config.experiment}{listing(checker.faults)}")
