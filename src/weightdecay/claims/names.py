r"""The names of the paper's macros: letters only, as TeX wants them.

    claim A4              \AfourVerdict \AfourMeasured \AfourLow \AfourHigh \AfourN \AfourCI
    its part "Ratio"      \AfourRatio \AfourRatioLow \AfourRatioHigh \AfourRatioN \AfourRatioCI \AfourRatioVerdict

A number inside a name is spelled out: `\AoneTestZeroPointZeroZeroThree` is claim A1's test accuracy at λ = .003.
"""

import re
from collections.abc import Sequence

DIGITS = dict(
    zip(
        "0123456789.-",
        ["Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Point", "Minus"],
        strict=True,
    )
)
SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
TENS = "zero ten twenty thirty forty fifty sixty seventy eighty ninety".split()
PART = "[A-Z][A-Za-z]*"
KINDS = ("", "Low", "High", "N", "CI", "Verdict")  # the endings of the macros of a part


def in_letters(value: float | str) -> str:
    """Spell a number as a part of a macro's name: .003 is ZeroPointZeroZeroThree."""
    text = value if isinstance(value, str) else f"{value:.10f}".rstrip("0").rstrip(".")
    return "".join(DIGITS[character] for character in text)


def stem_of_claim(id: str) -> str:
    """Return the beginning of the names of a claim's macros: "Afour" for A4, "Dtwentyone" for D21."""
    tens, ones = divmod(int(id[1:]), 10)
    small = 10 * tens + ones < len(SMALL)
    return id[0] + (SMALL[int(id[1:])] if small else TENS[tens] + (SMALL[ones] if ones else ""))


def stem_of_experiment(name: str) -> str:
    """Return the beginning of the names of a finding's macros: "BinaryAddition". Digits are spelled out."""
    return "".join(DIGITS.get(character, character) for character in name.title().replace("_", ""))


def wrong_name(id: str, parts: Sequence[str]) -> str | None:
    """Say in one sentence what is wrong with the names of a claim's parts, or return None.

    A name must be letters, and no two numbers of the claim may have the same macro.
    """
    owners = {f"{stem_of_claim(id)}{kind or 'Measured'}": "the claim itself" for kind in KINDS}
    for part in parts:
        if not re.fullmatch(PART, part):
            return f"the part {part!r} of claim {id} must have a name of letters only, the first a capital"
        for kind in KINDS:
            macro = f"{stem_of_claim(id)}{part}{kind}"
            if macro in owners:
                return f"the part {part} of claim {id} must have another name: \\{macro} belongs to {owners[macro]}"
            owners[macro] = f"its part {part}"
    return None
