"""Checkpoints: one file for each shard, replaced atomically. Only the same runs and the same code can resume from it.

A file has a line that names its kind, the SHA-256 of the rest, and then the bytes that torch writes. Bytes are read
only if they fit their digest, and only as tensors and plain values, so no file can run code. Training can always do
without a checkpoint: one that cannot be read or written costs a line on stderr, and nothing else.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from pathlib import Path
from typing import Any

import torch

from weightdecay.errors import ResultError
from weightdecay.files import CHECKPOINT, atomic_path, is_checkpoint

KIND = CHECKPOINT + b"1\n"
DIGEST = hashlib.sha256().digest_size  # bytes
# The types of the fields of a file, which was written during the training of a stack, or between two stacks.
FIELDS = [{"key": str, "stacks": list, "current": current, "seconds": float} for current in (dict, type(None))]


class Checkpoint:
    """The checkpoint at `path`; if `path` is None, nothing is kept. `key` names what is trained, and with what."""

    def __init__(self, path: str | Path | None, key: str):
        self.path, self.key = None if path is None else Path(path), key
        self.said = False  # whether the user was told that it cannot be written

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file. If the process is killed meanwhile, either the old or the new file is there, complete."""
        if self.path is None:
            return
        content = io.BytesIO()
        content.write(KIND + bytes(DIGEST))
        torch.save({"key": self.key, **state}, content)
        with content.getbuffer() as written:
            written[len(KIND) : len(KIND) + DIGEST] = hashlib.sha256(written[len(KIND) + DIGEST :]).digest()
        if os.path.isfile(self.path) and not is_checkpoint(self.path):
            self._say_once(f"no checkpoint is kept, as {self.path} is there already and is none: move it away.")
            return
        try:
            with atomic_path(self.path) as temporary:
                temporary.write_bytes(content.getbuffer())
        except (OSError, ResultError, ValueError) as error:
            self._say_once(
                f"no checkpoint can be kept in {self.path.parent}, where {content.getbuffer().nbytes / 2**20:.1f} MiB "
                f"are needed ({_reason(error.__cause__ or error)}): training goes on without it."
            )

    def load(self) -> dict[str, Any] | None:
        """Return the last saved state; None if there is none, it is damaged, or it belongs to other runs."""
        if self.path is None:
            return None
        try:
            content = self.path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            return self._ignored(f"it cannot be read: {_reason(error)}")
        body = memoryview(content)[len(KIND) + DIGEST :]
        if content[: len(KIND) + DIGEST] != KIND + hashlib.sha256(body).digest():
            return self._ignored("it is damaged, or no checkpoint of this version")
        try:
            state = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        except Exception:  # torch raises many kinds of errors for unknown content, and training can do without it
            return self._ignored("it holds something else than tensors and numbers")
        if not isinstance(state, dict) or {name: type(value) for name, value in state.items()} not in FIELDS:
            return self._ignored("it holds something else than the state of a training")
        if state.pop("key") != self.key:
            return self._ignored("it belongs to other runs, another device or other library versions")
        return state

    def _ignored(self, why: str) -> dict[str, Any] | None:
        print(f"the checkpoint {self.path} is ignored, and training starts anew: {why}.", file=sys.stderr)
        return None

    def _say_once(self, sentence: str) -> None:
        """Print the sentence, but only once, as a save is tried every half minute."""
        if not self.said:
            print(sentence, file=sys.stderr)
        self.said = True


def _reason(error: BaseException) -> str:
    return (getattr(error, "strerror", None) or str(error)).rstrip(".")
