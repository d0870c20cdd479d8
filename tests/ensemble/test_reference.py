"""The trainer equals plain PyTorch modules and torch.optim over 100 steps, for every optimiser, decay and network."""

import itertools

import pytest
import torch

from tests.ensemble import reference
from tests.ensemble.runs import PROTOCOL, make, splits
from weightdecay.ensemble import backend, loops
from weightdecay.ensemble.layers.batch_norm import BatchNorm
from weightdecay.ensemble.state import Ensemble
from weightdecay.run import Run

OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "adam": {"optimizer": "adam"},
    "adam with default eps": {"optimizer": "adam", "eps": 1e-8, "beta2": 0.999},
}
DECAYS = {
    "none": {"decay": "none", "weight_decay": 0.0},
    "l2": {"decay": "l2", "weight_decay": 0.01},
    "decoupled": {"decay": "decoupled", "weight_decay": 0.1},
    "decoupled, matrices only": {"decay": "decoupled", "weight_decay": 0.1, "decay_exclude": "bias_and_norm"},
    "l1": {"decay": "l1", "weight_decay": 1e-4},  # small: where a weight changes its sign, rounding decides the step
    "proximal l1": {"decay": "proximal_l1", "weight_decay": 0.01},
    "elastic net, matrices only": {
        **{"decay": "elastic_net", "weight_decay": 0.05, "l1_ratio": 0.2, "decay_exclude": "bias_and_norm"}
    },
}
NETWORKS = {
    "batch norm": {"batch_norm_eps": 1e-2},
    "batch norm, default eps": {"batch_norm_eps": 1e-5, "blocks": 1, "width": 48},
    "plain": {"batch_norm_eps": None},
    "shuffled, cosine": {"shuffle": True, "schedule": "cosine"},
}
EPOCH_STEPS = 3  # 200 examples in batches of 64
CNN = {"width": reference.CHANNELS, "blocks": 3}
OTHER_NETWORKS = {  # one-hot classes
    "mlp, cross-entropy": {"network": "mlp", "loss": "cross_entropy", "batch_norm_eps": None, "shuffle": True},
    "mlp, dropout": {"network": "mlp", "loss": "cross_entropy", "batch_norm_eps": None, "dropout": 0.3, "width": 30},
    "mlp, squared error": {"network": "mlp", "loss": "squared_error", "batch_norm_eps": None, "blocks": 1},
    "mlp, absolute error": {"network": "mlp", "loss": "absolute_error", "batch_norm_eps": None, "blocks": 1},
    "mlp, smooth l1": {"network": "mlp", "loss": "smooth_l1", "batch_norm_eps": None, "blocks": 1},
    "cnn": {**CNN, "network": "cnn", "loss": "cross_entropy", "batch_norm_eps": None},
    "scale-invariant": {"network": "scale_invariant_mlp", "loss": "cross_entropy", "batch_norm_eps": 1e-5},
    "scale-invariant cnn": {
        **{**CNN, "network": "scale_invariant_cnn", "loss": "cross_entropy", "batch_norm_eps": 1e-5},
    },
}
NETWORKS |= {name: settings | {"dataset": "classes"} for name, settings in OTHER_NETWORKS.items()}
CASES = list(itertools.product(OPTIMIZERS, DECAYS, NETWORKS))


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours.double() - theirs.double()).norm() / theirs.double().norm().clamp_min(1e-30)).item()


def settings(case: tuple[str, str, str]) -> dict:
    optimizer, decay, network = case
    return OPTIMIZERS[optimizer] | DECAYS[decay] | NETWORKS[network]


def cancelled(kinds: list[bool], run: Run) -> set[int]:
    """Which layers' biases to leave out, given which layers are BatchNorm: those before one, where Adam's eps is tiny.

    BatchNorm subtracts such a bias again: its gradient is nothing but rounding, and Adam divides that by its own size.
    """
    noisy = run.optimizer == "adam" and run.eps < 1e-6
    return {index for index in range(len(kinds) - 1) if noisy and kinds[index + 1]}


def literal(run: Run, dtype: torch.dtype) -> tuple[torch.Tensor, list[float]]:
    """All parameters and running statistics after a literal training, in forward order; the loss of every step."""
    model, losses = reference.train(run, splits(run), dtype)
    modules, state = reference.layers_of(model), []
    skipped = cancelled([isinstance(module, torch.nn.BatchNorm1d) for module in modules], run)
    for index, module in enumerate(modules):
        if module.weight is not None and module.weight.requires_grad:
            state.append(reference.ours(module, module.weight, run) if module.weight.dim() > 1 else module.weight)
            if module.bias is not None and index not in skipped:
                state.append(module.bias)
        if isinstance(module, torch.nn.BatchNorm1d):
            state += [module.running_var] if index - 1 in skipped else [module.running_mean, module.running_var]
    return torch.cat([tensor.detach().flatten() for tensor in state]), losses


def stacked(runs: list[Run], dtype: torch.dtype) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The same of a stack: one vector a replica, and the mean loss of the last epoch."""
    with backend.arithmetic(torch.device("cpu")):
        ensemble = Ensemble(runs, PROTOCOL, dtype, torch.device("cpu"))
        for _ in range(runs[0].steps):
            ensemble.advance()
        layers, state = ensemble.stack.leaves, []
        skipped = cancelled([isinstance(layer, BatchNorm) for layer in layers], runs[0])
        for index, layer in enumerate(layers):
            if layer.trained:
                state.append(layer.weight)
                if "bias" in layer.shapes and index not in skipped:
                    state.append(layer.bias)
            if isinstance(layer, BatchNorm):
                variance, mean = layer.running_variance, layer.running_mean
                state += [variance] if index - 1 in skipped else [mean, variance]
        vectors = [torch.cat([tensor[replica].flatten() for tensor in state]) for replica in range(len(runs))]
        return vectors, ensemble.measure(full=False)["train_loss_batch"]


def excess(ours: torch.Tensor, run: Run, exact: torch.Tensor) -> float:
    """The error of a training in float32 over what is allowed: 1e-4, or twice what torch's own float32 strays."""
    error = relative_error(ours, exact) / 1e-4
    if error <= 1:
        return error
    theirs, _ = literal(run, torch.float32)
    return relative_error(ours, theirs) / max(1e-4, 2 * relative_error(theirs, exact))


@pytest.mark.parametrize("case", CASES, ids=" | ".join)
def test_equal_to_torch(case):
    """Relative error at most 1e-5 in float64 and 1e-4 in float32.

    Where float32 strays further than that, twice the error of torch's own float32 is allowed. One rounding that flips
    one ReLU can move weights by whole steps of Adam: in float32 one of the seeds may be struck by that.
    """
    tiny_eps = case[0] == "adam with default eps"
    runs = [make(**settings(case), seed=seed) for seed in range(3 if tiny_eps else 2)]
    double, double_losses = stacked(runs, torch.float64)
    single, _ = stacked(runs, torch.float32)
    excesses = []
    for replica, run in enumerate(runs):
        exact, losses = literal(run, torch.float64)
        assert relative_error(double[replica], exact) <= 1e-5
        excesses.append(excess(single[replica], run, exact))
        last_epoch = losses[-((run.steps - 1) % EPOCH_STEPS + 1) :]
        assert double_losses[replica].item() == pytest.approx(sum(last_epoch) / len(last_epoch), rel=1e-5)
        assert losses[-1] < losses[0]
    assert sorted(excesses)[-2] <= 1


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("decay", DECAYS)
def test_the_vectorised_update_equals_the_compiled_one(optimizer, decay):
    """The update as torch operations and the CPU's, for replicas of different learning rates."""
    rates = (1e-3, 3e-2)
    runs = [make(**OPTIMIZERS[optimizer] | DECAYS[decay] | {"learning_rate": rate}) for rate in rates]
    results = []
    for vectorised in (False, True):
        with torch.no_grad():
            ensemble = Ensemble(runs, PROTOCOL, torch.float64, torch.device("cpu"))
            generator = torch.Generator().manual_seed(0)
            multipliers = torch.tensor([0.7], dtype=torch.float64)
            for step in range(20):
                ensemble.stack.gradients.copy_(torch.randn(ensemble.stack.gradients.shape, generator=generator))
                coefficients = ensemble.optimizer.coefficients(step, multipliers)[0]
                if vectorised:
                    ensemble.optimizer._vectorised(coefficients)
                    continue
                slots = list(ensemble.optimizer.slots.values())
                rows = ensemble.stack.parameters, ensemble.stack.gradients, slots[0], slots[-1]
                decayed = ensemble.optimizer.decayed
                for replica, decays in itertools.product(range(len(runs)), (True, False)):
                    part = slice(decayed) if decays else slice(decayed, None)
                    pieces = [row[replica, part].numpy() for row in rows]
                    loops.update(coefficients[:, replica].numpy().copy(), decays, *pieces)
        results.append(ensemble.stack.parameters)
    assert relative_error(*results) < 1e-12
