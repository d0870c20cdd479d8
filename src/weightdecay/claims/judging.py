"""Verdicts: estimates are held against criteria that were fixed in the experiment's config before the runs.

    the whole 95 % interval satisfies the criterion     reproduced
    the whole interval violates it                      refuted
    it straddles, or there are fewer than 3 seeds       undecided

A network that diverged has no result. A finding may count it as the worst one (accuracy 0, an event that never came):
that is a convention, and a convention decides nothing. Where runs diverged, `verdicts` therefore judges all claims
twice, with those runs and without them, and a part is decided only if both judgments say so: at least 3 seeds whose
networks did not diverge then stand behind it. Exempt are the parts that assert where training diverges; a finding names
them.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from weightdecay.claims.model import NOTHING, Claim, Judge, Part, Verdict, headline
from weightdecay.claims.names import wrong_name
from weightdecay.config import Criterion
from weightdecay.errors import ConfigError
from weightdecay.refusals import closest
from weightdecay.results import Results
from weightdecay.statistics.estimates import UNKNOWN, Estimate

LEAST_SEEDS = 3
NOT_RUN = "not run at this scale"


def judge_interval(
    estimate: Estimate, least: float = -math.inf, most: float = math.inf, strict: bool = False
) -> Verdict:
    """Return the verdict on "least <= quantity <= most".

    `strict` judges "<" instead, which an interval that ends on a bound leaves undecided.
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
    """Return a part that is held against "least <= quantity <= most", or `strict`ly against "<"."""
    verdict = judge_interval(estimate, least, most, strict)
    return Part(name, quantity, *estimate, verdict=verdict, least=least, most=most)


def reported(name: str, quantity: str, estimate: Estimate) -> Part:
    """Return a part that is reported beside the judged ones."""
    return Part(name, quantity, *estimate, verdict=None)


def claim(id: str, experiment: str, criteria: Mapping[str, Criterion], parts: Sequence[Part], note: str = "") -> Claim:
    """Return the claim `id`, with its words from the config's criteria and its verdict from its parts.

    Without parts, where nothing was run that it could be judged by, it has one that is unknown. ConfigError where the
    config has no criterion of that id, or where parts have names that cannot become macros.
    """
    if id not in criteria:
        raise ConfigError(
            f"{experiment} judges claim {id}, but its config has no criterion {id}{closest(id, criteria)}."
        )
    if not parts:
        parts, note = [judged("Unknown", "no network to measure", UNKNOWN)], joined(note, NOT_RUN)
    if wrong := wrong_name(id, [part.name for part in parts]):
        raise ConfigError(f"{experiment}: {wrong}.")
    words = criteria[id]
    return Claim(
        id=id,
        source=words.source,
        experiment=experiment,
        statement=words.statement,
        criterion=words.criterion,
        **headline(parts),
        note=note,
        scale="",  # whoever loads the results knows it
    )


def verdicts(
    judge: Judge,
    found: Results,
    criteria: Mapping[str, Criterion],
    of_divergence: Mapping[str, Collection[str]] = NOTHING,
) -> list[Claim]:
    """Return the claims as `judge` gives them, but with no part decided by what a diverged run counts as.

    `of_divergence`: by claim the names of the parts that assert where training diverges. ConfigError where the claims
    are not those of the criteria, each once.
    """
    judged = judge(found, criteria)
    ids = [claim.id for claim in judged]
    for id in (*criteria, *ids):
        if ids.count(id) != 1:
            raise ConfigError(f"the config has one criterion {id}, but it is judged {ids.count(id)} times.")
    lost = found.runs["diverged_at"].notna()
    if not lost.any():
        return judged
    kept = found.runs[~lost]
    history = found.history[found.history["run"].isin(kept["run"])]
    finished = {claim.id: claim for claim in judge(replace(found, runs=kept, history=history), criteria)}
    said = counts(len(lost), {"diverged": int(lost.sum())})
    return [_cautious(item, finished[item.id], of_divergence.get(item.id, ()), said) for item in judged]


def _cautious(claim: Claim, finished: Claim, of_divergence: Collection[str], said: str) -> Claim:
    """Return a claim of whose parts none is decided unless the runs that `finished` alone decide it in the same way.

    A part that asks for something else without the diverged runs, the largest λ of fewer say, is not the same part.
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
    """Return an undecided part in place of one whose verdict the runs that finished alone, `other`, do not share."""
    if other is None:
        return Part(part.name, part.quantity, *UNKNOWN, "undecided", part.least, part.most)
    return other if other.verdict == "undecided" else replace(part, verdict="undecided")


def counts(runs: int, kinds: Mapping[str, int]) -> str:
    """Say for a claim's note how many runs there were, and how many of a kind that is no plain measurement."""
    if runs == 0:
        return NOT_RUN
    return "; ".join(f"{int(number)} of {runs} runs {kind}" for kind, number in kinds.items() if number)


def distinct(chosen: ArrayLike) -> str:
    """Say for a claim's note which λ the seeds chose, each once."""
    known = np.asarray(chosen, dtype=float)
    return ", ".join(f"{λ:g}" for λ in np.unique(known[~np.isnan(known)])) or "not known"


def joined(*notes: str) -> str:
    """Join several notes, each said once."""
    return "; ".join(dict.fromkeys(filter(None, notes)))
