"""The data of the addition task: the original's rule bit for bit, addition as a property, frozen by checksum."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from weightdecay.datasets.binary_addition import BITS, binary_addition, decode, encode
from weightdecay.datasets.binary_addition_bits import binary_addition_bits

CHECKSUM = "686f98ed1ce23fc99cde434383a7dafe0a688e24b06ea41aeca9fea126a9aefd"


def operands(inputs: torch.Tensor) -> np.ndarray:
    """`[N, 2]` integers of `[N, 64]` interleaved bits."""
    pairs = inputs.reshape(-1, BITS, 2)
    return np.stack([decode(pairs[..., 0]), decode(pairs[..., 1])], axis=-1)


@given(st.lists(st.tuples(st.integers(0, 2**30), st.integers(0, 2**30)), min_size=1, max_size=20))
def test_decode_of_encode_is_addition(pairs):
    inputs, targets = encode(np.array(pairs))
    assert inputs.shape == (len(pairs), 64) and targets.shape == (len(pairs), 32)
    assert operands(inputs).tolist() == [list(pair) for pair in pairs]
    assert decode(targets).tolist() == [a + b for a, b in pairs]


def test_bits_are_interleaved_least_significant_first():
    inputs, _ = encode(np.array([[1, 2]]))
    assert inputs[0, :4].tolist() == [1, 0, 0, 1]  # a₀ b₀ a₁ b₁


def original_pairs(seed: int, size: int, digit_range: list[int]) -> np.ndarray:
    """The drawing rule as the original's class states it, for counts that exhaust no digit class."""
    generator = np.random.default_rng(seed)
    share = 10 ** np.array(digit_range)
    drawn = []
    for digits, count in zip(digit_range, generator.multinomial(n=size, pvals=share / np.sum(share)), strict=True):
        numbers = np.arange(10 ** (digits - 1), 10**digits)
        first = generator.choice(numbers, size=count, replace=False)
        drawn.append([first, generator.choice(numbers, size=count, replace=False)])
    return np.concatenate(drawn, axis=-1).T


@given(st.integers(0, 2**31))
def test_the_pairs_are_those_of_the_original_rule(seed):
    splits = binary_addition(seed)
    ours = np.concatenate([operands(splits[name].inputs) for name in ("train", "validation")])
    theirs = original_pairs(seed, 5500, [2, 4])
    assert sorted(map(tuple, ours.tolist())) == sorted(map(tuple, theirs.tolist()))
    assert operands(splits["test"].inputs).tolist() == original_pairs(seed, 500, [3]).tolist()


@given(st.integers(0, 2**31))
def test_every_pair_has_operands_of_one_length(seed):
    splits = binary_addition(seed)
    for name, lengths in (("train", {2, 4}), ("validation", {2, 4}), ("test", {3})):
        digits = np.vectorize(lambda number: len(str(number)))(operands(splits[name].inputs))
        assert set(digits[:, 0]) <= lengths and (digits[:, 0] == digits[:, 1]).all()
    assert 20 <= (np.vectorize(lambda n: len(str(n)))(operands(splits["train"].inputs))[:, 0] == 2).sum() <= 100


def test_the_generated_set_is_the_frozen_one():
    splits = binary_addition(0, label_noise=0.05)
    content = b"".join(tensor.numpy().astype(np.uint8).tobytes() for split in splits.values() for tensor in split)
    assert hashlib.sha256(content).hexdigest() == CHECKSUM


def test_an_exhausted_digit_class_is_permuted_anew():
    """20,000 pairs exhaust the 9,000 four-digit numbers: each is then used two or three times in a column."""
    train, validation = (operands(split.inputs) for name, split in binary_addition(0, 20_000).items() if name != "test")
    column = np.concatenate([train, validation])[:, 0]
    counts = np.bincount(column)[1000:]
    assert counts.min() >= 2 and counts.max() <= 3


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_label_noise_resamples_that_share_of_training_bits_only(share):
    clean, noisy = binary_addition(0), binary_addition(0, label_noise=share)
    flipped = (clean["train"].targets != noisy["train"].targets).float().mean().item()
    assert flipped == pytest.approx(share / 2, abs=0.005)
    assert torch.equal(clean["train"].inputs, noisy["train"].inputs)
    for name in ("validation", "test"):
        assert torch.equal(clean[name].targets, noisy[name].targets)


def test_the_literal_reading_has_all_pairs_and_no_test_pair_in_training():
    splits = binary_addition_bits(3)
    train, test = (set(map(tuple, operands(splits[name].inputs).tolist())) for name in ("train", "test"))
    assert len(train) == 4 + 64 and len(test) == 16 and not train & test
    assert max(max(pair) for pair in train) == 15 and {pair[0] for pair in test} == {4, 5, 6, 7}
