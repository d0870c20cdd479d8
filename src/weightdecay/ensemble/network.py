"""Networks that a run can name: how each is built, which settings it allows, and what it costs.

Nothing here needs torch, and the files of `networks` import it only to build a network: checking a configuration is
fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from weightdecay.ensemble.layer import Layer
    from weightdecay.run import Run


@dataclass(frozen=True)
class Rule:
    """A restriction of a network: a run's `field` must be `allowed`, for a `reason` such as "which has no dropout"."""

    field: str
    holds: Callable[[Any], bool]
    allowed: str
    reason: str


NO_BATCH_NORM = Rule("batch_norm_eps", lambda eps: eps is None, "null", "which has no BatchNorm")
BATCH_NORM = Rule("batch_norm_eps", lambda eps: eps is not None, "a number", "which has BatchNorm")
NO_DROPOUT = Rule("dropout", lambda rate: not rate, "0", "which has no dropout")
HIDDEN_LAYERS = Rule("blocks", lambda blocks: blocks >= 1, "at least 1", "which has hidden layers")
THREE_CONVOLUTIONS = Rule("blocks", lambda blocks: blocks == 3, "3", "which has three convolutions")


@dataclass(frozen=True)
class Network:
    """A network that a row of the table can name.

    `build` makes the tree of layers of a stack from `(runs, inputs, outputs)`. `weights` says how many weights a run
    multiplies for each example, to estimate its time on a CPU. The weights of a convolution count once for each
    position, and twice because small products are slow. `positions`: how many positions the first layer's activations
    have, each with `width` numbers.
    """

    name: str
    build: Callable[[Sequence[Run], int, int], Layer]
    rules: tuple[Rule, ...]
    weights: Callable[[Run], int]
    positions: int = 1

    def broken_rule(self, run: Run) -> str | None:
        """Return a sentence about a setting of the run that this network does not allow; None if it allows all."""
        for rule in self.rules:
            value = getattr(run, rule.field)
            if not rule.holds(value):
                return (
                    f"{rule.field} is {value!r}, but must be {rule.allowed} where network is {self.name}, {rule.reason}"
                )
        return None


def eps_of(runs: Sequence[Run]) -> Tensor:
    """Return the `batch_norm_eps` `[R]` of runs with BatchNorm."""
    import torch

    return torch.tensor([run.batch_norm_eps for run in runs])
