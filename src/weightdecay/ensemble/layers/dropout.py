"""Dropout. Its factors come from the counter-based generator `philox`, so they are bitwise equal on every device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from weightdecay.ensemble import backend
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.layer import Layer, Moment, Span
from weightdecay.ensemble.operations import Operations
from weightdecay.ensemble.philox import DROPOUT_LEVELS, MULTIPLIERS, ROUNDS, WEYL, WORD, philox, words_of
from weightdecay.registry import LAYERS
from weightdecay.run import Run

# All are unsigned: Numba makes a float of a signed and an unsigned integer.
FIRST, SECOND, LOW, HIGH = map(np.uint64, (*MULTIPLIERS, *WEYL))
MASK, WORD_BITS, LEVEL_BITS = np.uint64(WORD), np.uint64(32), np.uint64(8)


def factors(words: Tensor, step: Tensor, layer: int, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Return the factors at one step, 0 or 1/(1 − p), for activations of `shape` = `[R, B, H]`.

    `step` `[1]` counts from 0 and lies on the device of `words` `[R, 3]` (`philox.words_of`). Four features share a
    counter: (example, feature // 4, step, layer).
    """
    low, high, dropped = words.T[:, :, None, None]
    _, batch, features = shape
    examples = torch.arange(batch, device=words.device)[:, None]
    groups = torch.arange(-(-features // 4), device=words.device)
    numbers = philox((examples, groups, step, torch.full_like(step, layer)), (low, high))
    levels = torch.stack(torch.broadcast_tensors(*numbers), -1).flatten(2)[:, :, :features] >> 8  # 24 bits
    kept = torch.div(DROPOUT_LEVELS - dropped, torch.full_like(dropped, DROPOUT_LEVELS, dtype=dtype))
    return kept.reciprocal_().expand(shape).masked_fill(levels < dropped, 0.0)


@compiled
def write_factors(words, step, layer, out):
    """Write the factors of one run, whose words are `words` `[3]`, to `out` `[H, B]`; H is a multiple of four."""
    number = out.dtype.type
    dropped = words[2]
    zero, scale = number(0), number(1) / (number(DROPOUT_LEVELS - np.int64(dropped)) / number(DROPOUT_LEVELS))
    for group in range(out.shape[0] // 4):
        rows = out[4 * group : 4 * group + 4]
        for example in range(out.shape[1]):
            a, b, c, d = np.uint64(example), np.uint64(group), np.uint64(step), np.uint64(layer)
            low, high = words[0], words[1]
            for _ in range(ROUNDS):
                first, second = a * FIRST, c * SECOND
                a, b = (second >> WORD_BITS) ^ b ^ low, second & MASK
                c, d = (first >> WORD_BITS) ^ d ^ high, first & MASK
                low, high = (low + LOW) & MASK, (high + HIGH) & MASK
            rows[0, example] = zero if (a >> LEVEL_BITS) < dropped else scale
            rows[1, example] = zero if (b >> LEVEL_BITS) < dropped else scale
            rows[2, example] = zero if (c >> LEVEL_BITS) < dropped else scale
            rows[3, example] = zero if (d >> LEVEL_BITS) < dropped else scale


@LAYERS.register
class Dropout(Layer):
    """Inverted dropout, as `torch.nn.Dropout`: x · 0 or x / (1 − p) in training, where p is the run's `dropout`.

    It may overwrite the output of a ReLU before it. The ReLU passes no gradient where its output is zero, and dropout
    passes none where it has written zero.
    """

    name = "dropout"
    overwrites_input = in_place = True
    setting = "dropout"
    fields = ("factors", "number")  # first row of its factors; its index among the dropouts

    def bind(self, tensors: dict[str, Tensor], gradients: dict[str, Tensor], number: int) -> None:
        self.number = number

    def forward(self, x: Tensor, moment: Moment) -> Tensor:
        if not moment.training:
            return x
        kernels = backend.triton_kernels(self.name, x.device)
        if kernels is not None:
            self.factors = kernels.forward(x, moment.words, moment.step, self.number)
            return x
        self.factors = factors(moment.words, moment.step, self.number, x.shape, x.dtype)
        return x.mul_(self.factors)

    def backward(self, gradient: Tensor, input_gradient: bool = True) -> Tensor:
        return gradient * self.factors

    def lay_out(self, operations: Operations, x: int, inputs: int) -> tuple[int, int]:
        place = operations.new_rows(-(-inputs // 4) * 4)
        operations.append(self, x, inputs, x, inputs, factors=place, number=self.number)
        return x, inputs

    @classmethod
    def spans(cls, op: Mapping[str, int]) -> Iterator[Span]:
        yield "activations", op["factors"], -(-op["inputs"] // 4) * 4

    @staticmethod
    @compiled
    def forward_loop(op, x, y, replica, moment):
        if moment.training and moment.words[2] > 0:
            rows = replica.activations[op.factors : op.factors + (op.inputs + 3) // 4 * 4]
            write_factors(moment.words, moment.step, op.number, rows)
            y *= rows[: op.inputs]

    @staticmethod
    @compiled
    def backward_loop(op, x, gradient, input_gradient, replica, moment):
        if moment.words[2] > 0:
            gradient *= replica.activations[op.factors : op.factors + op.inputs]

    def literal(self, replica: int, channels: int, run: Run) -> tuple[list[nn.Module], int]:
        return [LiteralDropout(run, self.number)], channels


class LiteralDropout(nn.Module):
    """The dropout of one run. It counts the batches of training, as the factors depend on the step."""

    def __init__(self, run: Run, number: int):
        super().__init__()
        self.words, self.number, self.step = words_of([run], torch.device("cpu")), number, 0

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        self.step += 1
        position, shape = torch.tensor([self.step - 1]), torch.Size((1, *x.shape))
        return x * factors(self.words, position, self.number, shape, x.dtype)[0]
