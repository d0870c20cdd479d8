"""S1's published losses by width, our runs in each setting, and where these predict a single run."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from weightdecay.report.published import read_published
from weightdecay.results import Results
from weightdecay.statistics.estimates import Estimate
from weightdecay.statistics.measures import Histories, final_table, longest
from weightdecay.statistics.predictions import lies_within, prediction

from . import finding

PUBLISHED = read_published(Path(__file__).with_name("published.yaml"))
POINTS = pd.DataFrame(PUBLISHED["sweep"]).set_index("width")  # [width, (test, train)]
LAST_STEPS = 3900  # a mean over the last 50 epochs of 78 steps
METRICS = {"test": "noisy_test_loss", "train": "train_loss_batch"}


class Setting(NamedTuple):
    """One sweep over widths: its share of label noise and its λ."""

    noise: float
    weight_decay: float

    def __str__(self) -> str:
        return f"noise {self.noise:g}, λ = {self.weight_decay:g}"


@finding.measured
class Measured:
    """The runs, and their final losses `[seeds, widths]` of both kinds in each setting."""

    def __init__(self, results: Results):
        self.runs = longest(results.runs, ("label_noise", "weight_decay", "width", "seed"))
        histories = Histories(results.history)
        self.final = {
            Setting(*key): {kind: final_table(histories, runs, of, LAST_STEPS, "width") for kind, of in METRICS.items()}
            for key, runs in self.runs.groupby(["label_noise", "weight_decay"])
        }

    def rises(self, width: int, without: object = None) -> dict[Setting, pd.Series]:
        """Return by setting the log of the test loss at a width over the lowest at a smaller one, by seed.

        The smaller width is chosen on the other seeds, or noise alone would make a rise. Settings that lack a loss are
        left out; `without`: so is this seed, also where a width is chosen.
        """
        found = {}
        for setting, losses in self.final.items():
            logs = np.log(losses["test"])[losses["test"].index != without]
            below = logs.loc[:, logs.columns < width]
            if width in logs and below.shape[1] and len(logs) > 1 and logs.notna().all(axis=None):
                lowest = {seed: below.loc[seed, below.drop(seed).mean().idxmin()] for seed in logs.index}
                found[setting] = logs[width] - pd.Series(lowest)
        return found

    def largest_rise(self, width: int) -> pd.Series:
        """Return the rise of each seed in the setting that rises most on average over the other seeds."""
        known, found = self.rises(width), {}
        for seed in sorted(self.runs["seed"].unique()) if known else ():
            others = {setting: rises.mean() for setting, rises in self.rises(width, seed).items() if setting in known}
            found[seed] = known[max(others, key=others.__getitem__)].get(seed, np.nan) if others else np.nan
        return pd.Series(found, dtype=float)

    def single_rises(self, width: int) -> np.ndarray:
        """Return the rise of each single sweep, one run a width, over its own lowest loss, as one reads S1's figure."""
        found = []
        for losses in self.final.values():
            known = losses["test"].dropna()
            if width in known and (known.columns < width).any():
                found.append(known[width] / known.loc[:, known.columns < width].min(axis=1))
        return np.concatenate(found) if found else np.empty(0)

    def predictions(self, setting: Setting, kind: str) -> dict[int, Estimate]:
        """Return what one more run would give at each width; unknown where a run diverged and so has no loss."""
        table = self.final[setting][kind]
        return {
            int(width): prediction([] if values.isna().any() else values, logarithmic=True)
            for width, values in table.items()
        }

    def points_met(self, setting: Setting, width: int, reading_error: float) -> int | None:
        """Return how many of S1's losses up to a width a setting meets; None unless it has an interval for each."""
        compared = []
        for kind in METRICS:
            found = self.predictions(setting, kind)
            for at, loss in POINTS.loc[:width, kind].items():
                compared.append(lies_within(loss, found[at], reading_error) if at in found else None)
        return None if None in compared else sum(map(bool, compared))
