"""The runs of the tuning rules by what a λ is chosen for, and the best λ of each. What claims and figures both read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from weightdecay.analysis.measures import Histories, final_table, select
from weightdecay.analysis.shapes import vertex

DECAYS = {"decoupled": "Decoupled", "l2": "Coupled"}


@dataclass(frozen=True)
class Setting:
    """What a λ is chosen for; without arguments the one that all others differ from in one thing."""

    train_size: int = 1_000  # as config.yaml's
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


class Runs:
    """The runs of all sweeps by their settings, with final values `[seeds, λ]`."""

    def __init__(self, results: Any):
        self.runs = results.runs
        self.histories = Histories(results.history)
        self._runs: dict[Setting, pd.DataFrame] = {}
        self._tables: dict[tuple[str, Setting], pd.DataFrame] = {}

    def of(self, setting: Setting) -> pd.DataFrame:
        """The runs of a setting. Without decay nothing is left out of it, so that λ = 0 is the same run for both."""
        if setting not in self._runs:
            fields = vars(setting)
            without = fields | {"decay": "none", "decay_exclude": "nothing"}
            self._runs[setting] = pd.concat([select(self.runs, **without), select(self.runs, **fields)])
        return self._runs[setting]

    def settings(self) -> list[Setting]:
        """All that were trained with decay, cross-validation aside."""
        decayed = self.runs[(self.runs["decay"] != "none") & (self.runs["dataset"] == "mnist1d")]
        fields = list(vars(Setting()))
        found = decayed[fields].drop_duplicates().sort_values(fields)
        settings = [Setting(**row) for row in found.to_dict(orient="records")]
        return sorted(settings, key=lambda setting: setting.decay_exclude != "nothing")

    def sizes(self) -> list[int]:
        """Every number of training examples, smallest first."""
        return sorted(self.runs["train_size"].unique().tolist())

    def rates(self, decay: str) -> list[float]:
        """Every rate of dropout above 0 with that decay."""
        chosen = self.runs[(self.runs["decay"] == decay) & (self.runs["dropout"] > 0)]
        return sorted(chosen["dropout"].unique().tolist())

    def folds(self) -> list[str]:
        """The data sets of cross-validation."""
        return sorted(dataset for dataset in self.runs["dataset"].unique() if "_fold" in dataset)

    def final(self, metric: str, setting: Setting) -> pd.DataFrame:
        """Final values of a metric; `..._error` is 1 − accuracy."""
        if metric.endswith("_error"):
            return 1 - self.final(metric.replace("_error", "_accuracy"), setting)
        if (metric, setting) not in self._tables:
            chosen = self.of(setting)
            window = chosen["steps"].max() / 10 if len(chosen) else 0.0
            self._tables[metric, setting] = final_table(self.histories, chosen, metric, window)
        return self._tables[metric, setting]

    def best(self, setting: Setting, by: str = "validation_loss") -> pd.Series:
        """Per seed the best λ > 0: by loss between those of the grid, NaN at its ends or where λ = 0 is better.

        By error, which comes in steps and is flat, the grid's own, wherever it is.
        """
        table = self.final(by, setting)
        if by == "validation_loss":
            return table.apply(best_of, axis=1)
        return table[[λ for λ in table.columns if λ > 0]].idxmin(axis=1)

    def tuned(self, setting: Setting, by: str = "validation_loss") -> pd.Series:
        """Per seed the grid's λ, 0 among them, with the lowest validation loss."""
        return self.final(by, setting).idxmin(axis=1)

    def at(self, metric: str, setting: Setting, choice: pd.Series) -> pd.Series:
        """Per seed the final value at its own λ."""
        table = self.final(metric, setting)
        rows, columns = table.index.get_indexer(choice.index), table.columns.get_indexer(choice)
        return pd.Series(table.to_numpy()[rows, columns], choice.index, dtype=float)


def best_of(losses: pd.Series) -> float:
    """The λ of the lowest loss, by a parabola on logarithmic axes; NaN where the lowest is an end, or at λ = 0."""
    losses = losses.dropna()
    inner = losses[losses.index > 0]
    if len(inner) < 3 or losses.idxmin() not in inner.index[1:-1]:
        return np.nan
    return vertex(1 / inner)


def cross_validated(runs: Runs, decay: str) -> pd.Series:
    """Per seed the λ with the lowest mean loss of the folds held out; empty where there are none."""
    tables = [runs.final("validation_loss", Setting(decay=decay, dataset=fold)) for fold in runs.folds()]
    return (sum(tables) / len(tables)).idxmin(axis=1) if tables else pd.Series(dtype=float)


def small_effects(runs: Runs, t: Mapping[str, float]) -> dict[str, tuple[pd.DataFrame, pd.DataFrame]]:
    """What a small λ does against none: logarithm of the ratio of test losses, difference of test errors.

    "Fixed": λ = `weight_decay`, "Tenth": the grid's nearest to `share` of its best, per seed. Each `[seeds, setting]`.
    """
    found = {"Fixed": (pd.DataFrame(), pd.DataFrame()), "Tenth": (pd.DataFrame(), pd.DataFrame())}
    for setting in runs.settings():
        validation = runs.final("validation_loss", setting)
        grid = np.array([λ for λ in validation.columns if λ > 0])
        if 0.0 not in validation.columns:
            continue
        aim = t["share"] * validation[grid].idxmin(axis=1)
        choices = {"Tenth": aim.map(lambda λ, grid=grid: grid[np.abs(np.log(grid / λ)).argmin()])}
        if np.isclose(grid, t["weight_decay"]).any():
            choices["Fixed"] = pd.Series(t["weight_decay"], validation.index)
        for name, choice in choices.items():
            for table, metric in zip(found[name], ("test_loss", "test_error"), strict=True):
                small, none = runs.at(metric, setting, choice), runs.final(metric, setting)[0.0]
                table[str(setting)] = np.log(small / none) if metric == "test_loss" else small - none
    return found
