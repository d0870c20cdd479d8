"""The data of a stack of runs: gathered into one array for each split, and checked once before training.

A compiled loop reads inputs and targets without checking bounds, and a loss accepts any number as a target. So type,
shape, range and number of examples of every split are checked here against the loops, the loss and the row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from weightdecay.datasets import Split, Splits
from weightdecay.ensemble.checks import require
from weightdecay.registry import DATASETS, LOSSES
from weightdecay.run import Run

PARTS = "inputs", "targets"
Data = dict[str, tuple[Tensor, Tensor]]


def gathered(
    runs: Sequence[Run],
    splits_of: Callable[[Run], Splits],
    train_examples: Callable[[Run], int],
    dtype: torch.dtype,
    device: torch.device,
) -> tuple[Data, Tensor]:
    """Gather the inputs `[U, N, F]` and targets `[U, N, K]` of every split, and `[R]`, the index into U of each run.

    U counts the different data: runs may share them. ConfigError if `runs` cannot be trained and measured on the data.
    """
    splits = {run: splits_of(run) for run in dict.fromkeys(runs)}  # a padded stack has some runs twice
    owners = {id(split): run for run, split in reversed(splits.items())}  # the first run that has this object
    unique = [splits[run] for run in splits if owners[id(splits[run])] is run]
    place = {id(split): index for index, split in enumerate(unique)}
    first, owner = unique[0], owners[id(unique[0])]
    for split in unique:
        _check_splits(split, owners[id(split)])
        _check_alike(split, owners[id(split)], first, owner)
    features, outputs = (part.shape[1] for part in first["train"])
    _check_row(owner, len(first["train"][0]), train_examples(owner), features, outputs)

    def stacked(name: str, part: int) -> Tensor:
        return torch.stack([split[name][part].detach().to(device, dtype) for split in unique])

    data = {name: (stacked(name, 0), stacked(name, 1)) for name in first}
    for name, (inputs, targets) in data.items():
        for part, values in zip(PARTS, (inputs, targets), strict=True):
            require(bool(values.isfinite().all()), f"the {name} {part} are not finite: they hold NaN or infinity")
        LOSSES.get(owner.loss).check_targets(targets, name)
    return data, torch.tensor([place[id(splits[run])] for run in runs], dtype=torch.int64, device=device)


def _check_splits(splits: Splits, run: Run) -> None:
    """Check that one run's data are named pairs of float tensors, `[N, F]` and `[N, K]`, with N and K at least 1."""
    of = f"of seed {run.seed}"
    require(isinstance(splits, Mapping), f"splits gives a {type(splits).__name__}, but must give a dict of Splits")
    require("train" in splits, f"the data {of} have no split named train, but only {', '.join(map(str, splits))}")
    for name, pair in splits.items():
        require(isinstance(name, str), f"a split {of} is named {name!r}, but must have a text for a name")
        kind = f"the {name} split {of} is a {type(pair).__name__}, but must be Split(inputs, targets)"
        require(isinstance(pair, Split) or (isinstance(pair, tuple) and len(pair) == 2), kind)
        for part, values in zip(PARTS, pair, strict=True):
            _check_tensor(values, f"the {name} {part} {of}", classes=part == "targets")
        inputs, targets = pair
        counts = f"{len(inputs)} inputs, but {len(targets)} targets"
        require(len(inputs) == len(targets), f"the {name} split {of} has {counts}")
        require(len(inputs) > 0, f"the {name} split {of} is empty")


def _check_tensor(values: Tensor, what: str, classes: bool) -> None:
    shape = "[N, K]" if classes else "[N, F]"
    one_hot = ", and classes one-hot, not numbers" if classes else ""
    require(
        isinstance(values, Tensor),
        f"{what} are a {type(values).__module__}.{type(values).__name__}, but must be a torch tensor {shape}",
    )
    dense = values.layout == torch.strided and not values.is_nested and not values.is_meta
    require(dense, f"{what} are a tensor of layout {values.layout} on {values.device}, but must be dense, with values")
    require(values.is_floating_point(), f"{what} are {values.dtype}, but must be floats {shape}{one_hot}")
    require(values.dim() == 2, f"{what} have shape {list(values.shape)}, but must be {shape}{one_hot}")
    require(values.shape[1] > 0, f"{what} have shape {list(values.shape)}: an example has no numbers")


def _check_alike(splits: Splits, run: Run, others: Splits, other: Run) -> None:
    """Check that all splits have examples of one shape, and that two runs of a stack have the same splits and sizes."""
    require(
        splits.keys() == others.keys(),
        f"seed {run.seed} has the splits {', '.join(splits)}, but seed {other.seed} has {', '.join(others)}: "
        "runs that are trained together need the same",
    )
    for name, pair in splits.items():
        for part, index in zip(PARTS, (0, 1), strict=True):
            width, expected = pair[index].shape[1], others["train"][index].shape[1]
            require(
                width == expected,
                f"the {name} {part} of seed {run.seed} have {width} numbers an example, but the train {part} "
                f"of seed {other.seed} have {expected}",
            )
        count, expected = len(pair[0]), len(others[name][0])
        require(
            count == expected,
            f"the {name} split of seed {run.seed} has {count} examples, but that of seed {other.seed} has {expected}: "
            "runs that are trained together need as many",
        )


def _check_row(run: Run, examples: int, expected: int, features: int, outputs: int) -> None:
    """Check that the data are what their row says, because the results will repeat the row."""
    require(
        examples == expected,
        f"train_size is {run.train_size}, for which the train split must have {expected} examples, but it has "
        f"{examples}",
    )
    if run.dataset in DATASETS:  # a user's own data set may have any shape
        known = DATASETS.get(run.dataset)
        require(
            (known.inputs, known.outputs) == (features, outputs),
            f"dataset is {run.dataset}, whose examples have {known.inputs} inputs and {known.outputs} targets, but the "
            f"data handed over have {features} and {outputs}: correct the row, or give your data a name of their own",
        )
    require(
        run.batch_size <= examples, f"batch_size is {run.batch_size}, but there are only {examples} training examples"
    )
