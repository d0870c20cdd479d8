"""S1's published points, our runs at the same λ, and where those runs predict a single run."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from weightdecay.report.published import read_published
from weightdecay.results import Results
from weightdecay.statistics.estimates import ACCURACY, UNBOUNDED, Estimate
from weightdecay.statistics.measures import TRAIN, Histories, between, final_table, longest, select
from weightdecay.statistics.predictions import prediction

from . import finding

PUBLISHED = read_published(Path(__file__).with_name("published.yaml"))
LAST_STEPS = 3900  # S1's points are means over the last 50 epochs of 78 steps


@dataclass(frozen=True)
class Curve:
    """One of S1's curves along λ: the metric that it shows, and whether its intervals are of logarithms."""

    metric: str
    title: str
    logarithmic: bool = False


CURVES = {
    "test": Curve("test_accuracy", "test accuracy"),
    "train": Curve(TRAIN, "training accuracy"),
    "loss": Curve("test_loss", "test loss", logarithmic=True),
}


@finding.measured
class Measured:
    """The runs of the sweep, and their final values `[seeds, λ]` for each of S1's curves."""

    def __init__(self, results: Results):
        self.runs = longest(results.runs)
        self.histories = histories = Histories(results.history)
        self.final = {
            kind: final_table(histories, self.runs, curve.metric, LAST_STEPS) for kind, curve in CURVES.items()
        }

    def published(self, kind: str) -> pd.Series:
        """Return S1's points of one curve, by λ."""
        return pd.DataFrame(PUBLISHED["sweep"]).set_index("weight_decay")[kind]

    def shortest(self, weight_decay: float) -> int:
        """Return the steps of the shortest run at one λ."""
        return int(select(self.runs, weight_decay=weight_decay)["steps"].min())

    def predictions(self, kind: str) -> dict[float, Estimate]:
        """Return what one more run would give at each λ; unknown where a run diverged and so has no loss."""
        curve, found = CURVES[kind], {}
        for λ, runs in self.runs.groupby("weight_decay"):
            values = self.final[kind].loc[runs["seed"], λ]
            bounds = UNBOUNDED if curve.logarithmic else ACCURACY
            found[float(λ)] = prediction([] if values.isna().any() else values, bounds, curve.logarithmic)
        return found

    def breakdown(self, low: float, high: float) -> pd.DataFrame:
        """Return the runs in a range of λ that have learned something, with accuracy and given-up bits at the end."""
        runs = self.runs[between(self.runs["weight_decay"], low, high) & self.runs["diverged_at"].isna()]
        ends = {
            metric: [self.histories.final(run, metric, 0) for _, run in runs.iterrows()]
            for metric in ("train_accuracy", "lost_bits")
        }
        return runs.assign(**ends).query("train_accuracy > 0").dropna(subset=list(ends))
