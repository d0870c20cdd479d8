"""Triton's kernels equal torch's operations: on a GPU where there is one, else interpreted on the CPU."""

import pytest
import torch

pytest.importorskip("triton")

from tests.ensemble.runs import DECAYS, OPTIMIZERS, PROTOCOL, make, relative_error
from weightdecay.ensemble.layer import Moment
from weightdecay.ensemble.layers import BatchNorm, dropout
from weightdecay.ensemble.philox import words_of
from weightdecay.ensemble.stack import Stack
from weightdecay.ensemble.state import Ensemble
from weightdecay.ensemble.triton import adam, batch_norm, sgd
from weightdecay.ensemble.triton import dropout as dropout_kernels

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
KERNELS = {"adam": adam, "sgd": sgd}
TOLERANCES = [(torch.float64, 1e-13), (torch.float32, 2e-6)]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("decay", DECAYS)
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_an_optimiser_s_kernel_equals_its_operations(optimizer, decay, dtype, tolerance):
    """Three replicas that differ in every per-replica setting; rows that end within a block."""
    settings = OPTIMIZERS[optimizer] | DECAYS[decay] | {"width": 24, "blocks": 1}
    runs = [make(**settings | {"learning_rate": rate}) for rate in (1e-3, 3e-2)]
    runs.append(make(**settings | {"decay": "none", "weight_decay": 0.0, "l1_ratio": 0.5, "learning_rate": 0.1}))
    results = []
    for kernel in (True, False):
        with torch.no_grad():
            ensemble = Ensemble(runs, PROTOCOL, dtype, DEVICE)
            stack, optimiser = ensemble.stack, ensemble.optimizer
            assert stack.parameters.shape[1] % adam.BLOCK and stack.parameters.shape[1] > adam.BLOCK == sgd.BLOCK
            multipliers = torch.linspace(1, 0.5, 5, dtype=torch.float64, device=DEVICE)
            generator = torch.Generator().manual_seed(0)
            for coefficients in optimiser.coefficients(3, multipliers):
                stack.gradients.copy_(torch.randn(stack.gradients.shape, generator=generator))
                if kernel:
                    arrays = stack.parameters, stack.gradients, *optimiser.state
                    KERNELS[optimiser.name].update(*arrays, coefficients, optimiser.decayed)
                else:
                    optimiser.update_by_operations(coefficients)
        results.append([stack.parameters, *optimiser.slots.values()])
    for ours, theirs in zip(*results, strict=True):
        assert relative_error(ours, theirs) <= tolerance


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("kernel", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_subnormal_numbers_become_0(optimizer, kernel, dtype):
    """As on a CPU, whose arithmetic does so by itself in training: λ and the betas halve the smallest normal number."""
    settings = {"optimizer": optimizer, "decay": "decoupled", "weight_decay": 1.0}
    settings |= {"momentum": 0.5} if optimizer == "sgd" else {"eps": 1.0, "beta1": 0.5, "beta2": 0.5}
    runs = [make(**settings, learning_rate=rate) for rate in (1e-30, 0.5)]
    ensemble = Ensemble(runs, PROTOCOL, dtype, DEVICE)
    parameters, optimiser = ensemble.stack.parameters, ensemble.optimizer
    for tensor in (parameters, *optimiser.slots.values()):
        tensor.fill_(torch.finfo(dtype).tiny)
    coefficients = optimiser.coefficients(0, torch.ones(1, dtype=torch.float64, device=DEVICE))[0]
    if kernel:
        arrays = parameters, ensemble.stack.gradients.zero_(), *optimiser.state
        KERNELS[optimizer].update(*arrays, coefficients, optimiser.decayed)
    else:
        optimiser.update_by_operations(coefficients)
    assert (parameters[0] == torch.finfo(dtype).tiny).all() and (parameters[1] == 0).all()
    assert all((slot == 0).all() for slot in optimiser.slots.values())


@pytest.mark.parametrize(("batch", "features"), [(64, 64), (130, 7), (300, 33)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dropout_s_kernel_equals_its_operations_bitwise(batch, features, dtype):
    """Rates of 0, of little and of nearly 1; counters that fill their blocks and that do not."""
    words = words_of([make(seed=seed, dropout=rate) for seed, rate in enumerate((0.0, 0.3, 0.999))], DEVICE)
    x = torch.randn(len(words), batch, features, dtype=dtype).to(DEVICE)
    for step, layer in ((0, 0), (2**31 + 5, 3)):
        position, ours = torch.tensor([step], device=DEVICE), x.clone()
        factors = dropout_kernels.forward(ours, words, position, layer)
        expected = dropout.factors(words, position, layer, x.shape, dtype)
        assert torch.equal(factors, expected) and torch.equal(ours, x * expected)


@pytest.mark.parametrize(("batch", "features"), [(64, 64), (50, 40), (130, 7), (200, 33)])
@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize(("dtype", "tolerance"), TOLERANCES)
def test_batch_norm_s_kernels_equal_its_operations(batch, features, affine, dtype, tolerance):
    """Rows and columns that fill their blocks and that do not; parameters and buffers in the rows of a stack."""
    eps, results = torch.tensor([1e-5, 1e-2, 1.0]), []
    for fused in (batch_norm, None):
        generators = [torch.Generator().manual_seed(seed) for seed in range(len(eps))]
        layer = BatchNorm(features, eps, affine)
        stack = Stack(layer, generators, dtype, DEVICE)
        layer.fused = fused

        def draw(*shape: int, generator: torch.Generator = generators[0]) -> torch.Tensor:
            return torch.randn(len(eps), *shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)

        for tensor in (layer.weight, layer.bias, layer.running_mean):
            tensor.copy_(draw(features))
        y = layer.forward(draw(batch, features) * 2 + 5, Moment(True, 0, None))
        centred = layer.centred.clone()
        dx = layer.backward(draw(batch, features))
        results.append([y, centred, dx, stack.buffers, stack.gradients])
    for ours, theirs in zip(*results, strict=True):
        assert relative_error(ours, theirs) <= tolerance
