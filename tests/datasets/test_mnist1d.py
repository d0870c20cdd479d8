"""MNIST-1D is its authors' own, bit for bit; labels are noisy where and as they should be; splits do not overlap."""

import hashlib
import random

import numpy as np
import pytest
from mnist1d.data import get_dataset_args, make_dataset

from weightdecay.datasets import mnist1d as module
from weightdecay.datasets.mnist1d import SEED, TEST_POOL, TRAIN_POOL, mnist1d, noisy, pool
from weightdecay.errors import ConfigError

SIZES = {"train_size": 500, "validation_size": 1000, "test_size": 2000, "label_noise": 0.15, "noise": "incorrect"}
# Of the signals rounded to 1e-6, as the last bits of a sum depend on the machine, and of the labels.
CHECKSUM = "e8fc3d3004056320b60e7e9045f825da2bf3082bec0b54e85bafab8960fc82a1"


def digest(signals: np.ndarray, labels: np.ndarray) -> str:
    rounded = (np.round(signals, 6) + 0.0).astype(np.float32)  # + 0: no negative zeros
    return hashlib.sha256(rounded.tobytes() + labels.astype(np.int64).tobytes()).hexdigest()


def labels(split) -> np.ndarray:
    return split.targets.argmax(1).numpy()


def test_the_pool_is_what_the_notebook_makes():
    arguments = get_dataset_args()
    arguments.num_samples, arguments.train_split = 16_000, 0.25  # cell 3 of deep-double-descent.ipynb
    made = make_dataset(arguments)
    signals, classes = pool(SEED, TRAIN_POOL + TEST_POOL)
    assert np.array_equal(signals[:TRAIN_POOL], made["x"]) and np.array_equal(signals[TRAIN_POOL:], made["x_test"])
    assert np.array_equal(classes[:TRAIN_POOL], made["y"]) and np.array_equal(classes[TRAIN_POOL:], made["y_test"])
    assert digest(signals, classes) == CHECKSUM


def test_what_is_kept_is_what_was_made_and_a_damaged_file_is_made_again(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "FOLDER", tmp_path / "cache")
    made = pool.__wrapped__(7, 50)
    (file,) = (tmp_path / "cache").iterdir()
    monkeypatch.setattr(module, "_made", lambda seed, size: pytest.fail("made again"))
    assert all(map(np.array_equal, pool.__wrapped__(7, 50), made))
    monkeypatch.undo()
    monkeypatch.setattr(module, "FOLDER", tmp_path / "cache")
    whole = file.read_bytes()
    random_bits = np.random.default_rng(0).integers(0, 8 * len(whole), 200)
    flipped = [bytearray(whole) for _ in random_bits]
    for content, bit in zip(flipped, random_bits, strict=True):
        content[bit // 8] ^= 1 << bit % 8
    for damaged in (*map(bytes, flipped), whole[: len(whole) // 2], whole[:20], b""):
        file.write_bytes(damaged)
        assert all(map(np.array_equal, pool.__wrapped__(7, 50), made))
        assert file.read_bytes() == whole


def test_nothing_is_kept_where_there_is_no_data_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pool.__wrapped__(7, 50)
    assert list(tmp_path.iterdir()) == []


def test_nobody_elses_random_numbers_are_touched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # nothing is kept here
    random.seed(1), np.random.seed(1)  # noqa: NPY002
    expected = random.random(), np.random.random()  # noqa: NPY002
    random.seed(1), np.random.seed(1)  # noqa: NPY002
    pool.__wrapped__(7, 100)
    assert (random.random(), np.random.random()) == expected  # noqa: NPY002


def test_a_seed_decides_examples_and_labels_and_nothing_else_does():
    first, again, other = mnist1d(0, **SIZES), mnist1d(0, **SIZES), mnist1d(1, **SIZES)
    for name, split in first.items():
        assert split.inputs.equal(again[name].inputs) and split.targets.equal(again[name].targets)
        assert not split.inputs.equal(other[name].inputs)
    assert [tuple(split.inputs.shape) for split in first.values()] == [(500, 40), (1000, 40), (2000, 40)]
    assert all(split.targets.sum(1).eq(1).all() for split in first.values())


def test_a_smaller_training_set_is_the_beginning_of_a_larger_one():
    small, large = mnist1d(0, **{**SIZES, "train_size": 250}), mnist1d(0, **SIZES)
    assert small["train"].inputs.equal(large["train"].inputs[:250])
    assert small["train"].targets.equal(large["train"].targets[:250])
    assert small["test"].inputs.equal(large["test"].inputs)


def test_no_example_is_in_two_splits():
    splits = mnist1d(3, **{**SIZES, "train_size": TRAIN_POOL, "test_size": TEST_POOL, "validation_size": 4000})
    rows = np.concatenate([split.inputs.numpy() for split in splits.values()])
    assert len(np.unique(rows, axis=0)) == 20_000


def test_training_and_validation_labels_are_noisy_and_test_labels_clean():
    clean, dirty = mnist1d(0, **{**SIZES, "label_noise": 0.0}), mnist1d(0, **SIZES)
    wrong = {name: (labels(clean[name]) != labels(dirty[name])).mean() for name in clean}
    assert wrong["test"] == 0
    assert wrong["train"] == pytest.approx(0.15, abs=3 * (0.15 * 0.85 / 500) ** 0.5)
    assert wrong["validation"] == pytest.approx(0.15, abs=3 * (0.15 * 0.85 / 1000) ** 0.5)
    assert all(clean[name].inputs.equal(dirty[name].inputs) for name in clean)  # noise moves no example


@pytest.mark.parametrize(("noise", "wrong"), [("incorrect", 0.4), ("resampled", 0.4 * 0.9)])
def test_resampled_labels_are_right_by_chance_in_a_tenth_and_incorrect_ones_never(noise, wrong):
    truth = np.repeat(np.arange(10), 10_000)
    drawn = noisy(truth, 0.4, noise, np.random.default_rng(0))
    assert (drawn != truth).mean() == pytest.approx(wrong, abs=5e-3)  # 3 standard errors of 100,000
    shares = np.bincount((drawn - truth)[drawn != truth] % 10, minlength=10) / (drawn != truth).sum()
    assert shares[1:] == pytest.approx(np.full(9, 1 / 9), abs=5e-3)


@pytest.mark.parametrize("noise", ["incorrect", "resampled"])
def test_all_labels_can_be_noise(noise):
    truth = np.repeat(np.arange(10), 100)
    assert noisy(truth, 1.0, "incorrect", np.random.default_rng(0))[truth == 0].min() > 0
    assert (noisy(truth, 0.0, noise, np.random.default_rng(0)) == truth).all()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"train_size": 4001}, "train_size is 4001, but must lie between 1 and 4000: MNIST-1D has no more here."),
        ({"test_size": 0}, "test_size is 0, but must lie between 1 and 12000: MNIST-1D has no more here."),
        ({"label_noise": 1.5}, "label_noise is 1.5, but must lie between 0 and 1."),
        ({"validation_size": 9}, "the 9 validation examples of seed 0 have none of class "),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError) as caught:
        mnist1d(0, **{**SIZES, **changes})
    assert str(caught.value).startswith(sentence)
