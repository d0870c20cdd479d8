"""The measurement's own rules, with contestants made up: who is refused, what a ratio is, what a command refuses."""

import importlib.util
import json
import sys

import pytest
import torch

from weightdecay import __main__
from weightdecay.bench import contest, report, workers
from weightdecay.bench.cases import CASES, MLP_WIDTHS


class Fake:
    """A worker whose turns and losses are given."""

    def __init__(self, loss: float, turns: list[float]):
        self.loss, self.turns = loss, list(turns)

    def call(self, method, *arguments):
        if method == "prepare":
            return {"stacked": arguments[1], "loss": self.loss, "cold_seconds": 1.5, "memory_mib": 300.0}
        if method == "turn":
            return self.turns.pop(0)
        return {"product_rate": 647_168 / 2e-5}[method]  # so that the floor of mlp_16 is 20 µs


def test_ratios_are_taken_repeat_by_repeat():
    """The machine halves its speed in the second repeat, and both contestants with it."""
    fakes = {"sequential": Fake(0.5, [1e-3, 2e-3, 1e-3]), "ours": Fake(0.5, [1e-4, 2e-4, 0.8e-4])}
    result = contest.measure("mlp_16", fakes, "cpu", [4], repeats=3)
    sequential, ours = result.rows
    assert sequential.ratio == 1 and sequential.replicas == 1
    assert ours.ratio == pytest.approx(10) and ours.milliseconds == pytest.approx(0.1)
    assert ours.floor_share == pytest.approx(0.2)


def test_a_contestant_with_another_loss_is_refused_and_named():
    fakes = {"sequential": Fake(0.5, [1e-3]), "jax": Fake(0.502, [1e-3]), "ours": Fake(0.5004, [1e-3])}
    result = contest.measure("mlp_16", fakes, "cpu", [4], repeats=1)
    assert [row.kind for row in result.rows] == ["sequential", "ours"]
    assert result.refused == ["R = 4, JAX vmap+scan+jit: its loss after 50 steps is 0.502000, not 0.500000"]
    assert "left out: R = 4, JAX" in report.table(result)


@pytest.mark.parametrize("loss", [0.6, float("nan")])
def test_nothing_is_reported_when_ours_is_the_one_that_is_wrong(loss):
    fakes = {"sequential": Fake(0.5, [1e-3]), "ours": Fake(loss, [1e-3])}
    with pytest.raises(workers.Refused, match=r"mlp_16 cannot be measured: R = 4, weightdecay: its loss"):
        contest.measure("mlp_16", fakes, "cpu", [4], repeats=1)


def test_by_default_no_case_takes_minutes():
    for fake_flops, expected in ((2_000_000, (1, 4, 16, 64, 256)), (300_000_000, (1, 4)), (10**11, (1,))):
        assert tuple(contest.default_replicas(fake_flops, "cpu")) == expected
    assert 1000 in contest.default_replicas(10**11, "cuda")


def test_a_worker_says_why_it_failed():
    worker = workers.Worker("fused", "cpu", None)
    try:
        with pytest.raises(workers.Refused, match=r"fused=True: KeyError: 'nowhere'"):
            worker.call("prepare", "nowhere", 1)
        assert worker.call("product_rate") > 0  # and it goes on
    finally:
        worker.stop()
    assert not worker.process.is_alive()


def test_jax_is_left_out_with_a_sentence_where_it_is_not_installed(monkeypatch):
    assert workers.missing("sequential") is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert workers.missing("jax") == "JAX is not installed (pip install --editable .[peers])"


def synthetic(case: str, milliseconds: dict[tuple[str, int], float]) -> contest.CaseResult:
    rows = [
        contest.Row(case, kind, replicas, replicas, 0.5, 2.0, 400.0, [each / 1e3] * 3, 1.0, 0.5)
        for (kind, replicas), each in milliseconds.items()
    ]
    return contest.CaseResult(case, 10**6, 1e11, 1e-5, rows, [])


def test_the_figure_takes_each_ones_best_number_of_replicas():
    result = synthetic("mlp_4", {("ours", 1): 0.3, ("ours", 16): 0.1, ("ours", 64): 0.2, ("jax", 1): 0.4})
    assert {kind: row.replicas for kind, row in result.best().items()} == {"ours": 16, "jax": 1}


def test_the_summary_has_the_best_of_each_and_how_much_faster_ours_is():
    result = synthetic("mlp_4", {("jax", 1): 0.4, ("jax", 4): 0.2, ("ours", 1): 0.3, ("ours", 16): 0.1})
    assert report.summary([result]).splitlines() == [
        "| ms a replica-step | jax | ours | floor |",
        "|---|---|---|---|",
        "| `mlp_4` | 0.2 (2.00×) | **0.1** | 0.01 (50%) |",
    ]
    slower = synthetic("mlp_4", {("jax", 4): 0.05, ("ours", 16): 0.1})
    assert report.summary([slower]).splitlines()[2] == "| `mlp_4` | **0.05** (0.50×) | 0.1 | 0.01 (50%) |"


def test_the_numbers_written_are_those_measured_and_the_figure_needs_two_widths(tmp_path):
    results = [synthetic(f"mlp_{width}", {("sequential", 1): 0.4, ("ours", 16): 0.1 * width}) for width in MLP_WIDTHS]
    report.write_numbers(tmp_path, {"device": "a CPU"}, results)
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["cases"][1]["rows"][1]["seconds"] == pytest.approx([1.6e-3] * 3)
    assert not report.draw(tmp_path, {"device": "a CPU"}, results[:1])
    assert report.draw(tmp_path, {"device": "a CPU"}, results)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.json", "bench.pdf", "bench.png"]


def run(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["weightdecay", "bench", *arguments])
    __main__.main()


def succeeds(monkeypatch, *arguments: str) -> None:
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *arguments)
    assert not stop.value.code


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["mlp_5"], "error: case is 'mlp_5', which there is not (did you mean mlp_"),
        (["everything"], "error: case is 'everything', which there is not (known are residual_64, "),
        (["--peers", "jaxx"], "error: peer is 'jaxx', which there is not (did you mean jax?)."),
        (["--output", "/dev/null/here"], "error: cannot write in /dev/null/here: "),
        pytest.param(
            ["--device", "cuda"],
            "error: device=cuda was asked for",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
        (["--replicas", "0"], "greater than or equal to 1"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(monkeypatch, capsys, arguments, sentence):
    with pytest.raises(SystemExit) as stop:
        run(monkeypatch, *arguments)
    assert stop.value.code == 2
    assert sentence in capsys.readouterr().err


def test_list_names_every_case_and_peer(monkeypatch, capsys):
    succeeds(monkeypatch, "--list")
    words = capsys.readouterr().out.split()
    assert {*CASES, *workers.KINDS} <= set(words)


def test_a_small_run_end_to_end(monkeypatch, capsys, tmp_path):
    """Real processes: the table has both contestants, the file their repeats, and ours is the faster."""
    monkeypatch.setattr(contest, "TURN_SECONDS", {"cpu": 0.05})
    succeeds(monkeypatch, *"mlp_4 --peers sequential --replicas 16 --repeats 2 --output".split(), str(tmp_path))
    out = capsys.readouterr().out
    assert "mlp_4: MLP 40-4-4-10" in out and "No figure" in out
    rows = json.loads((tmp_path / "bench.json").read_text())["cases"][0]["rows"]
    assert [(row["kind"], row["stacked"], len(row["seconds"])) for row in rows] == [
        ("sequential", 1, 2),
        ("ours", 16, 2),
    ]
    assert rows[1]["ratio"] > 1
