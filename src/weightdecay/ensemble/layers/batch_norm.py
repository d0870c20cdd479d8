"""Batch normalisation (Ioffe & Szegedy 2015)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from weightdecay.ensemble import backend
from weightdecay.ensemble.arithmetic import total_of
from weightdecay.ensemble.checks import require
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.layer import DRAWN, Moment, Span, Weighted, filled, gradients_of, parameters_of
from weightdecay.ensemble.operations import Operations
from weightdecay.registry import LAYERS
from weightdecay.run import Run

MOMENTUM = 0.1  # of the running statistics, as in torch.nn.BatchNorm1d


@compiled
def normalise(x, weight, bias, eps, running_mean, running_variance, inverse_std, y):
    """Normalise H features at P positions; all arrays are written in place.

    `x` `[P · H, B]` becomes x − mean, with the mean over positions and batch. The output goes to `y`, of the same
    shape, and 1/σ to `inverse_std` `[H]`. The running statistics are updated. Rows are taken by index, because
    iterating over `x[h::features]` takes four times as long.
    """
    number, features = x.dtype.type, inverse_std.size
    one, count, rate = number(1), number(x.size // features), number(MOMENTUM)
    for h in range(features):
        total = square = number(0)
        for p in range(h, x.shape[0], features):
            total += total_of(x[p])
        mean = total / count
        for p in range(h, x.shape[0], features):
            row = x[p]
            for b in range(row.size):
                centred = row[b] - mean
                row[b] = centred
                square += centred * centred
        inverse_std[h] = one / math.sqrt(square / count + eps)
        scale, shift = weight[h] * inverse_std[h], bias[h]
        for p in range(h, x.shape[0], features):
            row, out = x[p], y[p]
            for b in range(row.size):
                out[b] = row[b] * scale + shift
        running_mean[h] += rate * (mean - running_mean[h])
        running_variance[h] += rate * (square / (count - one) - running_variance[h])


@compiled
def normalise_by_running(x, weight, bias, eps, running_mean, running_variance, y):
    """Write to `y` `[P · H, B]` the output for `x` by the running statistics `[H]`."""
    for p in range(x.shape[0]):
        row, out, h = x[p], y[p], p % running_mean.size
        scale = weight[h] / math.sqrt(running_variance[h] + eps)
        shift = bias[h] - running_mean[h] * scale
        for b in range(row.size):
            out[b] = row[b] * scale + shift


@compiled
def normalise_gradients(gradient, centred, weight, inverse_std, weight_gradient, bias_gradient, input_gradient):
    """Write the gradients: dx = γ/σ · (dy − mean(dy) − x̂ · mean(dy·x̂)), without forming x̂ = centred/σ.

    Activations are `[P · H, B]`, parameters and `inverse_std` `[H]`.
    """
    number, features = centred.dtype.type, inverse_std.size
    count = number(centred.size // features)
    for h in range(features):
        total = product = number(0)
        for p in range(h, centred.shape[0], features):
            upstream, row = gradient[p], centred[p]
            for b in range(row.size):
                total += upstream[b]
                product += upstream[b] * row[b]
        inverse = inverse_std[h]
        if bias_gradient.size:
            bias_gradient[h], weight_gradient[h] = total, product * inverse
        scale = weight[h] * inverse
        shift, slope = scale * total / count, scale * product * inverse * inverse / count
        for p in range(h, centred.shape[0], features):
            upstream, row, out = gradient[p], centred[p], input_gradient[p]
            for b in range(row.size):
                out[b] = upstream[b] * scale - shift - row[b] * slope


@LAYERS.register
class BatchNorm(Weighted):
    """Batch normalisation, each replica with its own eps and running statistics.

    Activations are `[R, B, positions · features]`, with one position unless a convolution comes before. Statistics are
    over batch and positions. Conventions are those of `torch.nn.BatchNorm1d`: the biased variance normalises the batch,
    the unbiased variance enters the running average, and momentum is 0.1.
    """

    name = "batch_norm"
    overwrites_input = True
    normalises = True
    setting = "batch_norm_eps"
    bias: Tensor
    weight_gradient: Tensor
    bias_gradient: Tensor
    fields = (
        *Weighted.fields,
        "running_mean",
        "running_variance",
        "eps",
        "inverse_std",
    )  # offsets in the row of buffers

    def __init__(self, features: int, eps: Tensor, affine: bool = True):
        """`eps` `[R]` is added to the variance. Without `affine` the scale stays 1 and the shift 0."""
        self.features, self.trained, self.eps_values = features, affine, eps
        self.shapes = {"weight": (features,), "bias": (features,)}
        self.buffers = {"running_mean": (features,), "running_variance": (features,), "eps": (1,)}
        self.buffers |= {"inverse_std": (features,)}  # of the last batch

    def check(self) -> None:
        vector = (self.features,)
        buffers = dict.fromkeys(("running_mean", "running_variance", "inverse_std"), vector) | {"eps": (1,)}
        known = dict(self.buffers) == buffers and len(self.shapes) == 2
        require(known, f"{type(self).__name__} has other parameters than ours")
        self.check_parameters({"features": self.features}, weight=vector, bias=vector)

    def check_runs(self, runs: Sequence[Run]) -> None:
        eps, replicas = self.eps_values, len(runs)
        kind = isinstance(eps, Tensor) and eps.is_floating_point() and not eps.is_meta
        found = eps.dtype if isinstance(eps, Tensor) else type(eps).__name__
        require(kind, f"BatchNorm has an eps of {found}, but must have a tensor of floats [R], one a run")
        shape = f"BatchNorm has eps of shape {tuple(eps.shape)}, but must have one for each of {replicas} runs"
        require(eps.shape == (replicas,), shape)
        for run, value in zip(runs, eps.tolist(), strict=True):
            said = run.batch_norm_eps or 0.0
            require(said, "batch_norm_eps is None, but the network has BatchNorm")
            require(abs(value - said) <= 1e-6 * said, f"batch_norm_eps is {said}, but the network has {value:g}")
        single = "batch_size is 1, but BatchNorm needs at least 2 examples to have a variance"
        require(runs[0].batch_size > 1, single)

    def features_after(self, inputs: int) -> int:
        own = self.features
        require(inputs % own == 0, f"a batch normalisation of {own} features stands after {inputs}")
        return inputs

    def words(self) -> Iterator[str]:
        yield f"{'' if self.trained else 'untrained '}BatchNorm({self.features})"

    def initialise(self, generator: torch.Generator) -> dict[str, Tensor]:
        weight, bias = (torch.full((self.features,), start, **DRAWN) for start in (1.0, 0.0))
        return {"weight": weight, "bias": bias}

    def bind(self, tensors: dict[str, Tensor], gradients: dict[str, Tensor], number: int) -> None:
        unused = torch.empty_like(tensors["weight"])  # receives gradients that nobody needs
        super().bind(tensors, gradients if self.trained else {"weight": unused, "bias": unused}, number)
        self.running_mean, self.running_variance = tensors["running_mean"], tensors["running_variance"]
        self.running_variance.fill_(1)
        self.inverse_std = tensors["inverse_std"]
        self.eps = tensors["eps"].copy_(self.eps_values[:, None])
        self.fused = backend.triton_kernels(self.name, self.weight.device)

    def forward(self, x: Tensor, moment: Moment) -> Tensor:
        return self._forward(x.view(len(x), -1, self.features), moment.training).view(x.shape)

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor:
        return self._backward(gradient.reshape(self.centred.shape)).view(gradient.shape)

    def _forward(self, x: Tensor, training: bool) -> Tensor:
        """Return the output for `x` `[R, N, features]`, where N counts examples times positions."""
        if not training:
            scale = self.weight * (self.running_variance + self.eps).rsqrt()
            shift = self.bias - self.running_mean * scale
            return torch.addcmul(shift[:, None], x, scale[:, None])
        if self.fused is not None:
            self.centred = x
            statistics = self.running_mean, self.running_variance, self.inverse_std
            return self.fused.forward(x, self.weight, self.bias, self.eps, MOMENTUM, *statistics, torch.empty_like(x))
        batch = x.shape[1]
        mean = x.mean(1)
        self.centred = x.sub_(mean[:, None])
        variance = x.square().mean(1)
        torch.rsqrt(variance + self.eps, out=self.inverse_std)
        self.running_mean.lerp_(mean, MOMENTUM)
        self.running_variance.lerp_(variance * (batch / (batch - 1)), MOMENTUM)
        return torch.addcmul(self.bias[:, None], x, (self.weight * self.inverse_std)[:, None])

    def _backward(self, gradient: Tensor) -> Tensor:
        """Return dx = γ/σ · (dy − mean(dy) − x̂ · mean(dy·x̂)), without forming x̂ = centred/σ."""
        if self.fused is not None:
            arrays = self.weight, self.inverse_std, self.weight_gradient, self.bias_gradient
            return self.fused.backward(gradient, self.centred, *arrays)
        total, product = gradient.sum(1), (gradient * self.centred).sum(1) * self.inverse_std
        self.bias_gradient.copy_(total)
        self.weight_gradient.copy_(product)
        scale = self.weight * self.inverse_std
        share = scale / -gradient.shape[1]
        result = torch.addcmul((share * total)[:, None], gradient, scale[:, None])
        return result.addcmul_(self.centred, (share * self.inverse_std * product)[:, None])

    def lay_out(self, operations: Operations, x: int, inputs: int) -> tuple[int, int]:
        y = operations.new_rows(inputs)
        operations.append(self, x, inputs, y, inputs, **operations.parameters(self), **operations.buffers(self))
        return y, inputs

    @classmethod
    def spans(cls, op: Mapping[str, int]) -> Iterator[Span]:
        yield from super().spans(op)
        for name in ("running_mean", "running_variance", "inverse_std"):
            yield "buffers", op[name], op["weights"]
        yield "buffers", op["eps"], 1

    @classmethod
    def fits(cls, op: Mapping[str, int]) -> bool:
        whole = op["inputs"] == op["outputs"] and op["inputs"] % op["weights"] == 0
        return whole and op["biases"] == op["weights"]

    @staticmethod
    @compiled
    def forward_loop(op, x, y, replica, moment):
        weight, bias = parameters_of(op, replica)
        eps = replica.buffers[op.eps]
        mean = replica.buffers[op.running_mean : op.running_mean + op.weights]
        variance = replica.buffers[op.running_variance : op.running_variance + op.weights]
        if moment.training:
            inverse_std = replica.buffers[op.inverse_std : op.inverse_std + op.weights]
            normalise(x, weight, bias, eps, mean, variance, inverse_std, y)
        else:
            normalise_by_running(x, weight, bias, eps, mean, variance, y)

    @staticmethod
    @compiled
    def backward_loop(op, x, gradient, input_gradient, replica, moment):
        weight, _ = parameters_of(op, replica)
        weight_gradient, bias_gradient = gradients_of(op, replica)
        inverse_std = replica.buffers[op.inverse_std : op.inverse_std + op.weights]
        normalise_gradients(gradient, x, weight, inverse_std, weight_gradient, bias_gradient, input_gradient)

    def literal(self, replica: int, channels: int, run: Run) -> tuple[list[nn.Module], int]:
        values = {"running_mean": self.running_mean[replica], "running_var": self.running_variance[replica]}
        if self.trained:
            values |= {"weight": self.weight[replica], "bias": self.bias[replica]}
        module = nn.BatchNorm1d(self.features, float(self.eps[replica]), MOMENTUM, affine=self.trained)
        return [filled(module, True, **values)], channels
