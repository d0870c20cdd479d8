"""Numbers and intervals as people write them, by one rule for the number of digits, in plain text and in LaTeX."""

import math
from dataclasses import dataclass

from weightdecay.claims.model import Claim, Part
from weightdecay.statistics.estimates import Estimate

SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class Numbers:
    """A notation for numbers: `PLAIN` for figures, terminals and Markdown, `LATEX` for the paper."""

    unknown: str
    minus: str
    infinity: str
    comma: str  # between thousands
    times: str  # between a mantissa and its power of ten
    superscript: bool  # whether exponents are superscript characters; else they are in braces

    def number(self, value: float) -> str:
        """Write a measured number.

        Up to 1 it has three decimals, and at least two digits. From 100 on it is whole. Below 10⁻⁵ it has two digits
        and a power of ten. NaN is written as unknown.
        """
        size = abs(value)
        if math.isnan(value) or math.isinf(value):
            return self.unknown if math.isnan(value) else self._signed(value, self.infinity)
        if 0 < size < 1e-5:
            return self._signed(value, self._power(f"{size:.1e}"))
        decimals = 0 if size >= 99.95 else 1 if size >= 9.995 else 2 if size >= 1.0005 else 3
        decimals = max(decimals, 1 - math.floor(math.log10(size))) if 0 < size < 0.1 else decimals
        return self._signed(value, f"{size:,.{decimals}f}".replace(",", self.comma))

    def integer(self, value: int) -> str:
        """Write a whole number, with commas between thousands."""
        return self._signed(value, f"{abs(value):,}".replace(",", self.comma))

    def exact(self, value: float) -> str:
        """Write a number that a person chose, such as a threshold, without rounding: 0.9, 250, 10⁻⁵."""
        text = f"{abs(value):g}"
        return self._signed(value, self._power(text) if "e" in text else text)

    def interval(self, found: Estimate | Part | Claim) -> str:
        """Write a value and its 95 % interval, "0.976 [0.970, 0.982]".

        A value without an interval stands alone, and so does one whose interval has no width as it is written. A whole
        number without any width is a count, and has no decimals.
        """
        value = float(found.value if isinstance(found, Estimate) else found.measured)
        if value == found.low == found.high and value.is_integer():
            return self.integer(int(value))
        text, low, high = map(self.number, (value, found.low, found.high))
        if math.isnan(value) or math.isnan(found.low) or low == text == high:
            return text
        return f"{text} [{low}, {high}]"

    def _signed(self, value: float, text: str) -> str:
        signed = self.minus + text if value < 0 else text
        return signed.replace(r"}\ensuremath{", "")  # joins two formulas into one

    def _power(self, text: str) -> str:
        """Write a number such as 1.5e-07 as a product with a power of ten; a mantissa of 1 is left out."""
        mantissa, exponent = text.split("e")
        power = str(int(exponent)).translate(SUPERSCRIPTS) if self.superscript else f"^{{{int(exponent)}}}"
        product = f"10{power}" if mantissa == "1" else f"{mantissa}{self.times}10{power}"
        return product if self.superscript else rf"\ensuremath{{{product}}}"


PLAIN = Numbers(unknown="–", minus="−", infinity="∞", comma=",", times="·", superscript=True)
LATEX = Numbers(
    unknown="--",
    minus=r"\ensuremath{-}",
    infinity=r"\ensuremath{\infty}",
    comma="{,}",  # in braces TeX adds no space after it
    times=r"\cdot",
    superscript=False,
)
