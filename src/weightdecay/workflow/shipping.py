"""`weightdecay ship`: makes data/reference/<scale>/ from results/<scale>/, thins it to a given size, and judges it."""

import json
import math
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from weightdecay import files, results
from weightdecay.checksums import read_sums, sums_of
from weightdecay.claims import model as ledger
from weightdecay.claims.model import Claim, Part
from weightdecay.config import Config, ScaleName
from weightdecay.errors import ResultError
from weightdecay.files import PROVENANCE, SUMS
from weightdecay.finding import Finding
from weightdecay.results import Results
from weightdecay.results.shipped import FOLDER, check, provenance
from weightdecay.table import computation_hashes, table_of
from weightdecay.workflow import stages

MOST_BYTES = 48 * 2**20  # of all shipped results
HISTORY_MIB = 4.0  # default size of the history of one finding
LAST_STEPS, LAST_SHARE = 20, 0.1  # final values are means over at most so many logged steps in so much of a run
FEW_STEPS = 3  # the first step, and one or two for final values
MOST_MOVED = 0.25  # the most that rounding and thinning may move a quantity, in half-widths of its interval
FLOAT32_BITS, ROUNDED_BITS = 24, 14  # significant bits: relative errors of at most 6e-8 and 6e-5

COMPRESSION = 15  # zstd's level: sorted histories take 3 bytes a value
RULE = (
    "Values are float32. Where history.parquet would have more than history_mib MiB, they are rounded to "
    f"{ROUNDED_BITS} significant bits, a relative error of {2.0**-ROUNDED_BITS:.0e} at most, but for metrics that "
    "config.yaml names as unrounded. Where that is not enough, "
    "metrics are left out, of which runs.parquet has the final values: those that config.yaml names as unread, and "
    f"numbered ones (points of a curve, bins of a histogram) that a run logged at {FEW_STEPS} steps at most. Where "
    f"that is not enough either, the last {LAST_STEPS} logged steps within the last tenth of each run are kept, and of "
    "those before every stride-th, counted from the first, the steps at which everything was measured and the others "
    "each by themselves; the stride is the least that is enough. No judged quantity may change its verdict by that, or "
    f"move by more than {MOST_MOVED:g} of half its interval."
)


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """Round floating-point numbers to so many significant bits; infinities and NaN stay."""
    mantissa, exponent = np.frexp(values)
    return np.ldexp(np.round(np.ldexp(mantissa, bits)), exponent - bits)


def thinned(history: pd.DataFrame, runs: pd.DataFrame, stride: int) -> pd.DataFrame:
    """Return the part of a history that `RULE` keeps at a stride, sorted. It depends on the steps, not on values."""
    steps = _logged(history, runs)
    place = steps.groupby(["run", "in_full"]).cumcount()
    kept = steps.loc[steps["late"] | (place % stride == 0), ["run", "step"]]
    return history.merge(kept, on=["run", "step"]).sort_values(["metric", "run", "step"], ignore_index=True)


def strides(history: pd.DataFrame, runs: pd.DataFrame) -> Iterator[int]:
    """Yield the strides above 1 that keep fewer steps of some run than the stride before."""
    steps = _logged(history, runs)
    early = steps[~steps["late"]].groupby(["run", "in_full"]).size().unique()
    for stride in range(2, max(early, default=1) + 1):
        if (np.ceil(early / stride) < np.ceil(early / (stride - 1))).any():
            yield stride


def _logged(history: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Return the logged steps in order: `run, step, in_full, late`.

    `in_full`: everything was measured at this step. `late`: the step is always kept.
    """
    steps = history[["run", "step"]].drop_duplicates().merge(runs[["run", "steps", "log_every"]], on="run")
    steps = steps.sort_values(["run", "step"], ignore_index=True)
    to_come = steps.groupby("run").cumcount(ascending=False)
    late = (to_come < LAST_STEPS) & (steps["step"] >= (1 - LAST_SHARE) * steps["steps"]) | (to_come == 0)
    return steps.assign(in_full=steps["step"] % steps["log_every"] == 0, late=late)


def without_idle_metrics(history: pd.DataFrame, unread: Iterable[str]) -> pd.DataFrame:
    """Return a history without the metrics in `unread`, and without numbered metrics that a run logged rarely.

    Rarely means at no more than `FEW_STEPS` steps. A numbered metric is one such as fit_07; a name in `unread` also
    stands for numbered ones.
    """
    numbers = re.compile(r"_\d+$")
    idle = [metric for metric in history["metric"].unique() if numbers.sub("", metric) in set(unread)]
    history = history[~history["metric"].isin(idle)]
    numbered = [metric for metric in history["metric"].unique() if numbers.search(metric)]
    vectors = history[history["metric"].isin(numbered)]
    logged = vectors.groupby(["run", "metric"], observed=True)["step"].transform("size")
    return history.drop(vectors.index[logged <= FEW_STEPS])


def ship(scale: ScaleName, names: Sequence[str], known: Mapping[str, Finding], history_mib: float = HISTORY_MIB) -> str:
    """Make data/reference/<scale> from results/<scale> for the findings `names`; shipped results of others stay.

    Returns what was done, as a line for each finding. ResultError, without any change, if results are missing, damaged,
    incomplete or of other settings, if all shipped results would be larger than `MOST_BYTES`, or if files would be lost
    that were not shipped.
    """
    target = FOLDER / scale
    _check_replaceable(target)
    kept = [name for name in known if name not in names]
    if kept and (target / SUMS).is_file():
        check(target)
    place = FOLDER.parent / f"reference-{scale}"  # made beside the shipped results, which are never incomplete
    _clean(place, target)
    made, old = files.temporary_path(place), files.temporary_path(place, "old")
    files.check_writable(made)
    try:
        about: dict[str, Any] = {
            "scale": scale,
            "rule": RULE,
            "shipped_by": results.provenance(),
            "experiments": {name: value for name, value in provenance(scale).items() if name in kept},
        }
        for name in about["experiments"]:
            shutil.copytree(target / name, made / name)
        for name in names:
            about["experiments"][name] = _ship_finding(known[name], scale, made / name, history_mib)
        about["experiments"] = dict(sorted(about["experiments"].items()))
        files.write(made / PROVENANCE, json.dumps(about, indent=1, ensure_ascii=False) + "\n")
        lines = [f"{digest}  {path}\n" for path, digest in sums_of(made).items()]
        files.write(made / SUMS, "".join(lines))
        size = _check_size(made, target)
        FOLDER.mkdir(exist_ok=True)
        if target.exists():
            os.replace(target, old)
        os.replace(made, target)
    except OSError as error:  # for example a full disk; `files` reports errors of single files
        raise ResultError(f"cannot write in {FOLDER}: {error.strerror or error}.") from error
    finally:
        if old.exists() and not target.exists():
            os.replace(old, target)
        for folder in (made, old):
            shutil.rmtree(folder, ignore_errors=True)
    return "\n".join(
        [*(_line(name, about["experiments"][name]) for name in names), f"{FOLDER}: {size:.1f} MiB in all."]
    )


def _check_replaceable(target: Path) -> None:
    """Raise ResultError if `ship` would delete files of its target that no `ship` has made."""
    for folder in (FOLDER, target):
        if folder.is_symlink():
            raise ResultError(f"{folder} is a symbolic link, and ship would replace what it leads to: remove the link.")
    shipped = read_sums(target / SUMS) if (target / SUMS).is_file() else {}
    for path in sorted(target.rglob("*")):
        if not path.is_dir() and path != target / SUMS and path.relative_to(target).as_posix() not in shipped:
            raise ResultError(f"{path} was not shipped, and would be lost if {target} were made again: move it away.")


def _clean(place: Path, target: Path) -> None:
    """Restore what a killed `ship` had moved away, and remove what it left unfinished."""
    for kind in ("old", "part"):
        for folder in files.abandoned(place, kind):
            if kind == "old" and not target.exists():
                os.replace(folder, target)
            elif folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder, ignore_errors=True)


def _ship_finding(finding: Finding, scale: ScaleName, made: Path, history_mib: float) -> dict[str, Any]:
    """Write the folder of one finding; return its entry for provenance.json."""
    name, config = finding.name, finding.config
    source = Path("results", scale, name)
    found = results.load_scale(source, config, scale)
    _check_complete(found, [run.id for run in table_of(config, scale)], source)
    files.check_writable(made)
    hashes = computation_hashes(config, scale)
    for table in ("runs", *hashes):
        whole = results.read_table(source / f"{table}.parquet")
        results.write_table(made / f"{table}.parquet", *whole, compression_level=COMPRESSION)
    kept = _write_history(made / "history.parquet", found, config, history_mib)
    judged = stages.judge(finding, scale, made)
    ledger.write(made / "claims.json", judged)
    if kept["significant_bits"] < FLOAT32_BITS or kept["share_of_history"] < 1:
        _check_unmoved(name, stages.judge(finding, scale, source), judged, history_mib)
    return {
        **{key: value for key, value in found.metadata.items() if key not in ("experiment", "scale")},
        "computations": hashes,
        "runs": len(found.runs),
        "seeds": int(found.runs["seed"].nunique()),
        "diverged": int(found.runs["diverged_at"].notna().sum()),
        "history_mib": history_mib,
        **kept,
    }


def _check_complete(found: Results, expected: list[str], source: Path) -> None:
    for table, ids in (("runs", found.runs["run"]), ("history", found.history["run"].unique())):
        if sorted(ids) != sorted(expected):
            raise ResultError(
                f"{source / table}.parquet has {len(set(ids) & set(expected))} of the {len(expected)} runs of its "
                "settings, each once: delete it and make it again."
            )


def _write_history(path: Path, found: Results, config: Config, history_mib: float) -> dict[str, float]:
    """Write the history, rounded and thinned if necessary; return how much of it was kept."""
    least = without_idle_metrics(found.history, config.unread)
    bits, stride, left = FLOAT32_BITS, 1, thinned(found.history, found.runs, 1)
    larger = strides(least, found.runs)
    while (size := _write_rows(path, left, bits, found.metadata, config.unrounded)) > history_mib:
        if bits > ROUNDED_BITS:
            bits = ROUNDED_BITS
        elif len(left) > len(least):
            left = thinned(least, found.runs, 1)
        else:
            stride = next((k for k in larger if k >= size / history_mib), 0)  # a stride of k keeps at least 1/k
            if not stride:
                raise ResultError(
                    f"the history of {path.parent.name} cannot be cut down to {history_mib:g} MiB: {size:.1f} are "
                    "left. Allow more with --history-mib."
                )
            left = thinned(least, found.runs, stride)
    share = round(len(left) / len(found.history), 4)
    return {"significant_bits": bits, "stride": stride, "share_of_history": share}


def _write_rows(path: Path, history: pd.DataFrame, bits: int, metadata: Mapping, unrounded: Sequence[str]) -> float:
    """Write the history; return the size of the file in MiB."""
    values = history["value"].to_numpy(np.float32)
    values = np.where(history["metric"].isin(unrounded), values, rounded(values, bits))
    results.write_table(
        path, history.astype({"step": "int32"}).assign(value=values), metadata, compression_level=COMPRESSION
    )
    return path.stat().st_size / 2**20


def _check_unmoved(name: str, whole: Sequence[Claim], shipped: Sequence[Claim], history_mib: float) -> None:
    """Raise ResultError if judged quantities differ between the whole history and the part that is kept."""
    before = {(claim.id, part.name): part for claim in whole for part in claim.parts}
    moved = [
        f"{claim.id} ({part.quantity})"
        for claim in shipped
        for part, old in ((part, before.get((claim.id, part.name))) for part in claim.parts)
        if part.verdict is not None and (old is None or part.verdict != old.verdict or _moved(part, old))
    ]
    if moved:
        raise ResultError(
            f"cut down to {history_mib:g} MiB the history of {name} gives other values of {'; '.join(moved)}: "
            "allow more with --history-mib."
        )


def _moved(part: Part, old: Part) -> bool:
    """Return whether the measured value of a part moved by more than `MOST_MOVED` of half the old interval."""
    now, then = part.measured, old.measured
    if math.isnan(now) or math.isnan(then) or now == then:
        return math.isnan(now) != math.isnan(then)
    half = min((end for end in (then - old.low, old.high - then) if math.isfinite(end)), default=0.0)
    return abs(now - then) > max(MOST_MOVED * half, 1e-6 * abs(then))


def _line(name: str, about: Mapping) -> str:
    kept = "the whole history" if about["share_of_history"] == 1 else f"{about['share_of_history']:.0%} of the history"
    return f"{name}: {about['runs']} runs, {kept}, {about['significant_bits']} significant bits"


def _check_size(made: Path, target: Path) -> float:
    """Return the size in MiB of all results that would be shipped; ResultError if it is too large."""
    others = [path for path in FOLDER.rglob("*") if target not in path.parents]
    size = sum(path.stat().st_size for path in (*others, *made.rglob("*")) if path.is_file())
    if size > MOST_BYTES:
        raise ResultError(
            f"{FOLDER} would have {size / 2**20:.1f} MiB with these results, more than {MOST_BYTES / 2**20:g}: "
            "ship less of each history, with a smaller --history-mib."
        )
    return size / 2**20
