"""How many claims have which verdict: all of them, by kind, by when their criteria were fixed, and after correction."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import get_args

from weightdecay.claims.model import Claim, Verdict
from weightdecay.claims.multiplicity import corrected
from weightdecay.config import ClaimKind, Fixed

KINDS: Mapping[ClaimKind, str] = {
    "stated": "stated by a source",
    "implied": "implied by a source",
    "own reading": "our own reading or control",
    "identity": "identities, which algebra decides",
}
FIXED: Mapping[Fixed, str] = {
    "before": "criterion fixed before its runs",
    "after first runs": "criterion fixed after first runs",
    "after judged runs": "criterion fixed after judged runs",
}
ALL, CORRECTED = "all", "all, after Holm's correction"


def groups(claims: Sequence[Claim]) -> dict[str, list[Claim]]:
    """Return the claims of a whole ledger by group, named in words; every claim is in several groups.

    The last group holds all claims again, with the verdicts that remain after Holm's correction over the ledger.
    """
    return {
        ALL: list(claims),
        **{words: [claim for claim in claims if claim.kind == kind] for kind, words in KINDS.items()},
        **{words: [claim for claim in claims if claim.fixed == fixed] for fixed, words in FIXED.items()},
        CORRECTED: corrected(claims),
    }


def counts(claims: Iterable[Claim]) -> dict[Verdict, int]:
    """Return how many claims have each verdict."""
    found = Counter(claim.verdict for claim in claims)
    return {verdict: found[verdict] for verdict in get_args(Verdict)}


def in_words(claims: Iterable[Claim]) -> str:
    """Return the counts as text, without verdicts that no claim has: "9 reproduced, 2 refuted"."""
    return ", ".join(f"{number} {verdict}" for verdict, number in counts(claims).items() if number)


def quantities(claims: Iterable[Claim]) -> int:
    """Return how many quantities are judged: the tests that Holm's correction counts."""
    return sum(part.verdict is not None for claim in claims for part in claim.parts)


def lost(claims: Sequence[Claim]) -> list[str]:
    """Return the ids of the claims whose verdict Holm's correction changes."""
    return [claim.id for claim, after in zip(claims, corrected(claims), strict=True) if claim.verdict != after.verdict]
