"""Results in which networks diverged or are missing, made of the shipped ones as the trainer would have them."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest

from tests.programs import EXPERIMENTS, finding
from weightdecay.claims import judging
from weightdecay.claims.judging import verdicts
from weightdecay.claims.model import Claim
from weightdecay.config import Config
from weightdecay.results import Results, load_scale
from weightdecay.results import shipped as reference

NAMES = sorted(path.parent.name for path in EXPERIMENTS.glob("*/config.yaml"))
SCALE = "laptop"
ENOUGH = {  # sweeps of the large ones that are kept, so that a judgment takes a second
    "adam_vs_adamw": ("mnist1d", "law"),
    "curve_fitting": ("weight_decay", "learning_rate", "outlier_rates", "losses", "small"),
}
SEEDS = 4


def config_of(name: str) -> Config:
    return finding(name).config


@cache
def shipped(name: str) -> Results:
    """The shipped results of a finding, of a few seeds and sweeps, and without the runs that diverged."""
    results = load_scale(EXPERIMENTS.parent / reference.FOLDER / SCALE / name, config_of(name), SCALE)
    runs = results.runs[results.runs["sweep"].isin(ENOUGH.get(name, results.runs["sweep"].unique()))]
    if name == "adam_vs_adamw":
        runs = runs[(runs["schedule"] == "constant") | (runs["sweep"] == "law")]
    first = runs.groupby("sweep")["seed"].transform(lambda seeds: seeds.isin(sorted(seeds.unique())[:SEEDS]))
    return kept(results, first & runs["diverged_at"].isna())


def kept(results: Results, chosen: pd.Series) -> Results:
    """The results of the chosen runs alone; a run that is not among `chosen` is left out."""
    runs = results.runs[chosen.reindex(results.runs.index, fill_value=False)].reset_index(drop=True)
    return replace(results, runs=runs, history=results.history[results.history["run"].isin(runs["run"])])


def diverged(results: Results, lost: pd.Series | Sequence[bool], share: float = 0.5) -> Results:
    """The results had the `lost` runs diverged after `share` of their steps; 0: in the first.

    Every value of such a run is NaN from that step on, and its last metrics are; at step 0 all are finite.
    """
    lost = np.asarray(lost, dtype=bool)
    runs, history = results.runs.copy(), results.history.copy()
    steps = np.maximum(1.0, np.floor(share * runs["steps"].to_numpy()))
    runs["diverged_at"] = np.where(lost, steps, runs["diverged_at"].to_numpy(dtype=float))
    runs.loc[lost, [name for name in history["metric"].unique() if name in runs]] = np.nan
    at = history["run"].map(runs.set_index("run")["diverged_at"])
    history.loc[history["step"] >= at, "value"] = np.nan  # False for NaN
    return replace(results, runs=runs, history=history)


def judgments(name: str, results: Results) -> tuple[list[Claim], list[tuple[Results, list[Claim]]]]:
    """The claims of a finding as it judges them, and each judgment that they rest on: of what, and what."""
    made = []

    def observed(judge: Callable[..., list[Claim]], *rest) -> list[Claim]:
        def observing(found: Results, criteria) -> list[Claim]:
            made.append((found, [replace(claim, scale=SCALE) for claim in judge(found, criteria)]))
            return made[-1][1]

        return verdicts(observing, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judging, "verdicts", observed)
        return judged(name, results), made


def judged(name: str, results: Results) -> list[Claim]:
    """The claims of a finding as it judges them."""
    return finding(name).judge(results, SCALE)
