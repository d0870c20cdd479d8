"""Histories of synthetic results, put together at once: a data frame for each curve takes longer than to judge them."""

from collections.abc import Iterable

import numpy as np
import pandas as pd


def history(curves: Iterable[tuple[str, str, np.ndarray, np.ndarray]]) -> pd.DataFrame:
    """The tidy history `run, step, metric, value` of curves `(run, metric, steps, values)`."""
    runs, metrics, steps, values = zip(*curves, strict=True)
    lengths = [len(curve) for curve in values]
    return pd.DataFrame(
        {
            "run": np.repeat(runs, lengths),
            "step": np.concatenate(steps),
            "metric": np.repeat(metrics, lengths),
            "value": np.concatenate(values),
        }
    )
