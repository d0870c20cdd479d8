"""Device and arithmetic: what is chosen is what was asked for, or refused in one sentence."""

import pytest
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from tests.ensemble.runs import PROTOCOL, make
from weightdecay.ensemble import backend
from weightdecay.ensemble.training import train
from weightdecay.errors import DeviceError


def threads() -> tuple[int, ...]:
    return torch.get_num_threads(), *(library["num_threads"] for library in threadpool_info())


@pytest.fixture
def two_threads():
    """For torch and every library that is loaded."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    with threadpool_limits(2):
        yield
    torch.set_num_threads(before)


def test_one_thread_for_torch_and_blas_and_all_is_put_back(two_threads):
    before = threads(), torch.is_grad_enabled()
    assert set(threads()) == {2}
    with backend.arithmetic(torch.device("cpu")):
        blas = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
        assert blas and {torch.get_num_threads(), *blas} == {1} and not torch.is_grad_enabled()
    assert before == (threads(), torch.is_grad_enabled())


def test_the_library_of_the_matrix_products_is_known():
    assert "openblas" in backend.description(torch.device("cpu"))["matmul"]


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
    with backend.arithmetic(torch.device("cpu"), precision):
        assert torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_a_precision_that_is_not_there_is_refused_in_one_sentence():
    with pytest.raises(DeviceError, match=r"^precision=tf32 is for a CUDA GPU, and this trains on cpu"):
        train([make()], PROTOCOL, "cpu", precision="tf32")
    with pytest.raises(DeviceError, match="precision=bfloat16 is unknown: choose float32 or tf32"):
        backend.check_precision("bfloat16", torch.device("cuda"))
