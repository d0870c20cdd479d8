"""The sentence for whatever is refused: where it stands, what it is, in short, and what is allowed."""

import difflib
from collections.abc import Callable, Iterable
from typing import Any, get_args

from pydantic import BaseModel


def short(value: Any, write: Callable[[Any], str] = repr, most: int = 60) -> str:
    """A value as text of at most `most` characters, on one line."""
    if isinstance(value, int) and value.bit_length() > 128:  # Python writes no integer of more than 4,300 digits
        return f"an integer of about {int(value.bit_length() * 0.30103) + 1} digits"
    if isinstance(value, str):
        value = value[: most + 1]
    elif isinstance(value, list | tuple | dict | set | frozenset) and len(value) > 20:
        return f"a {type(value).__name__} of {len(value)} values"
    try:
        text = " ".join(write(value).split())
    except (ValueError, RecursionError):  # an integer too long to write somewhere inside, or a list that holds itself
        return f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 1]}…"


def closest(word: str, known: Iterable[str]) -> str:
    """In brackets the known word that was meant, or the known words."""
    known = list(known)
    matches = difflib.get_close_matches(str(word)[:100], known, n=1)
    return f" (did you mean {matches[0]}?)" if matches else f" (known are {short(', '.join(known), str, 150)})"


def sentence(error: Any, model: type[BaseModel] | None = None) -> str:
    """One of pydantic's errors in our words: the key, its value and what is allowed. `model`: what was validated."""
    *parents, key = error["loc"] or ("the file",)
    if key == "[key]":  # a mapping's key itself is wrong
        return f"{_place(parents)} {_rule(error)}"
    place = _place((*parents, key))
    if error["type"] == "extra_forbidden":
        return f"{place} is not a known key{closest(str(key), _fields(model, parents))}"
    if error["type"] in ("missing", "missing_keyword_only_argument"):
        return f"{place} is missing"
    if error["type"] == "unexpected_keyword_argument":
        return f"{place} is not a known argument"
    rule = _rule(error)
    if not error["loc"] and error["type"] == "value_error":
        return rule  # of several settings, which it names
    return f"{place} is {short(error['input'])}, but {rule}"


def _place(parts: Iterable[str | int]) -> str:
    return ".".join(short(str(part), str, 40) for part in parts)


def _rule(error: Any) -> str:
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    before, must, rule = error["msg"].partition(" should ")  # "Input should be a valid list", "List should have at ..."
    rule = rule.partition(" after validation")[0]
    return f"must {rule}" if must else f"{before[0].lower()}{before[1:]}"


def _fields(model: type[BaseModel] | None, parents: Iterable[str | int]) -> list[str]:
    """The keys known at a place of a model: fields are followed by name, and mappings and lists to what they hold."""
    kind: Any = model
    for parent in parents:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            kind = kind.model_fields[str(parent)].annotation
        else:
            kind = get_args(kind)[-1]
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
