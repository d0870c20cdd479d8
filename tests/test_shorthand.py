"""What is shorter to write means exactly what was meant: the same rows, in the same order, to the last bit."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_table import document, load, scales
from weightdecay.errors import ConfigError
from weightdecay.run import FOREVER
from weightdecay.shorthand import in_steps, listed
from weightdecay.table import table_of

SGD = {"optimizer": ["sgd"], "decay": ["l2"], "log_every": [FOREVER], "log_dense_until": [FOREVER]}


def rows(tmp_path, block: dict, **changes) -> list:
    return table_of(load(tmp_path, document(scales=scales(block, seeds=1), **changes)), "smoke")


def refusal(tmp_path, block: dict) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, document(scales=scales(block)))
    return str(caught.value)


@pytest.mark.parametrize(
    ("grid", "values"),
    [
        ({"from": 0.0008, "to": 0.0125, "factor": 2.5}, [0.0008, 0.002, 0.005, 0.0125]),
        ({"from": 1e-7, "to": 1e-1, "factor": 10}, [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1]),
        ({"from": 2, "to": 16, "factor": 2}, [2, 4, 8, 16]),
        ({"from": 0.3, "to": 0.3, "factor": 2}, [0.3]),
    ],
)
def test_a_grid_holds_the_numbers_that_one_would_type(tmp_path, grid, values):
    assert repr(listed("learning_rate", grid)) == repr(values)
    assert [run.learning_rate for run in rows(tmp_path, {"learning_rate": grid})] == values


@given(st.integers(1, 9999), st.integers(-6, 0), st.sampled_from(["1.25", "2", "2.5", "10"]), st.integers(0, 12))
def test_a_grid_is_exact_decimal_arithmetic(digits, exponent, factor, count):
    """Each value is the float nearest to the exact product, so typing it gives the same one."""
    exact = [Decimal(digits).scaleb(exponent) * Decimal(factor) ** power for power in range(count + 1)]
    grid = {"from": float(exact[0]), "to": float(exact[-1]), "factor": float(factor)}
    if float(exact[-1]) == 0 or Decimal(repr(float(exact[-1]))) != exact[-1]:
        return  # more digits than a float is written with
    assert listed("learning_rate", grid) == [float(one) for one in exact]


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ({"from": 1, "to": 10, "factor": 3}, "factor must lead exactly to `to`, within 1000 values."),
        ({"from": 1, "to": 2, "factor": 1.0001}, "factor must lead exactly to `to`, within 1000 values."),
        ({"from": 1, "to": 10, "factor": 1}, "must have 0 < from <= to and a factor above 1."),
        ({"from": 0, "to": 10, "factor": 10}, "must have 0 < from <= to and a factor above 1."),
        ({"from": 1, "to": float("inf"), "factor": 10}, "must have 0 < from <= to and a factor above 1."),
        ({"from": 1, "to": 10}, "must be a value, a list, or a grid of from, to and factor."),
        ({"from": 1, "to": "10", "factor": 10}, "must be a value, a list, or a grid of from, to and factor."),
        ({"from": 1, "to": 10, "factor": 10, "by": 1}, "must be a value, a list, or a grid of from, to and factor."),
    ],
)
def test_a_grid_that_is_none_is_refused(tmp_path, grid, said):
    assert refusal(tmp_path, {"weight_decay": grid}).endswith(said)


@pytest.mark.parametrize(
    ("rate", "decay", "momentum", "steps", "every"),
    [  # rows of batchnorm_periodicity that were typed before: 4 τ, logged every τ/100
        (0.1, 0.002, 0.0, 20_000, 50),
        (0.2, 0.004, 0.0, 5_004, 12),  # τ/100 is 12.5; 4 τ = 5000 are 416.7 times 12
        (0.4, 0.004, 0.0, 2_502, 6),
        (0.8, 0.004, 0.0, 1_251, 3),
        (0.04, 0.001, 0.9, 10_000, 25),  # an L2 penalty acts on 1/(1 − momentum) steps
    ],
)
def test_lengths_in_tau_are_worked_out_for_each_row_in_whole_intervals(rate, decay, momentum, steps, every):
    row = {"learning_rate": [rate], "weight_decay": [decay], "momentum": [momentum], "steps": ["4 tau"]}
    (found,) = in_steps({**SGD, **row, "log_dense_every": ["0.01 tau"]})
    assert (found["steps"], found["log_dense_every"]) == ([steps], [every])


def test_a_product_in_tau_is_its_rows_in_the_same_order(tmp_path):
    block = {"learning_rate": [0.1, 0.5], "weight_decay": [0.1, 0.02], "steps": "2 tau", "log_every": "0.5 tau"}
    found = [(run.learning_rate, run.weight_decay, run.steps, run.log_every) for run in rows(tmp_path, block)]
    assert found == [(0.1, 0.1, 200, 50), (0.1, 0.02, 1000, 250), (0.5, 0.1, 40, 10), (0.5, 0.02, 200, 50)]


def test_a_run_that_is_logged_at_its_ends_alone_is_as_long_as_its_tau_says(tmp_path):
    (run,) = rows(tmp_path, {"learning_rate": 0.3, "weight_decay": 0.1, "steps": "2 tau", "log_every": "never"})
    assert run.steps == 67


def test_decoupled_decay_does_not_enter_momentum(tmp_path):
    (run,) = rows(tmp_path, {"momentum": 0.9, "learning_rate": 0.1, "weight_decay": 0.1, "steps": "2 tau"})
    assert run.decay == "decoupled" and run.steps == 200


@pytest.mark.parametrize(
    ("block", "where"),
    [
        ({"weight_decay": [0.1, 0.0]}, "decay is decoupled, weight_decay 0 and optimizer sgd"),
        ({"decay": "none", "weight_decay": 0.0}, "decay is none, weight_decay 0 and optimizer sgd"),
        ({"optimizer": "adam", "decay": "l2"}, "decay is l2, weight_decay 0.1 and optimizer adam"),
        ({"decay": "l1"}, "decay is l1, weight_decay 0.1 and optimizer sgd"),
    ],
)
def test_a_row_without_tau_is_refused(tmp_path, block, where):
    said = refusal(tmp_path, {**block, "steps": "4 tau"})
    assert said.endswith(f"scales.smoke.sweeps.main[0]: steps is '4 tau', but there is no τ where {where}.")


def test_a_length_in_tau_keeps_the_bounds_of_a_setting(tmp_path):
    said = refusal(tmp_path, {"learning_rate": 1e-6, "weight_decay": 1e-6, "steps": "4 tau"})
    assert "steps is 4000000000000, but must be an integer from 1 to 1000000000" in said


def test_never_and_always_are_longer_than_any_run(tmp_path):
    (run,) = rows(tmp_path, {"log_every": "never", "log_dense_until": "always", "weight_decay": 0.1})
    assert run.log_every == run.log_dense_until == FOREVER
    assert "steps is 'always', but must be a valid integer" in refusal(tmp_path, {"steps": "always"})


def test_what_may_be_left_out_and_what_then_holds(tmp_path):
    optional = ("blocks", "batch_norm_eps", "shuffle", "log_dense_every")
    defaults = {key: value for key, value in document()["defaults"].items() if key not in optional}
    one, other = rows(tmp_path, {"log_every": [10, 25], "weight_decay": 0.1}, defaults=defaults)
    assert (one.blocks, one.batch_norm_eps, one.shuffle) == (1, None, True)
    assert (one.log_every, one.log_dense_every, other.log_every, other.log_dense_every) == (10, 10, 25, 25)
