"""Shipped results, data/reference/<scale>/: `weightdecay ship` makes them of results/<scale>/; others only read them.

    SHA256SUMS                    checksums of every other file; `sha256sum --check SHA256SUMS` reads them too
    provenance.json               for each finding: device, versions, wall time, code version, hashes, what is kept
    <finding>/runs.parquet        as in results/<scale>/, but compressed more; so are the tables of compute.py
    <finding>/history.parquet     rounded and thinned by `shipping.RULE`
    <finding>/claims.json         judged by the files beside it

There is a folder for each scale, and in it a folder for each finding, as in results/. So whatever reads results can
read these too. Every file is checked against its checksum before any is used.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, ValidationError

from weightdecay import files
from weightdecay.checksums import read_sums, sums_of
from weightdecay.config import SCALES, Config, ScaleName
from weightdecay.errors import ResultError
from weightdecay.files import PROVENANCE, SUMS
from weightdecay.table import computation_hashes, hash_of

FOLDER = files.REFERENCE
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Said = bool | float | str | None | list[bool | float | str]  # a list if shards differed, for example by device


class Shipped(BaseModel):
    """The entry of one finding in provenance.json."""

    model_config = ConfigDict(strict=True, extra="allow")
    __pydantic_extra__: dict[str, Said]

    config_hash: Digest
    computations: dict[str, Digest]
    runs: NonNegativeInt
    seeds: NonNegativeInt
    diverged: NonNegativeInt
    history_mib: NonNegativeFloat
    significant_bits: NonNegativeInt
    stride: NonNegativeInt
    share_of_history: NonNegativeFloat
    wall_seconds: NonNegativeFloat | None = None
    peak_memory_mib: NonNegativeFloat | None = None


class Provenance(BaseModel):
    """The content of provenance.json."""

    model_config = ConfigDict(strict=True, extra="forbid")

    scale: ScaleName
    rule: str
    shipped_by: dict[str, str]
    experiments: dict[Annotated[str, Field(pattern=r"^\w+$")], Shipped]


def check(folder: str | Path) -> dict[str, str]:
    """Check every file of data/reference/<scale> against its SHA-256; return the checksums by path from the folder.

    ResultError names the first file that is missing, changed, truncated, or has no checksum.
    """
    folder = Path(folder)
    again = "get it again, with git checkout or from the archive."
    if not (folder / SUMS).is_file():
        shipped = ", ".join(scales()) or "none"
        raise ResultError(f"{folder} holds no shipped results; scales that were shipped: {shipped}.")
    digests, found = read_sums(folder / SUMS), sums_of(folder)
    for path, digest in digests.items():
        if path not in found:
            raise ResultError(f"{folder / path} is missing: {again}")
        if found[path] != digest:
            raise ResultError(f"{folder / path} is not the file that was shipped (its SHA-256 differs): {again}")
    for path in found:
        if path not in digests:
            raise ResultError(f"{folder / path} was not shipped: {folder / SUMS} has no sum of it. Move it away.")
    return digests


def check_settings(scale: str, configs: Mapping[str, Config]) -> dict[str, str]:
    """Check the shipped files of a scale, and that these findings were shipped with their present settings.

    Returns the checksums, as `check` does.
    """
    folder = FOLDER / scale
    digests, shipped = check(folder), provenance(scale)
    for name, config in configs.items():
        if name not in shipped:
            raise ResultError(
                f"{folder} has no results of {name}: make them, then weightdecay ship {name} --scale {scale}."
            )
        computations = computation_hashes(config, scale)
        hashes = {"config_hash": hash_of(config, scale), "computations": computations}
        if any(shipped[name].get(key) != value for key, value in hashes.items()):
            raise ResultError(
                f"{folder / name} was made with other settings than experiments/{name}/config.yaml has now: take the "
                f"settings back, or make its results again and weightdecay ship {name} --scale {scale}."
            )
    return digests


def scales() -> list[str]:
    """Return the scales at which anything was shipped, the largest last."""
    return [scale for scale in SCALES if (FOLDER / scale / SUMS).is_file()]


def largest(names: Iterable[str], scale: str | None = None) -> dict[str, str]:
    """Return for each finding the largest scale at which it was shipped, or `scale` if given.

    Findings that were not shipped are left out. ResultError if none was shipped.
    """
    chosen = scales() if scale is None else [scale]
    found = {name: each for each in chosen for name in provenance(each)}
    shipped = {name: found[name] for name in names if name in found}
    if not shipped:
        where = f"at {scale} scale" if scale else "at any scale"
        raise ResultError(
            f"{FOLDER} has no results {where}; scales that were shipped: {', '.join(scales()) or 'none'}."
        )
    return shipped


def provenance(scale: str) -> dict[str, dict]:
    """Return the entry of each finding in provenance.json; nothing if no results were shipped at this scale."""
    path = FOLDER / scale / PROVENANCE
    if not path.is_file():
        return {}
    try:
        text = path.read_bytes()
        about = Provenance.model_validate_json(text)
    except (OSError, ValidationError) as error:
        at = ".".join(map(str, error.errors()[0]["loc"])) if isinstance(error, ValidationError) else ""
        raise ResultError(
            f"{path} is damaged{f' at {at}' if at else ''}: get it again, with git checkout or from the archive."
        ) from error
    if about.scale != scale:
        raise ResultError(f"{path} is that of {about.scale} scale: get the files of {scale} scale again.")
    return json.loads(text)["experiments"]
