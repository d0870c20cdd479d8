"""28 × 28 digits: scikit-learn's enlarged, or MNIST's files, which are read as they are or refused."""

import gzip
import hashlib

import numpy as np
import pytest
import torch

from weightdecay.datasets import mnist as module
from weightdecay.datasets.digits import digits
from weightdecay.datasets.digits_28 import digits_28, enlarged
from weightdecay.datasets.mnist import idx, mnist
from weightdecay.errors import ConfigError

SIZES = {"train_size": 50, "validation_size": 20, "test_size": 30}


def test_enlarged_digits_keep_examples_labels_and_range():
    small, large = digits(3, **SIZES), digits_28(3, **SIZES)
    for name, split in large.items():
        assert split.inputs.shape == (len(small[name].inputs), 784)
        assert split.targets.equal(small[name].targets)
        assert 0 <= split.inputs.min() and split.inputs.max() <= 1


def test_enlarging_is_linear_interpolation():
    """A plane stays a plane, away from the edge, where the nearest pixel is repeated."""
    rows, columns = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    plane = enlarged((2 * rows + 3 * columns).reshape(1, 64)).view(28, 28)
    centres = (torch.arange(28) + 0.5) * 8 / 28 - 0.5
    inner = slice(2, 26)
    assert torch.allclose(plane[inner, inner], (2 * centres[:, None] + 3 * centres)[inner, inner], atol=1e-5)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """Files in MNIST's format, with their checksums put in place of MNIST's; returns what is in them."""
    generator, made = np.random.default_rng(0), {}
    for part, count in (("train", 80), ("t10k", 40)):
        images = generator.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = generator.integers(0, 10, count, dtype=np.uint8)
        made[part] = images.reshape(count, 784), labels
        for kind, array, rank in (("images-idx3", images, 3), ("labels-idx1", labels, 1)):
            header = bytes([0, 0, 8, rank]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
            name = f"{part}-{kind}-ubyte.gz"
            (tmp_path / name).write_bytes(gzip.compress(header + array.tobytes()))
            monkeypatch.setitem(module.SHA256, name, hashlib.sha256((tmp_path / name).read_bytes()).hexdigest())
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    yield made
    module.pool.cache_clear()
    module.mnist.cache_clear()


def test_idx_files_are_read_and_no_example_is_in_two_splits(files):
    splits = mnist(0, **SIZES)
    assert [len(split.inputs) for split in splits.values()] == [50, 20, 30]
    for name, part in (("train", "train"), ("validation", "train"), ("test", "t10k")):
        images, labels = files[part]
        rows = [
            int(np.flatnonzero((images / 255.0 - row.numpy()).__abs__().max(1) < 1e-6)[0])
            for row in splits[name].inputs
        ]
        assert len(set(rows)) == len(rows)
        assert np.array_equal(splits[name].targets.argmax(1), labels[rows])
    both = torch.cat([splits["train"].inputs, splits["validation"].inputs])
    assert len(torch.unique(both, dim=0)) == 70


def test_other_files_missing_files_and_too_many_examples_are_refused(files):
    with pytest.raises(ConfigError, match="the first two together at most 80, the last 40"):
        mnist(0, 61, 20, 30)
    name = "t10k-labels-idx1-ubyte.gz"
    (module.FOLDER / name).write_bytes(gzip.compress(b"something else"))
    with pytest.raises(ConfigError, match="is not MNIST's file of that name"):
        idx(module.FOLDER / name)
    (module.FOLDER / name).unlink()
    with pytest.raises(ConfigError, match="cannot be read: put MNIST's four idx files there"):
        idx(module.FOLDER / name)


def test_the_checksums_are_whole():
    assert {len(bytes.fromhex(digest)) for digest in module.SHA256.values()} == {32}
