"""The benchmark's output: a table that grows case by case, raw numbers as JSON, and a figure of time against width."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from weightdecay.bench.cases import CASES, MLP_WIDTHS
from weightdecay.bench.contest import CaseResult
from weightdecay.bench.workers import KINDS
from weightdecay.files import atomic_path

COLUMNS = f"{'':<44} {'R':>5} {'ms':>9} {'steps/s':>9} {'ratio':>7} {'floor':>6}"
LEGEND = (
    "R: replicas trained at once. ms: median a replica-step. steps/s: replica-steps. ratio: speed over the sequential\n"
    "loop, median over repeats. floor: share of the time that the matrix products (on a GPU also the optimiser's\n"
    "bytes) would take at this machine's best rate. On a CPU, time is what the process used of its one core."
)
# Okabe & Ito's colours and different markers; our line is the thick one
LOOKS = {
    "sequential": ("0.45", "o"),
    "fused": ("black", "s"),
    "vmap": ("#E69F00", "^"),
    "vmap_compiled": ("#CC79A7", "v"),
    "jax": ("#0072B2", "D"),
    "jax_default": ("#56B4E9", "d"),
    "ours_tf32": ("#F0A070", "o"),
    "ours": ("#D55E00", "o"),
}


def table(result: CaseResult) -> str:
    """Return the lines of the table for one case."""
    lines = [
        f"{result.case}: {CASES[result.case].title}",
        f"  {result.flops / 1e6:.1f} MFLOP at {result.product_rate / 1e9:.0f} GFLOP/s: "
        f"floor {result.floor_seconds * 1e3:.4g} ms a replica-step",
    ]
    for row in result.rows:
        name = KINDS[row.kind][3] + (f" (of {row.replicas} runs)" if row.stacked < row.replicas else "")
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}×"
        lines.append(
            f"  {name:<42} {row.stacked:>5} {row.milliseconds:>9.4g} {1e3 / row.milliseconds:>9.0f} {ratio:>7} "
            f"{row.floor_share:>6.0%}"
        )
    if result.two_processes:
        lines.append(f"  two processes of ours on two cores: {result.two_processes:.2f} × the steps/s of one")
    if result.optimizer_bandwidth:
        lines.append(f"  our optimiser alone: {result.optimizer_bandwidth:.0%} of the bandwidth of copying")
    return "\n".join([*lines, *(f"  left out: {reason}" for reason in result.refused)])


def summary(results: Sequence[CaseResult]) -> str:
    """Return a table in Markdown: ms per replica-step of each kind at its best R, and how many times as fast ours is.

    The fastest is in bold.
    """
    every = dict.fromkeys(row.kind for result in results for row in result.rows)
    kinds = [kind for kind in KINDS if kind in every]
    lines = [
        f"| ms a replica-step | {' | '.join(kinds)} | floor |",
        f"|---|{'---|' * (len(kinds) + 1)}",
    ]
    for result in results:
        rows = result.best()
        ours = rows["ours"]
        times = {kind: f"{row.milliseconds:.3g}" for kind, row in rows.items()}
        fastest = min(rows, key=lambda kind: rows[kind].milliseconds)
        times[fastest] = f"**{times[fastest]}**"
        cells = [
            f"{times[kind]} ({ours.speed_over(rows[kind]):.2f}×)" if kind in rows else ""
            for kind in kinds[:-1]  # ours comes last
        ]
        cells += [times["ours"], f"{result.floor_seconds * 1e3:.3g} ({ours.floor_share:.0%})"]
        lines.append(f"| `{result.case}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def start_and_memory(results: Sequence[CaseResult]) -> str:
    """Return the time of the cold start of every process, and the most memory that it needed, as text."""
    rows = [row for result in results for row in result.rows]
    lines = ["Cold start (seconds from torch imported to 50 steps trained) and most memory (MiB):"]
    for kind in dict.fromkeys(row.kind for row in rows):
        cold = next((row.cold_seconds for row in rows if row.kind == kind and row.cold_seconds), None)
        start = "" if cold is None else f"{cold:.1f}"
        lines.append(f"  {KINDS[kind][3]:<42} {start:>5} {max(r.memory_mib for r in rows if r.kind == kind):>9.0f}")
    return "\n".join(lines)


def write_numbers(folder: Path, machine: dict[str, Any], results: Sequence[CaseResult]) -> None:
    """Write <folder>/bench.json: every repeat of every row."""
    content = {"machine": machine, "cases": [result.numbers() for result in results]}
    with atomic_path(folder / "bench.json") as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def draw(folder: Path, machine: dict[str, Any], results: Sequence[CaseResult]) -> bool:
    """Draw <folder>/bench.pdf and .png: ms per replica-step against width.

    Returns False, and draws nothing, when fewer than two widths were measured.
    """
    by_width = {width: result for width in MLP_WIDTHS for result in results if result.case == f"mlp_{width}"}
    if len(by_width) < 2:
        return False
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    from weightdecay.report import style

    style.apply()
    figure, axes = plt.subplots(figsize=(style.COLUMN, style.COLUMN))
    fastest = {width: result.best() for width, result in by_width.items()}
    for kind, (colour, marker) in LOOKS.items():
        points = [(width, rows[kind].milliseconds) for width, rows in fastest.items() if kind in rows]
        if points:
            thick = 2.0 if kind == "ours" else 1.0
            axes.plot(*zip(*points, strict=True), color=colour, marker=marker, label=KINDS[kind][3], lw=thick)
    floor = [(width, result.floor_seconds * 1e3) for width, result in by_width.items()]
    axes.plot(*zip(*floor, strict=True), color="black", ls=":", lw=1.0, label="floor: matrix products")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="width of an MLP 40–W–W–10, batch 128",
        ylabel="ms a replica-step, at each one's best R",
        title=machine["device"],
    )
    axes.set_xticks(list(by_width), [str(width) for width in by_width])
    axes.xaxis.set_minor_locator(NullLocator())
    figure.legend(loc="outside lower center", ncols=2, columnspacing=0.8, handletextpad=0.4)
    style.save(figure, folder, "bench", "paper")
    return True
