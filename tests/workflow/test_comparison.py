"""The comparison catches broken trainers and passes what only looks different: small networks, really trained."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

from tests.ensemble import runs as small
from weightdecay import results
from weightdecay.claims.judging import claim, judged, reported
from weightdecay.config import Criterion
from weightdecay.ensemble import training
from weightdecay.ensemble.cpu import CpuProgram
from weightdecay.ensemble.training import train
from weightdecay.results import Results
from weightdecay.run import Run
from weightdecay.statistics.estimates import mean_interval
from weightdecay.workflow import comparison
from weightdecay.workflow.comparison_text import comparison_text

CRITERIA = {"A1": Criterion(source="S1", kind="stated", fixed="before", statement="It decays.", criterion="Enough.")}


def table(seeds: range = range(3)) -> list[Run]:
    """12 settings of a network with BatchNorm on sums of numbers."""
    fixed = {
        "width": 16,
        "train_size": 128,
        "steps": 120,
        "log_every": 60,
        "log_dense_every": 6,
        "log_dense_until": 120,
    }
    return [
        small.make(**fixed, seed=seed, weight_decay=λ, learning_rate=η, batch_norm_eps=eps)
        for λ in (0.0, 1.0, 3.0)
        for η in (3e-3, 6e-3)
        for eps in (1e-5, 1e-2)
        for seed in seeds
    ]


def trained(asked: list[Run], labels: list[Run] | None = None, dtype: torch.dtype = torch.float32) -> Results:
    """The results of the runs `asked` for, under the names of others: what a broken trainer says it has trained."""
    labels = labels or asked
    distinct = list({run.id: run for run in asked}.values())
    found = train(distinct, small.PROTOCOL, device="cpu", dtype=dtype)
    rows, history = found.runs.set_index("run"), dict(list(found.history.groupby("run")))
    runs, curves = [], []
    for run, label in zip(asked, labels, strict=True):
        runs.append(rows.loc[run.id].to_dict() | label.model_dump() | {"run": label.id})
        curves.append(history[run.id].assign(run=label.id))
    frame = pd.DataFrame(runs).astype({"diverged_at": float, "batch_norm_eps": float})
    return Results(frame, pd.concat(curves, ignore_index=True), {})


def compared(here: Results, shipped: Results) -> comparison.Comparison:
    """The curves of one finding, without claims."""
    pairs = comparison.matched(here, shipped)
    alike = comparison.starts_alike(here, shipped)
    curves = comparison.compare_curves(pairs).assign(experiment="test")
    shifts = comparison.compare_shifts(pairs[pairs["run"].isin(alike[alike].index)]).assign(experiment="test")
    return comparison.decided(
        comparison.compare_claims([], []), curves, shifts, comparison.compare_seeds(pairs), [f"{alike.sum()} alike"]
    )


@pytest.fixture(scope="module")
def shipped() -> Results:
    return trained(table())


def test_equal_results_agree_in_every_number(shipped):
    found = compared(shipped, shipped)
    assert found.contradictions == 0 and found.notes == ["36 alike"]
    assert (found.curves["distance"] == 0).all() and len(found.curves) > 400


def test_the_same_seeds_in_another_arithmetic_agree(shipped):
    """float64 stands for another processor: the same but for rounding."""
    found = compared(trained(table(), dtype=torch.float64), shipped)
    assert found.contradictions == 0 and found.notes == ["36 alike"]


def other_seeds(first: int) -> Results:
    return trained(table(range(first, first + 3)), table())


@pytest.mark.parametrize("first", [10, 20, 30])
def test_other_seeds_of_the_same_protocol_agree_and_are_noticed(shipped, first):
    found = compared(other_seeds(first), shipped)
    assert found.contradictions == 0 and found.notes == ["0 alike"]


@pytest.mark.parametrize("factor", [1e-9, 0.5, 2.0])  # as good as none; with none a run would be the control
def test_a_wrong_decay_is_caught(shipped, factor):
    wrong = [run.model_copy(update={"weight_decay": factor * run.weight_decay}) for run in table()]
    found = compared(trained(wrong, table()), shipped)
    assert found.contradictions > 0
    flagged = found.curves[found.curves["contradicts"]]
    assert "weight_norm" in set(flagged["metric"]) | set(found.shifts.loc[found.shifts["contradicts"], "metric"])
    undecayed = flagged["setting"].str.contains("weight_decay 0,") | flagged["setting"].str.endswith("weight_decay 0")
    assert not undecayed.any()  # those are right


def test_seeds_that_are_all_alike_are_caught(shipped):
    alike = [run.model_copy(update={"seed": 0}) for run in table()]
    found = compared(trained(alike, table()), shipped)
    assert len(found.repeats) == 12 and found.notes == ["12 alike"]
    assert compared(shipped, trained(alike, table())).repeats[0].endswith("only as shipped")


def test_seeds_that_diverge_before_they_log_anything_are_not_alike(shipped):
    """On one side all seeds of a setting end before the first logged step, on the other side one does."""
    of_one = shipped.runs.query("weight_decay == 3 and learning_rate == 0.006 and batch_norm_eps == 0.01")
    sides = []
    for lost in (of_one["run"], of_one["run"][:1]):
        runs = shipped.runs.assign(diverged_at=np.where(shipped.runs["run"].isin(lost), 1.0, np.nan))
        kept = ~(shipped.history["run"].isin(lost) & (shipped.history["step"] > 0))
        sides.append(Results(runs, shipped.history.assign(value=shipped.history["value"].where(kept)), {}))
    assert compared(*sides).repeats == compared(*sides[::-1]).repeats == []


def test_running_statistics_that_never_move_are_caught(shipped, monkeypatch):
    """BatchNorm without its momentum: what is evaluated is normalised by the statistics of the start."""

    class Still(CpuProgram):
        def measure(self, full):
            buffers = self.ensemble.stack.buffers
            if self.ensemble.step == 0:
                self.start = buffers.clone()
            buffers.copy_(self.start)
            return super().measure(full)

    monkeypatch.setattr(training, "program_of", Still)
    found = compared(trained(table()), shipped)
    flagged = set(found.curves.loc[found.curves["contradicts"], "metric"])
    flagged |= set(found.shifts.loc[found.shifts["contradicts"], "metric"])
    assert "test_loss" in flagged and not flagged & {"weight_norm", "train_loss_batch"}


def test_runs_that_diverge_on_one_side_alone_are_caught(shipped):
    runs, history = shipped.runs.copy(), shipped.history.copy()
    lost = runs["run"][(runs["weight_decay"] == 3.0) & (runs["learning_rate"] == 6e-3)]
    runs.loc[lost.index, "diverged_at"] = 30.0
    history.loc[history["run"].isin(lost) & (history["step"] >= 30), "value"] = np.nan
    found = compared(Results(runs, history, {}), shipped)
    assert set(found.curves.loc[found.curves["contradicts"], "metric"]) == {"diverged"}
    one = runs.assign(diverged_at=np.where(runs["run"] == lost.iloc[0], 30.0, np.nan))
    assert compared(Results(one, shipped.history, {}), shipped).contradictions == 0


def test_infinite_values_are_no_numbers_and_on_one_side_alone_they_are_caught(shipped):
    history = shipped.history.copy()
    runs = shipped.runs["run"][(shipped.runs["weight_decay"] == 3.0) & (shipped.runs["learning_rate"] == 6e-3)]
    late = history["run"].isin(runs) & (history["metric"] == "weight_norm") & (history["step"] >= 30)
    history.loc[late, "value"] = np.inf
    blown_up = Results(shipped.runs, history, {})
    assert compared(blown_up, blown_up).contradictions == 0
    found = compared(blown_up, shipped)
    assert set(found.curves.loc[found.curves["contradicts"], "metric"]) == {"diverged"}


def test_a_thinned_history_is_compared_where_both_have_it(shipped):
    kept = shipped.history[shipped.history["step"] % 24 == 0]
    found = compared(shipped, Results(shipped.runs, kept, {}))
    assert found.contradictions == 0 and set(found.curves["step"]) <= set(range(24, 121, 24))


def ledger(*values: float, name: str = "Loss", most: float = 1.0, is_judged: bool = True):
    estimate = mean_interval(values)
    part = judged(name, "loss", estimate, most=most) if is_judged else reported(name, "loss", estimate)
    return claim("A1", "test", CRITERIA, [part, judged("Other", "loss", mean_interval([0.1, 0.2, 0.15]), most=1.0)])


def verdict_on(here, shipped) -> pd.DataFrame:
    empty = pd.DataFrame({"p": []})
    parts = comparison.compare_claims([here], [shipped])
    return comparison.decided(parts, empty.copy(), empty.copy(), [], []).parts.set_index("part")


@pytest.mark.parametrize(("spread", "contradicts"), [(0.001, True), (0.008, False)])
def test_opposite_verdicts_contradict_where_they_are_more_than_chance(spread, contradicts):
    reproduced, refuted = (ledger(mean - spread, mean, mean + spread) for mean in (0.98, 1.02))
    assert [found.parts[0].verdict for found in (reproduced, refuted)] == ["reproduced", "refuted"]
    assert verdict_on(refuted, reproduced)["contradicts"].tolist() == [contradicts, False]


def test_an_undecided_verdict_contradicts_nothing():
    reproduced, undecided = ledger(0.979, 0.98, 0.981), ledger(0.97, 0.98, 1.02)
    assert [found.parts[0].verdict for found in (reproduced, undecided)] == ["reproduced", "undecided"]
    assert not verdict_on(undecided, reproduced)["contradicts"].any()


def test_a_verdict_on_what_is_unknown_is_not_compared():
    found = comparison.compare_claims([ledger()], [ledger(0.979, 0.98, 0.981)])
    none = pd.DataFrame({"p": [], "contradicts": [], "experiment": [], "metric": [], "setting": [], "distance": []})
    told = comparison_text(comparison.decided(found, none.copy(), none.copy(), [], []))
    assert "undecided, was reproduced  not compared" in told


def test_quantities_too_far_apart_contradict_under_the_same_verdict():
    assert verdict_on(ledger(0.1, 0.1001, 0.1002), ledger(0.5, 0.5001, 0.5002)).loc["Loss", "contradicts"]
    assert not verdict_on(ledger(0.1, 0.3, 0.2), ledger(0.3, 0.5, 0.4))["contradicts"].any()


def test_what_is_only_reported_is_not_held_against_anything():
    found = verdict_on(ledger(0.1, 0.1001, 0.1002, is_judged=False), ledger(0.5, 0.5001, 0.5002, is_judged=False))
    assert list(found.index) == ["Other"]


def test_verify_trains_what_is_missing_and_agrees(shipped_beside):
    checkout = shipped_beside
    (checkout.path("results/smoke/first/runs.parquet")).unlink()
    done = checkout.run("snakemake", "--cores", "2", "verify", "--config", "scale=smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"A1 +Loss +1 +1 +reproduced +agrees", done.stdout)
    assert "No contradictions in 2 judged quantities" in done.stdout


def test_verify_names_what_contradicts_and_fails(shipped_beside):
    checkout = shipped_beside
    checkout.edit("src/weightdecay/ensemble/training.py", "LOSS = 1.0", "LOSS = 2.0")
    done = checkout.run("snakemake", "--cores", "2", "verify", "--config", "scale=smoke")
    said = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in said
    assert "refuted, was reproduced  CONTRADICTS" in said
    assert said.index("2 contradictions in 2 judged quantities") < said.index("CONTRADICTS")


def test_equal_numbers_are_equal_to_the_last_bit(shipped_beside):
    exact = ("weightdecay", "compare", "results/smoke", "data/reference/smoke", "--exact")
    assert shipped_beside.run(*exact).stdout == "Every number is the same.\n"
    path = shipped_beside.path("results/smoke/first/history.parquet")
    history, metadata = results.read_table(path)
    history.loc[3, "value"] *= 1 + 2**-52
    results.write_table(path, history, metadata)
    done = shipped_beside.run(*exact)
    assert done.returncode == 1 and done.stdout.startswith("first/history.parquet: ") and done.stdout.count("\n") == 1


def test_folders_that_cannot_be_compared_are_refused_in_one_sentence(shipped_beside):
    checkout, shipped = shipped_beside, "data/reference/smoke"

    def refusal(*folders: str) -> str:
        done = checkout.run("weightdecay", "compare", *folders)
        *progress, sentence = done.stderr.splitlines()
        assert done.returncode == 2 and all(line.startswith("comparing ") for line in progress), done.stderr
        return sentence

    assert "error: results/nothing/first/runs.parquet is missing" in refusal("results/nothing", shipped)
    assert "error: results holds results of no finding" in refusal("results/smoke", "results")
    runs = checkout.path("results/smoke/first/runs.parquet")
    frame, metadata = results.read_table(runs)
    results.write_table(runs, frame, metadata | {"scale": "laptop"})
    assert "results/smoke/first is of scale laptop and data/reference/smoke/first of smoke" in refusal(
        "results/smoke", shipped
    )
