"""How a row of the table is trained."""

import torch
from torch import Tensor

from weightdecay.datasets import Splits
from weightdecay.datasets.binary_addition import binary_addition
from weightdecay.ensemble.literal import module_of
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.run import Run, require

GIVEN_UP = 0.75  # half way between guessing a bit and knowing it


def splits(run: Run) -> Splits:
    """Return the run's data; ConfigError for a row with settings that this finding does not train."""
    require(run, dataset="binary_addition", network="residual_mlp")
    return binary_addition(run.seed, run.train_size, run.label_noise)


def measures(ensemble: Ensemble) -> dict[str, Tensor]:
    """Count, at steps that are logged in full, the output bits that a network has given up: `lost_bits` `[R]`.

    These are the bits that it gets right, evaluated, in fewer than `GIVEN_UP` of the training examples.
    """
    if not ensemble.log_steps[ensemble.step]:
        return {}
    inputs, targets = ensemble.data["train"]
    lost = []
    for replica, run in enumerate(ensemble.runs):  # one by one: a product over all would round by their number
        data = ensemble.which[replica]
        logits = module_of(ensemble.stack.network, replica, run).eval()(inputs[data])
        lost.append((((logits > 0) == (targets[data] > 0.5)).float().mean(0) < GIVEN_UP).sum())
    return {"lost_bits": torch.stack(lost).to(inputs.dtype)}


PROTOCOL = Protocol(splits, measures=measures)
