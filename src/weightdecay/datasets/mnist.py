"""MNIST (LeCun et al. 1998): handwritten digits of 28 × 28 pixels, for users who have its files.

Nothing is downloaded. The four gzipped idx files are read from data/mnist/, and each must have the checksum that is
commonly published for it. `digits_28` needs no files.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
import torch

from weightdecay.datasets import DataSet, Split, Splits
from weightdecay.errors import ConfigError
from weightdecay.registry import DATASETS

CLASSES, PIXELS = 10, 28 * 28
FOLDER = Path("data/mnist")  # in the folder that the pipeline runs in
DATASETS.register(DataSet("mnist", inputs=PIXELS, outputs=CLASSES))
SHA256 = {
    "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}


@lru_cache(maxsize=1)  # 0.2 GB with all examples
def mnist(seed: int, train_size: int, validation_size: int, test_size: int) -> Splits:
    """MNIST: the seed draws training and validation examples from its 60,000, test examples from its 10,000.

    Inputs `[N, 784]` in [0, 1], one-hot targets `[N, 10]`. ConfigError for files that are missing or are not MNIST's,
    and for more examples than there are.
    """
    pools = {part: pool(part) for part in ("train", "t10k")}
    available = {part: len(labels) for part, (_, labels) in pools.items()}
    wanted = {"train": train_size + validation_size, "t10k": test_size}
    for part, size in wanted.items():
        if not 1 <= size <= available[part] or min(train_size, validation_size) < 1:
            raise ConfigError(
                f"train_size {train_size}, validation_size {validation_size}, test_size {test_size}: each must "
                f"be at least 1, the first two together at most {available['train']}, the last {available['t10k']}."
            )
    chosen = {
        part: np.random.default_rng([seed, stream]).permutation(available[part]) for stream, part in enumerate(wanted)
    }
    places = {
        "train": ("train", chosen["train"][validation_size : validation_size + train_size]),
        "validation": ("train", chosen["train"][:validation_size]),
        "test": ("t10k", chosen["t10k"][:test_size]),
    }
    targets = np.eye(CLASSES, dtype=np.float32)
    return {
        name: Split(
            torch.from_numpy(pools[part][0][rows].astype(np.float32) / 255),
            torch.from_numpy(targets[pools[part][1][rows]]),
        )
        for name, (part, rows) in places.items()
    }


@cache
def pool(part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the images `[N, 784]` and labels `[N]` of "train" or "t10k", as bytes."""
    images = idx(FOLDER / f"{part}-images-idx3-ubyte.gz")
    return images.reshape(len(images), PIXELS), idx(FOLDER / f"{part}-labels-idx1-ubyte.gz")


def idx(path: Path) -> np.ndarray:
    """Read the array in a gzipped idx file: a magic number with the rank, big-endian sizes, then bytes."""
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: put MNIST's four idx files there, or use digits_28.") from error
    if hashlib.sha256(packed).hexdigest() != SHA256[path.name]:
        raise ConfigError(f"{path} is not MNIST's file of that name: its checksum is another.")
    content = gzip.decompress(packed)
    rank = content[3]
    shape = np.frombuffer(content, ">u4", rank, offset=4)
    return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape)
