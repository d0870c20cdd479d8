"""The CPU's program by itself: convolutions, evaluation in pieces, its exponential, divergence, steps in any pieces."""

import random

import numba
import numpy as np
import pytest
import torch
from torch.nn.functional import conv1d, cross_entropy, linear, relu

from tests.ensemble.runs import CPU, NETWORKS, PROTOCOL, make, program, relative_error, splits
from weightdecay import registry
from weightdecay.ensemble import arithmetic as maths
from weightdecay.ensemble import backend, literal, loops
from weightdecay.ensemble import program as programs
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.layers import BatchNorm, Conv1d, Dropout, Linear, ReLU, Residual, Sequential, batch_norm
from weightdecay.ensemble.program import EVALUATION_ROWS, Program
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.errors import ConfigError

SGD = {"optimizer": "sgd", "learning_rate": 0.05, "decay": "l2", "weight_decay": 0.01}
PIECES = {
    "mini-batches, shuffled": {"shuffle": True, "schedule": "cosine"},
    "mini-batches, norm held": {"hold_norm": "start"},
    "mini-batches, dropout": NETWORKS["mlp, dropout"],
    "full batch": {"batch_size": 200, "schedule": "cosine"},
    "full batch, shuffled": {"batch_size": 200, "shuffle": True},
}


@pytest.fixture(autouse=True)
def arithmetic():
    """The trainer's: one thread, denormals flushed, no autograd."""
    with backend.arithmetic(CPU):
        yield


def state_of(trained: Program, replicas: list[int] | slice = slice(None)) -> dict[str, torch.Tensor]:
    """A copy of everything that training changes, of some replicas."""
    return {name: tensor[replicas].clone() for name, tensor in trained.ensemble.tensors().items()}


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0, equal_nan=True)


ONE, ROW, ROWS, SLOTS = numba.float32, numba.float32[::1], numba.float32[:, ::1], numba.float32[:, :, ::1]
UPDATE = (ROW, ONE, ONE, ROW, ROW, SLOTS, numba.int64, numba.int64)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (loops.hold_norm, (ROW, numba.int64[:, ::1], ONE, numba.boolean)),
        (batch_norm.normalise, (ROWS, ROW, ROW, ONE, ROW, ROW, ROW, ROWS)),
        (batch_norm.normalise_gradients, (ROWS, ROWS, ROW, ROW, ROW, ROW, ROWS)),
        *((loops.update_by(optimizer), UPDATE) for optimizer in registry.OPTIMIZERS.all().values()),
        *((loss.loop, (ROWS,) * 3) for loss in registry.LOSSES.all().values()),
    ],
)
def test_single_precision_stays_single(function, arguments):
    """One number of another type, an integer say, and Numba takes all that follows in double: a third of the speed."""
    typed = numba.njit(error_model="numpy")(function.py_func)
    typed.compile(arguments)
    kinds = typed.overloads[arguments].type_annotation.typemap
    assert not {name: kind for name, kind in kinds.items() if "float64" in str(kind) and not name.startswith("$")}


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(5, 2, 1), (3, 1, 0), (4, 3, 2)])
def test_a_step_through_convolutions_is_minus_autograd_s_gradient(kernel, stride, padding):
    """Plain SGD with η = 1 on the whole data: signals of 20 positions with 2 channels, then 3, then 4."""
    settings = NETWORKS["cnn"] | SGD | {"learning_rate": 1.0, "weight_decay": 0.0, "train_size": 60, "batch_size": 60}
    settings |= {"network": "two_convolutions"}
    shape = kernel, stride, padding
    middle = (20 + 2 * padding - kernel) // stride + 1
    positions = (middle + 2 * padding - kernel) // stride + 1
    layers = Conv1d(2, 3, *shape), ReLU(), Conv1d(3, 4, *shape), ReLU(), Linear(positions * 4, 10)
    protocol = Protocol(splits, lambda runs: Sequential(*layers))
    trained = program([make(**settings, seed=seed) for seed in range(3)], torch.float64, protocol)
    leaves = trained.ensemble.stack.leaves
    before = [(layer.weight.clone(), layer.bias.clone()) for layer in leaves]
    trained.advance()
    for replica, run in enumerate(trained.ensemble.runs):
        inputs, targets = (part.double() for part in splits(run)["train"])
        parameters = [[tensor[replica].clone().requires_grad_() for tensor in pair] for pair in before]
        x = inputs.view(len(inputs), 20, 2).transpose(1, 2)
        with torch.enable_grad():
            for weight, bias in parameters[:2]:
                x = relu(conv1d(x, weight.view(len(weight), kernel, -1).transpose(1, 2), bias, stride, padding))
            cross_entropy(linear(x.transpose(1, 2).flatten(1), *parameters[2]), targets.argmax(1)).backward()
        for layer, pair in zip(leaves, parameters, strict=True):
            for now, start in zip((layer.weight, layer.bias), pair, strict=True):
                assert start.grad.norm() > 0
                assert relative_error(start.detach() - now[replica], start.grad) <= 1e-10
            assert relative_error(layer.weight_gradient[replica], pair[0].grad) <= 1e-10


@pytest.mark.parametrize(
    ("examples", "batch"),
    [(EVALUATION_ROWS - 1, 64), (EVALUATION_ROWS, EVALUATION_ROWS), (EVALUATION_ROWS + 1, 64), (1300, 600)],
)
@pytest.mark.parametrize("network", ["scale-invariant", "mlp, squared error", "cnn"])
def test_a_measurement_equals_torch_s_for_any_number_of_examples(network, examples, batch):
    """After five steps, so that the running statistics are no longer those of the start."""
    settings = NETWORKS[network] | SGD | {"train_size": examples, "batch_size": batch, "steps": 5}
    runs = [make(**settings, seed=seed) for seed in range(2)]
    trained = program(runs, torch.float64)
    trained.advance(5)
    measured = trained.measure(full=True)
    for replica, run in enumerate(runs):
        model = torch.enable_grad()(literal.train)(run, PROTOCOL, torch.float64)[0]
        inputs, targets = (part.double() for part in splits(run)["train"])
        known = registry.LOSSES.get(run.loss)
        loss, right = (each.item() for each in known.literal(model.eval()(inputs), known.literal_targets(targets)))
        accuracy = right / len(inputs)
        assert 0 < accuracy < 1
        for split in ("train", "test"):  # the same examples
            ours = [measured[f"{split}_{metric}"][replica].item() for metric in ("loss", "accuracy")]
            assert ours == pytest.approx([loss, accuracy], rel=1e-12)


@compiled
def exponentials(x):
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = maths.exponential(x[i])
    return y


def test_the_exponential_is_accurate_monotone_and_keeps_nan():
    """In float32, to about two units in the last place; NaN in every lane of a vector, and in what is left over."""
    x = np.linspace(-100, 100, 2_000_001, dtype=np.float32)
    y, inside = exponentials(x), (x >= -87) & (x <= 88)
    assert np.abs(y[inside] / np.exp(x[inside].astype(np.float64)) - 1).max() <= 2e-7
    assert np.isfinite(y).all() and (y > 0).all() and (np.diff(y) >= 0).all()
    for place in range(67):
        x = np.where(np.arange(67) == place, np.nan, 1).astype(np.float32)
        assert (np.isnan(exponentials(x)) == np.isnan(x)).all()


@compiled
def logarithms(x):
    y = np.empty_like(x)
    for i in range(x.size):
        y[i] = maths.logarithm(x[i])
    return y


def test_the_logarithm_is_accurate_and_keeps_nan():
    """In float32, to about a unit in the last place, or 4e-8 near 1; NaN in every lane of a vector, and after them."""
    x = np.concatenate([np.exp(np.linspace(-87, 88, 1_000_001)), np.linspace(0.4, 20, 1_000_001), [1]]).astype(
        np.float32
    )
    y, expected = logarithms(x), np.log(x.astype(np.float64))
    assert (np.abs(y - expected) <= np.maximum(1.2e-7 * np.abs(expected), 6e-8)).all() and y[-1] == 0
    for place in range(67):
        x = np.where(np.arange(67) == place, np.nan, 1).astype(np.float32)
        assert (np.isnan(logarithms(x)) == np.isnan(x)).all()


def test_a_diverging_replica_stops_at_its_step_and_disturbs_no_other():
    """Between two others, in the middle of an epoch; its weights are those of before the step."""
    runs = [make(**SGD | {"learning_rate": rate}, seed=seed) for seed, rate in enumerate((1e-3, 1e6, 1e-3))]
    together, at_once, alone, stopped = program(runs), program(runs), program(runs[::2]), None
    for step in range(1, 61):
        before, _, after = state_of(together, [1]), together.advance(), state_of(together, [1])
        if stopped is not None:
            assert_same(after, before)
        elif not after["loss_sum"].isfinite():
            stopped = step
            assert torch.equal(after["parameters"], before["parameters"])
        assert together.ensemble.diverged_at() == [None, stopped, None]
    assert stopped is not None and stopped % together.ensemble.epoch_steps != 1
    for other in (alone, at_once):
        other.advance(60)
    assert_same(state_of(together, [0, 2]), state_of(alone))
    assert_same(state_of(together), state_of(at_once))


@pytest.mark.parametrize("pieces", PIECES)
def test_a_training_is_the_same_in_one_piece_and_in_any_others(pieces, monkeypatch):
    """To the last bit, over many epochs, with long tables and short ones, measured between the pieces or not."""
    runs = [make(**PIECES[pieces], seed=seed, learning_rate=0.001 * (1 + seed)) for seed in range(3)]
    whole, generator = program(runs), random.Random(0)
    whole.advance(70)
    monkeypatch.setattr(programs, "TABLE_STEPS", 10)
    single, broken = program(runs), program(runs)
    for _ in range(70):
        single.advance()
    while (step := broken.ensemble.step) < 70:
        broken.advance(min(generator.randint(1, 25), 70 - step))
        broken.measure(full=True)
    for other in (single, broken):
        assert_same(state_of(other), state_of(whole))
    assert (whole.ensemble.sums["finite_steps"] == 70).all()


EPS = torch.tensor([1e-5])
UNFIT = {
    "a linear layer of 7 inputs stands after 40 features": lambda: Sequential(Linear(7, 10)),
    "a batch normalisation of 8 features stands after 12": lambda: Sequential(
        Linear(40, 12), BatchNorm(8, EPS), Linear(12, 10)
    ),
    "a convolution of 3 channels stands after 40 features": lambda: Sequential(Conv1d(3, 2, 3), Linear(8, 10)),
    "a residual body has 40 inputs, but 9 outputs": lambda: Sequential(Residual(Linear(40, 9)), Linear(9, 10)),
    "the network has 12 outputs, but the targets have 10": lambda: Sequential(Linear(40, 12)),
    "BatchNorm stands directly after Dropout": lambda: Sequential(Linear(40, 10), Dropout(), BatchNorm(10, EPS)),
    "BatchNorm stands directly after ReLU": lambda: Sequential(Linear(40, 10), ReLU(), BatchNorm(10, EPS)),
    "a residual body ends in ReLU": lambda: Sequential(Linear(40, 10), Residual(Sequential(Linear(10, 10), ReLU()))),
    "a residual body begins with BatchNorm": lambda: Sequential(
        Linear(40, 10), Residual(Sequential(BatchNorm(10, EPS), Linear(10, 10)))
    ),
    "a residual body ends in Dropout": lambda: Sequential(
        Linear(40, 10), Residual(Sequential(Linear(10, 10), Dropout()))
    ),
    "a network begins with ReLU": lambda: Sequential(ReLU(), Linear(40, 10)),
}


@pytest.mark.parametrize("sentence", UNFIT)
def test_layers_that_do_not_fit_are_refused_in_one_sentence(sentence):
    run = make(dataset="classes", loss="cross_entropy", batch_norm_eps=None)
    with pytest.raises(ConfigError, match=rf"^{sentence}[.:]"):
        Ensemble([run], Protocol(splits, lambda runs: UNFIT[sentence]()), torch.float32, torch.device("cpu"))


def test_batch_norm_of_a_single_example_is_refused():
    with pytest.raises(ConfigError, match=r"^batch_size is 1, but BatchNorm needs at least 2"):
        Ensemble([make(batch_size=1)], PROTOCOL, torch.float32, torch.device("cpu"))


@pytest.mark.parametrize("loop", ["update", "loss_of"])
def test_a_kind_that_is_not_registered_is_an_error(loop):
    """And not the last of the chain."""
    rows, row = np.ones((2, 3), np.float32), np.ones(11, np.float32)
    chains = {
        "loss_of": lambda: loops._with_cases(
            loops.loss_of, {"squared_error": registry.LOSSES.get("squared_error").loop}
        )(9, rows, rows, rows.copy()),
        "update": lambda: loops.loops_of_all().update(9, row, True, row, row, np.ones((2, 1, 11), np.float32), 0, 0),
    }
    with pytest.raises(ValueError, match="an unknown kind"):
        chains[loop]()
