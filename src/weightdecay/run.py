"""One run: every setting that decides the result of one network's training, and the rules that join settings.

A setting without effect is refused, because tables and ids would record what was not done. Runs made in Python and
rows of a configuration obey the same rules. Nothing here needs torch.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from weightdecay.errors import ConfigError
from weightdecay.refusals import sentence
from weightdecay.registry import LOSSES, NETWORKS, OPTIMIZERS
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

SATURATED = 0.999  # an epoch's training accuracy at which `hold_norm: saturation` begins: S1's "100 %" at step 3665
FOREVER = 1_000_000_000  # steps: no run is longer

# Settings that may differ between the replicas of a stack, because they change neither shapes nor the program.
PER_REPLICA = (
    *("sweep", "seed", "learning_rate", "momentum", "weight_decay", "decay", "l1_ratio"),
    *("beta1", "beta2", "eps", "batch_norm_eps", "label_noise", "dropout", "init_scale", "held_norm"),
)

canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode  # a value as text, always the same


# With λ = 0 nothing decays, whatever the kind of decay. It is one network, so it has one spelling and one id.
NO_DECAY = {"decay": "none", "l1_ratio": 0.5, "decay_exclude": "nothing"}


class Run(Strict):
    """One network to train: every setting that decides its result. The fields become the columns of runs.parquet.

    Raises ConfigError for a setting that is not allowed or that has no effect with the other settings. NumPy's numbers
    count as Python's numbers of the same value.
    """

    experiment: Name = Field(description="The experiment is the finding that asks for the run, by its folder.")
    sweep: Name = Field(
        description="The sweep is the part of the finding that asks for the run. It decides nothing, so the run's "
        "id does not depend on it."
    )
    seed: Annotated[int, whole(0, 2**63 - 1)] = Field(
        description="The seed decides the data, the initial weights and the order of the examples. In a configuration "
        "the seeds are 0, 1, 2, ... up to the scale's `seeds`, unless a block lists others."
    )

    dataset: Name = Field(
        description="The data set is what the network is trained on. It is a file of weightdecay/datasets, or a name "
        "that the configuration lists under `datasets`."
    )
    train_size: Annotated[int, whole(1, 10_000_000)] = Field(
        description="The training set has this many examples. Data sets that are cut for cross-validation count the "
        "examples that are held out too."
    )
    label_noise: Share = Field(
        0.0, description="This share of the training labels is wrong. How wrong labels are drawn is the data set's."
    )

    network: Name = Field(
        description="The network is the architecture by name. It is a file of weightdecay/ensemble/networks."
    )
    width: Annotated[int, whole(1, 16_384)] = Field(
        description="The width is the number of units of every hidden layer, or of channels of every convolution."
    )
    blocks: Annotated[int, whole(0, 100)] = Field(
        description="The depth is counted in hidden layers, or in residual blocks of a residual network. A "
        "configuration that leaves it out gets 1."
    )
    batch_norm_eps: Positive | None = Field(
        description="BatchNorm adds eps to the variance before it divides by the root. With null the network has no "
        "BatchNorm; so it is in a configuration that leaves it out."
    )
    dropout: Rate = Field(
        0.0, description="Dropout sets this share of the hidden activations to zero in training, after each ReLU."
    )

    loss: Name = Field(description="The loss is what training lowers. It is a file of weightdecay/ensemble/losses.")
    optimizer: Name = Field(
        description="The optimiser makes updates of gradients. It is a file of weightdecay/ensemble/optimizers; AdamW "
        "is `adam` with decoupled decay."
    )
    learning_rate: Positive = Field(
        description="The learning rate η scales every update. It is the value before the schedule lowers it."
    )
    momentum: Rate = Field(
        0.0, description="Momentum is the share of SGD's last update that the next one keeps, as in torch.optim.SGD."
    )
    beta1: Rate = Field(0.9, description="Adam's mean gradient keeps this share of its last value every step.")
    beta2: Rate = Field(
        0.999, description="Adam's mean of the squared gradient keeps this share of its last value in each step."
    )
    eps: Positive = Field(
        1e-8, description="Adam adds eps to the root of the mean squared gradient before it divides by it."
    )
    decay: Literal["none", "l2", "decoupled", "l1", "proximal_l1", "elastic_net"] = Field(
        description="The kind of decay says how λ acts. `l2` adds λw to the gradient, as weight_decay of "
        "torch.optim.SGD and Adam; `decoupled` multiplies the weights by 1 − ηλ, as AdamW; `l1` adds λ sign(w) to the "
        "gradient; `proximal_l1` moves every weight by ηλ towards 0 after the step and no further; `elastic_net` "
        "divides λ between the last and `decoupled`."
    )
    weight_decay: NotNegative = Field(
        description="The weight decay λ is PyTorch's, per unit of learning rate. Where it is 0 nothing decays, "
        "whatever the kind, and `decay` becomes `none`: one network has one spelling and one id."
    )
    l1_ratio: Share = Field(
        0.5, description="This share of λ is L1 in `elastic_net`; the rest decays the weights as `decoupled` does."
    )
    decay_exclude: Literal["nothing", "bias_and_norm"] = Field(
        "nothing",
        description="Some parameters may be left out of decay: `bias_and_norm` leaves out biases and the parameters "
        "of BatchNorm.",
    )
    schedule: Literal["constant", "step", "cosine"] = Field(
        "constant",
        description="The schedule lowers the learning rate over the run. `step` takes a tenth of it at 30, 60 and "
        "80 % of the run; `cosine` takes it along half a wave to 0.",
    )

    batch_size: Annotated[int, whole(1, 10_000_000)] = Field(
        description="Every step takes this many examples. The rest of an epoch that is no whole batch is left out."
    )
    shuffle: bool = Field(
        description="The examples are drawn in a new order every epoch, or with false in one order for all. A "
        "configuration that leaves it out gets true."
    )
    steps: Annotated[int, whole(1, FOREVER)] = Field(
        description="The run is this many updates long. A configuration may give it in τ = 1/(ηλ), as `4 tau`: decay "
        "alone takes the weights to 1/e in one τ."
    )
    init_scale: Positive = Field(
        1.0, description="The initial parameters of the network are multiplied by this factor, all of them alike."
    )
    hold_norm: Literal["never", "start", "saturation"] = Field(
        "never",
        description="The norm of the parameters may be held, by projection after every step. It is held from the "
        f"`start` on, or from `saturation`, the first epoch with a training accuracy of {SATURATED:g}.",
    )
    held_norm: Positive | None = Field(
        None, description="The norm may also be held from the step on at which it has fallen to this value."
    )
    hold_part: Literal["all", "normalised", "others"] = Field(
        "all",
        description="The norm that is held is that of `all` parameters together; or of the `normalised` ones, the "
        "weights that feed a BatchNorm, whose scale the network does not feel; or of all `others`.",
    )

    log_every: Annotated[int, whole(1, FOREVER)] = Field(
        description="All metrics are logged every so many steps, and at both ends of the run. A configuration may give "
        "it in τ, or as `never`: at both ends alone."
    )
    log_dense_every: Annotated[int, whole(1, FOREVER)] = Field(
        description="Most metrics are logged more often, every so many steps up to `log_dense_until`: all but "
        "those of the whole training split, which cost most. A configuration may give it in τ; it is `log_every` "
        "where it is left out."
    )
    log_dense_until: Annotated[int, whole(0, FOREVER)] = Field(
        0,
        description="The denser logging ends after this many steps. A configuration may give it as `always`: up to "
        "the end of the run.",
    )

    def __init__(self, **settings: Any):
        try:
            super().__init__(**settings)
        except ValidationError as error:
            raise ConfigError(f"{sentence(error.errors()[0], Run)}.") from error

    @model_validator(mode="before")
    @classmethod
    def _of_numpy(cls, settings: Any) -> Any:
        numpy = sys.modules.get("numpy")  # if NumPy is not loaded, no number can be NumPy's
        if numpy is None or not isinstance(settings, dict):
            return settings
        scalars = {key: value.item() for key, value in settings.items() if isinstance(value, numpy.generic)}
        return settings | scalars

    @model_validator(mode="after")
    def _spells_no_decay_in_one_way(self) -> "Run":
        if self.weight_decay == 0:
            self.__dict__.update(NO_DECAY)
        return self

    @model_validator(mode="after")
    def _has_effect(self) -> "Run":
        broken = broken_rule(self)
        if broken:
            raise ValueError(broken)
        return self

    @property
    def id(self) -> str:
        """The name of the run, 12 hex digits: equal settings have the same id in every sweep and at every scale."""
        return hashlib.sha256(canonical(self.differing(exclude={"sweep"})).encode()).hexdigest()[:12]

    def differing(self, exclude: set[str] | None = None) -> dict[str, Any]:
        """Return the settings that differ from their defaults. Ids and hashes are made of these.

        So a field that is added later changes no id, if its default is the value that all runs had before. And the
        default of a field must never change.
        """
        return self.model_dump(exclude=exclude, exclude_defaults=True)

    def stack_key(self) -> tuple:
        """Return the settings that the runs of a stack must share, because they decide shapes and program."""
        return (*self.model_dump(exclude=set(PER_REPLICA)).values(), self.batch_norm_eps is None)

    def cost(self) -> float:
        """Estimate the time to train the run on a CPU, in arbitrary units and to within 20 %.

        An example costs 600 plus the number of weights that it meets. An unknown network counts as an MLP.
        """
        network = NETWORKS.get(self.network if self.network in NETWORKS else "mlp")
        return self.steps * self.batch_size * (600 + network.weights(self))


def broken_rule(run: Run) -> str | None:
    """Return a sentence about settings that do not go together, though each is allowed by itself; None if all do.

    No rule refuses a setting with its default value. Nor is a setting refused that a configuration may set for all of
    its runs at once: `decay_exclude` where nothing decays, or `log_dense_every` where `log_dense_until` is 0. Networks,
    losses and optimisers have rules of their own; unknown ones have none.
    """

    def only(field: str, allowed: Any, where: str) -> str:
        return f"{field} is {getattr(run, field)!r}, but must be {allowed} where {where}"

    unset = Run.model_fields
    for field, optimizer in _settings_of_others(run.optimizer).items():
        if getattr(run, field) != unset[field].default:
            return only(field, f"{unset[field].default:g}, or left out,", f"optimizer is not {optimizer}")
    if run.decay == "none" and run.weight_decay != 0:
        return only("weight_decay", 0, "decay is none")
    if run.decay != "elastic_net" and run.l1_ratio != unset["l1_ratio"].default:
        return only("l1_ratio", "0.5, or left out,", "decay is not elastic_net")
    if run.held_norm is not None and run.hold_norm != "never":
        return only("held_norm", "null, or left out,", f"hold_norm is {run.hold_norm}")
    if run.hold_part != "all" and run.hold_norm == "never" and run.held_norm is None:
        return only("hold_part", "all, or left out,", "no norm is held")
    if run.hold_part != "all" and run.batch_norm_eps is None:
        return only("hold_part", "all, or left out,", "the network has no BatchNorm")
    if run.loss in LOSSES and LOSSES.declared(run.loss, "classes_from", default=1) is None:  # a regression
        if run.label_noise:
            return only("label_noise", 0, f"loss is {run.loss}, which has no labels")
        if run.hold_norm == "saturation":
            return only("hold_norm", "never or start", f"loss is {run.loss}, which has no accuracy")
    if run.network in NETWORKS and (broken := NETWORKS.get(run.network).broken_rule(run)):
        return broken
    weights = max(run.blocks, 1) * run.width**2
    if weights > MOST_WEIGHTS:
        return f"width is {run.width} and blocks {run.blocks}, but blocks × width² must be at most {MOST_WEIGHTS}"
    logged = run.steps // run.log_every + min(run.steps, run.log_dense_until) // run.log_dense_every
    if logged > MOST_LOGGED:
        return f"a run of {run.steps} steps would log {logged} of them, but may log at most {MOST_LOGGED}"
    return None


def _settings_of_others(optimizer: str) -> dict[str, str]:
    """Return the settings that only other optimisers read, each with one of these; none for an unknown optimiser."""
    known = {name: OPTIMIZERS.declared(name, "settings", default=()) for name in OPTIMIZERS.names()}
    own = known.get(optimizer, [field for fields in known.values() for field in fields])
    return {field: name for name, fields in known.items() for field in fields if field not in own}


def require(run: Run, **allowed: Any) -> None:
    """Raise ConfigError unless each of these settings of a run has the given value, or one of several given values."""
    for field, given in allowed.items():
        values = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
        if getattr(run, field) not in values:
            must = f"one of {', '.join(map(str, values))}" if len(values) > 1 else repr(values[0])
            raise ConfigError(f"{field} is {getattr(run, field)!r}, but must be {must} in {run.experiment}.")


def telling_values(field: str, values: Sequence[Any]) -> list[Any]:
    """Return a few of a field's values, such that one of these breaks a rule if any of the values does.

    This holds for all values of the other fields.
    """
    if field in ("width", "steps", "log_dense_until"):
        return [max(values)]  # the larger, the longer or larger the run
    if field in ("log_every", "log_dense_every"):
        return [min(values)]  # the smaller, the more is logged
    default = Run.model_fields[field].default
    kinds = {
        value if isinstance(value, str) or field == "blocks" else (value is None, value == default, value == 0): value
        for value in values
    }
    return list(kinds.values())
