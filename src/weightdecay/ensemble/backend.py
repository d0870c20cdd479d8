"""Where and with what arithmetic an ensemble trains: device, threads, precision, kernels."""

from __future__ import annotations

import functools
import platform
import resource
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import get_args

import torch
from threadpoolctl import threadpool_limits

from weightdecay.errors import DeviceError
from weightdecay.setting_types import Precision

KERNELS = {path.stem for path in (Path(__file__).parent / "triton").glob("*.py")}


def resolve_device(device: str) -> torch.device:
    """Return the device that `auto`, `cpu` or `cuda` stands for. Raises DeviceError for `cuda` without a GPU."""
    if device == "cuda" and not torch.cuda.is_available():
        raise DeviceError("device=cuda was asked for, but torch finds no CUDA GPU here: use device=auto or device=cpu")
    if device not in ("auto", "cpu", "cuda"):
        raise DeviceError(f"device={device} is unknown: choose auto, cpu or cuda")
    return torch.device("cuda" if device == "cuda" or (device == "auto" and torch.cuda.is_available()) else "cpu")


def check_precision(precision: str, device: torch.device) -> None:
    """Raise DeviceError for an unknown `precision`, and for one that the device does not have."""
    if precision not in get_args(Precision):
        raise DeviceError(f"precision={precision} is unknown: choose {' or '.join(get_args(Precision))}")
    if precision == "tf32" and device.type != "cuda":
        raise DeviceError(f"precision=tf32 is for a CUDA GPU, and this trains on {device.type}: use precision=float32")


@functools.cache
def triton_kernels(name: str, device: torch.device) -> ModuleType | None:
    """Return the module `triton/<name>.py` with the kernels of that layer or optimiser, if they exist and compile here.

    Without kernels, torch's operations do the same.
    """
    if device.type != "cuda" or name not in KERNELS or not _triton_works():
        return None
    return import_module(f"weightdecay.ensemble.triton.{name}")


@functools.cache
def _triton_works() -> bool:
    """Return whether a kernel compiles and runs here: Triton needs a GPU that it supports, and a C compiler."""
    try:  # a torch for CPUs has no Triton
        tensors = [torch.zeros(1, 1, dtype=torch.float32, device="cuda") for _ in range(3)]
        coefficients = torch.zeros(6, 1, dtype=torch.float32, device="cuda")
        import_module("weightdecay.ensemble.triton.sgd").update(*tensors, coefficients, 1)
    except Exception:  # many kinds of errors can mean this
        return False
    return True


def description(device: torch.device) -> dict[str, str]:
    """Return what else decides the last bits of a result: the processor, its kernels and its matrix products."""
    if device.type == "cpu":
        import llvmlite.binding
        import numba

        from weightdecay.ensemble import blas

        kernels = f"numba {numba.__version__} for {llvmlite.binding.get_host_cpu_name()}"
        return {"device": processor(), "kernels": kernels, "matmul": blas.description()}
    kernels = "triton" if _triton_works() else "torch"
    return {"device": torch.cuda.get_device_name(), "kernels": kernels, "matmul": "cublas"}


def processor() -> str:
    """Return the CPU's name, with its family and model on Linux, as some names say little."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    parts = (line.partition(":") for line in reversed(lines) if ":" in line)
    fields = {name.strip(): value.strip() for name, _, value in parts}
    if not {"model name", "cpu family", "model"} <= fields.keys():
        return platform.processor() or platform.machine()
    return f"{fields['model name']} (family {fields['cpu family']}, model {fields['model']})"


def peak_memory(device: torch.device) -> float:
    """Return the peak memory in MiB: of the GPU's allocator, or of the process's resident set."""
    if device.type == "cuda":
        return round(torch.cuda.max_memory_allocated() / 2**20, 1)
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10, 1)


@contextmanager
def arithmetic(device: torch.device, precision: Precision = "float32") -> Iterator[None]:
    """Set torch's arithmetic for training, and restore the old settings afterwards.

    Products are IEEE float32, or TF32 if `precision` says so. Subnormal numbers are flushed to zero. On a CPU torch
    uses one thread, as two processes of one thread do several times the steps of one process of two. Settings of a
    notebook (default dtype and device, autocast, autograd) do not change any number.
    """
    threads, dtype, flushed = torch.get_num_threads(), torch.get_default_dtype(), flushes_denormals()
    if device.type == "cpu":
        torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    torch.set_default_dtype(torch.float32)
    try:
        with ExitStack() as surroundings:
            surroundings.enter_context(_products(precision))
            surroundings.enter_context(torch.no_grad())
            surroundings.enter_context(threadpool_limits(1, "blas"))
            for kind in {"cpu", device.type}:
                surroundings.enter_context(torch.autocast(kind, enabled=False))
            if torch.get_default_device().type != "cpu":  # only if needed: it adds a microsecond to every call
                surroundings.enter_context(torch.device("cpu"))
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_flush_denormal(flushed)
        torch.set_num_threads(threads)


@contextmanager
def _products(precision: Precision) -> Iterator[None]:
    """Set how torch rounds its float32 matrix products, on a GPU and on CPUs that have a choice."""
    backends = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul  # type: ignore[attr-defined] # set at run time
    before = [backend.fp32_precision for backend in backends]
    try:
        everywhere = torch.get_float32_matmul_precision()
    except RuntimeError:  # torch refuses to tell if somebody has set a single backend
        everywhere = None
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    try:
        yield
    finally:
        if everywhere is not None:
            torch.set_float32_matmul_precision(everywhere)
        for backend, value in zip(backends, before, strict=True):
            backend.fp32_precision = value


def flushes_denormals() -> bool:
    """Return whether this thread flushes subnormal numbers to zero. Torch has no function that tells."""
    return sys.float_info.min / 2 == 0.0
