"""A training program is killed at random moments, again and again, and started again: its tables do not show it."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from weightdecay import results
from weightdecay.config import load_config
from weightdecay.run import Run
from weightdecay.table import table_of

KILLS = 24
CONFIG = """
experiment: storm
title: A training that is killed
sources: [S1]
datasets: [classes]
defaults: {dataset: classes, train_size: 200, network: mlp, blocks: 2, batch_norm_eps: null, loss: cross_entropy,
  optimizer: adam, learning_rate: 1e-3, decay: decoupled, weight_decay: 0.1, batch_size: 64, shuffle: true,
  steps: 2000, log_every: 20, log_dense_every: 10, log_dense_until: 100}
scales:
  smoke: &all {seeds: 2, shards: 1, sweeps: {main: [{width: [8, 12], dropout: [0.0, 0.3]}]}}
  laptop: *all
  paper: *all
criteria: {}
"""
FILES = {
    "__init__.py": "from weightdecay.finding import Finding\n\nfinding = Finding(__name__)\n",
    "train.py": "from tests.ensemble.runs import PROTOCOL\n",
    "config.yaml": CONFIG,
}
# A process that has imported everything, and of which every training is a copy: to start one takes no time.
STORM = """
import functools, os, random, shutil, signal, sys, time
from pathlib import Path
from tests.ensemble.runs import PROTOCOL, make
from weightdecay.ensemble import training
from weightdecay.finding import findings
from weightdecay.workflow import stages

finding, folder, kills = findings(sys.argv[1])["storm"], Path(sys.argv[2]), int(sys.argv[3])
training.train(  # so that the compiled code is there
    [make(dataset="classes", network="mlp", batch_norm_eps=None, loss="cross_entropy", steps=1)], PROTOCOL, "cpu"
)
training.train = functools.partial(training.train, checkpoint_seconds=0.0)
stages.fingerprint_of_results(finding, "smoke", "cpu")  # so that its files are read
assert finding.protocol

def started(output):
    process = os.fork()
    if process == 0:
        try:
            stages.train(finding, "smoke", "1/1", output, "cpu", "float32")
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return process

def ended(process):
    status = os.waitpid(process, 0)[1]
    assert os.WIFSIGNALED(status) or status == 0, "a training failed"
    return os.WIFSIGNALED(status)

began = time.monotonic()
assert not ended(started(folder / "undisturbed" / "shards" / "1.parquet"))
length, generator, killed, resumable, finished = time.monotonic() - began, random.Random(0), 0, 0, 0
while killed < kills:
    output = folder / str(finished) / "shards" / "1.parquet"
    process = started(output)
    time.sleep(generator.uniform(0, length / 3))
    os.kill(process, signal.SIGKILL)
    if ended(process):
        killed += 1
        resumable += (output.parents[1] / "checkpoints" / "1.checkpoint").exists()
    else:
        finished += 1
assert not ended(started(folder / str(finished) / "shards" / "1.parquet"))
print(killed, resumable, finished + 1)
"""


def write_finding(folder: Path, **changed: str) -> None:
    """Write experiments/storm/ in a folder."""
    (folder / "experiments/storm").mkdir(parents=True)
    for name, text in (FILES | changed).items():
        (folder / "experiments/storm" / name).write_text(text)


def tables(folder: Path, runs: list[Run]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and history, joined as the pipeline joins them."""
    joined = [folder / name for name in ("runs.parquet", "history.parquet")]
    results.merge([folder / "shards" / "1.parquet"], *joined, runs)
    found = results.load(folder)
    return found.runs, found.history


@pytest.mark.slow
def test_a_training_that_is_killed_again_and_again_ends_as_if_it_never_was(tmp_path):
    """At the start, in the middle of a step, of a save, of the last write. Nothing but the shard is left behind."""
    write_finding(tmp_path)
    command = [sys.executable, "-c", STORM, str(tmp_path), str(tmp_path / "results"), str(KILLS)]
    environment = {**os.environ, "PYTHONPATH": "."}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "is ignored" not in done.stderr  # every checkpoint that was there was whole
    killed, resumable, finished = map(int, done.stdout.split()[-3:])
    assert killed >= KILLS and resumable >= KILLS // 2
    runs = table_of(load_config(tmp_path / "experiments/storm/config.yaml"), "smoke")
    expected = tables(tmp_path / "results" / "undisturbed", runs)
    for number in range(finished):
        folder = tmp_path / "results" / str(number)
        left = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
        assert left == ["checkpoints", "shards", "shards/1.parquet"]
        for ours, theirs in zip(tables(folder, runs), expected, strict=True):
            pd.testing.assert_frame_equal(ours, theirs, check_exact=True)
