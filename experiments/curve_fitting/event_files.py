"""Writes S3's histograms and losses as TensorBoard event files, from stored results; S3 shows them during training.

    python -m experiments.curve_fitting.event_files --results results/laptop/curve_fitting --output runs --seed 0
    tensorboard --logdir runs

Each network has a folder, <output>/seed_<seed>/normal and .../weight_decay, so that TensorBoard shows one over the
other. Histograms are of the second hidden layer, every 200 steps: weights, and log10 |gradient|. The bins are those in
which training counted the values (demo.py). Values outside are in an extra bin, as wide as its neighbour.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from weightdecay.errors import ConfigError, ResultError, reports_user_errors
from weightdecay.files import check_writable
from weightdecay.results import Results, load

from .demo import GRADIENT_EDGES, WEIGHT_EDGES
from .runs import DECAY, Runs

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

NETWORKS = {"normal": 0.0, "weight_decay": DECAY}  # S3's names
SCALARS = ("train_loss", "train_loss_batch", "test_loss", "weight_norm", "gradient_norm")
HISTOGRAMS = {  # tag -> metric, edges; the layer's name is that of S3's program
    "linears.2.weight_data": ("layer2_weight_bin_", WEIGHT_EDGES),
    "linears.2.weight_log10_abs_grad": ("layer2_gradient_bin_", GRADIENT_EDGES),
}


@reports_user_errors
def main() -> None:
    """Write the event files of both networks of one seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="folder with runs.parquet and history.parquet")
    parser.add_argument("--output", type=Path, required=True, help="folder for the event files")
    parser.add_argument("--seed", type=int, default=0, help="whose networks (default: 0)")
    arguments = parser.parse_args()
    writer_of = writer_class()
    found = histories(load(arguments.results), arguments.results, arguments.seed)
    for name, folder in empty_folders(arguments.output / f"seed_{arguments.seed}").items():
        with writer_of(str(folder)) as writer:
            write(writer, found[name])
        print(f"wrote {folder}")


def empty_folders(parent: Path) -> dict[str, Path]:
    """Return the folder of each network; ResultError if one has event files: TensorBoard would show them too."""
    folders = {name: parent / name for name in NETWORKS}
    for folder in folders.values():
        if any(folder.glob("events.out.tfevents.*")):
            raise ResultError(f"{folder} has event files already: delete it, or give another --output.")
    for folder in folders.values():
        check_writable(folder)
    return folders


def histories(results: Results, folder: Path, seed: int) -> dict[str, pd.DataFrame]:
    """Return the histories of S3's two networks of a seed; an error that names `folder` if the results lack them."""
    metrics = pd.Series(results.history["metric"].unique())
    counted = all(metrics.str.startswith(prefix).any() for prefix, _ in HISTOGRAMS.values())
    if not (results.runs["sweep"] == "weight_decay").any() or not counted:
        raise ResultError(f"{folder} has no histograms of S3's program: --results must be those of curve_fitting.")
    runs, found = Runs(results), {}
    for name, weight_decay in NETWORKS.items():
        chosen = runs.demo(weight_decay)
        if seed not in chosen.index:
            raise ConfigError(f"seed is {seed}, but {folder} has the seeds {', '.join(map(str, chosen.index))}.")
        found[name] = results.history[results.history["run"] == chosen.loc[seed, "run"]].dropna(subset="value")
    return found


def writer_class() -> "type[SummaryWriter]":
    """Return torch's SummaryWriter; ConfigError says how to install what it needs."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            "event files need the package tensorboard, which is not installed: pip install --editable .[tensorboard]"
        ) from error
    return SummaryWriter


def write(writer: "SummaryWriter", history: pd.DataFrame) -> None:
    """Write the scalars and histograms of one run's history `step, metric, value`."""
    for name in SCALARS:
        own = history[history["metric"] == name].sort_values("step")
        for step, value in zip(own["step"], own["value"], strict=True):
            writer.add_scalar(name, value, int(step))
    for tag, (prefix, edges) in HISTOGRAMS.items():
        own = history[history["metric"].str.startswith(prefix)]
        for step, counts in own.pivot(index="step", columns="metric", values="value").iterrows():
            add_histogram(writer, tag, counts.to_numpy(), edges, int(step))


def add_histogram(writer: "SummaryWriter", tag: str, counts: np.ndarray, edges: np.ndarray, step: int) -> None:
    """Write a histogram from counts `[E + 1]` below, between and above E edges; its moments use the bins' centres."""
    width = edges[1] - edges[0]
    ends = np.concatenate([[edges[0] - width], edges, [edges[-1] + width]])
    centres = (ends[1:] + ends[:-1]) / 2
    filled = np.flatnonzero(counts)
    writer.add_histogram_raw(
        tag,
        min=ends[filled[0]],
        max=ends[filled[-1] + 1],
        num=counts.sum(),
        sum=counts @ centres,
        sum_squares=counts @ centres**2,
        bucket_limits=ends[1:].tolist(),
        bucket_counts=counts.tolist(),
        global_step=step,
    )


if __name__ == "__main__":
    main()
