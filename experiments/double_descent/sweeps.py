"""The runs of a sweep as tables of final values by seed, width and λ, and what claims and figures measure on them."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from weightdecay.results import Results
from weightdecay.statistics.measures import Histories, final_table, select
from weightdecay.statistics.shapes import at_settings, best_settings, crossing, peak, vertex

from . import finding


class Sweep:
    """The runs of one sweep, with final values `[seeds, width]` at each λ."""

    def __init__(self, results: Results, name: str, **settings: object):
        runs = results.runs
        self.runs = select(runs[runs["sweep"] == name], **settings)
        self.histories = Histories(results.history[results.history["run"].isin(self.runs["run"])])
        self.weight_decays = sorted(self.runs["weight_decay"].unique())
        self.widths = sorted(self.runs["width"].unique())
        self._tables: dict[tuple[str, float], pd.DataFrame] = {}

    def __bool__(self) -> bool:
        return len(self.runs) > 0

    @property
    def widest(self) -> float:
        """The largest width; NaN if nothing was run."""
        return self.widths[-1] if self.widths else np.nan

    def final(self, metric: str, weight_decay: float = 0.0) -> pd.DataFrame:
        """Return the final values of a metric; `..._error` is 1 − accuracy."""
        if (metric, weight_decay) not in self._tables:
            chosen = select(self.runs, weight_decay=weight_decay)
            window = chosen["steps"].max() / 10
            self._tables[metric, weight_decay] = final_table(self.histories, chosen, metric, window, "width")
        return self._tables[metric, weight_decay]

    def finals(self, metric: str) -> dict[float, pd.DataFrame]:
        """Return the final values of a metric by λ."""
        return {λ: self.final(metric, λ) for λ in self.weight_decays}

    def thresholds(self, tolerance: float) -> pd.Series:
        """Return per seed the width at which final training loss without decay falls to `tolerance`; NaN if none."""
        return by_seed(self.final("train_loss"), lambda curve: crossing(curve, tolerance))

    def fitted(self, tolerance: float) -> pd.Series:
        """Return per seed the width at which the training error falls to `tolerance`; it is 0 from some width on."""
        return by_seed(self.final("train_error").clip(lower=1e-4), lambda curve: crossing(curve, tolerance))

    def peaks(self) -> pd.Series:
        """Return per seed the width at which test loss without decay is largest, interpolated between widths."""
        return by_seed(self.final("test_loss"), vertex)

    def tuned(self, metric: str = "validation_loss") -> pd.DataFrame:
        """Return the λ that is best on the validation split, for each width and seed."""
        return best_settings(self.finals(metric))

    def single(self, among: pd.DataFrame | None = None) -> pd.DataFrame:
        """Return per seed the single λ that is best on the validation split over the widths where `among` is True."""
        validation = self.finals("validation_loss")
        if among is not None:
            validation = {λ: table.where(among) for λ, table in validation.items()}
        return best_settings(validation, joint=True)

    def at_end(self, metric: str, width: float) -> pd.Series:
        """Return per seed the final value without decay at one width; empty if this was not run."""
        return self.final(metric).get(width, pd.Series(dtype=float))

    def curves(self, metric: str, width: float, settings: pd.Series | float = 0.0) -> pd.DataFrame:
        """Return a metric over time `[seeds, steps]` at one width, at one λ or at each seed's own λ."""
        rows = {}
        for _, run in self.runs[self.runs["width"] == width].iterrows():
            λ = settings if isinstance(settings, float) else settings.get(run["seed"], np.nan)
            if np.isclose(run["weight_decay"], λ, rtol=1e-9):
                rows[run["seed"]] = self.histories.curve(run["run"], metric)
        return pd.DataFrame(rows).T.dropna(axis=1, how="all")


@finding.measured
class Sweeps:
    """Every sweep by which claims are judged, empty if it was not run, and the results that they come from."""

    def __init__(self, results: Results):
        self.results = results
        self.main, self.clean = Sweep(results, "width"), Sweep(results, "clean")
        self.notebook, self.notebook_clean = (Sweep(results, "notebook", label_noise=noise) for noise in (0.15, 0.0))
        self.cnn, self.small_cnn = Sweep(results, "cnn"), Sweep(results, "small_cnn")


def by_seed(table: pd.DataFrame, measure: Callable[[pd.Series], float]) -> pd.Series:
    """Return a measure of every row of `[seeds, x]`; empty without rows."""
    return pd.Series({seed: measure(curve) for seed, curve in table.iterrows()}, table.index, dtype=float)


def peaks_and_thresholds(results: Results, tolerance: float) -> pd.DataFrame:
    """Return the widths of `peak` and `threshold`, indexed by (train_size, seed), with noisy labels and no decay."""
    rows = {}
    for name in ("samples", "width"):
        for n in sorted(results.runs.loc[results.runs["sweep"] == name, "train_size"].unique()):
            sweep = Sweep(results, name, train_size=n, weight_decay=0.0)
            rows[n] = pd.DataFrame({"peak": sweep.peaks(), "threshold": sweep.thresholds(tolerance)})
    if not rows:
        nothing = pd.MultiIndex.from_arrays([[], []], names=["train_size", "seed"])
        return pd.DataFrame(index=nothing, columns=["peak", "threshold"], dtype=float)
    return pd.concat(rows, names=["train_size", "seed"]).sort_index()


def region_tables(main: Sweep, tolerance: float, factor: float) -> dict[str, pd.DataFrame]:
    """Return which widths are under- or over-parameterised, or near the seed's threshold; each `[seeds, width]`."""
    table = main.final("test_loss")
    relative = pd.DataFrame(
        np.array(table.columns, float) / main.thresholds(tolerance).to_numpy()[:, None], table.index, table.columns
    )
    over, under = relative >= factor, relative <= 1 / factor
    return {"over": over, "under": under, "near": ~over & ~under & relative.notna()}


def effect(main: Sweep, choice: pd.DataFrame, among: pd.DataFrame) -> pd.Series:
    """Return per seed the mean over `among` of log(test loss without decay / that at `choice`): positive if λ helps."""
    gains = np.log(main.final("test_loss")) - np.log(at_settings(main.finals("test_loss"), choice))
    return gains.where(among).mean(axis=1)


def error_added(main: Sweep, choice: pd.DataFrame, among: pd.DataFrame) -> pd.Series:
    """Return per seed the mean over `among` of test error at `choice` less that without decay: positive if λ harms."""
    added = at_settings(main.finals("test_error"), choice) - main.final("test_error")
    return added.where(among).mean(axis=1)


def peak_width(main: Sweep) -> float:
    """Return the width at which mean test loss without decay has its peak; NaN if this is unknown."""
    return peak(np.log(main.final("test_loss")).mean())


def ridge_tables(table: pd.DataFrame, metric: str) -> dict[float, pd.DataFrame]:
    """Return a column of the table of random features as `[seeds, features]`, by ridge."""
    return {
        ridge: rows.pivot(index="seed", columns="features", values=metric) for ridge, rows in table.groupby("ridge")
    }
