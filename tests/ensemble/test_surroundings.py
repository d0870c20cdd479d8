"""What is trained is the same to the last bit whatever surrounds it, and leaves what surrounds it as it was."""

import sys

import pandas as pd
import pytest
import torch

from tests.ensemble.runs import CPU, NETWORKS, PROTOCOL, make, program, splits
from tests.surroundings import SURROUNDINGS, ambience
from weightdecay.ensemble import backend
from weightdecay.ensemble.gpu import GpuProgram
from weightdecay.ensemble.networks.mlp import mlp
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.ensemble.training import TrainingResult, train

KINDS = ["batch norm", "mlp, dropout", "cnn", "scale-invariant", "mlp, absolute error"]


def measures(ensemble: Ensemble) -> dict[str, torch.Tensor]:
    """Products of torch's own, which autocast and torch's precisions change."""
    weight = ensemble.stack.leaves[0].weight
    return {"squared": torch.stack([torch.mm(rows, rows.T).sum() for rows in weight])}


def trained(dtype: torch.dtype) -> TrainingResult:
    few = {"steps": 12, "log_every": 6, "log_dense_every": 6, "shuffle": True}
    runs = [make(**NETWORKS[kind] | few, seed=seed, weight_decay=0.3) for kind in KINDS for seed in range(2)]
    return train(runs, Protocol(splits, PROTOCOL.network, measures), "cpu", dtype=dtype)


@pytest.fixture(scope="module", params=[torch.float32, torch.float64], ids=str)
def undisturbed(request) -> tuple[torch.dtype, TrainingResult]:
    return request.param, trained(request.param)


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_a_training_does_not_depend_on_what_surrounds_it(undisturbed, name):
    dtype, expected = undisturbed
    with SURROUNDINGS[name]():
        before = ambience()
        found = trained(dtype)
        assert ambience() == before
    pd.testing.assert_frame_equal(found.history, expected.history, check_exact=True)
    pd.testing.assert_frame_equal(found.runs, expected.runs, check_exact=True)


def initial_weights() -> torch.Tensor:
    """Of an ensemble that is made, not trained, as in a computation, with layers of every kind of initial values."""
    runs = [make(**NETWORKS["mlp, dropout"], seed=seed) for seed in range(3)]
    network = lambda runs: mlp(40, 10, runs[0].width, runs[0].blocks, dropout=True)  # noqa: E731
    data = {seed: splits(runs[seed]) for seed in range(3)}
    made = program(runs, protocol=Protocol(lambda run: data[run.seed], network))
    made.advance(5)
    return torch.cat([made.ensemble.stack.parameters, made.measure(full=True)["test_loss"][:, None]], 1)


# Subnormal numbers, threads and torch's products are left to whoever advances an ensemble by hand.
BY_HAND = [name for name in SURROUNDINGS if "product" not in name and "flushed" not in name and name != "two threads"]


@pytest.mark.parametrize("name", BY_HAND)
def test_an_ensemble_made_by_hand_starts_the_same(name, monkeypatch):
    drawn = {seed: splits(make(dataset="classes", seed=seed)) for seed in range(3)}
    monkeypatch.setattr(sys.modules[__name__], "splits", lambda run: drawn[run.seed])
    expected = initial_weights()
    with SURROUNDINGS[name]():
        assert torch.equal(initial_weights().cpu(), expected)


@pytest.mark.parametrize("name", SURROUNDINGS)
@pytest.mark.parametrize("kind", KINDS)
def test_the_gpu_s_program_does_not_depend_on_what_surrounds_it(name, kind):
    """On CPU tensors."""
    runs = [make(**NETWORKS[kind] | {"shuffle": True}, seed=seed) for seed in range(2)]

    def state() -> dict[str, torch.Tensor]:
        with backend.arithmetic(CPU):
            made = program(runs, kind=GpuProgram)
            made.advance(8)
            made.measure(full=True)
            return made.ensemble.tensors()

    expected = state()
    with SURROUNDINGS[name]():
        found = state()
    for key, tensor in expected.items():
        torch.testing.assert_close(found[key], tensor, rtol=0, atol=0, equal_nan=True)


def test_subnormal_numbers_are_flushed_within_and_as_before_afterwards():
    for before in (True, False):
        torch.set_flush_denormal(before)
        try:
            with backend.arithmetic(CPU):
                assert backend.flushes_denormals()
            assert backend.flushes_denormals() == before
        finally:
            torch.set_flush_denormal(False)
