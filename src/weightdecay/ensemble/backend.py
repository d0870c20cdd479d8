"""Where and with what arithmetic an ensemble trains: device, threads, and the CPU's float32 matmul library."""

from __future__ import annotations

import functools
import platform
import resource
import time
from collections.abc import Callable
from contextlib import contextmanager
from types import ModuleType
from typing import Literal, get_args

import torch

from weightdecay.errors import DeviceError

Matmul = Literal["mkl", "onednn"]
Precision = Literal["float32", "tf32"]  # of a GPU's products of float32 matrices: IEEE, or 10 bits of each mantissa
MAX_ERROR = 1e-6  # relative, against float64: what float32 arithmetic gives; bfloat16 would be near 1e-2
MIN_GAIN = 1.25  # below that the two libraries tie, and a noisy clock must not decide which one a run gets


def resolve_device(device: str) -> torch.device:
    """`auto`, `cpu` or `cuda` to a device. Raises DeviceError when CUDA is asked for and there is none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device=cuda was asked for, but torch finds no CUDA GPU here: use device=auto or device=cpu")
    if device not in ("auto", "cpu", "cuda"):
        raise DeviceError(f"device={device} is unknown: choose auto, cpu or cuda")
    return torch.device("cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu")


def check_precision(precision: str, device: torch.device) -> None:
    """Raises DeviceError when `precision` is not one of ours, or is one that `device` does not have."""
    if precision not in get_args(Precision):
        raise DeviceError(f"precision={precision} is unknown: choose {' or '.join(get_args(Precision))}")
    if precision == "tf32" and device.type != "cuda":
        raise DeviceError(f"precision=tf32 is for a CUDA GPU, and this trains on {device.type}: use precision=float32")


@functools.cache
def triton_kernels() -> ModuleType | None:
    """Our kernels for GPUs, or None where they cannot be compiled; torch's operations then do the same."""
    try:
        from weightdecay.ensemble import triton_kernels
    except ImportError:  # torch for CPUs comes without Triton
        return None
    return triton_kernels if triton_kernels.works() else None


def description(device: torch.device) -> dict[str, str]:
    """What else decides the last bits of a result: the processor, and whose kernels it runs."""
    if device.type == "cpu":
        return {"device": platform.processor() or platform.machine(), "kernels": "numba"}
    return {"device": torch.cuda.get_device_name(), "kernels": "triton" if triton_kernels() else "torch"}


def peak_memory(device: torch.device) -> float:
    """MiB: of the GPU's allocator, or the process's resident set."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1)


@contextmanager
def arithmetic(device: torch.device, matmul: Matmul, precision: Precision = "float32"):
    """One thread, denormals flushed, IEEE float32 but where TF32 is asked for, and the chosen CPU matmul, for a while.

    One thread a process: two processes of one thread give several times the steps of one process of two.
    """
    threads, mkldnn = torch.get_num_threads(), torch.backends.mkldnn.matmul.fp32_precision
    tf32 = torch.backends.cuda.matmul.allow_tf32
    if device.type == "cpu":
        torch.set_num_threads(1)
        _use(matmul)
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        with torch.no_grad():
            yield
    finally:
        torch.set_flush_denormal(False)  # torch's default; it cannot be asked
        torch.set_num_threads(threads)
        torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.backends.mkldnn.matmul.fp32_precision = mkldnn


def choose_matmul() -> Matmul:
    """The faster of torch's two CPU libraries for float32 products, at this machine's start-up.

    MKL does not use the full vector width of some AMD CPUs, where oneDNN is twice as fast. Asking torch for bfloat16
    is what routes float32 products to oneDNN; on CPUs with matrix units that may truly round to bfloat16, so oneDNN is
    taken only when its error against float64 is float32's. Costs about 10 ms.
    """
    if not torch.backends.mkldnn.is_available():
        return "mkl"
    before = torch.backends.mkldnn.matmul.fp32_precision
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(2, 256, 256, generator=generator) for _ in range(2))
    exact = x.double() @ w.double()
    try:
        _use("onednn")
        error = ((x @ w).double() - exact).norm() / exact.norm()
        if error > MAX_ERROR:
            return "mkl"
        onednn = _fastest(lambda: torch.bmm(x, w))
        _use("mkl")
        return "onednn" if _fastest(lambda: torch.bmm(x, w)) > MIN_GAIN * onednn else "mkl"
    finally:
        torch.backends.mkldnn.matmul.fp32_precision = before


def _use(matmul: Matmul) -> None:
    torch.backends.mkldnn.matmul.fp32_precision = "bf16" if matmul == "onednn" else "none"


def _fastest(call: Callable[[], object], repeats: int = 7) -> float:
    """Seconds of the fastest of `repeats` calls, one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    return min(times)
