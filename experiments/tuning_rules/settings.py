"""The runs of the tuning rules by setting, and the best λ of each setting, for claims and figures."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from weightdecay.claims.judging import NOT_RUN, counts, joined
from weightdecay.results import Results
from weightdecay.statistics.measures import Histories, diverged, final_table, select

from . import finding
from .best import best_of

DECAYS = {"decoupled": "Decoupled", "l2": "Coupled"}
OUTCOME = ("test_loss", "test_error")


@dataclass(frozen=True)
class Setting:
    """A setting for which λ is chosen. The default is the setting from which all others differ in one thing."""

    train_size: int = 1_000  # the default of config.yaml
    decay: str = "decoupled"
    dropout: float = 0.0
    schedule: str = "constant"
    network: str = "mlp"
    decay_exclude: str = "nothing"
    dataset: str = "mnist1d"

    def __str__(self) -> str:
        said = [DECAYS[self.decay].lower(), f"n = {self.train_size:,}"]
        said += [f"dropout {self.dropout:g}"] if self.dropout else []
        said += [self.schedule] if self.schedule != "constant" else []
        said += ["BatchNorm"] if self.network != "mlp" else []
        said += ["matrices alone"] if self.decay_exclude != "nothing" else []
        return ", ".join(said)


BATCH_NORM = Setting(network="residual_mlp")


@finding.measured
class Runs:
    """The runs of all sweeps by their settings, with final values `[seeds, λ]`."""

    def __init__(self, results: Results):
        self.runs = results.runs
        self.histories = Histories(results.history)
        self._runs: dict[Setting, pd.DataFrame] = {}
        self._tables: dict[tuple[str, Setting], pd.DataFrame] = {}

    def of(self, setting: Setting) -> pd.DataFrame:
        """Return the runs of a setting. Those with λ = 0 are shared by settings that differ only in their decay."""
        if setting not in self._runs:
            fields = vars(setting)
            without = fields | {"decay": "none", "decay_exclude": "nothing"}
            self._runs[setting] = pd.concat([select(self.runs, **without), select(self.runs, **fields)])
        return self._runs[setting]

    def settings(self) -> list[Setting]:
        """Return all settings that were trained with decay, except those of cross-validation."""
        decayed = self.runs[(self.runs["decay"] != "none") & (self.runs["dataset"] == "mnist1d")]
        fields = list(vars(Setting()))
        found = decayed[fields].drop_duplicates().sort_values(fields)
        settings = [Setting(**row) for row in found.to_dict(orient="records")]
        return sorted(settings, key=lambda setting: setting.decay_exclude != "nothing")

    def sizes(self) -> list[int]:
        """Return every number of training examples, smallest first."""
        return sorted(self.runs["train_size"].unique().tolist())

    def rates(self, decay: str) -> list[float]:
        """Return every rate of dropout above 0 that was trained with this kind of decay."""
        chosen = self.runs[(self.runs["decay"] == decay) & (self.runs["dropout"] > 0)]
        return sorted(chosen["dropout"].unique().tolist())

    def folds(self) -> list[str]:
        """Return the names of the data sets of cross-validation."""
        return sorted(dataset for dataset in self.runs["dataset"].unique() if "_fold" in dataset)

    def final(self, metric: str, setting: Setting) -> pd.DataFrame:
        """Return the final values of a metric; `..._error` is 1 − accuracy."""
        if (metric, setting) not in self._tables:
            chosen = self.of(setting)
            window = chosen["steps"].max() / 10 if len(chosen) else 0.0
            self._tables[metric, setting] = final_table(self.histories, chosen, metric, window)
        return self._tables[metric, setting]

    def best(self, setting: Setting, by: str = "validation_loss") -> pd.DataFrame:
        """Return the bounds `low, high` of the best λ, a row for each seed.

        By loss they are those of `best_of`. The error is flat and has few values, so by error both bounds are the best
        λ > 0 of the grid, even at an end.
        """
        table = self.final(by, setting)
        if by == "validation_loss":
            bounds = [best_of(losses) for _, losses in table.iterrows()]
        else:
            bounds = [(λ, λ) for λ in lowest(table[[λ for λ in table.columns if λ > 0]])]
        return pd.DataFrame(bounds, table.index, ["low", "high"], dtype=float)

    def tuned(self, setting: Setting, by: str = "validation_loss") -> pd.Series:
        """Return per seed the λ of the grid, which may be 0, with the lowest validation loss; NaN if all diverged."""
        return lowest(self.final(by, setting))

    def undecayed(self, metric: str, setting: Setting) -> pd.Series:
        """Return the final values without decay, by seed; empty if this was not run."""
        return self.final(metric, setting).get(0.0, pd.Series(dtype=float))

    def at(self, metric: str, setting: Setting, choice: pd.Series) -> pd.Series:
        """Return per seed the final value at its own λ; NaN if the grid lacks this λ or the λ is unknown."""
        table = self.final(metric, setting)
        found = [table[λ].get(seed, np.nan) if λ in table.columns else np.nan for seed, λ in choice.items()]
        return pd.Series(found, choice.index, dtype=float)

    def outcome(self, setting: Setting, choice: pd.Series) -> pd.DataFrame:
        """Return the final `test_loss, test_error` of each seed at its own λ."""
        return pd.DataFrame({metric: self.at(metric, setting, choice) for metric in OUTCOME})

    def on_grid(self, setting: Setting, weight_decay: float | pd.Series) -> pd.Series:
        """Return per seed the λ of the grid that equals `weight_decay` up to rounding; empty if a seed has none."""
        table = self.final("validation_loss", setting)
        aims = pd.Series(weight_decay, table.index, dtype=float)
        found = [[λ for λ in table.columns if np.isclose(λ, aim, rtol=1e-9, atol=0)] for aim in aims]
        return pd.Series([λ[0] for λ in found], table.index, dtype=float) if all(found) else pd.Series(dtype=float)


def lowest(table: pd.DataFrame) -> pd.Series:
    """Return for each row the column of its lowest value; NaN if no value is known."""
    found = {seed: row.idxmin() for seed, row in table.iterrows() if row.notna().any()}
    return pd.Series(found, dtype=float).reindex(table.index)


def noted(runs: Runs, settings: Sequence[Setting]) -> str:
    """Say for a note how many runs of these settings diverged, and in how many seeds and where best λ are censored."""
    settings = list(dict.fromkeys(settings))
    used = pd.concat([runs.of(setting) for setting in settings]).drop_duplicates("run") if settings else pd.DataFrame()
    ends = []
    for setting in settings:
        found = runs.best(setting)
        below, above = found[(found["low"] == 0) & np.isfinite(found["high"])], found[np.isinf(found["high"])]
        said = [f"below {below['high'].max():g} in {len(below)}"] if len(below) else []
        said += [f"above {above['low'].min():g} in {len(above)}"] if len(above) else []
        ends += [f"{setting} ({', '.join(said)} of {len(found)} seeds)"] if said else []
    return joined(
        counts(len(used), {"diverged": diverged(used)}) if len(used) else NOT_RUN,
        f"best λ censored at an end of its grid: {', '.join(ends)}" if ends else "",
    )
