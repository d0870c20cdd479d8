"""The blocks of a scale, checked. A block is a product of lists of values, one list for each setting.

Each value is checked by itself. The rules that join several settings are checked with a few telling values of each,
because making and checking every run would take longer.
"""

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ConfigDict, TypeAdapter, ValidationError

from weightdecay import shorthand
from weightdecay.errors import ConfigError
from weightdecay.refusals import Fault, Kind, closest, explanation, fault, meant, short
from weightdecay.run import Run, broken_rule, telling_values
from weightdecay.setting_types import MOST_RUNS
from weightdecay.shorthand import Values

Settings = dict[str, Any]  # a field of Run -> its value, the list of its values, or shorthand for them
Sweeps = Mapping[str, Sequence[Settings]]

# Settings that a configuration may leave out. They are no defaults of `Run`: those would change the ids of runs.
LEFT_OUT: Values = {"blocks": [1], "batch_norm_eps": [None], "shuffle": [True], "log_dense_every": [shorthand.AS_OFTEN]}
SETTINGS = {
    name: TypeAdapter(field.rebuild_annotation(), config=ConfigDict(strict=True, allow_inf_nan=False))
    for name, field in Run.model_fields.items()
    if name not in ("experiment", "sweep")
}
REQUIRED = [name for name in SETTINGS if Run.model_fields[name].is_required() and name not in LEFT_OUT]


class Block(NamedTuple):
    """One product of values: its runs are `first` with each combination of `choices`, for each seed."""

    seeds: Sequence[int]
    first: Run
    choices: dict[str, list[Any]]


class Checker:
    """Checks the blocks of a finding, and collects in `faults` what is wrong with them."""

    def __init__(self, experiment: str, defaults: Settings, names: Mapping[str, Collection[str]]):
        """`names`: for each setting whose value is a name, such as `network`, the known names."""
        self.experiment, self.names = experiment, names
        self.faults: list[Fault] = []
        self.defaults = self._values("defaults", defaults)

    def blocks(self, scale: str, seeds: int, sweeps: Sweeps) -> Iterator[Block]:
        """Yield the blocks of a scale that have no fault, in the order of the file; collect the others' faults."""
        merged = [
            (f"scales.{scale}.sweeps.{sweep}[{index}]", sweep, block)
            for sweep, listed in sweeps.items()
            for index, block in enumerate(listed)
        ]
        own = [self._values(place, block) for place, _, block in merged]
        products: list[dict[str, Any]] = [{"seed": range(seeds), **self.defaults, **values} for values in own]
        count = sum(math.prod(map(len, values.values())) for values in products)
        if count > MOST_RUNS:
            said = f"{count:,}" if count < 10**15 else f"{count:.0e}"
            about = f"scales.{scale} asks for {said} runs, but a scale may have at most {MOST_RUNS:,}"
            self.faults.append(Fault(Kind.RULE, about))
            return
        for (place, sweep, _), values in zip(merged, products, strict=True):
            yield from self._block(place, sweep, {**values, **{k: v for k, v in LEFT_OUT.items() if k not in values}})

    def _values(self, place: str, settings: Settings) -> Values:
        """Check the values of every setting by themselves and return them: none for a setting that has a fault."""
        values: Values = {}
        for key, given in settings.items():
            if key not in SETTINGS:
                said = f"{short(key, str)} is not a setting of a run{closest(key, SETTINGS)}"
                self.faults.append(Fault(Kind.UNKNOWN, said, place, meant(key, SETTINGS)))
                continue
            try:
                values[key] = [self._value(key, one) for one in shorthand.listed(key, given)]
            except ValidationError as error:
                self.faults.append(fault({**error.errors()[0], "loc": (key,)}, Run)._replace(place=place))
            except ConfigError as error:
                self.faults.append(Fault(Kind.VALUE, str(error), place))
            values.setdefault(key, [])
        return values

    def _value(self, key: str, value: Any) -> Any:
        if shorthand.in_tau(key, value):
            return value
        checked = SETTINGS[key].validate_python(value)
        if key in self.names and checked not in self.names[key]:
            raise ConfigError(f"{key} is {short(value)}, which is not known{closest(value, self.names[key])}")
        return checked

    def _block(self, place: str, sweep: str, values: Values) -> Iterator[Block]:
        for key in REQUIRED:
            if key not in values:
                self.faults.append(Fault(Kind.MISSING, f"{key} is missing{explanation(Run, key)}", place, key))
        if not all(values.get(key) for key in {*values, *REQUIRED}):
            return
        try:
            for product in shorthand.in_steps(values):
                yield self._checked(sweep, product)
        except ConfigError as error:
            self.faults.append(Fault(Kind.RULE, str(error), place))

    def _checked(self, sweep: str, values: Values) -> Block:
        """Make the block. Raises ConfigError if any of its rows breaks a rule."""
        for key in shorthand.LENGTHS:
            for one in values[key]:
                self._value_in_steps(key, one)
        first = Run.model_construct(
            experiment=self.experiment, sweep=sweep, **{key: each[0] for key, each in values.items()}
        )
        choices = {key: list(each) for key, each in values.items() if not isinstance(each, range)}
        seeds = choices.pop("seed", values["seed"])
        telling = {key: telling_values(key, each) for key, each in choices.items()}
        for chosen in itertools.product(*telling.values()):
            if broken := broken_rule(first.model_copy(update=dict(zip(telling, chosen, strict=True)))):
                raise ConfigError(broken)
        return Block(seeds, first, choices)

    def _value_in_steps(self, key: str, value: int) -> None:
        try:
            SETTINGS[key].validate_python(value)
        except ValidationError as error:
            raise ConfigError(fault({**error.errors()[0], "loc": (key,)}, Run).said) from error
