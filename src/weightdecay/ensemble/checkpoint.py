"""Checkpoints: one file a shard, replaced atomically, of use only to the table of runs and program that wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from weightdecay.results import atomic_path


class Checkpoint:
    """The file at `path`, or none when `path` is None; `key` names what is trained (config hash, device, stacks)."""

    def __init__(self, path: Path | None, key: str):
        self.path, self.key = path, key

    def save(self, state: dict[str, Any]) -> None:
        """Replace the file; killed at any moment, the old one or the new one is there, whole."""
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(self.path) as temporary:
                torch.save({"key": self.key, **state}, temporary)

    def load(self) -> dict[str, Any] | None:
        """The last saved state; None when there is none, or it is another table's, or it cannot be read."""
        if self.path is None or not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception:  # torch raises many kinds for a damaged file, and a checkpoint is only ever a shortcut
            return None
        return state if isinstance(state, dict) and state.get("key") == self.key else None
