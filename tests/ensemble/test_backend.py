"""Device and arithmetic: what is chosen is what was asked for, or refused in one sentence; CUDA equals the CPU."""

import numpy as np
import pytest
import torch

from tests.ensemble.runs import PROTOCOL, make
from weightdecay.ensemble import backend
from weightdecay.ensemble.training import train
from weightdecay.errors import DeviceError

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")


@pytest.mark.parametrize("matmul", {"mkl", backend.choose_matmul()})
def test_float32_products_have_float32_accuracy(matmul):
    """Asking torch for bfloat16 must not give it: the choice is only made where this error is small."""
    x, w = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    exact = x.double() @ w.double()
    with backend.arithmetic(torch.device("cpu"), matmul):
        error = (torch.bmm(x, w).double() - exact).norm() / exact.norm()
    assert error < backend.MAX_ERROR


def test_arithmetic_is_put_back():
    before = torch.get_num_threads(), torch.backends.mkldnn.matmul.fp32_precision, torch.is_grad_enabled()
    with backend.arithmetic(torch.device("cpu"), "onednn"):
        assert torch.get_num_threads() == 1 and not torch.is_grad_enabled()
    assert before == (torch.get_num_threads(), torch.backends.mkldnn.matmul.fp32_precision, torch.is_grad_enabled())


def test_a_library_that_rounds_to_bfloat16_is_refused(monkeypatch):
    monkeypatch.setattr(backend, "MAX_ERROR", 0.0)  # as if every product were too inexact
    assert backend.choose_matmul() == "mkl"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA GPU here")
def test_cuda_without_a_gpu_is_refused_in_one_sentence():
    with pytest.raises(DeviceError, match=r"^device=cuda was asked for, but torch finds no CUDA GPU here"):
        train([make()], PROTOCOL, "cuda")
    assert backend.resolve_device("auto").type == "cpu"


def test_an_unknown_device_is_refused():
    with pytest.raises(DeviceError, match="device=tpu is unknown: choose auto, cpu or cuda"):
        backend.resolve_device("tpu")


@needs_cuda
@pytest.mark.parametrize("settings", [{}, {"optimizer": "sgd", "decay": "l2"}, {"shuffle": True, "schedule": "cosine"}])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-3)])
def test_cuda_equals_the_cpu_from_the_same_start(settings, dtype, tolerance):
    runs = [make(seed=seed, **settings) for seed in range(3)]
    values = [train(runs, PROTOCOL, device, dtype=dtype).history["value"].to_numpy() for device in ("cpu", "cuda")]
    np.testing.assert_allclose(*values, rtol=tolerance, atol=0.01 if dtype == torch.float32 else 1e-9)


@needs_cuda
def test_cuda_repeats_itself_bitwise():
    runs = [make(seed=seed) for seed in range(3)]
    first, second = (train(runs, PROTOCOL, "cuda").history for _ in range(2))
    assert first.equals(second)
