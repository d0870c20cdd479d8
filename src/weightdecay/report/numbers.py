"""Numbers and intervals as people write them: one rule for how many digits, in plain text and in LaTeX."""

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
    superscript: bool  # whether an exponent has characters of its own, or braces

    def number(self, value: float) -> str:
        """Write a measured number, with three decimals and two digits at least up to 1, and whole from 100 on.

        Below 10⁻⁵ it has two digits and a power of ten; NaN is unknown.
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
        """Write a number that a person chose, a threshold say, as short as it is: 0.9, 250, 10⁻⁵."""
        text = f"{abs(value):g}"
        return self._signed(value, self._power(text) if "e" in text else text)

    def interval(self, found: Estimate | Part | Claim) -> str:
        """Write a value and its 95 % interval, "0.976 [0.970, 0.982]"; the value alone where there is no interval."""
        value = found.value if isinstance(found, Estimate) else found.measured
        if math.isnan(value) or math.isnan(found.low):
            return self.number(value)
        return f"{self.number(value)} [{self.number(found.low)}, {self.number(found.high)}]"

    def _signed(self, value: float, text: str) -> str:
        signed = self.minus + text if value < 0 else text
        return signed.replace(r"}\ensuremath{", "")  # one formula, not two beside each other

    def _power(self, text: str) -> str:
        """Write 1.5e-07 as a product; a mantissa of 1 is left out."""
        mantissa, exponent = text.split("e")
        power = str(int(exponent)).translate(SUPERSCRIPTS) if self.superscript else f"^{{{int(exponent)}}}"
        product = f"10{power}" if mantissa == "1" else f"{mantissa}{self.times}10{power}"
        return product if self.superscript else rf"\ensuremath{{{product}}}"


PLAIN = Numbers(unknown="–", minus="−", infinity="∞", comma=",", times="·", superscript=True)
LATEX = Numbers(
    unknown="--",
    minus=r"\ensuremath{-}",
    infinity=r"\ensuremath{\infty}",
    comma="{,}",  # leaves no space in text
    times=r"\cdot",
    superscript=False,
)
