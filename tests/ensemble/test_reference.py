"""The trainer equals the literal reference, PyTorch's modules and torch.optim, for everything that is registered."""

import itertools

import pytest
import torch

from tests.ensemble.runs import CPU, DECAYS, NETWORKS, OPTIMIZERS, PROTOCOL, make, program, relative_error
from weightdecay import registry
from weightdecay.ensemble import backend, literal
from weightdecay.ensemble.loops import loops_of_all
from weightdecay.run import Run

EPOCH_STEPS = 3  # 200 examples in batches of 64
LONG = [
    *itertools.product(OPTIMIZERS, DECAYS, ["batch norm", "mlp, dropout"]),
    *itertools.product(["momentum", "adam", "adam with default eps"], ["decoupled"], NETWORKS),
]
KNOWN = registry.NETWORKS.names(), registry.LOSSES.names(), registry.OPTIMIZERS.names()


def state_of(module: torch.nn.Module, run: Run) -> torch.Tensor:
    """All trained parameters and running statistics of a literal network in one vector.

    Left out, where Adam's eps is tiny, are biases before a BatchNorm, and the mean that they move. BatchNorm subtracts
    such a bias again: its gradient is nothing but rounding, and Adam divides that by its own size.
    """
    noisy = run.optimizer == "adam" and run.eps < 1e-6
    leaves = [each for each in module.modules() if dict(each.named_parameters(recurse=False)) or is_norm(each)]
    state = []
    for before, leaf, after in zip([None, *leaves], leaves, [*leaves[1:], None], strict=False):
        named = dict(leaf.named_parameters(recurse=False)) | dict(leaf.named_buffers(recurse=False))
        skipped = {"num_batches_tracked"} | ({"bias"} if noisy and is_norm(after) else set())
        skipped |= {"running_mean"} if noisy and is_norm(leaf) and before is not None else set()
        state += [tensor.detach().flatten() for name, tensor in named.items() if name not in skipped]
    return torch.cat(state)


def is_norm(module: torch.nn.Module | None) -> bool:
    return isinstance(module, torch.nn.BatchNorm1d)


def stacked(runs: list[Run], dtype: torch.dtype) -> tuple[list[torch.Tensor], torch.Tensor]:
    """The same of a stack: one vector a replica, and the mean loss of the last epoch."""
    with backend.arithmetic(CPU):
        made = program(runs, dtype)
        made.advance(runs[0].steps)
        network = made.ensemble.stack.network
        vectors = [state_of(literal.module_of(network, replica, run), run) for replica, run in enumerate(runs)]
        return vectors, made.measure(full=False)["train_loss_batch"]


def excess(ours: torch.Tensor, run: Run, exact: torch.Tensor) -> float:
    """The error of a training in float32 over what is allowed: 1e-4, or twice what torch's own float32 strays."""
    error = relative_error(ours, exact) / 1e-4
    if error <= 1:
        return error
    theirs = state_of(literal.train(run, PROTOCOL, torch.float32)[0], run)
    return relative_error(ours, theirs) / max(1e-4, 2 * relative_error(theirs, exact))


@pytest.mark.parametrize("case", LONG, ids=" | ".join)
def test_equal_over_100_steps(case):
    """Relative error at most 1e-5 in float64 and 1e-4 in float32.

    Where float32 strays further than that, twice the error of torch's own float32 is allowed. One rounding that flips
    one ReLU can move weights by whole steps of Adam: in float32 one of the seeds may be struck by that.
    """
    optimizer, decay, network = case
    settings = OPTIMIZERS[optimizer] | DECAYS[decay] | NETWORKS[network]
    runs = [make(**settings, seed=seed) for seed in range(3 if optimizer == "adam with default eps" else 2)]
    double, double_losses = stacked(runs, torch.float64)
    single, _ = stacked(runs, torch.float32)
    excesses = []
    for replica, run in enumerate(runs):
        module, losses = literal.train(run, PROTOCOL, torch.float64)
        exact = state_of(module, run)
        assert relative_error(double[replica], exact) <= 1e-5
        excesses.append(excess(single[replica], run, exact))
        last_epoch = losses[-((run.steps - 1) % EPOCH_STEPS + 1) :]
        assert double_losses[replica].item() == pytest.approx(sum(last_epoch) / len(last_epoch), rel=1e-5)
        assert losses[-1] < losses[0]
    assert sorted(excesses)[-2] <= 1


@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize(("network", "loss", "optimizer"), list(itertools.product(*KNOWN)))
def test_every_combination_of_what_is_registered_is_equal(network, loss, optimizer, decay):
    """In float64, over two epochs; a file that is added takes part by itself."""
    settings = {"optimizer": optimizer, "learning_rate": 0.003, **DECAYS[decay], "dataset": "classes", "steps": 6}
    settings |= {"network": network, "loss": loss, "width": 6, "log_dense_until": 0}
    run = make(**settings)
    (ours,), _ = stacked([run], torch.float64)
    module, _ = literal.train(run, PROTOCOL, torch.float64)
    assert relative_error(ours, state_of(module, run)) <= 1e-8
    start = state_of(literal.initial(PROTOCOL, run, torch.float64), run)
    assert relative_error(ours, start) > 1e-4


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("decay", DECAYS)
def test_the_update_by_operations_equals_the_compiled_one(optimizer, decay):
    """The update as torch operations and the CPU's, for replicas of different learning rates."""
    rates, loops = (1e-3, 3e-2), loops_of_all()
    runs = [make(**OPTIMIZERS[optimizer] | DECAYS[decay] | {"learning_rate": rate}) for rate in rates]
    results = []
    for by_operations in (False, True):
        with torch.no_grad():
            ensemble = program(runs, torch.float64).ensemble
            stack, kind = ensemble.stack, ensemble.optimizer
            generator = torch.Generator().manual_seed(0)
            multipliers = torch.tensor([0.7], dtype=torch.float64)
            for step in range(20):
                stack.gradients.copy_(torch.randn(stack.gradients.shape, generator=generator))
                coefficients = kind.coefficients(step, multipliers)[0]
                if by_operations:
                    kind.update_by_operations(coefficients)
                    continue
                for replica, decays in itertools.product(range(len(runs)), (True, False)):
                    start, end = (0, kind.decayed) if decays else (kind.decayed, stack.parameters.shape[1])
                    pieces = [row[replica, start:end].numpy() for row in (stack.parameters, stack.gradients)]
                    own = coefficients[:, replica].numpy().copy()
                    number = loops.optimizers[kind.name]
                    loops.update(number, own, decays, *pieces, kind.state.numpy(), replica, start)
        results.append(torch.cat([stack.parameters, *kind.state]))
    assert relative_error(*results) < 1e-12
