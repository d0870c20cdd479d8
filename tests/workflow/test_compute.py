"""A computation is given arguments that fit it or none at all, and its table is made anew only for a reason."""

import datetime
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.checkout import INIT
from weightdecay import results
from weightdecay.config import load_config
from weightdecay.errors import ConfigError, ResultError
from weightdecay.table import computation_hashes

ROOT = Path(__file__).parents[1]
PROGRAM = """
import pandas as pd
from . import finding

@finding.computation
def squares(*, count: int, scale: float = 1.0) -> pd.DataFrame:
    return pd.DataFrame({"x": range(count), "y": [scale * x * x for x in range(count)]})
"""


@pytest.fixture
def experiment(tmp_path):
    """`experiment(**computations)`: the folder of a finding whose smoke scale has these computations."""
    folder = tmp_path / "experiments" / "blobs"

    def make(**computations) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        defaults = {"dataset": "blobs", "train_size": 9, "network": "mlp", "width": 4, "blocks": 1, "steps": 8}
        defaults |= {"batch_norm_eps": None, "loss": "squared_error", "optimizer": "sgd", "learning_rate": 0.1}
        defaults |= {"decay": "l2", "weight_decay": 0.1, "batch_size": 3, "shuffle": True}
        defaults |= {"log_every": 4, "log_dense_every": 1}
        scale = {"seeds": 1, "shards": 1, "sweeps": {"main": [{}]}}
        scales = {"smoke": scale | {"computations": computations}, "laptop": scale, "paper": scale}
        config = {"experiment": "blobs", "title": "Blobs", "sources": ["S1"], "defaults": defaults, "scales": scales}
        text = yaml.safe_dump(config | {"datasets": ["blobs"], "criteria": {}})
        (folder / "config.yaml").write_text(text, encoding="utf-8")
        (folder / "__init__.py").write_text(INIT)
        if not (folder / "compute.py").exists():
            (folder / "compute.py").write_text(PROGRAM, encoding="utf-8")
        return folder

    return make


def compute(folder: Path, table: str = "squares") -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "weightdecay", "compute", "blobs", table, "--scale", "smoke"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.run(command, cwd=folder.parents[1], env=environment, capture_output=True, text=True, check=False)


def made(folder: Path) -> Path:
    return folder.parents[1] / "results/smoke/blobs/squares.parquet"


def test_a_table_has_its_arguments_hash_and_provenance(experiment):
    folder = experiment(squares={"count": 3, "scale": 2.0})
    done = compute(folder)
    assert done.returncode == 0, done.stderr
    config = load_config(folder / "config.yaml")
    frame, metadata = results.read_table(made(folder), {"config_hash": computation_hashes(config, "smoke")["squares"]})
    assert list(frame["y"]) == [0.0, 2.0, 8.0]
    assert {"experiment", "scale", "code_version", "python", "wall_seconds"} <= set(metadata)
    assert "is finished already" in compute(folder).stdout


def test_other_arguments_and_a_newer_program_compute_again(experiment):
    folder = experiment(squares={"count": 3})
    compute(folder)
    experiment(squares={"count": 4})
    assert compute(folder).stdout == "" and len(results.read_table(made(folder))[0]) == 4
    newer = made(folder).stat().st_mtime + 10
    os.utime(folder / "compute.py", (newer, newer))
    assert "is finished already" in compute(folder).stdout
    (folder / "compute.py").write_text(PROGRAM.replace("x * x", "x ** 2"))
    assert compute(folder).stdout == ""


def test_a_table_of_other_arguments_is_refused(experiment):
    folder = experiment(squares={"count": 3})
    compute(folder)
    hashes = computation_hashes(load_config(experiment(squares={"count": 4}) / "config.yaml"), "smoke")
    with pytest.raises(ResultError, match=r"squares\.parquet was made with other settings"):
        results.read_table(made(folder), {"config_hash": hashes["squares"]})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"count": 3, "scal": 1.0}, "computation squares: scal is not a known argument."),
        ({}, "computation squares: count is missing."),
        ({"count": 2.5}, "computation squares: count is 2.5, but must be a valid integer."),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_one_sentence(experiment, arguments, sentence):
    done = compute(experiment(squares=arguments))
    assert (done.returncode, done.stderr) == (2, f"error: {sentence}\n")


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (float("nan"), "is nan, but must be a number from -1e+30 to 1e+30"),
        ([1.0, [float("inf")]], "is [1.0, [inf]], but must be a number from -1e+30 to 1e+30"),
        (10**31, "but must be a number from -1e+30 to 1e+30"),
        ([[[[[1]]]]], "is [[[[[1]]]]], but must not be nested deeper than 4 levels"),
        (datetime.date(2024, 1, 1), "some YAML readers take 2024-01-01 for a date"),
        ({1, 2}, "the tag !!set is not allowed"),
        (b"bytes", "the tag !!binary is not allowed"),
        ({3: 4}, "a key is not text"),
    ],
)
def test_arguments_that_are_no_plain_values_are_refused_when_the_configuration_is_read(experiment, value, said):
    with pytest.raises(ConfigError) as caught:
        load_config(experiment(squares={"count": 3, "scale": value}) / "config.yaml")
    assert said in str(caught.value) and "config.yaml" in str(caught.value) and len(str(caught.value)) < 400


def test_names_without_a_function_are_refused(experiment):
    done = compute(experiment(cubes={"count": 2}))
    assert (done.returncode, done.stderr) == (2, "error: scale smoke of blobs computes no squares (known are cubes).\n")
    done = compute(experiment(cubes={"count": 2}), table="cubes")
    assert done.stderr.endswith("compute.py has no @finding.computation cubes (known are squares).\n")


def test_a_computation_needs_its_program_and_a_name_of_its_own(experiment):
    with pytest.raises(ConfigError, match=r"scales\.smoke\.computations\.runs has the name of a table of training"):
        load_config(experiment(runs={}) / "config.yaml")
    folder = experiment(squares={"count": 3})
    (folder / "compute.py").unlink()
    with pytest.raises(ConfigError, match=r"scales\.smoke\.computations\.squares needs .*compute\.py"):
        load_config(folder / "config.yaml")
