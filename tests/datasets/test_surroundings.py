"""A data set has the same bytes whatever surrounds it, and leaves what surrounds it as it was."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.surroundings import SURROUNDINGS, ambience
from weightdecay.datasets import Splits, mnist1d
from weightdecay.datasets.binary_addition import binary_addition
from weightdecay.datasets.binary_addition_bits import binary_addition_bits
from weightdecay.datasets.digits import digits
from weightdecay.datasets.digits_28 import digits_28

# Made anew at each call, by what is within their caches.
DATASETS: dict[str, Callable[[], Splits]] = {
    "binary addition": lambda: binary_addition.__wrapped__(3, 200, 0.3),
    "binary addition of bits": lambda: binary_addition_bits.__wrapped__(3),
    "digits": lambda: digits.__wrapped__(3, 50, 20, 30),
    "digits of 28 × 28": lambda: digits_28.__wrapped__(3, 50, 20, 30),
    "MNIST-1D": lambda: mnist1d.mnist1d.__wrapped__(3, 50, 100, 70, 0.3, "incorrect"),
}


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
@pytest.mark.parametrize("name", DATASETS)
def test_a_data_set_does_not_depend_on_what_surrounds_it(name, surroundings):
    expected = DATASETS[name]()
    with SURROUNDINGS[surroundings]():
        before = ambience()
        found = DATASETS[name]()
        assert ambience() == before
    assert list(found) == list(expected)
    for split, pair in expected.items():
        for ours, theirs in zip(found[split], pair, strict=True):
            assert ours.dtype == torch.float32 and ours.device.type == "cpu" and torch.equal(ours.clone(), theirs)


@pytest.mark.parametrize("surroundings", SURROUNDINGS)
def test_mnist_1d_is_generated_the_same(surroundings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # nothing is kept here
    expected = mnist1d.pool.__wrapped__(7, 40)
    with SURROUNDINGS[surroundings]():
        before = ambience()
        found = mnist1d.pool.__wrapped__(7, 40)
        assert ambience() == before
    assert all(map(np.array_equal, found, expected))
