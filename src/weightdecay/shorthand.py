"""Shorthand for a block's values in a configuration: geometric grids, lengths in τ, and words for a number.

weight_decay: {from: 0.004, to: 4.096, factor: 2}     0.004, 0.008, ..., 4.096
steps: 4 tau                                          4 τ of the row, in whole intervals of logging
log_every: never                                      only at both ends of the run
log_dense_until: always                               to the end of the run
"""

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from weightdecay.errors import ConfigError
from weightdecay.refusals import short
from weightdecay.run import FOREVER

WORDS = {("log_every", "never"): FOREVER, ("log_dense_until", "always"): FOREVER}
LENGTHS = ("log_every", "log_dense_every", "steps")  # these may be given in τ, and are worked out in this order
TAU_OF = ("optimizer", "learning_rate", "momentum", "decay", "weight_decay", "log_dense_until")
IN_TAU = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) tau", re.ASCII)
AS_OFTEN = None  # the value of log_dense_every that stands for log_every: it was left out
LONGEST_GRID = 1_000

Values = dict[str, list[Any]]  # setting -> values; a block is their product


def listed(key: str, value: Any) -> list[Any]:
    """Return the values of a setting as a list; lengths in τ stay as they are.

    Raises ConfigError for a mapping that is not a geometric grid, and for an empty list.
    """
    if isinstance(value, dict):
        return _grid(key, value)
    if value == []:
        raise ConfigError(f"{key} is an empty list, but must hold at least one value")
    values = value if isinstance(value, list) else [value]
    return [WORDS.get((key, one), one) if isinstance(one, str) else one for one in values]


def _grid(key: str, grid: Mapping[str, Any]) -> list[Any]:
    """Return the values from `from` to `to`, each `factor` times the one before, as exact as if they were typed."""
    numbers = [grid[name] for name in ("from", "to", "factor") if name in grid]
    if (
        len(grid) != 3
        or len(numbers) != 3
        or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in numbers)
    ):
        raise ConfigError(f"{key} is {short(grid)}, but must be a value, a list, or a grid of from, to and factor")
    if not (all(map(math.isfinite, numbers)) and 0 < numbers[0] <= numbers[1] and numbers[2] > 1):
        raise ConfigError(f"{key} is {short(grid)}, but must have 0 < from <= to and a factor above 1")
    value, end, factor = (Fraction(repr(one)) for one in numbers)  # exact: 0.1 is one tenth
    values = [value]
    while value < end and len(values) < LONGEST_GRID:
        value *= factor
        values.append(value)
    if value != end:
        raise ConfigError(f"{key} is {short(grid)}, but factor must lead exactly to `to`, within {LONGEST_GRID} values")
    kind = int if all(isinstance(one, int) for one in numbers) else float
    return [kind(one) for one in values]


def in_tau(key: str, value: Any) -> bool:
    """Return whether a value is a length in τ, such as `4 tau`."""
    return key in LENGTHS and isinstance(value, str) and IN_TAU.fullmatch(value) is not None


def in_steps(values: Values) -> Iterator[Values]:
    """Yield the block as several blocks with all lengths in steps, as these may differ between rows.

    The order of rows stays. Raises ConfigError if a row has no τ.
    """
    if values["log_dense_every"] == [AS_OFTEN] and len(values["log_every"]) == 1:
        values = values | {"log_dense_every": values["log_every"]}
    if not any(one is AS_OFTEN or in_tau(key, one) for key in LENGTHS for one in values[key]):
        yield values
        return
    split = [key for key in values if key in TAU_OF or key in LENGTHS]
    for chosen in itertools.product(*(values[key] for key in split)):
        yield values | {key: [one] for key, one in _row_in_steps(dict(zip(split, chosen, strict=True))).items()}


def _row_in_steps(row: dict[str, Any]) -> dict[str, Any]:
    for key in LENGTHS:
        value = row["log_every"] if row[key] is AS_OFTEN else row[key]
        if in_tau(key, value):
            exact = Fraction(value.removesuffix(" tau")) * _tau(key, row)
            unit = _interval(row, exact) if key == "steps" else 1
            value = max(1, round(exact / unit)) * unit
        row[key] = value
    return row


def _interval(row: Mapping[str, Any], steps: Fraction) -> int:
    """Return the interval of logging at the end of a run of about so many steps. The run must end on a logged step."""
    interval: int = row["log_dense_every" if row.get("log_dense_until", 0) >= steps else "log_every"]
    return interval if interval <= steps else 1


def _tau(key: str, row: Mapping[str, Any]) -> Fraction:
    """Return τ in steps, the time in which decay alone takes the weights to 1/e: 1/(ηλ) to first order.

    With an L2 penalty under SGD with momentum it is (1 − momentum)/(ηλ). An L2 penalty under Adam has no single τ.
    """
    rate, decay = (Fraction(repr(row[name])) for name in ("learning_rate", "weight_decay"))
    if not decay or (row["decay"] != "decoupled" and (row["decay"], row["optimizer"]) != ("l2", "sgd")):
        where = f"decay is {row['decay']}, weight_decay {row['weight_decay']:g} and optimizer {row['optimizer']}"
        raise ConfigError(f"{key} is {row[key]!r}, but there is no τ where {where}")
    kept = Fraction(repr(row.get("momentum", 0.0))) if row["decay"] == "l2" else 0
    return (1 - kept) / (rate * decay)
