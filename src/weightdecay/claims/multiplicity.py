"""Many claims: which verdicts remain if no verdict of a whole ledger may be wrong by chance.

Every judged quantity has a 95 % interval of its own. Where a quantity lies exactly on its bound, the whole interval is
on the wrong side with a chance of 2.5 %. Among hundreds of quantities some verdicts may therefore be wrong by chance.
Holm's correction (1979) keeps the chance of any such verdict below 2.5 %. It costs power: more claims are undecided.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from scipy import special

from weightdecay.claims.agreement import holm, is_logarithmic
from weightdecay.claims.model import Claim, Part, headline
from weightdecay.statistics.estimates import CONFIDENCE, student_t

LEVEL = (1 - CONFIDENCE) / 2  # a one-sided error: of a quantity on its bound, or of any quantity after the correction


def wrong_side(part: Part) -> float:
    """Return the p-value that the quantity lies on the other side of its bound than the part's verdict says.

    This is a one-sided p-value of Student's t, with the standard error that the interval implies, on the logarithmic
    scale where the interval is more symmetric there. An undecided part has 1, and an interval without width 0.
    """
    if part.verdict == "reproduced":
        sides = [(part.low, part.least), (part.high, part.most)]  # both must hold
    elif part.verdict == "refuted":
        sides = [(part.high, part.least)] if part.high < part.least else [(part.low, part.most)]
    else:
        return 1.0
    return max(_beyond(part, end, bound) for end, bound in sides if math.isfinite(bound))


def _beyond(part: Part, end: float, bound: float) -> float:
    """Return the p-value that the quantity is beyond the bound, which lies on the side of this end of the interval."""
    logarithmic = bound > 0 and is_logarithmic(part)
    measured, end, bound = (math.log(x) if logarithmic else x for x in (part.measured, end, bound))
    if measured == bound:
        return 0.5
    if end == measured:
        return 0.0
    t = student_t(part.n) * (measured - bound) / (measured - end)
    return float(special.stdtr(part.n - 1, -t))


def corrected(claims: Sequence[Claim]) -> list[Claim]:
    """Return the claims of a whole ledger after Holm's correction over all of its judged parts.

    A part stays decided if its corrected p-value is at most 2.5 %; the verdict of a claim follows from its parts.
    """
    adjusted = iter(holm([wrong_side(part) for claim in claims for part in claim.parts if part.verdict is not None]))

    def cautious(part: Part) -> Part:
        return part if part.verdict is None or next(adjusted) <= LEVEL else replace(part, verdict="undecided")

    return [replace(claim, **headline([cautious(part) for part in claim.parts])) for claim in claims]
