"""Dropout's generator is the published one, on a CPU as on a GPU; what it drops is a fair and independent choice."""

import itertools

import numpy as np
import pytest
import torch

from tests.ensemble.runs import CPU, PROTOCOL, make, program
from weightdecay.ensemble import philox
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.layers import Linear, dropout
from weightdecay.ensemble.layers.dropout import write_factors
from weightdecay.ensemble.state import Protocol
from weightdecay.errors import ConfigError
from weightdecay.run import Run

KNOWN_ANSWERS = {  # of Random123, the authors' library: counter, key -> words
    "zeros": ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    "ones": ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    "pi": (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
}


def factors(
    rate: float, seed: int = 0, step: int = 0, layer: int = 0, shape: tuple[int, int] = (128, 64), dtype=torch.float32
) -> np.ndarray:
    """`[B, H]`, by the torch operations."""
    words = philox.words_of([make(seed=seed, dropout=rate)], CPU)
    return dropout.factors(words, torch.tensor([step]), layer, torch.Size((1, *shape)), dtype)[0].numpy()


@compiled
def by_the_kernel(words, step, layer, rows):
    write_factors(words, step, layer, rows)


@pytest.mark.parametrize("name", KNOWN_ANSWERS)
def test_the_generator_gives_its_authors_answers(name):
    counter, key, answer = KNOWN_ANSWERS[name]
    words = philox.philox(*(tuple(torch.tensor([word]) for word in part) for part in (counter, key)))
    assert [word.item() for word in words] == answer


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("rate", "batch", "features"), [(0.3, 128, 64), (0.5, 7, 61), (1e-9, 3, 1), (0.999999999, 9, 4)]
)
def test_the_kernel_equals_the_torch_operations_bitwise(dtype, rate, batch, features):
    for seed, step, layer in ((0, 0, 0), (3, 2**31 + 5, 1), (2**40, 17, 9)):
        words = philox.words_of([make(seed=seed, dropout=rate)], CPU)[0].numpy().astype(np.uint64)
        rows = np.full((-(-features // 4) * 4, batch), np.nan, factors(0.5, dtype=dtype).dtype)
        by_the_kernel(words, step, layer, rows)
        assert np.array_equal(rows[:features].T, factors(rate, seed, step, layer, (batch, features), dtype))
        assert np.isfinite(rows).all()


@pytest.mark.parametrize("rate", [0.1, 0.2, 0.5, 0.9])
def test_the_share_that_is_dropped_is_the_rate_everywhere(rate):
    """Over 400 steps: in all, for each example and for each feature; bounds of five standard deviations."""
    drawn = np.stack([factors(rate, step=step) for step in range(400)])
    assert np.allclose(np.unique(drawn), [0, 1 / (1 - rate)], rtol=1e-6)
    dropped = drawn == 0
    for axes in ((0, 1, 2), (0, 1), (0, 2), (1, 2)):
        count = np.prod([dropped.shape[axis] for axis in axes])
        assert abs(dropped.mean(axes) - rate).max() < 5 * np.sqrt(rate * (1 - rate) / count)


def test_nothing_that_should_be_independent_is_correlated():
    """Neighbouring features, examples, steps, layers and seeds, 2**19 pairs each: five standard deviations."""
    drawn = np.stack([factors(0.5, step=step) for step in range(64)]) - 1
    others = {
        "layer": np.stack([factors(0.5, step=step, layer=1) for step in range(64)]) - 1,
        "seed": np.stack([factors(0.5, step=step, seed=1) for step in range(64)]) - 1,
        **{f"axis {axis}": np.roll(drawn, 1, axis) for axis in range(3)},
    }
    for (name, one), (other, two) in itertools.combinations({"itself": drawn, **others}.items(), 2):
        assert abs((one * two).mean()) < 5 / np.sqrt(drawn.size), (name, other)


def test_a_rate_of_zero_trains_bitwise_as_a_network_without_dropout():
    settings = {
        "dataset": "classes",
        "network": "mlp",
        "loss": "cross_entropy",
        "batch_norm_eps": None,
        "shuffle": True,
    }
    alone, among = program([make(**settings)]), program([make(**settings, dropout=rate) for rate in (0.5, 0.0)])
    for made in (alone, among):
        made.advance(40)
    ours, theirs = alone.ensemble.stack.parameters, among.ensemble.stack.parameters
    assert torch.equal(ours[0], theirs[1]) and not torch.equal(ours[0], theirs[0])


def test_nothing_is_dropped_when_measured():
    """Before any step a network's losses do not depend on its rate."""
    settings = {"dataset": "classes", "network": "mlp", "loss": "cross_entropy", "batch_norm_eps": None}
    losses = program([make(**settings, dropout=rate) for rate in (0.0, 0.9)]).measure(full=True)["test_loss"]
    assert losses[0] == losses[1]


def test_a_rate_is_refused_where_no_layer_has_it_and_where_it_is_no_rate():
    with pytest.raises(ConfigError, match=r"^dropout is 0\.3, but the network has no Dropout\.$"):
        protocol = Protocol(PROTOCOL.splits, lambda runs: Linear(64, 32))
        program([make(network="another", dropout=0.3, batch_norm_eps=None)], protocol=protocol)
    for rate in (1.0, -0.1):
        with pytest.raises(ValueError, match="dropout"):
            Run(**make().model_dump() | {"dropout": rate})
