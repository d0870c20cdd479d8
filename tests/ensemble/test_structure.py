"""Networks that do not fit, or are not what their row says, are refused in one sentence, for a CPU as for a GPU."""

import pytest
import torch

from tests.ensemble.runs import PROTOCOL, make, splits
from weightdecay import registry
from weightdecay.ensemble.layers import (
    BatchNorm,
    Conv1d,
    Dropout,
    FrozenLinear,
    Layer,
    Linear,
    ReLU,
    Residual,
    Sequential,
)
from weightdecay.ensemble.networks.cnn import cnn
from weightdecay.ensemble.networks.mlp import mlp
from weightdecay.ensemble.networks.residual_mlp import residual_mlp
from weightdecay.ensemble.networks.scale_invariant_cnn import scale_invariant_cnn
from weightdecay.ensemble.networks.scale_invariant_mlp import scale_invariant_mlp
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.ensemble.structure import check_network
from weightdecay.errors import ConfigError

RUNS = [make(dataset="classes", network="own", loss="cross_entropy", batch_norm_eps=None, seed=seed) for seed in (0, 1)]
NORMED = [run.model_copy(update={"batch_norm_eps": 1e-3}) for run in RUNS]
EPS = torch.tensor([1e-3, 1e-3])


def refusal(layer: Layer, runs: list = RUNS) -> str:
    """The one sentence with which an ensemble of 40 inputs and 10 outputs refuses it."""
    with pytest.raises(ConfigError) as caught:
        Ensemble(runs, Protocol(splits, lambda runs: layer), torch.float32, torch.device("cpu"))
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)
    return str(caught.value)


class Scaled(Linear):
    """A layer that computes something else than its kind: the compiled loop would run a plain Linear."""

    def forward(self, x, moment):
        return 2 * super().forward(x, moment)


class Tenfold(Linear):
    """A layer that only starts elsewhere."""

    def initialise(self, generator):
        return {name: 10 * value for name, value in super().initialise(generator).items()}


class Constant(Linear):
    """One number for all weights, which torch would spread over them."""

    def initialise(self, generator):
        return super().initialise(generator) | {"bias": torch.zeros(1)}


class Infinite(Linear):
    def initialise(self, generator):
        return {name: value / 0 for name, value in super().initialise(generator).items()}


class Nothing(Layer):
    def forward(self, x, moment):
        return x


def reshaped(layer: Layer, **shapes: tuple) -> Layer:
    layer.shapes = dict(layer.shapes) | shapes
    return layer


ONE = Linear(10, 10)
UNFIT = {
    "Linear is not a layer": lambda: torch.nn.Linear(40, 10),
    "function is not a layer": lambda: lambda x: x,
    "NoneType is not a layer": lambda: Sequential(Linear(40, 10), None),
    "list is not a layer": lambda: [Linear(40, 10)],
    "Nothing is not a layer": lambda: Sequential(Nothing(), Linear(40, 10)),
    "Scaled is not a layer that can be trained: build the network of": lambda: Scaled(40, 10),
    "one Linear stands in the network twice": lambda: Sequential(Linear(40, 10), ONE, ONE),
    "Sequential has no layers": lambda: Sequential(Linear(40, 10), Sequential()),
    "Linear has 0 outputs": lambda: Sequential(Linear(40, 0), Linear(0, 10)),
    "Linear has -3 outputs": lambda: Sequential(Linear(40, -3), Linear(-3, 10)),
    "Linear has 2.0 outputs": lambda: Sequential(Linear(40, 2.0), Linear(2, 10)),
    "BatchNorm has 0 features": lambda: Sequential(Linear(40, 10), BatchNorm(0, EPS)),
    "Conv1d has 0 stride": lambda: Sequential(Conv1d(1, 2, 3, stride=0), Linear(2, 10)),
    "Conv1d has 0 kernel": lambda: Sequential(Conv1d(1, 2, 0), Linear(2, 10)),
    "Conv1d has a padding of -1": lambda: Sequential(Conv1d(1, 2, 3, padding=-1), Linear(2, 10)),
    "a convolution over 41 positions stands after 40": lambda: Sequential(Conv1d(1, 2, 41), Linear(2, 10)),
    "Linear has parameters of shapes {'weight': (10, 40), 'bias': (11,)}": lambda: reshaped(Linear(40, 10), bias=(11,)),
    "Linear has parameters of shapes {'weight': (10, 41), 'bias': (10,)}": lambda: reshaped(
        Linear(40, 10), weight=(10, 41)
    ),
    "Conv1d has parameters of shapes": lambda: Sequential(reshaped(Conv1d(1, 2, 3), weight=(2, 2)), Linear(76, 10)),
    "BatchNorm has other parameters": lambda: Sequential(Linear(40, 10), reshaped(BatchNorm(10, EPS), more=(1,))),
    "Constant.initialise gives {'weight': (10, 40), 'bias': (1,)}, but must give": lambda: Constant(40, 10),
    "Infinite.initialise gives parameters that are not finite": lambda: Infinite(40, 10),
    "the network has 11 outputs, but the targets have 10": lambda: Linear(40, 11),
    "dropout is 0.5, but the network has no Dropout": lambda: Linear(40, 10),
}


@pytest.mark.parametrize("sentence", UNFIT)
def test_a_network_that_cannot_be_trained_is_refused(sentence):
    runs = [run.model_copy(update={"dropout": 0.5}) for run in RUNS] if "dropout" in sentence else RUNS
    assert refusal(UNFIT[sentence](), runs).startswith(sentence)


def test_a_convolution_over_all_positions_fits():
    check_network(Sequential(Conv1d(1, 2, 40), Linear(2, 10)), RUNS, 40, 10)


def test_layers_that_only_start_elsewhere_are_layers():
    ensemble = Ensemble(RUNS, Protocol(splits, lambda runs: Tenfold(40, 10)), torch.float32, torch.device("cpu"))
    assert ensemble.stack.leaves[0].weight.abs().max() > 5 / 40**0.5


EPS_UNFIT = {
    "BatchNorm has an eps of float, but must have a tensor of floats [R]": 1e-3,
    "BatchNorm has an eps of torch.int64": torch.tensor([1, 1]),
    "BatchNorm has an eps of torch.float32": EPS.to("meta"),
    "BatchNorm has eps of shape (1,), but must have one for each of 2 runs": EPS[:1],
    "BatchNorm has eps of shape (), but": EPS[0],
    "BatchNorm has eps of shape (2, 1), but": EPS[:, None],
    "batch_norm_eps is 0.001, but the network has 0.002": torch.tensor([1e-3, 2e-3]),
    "batch_norm_eps is 0.001, but the network has nan": torch.tensor([1e-3, torch.nan]),
    "batch_norm_eps is 0.001, but the network has -0.001": -EPS,
}


@pytest.mark.parametrize("sentence", EPS_UNFIT)
def test_an_eps_that_is_not_one_number_a_run_is_refused(sentence):
    network = Sequential(Linear(40, 10), BatchNorm(10, EPS_UNFIT[sentence]))
    assert refusal(network, NORMED).startswith(sentence)


def test_a_network_of_ones_own_is_held_to_what_is_known():
    """Of a name that is not ours: whether it has BatchNorm, and its eps."""
    plain, normed = (lambda: Sequential(Linear(40, 10)), lambda: Sequential(Linear(40, 10), BatchNorm(10, EPS)))
    check_network(plain(), RUNS, 40, 10)
    check_network(normed(), NORMED, 40, 10)
    assert refusal(normed(), RUNS).startswith("batch_norm_eps is None, but the network has BatchNorm")
    assert refusal(plain(), NORMED).startswith("batch_norm_eps is 0.001, but the network has no BatchNorm")


NAMED = {
    "mlp": lambda width, blocks, eps: mlp(40, 10, width, blocks),
    "mlp with dropout": lambda width, blocks, eps: mlp(40, 10, width, blocks, dropout=True),
    "cnn": lambda width, blocks, eps: cnn(40, 10, width),
    "residual_mlp": lambda width, blocks, eps: residual_mlp(40, 10, width, blocks, eps),
    "scale_invariant_mlp": lambda width, blocks, eps: scale_invariant_mlp(40, 10, width, blocks, eps),
    "scale_invariant_mlp of another norm": lambda width, blocks, eps: scale_invariant_mlp(
        40, 10, width, blocks, eps, 3
    ),
    "scale_invariant_cnn": lambda width, blocks, eps: scale_invariant_cnn(40, 10, width, eps),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_network_of_a_known_name_is_what_its_row_says(name):
    """The row's own network is taken; another width, number of blocks or kind is refused, and says what differs."""
    network, about = name.split(" ")[0], {"width": 16, "blocks": 3}
    eps = EPS if network.startswith(("residual", "scale")) else None
    runs = [run.model_copy(update=about | {"network": network}) for run in (RUNS if eps is None else NORMED)]
    check_network(NAMED[name](16, 3, eps), runs, 40, 10)
    others = {(width, blocks): NAMED[name](width, blocks, eps) for width, blocks in ((8, 3), (16, 2))}
    if network.endswith("cnn"):
        others.pop((16, 2))
    for other in others.values():
        said = refusal(other, runs)
        assert said.startswith(f"network is {network} of width 16 and 3 blocks, which has ")
        assert "the network handed over has" in said
    for kind in {*registry.NETWORKS.names()} - {network}:
        with pytest.raises(ConfigError):
            check_network(NAMED[kind](16, 3, EPS if kind.startswith(("residual", "scale")) else None), runs, 40, 10)


def test_the_last_layer_of_a_scale_invariant_network_is_frozen():
    runs = [run.model_copy(update={"network": "scale_invariant_mlp", "width": 16, "blocks": 1}) for run in NORMED]
    body = Linear(40, 16, bias=False), BatchNorm(16, EPS, affine=False), ReLU()
    check_network(Sequential(*body, FrozenLinear(16, 10, 10.0)), runs, 40, 10)
    said = refusal(Sequential(*body, Linear(16, 10, bias=False)), runs)
    assert "which has untrained Linear(16, 10) without bias where the network handed over has Linear(16, 10)" in said


def test_what_stands_where_in_a_residual_network_counts():
    runs = [run.model_copy(update={"network": "residual_mlp", "width": 16, "blocks": 1}) for run in RUNS]
    layers = [Linear(40, 16), Linear(16, 16), ReLU(), Linear(16, 16), ReLU(), Linear(16, 10)]
    with_residual = Sequential(layers[0], Residual(Sequential(*layers[1:4])), *layers[4:])
    check_network(with_residual, runs, 40, 10)
    assert "has the beginning of a residual body where" in refusal(Sequential(*layers), runs)


def test_dropout_may_stand_where_all_rates_are_zero():
    run = make(dataset="classes", network="mlp", loss="cross_entropy", batch_norm_eps=None)
    network = mlp(40, 10, run.width, run.blocks, dropout=True)
    Ensemble([run], Protocol(PROTOCOL.splits, lambda runs: network), torch.float32, torch.device("cpu"))
    assert any(isinstance(layer, Dropout) for layer in network.children)
