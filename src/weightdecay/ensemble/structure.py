"""Checks of a network before it is trained: its layers fit together, stand in a valid order, and agree with the row.

The compiled loops check no bounds, and torch broadcasts where shapes differ. So a network that does not fit is refused
here, once for all devices.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest

from weightdecay.ensemble.checks import require
from weightdecay.ensemble.layer import Layer
from weightdecay.errors import ConfigError
from weightdecay.registry import LAYERS, NETWORKS
from weightdecay.run import Run


def check_network(network: Layer, runs: Sequence[Run], inputs: int, outputs: int) -> None:
    """Raise ConfigError if the network cannot be trained on examples of these sizes, or does not agree with `runs`."""
    kinds = LAYERS.all()
    everything = list(_every(network, list(kinds.values()), set()))
    for layer in everything:
        layer.check()
    found = network.features_after(inputs)
    require(found == outputs, f"the network has {found} outputs, but the targets have {outputs}")
    check_order(network)
    for layer in everything:
        layer.check_runs(runs)
    there = {layer.setting for layer in everything}
    for kind in kinds.values():
        set_to = max((getattr(run, kind.setting) or 0 for run in runs), default=0) if kind.setting else 0
        absent = f"{kind.setting} is {set_to:g}, but the network has no {kind.__name__}"
        require(not set_to or kind.setting in there, absent)
    if runs[0].network in NETWORKS.names():  # of a user's own network nothing else is known
        _check_named(network, runs, inputs, outputs)


def _check_named(network: Layer, runs: Sequence[Run], inputs: int, outputs: int) -> None:
    """Raise ConfigError unless the network has the layers of the known network that the runs name.

    Layers whose setting is 0 in all runs, such as Dropout at a rate of 0, are not compared.
    """
    run = runs[0]  # all runs of a stack have the same shape
    idle = {layer.__name__ for layer in LAYERS.all().values() if not any(getattr(r, layer.setting, 1) for r in runs)}
    named, given = (
        [word for word in tree.words() if word not in idle]
        for tree in (NETWORKS.get(run.network).build(runs, inputs, outputs), network)
    )
    for theirs, ours in zip_longest(named, given, fillvalue="nothing"):
        require(
            theirs == ours,
            f"network is {run.network} of width {run.width} and {run.blocks} blocks, which has {theirs} where the "
            f"network handed over has {ours}: correct the row, or give your network a name of its own",
        )


def _every(layer: Layer, kinds: Sequence[type[Layer]], seen: set[Layer]) -> Iterator[Layer]:
    """Yield every layer of the tree, including containers; refuse unregistered layers and repeated ones.

    A user's subclass of a registered layer may initialise its weights in its own way, but must compute the same.
    """
    kind = next((kind for kind in kinds if isinstance(layer, kind)), None)
    own = kind and (type(layer).forward, type(layer).backward) == (kind.forward, kind.backward)
    require(
        bool(own),
        f"{type(layer).__name__} is not a layer that can be trained: build the network of "
        f"{', '.join(kind.__name__ for kind in kinds)} in weightdecay.ensemble.layers, or register your own",
    )
    require(layer not in seen, f"one {type(layer).__name__} stands in the network twice: make one for each place")
    seen.add(layer)
    yield layer
    for child in layer.children:
        yield from _every(child, kinds, seen)


def check_order(network: Layer) -> None:
    """Raise ConfigError if, in this order, a layer would overwrite values that another layer still needs."""

    def refuse(what: str) -> None:
        raise ConfigError(f"{what}: it would overwrite what is still needed. Let Linear or Conv1d stand between.")

    def walk(layer: Layer) -> tuple[Layer, Layer]:
        """Check the order within a layer; return the first and the last layer in it that computes activations."""
        if not layer.children:
            return layer, layer
        ends = [walk(child) for child in layer.children]
        for (_, before), (after, _) in pairwise(ends):
            needed = before.needs_output or (before.in_place and not after.in_place)
            if after.overwrites_input and needed:
                refuse(f"{type(after).__name__} stands directly after {type(before).__name__}")
        first, last = ends[0][0], ends[-1][1]
        if layer.adds_input and (last.in_place or last.needs_output):
            refuse(f"a {layer.name} body ends in {type(last).__name__}")
        if layer.adds_input and first.overwrites_input:
            refuse(f"a {layer.name} body begins with {type(first).__name__}")
        return first, last

    first, _ = walk(network)
    if first.overwrites_input:
        refuse(f"a network begins with {type(first).__name__}")
