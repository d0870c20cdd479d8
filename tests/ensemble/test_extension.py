"""A layer, a loss and an optimiser of one's own: one class each, trained on both programs as their literal forms are.

They stand in a module outside the package, as a stranger's would, and are registered at run time.
"""

import importlib.util

import pytest
import torch

from tests.ensemble.runs import make, program, relative_error, splits
from weightdecay import registry
from weightdecay.ensemble import backend, layers, literal
from weightdecay.ensemble.gpu import GpuProgram
from weightdecay.ensemble.program import program_of
from weightdecay.ensemble.state import Ensemble, Protocol

MODULE = '''
import math
import torch
from torch import nn
from weightdecay.ensemble.arithmetic import clamped, sign
from weightdecay.ensemble.compiler import compiled
from weightdecay.ensemble.layer import Layer
from weightdecay.ensemble.loss import Pointwise, none_right
from weightdecay.ensemble.optimizer import Optimizer
from weightdecay.registry import LAYERS, LOSSES, OPTIMIZERS


@LAYERS.register
class Tanh(Layer):
    """The hyperbolic tangent."""

    name = "tanh"
    needs_output = True

    def forward(self, x, moment):
        self.y = x.tanh()
        return self.y

    def backward(self, gradient, input_gradient=True):
        return gradient * (1 - self.y.square())

    def lay_out(self, operations, x, inputs):
        y = operations.new_rows(inputs)
        operations.append(self, x, inputs, y, inputs)
        return y, inputs

    @staticmethod
    @compiled
    def forward_loop(op, x, y, replica, moment):
        for i in range(x.shape[0]):
            for b in range(x.shape[1]):
                y[i, b] = math.tanh(x[i, b])

    @staticmethod
    @compiled
    def backward_loop(op, x, gradient, input_gradient, replica, moment):
        one, y = x.dtype.type(1), replica.activations[op.y : op.y + op.outputs]
        for i in range(input_gradient.shape[0]):
            for b in range(y.shape[1]):
                input_gradient[i, b] = gradient[i, b] * (one - y[i, b] * y[i, b])

    def literal(self, replica, channels, run):
        return [nn.Tanh()], channels


@LOSSES.register
class Huber(Pointwise):
    """Huber's loss with a kink at 2."""

    name = "huber"

    @staticmethod
    def formula(error, number):
        slope = clamped(error, number(2))
        return slope * (error - number(0.5) * slope), slope

    @staticmethod
    def literal(outputs, targets):
        value = nn.functional.huber_loss(outputs, targets, delta=2.0) * targets.shape[1]
        return value, none_right(outputs).sum()


@OPTIMIZERS.register
class Lion(Optimizer):
    """Lion (Chen et al. 2023)."""

    name = "lion"
    settings = ("beta1", "beta2")
    slot_names = ("average",)
    coefficient_names = ("rate", "beta1", "rest1", "beta2", "rest2")

    @staticmethod
    def move(gradient, average, rate, beta1, rest1, beta2, rest2):
        direction = sign(beta1 * average + rest1 * gradient)
        return rate * direction, beta2 * average + rest2 * gradient

    def own_coefficients(self, rate, steps):
        beta1, beta2 = self.constants["beta1"], self.constants["beta2"]
        return [rate, beta1, 1 - beta1, beta2, 1 - beta2]

    @classmethod
    def literal(cls, groups, run, **options):
        return LiteralLion(groups, {"lr": run.learning_rate, "betas": (run.beta1, run.beta2)})


class LiteralLion(torch.optim.Optimizer):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                average = self.state[p].setdefault("average", torch.zeros_like(p))
                p.sub_(group["lr"] * torch.sign(beta1 * average + (1 - beta1) * p.grad))
                average.mul_(beta2).add_((1 - beta2) * p.grad)
'''


@pytest.fixture(scope="module")
def extension(tmp_path_factory):
    """The module, registered while these tests run; of what ships only what they use, so that compiling is quick."""
    path = tmp_path_factory.mktemp("own") / "extension.py"
    path.write_text(MODULE)
    used = {"LAYERS": {"linear", "sequential", "dropout"}, "LOSSES": {"squared_error"}, "OPTIMIZERS": {"sgd"}}
    with pytest.MonkeyPatch.context() as patch:
        for name, kept in used.items():
            known: registry.Registry = getattr(registry, name)
            patch.setattr(known, "files", {stem: known.files[stem] for stem in sorted(kept)})
            patch.setattr(known, "known", {stem: known.get(stem) for stem in sorted(kept)})
        spec = importlib.util.spec_from_file_location("extension", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def test_the_layer_the_loss_and_the_optimiser_train_as_their_literal_forms_do(extension):
    """Over 40 steps in float64, by the CPU's loops and by the GPU's program on CPU tensors."""

    def network(_):
        return layers.Sequential(
            *(layers.Linear(40, 7), extension.Tanh(), layers.Linear(7, 7), extension.Tanh(), layers.Linear(7, 10))
        )

    protocol = Protocol(splits, network)
    settings = {"dataset": "classes", "network": "own", "loss": "huber", "optimizer": "lion", "eps": 1e-8}
    settings |= {"batch_norm_eps": None, "learning_rate": 0.01, "beta1": 0.9, "beta2": 0.99, "shuffle": True}
    decays = {"decoupled": 0.1, "l2": 0.01, "elastic_net": 0.1}
    for decay, λ in decays.items():
        run = make(**settings, decay=decay, weight_decay=λ, steps=40)
        module, losses = literal.train(run, protocol, torch.float64)
        expected = torch.nn.utils.parameters_to_vector(module.parameters())
        assert losses[-1] < losses[0]
        for kind in (program_of, GpuProgram):
            with backend.arithmetic(torch.device("cpu")):
                made = program([run], torch.float64, protocol, kind)
                made.advance(40)
            ours = literal.module_of(made.ensemble.stack.network, 0, run)
            assert relative_error(torch.nn.utils.parameters_to_vector(ours.parameters()), expected) <= 1e-9


def test_what_would_overwrite_the_layer_s_output_is_refused(extension):
    run = make(
        dataset="classes", network="own", loss="squared_error", optimizer="sgd", batch_norm_eps=None, dropout=0.5
    )
    tree = lambda runs: layers.Sequential(layers.Linear(40, 10), extension.Tanh(), layers.Dropout())  # noqa: E731
    with pytest.raises(ValueError, match="Dropout stands directly after Tanh"):
        Ensemble([run], Protocol(splits, tree), torch.float32, torch.device("cpu"))


def test_what_is_registered_twice_is_refused(extension):
    class Huber(extension.Huber):
        name = "huber"

    with pytest.raises(ValueError, match="loss huber is registered twice"):
        registry.LOSSES.register(Huber)
