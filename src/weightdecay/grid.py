"""From an experiment's config.yaml to its table of runs, and from the table to shards.

One row of the table, a `Run`, is one network to train. Nothing here needs torch: the pipeline imports it to plan.
"""

import difflib
import hashlib
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from weightdecay.errors import ConfigError

ScaleName = Literal["smoke", "laptop", "paper"]
SCALES: tuple[str, ...] = get_args(ScaleName)

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Rate = Annotated[float, Field(ge=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
Name = Annotated[str, Field(min_length=1)]

SATURATED = 0.999  # epoch-mean training accuracy from which `hold_norm: saturation` holds: S1's "100 %" at step 3665

# Ids and hashes are of what differs from the fields' defaults: a field added later, with what was its only value as its
# default, changes none of them. The default of a field must therefore never change.
SET = {"exclude_defaults": True}

# What may differ between the replicas of one stacked batch: everything that changes neither shapes nor the program.
PER_REPLICA = (
    *("sweep", "seed", "learning_rate", "momentum", "weight_decay", "decay", "l1_ratio"),
    *("beta1", "beta2", "eps", "batch_norm_eps", "label_noise", "dropout"),
)


class Strict(BaseModel):
    """No unknown key, no silent conversion, no NaN, no change after it was checked."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Run(Strict):
    """One network to train: every setting that decides its result. The fields become the columns of runs.parquet."""

    experiment: Name
    sweep: Name  # the sweep that asked for it; not a setting, so not part of the id
    seed: Natural

    dataset: Name
    train_size: Count
    label_noise: Annotated[float, Field(ge=0, le=1)] = 0.0

    network: Name
    width: Count
    blocks: Natural
    batch_norm_eps: Positive | None  # None: no BatchNorm
    dropout: Rate = 0.0  # of the hidden activations, after each ReLU

    loss: Name
    optimizer: Literal["sgd", "adam"]
    learning_rate: Positive
    momentum: Rate = 0.0
    beta1: Rate = 0.9
    beta2: Rate = 0.999
    eps: Positive = 1e-8
    decay: Literal["none", "l2", "decoupled", "l1", "proximal_l1", "elastic_net"]  # see ensemble/optimizers.py
    weight_decay: Annotated[float, Field(ge=0)]
    l1_ratio: Annotated[float, Field(ge=0, le=1)] = 0.5  # of λ in elastic_net; the rest decays weights
    decay_exclude: Literal["nothing", "bias_and_norm"] = "nothing"
    schedule: Literal["constant", "step", "cosine"] = "constant"

    batch_size: Count
    shuffle: bool
    steps: Count
    hold_norm: Literal["never", "start", "saturation"] = "never"  # project back to a constant L2 norm, from when on

    log_every: Count
    log_dense_every: Count
    log_dense_until: Natural = 0  # steps

    @property
    def id(self) -> str:
        """12 hex digits: the same settings have the same id in every sweep and scale."""
        return hashlib.sha256(_canonical(self.model_dump(exclude={"sweep"}, **SET)).encode()).hexdigest()[:12]

    def stack_key(self) -> tuple:
        """Runs with equal keys have the same shapes and the same program and can be trained as one batch."""
        return (*self.model_dump(exclude=set(PER_REPLICA)).values(), self.batch_norm_eps is None)

    def cost(self) -> float:
        """Time to train it on a CPU, in arbitrary units: 600 and its weights an example, as measured (±20 %).

        A weight of a convolution counts once a position, and twice for the smaller products.
        """
        width, hidden = self.width, self.blocks
        if self.network.endswith("cnn"):
            weights = 2 * (120 * width + 45 * width**2)
        elif self.network == "residual_mlp":
            weights = 96 * width + 2 * hidden * width**2
        else:
            weights = 60 * width + max(0, hidden - 1) * width**2
        return self.steps * self.batch_size * (600 + weights)


class Criterion(Strict):
    """One claim of a source and how it is judged, fixed before the runs that judge it."""

    source: Name
    statement: Name
    criterion: Name
    thresholds: dict[str, float] = {}


Block = dict[str, Any]  # a field of Run -> its value, or the list of its values
TABLES = ("runs", "history")  # what training makes; no computation may be called so


class Scale(Strict):
    """How much of an experiment is run: a product of lists for each block of each sweep, over all seeds.

    `computations`: what needs no training: the function of compute.py of that name -> its arguments.
    """

    seeds: Count
    shards: Count
    sweeps: Annotated[dict[Name, Annotated[list[Block], Field(min_length=1)]], Field(min_length=1)]
    computations: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")], dict[Name, Any]] = {}


class Scales(Strict):
    smoke: Scale
    laptop: Scale
    paper: Scale


class Config(Strict):
    """An experiment: what it asks, what it trains at each scale, and how its claims are judged."""

    experiment: Name
    title: Name
    sources: Annotated[list[Name], Field(min_length=1)]
    defaults: Block
    scales: Scales
    criteria: dict[Name, Criterion]
    unread: list[Name] = []  # metrics that neither claims nor figures read, less the number at the end: variance_2
    unrounded: list[Name] = []  # metrics whose equal values claims take for ties, or whose thresholds lie close
    figures: list[Name]  # names of paper/figures/<experiment>-<name>.{pdf,png}
    tables: list[Name] = []  # names of paper/tables/<experiment>-<name>.tex


def load_config(path: str | Path) -> Config:
    """The checked configuration; every setting of every scale is checked too, not only the scale in use."""
    path = Path(path)
    try:
        config = Config.model_validate(yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{path} is not YAML: {error.problem} in line {error.problem_mark.line + 1}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    except ValidationError as error:
        raise ConfigError(f"{path}: {sentence(error.errors()[0])}.") from error
    if config.experiment != path.resolve().parent.name:
        raise ConfigError(
            f"{path}: experiment is {config.experiment!r}, but must be the name of its folder, "
            f"{path.resolve().parent.name!r}."
        )
    try:
        for scale in SCALES:
            for _ in _blocks(config, scale):
                pass  # each is checked as it is made; to make all its runs takes longer
            for name in computations(config, scale):
                if name in TABLES:
                    raise ConfigError(f"scales.{scale}.computations.{name} has the name of a table of training.")
                if not path.with_name("compute.py").is_file():
                    raise ConfigError(f"scales.{scale}.computations.{name} needs {path.with_name('compute.py')}.")
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return config


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
    return "".join(f"{line}\n" for line in sorted(_canonical(run.model_dump(**SET)) for run in runs))


def config_hash(runs: list[Run]) -> str:
    """SHA-256 of `table_text`: stored in every result and checked when it is read."""
    return hashlib.sha256(table_text(runs).encode()).hexdigest()


def computations(config: Config, scale: str) -> dict[str, str]:
    """Name of every computation of a scale -> its arguments as JSON: canonical, so equal arguments are equal texts."""
    return {name: _canonical(arguments) for name, arguments in _scale(config, scale).computations.items()}


def computation_hashes(config: Config, scale: str) -> dict[str, str]:
    """Name of every computation of a scale -> SHA-256 of what is computed: stored in the table, checked when read."""
    return {
        name: hashlib.sha256(f"{config.experiment} {name} {arguments}".encode()).hexdigest()
        for name, arguments in computations(config, scale).items()
    }


def _scale(config: Config, scale: str) -> Scale:
    if scale not in SCALES:
        raise ConfigError(f"scale is {scale!r}, but must be one of {', '.join(SCALES)}{_closest(scale, SCALES)}.")
    return getattr(config.scales, scale)


def _cost(runs: list[Run]) -> float:
    return sum(run.cost() for run in runs)


def _cut(runs: list[Run], count: int) -> list[list[Run]]:
    """`count` pieces of equal length, or of one run each where there are not as many."""
    count = min(count, len(runs))
    ends = [index * len(runs) // count for index in range(count + 1)]
    return [runs[start:end] for start, end in itertools.pairwise(ends)]


_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode  # a value as text, always the same


def _rows(config: Config, scale: str) -> Iterator[Run]:
    """Every run of a scale, as often as the file asks for it."""
    for seeds, settings in _blocks(config, scale):
        for seed in seeds:
            for run in settings:
                yield run.model_copy(update={"seed": seed})  # in a third of the time that checking it takes


def _blocks(config: Config, scale: str) -> Iterator[tuple[list[int], list[Run]]]:
    """For each block of a scale its seeds, and with the first of them a run of every setting; all of it checked."""
    for sweep, blocks in _scale(config, scale).sweeps.items():
        for index, block in enumerate(blocks):
            yield _expand(config, scale, sweep, index, block)


def _expand(config: Config, scale: str, sweep: str, index: int, block: Block) -> tuple[list[int], list[Run]]:
    where = f"scales.{scale}.sweeps.{sweep}[{index}]"
    for place, keys in (("defaults", config.defaults), (where, block)):
        for key, value in keys.items():
            if key not in Run.model_fields or key in ("experiment", "sweep"):
                raise ConfigError(f"{place}.{key} is not a setting of a run{_closest(key, Run.model_fields)}.")
            if value == []:
                raise ConfigError(f"{place}.{key} is an empty list, but must hold at least one value.")
    fixed = {"experiment": config.experiment, "sweep": sweep}
    # No rule joins the seed to another setting: each setting is checked with one seed, each seed with one setting.
    lists = {"seed": list(range(getattr(config.scales, scale).seeds)), **config.defaults, **block}
    seeds, *choices = [value if isinstance(value, list) else [value] for value in lists.values()]
    settings = [_checked(where, fixed, lists, (seeds[0], *values)) for values in itertools.product(*choices)]
    for seed in seeds[1:]:
        _checked(where, fixed, lists, (seed, *(values[0] for values in choices)))
    for run in settings:
        if run.decay == "none" and run.weight_decay != 0:
            raise ConfigError(f"{where}: weight_decay is {run.weight_decay}, but must be 0 where decay is none.")
        if run.decay != "elastic_net" and "l1_ratio" in {**config.defaults, **block}:
            raise ConfigError(f"{where}: l1_ratio is for decay: elastic_net, but decay is {run.decay}.")
    return seeds, settings


def _checked(where: str, fixed: Block, names: Iterable[str], values: Iterable[Any]) -> Run:
    """The run of these settings. Raises ConfigError for the first that is not allowed."""
    try:
        return Run(**fixed, **dict(zip(names, values, strict=True)))
    except ValidationError as error:
        raise ConfigError(f"{where}: {sentence(error.errors()[0])}.") from error


def sentence(error: Any) -> str:
    """One of pydantic's errors in our words: the key, its value and what is allowed."""
    *parents, key = error["loc"] or ("the file",)
    place = ".".join(str(part) for part in (*parents, key))
    if error["type"] == "extra_forbidden":
        model = {0: Config, 1: Scales, 2: Criterion if parents[:1] == ["criteria"] else Scale}[len(parents)]
        return f"{place} is not a known key{_closest(str(key), model.model_fields)}"
    if error["type"] in ("missing", "missing_keyword_only_argument"):
        return f"{place} is missing"
    if error["type"] == "unexpected_keyword_argument":
        return f"{place} is not a known argument"
    rule = error["msg"].replace("Input should", "must").replace("should", "must")
    return f"{place} is {error['input']!r}, but {rule[0].lower()}{rule[1:]}"


def _closest(word: str, known: Any) -> str:
    matches = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean {matches[0]}?)" if matches else f" (known are {', '.join(known)})"


class _Loader(yaml.SafeLoader):
    """YAML in which 1e-3 is a number, as in YAML 1.2 (PyYAML reads text), and a key given twice is an error."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value!r} is given twice", key.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)
