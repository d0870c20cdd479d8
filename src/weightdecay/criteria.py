"""The text of a criterion: a template in which the names of thresholds stand for their numbers."""

import re
import string
from collections.abc import Mapping

from weightdecay.refusals import closest

FORMATS = re.compile(r"\|?(?:,|\.[0-9][fe%])?")


def rendered(template: str, thresholds: Mapping[str, float]) -> str:
    """Fill the thresholds' numbers into a template: `{name}` or `{name:format}`.

    Formats are Python's `,`, `.2f`, `.0%` and `.0e`; a | before the format leaves out a minus. Numbers are written as
    in print: .95, −.5, 25,000, 1 %, 1e-5. Raises ValueError for an unknown threshold or format.
    """
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError("must have a threshold's name in every pair of braces") from error
    filled = (
        "" if name is None else _number(f"{name}!{kind}" if kind else name, form or "", thresholds)
        for _, name, form, kind in parts
    )
    return "".join(before + number for (before, *_), number in zip(parts, filled, strict=True))


def _number(name: str, form: str, thresholds: Mapping[str, float]) -> str:
    if name not in thresholds:
        raise ValueError(f"must name thresholds in braces, and {name!r} is none{closest(name, thresholds)}")
    if not FORMATS.fullmatch(form):
        raise ValueError(f"must have ',', '.2f', '.0%' or '.0e' after a threshold's name, and {form!r} is none of them")
    value = abs(thresholds[name]) if form.startswith("|") else thresholds[name]
    form = form.removeprefix("|")
    text = format(int(value) if value == int(value) and form in ("", ",") else value, form)
    for written, printed in (("e-0", "e-"), ("e+0", "e"), ("%", " %")):
        text = text.replace(written, printed)
    sign, digits = ("−", text[1:]) if text.startswith("-") else ("", text)
    return sign + (digits[1:] if digits.startswith("0.") else digits)
