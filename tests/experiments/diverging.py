"""Results in which networks diverged, made of the shipped ones as the trainer would have written them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd

from tests.programs import EXPERIMENTS
from weightdecay import reference
from weightdecay.grid import Config, Run, load_config
from weightdecay.results import Results, load_scale

NAMES = sorted(path.parent.name for path in EXPERIMENTS.glob("*/config.yaml"))
SETTINGS = set(Run.model_fields) - {"experiment"}
SCALE = "laptop"


@cache
def config_of(name: str) -> Config:
    return load_config(EXPERIMENTS / name / "config.yaml")


@cache
def shipped(name: str) -> Results:
    """The shipped results of a finding."""
    return load_scale(reference.FOLDER / SCALE / name, config_of(name), SCALE)


def settled(name: str) -> Results:
    """The same with the metrics of every run known, as if no network had diverged: the last that were finite."""
    return healed(shipped(name))


def healed(results: Results) -> Results:
    """Results in which the runs that diverged are left out."""
    lost = results.runs["diverged_at"].notna()
    runs = results.runs[~lost].reset_index(drop=True)
    return replace(results, runs=runs, history=results.history[results.history["run"].isin(runs["run"])])


def metrics_of(results: Results) -> list[str]:
    """Columns of `runs` that hold a run's last metrics."""
    return [name for name in results.history["metric"].unique() if name in results.runs]


def diverged(results: Results, lost: pd.Series | Sequence[bool], share: float = 0.5) -> Results:
    """The results had the `lost` runs diverged after `share` of their steps; 0: in the first.

    Every value of such a run is NaN from that step on, and its last metrics are; at step 0 all are finite.
    """
    lost = np.asarray(lost, dtype=bool)
    runs, history = results.runs.copy(), results.history.copy()
    steps = np.maximum(1.0, np.floor(share * runs["steps"].to_numpy()))
    before = runs["diverged_at"].to_numpy(dtype=float)
    runs["diverged_at"] = np.where(lost, np.fmin(before, steps), before)
    runs.loc[lost, metrics_of(results)] = np.nan
    at = history["run"].map(runs.set_index("run")["diverged_at"])
    history.loc[history["step"] >= at, "value"] = np.nan  # False for NaN
    return replace(results, runs=runs, history=history)
