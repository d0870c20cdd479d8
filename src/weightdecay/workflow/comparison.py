"""Compares this machine's results with shipped results of the same settings: claim by claim and curve by curve.

There is a contradiction

- if the quantities of a judged part differ by more than two sets of independent seeds would;
- if the curves of a setting at some step do so;
- if the curves of the same seeds are shifted in one direction over all runs of a sweep;
- or if two seeds gave the same numbers on one side only.

The tests are corrected, so that all of them together raise a false alarm with probability `FALSE_ALARM`. Opposite
verdicts alone are no contradiction: with few seeds, a quantity near its criterion may fall on either side. Both sides
are judged anew, by the present criteria and code. The statistics are in `weightdecay.claims.agreement`.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from weightdecay import results
from weightdecay.claims.agreement import (
    comparable,
    holm,
    interval_difference,
    moderated_difference,
    paired_shift,
    repeated_seeds,
)
from weightdecay.claims.model import Claim
from weightdecay.config import ScaleName, check_scale
from weightdecay.errors import ResultError
from weightdecay.finding import Finding
from weightdecay.results import Results
from weightdecay.results import shipped as reference
from weightdecay.run import Run

FALSE_ALARM = 0.01  # each of the three families of tests has a third of it
STAGES = 5  # steps at which a curve is compared, from the first logged step after 0 to the last
SAME = 1e-3  # two numbers with a smaller difference, relative or of accuracies, count as the same
SETTINGS = [name for name in Run.model_fields if name != "seed"]
SIDES = ("here", "shipped")


@dataclass
class Comparison:
    """The result of a comparison: tables with a row for each test, its p-value, and whether it `contradicts`."""

    parts: pd.DataFrame
    curves: pd.DataFrame  # a row for each setting, metric and stage
    shifts: pd.DataFrame  # a row for each sweep, metric and stage, over the runs that start alike
    repeats: list[str]
    notes: list[str] = field(default_factory=list)

    @property
    def contradictions(self) -> int:
        tables = (self.parts, self.curves, self.shifts)
        return len(self.repeats) + sum(int(table["contradicts"].sum()) for table in tables)


def compare(here: Path, shipped: Path, known: Mapping[str, Finding]) -> Comparison:
    """Compare two folders <...>/<scale> in those of the `known` findings that the second folder has.

    ResultError if one of these findings is missing in the first folder, damaged, or made with other than the present
    settings. A folder with checksums is checked first. Progress is printed to stderr, a line for each finding.
    """
    for folder in (here, shipped):
        if (folder / reference.SUMS).is_file():
            reference.check(folder)
    names = [name for name in known if (shipped / name).is_dir()]
    if not names:
        raise ResultError(f"{shipped} holds results of no finding: give a folder like results/<scale>.")
    notes = [f"{name} is not in {shipped}, and not compared" for name in known if name not in names]
    parts, curves, shifts, repeats = [], [], [], []
    for number, name in enumerate(names, 1):
        print(f"comparing {name} ({number} of {len(names)})", file=sys.stderr)
        finding, scale = known[name], _scale(here / name, shipped / name)
        sides = [results.load_scale(folder / name, finding.config, scale) for folder in (here, shipped)]
        parts.append(compare_claims(*(finding.judge(side, scale) for side in sides)))
        pairs = matched(*sides)
        alike = starts_alike(*sides)
        curves.append(compare_curves(pairs).assign(experiment=name))
        shifts.append(compare_shifts(pairs[pairs["run"].isin(alike[alike].index)]).assign(experiment=name))
        repeats += [f"{name}, {found}" for found in compare_seeds(pairs)]
        logged = [set(side.history["metric"].unique()) for side in sides]
        if logged[0] != logged[1]:
            notes.append(f"{name}: {', '.join(sorted(logged[0] ^ logged[1]))} on one side alone, and not compared")
        if not alike.all():
            notes.append(
                f"{name}: {(~alike).sum()} of {len(alike)} runs do not start as the shipped ones did (other seeds, or "
                "random numbers of another library), and are compared as independent ones"
            )
    found = [pd.concat(tables, ignore_index=True) for tables in (parts, curves, shifts)]
    return decided(found[0], found[1], found[2], repeats, notes)


def unequal(here: Path, shipped: Path, known: Iterable[str]) -> list[str]:
    """Return the tables that differ between two folders <...>/<scale>, compared to the last bit: a line for each.

    This is for results of one machine, before and after a change that should not change any number.
    """
    lines = []
    tables = [path.relative_to(shipped) for name in known for path in sorted((shipped / name).glob("*.parquet"))]
    if not tables:
        raise ResultError(f"{shipped} holds results of no finding: give a folder like results/<scale>.")
    for table in tables:
        sides = [results.read_table(folder / table)[0] for folder in (here, shipped)]
        keys = [name for name in results.HISTORY if name != "value" and name in sides[0]]
        ordered = [side.sort_values(keys, ignore_index=True) if len(keys) > 1 else side for side in sides]
        try:
            pd.testing.assert_frame_equal(*ordered, check_exact=True, check_dtype=False, check_like=True)
        except AssertionError as error:
            lines.append(f"{table}: {' '.join(str(error).split())}")
    return lines


def decided(
    parts: pd.DataFrame, curves: pd.DataFrame, shifts: pd.DataFrame, repeats: list[str], notes: list[str]
) -> Comparison:
    """Return the comparison, with p-values corrected within each family of tests."""
    for table in (parts, curves, shifts):
        known = table["p"].notna()
        table["adjusted"] = np.nan
        table.loc[known, "adjusted"] = holm(table.loc[known, "p"])
        table["contradicts"] = table["adjusted"] < FALSE_ALARM / 3
    return Comparison(parts, curves, shifts, repeats, notes)


def compare_claims(here: Sequence[Claim], shipped: Sequence[Claim]) -> pd.DataFrame:
    """Return a row for each judged part that both sides have: id, part, quantity, both estimates and verdicts, p."""
    others = {claim.id: claim for claim in shipped}
    columns = ["experiment", "id", "part", "quantity", *SIDES, "verdict_here", "verdict_shipped", "p"]
    rows = []
    for claim in here:
        known = {part.name: part for part in others[claim.id].parts} if claim.id in others else {}
        for part in claim.parts:
            other = known.get(part.name)
            if other is None or part.verdict is None or other.verdict is None:
                continue
            what = (claim.experiment, claim.id, part.name, part.quantity)
            rows.append((*what, part, other, part.verdict, other.verdict, interval_difference(part, other)))
    return pd.DataFrame(rows, columns=columns).astype({"p": float})


def matched(here: Results, shipped: Results) -> pd.DataFrame:
    """Return the values of both sides, `here, shipped`, at `STAGES` steps that both logged.

    There is a row for each run, metric and stage. Values are on the scale of `agreement.comparable`, and infinite ones
    count as unknown. One more metric, "diverged", is 1 at the end of a run that diverged or overflowed, else 0.
    """
    keys = ["run", "metric", "step"]
    pairs = here.history.merge(shipped.history, on=keys, suffixes=("_here", "_shipped"))
    pairs = pairs.rename(columns={f"value_{side}": side for side in SIDES})
    pairs = pairs[pairs["step"] > 0].sort_values(keys, ignore_index=True)
    pairs[list(SIDES)] = pairs[list(SIDES)].replace([np.inf, -np.inf], np.nan)
    curve = pairs.groupby(["run", "metric"])["step"]
    last = curve.transform("size") - 1
    pairs["stage"] = np.ceil(curve.cumcount() * (STAGES - 1) / last.clip(lower=1)).astype(int)
    pairs = pairs.drop_duplicates(["run", "metric", "stage"], keep="last")
    for metric, rows in pairs.groupby("metric"):
        values = rows[list(SIDES)].to_numpy()
        scale = rows.groupby("stage")[list(SIDES)].median().abs().max(axis=None)
        pairs.loc[rows.index, list(SIDES)] = comparable(values, str(metric), float(scale))
    runs = here.runs.set_index("run")
    ends = [_lost(side).rename(name) for name, side in zip(SIDES, (here, shipped), strict=True)]
    diverged = pd.concat(ends, axis=1).assign(metric="diverged", step=runs["steps"], stage=STAGES - 1)
    pairs = pd.concat([pairs, diverged.rename_axis("run").reset_index()], ignore_index=True)
    return pairs.join(
        pd.DataFrame({"setting": _settings(runs), "seed": runs["seed"], "sweep": runs["sweep"]}), on="run"
    )


def _lost(side: Results) -> pd.Series:
    """Return for each run 1 if it diverged or has an infinite value, else 0."""
    infinite = side.history.loc[np.isinf(side.history["value"]), "run"].unique()
    lost = side.runs["diverged_at"].notna() | side.runs["run"].isin(infinite)
    return lost.astype(float).set_axis(side.runs["run"])


def compare_curves(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each setting, metric and stage: means over seeds, largest distance between equal seeds, p."""
    tables = []
    for (metric, stage), rows in pairs.groupby(["metric", "stage"]):
        seeds = rows.pivot(index="seed", columns="setting", values=list(SIDES))
        distance = (seeds["here"] - seeds["shipped"]).abs().max()
        p = moderated_difference(seeds["here"].to_numpy(), seeds["shipped"].to_numpy())
        table = pd.DataFrame({side: seeds[side].mean() for side in SIDES} | {"distance": distance}).assign(p=p)
        tables.append(table.assign(metric=metric, stage=stage, step=rows.groupby("setting")["step"].first()))
    return pd.concat(tables).reset_index().astype({"p": float})


def compare_shifts(pairs: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each sweep, metric and stage: the number of runs that start alike, their mean difference, p."""
    rows = [
        (
            *key,
            len(runs),
            (runs["here"] - runs["shipped"]).mean(),
            paired_shift(runs["here"].to_numpy(), runs["shipped"].to_numpy()),
        )
        for key, runs in pairs.groupby(["sweep", "metric", "stage"])
    ]
    return pd.DataFrame(rows, columns=["sweep", "metric", "stage", "runs", "shift", "p"]).astype({"p": float})


def compare_seeds(pairs: pd.DataFrame) -> list[str]:
    """Return the settings in which two seeds gave the same numbers on one side only.

    That a run diverged is no such number: many seeds may do so before they log anything.
    """
    found = []
    for setting, rows in pairs[pairs["metric"] != "diverged"].groupby("setting"):
        sides = rows.pivot(index="seed", columns=["metric", "stage"], values=list(SIDES))
        repeated = {side: repeated_seeds(sides[side].to_numpy()) for side in SIDES}
        if repeated["here"] != repeated["shipped"]:
            found.append(f"{setting}: seeds with the same numbers, only {'here' if repeated['here'] else 'as shipped'}")
    return found


def starts_alike(here: Results, shipped: Results) -> pd.Series:
    """Return for each run whether its measurements before the first step agree, leaving out accuracies."""
    starts = [side.history[side.history["step"] == 0] for side in (here, shipped)]
    pairs = starts[0].merge(starts[1], on=["run", "metric"]).dropna()
    pairs = pairs[~pairs["metric"].str.contains("accuracy")]
    first, second = pairs["value_x"].abs(), pairs["value_y"].abs()
    same = (pairs["value_x"] - pairs["value_y"]).abs() <= SAME * np.maximum(first, second)
    return same.groupby(pairs["run"]).all().reindex(here.runs["run"], fill_value=False)


def _settings(runs: pd.DataFrame) -> pd.Series:
    """Return a name for the settings of each run, without the seed: its sweep, and the settings that are unusual."""
    most = {name: runs[name].mode(dropna=False).iloc[0] for name in SETTINGS}

    def name_of(run: pd.Series) -> str:
        unusual = [
            f"{name} {run[name]:.9g}" if isinstance(run[name], float) else f"{name} {run[name]}"
            for name in SETTINGS
            if name != "sweep" and run[name] != most[name] and not (pd.isna(run[name]) and pd.isna(most[name]))
        ]
        return ", ".join([f"sweep {run['sweep']}", *unusual])

    return runs.apply(name_of, axis=1)


def _scale(*folders: Path) -> ScaleName:
    found = [results.read_metadata(folder / "runs.parquet").get("scale") for folder in folders]
    if found[0] != found[1]:
        raise ResultError(
            f"{folders[0]} is of scale {found[0]} and {folders[1]} of {found[1]}: compare results of one scale."
        )
    return check_scale(str(found[0]))
