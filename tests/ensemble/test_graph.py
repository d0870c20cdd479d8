"""The GPU's program, run on CPU tensors, equals the CPU's own loop; and stacks are cut and padded as a GPU's are."""

import math
import random
import threading

import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten
from weightdecay.ensemble.graph import DeviceProgram

from tests.ensemble.runs import PROTOCOL, make
from tests.ensemble.test_reference import DECAYS, NETWORKS, OPTIMIZERS
from weightdecay.ensemble import backend, stacking, tables, training
from weightdecay.ensemble.state import Ensemble

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
VARIANTS = {
    "step schedule": {"schedule": "step", "shuffle": True},
    "norm held from the start": {"hold_norm": "start", "shuffle": True},
    "norm held from saturation": {"hold_norm": "saturation", "train_size": 64, "width": 128, "weight_decay": 0.5},
    "full batch, shuffled": {"batch_size": 200, "shuffle": True},
    "dropout": NETWORKS["mlp, dropout"],
}


@pytest.fixture(autouse=True)
def short_tables(monkeypatch):
    """Tables of few steps, so that several are filled within a test."""
    monkeypatch.setattr(tables, "TABLE_STEPS", 10)


def trained(runs: list, on_device: bool, steps: int | None = None, resume_at: int | None = None) -> Ensemble:
    """Trained in float64 by the CPU's loop or by the GPU's program, in pieces; resumed once from its own tensors."""

    def start() -> Ensemble:
        ensemble = Ensemble(runs, PROTOCOL, torch.float64, CPU)
        if on_device:
            ensemble.program = DeviceProgram(ensemble)
        return ensemble

    steps, generator = steps or runs[0].steps, random.Random(0)
    with backend.arithmetic(CPU):
        ensemble = start()
        while ensemble.step < steps:
            stop = resume_at if resume_at is not None and ensemble.step < resume_at else steps
            ensemble.advance(min(generator.randint(1, 25), stop - ensemble.step))
            if ensemble.step == resume_at:
                tensors = {name: tensor.clone() for name, tensor in ensemble.tensors().items()}
                ensemble = start()
                ensemble.restore(resume_at, tensors)
    return ensemble


def assert_equal(ours: Ensemble, theirs: Ensemble, tolerance: float) -> None:
    assert ours.step == theirs.step and ours.diverged_at() == theirs.diverged_at()
    diverged = torch.tensor([at is not None for at in theirs.diverged_at()])
    for name, tensor in theirs.tensors().items():
        if not tensor.numel():  # a network without buffers
            continue
        error = (ours.tensors()[name] - tensor)[~diverged].abs().max() / tensor[~diverged].abs().max().clamp_min(1e-12)
        assert error.isnan() or error <= tolerance, name  # nan: held_norm of runs whose norm is not held
        assert torch.equal(ours.tensors()[name][~diverged].isnan(), tensor[~diverged].isnan())
    if theirs.step:  # measures may read them: the last batch's, without penalty
        error = (ours.stack.gradients - theirs.stack.gradients)[~diverged].abs().max()
        assert error <= tolerance * theirs.stack.gradients[~diverged].abs().max()
    measured = theirs.measure(full=True)
    for name, values in ours.measure(full=True).items():
        torch.testing.assert_close(values, measured[name], rtol=1e-7, atol=1e-9, equal_nan=True)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize("network", ["shuffled, cosine", "scale-invariant"])
def test_the_program_equals_the_loop(optimizer, decay, network):
    settings = OPTIMIZERS[optimizer] | DECAYS[decay] | NETWORKS[network]
    runs = [
        make(**settings | {"seed": seed, "learning_rate": rate}) for seed, rate in ((0, 1e-3), (1, 5e-3), (0, 1e-2))
    ]
    assert_equal(trained(runs, True), trained(runs, False), 1e-8)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_program_equals_the_loop_in_every_variant(variant):
    settings = VARIANTS[variant]
    steps = 600 if settings.get("hold_norm") == "saturation" else 100
    runs = [make(**{"steps": steps, **settings, "seed": seed}) for seed in range(3)]
    ours, theirs = trained(runs, True), trained(runs, False)
    assert_equal(ours, theirs, 1e-7)
    if steps == 600:
        assert theirs.state["held_norm"].isfinite().any()


def test_the_program_resumes_bitwise():
    settings = NETWORKS["mlp, dropout"] | {"shuffle": True, "schedule": "cosine", "hold_norm": "start"}
    runs = [make(**settings, seed=seed) for seed in range(3)]
    undisturbed = trained(runs, True)
    for resume_at in (1, 24, 61):
        resumed = trained(runs, True, resume_at=resume_at)
        for name, tensor in undisturbed.tensors().items():
            assert torch.equal(resumed.tensors()[name], tensor)


class Recorder(TorchDispatchMode):
    """What a CUDA graph would freeze: every operation, its numbers, and the memory that it finds its operands in."""

    def __init__(self):
        super().__init__()
        self.operations, self.made = [], {}

    def __torch_dispatch__(self, operation, types, arguments=(), keywords=None):
        made_before = len(self.made)
        flat, _ = tree_flatten((arguments, keywords))
        self.operations.append((str(operation), [self._name(value) for value in flat]))
        result = operation(*arguments, **(keywords or {}))
        for value in tree_flatten(result)[0]:
            if isinstance(value, torch.Tensor):
                self.made.setdefault(value.untyped_storage().data_ptr(), (made_before, value))  # kept alive: one use
        return result

    def _name(self, value):
        if not isinstance(value, torch.Tensor):
            return value
        storage = value.untyped_storage().data_ptr()
        place = self.made[storage][0] if storage in self.made else storage
        return place, value.storage_offset(), tuple(value.shape), value.stride()


@pytest.mark.parametrize("network", [*NETWORKS, "norm held"])
def test_every_step_is_the_same_operations_on_the_same_memory(network):
    """Within an epoch, at its end, in another table and after a resumption."""
    runs = [make(**NETWORKS.get(network, {"hold_norm": "saturation", "shuffle": True}), seed=seed) for seed in range(2)]
    with backend.arithmetic(CPU):
        ensemble = Ensemble(runs, PROTOCOL, torch.float32, CPU)
        ensemble.program = DeviceProgram(ensemble)
        recorded = []
        for step in (3, 4, 5, 30, 70):
            ensemble.advance(step - ensemble.step)
            if step == 70:
                ensemble.restore(50, {name: tensor.clone() for name, tensor in ensemble.tensors().items()})
                ensemble.advance(7)
            with Recorder() as recorder:
                ensemble.program._step()
            ensemble.step += 1
            recorded.append(recorder.operations)
    first = recorded[0]
    assert all(operations == first for operations in recorded[1:])
    names = {name for name, _ in first}
    assert not {name for name in names if "_local_scalar_dense" in name or "_to_copy" in name or "nonzero" in name}


def test_every_order_is_drawn_once_and_but_for_the_first_meanwhile(monkeypatch):
    drawn, draw = [], DeviceProgram._draw

    def recorded(program: DeviceProgram, table: int) -> torch.Tensor:
        drawn.append((table, threading.current_thread() is threading.main_thread()))
        return draw(program, table)

    monkeypatch.setattr(DeviceProgram, "_draw", recorded)
    ensemble = trained([make(shuffle=True, steps=100)], on_device=True)
    tables = -(-100 // ensemble.program.steps)
    assert drawn == [(table, table == 0) for table in range(tables)] and tables > 2


def test_a_diverging_run_is_marked_and_disturbs_no_other():
    calm, wild = ({"optimizer": "sgd", "decay": "l2", "learning_rate": rate, "seed": 1} for rate in (1e-3, 1e30))
    ours, theirs = (trained([make(**wild), make(**calm)], on_device) for on_device in (True, False))
    assert ours.diverged_at()[0] is not None and ours.diverged_at()[1] is None
    assert_equal(ours, theirs, 1e-8)


def test_a_gpu_has_full_stacks_of_a_number_that_the_shape_alone_decides():
    shapes = {("residual_mlp", 256): 64, ("residual_mlp", 32): 512, ("cnn", 6): 128, ("cnn", 100): 32}
    runs = [make(network=network, width=width, seed=seed) for network, width in shapes for seed in range(150)]
    stacks = stacking.stacks_of(runs, CUDA)
    assert sorted(run.id for stack in stacks for run in stack) == sorted(run.id for run in runs)
    for shape, replicas in shapes.items():
        alike = [stack for stack in stacks if (stack[0].network, stack[0].width) == shape]
        assert len(alike) == math.ceil(150 / replicas)
        for stack in alike:
            full = stacking.padded(stack, CUDA)
            assert len(full) == replicas and full[: len(stack)] == stack and set(full) == set(stack)
    assert [len(stacking.padded(stack, CPU)) for stack in stacks] == [len(stack) for stack in stacks]


def test_padding_reaches_no_result(monkeypatch):
    """The table trained on the CPU as a GPU would pad it."""
    runs = [make(seed=seed, steps=30) for seed in range(5)]
    alone = training.train(runs, PROTOCOL, "cpu")
    monkeypatch.setattr(training, "padded", lambda stack, device: (stack * 3)[:12])
    padded = training.train(runs, PROTOCOL, "cpu")
    pd.testing.assert_frame_equal(padded.history, alone.history, check_exact=True)
    pd.testing.assert_frame_equal(padded.runs, alone.runs, check_exact=True)
