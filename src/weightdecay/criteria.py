"""The words of a criterion: a template in which the thresholds' names stand for their numbers."""

import string
from collections.abc import Mapping

from weightdecay.refusals import closest


def rendered(template: str, thresholds: Mapping[str, float]) -> str:
    """The template with `{name}` and `{name:spec}` filled in. `spec` is Python's: `.2f`, `,`, `.0%`, `.0e`.

    Numbers are written as in print: .95, −.5, 25,000, 1 %, 1e-5. A spec that begins with | writes the size alone.
    Raises ValueError where a name is not a threshold or a spec is none.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError("must have a threshold's name in every pair of braces") from error
    return "".join(
        before + ("" if name is None else _number(name, spec or "", thresholds)) for before, name, spec, _ in parts
    )


def _number(name: str, spec: str, thresholds: Mapping[str, float]) -> str:
    if name not in thresholds:
        raise ValueError(f"must name thresholds in braces, and {name!r} is none{closest(name, thresholds)}")
    value = thresholds[name]
    if spec.startswith("|"):
        value, spec = abs(value), spec[1:]
    try:
        text = format(int(value) if value == int(value) and spec in ("", ",") else value, spec)
    except ValueError as error:
        raise ValueError(f"must have a format of a number in braces, and {spec!r} is none") from error
    for written, printed in (("e-0", "e-"), ("e+0", "e"), ("%", " %")):
        text = text.replace(written, printed)
    sign, digits = ("−", text[1:]) if text.startswith("-") else ("", text)
    return sign + (digits[1:] if digits.startswith("0.") else digits)
