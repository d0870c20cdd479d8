"""Computations for O1-O3, O10 and O14: single updates of networks in training, S0's classifier, and S2's example.

Single updates (O1-O3) are studied step by step in float64, which a table of runs cannot record. For S0's classifier
(O10) histograms of the weights are kept. S2's example (O14) runs S2's code with torch.optim itself.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
import pandas as pd
import torch
from pydantic import Field
from scipy import stats
from torch import Tensor

from weightdecay.datasets.digits import CLASSES
from weightdecay.datasets.digits_28 import digits_28
from weightdecay.datasets.mnist import PIXELS, mnist
from weightdecay.datasets.mnist1d import LENGTH, mnist1d
from weightdecay.ensemble.layers import Linear, ReLU, Sequential
from weightdecay.ensemble.networks.mlp import mlp
from weightdecay.ensemble.program import program_of
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.run import Run

from . import finding

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]

# How each source writes λ, in four entries: its λ from PyTorch's λ, η and the number m of training examples; the factor
# on the weights; the factor of Σ w² in the loss; and what is left out of the penalty.
CONVENTIONS = {
    "S0": (lambda λ, η, m: λ / 2, lambda λ, η, m: 1 - 2 * η * λ, lambda λ, η, m: λ, "nothing"),
    "S2": (lambda λ, η, m: λ * m, lambda λ, η, m: 1 - η * λ / m, lambda λ, η, m: λ / (2 * m), "bias_and_norm"),
    "S2 second": (lambda λ, η, m: η * λ, lambda λ, η, m: 1 - λ, lambda λ, η, m: λ / (2 * η), "nothing"),
    "S3": (lambda λ, η, m: λ, lambda λ, η, m: 1 - η * λ, lambda λ, η, m: λ / 2, "nothing"),
}
CLASSIFIERS = {  # S0's three optimisers with S0's settings, and Adam and SGD without decay
    "adam_l2": {"optimizer": "adam", "decay": "l2", "learning_rate": 0.001, "weight_decay": 0.01},
    "adamw": {"optimizer": "adam", "decay": "decoupled", "learning_rate": 0.001, "weight_decay": 0.01},
    "adam": {"optimizer": "adam", "decay": "none", "learning_rate": 0.001, "weight_decay": 0.0},
    "sgd_l2": {"optimizer": "sgd", "decay": "l2", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0001},
    "sgd": {"optimizer": "sgd", "decay": "none", "learning_rate": 0.01, "momentum": 0.9, "weight_decay": 0.0},
}

TORCH_OPTIMIZERS = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW, "SGD": torch.optim.SGD}


@finding.computation
def identities(
    *,
    seeds: Count,
    train_size: Count,
    width: Count,
    batch_size: Count,
    steps: Count,
    learning_rate: Positive,
    weight_decay: Positive,
) -> pd.DataFrame:
    """Return one row for each seed and convention: residuals of the identity, relative to the largest weight.

    `update`: the largest residual of any single update. From the same weights, it compares a gradient step on the
    penalised loss by autograd, the factor on the weights, and the trainer's l2 and decoupled updates. `run`: the
    largest difference at the end between runs with the penalised loss, l2 and decoupled decay.
    """
    network = {"train_size": train_size, "width": width, "batch_size": batch_size, "steps": steps}
    rows = []
    for convention, (own, factor_of, penalty_of, exclude) in CONVENTIONS.items():
        λ = own(weight_decay, learning_rate, train_size)
        factor, penalty = (f(λ, learning_rate, train_size) for f in (factor_of, penalty_of))
        common = network | {"optimizer": "sgd", "learning_rate": learning_rate, "decay_exclude": exclude}
        decays = [{"decay": decay, "weight_decay": weight_decay} for decay in ("l2", "decoupled")]
        ensemble = small_network(seeds, common, decays)
        program = program_of(ensemble)
        decayed = decayed_columns(ensemble)
        alone = ensemble.stack.parameters[::2].clone()  # a separate run on the penalised loss
        largest = torch.zeros(seeds, dtype=torch.float64)
        for _ in range(steps):
            before = ensemble.stack.parameters.clone()
            program.advance()
            after = ensemble.stack.parameters
            for seed in range(seeds):
                l2, decoupled = 2 * seed, 2 * seed + 1
                updates = []
                for row in (l2, decoupled):
                    gradient = gradient_of(ensemble, row, before[row], 0.0, decayed)
                    shrunk = torch.where(decayed, factor * before[row], before[row]) - learning_rate * gradient
                    updates.append((shrunk, after[row]))
                stepped = before[l2] - learning_rate * gradient_of(ensemble, l2, before[l2], penalty, decayed)
                updates.append((stepped, after[l2]))
                found = max(relative(*pair) for pair in updates)
                largest[seed] = max(float(largest[seed]), found)
                alone[seed] -= learning_rate * gradient_of(ensemble, l2, alone[seed], penalty, decayed)
        final = ensemble.stack.parameters
        for seed in range(seeds):
            of_l2, of_decoupled = final[2 * seed], final[2 * seed + 1]
            run = max(relative(of_l2, of_decoupled), relative(of_l2, alone[seed]))
            about = {"seed": seed, "convention": convention, "factor": factor, "λ": λ}
            rows.append(about | {"update": float(largest[seed]), "run": run})
    return pd.DataFrame(rows)


@finding.computation
def schedules(
    *,
    seeds: Count,
    train_size: Count,
    width: Count,
    batch_size: Count,
    steps: Count,
    learning_rate: Positive,
    weight_decay: Positive,
    momentum: Share,
) -> pd.DataFrame:
    """Return one row for each seed, schedule and momentum (0 and the given one), measured at the end of three runs.

    `distance`: between the weights with an L2 penalty λ and those with decoupled decay λ/(1 − momentum), divided by the
    distance between the weights with and without the penalty. `shrinkage`: the log of the weights' norm without decay
    over the norm with the penalty.
    """
    network = {"train_size": train_size, "width": width, "batch_size": batch_size, "steps": steps}
    rows = []
    for schedule in ("constant", "step", "cosine"):
        for μ in (0.0, momentum):
            common = network | {"optimizer": "sgd", "momentum": μ, "schedule": schedule}
            decays = [
                {"decay": "l2", "weight_decay": weight_decay},
                {"decay": "decoupled", "weight_decay": weight_decay / (1 - μ)},
                {"decay": "none", "weight_decay": 0.0},
            ]
            rate = learning_rate * (1 - μ)  # keeps the length of a step the same for any momentum
            ensemble = small_network(seeds, common | {"learning_rate": rate}, decays)
            program_of(ensemble).advance(steps)
            for seed in range(seeds):
                l2, decoupled, none = ensemble.stack.parameters[3 * seed : 3 * seed + 3]
                distance = (l2 - decoupled).norm() / (l2 - none).norm()
                row = {"seed": seed, "schedule": schedule, "momentum": μ, "distance": float(distance)}
                rows.append(row | {"shrinkage": float((none.norm() / l2.norm()).log())})
    return pd.DataFrame(rows)


@finding.computation
def decay_rates(
    *,
    seeds: Count,
    train_size: Count,
    width: Count,
    batch_size: Count,
    steps: Count,
    learning_rate: Positive,
    weight_decay: Positive,
    bins: Count,
) -> pd.DataFrame:
    """Return one row for each seed, kind of decay and bin of weights of similar gradients, in the second half of a run.

    The decay of a weight is its update less Adam's step on the gradient of the loss alone, divided by the same second
    moment. Its `rate` is the least-squares factor of −ηλw in this decay. `gradient` is the root mean square of its
    gradient over the steps. A row has geometric means of both over its bin, and the extreme rates `low` and `high`.
    `slope` is that of log rate against log gradient, over all weights with a positive rate. These are the share
    `counted` of the weights that have a gradient.
    """
    common = {"train_size": train_size, "width": width, "batch_size": batch_size, "steps": steps}
    kinds = ("l2", "decoupled")
    decays = [{"decay": kind, "weight_decay": weight_decay} for kind in kinds]
    ensemble = small_network(seeds, common | {"optimizer": "adam", "learning_rate": learning_rate}, decays)
    run, stack, program = ensemble.run, ensemble.stack, program_of(ensemble)
    first, product, square, gradients = (torch.zeros_like(stack.parameters) for _ in range(4))
    for step in range(1, steps + 1):
        before = stack.parameters.clone()
        program.advance()
        first.mul_(run.beta1).add_((1 - run.beta1) * stack.gradients)
        second = ensemble.optimizer.slots["second_moment"] / (1 - run.beta2**step)
        alone = learning_rate * first / (1 - run.beta1**step) / (second.sqrt() + run.eps)
        if step > steps // 2:
            product += (before - alone - stack.parameters) * before
            square += before.square()
            gradients += stack.gradients.square()
    scale = (gradients / (steps - steps // 2)).sqrt()
    rows = []
    for row, of in enumerate(ensemble.runs):
        known = (scale[row] > 0) & (square[row] > 0) & decayed_columns(ensemble, matrices=True)
        rates = (product[row] / square[row] / (learning_rate * weight_decay))[known].numpy()
        sizes = scale[row][known].numpy()
        positive = rates > 0
        line = stats.linregress(np.log(sizes[positive]), np.log(rates[positive]))
        order = np.argsort(sizes[positive])
        for number, members in enumerate(np.array_split(order, bins)):
            found, size = rates[positive][members], sizes[positive][members]
            about = {"seed": of.seed, "decay": of.decay, "bin": number, "slope": line.slope, "counted": positive.mean()}
            means = {"gradient": np.exp(np.log(size).mean()), "rate": np.exp(np.log(found).mean())}
            rows.append(about | means | {"low": found.min(), "high": found.max()})
    return pd.DataFrame(rows)


@finding.computation
def classifier(
    *,
    seeds: Count,
    dataset: Literal["digits_28", "mnist"],
    train_size: Count,
    validation_size: Count,
    test_size: Count,
    batch_size: Count,
    epochs: Count,
    bins: Count,
    limit: Positive,
) -> pd.DataFrame:
    """Train S0's network 784-256-128-10 with its three optimisers and without decay.

    Returns a row for each seed, run, stage (before and after training) and bin. `share` is the share of the weights,
    without biases, in each of `bins` bins from −`limit` to `limit`; weights beyond are in the outermost bins. `spread`,
    `kurtosis` (excess) and `largest` are those of all weights. There are also the errors of every split.
    """
    data = {"digits_28": digits_28, "mnist": mnist}[dataset]

    def network(_: Sequence[Run]) -> Sequential:
        return Sequential(Linear(PIXELS, 256), ReLU(), Linear(256, 128), ReLU(), Linear(128, CLASSES))

    protocol = Protocol(lambda run: data(run.seed, train_size, validation_size, test_size), network)
    common: dict[str, object] = {"dataset": dataset, "train_size": train_size, "batch_size": batch_size}
    common |= {"network": "mlp_256_128", "width": 256, "blocks": 2}
    steps = epochs * (train_size // batch_size)
    edges = np.linspace(-limit, limit, bins + 1)
    rows = []
    for optimizer in ("adam", "sgd"):
        kinds = {name: settings for name, settings in CLASSIFIERS.items() if settings["optimizer"] == optimizer}
        for seed in range(seeds):  # one at a time, as a stack of all would be large
            runs = [run_of(common | {"steps": steps, "seed": seed} | settings) for settings in kinds.values()]
            ensemble = Ensemble(runs, protocol, torch.float32, torch.device("cpu"))
            program = program_of(ensemble)
            for stage in ("before", "after"):
                if stage == "after":
                    program.advance(steps)
                errors = {name: 1 - program.evaluate(name)[1] for name in ensemble.data}
                weights = ensemble.stack.parameters[:, : ensemble.stack.decayed].numpy()
                for row, name in enumerate(kinds):
                    own = weights[row].astype(np.float64)  # no padding: every matrix is a multiple of 16 floats
                    counts, _ = np.histogram(own.clip(-limit, limit), edges)
                    about = {"seed": seed, "network": name, "stage": stage, "spread": own.std()}
                    about |= {"kurtosis": stats.kurtosis(own), "largest": np.abs(own).max()}
                    about |= {f"{split}_error": float(error[row]) for split, error in errors.items()}
                    rows += [
                        about | {"left": left, "right": right, "share": count / own.size}
                        for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True)
                    ]
    return pd.DataFrame(rows)


@finding.computation
def torch_optimizers(*, seeds: Count, steps: Count, learning_rate: Positive, weight_decay: Positive) -> pd.DataFrame:
    """Train S2's example with each optimiser of torch.optim; return one row for each seed and optimiser.

    It is a network 10-5-1 on 100 random examples, with the full batch, in float64. The decay of the parameters is their
    update less the optimiser's step on the gradient of the loss alone, divided by the same second moment. `rate` is the
    decay over `learning_rate` · `weight_decay` times the parameters: a least-squares factor over all parameters in the
    second half of the run.
    """
    rows = []
    for seed, (name, kind) in itertools.product(range(seeds), TORCH_OPTIMIZERS.items()):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            x, y = torch.randn(100, 10, dtype=torch.float64), torch.randn(100, 1, dtype=torch.float64)
            model = torch.nn.Sequential(torch.nn.Linear(10, 5), torch.nn.ReLU(), torch.nn.Linear(5, 1)).double()
        optimizer = kind(model.parameters(), lr=learning_rate, weight_decay=weight_decay)
        first = [torch.zeros_like(parameter) for parameter in model.parameters()]
        product = square = 0.0
        for step in range(1, steps + 1):
            optimizer.zero_grad()
            torch.nn.functional.mse_loss(model(x), y).backward()
            before = [(p.detach().clone(), p.grad.clone()) for p in model.parameters() if p.grad is not None]
            optimizer.step()
            for mean, parameter, (w, gradient) in zip(first, model.parameters(), before, strict=True):
                alone = learning_rate * gradient
                if name != "SGD":
                    β1, β2 = optimizer.defaults["betas"]
                    mean.mul_(β1).add_((1 - β1) * gradient)
                    second = optimizer.state[parameter]["exp_avg_sq"] / (1 - β2**step)
                    alone = learning_rate * mean / (1 - β1**step) / (second.sqrt() + optimizer.defaults["eps"])
                if step > steps // 2:
                    product += float(((w - alone - parameter.detach()) * w).sum())
                    square += float(w.square().sum())
        row = {"seed": seed, "optimizer": name, "learning_rate": learning_rate, "weight_decay": weight_decay}
        rows.append(row | {"rate": product / square / (learning_rate * weight_decay)})
    return pd.DataFrame(rows)


def small_network(seeds: int, common: dict, decays: Sequence[dict]) -> Ensemble:
    """Return an MLP on MNIST-1D in float64: for each seed one replica for each of `decays`."""
    runs = [run_of(common | {"seed": seed} | decay) for seed in range(seeds) for decay in decays]
    sizes = common["train_size"], 100, 1  # the validation and test examples are not used
    protocol = Protocol(
        lambda run: mnist1d(run.seed, *sizes, 0.0, "incorrect"), lambda runs: mlp(LENGTH, 10, common["width"], 1)
    )
    return Ensemble(runs, protocol, torch.float64, torch.device("cpu"))


def run_of(settings: dict) -> Run:
    """Return a row with the settings that all networks of this file share."""
    fixed = {"experiment": "adam_vs_adamw", "sweep": "computation", "dataset": "mnist1d", "network": "mlp", "blocks": 1}
    more = {"batch_norm_eps": None, "loss": "cross_entropy", "shuffle": True}
    return Run(**{**fixed, **more, "log_every": settings["steps"], "log_dense_every": settings["steps"], **settings})


def decayed_columns(ensemble: Ensemble, matrices: bool = False) -> Tensor:
    """Return which of the P columns decay applies to; with `matrices`, only those of weight matrices."""
    columns = torch.arange(ensemble.stack.parameters.shape[1])
    return columns < (ensemble.stack.decayed if matrices else ensemble.optimizer.decayed)


def gradient_of(ensemble: Ensemble, row: int, weights: Tensor, penalty: float, decayed: Tensor) -> Tensor:
    """Return the gradient at `weights` `[P]`, by autograd, of a run's loss on its last batch plus a penalty.

    The penalty is `penalty` Σ w² over the weights in `decayed`.
    """
    w, stack = weights.clone().requires_grad_(), ensemble.stack
    epoch, within = divmod(ensemble.step - 1, ensemble.epoch_steps)
    order = ensemble.data_order(ensemble.runs[row].seed, epoch)[within]
    x, targets = (part[ensemble.which[row]][order] for part in ensemble.data["train"])
    for number, layer in enumerate(stack.leaves):
        x = x.relu() if number else x
        weight, bias = (
            w[stack.offsets[layer, name] :][: math.prod(shape)].view(shape) for name, shape in layer.shapes.items()
        )
        x = torch.addmm(bias, x, weight.T)
    loss = torch.nn.functional.cross_entropy(x, targets.argmax(1)) + penalty * w[decayed].square().sum()
    return torch.autograd.grad(loss, w)[0]


def relative(first: Tensor, second: Tensor) -> float:
    """Return the largest difference between two tensors, divided by the largest entry of the first."""
    return float((first - second).abs().max() / first.abs().max())
