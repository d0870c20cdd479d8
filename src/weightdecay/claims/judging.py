"""Verdicts: estimates are compared with the criteria in the finding's config.yaml.

    the whole 95 % interval satisfies the criterion     reproduced
    the whole interval violates it                      refuted
    it does neither, or there are fewer than 3 seeds    undecided

A network that diverged has no result. A finding may count it as the worst result (accuracy 0, an event that never
came). That is a convention, and a convention must not decide a claim. Where runs diverged, `verdicts` therefore judges
all claims twice, with those runs and without them, and decides a part only if both judgments agree. At least 3 seeds
whose networks did not diverge then support the verdict. Parts that assert where training diverges are exempt; the
finding names them.
"""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from weightdecay.claims.model import NOTHING, Claim, Part, Verdict, headline
from weightdecay.claims.names import wrong_name
from weightdecay.config import Criterion
from weightdecay.errors import ConfigError
from weightdecay.results import Results
from weightdecay.statistics.estimates import UNKNOWN, Estimate

LEAST_SEEDS = 3
NOT_RUN = "not run at this scale"


def judge_interval(
    estimate: Estimate, least: float = -math.inf, most: float = math.inf, strict: bool = False
) -> Verdict:
    """Return the verdict on "least <= quantity <= most".

    `strict` replaces "<=" by "<": an interval that ends on a bound is then undecided.
    """
    if estimate.n < LEAST_SEEDS or math.isnan(estimate.low) or math.isnan(estimate.high):
        return "undecided"
    ends = ((estimate.low, least), (estimate.high, most))
    if strict and any(end == bound and math.isfinite(bound) for end, bound in ends):
        return "undecided"
    if least <= estimate.low and estimate.high <= most:
        return "reproduced"
    if estimate.high < least or estimate.low > most:
        return "refuted"
    return "undecided"


def judged(
    name: str,
    quantity: str,
    estimate: Estimate,
    least: float = -math.inf,
    most: float = math.inf,
    strict: bool = False,
) -> Part:
    """Return a part that is judged by "least <= quantity <= most", or with "<" if `strict`."""
    verdict = judge_interval(estimate, least, most, strict)
    return Part(name, quantity, *estimate, verdict=verdict, least=least, most=most)


def reported(name: str, quantity: str, estimate: Estimate) -> Part:
    """Return a part that is only reported: it has no criterion and no verdict."""
    return Part(name, quantity, *estimate, verdict=None)


def claim(id: str, experiment: str, criteria: Mapping[str, Criterion], parts: Sequence[Part], note: str = "") -> Claim:
    """Return the claim `id`, with its words from the config's criteria and its verdict from its parts.

    A claim without parts, for which nothing was run, gets one part of unknown value. ConfigError if the name of a part
    cannot become a macro.
    """
    if not parts:
        parts, note = [judged("Unknown", "no network to measure", UNKNOWN)], joined(note, NOT_RUN)
    if wrong := wrong_name(id, [part.name for part in parts]):
        raise ConfigError(f"{experiment}: {wrong}.")
    words = criteria[id]
    return Claim(
        id=id,
        source=words.source,
        kind=words.kind,
        fixed=words.fixed,
        experiment=experiment,
        statement=words.statement,
        criterion=words.criterion,
        **headline(parts),
        note=note,
        scale="",  # set later, by the code that loads the results
    )


def verdicts(
    judge: Callable[[Results, Mapping[str, Criterion]], list[Claim]],
    found: Results,
    criteria: Mapping[str, Criterion],
    of_divergence: Mapping[str, Collection[str]] = NOTHING,
) -> list[Claim]:
    """Return the claims that `judge` gives, but leave undecided what only the convention for diverged runs decides.

    `of_divergence`: for each claim the names of the parts that assert where training diverges.
    """
    judged = judge(found, criteria)
    lost = found.runs["diverged_at"].notna()
    if not lost.any():
        return judged
    kept = found.runs[~lost]
    history = found.history[found.history["run"].isin(kept["run"])]
    finished = {claim.id: claim for claim in judge(replace(found, runs=kept, history=history), criteria)}
    said = counts(len(lost), {"diverged": int(lost.sum())})
    return [_cautious(item, finished[item.id], of_divergence.get(item.id, ()), said) for item in judged]


def _cautious(claim: Claim, finished: Claim, of_divergence: Collection[str], said: str) -> Claim:
    """Return the claim with a part decided only if the runs that did not diverge give it the same verdict.

    `finished` is the claim as these runs alone decide it. Without the diverged runs a part may be about something else,
    such as another largest λ; it then does not count as the same part.
    """
    others = {(part.name, part.quantity): part for part in finished.parts}
    parts, opened, alone = [], [], False
    for part in claim.parts:
        other = others.get((part.name, part.quantity))
        alike = other is not None and other.verdict == part.verdict
        if part.verdict in (None, "undecided") or part.name in of_divergence or alike:
            parts.append(part)
        else:
            parts.append(_opened(part, other))
            opened.append(part.name)
            alone |= other is None
    note = claim.note
    if opened:
        has = "has another verdict" if len(opened) == 1 else "have other verdicts"
        so = "it is undecided" if len(opened) == 1 else "they are undecided"
        without = f"without them {' and '.join(opened)} {has}{' or none' if alone else ''}, so {so}"
        note = joined(*(each for each in note.split("; ") if each != said), said, without)
    elif any(part.verdict and math.isnan(part.measured) for part in parts) and "diverged" not in note:
        note = joined(note, said)
    return replace(claim, note=note, **headline(parts))


def _opened(part: Part, other: Part | None) -> Part:
    """Return an undecided part in place of one whose verdict `other` does not share.

    `other` is the same part as the runs that did not diverge decide it; None if they have no such part.
    """
    if other is None:
        return Part(part.name, part.quantity, *UNKNOWN, "undecided", part.least, part.most)
    return other if other.verdict == "undecided" else replace(part, verdict="undecided")


def counts(runs: int, kinds: Mapping[str, int]) -> str:
    """Say for a claim's note how many runs there were, and how many of each kind that needs a remark."""
    if runs == 0:
        return NOT_RUN
    return "; ".join(f"{int(number)} of {runs} runs {kind}" for kind, number in kinds.items() if number)


def distinct(chosen: ArrayLike) -> str:
    """Say for a claim's note which λ the seeds chose, each once."""
    known = np.asarray(chosen, dtype=float)
    return ", ".join(f"{λ:g}" for λ in np.unique(known[~np.isnan(known)])) or "not known"


def joined(*notes: str) -> str:
    """Join several notes into one; a repeated note appears once."""
    return "; ".join(dict.fromkeys(filter(None, notes)))
