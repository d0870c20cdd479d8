"""The progress of a shard: a bar on a terminal, or now and then a line in a log."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

HEARTBEAT_SECONDS = 60


class Progress:
    """Counts the replica-steps of a shard, and estimates the remaining time from the speed so far."""

    def __init__(self, name: str, total: int, done: int = 0):
        self.name, self.total, self.done, self.start = name, total, done, done
        self.began = self.spoke = time.monotonic()
        self.bar = None
        if sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, desc=name, unit="replica-step", unit_scale=True)

    def advance(self, replica_steps: int) -> None:
        """Add finished replica-steps. Without a bar it prints at most one line a minute."""
        self.done += replica_steps
        if self.bar is not None:
            self.bar.update(replica_steps)
        elif (now := time.monotonic()) - self.spoke > HEARTBEAT_SECONDS:
            self.spoke = now
            left = (self.total - self.done) * (now - self.began) / (self.done - self.start)
            print(f"{self.name}: {self.done / self.total:.0%}, about {left / 60:.1f} min left", file=sys.stderr)

    def close(self) -> None:
        """Remove the bar from the terminal."""
        if self.bar is not None:
            self.bar.close()
