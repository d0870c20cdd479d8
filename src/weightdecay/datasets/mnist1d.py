"""MNIST-1D (Greydanus & Kobak 2020): ten classes of short noisy signals, made by the authors' own package `mnist1d`.

Its generator is seeded and works offline; `get_dataset`, which downloads, is never called. There are 16,000 examples,
the first 4,000 for training and the other 12,000 for testing, as in the double-descent notebook of the authors'
repository. Validation examples come from a second run of the generator, so they are neither trained nor tested on.
"""

from __future__ import annotations

import hashlib
import io
import random
from contextlib import suppress
from functools import cache, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from weightdecay import files
from weightdecay.datasets import DataSet, Split, Splits
from weightdecay.errors import ConfigError, ResultError
from weightdecay.registry import DATASETS
from weightdecay.surroundings import without

FOLDER = Path("data/cache")  # in the folder that the pipeline runs in
CLASSES, LENGTH = 10, 40
TRAIN_POOL, TEST_POOL, VALIDATION_POOL = 4_000, 12_000, 4_000
AVAILABLE = {"train": TRAIN_POOL, "validation": VALIDATION_POOL, "test": TEST_POOL}
DIGEST = hashlib.sha256().digest_size  # bytes
SEED, VALIDATION_SEED = 42, 43  # of the generator: 42 is the package's own
DATASETS.register(DataSet("mnist1d", inputs=LENGTH, outputs=CLASSES))

# What becomes of a noisy label. `resampled`: it is drawn anew from all classes, so a tenth of them stay right (the
# notebook). `incorrect`: it becomes one of the nine wrong classes (Nakkiran et al. 2019).
Noise = Literal["resampled", "incorrect"]


@lru_cache(maxsize=32)  # the same object for every width and λ, which the trainer then holds once
def mnist1d(
    seed: int, train_size: int, validation_size: int, test_size: int, label_noise: float, noise: Noise
) -> Splits:
    """Draw the splits of a seed from the pools: inputs `[N, 40]`, one-hot targets `[N, 10]`.

    The seed draws the examples, without replacement, and the noise, so every network of a seed sees the same labels.
    Training and validation labels are noisy, because in practice there are no clean labels to tune on; test labels are
    clean. A smaller training set is the beginning of a larger one of the same seed, labels included. ConfigError for
    sizes that exceed the pools, noise outside [0, 1], and validation examples that lack a class.
    """
    if not 0 <= label_noise <= 1:
        raise ConfigError(f"label_noise is {label_noise:g}, but must lie between 0 and 1.")
    sizes = {"train": train_size, "validation": validation_size, "test": test_size}
    for name, size in sizes.items():
        if not 1 <= size <= AVAILABLE[name]:
            raise ConfigError(
                f"{name}_size is {size}, but must lie between 1 and {AVAILABLE[name]}: MNIST-1D has no more here."
            )
    inputs, labels = pool(SEED, TRAIN_POOL + TEST_POOL)
    pools = {
        "train": (inputs[:TRAIN_POOL], labels[:TRAIN_POOL]),
        "validation": pool(VALIDATION_SEED, VALIDATION_POOL),
        "test": (inputs[TRAIN_POOL:], labels[TRAIN_POOL:]),
    }
    splits = {}
    for stream, (name, (x, y)) in enumerate(pools.items()):
        generator = np.random.default_rng([seed, stream])  # one for each split, so that its size changes no other split
        chosen = generator.permutation(len(y))[: sizes[name]]
        if name == "validation" and len(set(y[chosen])) < CLASSES:
            lacking = ", ".join(str(label) for label in sorted({*range(CLASSES)} - {*y[chosen].tolist()}))
            raise ConfigError(
                f"the {sizes[name]} validation examples of seed {seed} have none of class {lacking}: take more of them."
            )
        given = noisy(y, 0.0 if name == "test" else label_noise, noise, generator)[chosen]
        splits[name] = Split(
            torch.from_numpy(x[chosen].astype(np.float32)), torch.from_numpy(np.eye(CLASSES, dtype=np.float32)[given])
        )
    return splits


@cache
def pool(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `size` examples of the package's generator: signals `[size, 40]` in float64, labels `[size]`; read-only.

    Making an example takes half a millisecond. So the pool is kept in `FOLDER`, if there is a folder data/, under the
    versions that made it.
    """
    versions = "-".join(version(name) for name in ("mnist1d", "numpy", "scipy"))
    file = FOLDER / f"mnist1d-{seed}-{size}-{versions}.kept"
    found = _kept(file)
    if found is None:
        found = _made(seed, size)
        if FOLDER.parent.is_dir():
            _keep(file, *found)
    for array in found:
        array.setflags(write=False)
    return found


def _made(seed: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Make the examples. The package seeds the global generators of Python and NumPy; we restore their states."""
    with without("MPLBACKEND"):  # a notebook's backend need not be installed here
        from mnist1d.data import get_dataset_args, make_dataset  # takes a second, as it imports matplotlib

    arguments = get_dataset_args()
    arguments.num_samples, arguments.seed, arguments.train_split = size, seed, 1.0
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        made = make_dataset(arguments)
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    return made["x"], made["y"]


def _kept(file: Path) -> tuple[np.ndarray, np.ndarray] | None:
    """Read a kept pool, which begins with the SHA-256 of the rest; None if it is missing or damaged."""
    try:
        content = file.read_bytes()
    except OSError:
        return None
    digest, packed = content[:DIGEST], content[DIGEST:]
    if hashlib.sha256(packed).digest() != digest:
        return None
    with np.load(io.BytesIO(packed)) as arrays:
        return arrays["signals"], arrays["labels"]


def _keep(file: Path, signals: np.ndarray, labels: np.ndarray) -> None:
    """Keep a pool in the file; do nothing if it cannot be written."""
    packed = io.BytesIO()
    np.savez(packed, signals=signals, labels=labels)
    with suppress(OSError, ResultError):
        files.write(file, hashlib.sha256(packed.getvalue()).digest() + packed.getvalue())


def noisy(labels: np.ndarray, share: float, noise: Noise, generator: np.random.Generator) -> np.ndarray:
    """Return the labels `[N]` with noise: each is replaced with probability `share`, in the way that `noise` says."""
    chosen = generator.random(len(labels)) < share
    if noise == "resampled":
        drawn = generator.integers(0, CLASSES, len(labels))
    else:
        drawn = (labels + generator.integers(1, CLASSES, len(labels))) % CLASSES
    return np.where(chosen, drawn, labels)
