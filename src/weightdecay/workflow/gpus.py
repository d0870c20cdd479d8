"""Which GPU a training takes where several are visible: one that no other training holds.

The pipeline runs as many trainings at once as `--resources gpu=N` allows, and `weightdecay train` may run in several
terminals. A GPU is held by the name of a socket, which no file system sees and which ends with the process, however it
ends. Slurm, or CUDA_VISIBLE_DEVICES as the user set it, says which GPUs there are to choose from.
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
    """`auto`, `cpu` or `cuda` to `cpu` or `cuda`; the one place that decides it.

    Not `local`: for another machine, which is taken at its word and checks by itself.
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
    """Leave one GPU visible to this process, and wait for it where others hold all. Call it before CUDA starts.

    A training on `cpu` takes none.
    """
    visible = _visible() if device != "cpu" else []
    if _held or len(visible) < 2 or sys.platform != "linux":
        return  # nothing to choose
    said = False
    while (free := next(filter(_hold, visible), None)) is None:
        if not said:
            print(f"waiting for one of {len(visible)} GPUs, as other trainings hold all of them", file=sys.stderr)
            said = True
        time.sleep(1)
    os.environ["CUDA_VISIBLE_DEVICES"] = free


def usable() -> bool:
    """Whether torch can compute on a GPU here. A process of its own asks, so that CUDA does not start in this one."""
    try:  # torch takes seconds to load, and cannot do without the driver
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    asks = [sys.executable, "-c", "import sys, torch; sys.exit(not torch.cuda.is_available())"]
    return subprocess.run(asks, capture_output=True, check=False).returncode == 0


def _visible() -> list[str]:
    """The GPUs that this process may use, as CUDA names them."""
    if (chosen := os.environ.get("CUDA_VISIBLE_DEVICES")) is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    if not shutil.which("nvidia-smi"):
        return []
    listed = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False).stdout
    return [str(number) for number, _ in enumerate(filter(lambda line: line.startswith("GPU "), listed.splitlines()))]


def _hold(gpu: str) -> bool:
    """Whether this process holds the GPU now: no other one of this user's did."""
    name = socket.socket(socket.AF_UNIX)
    try:
        name.bind(f"\0weightdecay/{os.getuid()}/gpu/{gpu}")
    except OSError:
        name.close()
        return False
    _held.append(name)
    return True
