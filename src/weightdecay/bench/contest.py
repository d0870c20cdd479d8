"""The measurement: contestants are checked against each other, and then take turns.

The speed of a machine drifts. So that this favours nobody, contestants take turns, and ratios are taken within one
repeat. On a CPU, time is the CPU time of the process (`floor.clock`). All contestants start from the same weights and
train on the same batches; one whose loss after 50 steps differs from the first contestant's is not timed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from weightdecay.bench import floor
from weightdecay.bench.cases import CASES, Case
from weightdecay.bench.workers import KINDS, Refused, Worker, cores, missing

TOLERANCE = 1e-3  # relative; 50 steps of float32 in another order of summation stay within 1e-5 or so
ON_GPU = ("jax_default", "ours_tf32")  # both use TF32, which only a GPU has
ON_GPU_TOLERANCE = 1e-2
REPLICAS = {"cpu": (1, 4, 16, 64, 256), "cuda": (1, 64, 256, 1000)}
CPU_STEP_FLOPS = 2e9  # larger steps (20 ms and up) are measured only on request
TURN_SECONDS = {"cpu": 0.15, "cuda": 0.3}


@dataclass
class Row:
    """One contestant with R replicas: its seconds per replica-step in every repeat."""

    case: str
    kind: str
    replicas: int
    stacked: int  # replicas that train at once: the trainer cuts R runs into stacks
    loss: float
    cold_seconds: float | None
    memory_mib: float
    seconds: list[float] = field(default_factory=list)
    ratio: float | None = None  # to the sequential loop, the median over repeats
    floor_share: float | None = None

    @property
    def milliseconds(self) -> float:
        """Return the median milliseconds per replica-step."""
        return statistics.median(self.seconds) * 1e3

    def speed_over(self, other: Row) -> float:
        """Return how many times as fast it is as the other: the median over repeats."""
        return statistics.median(theirs / own for theirs, own in zip(other.seconds, self.seconds, strict=True))


@dataclass
class CaseResult:
    """All rows of a case, what was refused, and the floor: FLOPs, FLOP/s of the library, seconds a replica-step."""

    case: str
    flops: int
    product_rate: float
    floor_seconds: float
    rows: list[Row]
    refused: list[str]
    two_processes: float | None = None  # replica-steps/s of two processes over those of one, the median over repeats
    optimizer_bandwidth: float | None = None  # of our optimiser alone over that of copying; GPU

    def best(self) -> dict[str, Row]:
        """Return the fastest row of each kind."""
        fastest: dict[str, Row] = {}
        for row in self.rows:
            if row.kind not in fastest or row.milliseconds < fastest[row.kind].milliseconds:
                fastest[row.kind] = row
        return fastest

    def numbers(self) -> dict[str, Any]:
        """Return everything in a form that JSON can hold."""
        return asdict(self)


def default_kinds(device: str) -> list[str]:
    """Return all kinds except those that take minutes to compile and, on a CPU, the lower precisions of a GPU."""
    return [kind for kind in KINDS if kind != "vmap_compiled" and (kind not in ON_GPU or device == "cuda")]


def default_replicas(flops: int, device: str) -> list[int]:
    """Return R for a case with so many FLOPs a step; on a CPU only values that keep the benchmark within minutes."""
    return [count for count in REPLICAS[device] if device == "cuda" or count == 1 or count * flops <= CPU_STEP_FLOPS]


@contextmanager
def contestants(kinds: Sequence[str], device: str, say: Callable[[str], None]) -> Iterator[dict[str, Worker]]:
    """Start a process for each kind that can run here; on a CPU also "twin", a second one of ours on another core."""
    with ExitStack() as stack:
        free = cores() if device == "cpu" else []
        workers = {}
        for kind in kinds:
            if reason := missing(kind):
                say(f"{KINDS[kind][3]} is left out: {reason}.")
                continue
            workers[kind] = Worker(kind, device, free[0] if free else None)
            stack.callback(workers[kind].stop)
        if len(free) > 1:
            workers["twin"] = Worker("ours", device, free[1])
            stack.callback(workers["twin"].stop)
        yield workers


def measure(
    name: str, workers: dict[str, Worker], device: str, replicas: Sequence[int] | None, repeats: int
) -> CaseResult:
    """Measure one case with all contestants. Raises Refused if ours cannot take part, or another fails midway."""
    ours, case = workers["ours"], CASES[name]
    rows, refused = _prepare(case, workers, replicas or default_replicas(floor.flops(case), device))
    most = max((row.replicas for row in rows if row.kind == "ours"), default=None)
    if most is None:
        raise Refused(f"{name} cannot be measured: {'; '.join(refused)}")
    if "twin" in workers:
        workers["twin"].call("prepare", name, most)
    rates, pairs = [], []
    seconds = TURN_SECONDS[device]
    for _ in range(repeats):
        rates.append(ours.call("product_rate"))
        for row in rows:
            row.seconds.append(workers[row.kind].call("turn", row.replicas, seconds))
        if "twin" in workers:
            pairs.append(_pair(ours, workers["twin"], most, seconds))
    bandwidth = ours.call("copy_bandwidth") if device == "cuda" else None
    least = floor.floor_seconds(case, max(rates), bandwidth)
    baseline = next((row for row in rows if row.kind == "sequential"), None)
    for row in rows:
        row.floor_share = least * 1e3 / row.milliseconds
        if baseline:
            row.ratio = row.speed_over(baseline)
    result = CaseResult(name, floor.flops(case), max(rates), least, rows, refused)
    result.two_processes = statistics.median(pairs) if pairs else None
    if bandwidth:
        result.optimizer_bandwidth = ours.call("optimizer_bandwidth", name, most) / bandwidth
    return result


def _prepare(case: Case, workers: dict[str, Worker], counts: Sequence[int]) -> tuple[list[Row], list[str]]:
    """Return the contestants that reach the loss of the first, and the reasons why others were left out."""
    rows: list[Row] = []
    refused = []
    for kind, worker in workers.items():
        if kind == "twin" or (kind == "grouped" and case.run.network != "cnn"):
            continue
        for count in [1] if kind in ("sequential", "fused") else counts:
            try:
                about = worker.call("prepare", case.name, count)
            except Refused as reason:
                refused.append(f"R = {count}, {reason}")
                break  # a failure, of memory for example, repeats with more replicas
            row = Row(case.name, kind, count, **about)
            expected = rows[0].loss if rows else row.loss
            if abs(row.loss - expected) <= (ON_GPU_TOLERANCE if kind in ON_GPU else TOLERANCE) * abs(expected):
                rows.append(row)
            else:
                refused.append(
                    f"R = {count}, {KINDS[kind][3]}: its loss after 50 steps is {row.loss:.6f}, not {expected:.6f}"
                )
    return rows, refused


def _pair(ours: Worker, twin: Worker, replicas: int, seconds: float) -> float:
    """Return the replica-steps/s of two processes at once, each on its own core, over those of one process."""
    alone = ours.call("turn", replicas, seconds)
    for worker in (ours, twin):
        worker.start("turn", replicas, seconds)
    together = [worker.result() for worker in (ours, twin)]
    return alone * sum(1 / each for each in together)
