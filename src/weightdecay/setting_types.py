"""The types of settings: names that are safe in paths, and numbers within bounds.

Every bound is far above what the paper's runs use, and below what would fill a machine or never end.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from weightdecay.refusals import short

LONGEST_NAME = 64
CLAIM = "[A-Z][1-9][0-9]?"  # the paper's macros spell out the number, in words up to ninety-nine
LARGEST = 1e30  # no number is larger: networks train in float32, which ends at 3e38
SMALLEST = 1e-30  # no positive number is smaller: float32 has full precision down to 1.2e-38
MOST_SEEDS = 1_000_000
MOST_SHARDS = 100_000
MOST_RUNS = 2_000_000  # at one scale: to list so many takes a minute and 6 GiB; the paper's largest scale has 69,000
MOST_WEIGHTS = 2**30  # in a network's hidden layers, by width and blocks: 4 GiB
MOST_LOGGED = 1_000_000  # steps that a run logs; the paper's runs log up to 3,000
DEEPEST_ARGUMENT = 4  # levels of nesting in an argument of a computation; ours are numbers, text and lists


class Strict(BaseModel):
    """A strict model: it refuses unknown keys, conversions, NaN, and changes after it was checked."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Allowed:
    """An annotation of a type, `Annotated[float, Allowed(...)]`, which allows only values that pass a test.

    `said` completes the words "must be" in errors, and stands on the page of settings.
    """

    test: Callable[[Any], object]
    said: str

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.checked, handler(source))

    def checked(self, value: Any) -> Any:
        """Return the value. Raises ValueError if it does not pass the test."""
        if not self.test(value):
            raise ValueError(f"must be {self.said}")
        return value


def whole(low: int, high: int) -> Allowed:
    """Allow the integers from `low` to `high`."""
    return Allowed(lambda value: low <= value <= high, f"an integer from {low} to {high}")


def matching(pattern: str, said: str) -> Allowed:
    """Allow a text that matches a pattern as a whole and has at most LONGEST_NAME characters."""
    whole_text = re.compile(pattern, re.ASCII).fullmatch
    return Allowed(lambda value: len(value) <= LONGEST_NAME and whole_text(value), said)


def unlike(names: Iterable[str]) -> Iterable[str]:
    """Return the names; ValueError if two are equal up to case, because some file systems cannot hold both."""
    seen: dict[str, str] = {}
    for name in names:
        if name.lower() in seen:
            raise ValueError(f"must not hold both {short(seen[name.lower()])} and {short(name)}")
        seen[name.lower()] = name
    return names


def plain(value: Any, depth: int = 0) -> Any:
    """Return the value if JSON can hold it and its numbers and nesting are within bounds; else raise ValueError.

    JSON holds no dates, sets, bytes or NaN.
    """
    children: Iterable[Any] = ()
    if isinstance(value, dict):
        children = (*value, *value.values())
        if not all(isinstance(key, str) for key in value):
            raise ValueError("must have text for keys")
    elif isinstance(value, list):
        children = value
    elif isinstance(value, int | float) and not isinstance(value, bool):
        if not -LARGEST <= value <= LARGEST:  # true of NaN too
            raise ValueError(f"must be a number from {-LARGEST:g} to {LARGEST:g}")
    elif not (value is None or isinstance(value, bool | str)):
        raise ValueError("must be of numbers, text, true, false, null, lists and mappings")
    if children and depth == DEEPEST_ARGUMENT:
        raise ValueError(f"must not be nested deeper than {DEEPEST_ARGUMENT} levels")
    for child in children:
        plain(child, depth + 1)
    return value


Name = Annotated[
    str, matching("[A-Za-z0-9][A-Za-z0-9_]*", f"a name: letters, digits and _, at most {LONGEST_NAME}, the first no _")
]
Identifier = Annotated[
    str, matching("[a-z][a-z0-9_]*", f"a name: a-z, 0-9 and _, at most {LONGEST_NAME}, the first a letter")
]
ClaimId = Annotated[str, matching(CLAIM, "a claim's id: one capital letter and a number from 1 to 99")]
Text = Annotated[str, Field(min_length=1)]
Names = Annotated[list[Name], AfterValidator(unlike)]
Metrics = Annotated[list[Identifier], AfterValidator(unlike)]
Plain = Annotated[Any, AfterValidator(plain)]
Precision = Literal["float32", "tf32"]  # of a GPU's products of float32 matrices: IEEE, or 10 bits of each mantissa

_POSITIVE = f"a number from {SMALLEST:g} to {LARGEST:g}"
Positive = Annotated[float, Allowed(lambda value: SMALLEST <= value <= LARGEST, _POSITIVE)]
NotNegative = Annotated[float, Allowed(lambda value: value == 0 or SMALLEST <= value <= LARGEST, f"0 or {_POSITIVE}")]
Finite = Annotated[
    float, Allowed(lambda value: -LARGEST <= value <= LARGEST, f"a number from {-LARGEST:g} to {LARGEST:g}")
]
Share = Annotated[float, Allowed(lambda value: 0 <= value <= 1, "a number from 0 to 1")]
Rate = Annotated[float, Allowed(lambda value: 0 <= value < 1, "a number from 0 to below 1")]
