"""Device and arithmetic: what is chosen is what was asked for, or refused in one sentence."""

import pytest
import torch

from tests.ensemble.runs import PROTOCOL, make
from weightdecay.ensemble import backend
from weightdecay.ensemble.training import train
from weightdecay.errors import DeviceError


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


@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_precision_is_what_was_asked_for_and_put_back(precision):
    before = torch.backends.cuda.matmul.allow_tf32
    with backend.arithmetic(torch.device("cpu"), "mkl", precision):
        assert torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_a_precision_that_is_not_there_is_refused_in_one_sentence():
    with pytest.raises(DeviceError, match=r"^precision=tf32 is for a CUDA GPU, and this trains on cpu"):
        train([make()], PROTOCOL, "cpu", precision="tf32")
    with pytest.raises(DeviceError, match="precision=bfloat16 is unknown: choose float32 or tf32"):
        backend.check_precision("bfloat16", torch.device("cuda"))
