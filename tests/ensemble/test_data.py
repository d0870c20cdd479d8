"""Data that contradict themselves, their loss or their row are refused in one sentence, whatever the split or seed."""

import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from tests.ensemble.runs import make
from weightdecay.datasets import Split, Splits
from weightdecay.ensemble.networks.mlp import mlp
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.ensemble.training import train
from weightdecay.errors import ConfigError

EXAMPLES, FEATURES, CLASSES = 12, 3, 2
SETTINGS = {
    **{"dataset": "points", "train_size": EXAMPLES, "network": "mlp", "width": 4, "blocks": 1, "batch_norm_eps": None},
    **{"batch_size": 4, "steps": 3, "log_every": 3, "log_dense_every": 3},
}


def points(seed: int = 0, classes: int = CLASSES) -> Splits:
    """Normal inputs and one-hot classes; a regression's targets where there is one class."""
    generator = torch.Generator().manual_seed(seed)

    def split(size: int) -> Split:
        inputs = torch.randn(size, FEATURES, generator=generator)
        labels = torch.randint(0, classes, (size,), generator=generator)
        targets = torch.nn.functional.one_hot(labels, classes).float() if classes > 1 else inputs[:, :1].clone()
        return Split(inputs, targets)

    return {"train": split(EXAMPLES), "test": split(7)}


def trained(change: Callable[[Splits], Splits], seeds: int = 1, classes: int = CLASSES, **settings) -> None:
    """Train on points, those of the last seed changed."""
    runs = [make(**SETTINGS | {"loss": "cross_entropy", "seed": seed} | settings) for seed in range(seeds)]
    protocol = Protocol(
        lambda run: change(points(run.seed, classes)) if run == runs[-1] else points(run.seed, classes),
        lambda runs: mlp(FEATURES, classes, runs[0].width, 1),
    )
    train(runs, protocol, "cpu")


def refusal(change: Callable[[Splits], Splits], **settings) -> str:
    """The one sentence; nothing else is raised."""
    with pytest.raises(ConfigError) as caught:
        trained(change, **settings)
    sentence = str(caught.value)
    assert sentence.endswith(".") and "\n" not in sentence and len(sentence) < 250
    return sentence


def changed(part: str, change: Callable, split: str = "train") -> Callable[[Splits], Splits]:
    """Data in which one part of a split is another."""
    return lambda splits: splits | {split: splits[split]._replace(**{part: change(getattr(splits[split], part))})}


NOTHING = {
    "cross-entropy": {},
    "bits": {"loss": "sigmoid_squared_error"},
    "regression": {"classes": 1, "loss": "squared_error"},
    "double precision": {
        "change": lambda splits: {name: Split(*map(torch.Tensor.double, splits[name])) for name in splits}
    },
    "plain pairs": {"change": lambda splits: {name: tuple(pair) for name, pair in splits.items()}},
    "not contiguous": {"change": changed("inputs", lambda x: x.T.contiguous().T)},
    "with gradients": {"change": changed("inputs", lambda x: x.clone().requires_grad_())},
}


@pytest.mark.parametrize("case", NOTHING)
def test_what_fits_is_trained(case):
    trained(**{"change": lambda splits: splits, "seeds": 2} | NOTHING[case])


SHAPES = {  # how a part of a split may be wrong -> what is said
    "fewer": (lambda x: x[:4].clone(), r"split of seed \d has \d+ inputs, but \d+ targets"),
    "one-dimensional": (lambda x: x[:, 0].clone(), r"have shape \[\d+\], but must be \[N, [FK]\]"),
    "three-dimensional": (lambda x: x[:, None], r"have shape \[\d+, 1, \d\], but must be \[N, [FK]\]"),
    "numbers of classes": (lambda x: x.argmax(1), r"are torch.int64, but must be floats \[N, [FK]\]"),
    "integers": (lambda x: x.long(), r"are torch.int64, but must be floats \[N, [FK]\]"),
    "truth values": (lambda x: x > 0, r"are torch.bool, but must be floats"),
    "complex": (lambda x: x.to(torch.complex64), r"are torch.complex64, but must be floats"),
    "NumPy": (lambda x: x.numpy(), r"are a numpy.ndarray, but must be a torch tensor"),
    "a list": (lambda x: x.tolist(), r"are a builtins.list, but must be a torch tensor"),
    "NaN": (lambda x: x.index_fill(0, torch.tensor(1), torch.nan), r"are not finite"),
    "infinite": (lambda x: x.index_fill(0, torch.tensor(1), -torch.inf), r"are not finite"),
    "beyond float32": (lambda x: x.double().index_fill(0, torch.tensor(1), 1e300), r"are not finite"),
    "no numbers": (lambda x: x[:, :0], r"have shape \[\d+, 0\]: an example has no numbers"),
    "sparse": (lambda x: x.to_sparse(), r"are a tensor of layout torch.sparse_coo on cpu, but must be dense"),
    "without values": (lambda x: x.to("meta"), r"are a tensor of layout torch.strided on meta, but must be dense"),
}


@pytest.mark.parametrize("part", ["inputs", "targets"])
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("case", SHAPES)
def test_an_array_of_the_wrong_kind_or_shape_is_refused(case, split, part):
    """In each split, each part, and where it is another seed's that is right."""
    change, sentence = SHAPES[case]
    for seeds in (1, 2):
        said = refusal(changed(part, change, split), seeds=seeds)
        assert re.search(sentence, said) and split in said


def wider(pair: Split) -> Split:
    return Split(torch.cat([pair.inputs, pair.inputs], 1), pair.targets)


def shorter(pair: Split) -> Split:
    return Split(pair.inputs[:5], pair.targets[:5])


DISAGREE = {
    "the test inputs of seed 0 have 6 numbers an example, but the train inputs of seed 0 have 3": {
        "change": lambda splits: splits | {"test": wider(splits["test"])}
    },
    "the train inputs of seed 1 have 6 numbers an example, but the train inputs of seed 0 have 3": {
        "change": lambda splits: {name: wider(pair) for name, pair in splits.items()},
        "seeds": 2,
    },
    "the train split of seed 1 has 5 examples, but that of seed 0 has 12": {
        "change": lambda splits: splits | {"train": shorter(splits["train"])},
        "seeds": 2,
    },
    "the test split of seed 1 has 5 examples, but that of seed 0 has 7": {
        "change": lambda splits: splits | {"test": shorter(splits["test"])},
        "seeds": 2,
    },
    "seed 1 has the splits train, but seed 0 has train, test": {
        "change": lambda splits: {"train": splits["train"]},
        "seeds": 2,
    },
    "seed 1 has the splits train, test, more, but seed 0 has train, test": {
        "change": lambda splits: splits | {"more": splits["test"]},
        "seeds": 2,
    },
    "the data of seed 0 have no split named train, but only test": {"change": lambda splits: {"test": splits["test"]}},
    "the test split of seed 0 is empty": {
        "change": lambda splits: splits | {"test": Split(*(part[:0] for part in splits["test"]))}
    },
    "a split of seed 0 is named 3": {"change": lambda splits: splits | {3: splits["test"]}},
    "the test split of seed 0 is a Tensor": {"change": lambda splits: splits | {"test": splits["test"].inputs}},
    "the test split of seed 0 is a tuple": {"change": lambda splits: splits | {"test": (*splits["test"], 1)}},
    "splits gives a list": {"change": lambda splits: list(splits.values())},
    "splits gives a NoneType": {"change": lambda splits: None},
    "train_size is 11, for which the train split must have 11 examples, but it has 12": {"train_size": 11},
    "dataset is digits, whose examples have 64 inputs and 10 targets, but the data handed over have 3 and 2": {
        "dataset": "digits"
    },
    "batch_size is 13, but there are only 12 training examples": {"batch_size": 13},
}


@pytest.mark.parametrize("sentence", DISAGREE)
def test_data_that_disagree_with_each_other_or_with_their_row_are_refused(sentence):
    assert refusal(**{"change": lambda splits: splits} | DISAGREE[sentence]).startswith(sentence)


RANGES = {
    "loss is cross_entropy, which needs at least 2 outputs": ({"classes": 1}, lambda y: (y > 0).float()),
    "loss is cross_entropy with 2 outputs, which counts right answers and so needs one-hot": (
        {},
        lambda y: torch.full_like(y, 0.5),
    ),
    "loss is squared_error with 2 outputs, which counts right answers and so needs one-hot": (
        {"loss": "squared_error"},
        lambda y: 2 * y - 1,
    ),
    "loss is sigmoid_squared_error, whose targets must be 0 or 1": (
        {"loss": "sigmoid_squared_error"},
        lambda y: 2 * y - 1,
    ),
}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("sentence", RANGES)
def test_targets_that_the_loss_has_no_meaning_for_are_refused(sentence, split):
    settings, change = RANGES[sentence]
    assert refusal(changed("targets", change, split), **settings).startswith(sentence)


def test_cross_entropy_does_not_call_one_output_right():
    """It had a loss of 0 and an accuracy of 1, whatever the targets."""
    assert "needs at least 2 outputs" in refusal(changed("targets", lambda y: (y > 0).float()), classes=1)


@pytest.mark.parametrize("loss", ["absolute_error", "smooth_l1"])
def test_a_regression_may_have_several_outputs_of_any_size(loss):
    trained(changed("targets", lambda y: 1e6 * y - 3), loss=loss)


def test_200_000_inputs_with_4_targets_are_not_a_diverged_run():
    def change(splits: Splits) -> Splits:
        return {"train": Split(torch.randn(200_000, FEATURES), torch.eye(2)[:2].repeat(2, 1))}

    said = refusal(change, train_size=200_000)
    assert said == "the train split of seed 0 has 200000 inputs, but 4 targets."


def test_runs_that_share_their_data_hold_them_once_and_in_their_order():
    """Whatever the order in which the runs name them, padded or not."""
    data = [points(seed) for seed in range(3)]
    runs = [make(**SETTINGS, loss="cross_entropy", seed=seed) for seed in (2, 0, 1, 2)]
    protocol = Protocol(lambda run: data[run.seed % 2], lambda runs: mlp(FEATURES, CLASSES, 4, 1))
    ensemble = Ensemble(runs, protocol, torch.float32, torch.device("cpu"))
    inputs = ensemble.data["train"][0]
    assert len(inputs) == 2
    for replica, run in enumerate(runs):
        assert torch.equal(inputs[ensemble.which[replica]], data[run.seed % 2]["train"].inputs)


def test_a_protocol_says_where_train_size_counts_examples_that_are_held_out():
    run = make(**SETTINGS | {"train_size": EXAMPLES + 3}, loss="cross_entropy")
    protocol = Protocol(lambda run: points(), lambda runs: mlp(FEATURES, CLASSES, 4, 1))
    with pytest.raises(ConfigError, match="train_size is 15"):
        train([run], protocol, "cpu")
    held_out = Protocol(protocol.splits, protocol.network, train_examples=lambda run: run.train_size - 3)
    assert np.isfinite(train([run], held_out, "cpu").runs.loc[0, "train_loss"])
