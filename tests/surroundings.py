"""What a notebook, another library or a shell may have set before our code runs in the same process."""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch


def setting(change: Callable[[], object], undo: Callable[[], object]) -> Callable[[], AbstractContextManager]:
    @contextmanager
    def changed() -> Iterator[None]:
        change()
        try:
            yield
        finally:
            undo()

    return changed


@contextmanager
def seeded() -> Iterator[None]:
    """Everybody's global generators somewhere else."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    random.seed(1), np.random.seed(1), torch.manual_seed(1)  # noqa: NPY002
    yield
    random.setstate(states[0]), np.random.set_state(states[1]), torch.set_rng_state(states[2])  # noqa: NPY002


@contextmanager
def strict_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


THREADS = torch.get_num_threads()
PRODUCTS = torch.backends.mkldnn.matmul
SURROUNDINGS: dict[str, Callable[[], AbstractContextManager]] = {
    "default dtype float64": setting(
        lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_default_dtype(torch.float32)
    ),
    "default dtype float16": setting(
        lambda: torch.set_default_dtype(torch.float16), lambda: torch.set_default_dtype(torch.float32)
    ),
    "default device meta": setting(lambda: torch.set_default_device("meta"), lambda: torch.set_default_device(None)),
    "within a device": lambda: torch.device("meta"),
    "other global seeds": seeded,
    "two threads": setting(lambda: torch.set_num_threads(2), lambda: torch.set_num_threads(THREADS)),
    "autograd": torch.enable_grad,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "deterministic algorithms": setting(
        lambda: torch.use_deterministic_algorithms(True), lambda: torch.use_deterministic_algorithms(False)
    ),
    "products of medium precision": setting(
        lambda: torch.set_float32_matmul_precision("medium"), lambda: torch.set_float32_matmul_precision("highest")
    ),
    "products in bfloat16 on the CPU": setting(
        lambda: setattr(PRODUCTS, "fp32_precision", "bf16"), lambda: torch.set_float32_matmul_precision("highest")
    ),
    "denormals flushed": setting(lambda: torch.set_flush_denormal(True), lambda: torch.set_flush_denormal(False)),
    "NumPy raises": lambda: np.errstate(all="raise"),
    "warnings are errors": strict_warnings,
}


def ambience() -> dict[str, object]:
    """All of it as it is now, to be compared with what it is afterwards."""
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "random": random.getstate(),
        "numpy": repr(np.random.get_state()),  # noqa: NPY002
        "torch": torch.random.default_generator.initial_seed(),
        "threads": torch.get_num_threads(),
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "autocast": (torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "products": (PRODUCTS.fp32_precision, torch.backends.cuda.matmul.fp32_precision),
        "errors": np.geterr(),
    }
