"""What is known of a network by its name: how it is built, which settings it cannot have, and what it costs.

Nothing here needs torch, nor do the files of `networks` before a network is built: configurations are checked first.
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
    """One setting of a run that a network restricts: `field` must be `allowed`, as the network is `reason`."""

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

    `build`: `(runs, inputs, outputs)` to the tree of layers that these runs of one stack have. `weights`: of a run, the
    weights that an example meets, which its time on a CPU goes with; a convolution's count once a position, and twice
    for the smaller products. `positions`: of the first layer's activations, each with `width` numbers.
    """

    name: str
    build: Callable[[Sequence[Run], int, int], Layer]
    rules: tuple[Rule, ...]
    weights: Callable[[Run], int]
    positions: int = 1

    def broken_rule(self, run: Run) -> str | None:
        """Say in words which setting of the run this network cannot have; None if it can have all."""
        for rule in self.rules:
            value = getattr(run, rule.field)
            if not rule.holds(value):
                return (
                    f"{rule.field} is {value!r}, but must be {rule.allowed} where network is {self.name}, {rule.reason}"
                )
        return None


def eps_of(runs: Sequence[Run]) -> Tensor:
    """Return `batch_norm_eps` of runs that have BatchNorm, `[R]`."""
    import torch

    return torch.tensor([run.batch_norm_eps for run in runs])
