"""Chooses a GPU for training. If several are visible, a training takes one that no other training holds.

The pipeline runs as many trainings at once as `--resources gpu=N` allows, and `weightdecay train` may run in several
terminals. A process holds a GPU by binding the name of a socket. The name is not in the file system, and is free again
when the process ends, however it ends. Slurm, or the user through CUDA_VISIBLE_DEVICES, says which GPUs may be chosen.
"""

import ctypes
import os
import shutil
import socket
import subprocess
import sys
import time
from typing import Literal, get_args

from weightdecay.errors import ConfigError, DeviceError

DeviceName = Literal["auto", "cpu", "cuda"]
DEVICES: tuple[str, ...] = get_args(DeviceName)
_held: list[socket.socket] = []


def resolve(device: str, local: bool = True) -> str:
    """Return the device that is meant by `auto`, `cpu` or `cuda`: `cpu` or `cuda`. Only this function decides it.

    If not `local`, training runs on another machine. Then `cuda` is not checked here; that machine will check it.
    """
    if device not in DEVICES:
        raise ConfigError(f"device={device} is unknown: choose from {', '.join(DEVICES)}.")
    if device == "cpu" or (device == "cuda" and not local):
        return device
    if usable():
        return "cuda"
    if device == "cuda":
        raise DeviceError("device=cuda asks for a GPU, but torch finds none here: choose auto or cpu.")
    return "cpu"


def take_one(device: str) -> None:
    """Leave one GPU visible to this process, and wait for it if other trainings hold all. Call it before CUDA starts.

    On `cpu` it does nothing.
    """
    visible = _visible() if device != "cpu" else []
    if _held or len(visible) < 2 or sys.platform != "linux":
        return  # there is nothing to choose
    said = False
    while (free := next(filter(_hold, visible), None)) is None:
        if not said:
            print(f"waiting for one of {len(visible)} GPUs, as other trainings hold all of them", file=sys.stderr)
            said = True
        time.sleep(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = free


def usable() -> bool:
    """Return whether torch can compute on a GPU here. Another process asks torch, so that CUDA does not start here."""
    try:  # torch takes seconds to load, and needs the driver
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    asks = [sys.executable, "-c", "import sys, torch; sys.exit(not torch.cuda.is_available())"]
    return subprocess.run(asks, capture_output=True, check=False).returncode == 0


def _visible() -> list[str]:
    """Return the GPUs that this process may use, by CUDA's names."""
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False).stdout
    return [str(number) for number, _ in enumerate(filter(lambda line: line.startswith("GPU "), listed.splitlines()))]


def _hold(gpu: str) -> bool:
    """Try to hold the GPU; return False if another process of this user holds it."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0weightdecay/{os.getuid()}/gpu/{gpu}")
    except OSError:
        name.close()
        return False
    _held.append(name)
    return True
