"""A claim, its parts and its verdict; and claims.json, which holds the claims of a finding.

A claim asserts all of its parts. It is reproduced if every part is. It is mixed if some parts are reproduced and some
refuted. It is refuted if parts are refuted and none is reproduced, since it can then no longer hold. Otherwise it is
undecided.
"""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config

from weightdecay import files
from weightdecay.claims.names import PART, wrong_name
from weightdecay.config import SCALES, ClaimKind, Fixed, ScaleName
from weightdecay.errors import ResultError
from weightdecay.setting_types import ClaimId

Verdict = Literal["reproduced", "refuted", "mixed", "undecided"]
NOTHING: Mapping[str, Collection[str]] = MappingProxyType({})
FIELDS = ("measured", "low", "high")  # numbers that may be unknown or open


def _number(value: object) -> object:
    """Return a number for JSON, which has no NaN and no infinity: an unknown end is null, an open one "inf"."""
    return math.nan if value is None else float(value) if value in ("inf", "-inf") else value


# What claims.json may hold. Ids and names become names of TeX macros; text is escaped there.
Letters = Annotated[str, Field(pattern=f"^{PART}$")]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
Text = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$")]  # no control characters
Number = Annotated[float, BeforeValidator(_number)]
Count = Annotated[int, Field(ge=0, le=10**9)]
SCHEMA = ConfigDict(strict=True, extra="forbid")


@with_config(SCHEMA)
@dataclass(frozen=True)
class Part:
    """One measured quantity of a claim, with its 95 % interval over `n` seeds, and its verdict.

    `name` becomes part of a macro's name (`claims.names`). A judged part has the criterion "least <= quantity <= most".
    A part that is only reported has the verdict None.
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
    """One row of the ledger: a statement of a source, its criterion, what was measured, and the verdict.

    `measured, low, high, n` are those of the first part.
    """

    id: ClaimId
    source: Text
    kind: ClaimKind
    fixed: Fixed
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
    scale: ScaleName | Literal[""]  # of the results; a verdict holds for this scale alone

    def part(self, name: str) -> Part:
        """Return the part of that name; KeyError if there is none."""
        return {part.name: part for part in self.parts}[name]


CLAIMS = TypeAdapter(tuple[Claim, ...])


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """Return the verdict on a claim that asserts all of its parts, from theirs."""
    seen = set(verdicts)
    if "mixed" in seen or {"reproduced", "refuted"} <= seen:
        return "mixed"
    if "refuted" in seen:
        return "refuted"
    return "reproduced" if seen == {"reproduced"} else "undecided"


def headline(parts: Sequence[Part]) -> dict[str, Any]:
    """Return what a claim takes from its parts: the parts, the first one's estimate, and their combined verdict."""
    return {
        **{field: getattr(parts[0], field) for field in (*FIELDS, "n")},
        "verdict": combine(part.verdict for part in parts if part.verdict is not None),
        "parts": tuple(parts),
    }


def title_of(experiment: str) -> str:
    """Return the name of a finding as people write it: "Binary addition", "Adam vs AdamW"."""
    written = {"adamw": "AdamW", "batchnorm": "BatchNorm"}
    title = " ".join(written.get(word, word) for word in experiment.split("_"))
    return title[:1].upper() + title[1:]


def write(path: Path, claims: Sequence[Claim]) -> None:
    """Write claims.json: a list of claims, by the schema of `Claim`."""
    text = json.dumps([_encode(asdict(item)) for item in claims], indent=1, ensure_ascii=False, allow_nan=False)
    files.write(path, text + "\n")


def _encode(row: dict[str, Any]) -> dict[str, Any]:
    for field in {*FIELDS, "least", "most"} & set(row):
        row[field] = None if math.isnan(row[field]) else str(row[field]) if math.isinf(row[field]) else row[field]
    if "parts" in row:
        row["parts"] = [_encode(part) for part in row["parts"]]
    return row


def read(path: Path, experiment: str | None = None, scale: str | None = None) -> list[Claim]:
    """Read the claims of one claims.json.

    ResultError if it is missing, damaged, contradicts itself, or is of another finding or scale.
    """
    path = Path(path)
    try:
        claims = list(CLAIMS.validate_json(path.read_bytes()))
    except FileNotFoundError:
        at, name = path.resolve().parts[-3:-1]  # results/<scale>/<finding>/claims.json
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
    """Return how a claim contradicts its own parts or the folder that it was read from; None if it does not."""
    if experiment is not None and claim.experiment != experiment:
        return f"{claim.id} is of {claim.experiment}, not of {experiment}"
    if experiment is not None and not claim.scale:
        return f"{claim.id} is of no scale"
    if scale is not None and claim.scale != scale:
        return f"{claim.id} is of scale {claim.scale}, not {scale}"
    if wrong := wrong_name(claim.id, [part.name for part in claim.parts]):
        return wrong
    if repr(replace(claim, **headline(claim.parts))) != repr(claim):  # NaN is not NaN
        return f"the verdict or the measured value of {claim.id} is not that of its parts"
    return None
