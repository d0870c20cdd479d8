"""The benchmark's command: checks its arguments, then measures case after case and prints each result at once."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from weightdecay.bench import contest, report
from weightdecay.bench.cases import CASES
from weightdecay.bench.workers import KINDS, Refused, Worker, cores
from weightdecay.ensemble.backend import resolve_device
from weightdecay.errors import ConfigError
from weightdecay.files import check_writable


def listing() -> str:
    """Return the names of all cases and peers, as text."""
    cases = [f"  {name:<16} {case.title}" for name, case in CASES.items()]
    return "\n".join(["cases:", *cases, "peers:", *(f"  {kind:<16} {about[3]}" for kind, about in KINDS.items())])


def bench(
    cases: Sequence[str] | None,
    replicas: Sequence[int] | None,
    peers: Sequence[str] | None,
    device: str,
    repeats: int,
    output: Path | None,
) -> None:
    """Print the table as it grows, and write it to `output`; None stands for the default selection.

    Raises ConfigError for an unknown name, DeviceError where there is no GPU, ResultError where it cannot write, and
    at the end Refused, if a case could not be measured.
    """
    device = resolve_device(device).type
    names = _known("case", cases or list(CASES), CASES)
    kinds = _known("peer", [*(peers or contest.default_kinds(device)), "ours"], KINDS)
    if output:
        check_writable(output)
    results: list[contest.CaseResult] = []
    failed: list[str] = []
    with contest.contestants(kinds, device, print) as workers:
        machine = _machine(workers)
        print(", ".join(f"{value}" if name == "device" else f"{name} {value}" for name, value in machine.items()))
        print(f"\n{report.LEGEND}\n\n{report.COLUMNS}")
        for name in names:
            try:
                results.append(contest.measure(name, workers, device, replicas, repeats))
            except Refused as reason:
                failed.append(str(reason))
                continue
            print(report.table(results[-1]), flush=True)
            if output:
                report.write_numbers(output, machine, results)
    if results:
        print(f"\nEach at its best R; in brackets how many times as fast ours is:\n{report.summary(results)}")
        print(f"\n{report.start_and_memory(results)}")
    if output and not report.draw(output, machine, results):
        print("No figure: it takes at least two of the cases mlp_<width>.")
    if failed:
        raise Refused("; ".join(failed))


def _machine(workers: dict[str, Worker]) -> dict[str, Any]:
    """Return a description of the machine that measures."""
    about = workers["ours"].call("machine")
    try:
        about["jax"] = version("jax")
    except PackageNotFoundError:
        pass
    return about | {"cores": len(cores())}


def _known(what: str, names: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the names, each once. Raises ConfigError for an unknown name."""
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, list(known), n=1)
            hint = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise ConfigError(f"{what} is {name!r}, which there is not ({hint}).")
    return list(dict.fromkeys(names))
