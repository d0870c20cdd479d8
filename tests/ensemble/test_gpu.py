"""The GPU's program, run on CPU tensors, equals the CPU's own loop; and stacks are cut and padded as a GPU's are."""

import math
import random
import threading

import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from tests.ensemble.runs import CPU, DECAYS, NETWORKS, OPTIMIZERS, PROTOCOL, make, program
from weightdecay.ensemble import backend, stacking, training
from weightdecay.ensemble import program as programs
from weightdecay.ensemble.gpu import GpuProgram
from weightdecay.ensemble.program import Program, program_of

CUDA = torch.device("cuda")
VARIANTS = {
    "step schedule": {"schedule": "step", "shuffle": True},
    "norm held from the start": {"hold_norm": "start", "shuffle": True},
    "norm held from saturation": {"hold_norm": "saturation", "train_size": 64, "width": 128, "weight_decay": 0.5},
    "norm held once it has fallen": {"held_norm": 9.0, "weight_decay": 5.0, "init_scale": 1.1},
    "norm of weights before BatchNorm": {"held_norm": 4.5, "weight_decay": 5.0, "hold_part": "normalised"},
    "norm of the others": {"hold_norm": "start", "weight_decay": 5.0, "hold_part": "others"},
    "full batch, shuffled": {"batch_size": 200, "shuffle": True},
    "dropout": NETWORKS["mlp, dropout"],
}


@pytest.fixture(autouse=True)
def short_tables(monkeypatch):
    """Tables of few steps, so that several are filled within a test."""
    monkeypatch.setattr(programs, "TABLE_STEPS", 10)


def trained(runs: list, on_device: bool, steps: int | None = None, resume_at: int | None = None) -> Program:
    """Trained in float64 by the CPU's loop or by the GPU's program, in pieces; resumed once from its own tensors."""
    kind = GpuProgram if on_device else program_of
    steps, generator = steps or runs[0].steps, random.Random(0)
    with backend.arithmetic(CPU):
        made = program(runs, torch.float64, kind=kind)
        while (step := made.ensemble.step) < steps:
            stop = resume_at if resume_at is not None and step < resume_at else steps
            made.advance(min(generator.randint(1, 25), stop - step))
            if made.ensemble.step == resume_at:
                tensors = {name: tensor.clone() for name, tensor in made.ensemble.tensors().items()}
                made = program(runs, torch.float64, kind=kind)
                made.restore(resume_at, tensors)
    return made


def assert_equal(one: Program, other: Program, tolerance: float) -> None:
    ours, theirs = one.ensemble, other.ensemble
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
    measured = other.measure(full=True)
    for name, values in one.measure(full=True).items():
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
        assert theirs.ensemble.sums["held_norm"].isfinite().any()


@pytest.mark.parametrize("kind", [program_of, GpuProgram])
@pytest.mark.parametrize("missing", [0, 1])
def test_the_norm_is_held_from_exactly_the_share_that_saturation_is(kind, missing):
    """6,993 of 7,000 are .999. A step of 1e-30 moves nothing: the last batch has as many right in every epoch."""
    settings = {"network": "mlp", "dataset": "classes", "loss": "cross_entropy", "train_size": 7000, "batch_size": 200}
    settings |= {"width": 2, "blocks": 1, "hold_norm": "saturation", "learning_rate": 1e-30, "weight_decay": 0.0}
    made = program([make(**settings)], kind=kind)
    right = made.ensemble.sums["correct_sum"]
    made.advance(34)
    before = right.item()
    made.advance(1)
    last = right.item() - before
    assert made.held_from == 6993 and made.ensemble.sums["held_norm"].isnan()
    made.advance(34)
    right.fill_(6993 - last - missing)
    made.advance(1)
    assert made.ensemble.sums["held_norm"].isnan().item() == bool(missing)


def test_the_program_resumes_bitwise():
    settings = NETWORKS["mlp, dropout"] | {"shuffle": True, "schedule": "cosine", "hold_norm": "start"}
    runs = [make(**settings, seed=seed) for seed in range(3)]
    undisturbed = trained(runs, True)
    for resume_at in (1, 24, 61):
        resumed = trained(runs, True, resume_at=resume_at)
        for name, tensor in undisturbed.ensemble.tensors().items():
            assert torch.equal(resumed.ensemble.tensors()[name], tensor)


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
        made, recorded = program(runs, kind=GpuProgram), []
        for step in (3, 4, 5, 30, 70):
            made.advance(step - made.ensemble.step)
            if step == 70:
                made.restore(50, {name: tensor.clone() for name, tensor in made.ensemble.tensors().items()})
                made.advance(7)
            with Recorder() as recorder:
                made._step()
            made.ensemble.step += 1
            recorded.append(recorder.operations)
    first = recorded[0]
    assert all(operations == first for operations in recorded[1:])
    names = {name for name, _ in first}
    assert not {name for name in names if "_local_scalar_dense" in name or "_to_copy" in name or "nonzero" in name}


def test_every_order_is_drawn_once_and_but_for_the_first_meanwhile(monkeypatch):
    drawn, draw = [], GpuProgram._draw

    def recorded(made: GpuProgram, table: int) -> torch.Tensor:
        drawn.append((table, threading.current_thread() is threading.main_thread()))
        return draw(made, table)

    monkeypatch.setattr(GpuProgram, "_draw", recorded)
    tables = -(-100 // trained([make(shuffle=True, steps=100)], on_device=True).steps)
    assert drawn == [(table, table == 0) for table in range(tables)] and tables > 2


def test_a_diverging_run_is_marked_and_disturbs_no_other():
    calm, wild = ({"optimizer": "sgd", "decay": "l2", "learning_rate": rate, "seed": 1} for rate in (1e-3, 1e30))
    ours, theirs = (trained([make(**wild), make(**calm)], on_device) for on_device in (True, False))
    first, second = ours.ensemble.diverged_at()
    assert first is not None and second is None
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
