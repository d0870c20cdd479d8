"""What a network must be before it is trained: layers that fit, in an order that works, and as its row says.

The compiled loops do not look at bounds, and torch broadcasts where shapes differ. So what does not fit is refused
here, once, for every device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise, zip_longest
from numbers import Integral

import torch
from torch import Tensor

from weightdecay.ensemble.checks import require
from weightdecay.ensemble.layers import BatchNorm, Conv1d, Dropout, Layer, Linear, ReLU, Residual, Sequential
from weightdecay.ensemble.networks import cnn, mlp, residual_mlp, scale_invariant_cnn, scale_invariant_mlp
from weightdecay.errors import ConfigError
from weightdecay.run import Run

KINDS = Sequential, Residual, ReLU, Dropout, Linear, BatchNorm, Conv1d  # what the compiled loops know
Builder = Callable[[Run, int, int, Tensor, bool], Layer]  # of inputs, outputs, eps, and whether it has Dropout
BUILDERS: dict[str, Builder] = {
    "residual_mlp": lambda run, inputs, outputs, eps, _: residual_mlp(
        inputs, outputs, run.width, run.blocks, None if run.batch_norm_eps is None else eps
    ),
    "mlp": lambda run, inputs, outputs, _, dropout: mlp(inputs, outputs, run.width, run.blocks, dropout),
    "cnn": lambda run, inputs, outputs, *_: cnn(inputs, outputs, run.width),
    "scale_invariant_mlp": lambda run, inputs, outputs, eps, _: scale_invariant_mlp(
        inputs, outputs, run.width, run.blocks, eps
    ),
    "scale_invariant_cnn": lambda run, inputs, outputs, eps, _: scale_invariant_cnn(inputs, outputs, run.width, eps),
}


def check_network(network: Layer, runs: Sequence[Run], inputs: int, outputs: int) -> None:
    """ConfigError for a network that cannot be trained on `inputs` and `outputs` numbers, or is not what `runs` say."""
    everything = list(_every(network, set()))
    for layer in everything:
        _check_sizes(layer)
    found = features_after(network, inputs)
    require(found == outputs, f"the network has {found} outputs, but the targets have {outputs}")
    check_order(network)
    norms = [layer for layer in everything if isinstance(layer, BatchNorm)]
    for norm in norms:
        _check_eps(norm.eps_values, len(runs))
    _check_row(network, runs, inputs, outputs, norms, any(isinstance(layer, Dropout) for layer in everything))


def _every(layer: Layer, seen: set[Layer]) -> Iterator[Layer]:
    """Every layer of the tree, containers too; refuses what is no layer of ours, and what stands there twice."""
    kind = next((kind for kind in KINDS if isinstance(layer, kind)), None)
    own = kind and (type(layer).forward, type(layer).backward) == (kind.forward, kind.backward)
    require(
        bool(own),
        f"{type(layer).__name__} is not a layer that can be trained: build the network of "
        f"{', '.join(kind.__name__ for kind in KINDS)} in weightdecay.ensemble.layers",
    )
    require(layer not in seen, f"one {kind.__name__} stands in the network twice: make one for each place")
    seen.add(layer)
    yield layer
    for child in layer.children:
        yield from _every(child, seen)


def _check_sizes(layer: Layer) -> None:
    """Sizes are whole numbers, and parameters have the shapes that the layer's operation takes."""
    name = type(layer).__name__
    match layer:
        case Sequential():
            require(len(layer.children) > 0, "Sequential has no layers")
            return
        case Linear():
            weight = layer.shapes.get("weight", ())
            require(len(weight) == 2 and weight[1] == layer.inputs, f"{name} has a weight of shape {tuple(weight)}")
            sizes, shapes = {"inputs": weight[1], "outputs": weight[0]}, {"weight": weight, "bias": weight[:1]}
        case Conv1d():
            sizes = {name: getattr(layer, name) for name in ("inputs", "outputs", "kernel", "stride")}
            shapes = {"weight": (layer.outputs, layer.kernel * layer.inputs), "bias": (layer.outputs,)}
            padding = layer.padding
            require(isinstance(padding, Integral) and padding >= 0, f"{name} has a padding of {padding!r}")
        case BatchNorm():
            sizes, vector = {"features": layer.features}, (layer.features,)
            shapes = {"weight": vector, "bias": vector}
            statistics = ("running_mean", "running_variance", "inverse_std")
            buffers = dict.fromkeys(statistics, vector) | {"eps": (1,)}
            require(dict(layer.buffers) == buffers and len(layer.shapes) == 2, f"{name} has other parameters than ours")
        case _:
            return
    for size, value in sizes.items():
        whole = isinstance(value, Integral) and not isinstance(value, bool) and value >= 1
        require(whole, f"{name} has {value!r} {size}, but must have a whole number of at least 1")
    unlike = {key: shape for key, shape in layer.shapes.items() if shape != shapes.get(key)}
    require("weight" in layer.shapes and not unlike, f"{name} has parameters of shapes {dict(layer.shapes)}")


def features_after(layer: Layer, inputs: int) -> int:
    """How many numbers an example has after `layer`, of `inputs` before it; ConfigError where they do not fit."""
    match layer:
        case Sequential():
            for child in layer.children:
                inputs = features_after(child, inputs)
            return inputs
        case Residual():
            outputs = features_after(layer.body, inputs)
            require(outputs == inputs, f"a residual body has {inputs} inputs, but {outputs} outputs")
            return outputs
        case Linear():
            require(layer.inputs == inputs, f"a linear layer of {layer.inputs} inputs stands after {inputs} features")
            return layer.shapes["weight"][0]
        case BatchNorm():
            own = layer.features
            require(inputs % own == 0, f"a batch normalisation of {own} features stands after {inputs}")
            return inputs
        case Conv1d():
            length, rest = divmod(inputs, layer.inputs)
            require(rest == 0, f"a convolution of {layer.inputs} channels stands after {inputs} features")
            padded = length + 2 * layer.padding
            require(padded >= layer.kernel, f"a convolution over {layer.kernel} positions stands after {padded}")
            return ((padded - layer.kernel) // layer.stride + 1) * layer.outputs
    return inputs  # ReLU, Dropout


def check_order(network: Layer) -> None:
    """ConfigError for layers in an order in which one would overwrite what another still needs."""

    def refuse(what: str) -> None:
        raise ConfigError(f"{what}: it would overwrite what is still needed. Let Linear or Conv1d stand between.")

    def walk(layer: Layer) -> tuple[Layer, Layer]:
        """The first and the last layer that works on activations."""
        if not layer.children:
            return layer, layer
        ends = [walk(child) for child in layer.children]
        for (_, before), (after, _) in pairwise(ends):
            if isinstance(before, ReLU | Dropout) and isinstance(after, BatchNorm):
                refuse(f"BatchNorm stands directly after {type(before).__name__}")
        first, last = ends[0][0], ends[-1][1]
        if isinstance(layer, Residual) and isinstance(last, ReLU | Dropout):
            refuse(f"a residual body ends in {type(last).__name__}")
        if isinstance(layer, Residual) and isinstance(first, ReLU | BatchNorm | Dropout):
            refuse(f"a residual body begins with {type(first).__name__}")
        return first, last

    first, _ = walk(network)
    if isinstance(first, ReLU | BatchNorm | Dropout):
        refuse(f"a network begins with {type(first).__name__}")


def _check_eps(eps: Tensor, replicas: int) -> None:
    kind = isinstance(eps, Tensor) and eps.is_floating_point() and not eps.is_meta
    require(kind, f"BatchNorm has an eps of {_kind_of(eps)}, but must have a tensor of floats [R], one a run")
    require(
        eps.shape == (replicas,),
        f"BatchNorm has eps of shape {tuple(eps.shape)}, but must have one for each of {replicas} runs",
    )


def _check_row(
    network: Layer, runs: Sequence[Run], inputs: int, outputs: int, norms: Sequence[BatchNorm], dropout: bool
) -> None:
    """What the results will say of the network is what it is."""
    run = runs[0]  # a stack's runs agree in all but the numbers below
    eps = run.batch_norm_eps
    require(eps is None or norms, f"batch_norm_eps is {eps}, but the network has no BatchNorm")
    require(eps is not None or not norms, "batch_norm_eps is None, but the network has BatchNorm")
    for norm in norms:
        for row, value in zip(runs, norm.eps_values.tolist(), strict=True):
            said = row.batch_norm_eps
            require(abs(value - said) <= 1e-6 * said, f"batch_norm_eps is {said}, but the network has {value:g}")
    rate = max(row.dropout for row in runs)
    require(not rate or dropout, f"dropout is {rate:g}, but the network has no Dropout")
    if run.network not in BUILDERS:  # one of the user's own, of which nothing else is known
        return
    named = BUILDERS[run.network](run, inputs, outputs, torch.ones(1, dtype=torch.float32, device="cpu"), dropout)
    for theirs, ours in zip_longest(_words(named), _words(network), fillvalue="nothing"):
        require(
            theirs == ours,
            f"network is {run.network} of width {run.width} and {run.blocks} blocks, which has {theirs} where the "
            f"network handed over has {ours}: correct the row, or give your network a name of its own",
        )


def _words(layer: Layer) -> Iterator[str]:
    """The network's operations, one after another."""
    kind = "" if layer.trained else "untrained "
    match layer:
        case Sequential():
            for child in layer.children:
                yield from _words(child)
        case Residual():
            yield "the beginning of a residual body"
            yield from _words(layer.body)
            yield "the end of a residual body"
        case Linear():
            outputs, inputs = layer.shapes["weight"]
            yield f"{kind}Linear({inputs}, {outputs}){_without_bias(layer)}"
        case Conv1d():
            shape = f"{layer.inputs}, {layer.outputs}, {layer.kernel}, {layer.stride}, {layer.padding}"
            yield f"{kind}Conv1d({shape}){_without_bias(layer)}"
        case BatchNorm():
            yield f"{kind}BatchNorm({layer.features})"
        case _:
            yield type(layer).__name__


def _without_bias(layer: Layer) -> str:
    return "" if "bias" in layer.shapes else " without bias"


def _kind_of(value: object) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__
