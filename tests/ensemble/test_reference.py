"""The trainer equals plain PyTorch modules and torch.optim over 100 steps, for every optimiser, decay and network."""

import itertools

import pytest
import torch

from tests.ensemble import reference
from tests.ensemble.runs import PROTOCOL, make, splits
from weightdecay.ensemble import backend
from weightdecay.ensemble.training import Ensemble
from weightdecay.grid import Run

OPTIMIZERS = {
    "sgd": {"optimizer": "sgd", "learning_rate": 0.05},
    "momentum": {"optimizer": "sgd", "learning_rate": 0.05, "momentum": 0.9},
    "adam": {"optimizer": "adam"},
    "adam with default eps": {"optimizer": "adam", "eps": 1e-8, "beta2": 0.999},
}
DECAYS = {
    "none": {"decay": "none", "weight_decay": 0.0},
    "l2": {"decay": "l2", "weight_decay": 0.01},
    "decoupled": {"decay": "decoupled", "weight_decay": 0.5},
    "decoupled, matrices only": {"decay": "decoupled", "weight_decay": 0.5, "decay_exclude": "bias_and_norm"},
}
NETWORKS = {
    "batch norm": {"batch_norm_eps": 1e-2},
    "batch norm, default eps": {"batch_norm_eps": 1e-5, "blocks": 1, "width": 48},
    "plain": {"batch_norm_eps": None},
    "shuffled, cosine": {"shuffle": True, "schedule": "cosine"},
}
EPOCH_STEPS = 3  # 200 examples in batches of 64
CASES = list(itertools.product(OPTIMIZERS, DECAYS, NETWORKS))


def relative_error(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours.double() - theirs.double()).norm() / theirs.double().norm().clamp_min(1e-30)).item()


def settings(case: tuple[str, str, str]) -> dict:
    optimizer, decay, network = case
    return OPTIMIZERS[optimizer] | DECAYS[decay] | NETWORKS[network]


def literal(run: Run, dtype: torch.dtype) -> tuple[torch.Tensor, list[float]]:
    """All parameters and running statistics after a literal training, in forward order; the loss of every step."""
    model, losses = reference.train(run, splits(run), dtype)
    state = []
    for module in reference.in_forward_order(model):
        state += [module.weight, module.bias]
        if isinstance(module, torch.nn.BatchNorm1d):
            state += [module.running_mean, module.running_var]
    return torch.cat([tensor.detach().flatten() for tensor in state]), losses


def stacked(runs: list[Run], dtype: torch.dtype) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The same of a stack: one vector a replica, and the mean loss of the last epoch."""
    with backend.arithmetic(torch.device("cpu"), "mkl"):
        ensemble = Ensemble(runs, PROTOCOL, dtype, torch.device("cpu"))
        for _ in range(runs[0].steps):
            ensemble.advance()
        state = []
        for layer in ensemble.stack.leaves:
            state += [layer.weight, layer.bias, *layer.buffers().values()]
        vectors = [torch.cat([tensor[replica].flatten() for tensor in state]) for replica in range(len(runs))]
        return vectors, ensemble.measure(full=False)["train_loss_batch"]


@pytest.mark.parametrize("case", CASES, ids=" | ".join)
def test_equal_to_torch(case):
    """Relative error at most 1e-5 in float64 and 1e-4 in float32.

    Where Adam's eps is tiny, torch's own float32 strays further than that from its float64: a bias before BatchNorm has
    gradient zero, and Adam divides the rounding noise by itself. There twice torch's own error is allowed.
    """
    runs = [make(**settings(case), seed=seed) for seed in range(2)]
    double, double_losses = stacked(runs, torch.float64)
    single, _ = stacked(runs, torch.float32)
    for replica, run in enumerate(runs):
        exact, losses = literal(run, torch.float64)
        rounded, _ = literal(run, torch.float32)
        assert relative_error(double[replica], exact) <= 1e-5
        assert relative_error(single[replica], rounded) <= max(1e-4, 2 * relative_error(rounded, exact))
        last_epoch = losses[-((run.steps - 1) % EPOCH_STEPS + 1) :]
        assert double_losses[replica].item() == pytest.approx(sum(last_epoch) / len(last_epoch), rel=1e-5)
        assert losses[-1] < losses[0]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("decay", DECAYS)
def test_the_vectorised_update_equals_the_fused_one(optimizer, decay):
    """The update that GPUs use, on the CPU, for replicas that differ in every per-replica setting."""
    rates = (1e-3, 3e-2)
    runs = [make(**OPTIMIZERS[optimizer] | DECAYS[decay] | {"learning_rate": rate}) for rate in rates]
    results = []
    for vectorised in (False, True):
        with torch.no_grad():
            ensemble = Ensemble(runs, PROTOCOL, torch.float64, torch.device("cpu"))
            generator = torch.Generator().manual_seed(0)
            for _ in range(20):
                ensemble.stack.gradients.copy_(torch.randn(ensemble.stack.gradients.shape, generator=generator))
                if vectorised:
                    ensemble.optimizer.steps += 1
                    ensemble.optimizer._vectorised(0.7)
                else:
                    ensemble.optimizer.step(0.7)
        results.append(ensemble.stack.parameters)
    assert relative_error(*results) < 1e-12
