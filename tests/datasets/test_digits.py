"""Handwritten digits are scikit-learn's; a seed splits them, and no example is in two splits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from weightdecay.datasets import digits as module
from weightdecay.datasets.digits import EXAMPLES, digits, pool
from weightdecay.errors import ConfigError

SIZES = {"train_size": 1000, "validation_size": 300, "test_size": 400}


def test_images_and_labels_are_scikit_learn_s():
    images, labels = pool()
    assert np.array_equal(images * 16, load_digits().data) and np.array_equal(labels, load_digits().target)
    assert images.dtype == np.float32 and images.min() == 0 and images.max() == 1


def test_other_bytes_are_refused(monkeypatch):
    monkeypatch.setattr(module, "SHA256", "0" * 64)
    with pytest.raises(ConfigError, match="scikit-learn's handwritten digits are not those of version"):
        pool.__wrapped__()


def test_a_seed_splits_all_digits_and_no_example_is_in_two_splits():
    splits = digits(0, **SIZES | {"train_size": EXAMPLES - 700})
    assert [len(split.inputs) for split in splits.values()] == [EXAMPLES - 700, 300, 400]
    rows = np.concatenate([np.hstack([*split]) for split in splits.values()])
    images, labels = pool()
    every = np.hstack([images, np.eye(10)[labels]])
    assert np.array_equal(*(np.unique(table, axis=0, return_counts=True)[0] for table in (rows, every)))
    assert len(rows) == len(every)


def test_a_seed_decides_and_the_training_size_moves_no_other_example():
    first, other, small = digits(0, **SIZES), digits(1, **SIZES), digits(0, **SIZES | {"train_size": 100})
    assert first is digits(0, **SIZES) and not first["test"].inputs.equal(other["test"].inputs)
    assert first["test"].inputs.equal(small["test"].inputs)
    assert first["train"].inputs[:100].equal(small["train"].inputs)
    assert first["train"].targets[:100].equal(small["train"].targets)


@pytest.mark.parametrize("changes", [{"train_size": 1098}, {"test_size": 0}, {"validation_size": -1}])
def test_what_there_is_not_is_refused_in_one_sentence(changes):
    with pytest.raises(ConfigError, match="each must be at least 1, and together at most 1797"):
        digits(0, **SIZES | changes)
