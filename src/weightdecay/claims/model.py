"""Claims and their verdicts.

A claim has one or more parts, each an estimate with its 95 % interval, held against a criterion that was fixed in the
experiment's config before the runs that it judges:

    the whole interval satisfies it     reproduced
    the whole interval violates it      refuted
    it straddles, or fewer than 3 seeds undecided

A claim of several parts asserts all of them. Parts on both sides make it mixed; failing ones beside undecided ones
make it refuted, since it can no longer hold; undecided ones keep it from being reproduced.

A network that diverged has no result. A finding may count it as the worst one (accuracy 0, an event that never came):
that is a convention, and a convention decides nothing. Where runs diverged, `verdicts` therefore judges all claims
twice, with those runs and without them, and a part is decided only if both judgments say so: at least 3 seeds whose
networks did not diverge then stand behind it. Exempt are the parts that assert where training diverges; a finding names
them when it calls `main`.
"""

import json
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config

from weightdecay import files, results
from weightdecay.config import SCALES, ScaleName
from weightdecay.errors import ResultError
from weightdecay.setting_types import ClaimId
from weightdecay.statistics.estimates import UNKNOWN, Estimate

Verdict = Literal["reproduced", "refuted", "mixed", "undecided"]
LEAST_SEEDS = 3
NOT_RUN = "not run at this scale"
NOTHING: Mapping[str, Collection[str]] = MappingProxyType({})


def _number(value: Any) -> Any:
    """JSON has no NaN and no infinity: an unknown end is null, an open one "inf"."""
    return math.nan if value is None else float(value) if value in ("inf", "-inf") else value


# What claims.json may hold. Ids and names become names of TeX macros; text is escaped there.
Letters = Annotated[str, Field(pattern=r"^[A-Z][A-Za-z]*$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]  # no control characters
Number = Annotated[float, BeforeValidator(_number)]
Count = Annotated[int, Field(ge=0, le=10**9)]
SCHEMA = ConfigDict(strict=True, extra="forbid")


@with_config(SCHEMA)
@dataclass(frozen=True)
class Part:
    """One measured quantity of a claim. `name`: letters only, for the macro; `verdict` None: reported, not judged.

    A judged one was held against "least <= quantity <= most".
    """

    name: Letters
    quantity: Text
    measured: Number
    low: Number
    high: Number
    n: Count
    verdict: Verdict | None
    least: Number = -math.inf
    most: Number = math.inf


@with_config(SCHEMA)
@dataclass(frozen=True)
class Claim:
    """One row of the ledger. `measured, low, high, n` are those of the first part, the one the claim is named for."""

    id: ClaimId
    source: Text
    experiment: Name
    statement: Text
    criterion: Text
    measured: Number
    low: Number
    high: Number
    n: Count
    verdict: Verdict
    parts: Annotated[tuple[Part, ...], Field(min_length=1)]
    note: Text
    scale: ScaleName | Literal[""]  # of the results; a verdict holds for it alone

    def part(self, name: str) -> Part:
        """The part of that name; KeyError where there is none."""
        return {part.name: part for part in self.parts}[name]


Judge = Callable[[results.Results, Mapping[str, Any]], list[Claim]]  # of results, by the criteria of a config


def judge_interval(
    estimate: Estimate, least: float = -math.inf, most: float = math.inf, strict: bool = False
) -> Verdict:
    """The verdict on "least <= quantity <= most"; `strict`: on "<", which an interval that is the bound leaves open."""
    if estimate.n < LEAST_SEEDS or math.isnan(estimate.low) or math.isnan(estimate.high):
        return "undecided"
    if strict and (estimate.low == least or estimate.high == most):
        return "undecided"
    if least <= estimate.low and estimate.high <= most:
        return "reproduced"
    if estimate.high < least or estimate.low > most:
        return "refuted"
    return "undecided"


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict on a claim that asserts all of its parts."""
    seen = set(verdicts)
    if "mixed" in seen or {"reproduced", "refuted"} <= seen:
        return "mixed"
    if "refuted" in seen:
        return "refuted"
    return "reproduced" if seen == {"reproduced"} else "undecided"


def judged(
    name: str,
    quantity: str,
    estimate: Estimate,
    least: float = -math.inf,
    most: float = math.inf,
    strict: bool = False,
) -> Part:
    """A part that is held against "least <= quantity <= most", or `strict`ly against "<"."""
    verdict = judge_interval(estimate, least, most, strict)
    return Part(name, quantity, *estimate, verdict=verdict, least=least, most=most)


def reported(name: str, quantity: str, estimate: Estimate) -> Part:
    """A part that is reported beside the judged ones."""
    return Part(name, quantity, *estimate, verdict=None)


def claim(id: str, experiment: str, criteria: Mapping[str, Any], parts: Sequence[Part], note: str = "") -> Claim:
    """The claim `id`, with its words from the config's criteria and its verdict from its parts.

    Without parts, where nothing was run that it could be judged by, it has one that is unknown.
    """
    if not parts:
        parts, note = [judged("Unknown", "no network to measure", UNKNOWN)], joined(note, NOT_RUN)
    words, lead = criteria[id], parts[0]
    verdict = combine(part.verdict for part in parts if part.verdict is not None)
    return Claim(
        id,
        words.source,
        experiment,
        words.statement,
        words.criterion,
        lead.measured,
        lead.low,
        lead.high,
        lead.n,
        verdict,
        tuple(parts),
        note,
        scale="",  # known to `main`
    )


def verdicts(
    judge: Judge,
    found: results.Results,
    criteria: Mapping[str, Any],
    of_divergence: Mapping[str, Collection[str]] = NOTHING,
) -> list[Claim]:
    """The claims as `judge` gives them, but no part decided by what a diverged run counts as.

    `of_divergence`: by claim the names of the parts that assert where training diverges.
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
    """A claim of whose parts none is decided unless it is, in the same way, by the runs that `finished` alone.

    A part that asks for something else without the diverged runs, the largest λ of fewer say, is not the same part.
    """
    others = {(part.name, part.quantity): part for part in finished.parts}
    parts, opened, alone = [], [], False
    for part in claim.parts:
        other = others.get((part.name, part.quantity))
        alike = other is not None and other.verdict == part.verdict
        if part.verdict in (None, "undecided") or part.name in of_divergence or alike:
            parts.append(part)
            continue
        same = other is not None and other.verdict == "undecided"
        unseen = Part(part.name, part.quantity, *UNKNOWN, "undecided", part.least, part.most)
        parts.append(unseen if other is None else other if same else replace(part, verdict="undecided"))
        opened.append(part.name)
        alone |= other is None
    unknown = any(part.verdict is not None and math.isnan(part.measured) for part in parts)
    note = claim.note
    if opened:
        has = "has another verdict" if len(opened) == 1 else "have other verdicts"
        so = "it is undecided" if len(opened) == 1 else "they are undecided"
        without = f"without them {' and '.join(opened)} {has}{' or none' if alone else ''}, so {so}"
        note = joined(*(each for each in note.split("; ") if each != said), said, without)
    elif unknown and "diverged" not in note:
        note = joined(note, said)
    lead = parts[0]
    return replace(
        claim,
        measured=lead.measured,
        low=lead.low,
        high=lead.high,
        n=lead.n,
        verdict=combine(part.verdict for part in parts if part.verdict is not None),
        parts=tuple(parts),
        note=note,
    )


def title_of(experiment: str) -> str:
    """The name of an experiment for people: "Binary addition", "Adam vs AdamW"."""
    written = {"adamw": "AdamW", "batchnorm": "BatchNorm"}
    title = " ".join(written.get(word, word) for word in experiment.split("_"))
    return title[:1].upper() + title[1:]


def counts(runs: int, kinds: Mapping[str, int]) -> str:
    """For a claim's note: how many runs there were, and how many of a kind that is no plain measurement."""
    if runs == 0:
        return NOT_RUN
    return "; ".join(f"{int(number)} of {runs} runs {kind}" for kind, number in kinds.items() if number)


def joined(*notes: str) -> str:
    """Several notes as one, each said once."""
    return "; ".join(dict.fromkeys(filter(None, notes)))


def write(path: Path, claims: Sequence[Claim]) -> None:
    """claims.json: a list of claims, by the schema of `Claim`."""
    text = json.dumps([_encode(asdict(item)) for item in claims], indent=1, ensure_ascii=False, allow_nan=False)
    files.write(path, text + "\n")


def read(path: Path, experiment: str | None = None, scale: str | None = None) -> list[Claim]:
    """The claims of one claims.json; ResultError where it is missing, damaged, or of another experiment or scale."""
    path = Path(path)
    try:
        claims = list(CLAIMS.validate_json(path.read_bytes()))
    except FileNotFoundError:
        at, name = path.resolve().parts[-3:-1]  # results/<scale>/<experiment>/claims.json
        chosen = f" --scale {at}" if at in SCALES else ""
        raise ResultError(f"{path} is missing: make it with weightdecay claims {name}{chosen}.") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ResultError(
            f"{path} is damaged or not a list of claims ({f'{place}: ' if place else ''}{first['msg']}): "
            "delete it and make it again."
        ) from error
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror}.") from error
    ids = [claim.id for claim in claims]
    wrongs = [f"{id} is there twice" for id in set(ids) if ids.count(id) > 1]
    for wrong in (*wrongs, *(_contradiction(claim, experiment, scale) for claim in claims)):
        if wrong:
            raise ResultError(f"{path} is damaged or not the one that belongs there ({wrong}): make it again.")
    return claims


def _contradiction(claim: Claim, experiment: str | None, scale: str | None) -> str | None:
    """What a claim says that its parts, or the place where it was found, do not."""
    lead, names = claim.parts[0], [part.name for part in claim.parts]
    if experiment is not None and claim.experiment != experiment:
        return f"{claim.id} is of {claim.experiment}, not of {experiment}"
    if experiment is not None and not claim.scale:
        return f"{claim.id} is of no scale"
    if scale is not None and claim.scale != scale:
        return f"{claim.id} is of scale {claim.scale}, not {scale}"
    if len(set(names)) < len(names):
        return f"{claim.id} has two parts of one name"
    if claim.verdict != combine(part.verdict for part in claim.parts if part.verdict is not None):
        return f"the verdict on {claim.id} is not that of its parts"
    if any(repr(getattr(claim, field)) != repr(getattr(lead, field)) for field in (*FIELDS, "n")):  # NaN is not NaN
        return f"the measured value of {claim.id} is not that of its first part"
    return None


FIELDS = ("measured", "low", "high")  # that may be unknown or open
CLAIMS = TypeAdapter(tuple[Claim, ...])


def _encode(row: dict[str, Any]) -> dict[str, Any]:
    for field in {*FIELDS, "least", "most"} & set(row):
        row[field] = None if math.isnan(row[field]) else str(row[field]) if math.isinf(row[field]) else row[field]
    if "parts" in row:
        row["parts"] = [_encode(part) for part in row["parts"]]
    return row
