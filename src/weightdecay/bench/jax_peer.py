"""The peer written in JAX: one network's step, vectorised over replicas, scanned over steps, compiled as one program.

Semantics are those of our layers and `torch.optim`: BatchNorm keeps running statistics, AdamW and SGD are written out.
The convolution is a product over its windows: `lax.conv_general_dilated` becomes a grouped convolution under `vmap`,
which takes four times as long on a CPU. Needs the optional packages (`pip install --editable .[peers]`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch

from weightdecay.bench.cases import Case, batches, initial_network
from weightdecay.bench.floor import flops
from weightdecay.bench.torch_peers import CHECKED_STEPS
from weightdecay.ensemble import layers
from weightdecay.ensemble.layer import Layer
from weightdecay.ensemble.layers.batch_norm import MOMENTUM
from weightdecay.ensemble.stack import leaves
from weightdecay.errors import ConfigError
from weightdecay.run import Run

CALL_FLOPS = 2e9  # of one call, about 20 ms of one core, so that the cost of calling does not count
SHORTEST_SCAN, LONGEST_SCAN = 10, 1000
Tree = dict[int, dict[str, jax.Array]]  # arrays of every layer
Slots = dict[str, Tree]
Update = Callable[[Run, jax.Array, Tree, Tree, Slots], tuple[Tree, Slots]]


class Jax:
    """A contestant as in `torch_peers`; `precision` is that of the matrix products, None for JAX's own default."""

    def __init__(self, case: Case, replicas: int, device: torch.device, precision: str | None = "highest"):
        jax.config.update("jax_default_matmul_precision", precision)
        self.run, self.replicas = case.run, replicas
        decays, self.update = UPDATES.get(case.run.optimizer, ((), _sgd))  # an unknown optimiser has no decay here
        if case.run.decay not in decays or case.run.loss not in OBJECTIVES:
            about = f"loss {case.run.loss}, optimizer {case.run.optimizer} and decay {case.run.decay}"
            raise ConfigError(f"the JAX peer has no {about} together: write them there.")
        self.objective = OBJECTIVES[case.run.loss]
        self.device = jax.devices("gpu" if device.type == "cuda" else "cpu")[0]
        self.unit = int(min(max(CALL_FLOPS / (flops(case) * replicas), SHORTEST_SCAN), LONGEST_SCAN))
        self.network = initial_network(case, replicas)
        self.index = {layer: index for index, layer in enumerate(leaves(self.network))}
        put = partial(jax.device_put, device=self.device)
        self.frozen: Tree = {}
        trained: Tree = {}
        statistics: Tree = {}
        for layer, index in self.index.items():
            values = {name: put(_array(getattr(layer, name))) for name in layer.shapes}
            if isinstance(layer, layers.BatchNorm):
                statistics[index] = {"mean": jnp.zeros_like(values["bias"]), "variance": jnp.ones_like(values["bias"])}
            (trained if layer.trained else self.frozen)[index] = values
        slots = ("first", "second") if self.run.optimizer == "adam" else ("momentum",) if self.run.momentum else ()
        state = {
            "trained": trained,
            "statistics": statistics,
            "slots": {name: jax.tree.map(jnp.zeros_like, trained) for name in slots},
        }
        self.carry = put((state, jnp.int32(0), jnp.zeros(replicas), jnp.zeros(replicas)))
        parts = (np.stack([part.numpy() for part in each]) for each in zip(*batches(case), strict=True))
        self.batches = [put(np.repeat(part[:, None], replicas, axis=1)) for part in parts]  # [steps, R, B, ...]
        self.program = jax.jit(self._scan, donate_argnums=0)

    def first_steps(self) -> float:
        losses: list[float] = []  # of every step
        while len(losses) < CHECKED_STEPS:
            self.carry, more = self.program(self.carry, self.batches)
            losses += more[:, 0].tolist()
        return losses[CHECKED_STEPS - 1]

    def train(self, steps: int) -> None:
        for _ in range(steps // self.unit):
            self.carry, losses = self.program(self.carry, self.batches)
        losses.block_until_ready()

    def _scan(self, carry: Any, parts: list[jax.Array]) -> tuple[Any, jax.Array]:
        """Do `unit` steps; return the new state and the losses `[unit, R]`."""
        step_of_all = jax.vmap(self._step, in_axes=(0, None, 0, 0, 0))

        def body(carry: Any, _: None) -> tuple[Any, jax.Array]:
            state, step, loss_sum, correct_sum = carry
            inputs, targets = (part[step % len(part)] for part in parts)
            state, loss, correct = step_of_all(state, step, inputs, targets, self.frozen)
            return (state, step + 1, loss_sum + loss, correct_sum + correct), loss

        return jax.lax.scan(body, carry, length=self.unit)

    def _step(
        self, state: dict[str, Any], step: jax.Array, inputs: jax.Array, targets: jax.Array, frozen: Tree
    ) -> tuple[dict[str, Any], jax.Array, jax.Array]:
        """Do one step of one replica; return its new state, its loss and its number of right examples."""

        def loss_of(trained: Tree) -> tuple[jax.Array, tuple[Tree, jax.Array]]:
            statistics: Tree = {}
            outputs = self._apply(self.network, {**trained, **frozen}, state["statistics"], statistics, inputs)
            loss, correct = self.objective(outputs, targets)
            return loss, (statistics, correct)

        (loss, (statistics, correct)), gradients = jax.value_and_grad(loss_of, has_aux=True)(state["trained"])
        trained, slots = self.update(self.run, step + 1, state["trained"], gradients, state["slots"])
        return {"trained": trained, "statistics": statistics, "slots": slots}, loss, correct

    def _apply(self, layer: Layer, parameters: Tree, before: Tree, after: Tree, x: jax.Array) -> jax.Array:
        """Return the layer's output. `before` holds the running statistics; the updated ones are put into `after`."""
        if isinstance(layer, layers.Sequential):
            for child in layer.children:
                x = self._apply(child, parameters, before, after, x)
            return x
        if isinstance(layer, layers.Residual):
            return x + self._apply(layer.body, parameters, before, after, x)
        if isinstance(layer, layers.ReLU):
            return jax.nn.relu(x)
        index = self.index[layer]
        own = parameters[index]
        if isinstance(layer, layers.BatchNorm):
            mean, variance = x.mean(0), x.var(0)
            unbiased = variance * (len(x) / (len(x) - 1))
            after[index] = jax.tree.map(
                lambda old, new: old + MOMENTUM * (new - old),
                before[index],
                {"mean": mean, "variance": unbiased},
            )
            normalised = (x - mean) * jax.lax.rsqrt(variance + float(layer.eps[0]))
            return normalised * own["weight"] + own["bias"] if layer.trained else normalised
        if isinstance(layer, layers.Conv1d):
            x = jnp.pad(x.reshape(len(x), -1, layer.inputs), ((0, 0), (layer.padding, layer.padding), (0, 0)))
            starts = jnp.arange(0, x.shape[1] - layer.kernel + 1, layer.stride)
            windows = x[:, starts[:, None] + jnp.arange(layer.kernel)]  # [B, positions, kernel, inputs]
            windows = windows.reshape(len(x), len(starts), -1)
            return (windows @ own["weight"].T + own["bias"]).reshape(len(x), -1)
        x = x @ own["weight"].T
        return x + own["bias"] if "bias" in own else x


def _cross_entropy(outputs: jax.Array, classes: jax.Array) -> tuple[jax.Array, jax.Array]:
    loss = -(jax.nn.log_softmax(outputs) * jax.nn.one_hot(classes, outputs.shape[1])).sum() / len(outputs)
    return loss, (outputs.argmax(1) == classes).sum()


def _sigmoid_squared_error(outputs: jax.Array, targets: jax.Array) -> tuple[jax.Array, jax.Array]:
    outputs = jax.nn.sigmoid(outputs)
    return ((outputs - targets) ** 2).mean(), ((outputs > 0.5) == (targets > 0.5)).all(1).sum()


# Each returns the loss and the number of right examples of one replica, from outputs `[B, K]` and the targets that the
# literal loss takes.
OBJECTIVES = {"cross_entropy": _cross_entropy, "sigmoid_squared_error": _sigmoid_squared_error}


def _sgd(run: Run, step: jax.Array, trained: Tree, gradients: Tree, slots: Slots) -> tuple[Tree, Slots]:
    """Do a step of SGD with the L2 penalty in the gradient."""
    tree = jax.tree.map
    gradients = tree(lambda g, w: g + run.weight_decay * w, gradients, trained)
    if run.momentum:
        gradients = tree(lambda b, g: run.momentum * b + g, slots["momentum"], gradients)
        slots = {"momentum": gradients}
    return tree(lambda w, g: w - run.learning_rate * g, trained, gradients), slots


def _adam(run: Run, step: jax.Array, trained: Tree, gradients: Tree, slots: Slots) -> tuple[Tree, Slots]:
    """Do a step of AdamW, as `torch.optim.AdamW` does."""
    tree = jax.tree.map
    first = tree(lambda m, g: run.beta1 * m + (1 - run.beta1) * g, slots["first"], gradients)
    second = tree(lambda v, g: run.beta2 * v + (1 - run.beta2) * g * g, slots["second"], gradients)
    scale = run.learning_rate / (1 - jnp.exp(step * math.log(run.beta1)))
    root = jax.lax.rsqrt(1 - jnp.exp(step * math.log(run.beta2)))
    kept = 1 - run.learning_rate * run.weight_decay
    trained = tree(lambda w, m, v: kept * w - scale * m / (jnp.sqrt(v) * root + run.eps), trained, first, second)
    return trained, {"first": first, "second": second}


# For each optimiser the kinds of decay that are implemented here, and its update.
UPDATES: dict[str, tuple[tuple[str, ...], Update]] = {
    "sgd": (("l2", "none"), _sgd),
    "adam": (("decoupled", "none"), _adam),
}


def _array(tensor: torch.Tensor) -> np.ndarray:
    return np.ascontiguousarray(tensor.numpy())
