"""Sentences about mistakes in a file: each names the place and the value, and says what is allowed."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from typing import Any, NamedTuple, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

MOST_FAULTS = 20  # of a file that are listed


class Kind(IntEnum):
    """The kinds of faults, the most telling first: if a key is misspelt, the right key is missing too."""

    UNKNOWN, VALUE, MISSING, RULE = range(4)


class Fault(NamedTuple):
    """One thing that is wrong with a file."""

    kind: Kind
    said: str  # the sentence, without its full stop
    place: str = ""  # the part of the file, if the sentence does not name it
    key: str = ""  # the key that is missing or was meant


def listing(faults: Iterable[Fault]) -> str:
    """Write all faults, each once: a single one as a sentence, several as lines, the most telling first."""
    faults = sorted(faults, key=lambda fault: fault.kind)  # stable, so each kind stays in the order of the file
    meant = {fault.key for fault in faults if fault.kind == Kind.UNKNOWN}
    places: dict[str, dict[str, None]] = {}
    for fault in faults:
        if fault.kind != Kind.MISSING or fault.key not in meant:
            places.setdefault(fault.said, {})[fault.place] = None
    lines = [_line(said, list(where)) for said, where in places.items()]
    if len(lines) == 1:
        return f": {lines[0]}"
    more = [f"and {len(lines) - MOST_FAULTS} more."] if len(lines) > MOST_FAULTS else []
    return "\n  ".join([f" has {len(lines)} faults:", *lines[:MOST_FAULTS], *more])


def _line(said: str, places: Sequence[str]) -> str:
    more = f" and {len(places) - 1} more" if len(places) > 1 else ""
    return f"{places[0]}{more}: {said}." if places[0] else f"{said}."


def short(value: Any, write: Callable[[Any], str] = repr, most: int = 60) -> str:
    """Write a value on one line, in at most `most` characters."""
    if isinstance(value, int) and value.bit_length() > 128:  # Python refuses to write more than 4,300 digits
        return f"an integer of about {int(value.bit_length() * 0.30103) + 1} digits"
    if isinstance(value, str):
        value = value[: most + 1]
    elif isinstance(value, list | tuple | dict | set | frozenset) and len(value) > 20:
        return f"a {type(value).__name__} of {len(value)} values"
    try:
        text = " ".join(write(value).split())
    except (ValueError, RecursionError):  # it contains an integer that is too long to write, or itself
        return f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def meant(word: str, known: Iterable[str]) -> str:
    """Return the known word that is closest to a misspelt one; "" if none is close."""
    return next(iter(difflib.get_close_matches(str(word)[:100], list(known), n=1)), "")


def closest(word: str, known: Iterable[str]) -> str:
    """Return in brackets the known word that was probably meant, or else all known words."""
    known = list(known)
    match = meant(word, known)
    return f" (did you mean {match}?)" if match else f" (known are {short(', '.join(known), str, 150)})"


def sentence(error: ErrorDetails, model: type[BaseModel] | None = None) -> str:
    """Write one of pydantic's errors as a sentence with key, value and what is allowed.

    `model`: the model that was validated.
    """
    return fault(error, model).said


def fault(error: ErrorDetails, model: type[BaseModel] | None = None) -> Fault:
    """Turn one of pydantic's errors into a fault. `model`: the model that was validated; its fields are explained."""
    *parents, key = error["loc"] or ("the file",)
    if key == "[key]":  # a mapping's key itself is wrong
        return Fault(Kind.VALUE, f"{_place(parents)} {_rule(error)}")
    place = _place((*parents, key))
    at = _model_at(model, parents)
    known = at.model_fields if at else {}
    if error["type"] == "extra_forbidden":
        return Fault(Kind.UNKNOWN, f"{place} is not a known key{closest(str(key), known)}", key=meant(str(key), known))
    explained = explanation(at, str(key))
    if error["type"] in ("missing", "missing_keyword_only_argument"):
        return Fault(Kind.MISSING, f"{place} is missing{explained}", key=str(key))
    if error["type"] == "unexpected_keyword_argument":
        return Fault(Kind.UNKNOWN, f"{place} is not a known argument")
    rule = _rule(error)
    if not error["loc"] and error["type"] == "value_error":
        return Fault(Kind.RULE, rule)  # the rule joins several settings, and names them
    return Fault(Kind.VALUE, f"{place} is {short(error['input'])}, but {rule}{explained}")


def explanation(model: type[BaseModel] | None, key: str) -> str:
    """Return in brackets the first sentence of a field's explanation; "" if there is no such field."""
    field = model.model_fields.get(key) if model else None
    if field is None or not field.description:
        return ""
    first = field.description.partition(". ")[0].removesuffix(".")
    return f" ({first[0].lower()}{first[1:]})"


def _place(parts: Iterable[str | int]) -> str:
    return ".".join(short(str(part), str, 40) for part in parts)


def _rule(error: ErrorDetails) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    before, must, rule = error["msg"].partition(" should ")  # "Input should be a valid list", "List should have at ..."
    rule = rule.partition(" after validation")[0]
    return f"must {rule}" if must else f"{before[0].lower()}{before[1:]}"


def _model_at(model: type[BaseModel] | None, parents: Iterable[str | int]) -> type[BaseModel] | None:
    """Return the model at a place within a model: fields are found by name; mappings and lists by their content."""
    kind: Any = model
    for parent in parents:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(parent))
            kind = field.annotation if field else None
            kind = next((one for one in get_args(kind) if one is not type(None)), kind) if _optional(kind) else kind
        else:
            kind = (get_args(kind) or (None,))[-1]
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _optional(kind: Any) -> bool:
    return type(None) in get_args(kind)
