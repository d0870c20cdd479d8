"""One run: every setting that decides the result of one network's training, and the rules that join settings.

A setting without effect is refused, because tables and ids would record what was not done. Runs made in Python and
rows of a configuration obey the same rules. Nothing here needs torch.
"""

import hashlib
import json
import sys
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import ValidationError, model_validator

from weightdecay.errors import ConfigError
from weightdecay.refusals import sentence
from weightdecay.setting_types import (
    MOST_LOGGED,
    MOST_WEIGHTS,
    Name,
    NotNegative,
    Positive,
    Rate,
    Share,
    Strict,
    whole,
)

SATURATED = 0.999  # epoch-mean training accuracy from which `hold_norm: saturation` holds: S1's "100 %" at step 3665

# Ids and hashes are of what differs from the fields' defaults: a field added later, with what was its only value as its
# default, changes none of them. The default of a field must therefore never change.
SET = {"exclude_defaults": True}

# What may differ between the replicas of one stacked batch: everything that changes neither shapes nor the program.
PER_REPLICA = (
    *("sweep", "seed", "learning_rate", "momentum", "weight_decay", "decay", "l1_ratio"),
    *("beta1", "beta2", "eps", "batch_norm_eps", "label_noise", "dropout"),
)

# What the rules know of the networks of ensemble/networks.py; a network of another name has no rules.
SCALE_INVARIANT = ("scale_invariant_mlp", "scale_invariant_cnn")
WITHOUT_BATCH_NORM = ("mlp", "cnn")
WITHOUT_DROPOUT = ("residual_mlp", "cnn", *SCALE_INVARIANT)
HIDDEN_LAYERS = ("mlp", "scale_invariant_mlp")  # `blocks` is their number
CONVOLUTIONS = ("cnn", "scale_invariant_cnn")
REGRESSIONS = ("absolute_error", "smooth_l1")  # losses without classes; squared_error is of either kind

canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode  # a value as text, always the same


class Run(Strict):
    """One network to train: every setting that decides its result. The fields become the columns of runs.parquet.

    Raises ConfigError for a setting that is not allowed, or has no effect beside the others. NumPy's numbers are taken
    for the Python numbers of the same value.
    """

    experiment: Name
    sweep: Name  # the sweep that asked for it; not a setting, so not part of the id
    seed: whole(0, 2**63 - 1)

    dataset: Name
    train_size: whole(1, 10_000_000)
    label_noise: Share = 0.0

    network: Name
    width: whole(1, 16_384)
    blocks: whole(0, 100)
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
    weight_decay: NotNegative
    l1_ratio: Share = 0.5  # of λ in elastic_net; the rest decays weights
    decay_exclude: Literal["nothing", "bias_and_norm"] = "nothing"
    schedule: Literal["constant", "step", "cosine"] = "constant"

    batch_size: whole(1, 10_000_000)
    shuffle: bool
    steps: whole(1, 1_000_000_000)
    hold_norm: Literal["never", "start", "saturation"] = "never"  # project back to a constant L2 norm, from when on

    log_every: whole(1, 1_000_000_000)
    log_dense_every: whole(1, 1_000_000_000)
    log_dense_until: whole(0, 1_000_000_000) = 0  # steps

    def __init__(self, **settings: Any):
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ConfigError(f"{sentence(error.errors()[0], Run)}.") from error

    @model_validator(mode="before")
    @classmethod
    def _of_numpy(cls, settings: Any) -> Any:
        numpy = sys.modules.get("numpy")  # where it is not loaded, there is none of its numbers
        if numpy is None or not isinstance(settings, dict):
            return settings
        scalars = {key: value.item() for key, value in settings.items() if isinstance(value, numpy.generic)}
        return settings | scalars

    @model_validator(mode="after")
    def _has_effect(self) -> "Run":
        broken = broken_rule(self)
        if broken:
            raise ValueError(broken)
        return self

    @property
    def id(self) -> str:
        """12 hex digits: the same settings have the same id in every sweep and scale."""
        return hashlib.sha256(canonical(self.model_dump(exclude={"sweep"}, **SET)).encode()).hexdigest()[:12]

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


def broken_rule(run: Run) -> str | None:
    """What is wrong with settings of which each is allowed by itself; None if nothing is.

    No rule is about a setting that has its default value, nor about what every configuration must set and may set for
    all its runs: `decay_exclude` passes where nothing decays, `log_dense_every` where `log_dense_until` is 0.
    """

    def only(field: str, allowed: Any, where: str) -> str:
        return f"{field} is {getattr(run, field)!r}, but must be {allowed} where {where}"

    unset = Run.model_fields
    for field in ("momentum",) if run.optimizer == "adam" else ("beta1", "beta2", "eps"):
        if getattr(run, field) != unset[field].default:
            other = "sgd" if run.optimizer == "adam" else "adam"
            return only(field, f"{unset[field].default:g}, or left out,", f"optimizer is not {other}")
    if run.decay == "none" and run.weight_decay != 0:
        return only("weight_decay", 0, "decay is none")
    if run.decay != "elastic_net" and run.l1_ratio != unset["l1_ratio"].default:
        return only("l1_ratio", "0.5, or left out,", "decay is not elastic_net")
    if run.loss in REGRESSIONS and run.label_noise:
        return only("label_noise", 0, f"loss is {run.loss}, which has no labels")
    if run.loss in REGRESSIONS and run.hold_norm == "saturation":
        return only("hold_norm", "never or start", f"loss is {run.loss}, which has no accuracy")
    if run.network in WITHOUT_BATCH_NORM and run.batch_norm_eps is not None:
        return only("batch_norm_eps", "null", f"network is {run.network}, which has no BatchNorm")
    if run.network in SCALE_INVARIANT and run.batch_norm_eps is None:
        return only("batch_norm_eps", "a number", f"network is {run.network}, which has BatchNorm")
    if run.network in WITHOUT_DROPOUT and run.dropout:
        return only("dropout", 0, f"network is {run.network}, which has no dropout")
    if run.network in HIDDEN_LAYERS and run.blocks < 1:
        return only("blocks", "at least 1", f"network is {run.network}, which has hidden layers")
    if run.network in CONVOLUTIONS and run.blocks != 3:
        return only("blocks", 3, f"network is {run.network}, which has three convolutions")
    weights = max(run.blocks, 1) * run.width**2
    if weights > MOST_WEIGHTS:
        return f"width is {run.width} and blocks {run.blocks}, but blocks × width² must be at most {MOST_WEIGHTS}"
    logged = run.steps // run.log_every + min(run.steps, run.log_dense_until) // run.log_dense_every
    if logged > MOST_LOGGED:
        return f"a run of {run.steps} steps would log {logged} of them, but may log at most {MOST_LOGGED}"
    return None


def telling_values(field: str, values: Sequence[Any]) -> list[Any]:
    """Few of a field's values, among which one breaks a rule if any of them does, whatever the other fields are."""
    if field in ("width", "steps", "log_dense_until"):
        return [max(values)]  # they only make a run larger, or
    if field in ("log_every", "log_dense_every"):
        return [min(values)]  # smaller
    default = Run.model_fields[field].default
    kinds = {
        value if isinstance(value, str) or field == "blocks" else (value is None, value == default, value == 0): value
        for value in values
    }
    return list(kinds.values())
