"""`weightdecay new`: the files of a new finding, which already runs and is meant to be edited."""

import re
from pathlib import Path
from string import ascii_uppercase

from weightdecay import files
from weightdecay.config import TAKEN
from weightdecay.errors import ConfigError
from weightdecay.finding import EXPERIMENTS, findings
from weightdecay.setting_types import LONGEST_NAME

INIT = '''"""What this finding is about, in a sentence or two."""

from weightdecay.finding import Finding

finding = Finding(__name__)
'''

CONFIG = """\
experiment: NAME
title: A title for the paper
sources: [own]

defaults: # of every run; docs/settings.md explains each
  dataset: digits
  train_size: 500
  network: mlp
  width: 32
  loss: cross_entropy
  optimizer: adam
  decay: decoupled # AdamW
  learning_rate: 1e-3
  batch_size: 50
  steps: 400
  log_every: 100

scales: # how much is trained: every λ and seed
  smoke: {seeds: 3, sweeps: {weight_decay: [{weight_decay: [0.0, 1.0]}]}}
  laptop: {seeds: 5, shards: 2, sweeps: {weight_decay: [{weight_decay: [0.0, 0.1, 1.0], steps: 1000}]}}
  paper: {seeds: 20, shards: 4, sweeps: {weight_decay: [{weight_decay: [0.0, 0.1, 1.0], steps: 5000}]}}

criteria: # written before the runs that they judge
  CLAIM:
    source: own
    kind: own reading # or stated, implied: how far the claim is its source's; or identity, if algebra decides it
    fixed: before # or after first runs, after judged runs: what was known when the criterion was fixed
    statement: Weight decay makes the weights smaller.
    criterion: "The norm of all weights at λ = {weight_decay} is at most {ratio} of that at λ = 0, over seeds."
    thresholds: {weight_decay: 1.0, ratio: 0.9}
"""

TRAIN = '''"""How a row of the table is trained: its data; its network is the one that it names."""

from weightdecay.datasets import Splits
from weightdecay.datasets.digits import digits
from weightdecay.ensemble.state import Protocol
from weightdecay.run import Run, require


def splits(run: Run) -> Splits:
    """The examples of the run's seed; 100 to validate and 300 to test. Labels are clean."""
    require(run, dataset="digits", label_noise=0.0)
    return digits(run.seed, run.train_size, 100, 300)


PROTOCOL = Protocol(splits)
'''

CLAIMS = '''"""The claims, judged by the criteria of config.yaml."""

import numpy as np

from weightdecay.claims.judging import judged
from weightdecay.claims.model import Part
from weightdecay.results import Results
from weightdecay.statistics.estimates import ratio_interval

from . import finding


@finding.claim("CLAIM")
def smaller_weights(results: Results, *, weight_decay: float, ratio: float) -> tuple[list[Part], str]:
    """Decay makes the weights smaller: one ratio a seed, then its interval over seeds."""
    norms = results.runs.pivot(index="seed", columns="weight_decay", values="weight_norm")
    found = ratio_interval(np.log(norms[weight_decay] / norms[0.0]))
    return [judged("Norm", "norm with decay over norm without", found, most=ratio)], ""
'''

FIGURES = '''"""The figures of the paper."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from weightdecay.finding import Inputs
from weightdecay.report.style import COLUMN, weight_decay_colour

from . import finding


@finding.figure("CLAIM")
def norm(inputs: Inputs) -> Figure:
    """The norm of all weights over the steps, a line a run."""
    figure, axes = plt.subplots(figsize=(COLUMN, 2.2))
    history = inputs.results.history
    for _, run in inputs.results.runs.iterrows():
        curve = history[(history["run"] == run["run"]) & (history["metric"] == "weight_norm")]
        axes.plot(curve["step"], curve["value"], color=weight_decay_colour(run["weight_decay"]))
    axes.set(xlabel="step", ylabel="weight norm")
    return figure
'''

FILES = {
    "__init__.py": INIT,
    "config.yaml": CONFIG,
    "train.py": TRAIN,
    "claims.py": CLAIMS,
    "figures.py": FIGURES,
}


def make(name: str) -> str:
    """Write the files of a finding `name`; return what to do next. ConfigError for an invalid name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or len(name) > LONGEST_NAME or name in TAKEN:
        raise ConfigError(
            f"the name is {name!r}, but must be of a-z, 0-9 and _, begin with a letter, have at most {LONGEST_NAME} "
            f"characters, and be none of {', '.join(TAKEN)}."
        )
    known = findings()
    folder = Path(EXPERIMENTS, name)
    if folder.exists():
        raise ConfigError(f"{folder} is there already.")
    taken = {id[0] for finding in known.values() for id in finding.config.criteria}
    letter = next((letter for letter in reversed(ascii_uppercase) if letter not in taken), None)
    if letter is None:
        raise ConfigError("every letter is taken by the claims of some finding.")
    for file, text in FILES.items():
        files.write(folder / file, text.replace("CLAIM", f"{letter}1").replace("NAME", name))
    return (
        f"{folder} is there. Train and judge it at once:\n"
        f"  weightdecay train {name} --scale smoke && weightdecay claims {name} --scale smoke\n"
        "Then edit its files: the protocol in config.yaml and train.py, the claims in claims.py, the figures in "
        "figures.py. The pipeline finds it by itself."
    )
