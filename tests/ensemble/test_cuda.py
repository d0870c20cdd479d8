"""What only a GPU can show: CUDA equals the CPU, a graph equals its steps, and a result is one thing to the last bit.

One command for the machine that has one: `pytest tests/ensemble/test_cuda.py tests/ensemble/test_triton.py`.
"""

import random

import numpy as np
import pandas as pd
import pytest
import torch

from tests.ensemble import test_gpu
from tests.ensemble.runs import CPU, DECAYS, NETWORKS, OPTIMIZERS, PROTOCOL, make, relative_error
from weightdecay.ensemble import backend, stacking
from weightdecay.ensemble.checkpoint import Checkpoint
from weightdecay.ensemble.gpu import GpuProgram
from weightdecay.ensemble.program import Program, program_of
from weightdecay.ensemble.state import Ensemble
from weightdecay.ensemble.training import train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
CUDA = torch.device("cuda")
VARIANTS = test_gpu.VARIANTS | {"full width": {"width": 256, "shuffle": True}}
NETWORKS_OF_ALL_KINDS = ["batch norm", "cnn", "scale-invariant", "scale-invariant cnn", "mlp, cross-entropy"]


@pytest.fixture
def small_stacks(monkeypatch):
    """Eight replicas a stack instead of 32 to 1024: what holds for them is quicker to show."""
    monkeypatch.setattr(stacking, "gpu_replicas", lambda run: 8)


def runs_of(count: int, **settings) -> list:
    return [make(**{**settings, "seed": seed, "weight_decay": 0.05 * seed}) for seed in range(count)]


def program(runs: list, device: torch.device = CUDA, dtype: torch.dtype = torch.float32) -> Program:
    return program_of(Ensemble(runs, PROTOCOL, dtype, device))


def trained(runs: list, device: torch.device = CUDA, captures: bool = True, dtype: torch.dtype = torch.float32):
    """Every tensor of the ensemble after its steps."""
    with backend.arithmetic(device):
        made = program(runs, device, dtype)
        if isinstance(made, GpuProgram):
            made.captures = captures
        made.advance(runs[0].steps)
        return {name: tensor.cpu() for name, tensor in made.ensemble.tensors().items()}


def by_run(result) -> list[pd.DataFrame]:
    history = result.history.sort_values(["run", "step", "metric"], ignore_index=True)
    return [result.runs.sort_values("run", ignore_index=True), history]


def assert_same(ours, theirs) -> None:
    for table, other in zip(by_run(ours), by_run(theirs), strict=True):
        pd.testing.assert_frame_equal(table, other, check_exact=True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("network", NETWORKS)
def test_cuda_equals_the_cpu(optimizer, decay, network):
    """In float64 over 100 steps. With Adam's tiny default eps, biases before BatchNorm are moved by rounding alone."""
    runs = [make(**OPTIMIZERS[optimizer] | DECAYS[decay] | NETWORKS[network] | {"seed": seed}) for seed in range(2)]
    ours, theirs = (trained(runs, device, dtype=torch.float64) for device in (CUDA, CPU))
    if runs[0].eps > 1e-6 or runs[0].optimizer == "sgd" or runs[0].batch_norm_eps is None:
        assert relative_error(ours["parameters"], theirs["parameters"]) <= 1e-5
    assert relative_error(ours["loss_sum"], theirs["loss_sum"]) <= 1e-5
    assert torch.equal(ours["finite_steps"], theirs["finite_steps"])


@pytest.mark.parametrize("variant", VARIANTS)
def test_cuda_equals_the_cpu_in_every_variant(variant):
    settings = {"steps": 600 if variant == "norm held from saturation" else 100} | VARIANTS[variant]
    runs = [make(**settings, seed=seed) for seed in range(3)]
    ours, theirs = (trained(runs, device, dtype=torch.float64) for device in (CUDA, CPU))
    assert relative_error(ours["parameters"], theirs["parameters"]) <= 1e-5
    assert torch.equal(ours["held_norm"].isnan(), theirs["held_norm"].isnan())


@pytest.mark.parametrize("network", NETWORKS_OF_ALL_KINDS)
def test_float32_on_cuda_is_ieee_float32(network):
    """Ten steps stay near float64, as the CPU's float32 does."""
    runs = [make(**NETWORKS[network] | {"seed": seed, "steps": 10}) for seed in range(3)]
    exact = trained(runs, CPU, dtype=torch.float64)["parameters"]
    assert relative_error(trained(runs)["parameters"], exact) <= 2e-6


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_products_have_the_precision_that_was_asked_for(precision):
    x, w = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    with backend.arithmetic(CUDA, precision):
        error = relative_error(torch.bmm(x.cuda(), w.cuda()).cpu(), x.double() @ w.double())
    assert error < 1e-6 if precision == "float32" else 1e-5 < error < 2e-3


@pytest.mark.parametrize("network", NETWORKS_OF_ALL_KINDS)
@pytest.mark.parametrize("variant", [{}, {"shuffle": True, "schedule": "cosine", "hold_norm": "start"}])
def test_a_graph_equals_its_steps_bitwise(network, variant):
    runs = runs_of(8, **NETWORKS[network] | variant)
    graph, steps = (trained(runs, captures=captures) for captures in (True, False))
    for name, tensor in graph.items():
        assert torch.equal(tensor.nan_to_num(7.0), steps[name].nan_to_num(7.0)), name


def test_the_kernels_are_ours_and_equal_torch_s_operations(monkeypatch):
    """The whole training, once with Triton's kernels and once without."""
    assert all(backend.triton_kernels(name, CUDA) for name in ("adam", "sgd", "batch_norm", "dropout"))
    runs = runs_of(3, shuffle=True)
    ours = trained(runs, dtype=torch.float64)
    monkeypatch.setattr(backend, "triton_kernels", lambda name, device: None)
    theirs = trained(runs, dtype=torch.float64)
    assert relative_error(ours["parameters"], theirs["parameters"]) <= 1e-9


@pytest.mark.parametrize("network", NETWORKS_OF_ALL_KINDS)
def test_a_training_repeats_itself_bitwise(network, small_stacks):
    runs = runs_of(11, **NETWORKS[network], steps=60)
    assert_same(*(train(runs, PROTOCOL, "cuda") for _ in range(2)))


@pytest.mark.parametrize("network", NETWORKS_OF_ALL_KINDS)
@pytest.mark.parametrize("width", [16, 256])
def test_a_result_does_not_depend_on_the_other_runs_of_the_table(network, width, small_stacks):
    """At the fixed number of replicas: the whole table, its shards, and single runs, to the last bit."""
    runs = runs_of(11, **NETWORKS[network] | {"width": width, "steps": 60, "shuffle": True})
    random.Random(0).shuffle(runs)
    whole = by_run(train(runs, PROTOCOL, "cuda"))
    for pieces in ([runs[::3], runs[1::3], runs[2::3]], [[run] for run in runs[:4]] + [runs[4:]]):
        parts = [by_run(train(piece, PROTOCOL, "cuda")) for piece in pieces]
        for index, keys in enumerate((["run"], ["run", "step", "metric"])):
            joined = pd.concat([part[index] for part in parts]).sort_values(keys, ignore_index=True)
            pd.testing.assert_frame_equal(joined, whole[index], check_exact=True)


def test_a_full_stack_of_the_finding_s_own_network_gives_a_run_what_another_gives():
    """At the real number of replicas and the real width."""
    runs = runs_of(80, width=256, shuffle=True, steps=40)
    whole = train(runs, PROTOCOL, "cuda").history
    alone = train(runs[70:], PROTOCOL, "cuda").history
    keys = ["run", "step", "metric"]
    joined = alone.merge(whole, on=keys, suffixes=("_alone", "_whole"))
    assert len(joined) == len(alone)
    np.testing.assert_array_equal(joined["value_alone"], joined["value_whole"])


def test_an_interrupted_training_resumes_bitwise(tmp_path, small_stacks):
    """Interrupted at its third and at its eighth save, then taken to the end."""
    runs = runs_of(11, shuffle=True, schedule="cosine", hold_norm="start", steps=400)
    undisturbed, path = train(runs, PROTOCOL, "cuda"), tmp_path / "checkpoint.pt"
    original = Checkpoint.save
    for interrupted_at in (3, 8):
        saves = []

        def interrupt(checkpoint, state, saves=saves, last=interrupted_at):
            original(checkpoint, state)
            saves.append(state["current"])
            if len(saves) == last:
                raise KeyboardInterrupt

        with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(Checkpoint, "save", interrupt)
            train(runs, PROTOCOL, "cuda", checkpoint=path, checkpoint_seconds=0.0)
        assert saves[-1] is not None and 0 < saves[-1]["step"] < 400
    assert_same(train(runs, PROTOCOL, "cuda", checkpoint=path), undisturbed)


def test_a_diverging_run_is_marked_and_disturbs_no_other(small_stacks):
    calm, wild = make(seed=1, optimizer="sgd", decay="l2"), make(optimizer="sgd", decay="l2", learning_rate=1e30)
    both = train([wild, calm], PROTOCOL, "cuda")
    alone = train([calm], PROTOCOL, "cuda").history
    kept = both.history[both.history["run"] == calm.id].reset_index(drop=True)
    pd.testing.assert_frame_equal(kept, alone.reset_index(drop=True), check_exact=True)
    marks = both.runs.set_index("run")["diverged_at"]
    assert pd.isna(marks[calm.id]) and 1 < marks[wild.id] < 20


def test_what_was_used_is_recorded(small_stacks):
    runs = runs_of(2, steps=3)
    for precision in ("float32", "tf32"):
        metadata = train(runs, PROTOCOL, "cuda", precision=precision).metadata
        assert (metadata["precision"], metadata["matmul"], metadata["kernels"]) == (precision, "cublas", "triton")
        assert metadata["device"] == torch.cuda.get_device_name() and metadata["peak_memory_mib"] > 0
