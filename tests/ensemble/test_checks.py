"""Impossible tables, stacks and measures are refused in one sentence; what the findings train is not refused."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from tests.ensemble.runs import PROTOCOL, make
from tests.programs import EXPERIMENTS, load_program
from weightdecay.config import SCALES, load_config
from weightdecay.datasets import binary_addition, binary_addition_bits, digits, digits_28, mnist1d
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.ensemble.training import train
from weightdecay.errors import ConfigError
from weightdecay.registry import DATASETS
from weightdecay.run import Run
from weightdecay.table import table_of

CPU = torch.device("cpu")
SHORT = {"steps": 6, "log_every": 3, "log_dense_every": 3}


def refusal(runs, protocol: Protocol = PROTOCOL, **arguments) -> str:
    with pytest.raises(ConfigError) as caught:
        train(runs, protocol, "cpu", **arguments)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    return str(caught.value)


TABLES = {
    "the table of runs is empty.": list,
    "row 1 of the table is a dict, but must be a Run.": lambda: [make(), make().model_dump()],
    "row 1 of the table: seed is -1, but must be an integer from 0 to ": lambda: [
        make(),
        make().model_copy(update={"seed": -1}),
    ],
    "row 0 of the table: steps is 0, but must be an integer from 1 to ": lambda: [
        make().model_copy(update={"steps": 0})
    ],
    "row 0 of the table: learning_rate is nan": lambda: [make().model_copy(update={"learning_rate": float("nan")})],
    "row 0 of the table: hold_norm is 'always'": lambda: [make().model_copy(update={"hold_norm": "always"})],
    "row 1 of the table: weight_decay is 0.5, but must be 0 where decay is none.": lambda: [
        make(),
        make().model_copy(update={"decay": "none", "weight_decay": 0.5}),
    ],
    "row 0 of the table: width is '16'": lambda: [make().model_copy(update={"width": "16"})],
    "rows 0 and 2 of the table are the same run, ": lambda: [make(), make(seed=1), make(sweep="other")],
    "loss is 'sqared_error', which is not known (did you mean squared_error?).": lambda: [make(loss="sqared_error")],
}


@pytest.mark.parametrize("sentence", TABLES)
def test_a_table_that_cannot_be_trained_is_refused(sentence):
    assert refusal(TABLES[sentence]()).startswith(sentence)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "learning_rate": 1e30, "weight_decay": 1e30},
        {"optimizer": "adam", "learning_rate": 1e30, "beta1": 1 - 1e-16},
        {"optimizer": "sgd", "decay": "proximal_l1", "learning_rate": 1e20, "weight_decay": 1e20},
    ],
)
def test_a_step_that_single_precision_does_not_hold_is_refused(settings):
    """It is no divergence of the training."""
    said = refusal([make(), make(**settings)])
    assert said == "learning_rate, weight_decay or a beta makes a step too large for torch.float32."
    assert len(train([make(**settings)], PROTOCOL, "cpu", dtype=torch.float64).runs) == 1


def test_what_is_no_protocol_is_refused():
    assert refusal([make()], None) == "protocol is a NoneType, but must be Protocol(splits)."


def test_a_seed_of_numpy_is_the_seed():
    """Of `numpy.arange`, say; put in by `model_copy` it was once an error of JSON."""
    expected = train([make(**SHORT, seed=3)], PROTOCOL, "cpu")
    for run in (make(**SHORT, seed=np.int64(3)), make(**SHORT).model_copy(update={"seed": np.uint8(3)})):
        found = train([run], PROTOCOL, "cpu")
        assert found.history.equals(expected.history) and found.runs.equals(expected.runs)


def test_a_table_may_be_any_iterable():
    runs = [make(**SHORT, seed=seed) for seed in range(2)]
    assert train(iter(runs), PROTOCOL, "cpu").history.equals(train(tuple(runs), PROTOCOL, "cpu").history)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.complex64])
def test_a_precision_that_is_not_compiled_is_refused(dtype):
    assert refusal([make()], dtype=dtype) == f"dtype is {dtype}, but must be one of torch.float32, torch.float64."


@pytest.mark.parametrize(
    ("field", "value"), [("width", 8), ("optimizer", "sgd"), ("batch_norm_eps", None), ("loss", "squared_error")]
)
def test_runs_of_different_shapes_or_programs_are_no_stack(field, value):
    """A stack takes them from its first run."""
    with pytest.raises(ConfigError, match=f"^runs of one stack differ in {field}, but"):
        Ensemble([make(), make(**{field: value})], PROTOCOL, torch.float32, CPU)


TAKEN = ["step", "run", "width", "diverged_at", "weight_norm", "train_loss", "test_accuracy", "train_accuracy_batch"]
MEASURES = {
    "measures gives a list, but must give a dict of tensors [R].": lambda ensemble: [1.0],
    "measures gives rho as float, but must give floats [2], one a run.": lambda ensemble: {"rho": 1.0},
    "measures gives rho as ndarray, but": lambda ensemble: {"rho": np.ones(2)},
    "measures gives rho as torch.float32 [], but": lambda ensemble: {"rho": torch.tensor(1.0)},
    "measures gives rho as torch.float32 [1], but": lambda ensemble: {"rho": torch.ones(1)},
    "measures gives rho as torch.float32 [2, 1], but": lambda ensemble: {"rho": torch.ones(2, 1)},
    "measures gives rho as torch.int64 [2], but": lambda ensemble: {"rho": torch.ones(2).long()},
    "measures gives rho as torch.bool [2], but": lambda ensemble: {"rho": torch.ones(2) > 0},
    "measures gives rho on meta, but the runs are on cpu.": lambda ensemble: {"rho": torch.ones(2, device="meta")},
    "measures gives 3, which is no name of its own": lambda ensemble: {3: torch.ones(2)},
    **{
        f"measures gives '{name}', which is no name of its own: the results have one of that.": (
            lambda ensemble, name=name: {name: torch.ones(2)}
        )
        for name in TAKEN
    },
}


@pytest.mark.parametrize("sentence", MEASURES)
def test_measures_of_a_wrong_shape_or_of_a_name_that_is_taken_are_refused(sentence):
    """At the first step that is measured, and where they are wrong only later."""
    measure = MEASURES[sentence]
    for late in (False, True):
        protocol = Protocol(
            PROTOCOL.splits,
            PROTOCOL.network,
            lambda ensemble, late=late: measure(ensemble) if ensemble.step >= late else {},
        )
        assert refusal([make(**SHORT), make(**SHORT, seed=1)], protocol).startswith(sentence)


def distinct(experiment: str) -> list[Run]:
    """Of all runs of a finding, at every scale, return one of each kind that the checks tell apart."""
    config = load_config(EXPERIMENTS / experiment / "config.yaml")
    kinds = {}
    for scale in SCALES:
        for run in table_of(config, scale):
            shape = run.network, run.width, run.blocks, run.batch_norm_eps is None, run.dropout > 0
            kinds.setdefault((run.dataset, run.train_size, run.loss, run.label_noise > 0, *shape), run)
    return list(kinds.values())


@pytest.mark.parametrize("experiment", sorted(path.parent.name for path in EXPERIMENTS.glob("*/train.py")))
def test_what_a_finding_trains_at_any_scale_is_not_refused(experiment):
    protocol = load_program(experiment, "train").PROTOCOL
    runs = distinct(experiment)
    assert runs
    for run in runs:
        Ensemble([run], protocol, torch.float32, CPU)


def two(split: Sequence) -> tuple[int, int]:
    return split[0].shape[1], split[1].shape[1]


def test_the_shapes_of_the_data_sets_are_theirs():
    made = {
        "binary_addition": binary_addition.binary_addition(0, 20),
        "binary_addition_bits": binary_addition_bits.binary_addition_bits(0),
        "digits": digits.digits(0, 5, 5, 5),
        "digits_28": digits_28.digits_28(0, 5, 5, 5),
        "mnist1d": mnist1d.mnist1d(0, 10, 100, 10, 0.0, "incorrect"),
    }
    shapes = {name: two(splits["train"]) for name, splits in made.items()} | {"mnist": (784, 10)}
    assert {name: (known.inputs, known.outputs) for name, known in DATASETS.all().items()} == shapes
