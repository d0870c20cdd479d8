"""What a run's result may depend on: its own row, and nothing else."""

import math
import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from tests.ensemble.runs import CPU, PROTOCOL, make, program
from weightdecay.datasets import Split
from weightdecay.ensemble import stacking
from weightdecay.ensemble.checkpoint import Checkpoint
from weightdecay.ensemble.networks.mlp import mlp
from weightdecay.ensemble.progress import Progress
from weightdecay.ensemble.state import Ensemble, Protocol
from weightdecay.ensemble.training import train
from weightdecay.errors import ConfigError
from weightdecay.run import SATURATED

SGD = {"optimizer": "sgd", "learning_rate": 0.05, "decay": "l2", "weight_decay": 0.0}
FROZEN_NORMS = [5.0521674156188965, 5.079643726348877]  # of the initial weights of seeds 0 and 1


def grid_of_sixty() -> list:
    """Every per-replica setting, four shapes, two optimisers; short."""
    runs = []
    for index in range(60):
        generator = random.Random(index)
        settings = {
            "seed": generator.randrange(100),
            "width": generator.choice([8, 24, 40, 64]),
            "optimizer": generator.choice(["sgd", "adam"]),
            "learning_rate": generator.choice([1e-3, 1e-2]),
            "decay": generator.choice(["l2", "decoupled", "l1", "proximal_l1", "elastic_net"]),
            "weight_decay": generator.choice([0.0, 0.1, 1.0]),
            "eps": generator.choice([1e-3, 1e-8]),
            "batch_norm_eps": generator.choice([1e-2, 1e-5]),
            "label_noise": generator.choice([0.0, 0.1]),
            "hold_norm": generator.choice(["never", "start"]),
            "shuffle": True,
            "train_size": 150,
            "steps": 7,
            "log_every": 5,
        }
        if settings["optimizer"] == "sgd":
            del settings["eps"]  # of Adam alone
        runs.append(make(**settings))
    return list({run.id: run for run in runs}.values())


def by_run(result) -> tuple[pd.DataFrame, pd.DataFrame]:
    runs = result.runs.sort_values("run", ignore_index=True)
    return runs, result.history.sort_values(["run", "step", "metric"], ignore_index=True)


def test_solo_equals_batched_bitwise():
    """A shuffled grid in one piece, in three shards, and each run alone: equal to the last bit."""
    table = grid_of_sixty()
    random.Random(1).shuffle(table)
    whole = by_run(train(table, PROTOCOL, "cpu"))
    alone = [train([run], PROTOCOL, "cpu") for run in table]
    shards = [train(table[start::3], PROTOCOL, "cpu") for start in range(3)]
    for parts in (alone, shards):
        for index, table in enumerate(("runs", "history")):
            pieces = pd.concat([getattr(part, table) for part in parts])
            keys = ["run"] if table == "runs" else ["run", "step", "metric"]
            pieces = pieces.sort_values(keys, ignore_index=True)
            pd.testing.assert_frame_equal(pieces, whole[index], check_exact=True, check_like=True)


def test_full_width_solo_equals_batched_bitwise():
    """The network of the finding itself."""
    runs = [make(width=256, seed=seed, weight_decay=decay, steps=6) for seed in (0, 1) for decay in (0.0, 0.1, 1.0)]
    together = by_run(train(runs, PROTOCOL, "cpu"))[1]
    alone = pd.concat([train([run], PROTOCOL, "cpu").history for run in runs])
    pd.testing.assert_frame_equal(
        alone.sort_values(["run", "step", "metric"], ignore_index=True), together, check_exact=True
    )


@pytest.mark.parametrize("network", ["mlp", "cnn", "scale_invariant_mlp"])
@pytest.mark.parametrize("loss", ["cross_entropy", "squared_error"])
def test_networks_of_every_width_solo_equal_batched_bitwise(network, loss):
    settings = {"dataset": "classes", "network": network, "loss": loss, "shuffle": True, "batch_size": 50, "steps": 9}
    if network != "scale_invariant_mlp":
        settings["batch_norm_eps"] = None
    settings["blocks"] = 3 if network == "cnn" else 2
    widths = [16] if network == "cnn" else [2, 3, 10, 16, 47, 64, 130]
    runs = [make(**settings, width=width, seed=seed, weight_decay=0.1 * seed) for width in widths for seed in range(5)]
    if network == "mlp":
        runs += [run.model_copy(update={"dropout": 0.2 * run.seed}) for run in runs if run.seed]
    together = by_run(train(runs, PROTOCOL, "cpu"))[1]
    alone = pd.concat([train([run], PROTOCOL, "cpu").history for run in runs])
    pd.testing.assert_frame_equal(
        alone.sort_values(["run", "step", "metric"], ignore_index=True), together, check_exact=True
    )


KILLED = """
import sys
from pathlib import Path
from tests.ensemble.runs import PROTOCOL
from tests.ensemble.test_training import interrupted_runs
from weightdecay.ensemble.training import train
result = train(interrupted_runs(), PROTOCOL, "cpu", checkpoint=Path(sys.argv[1]), checkpoint_seconds=0.05)
result.history.to_pickle(sys.argv[2])
result.runs.to_pickle(sys.argv[3])
"""


def interrupted_runs() -> list:
    return [
        make(seed=seed, width=width, steps=12_000, shuffle=shuffle, hold_norm=hold)
        for seed in (0, 1)
        for width, shuffle, hold in ((32, True, "never"), (48, False, "start"))
    ]


def test_killed_at_random_moments_and_resumed_is_bitwise_undisturbed(tmp_path):
    """SIGKILL, three times, each some moments after the process has saved, then to the end."""
    paths = [str(tmp_path / name) for name in ("checkpoint.pt", "history", "runs")]
    command, checkpoint = [sys.executable, "-c", KILLED, *paths], tmp_path / "checkpoint.pt"
    generator = random.Random(0)
    for _ in range(3):
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else None
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": "."})
        while process.poll() is None and not (checkpoint.exists() and checkpoint.stat().st_mtime_ns != before):
            time.sleep(0.01)
        time.sleep(generator.uniform(0.0, 0.3))
        assert process.poll() is None, "finished before it could be killed: make interrupted_runs() longer"
        process.send_signal(signal.SIGKILL)
        process.wait()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": "."})
    undisturbed = train(interrupted_runs(), PROTOCOL, "cpu")
    pd.testing.assert_frame_equal(pd.read_pickle(paths[1]), undisturbed.history, check_exact=True)
    pd.testing.assert_frame_equal(pd.read_pickle(paths[2]), undisturbed.runs, check_exact=True)


@pytest.mark.parametrize("damage", [b"", b"not a checkpoint"])
def test_a_damaged_or_foreign_checkpoint_is_ignored(tmp_path, damage):
    path = tmp_path / "checkpoint.pt"
    runs = [make(steps=20)]
    path.write_bytes(damage)
    first = train(runs, PROTOCOL, "cpu", checkpoint=path)
    other = train([make(steps=20, seed=5)], PROTOCOL, "cpu", checkpoint=path)  # the file is now another table's
    assert not other.history["value"].equals(first.history["value"])
    pd.testing.assert_frame_equal(first.history, train(runs, PROTOCOL, "cpu").history, check_exact=True)


def test_every_seed_has_its_own_initial_weights_and_data_order():
    """On the same data: no two of many seeds alike, near ones and far ones, and both frozen by a number."""
    seeds = [*range(40), 2**20, 2**31, 2**32, 2**33 + 1]
    data = PROTOCOL.splits(make(dataset="classes"))
    protocol = Protocol(lambda run: data, PROTOCOL.network)
    settings = {
        "dataset": "classes",
        "network": "mlp",
        "batch_norm_eps": None,
        "shuffle": True,
        "loss": "cross_entropy",
    }
    start = Ensemble([make(seed=seed, **settings) for seed in seeds], protocol, torch.float32, torch.device("cpu"))
    orders = [start.data_order(seed, epoch=0).flatten() for seed in seeds]
    for values in (start.stack.parameters, orders):
        assert len({tuple(row[:50].tolist()) for row in values}) == len(seeds)
    assert start.stack.norms()[0][:2].tolist() == pytest.approx(FROZEN_NORMS, rel=1e-6)


def test_a_checkpoint_of_a_table_cut_otherwise_is_ignored(tmp_path, monkeypatch):
    path, runs = tmp_path / "checkpoint.pt", [make(steps=20, seed=seed) for seed in range(4)]
    in_one = train(runs, PROTOCOL, "cpu", checkpoint=path)
    monkeypatch.setattr(stacking, "CPU_REPLICAS", 2)
    in_two = train(runs, PROTOCOL, "cpu", checkpoint=path)
    for ours, theirs in zip(by_run(in_two), by_run(in_one), strict=True):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_the_order_of_the_table_does_not_matter_to_a_checkpoint(tmp_path):
    """Interrupted, then resumed with its rows in another order: every run keeps its own history."""
    runs = [make(seed=seed, weight_decay=0.3 * seed, steps=60) for seed in range(5)]
    path, undisturbed = tmp_path / "checkpoint.pt", by_run(train(runs, PROTOCOL, "cpu"))
    saves = []

    def interrupt(checkpoint, state):
        saves.append(original(checkpoint, state))
        if len(saves) == 3:
            raise KeyboardInterrupt

    original = Checkpoint.save
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", interrupt)
        with pytest.raises(KeyboardInterrupt):
            train(runs, PROTOCOL, "cpu", checkpoint=path, checkpoint_seconds=0.0)
    resumed = by_run(train(runs[::-1], PROTOCOL, "cpu", checkpoint=path))
    for ours, theirs in zip(resumed, undisturbed, strict=True):
        pd.testing.assert_frame_equal(ours, theirs, check_exact=True)


def test_time_left_counts_from_where_training_is_resumed(monkeypatch, capsys):
    """900,000 of 1,000,000 steps were done before; at 100 steps/s the rest takes 17 minutes, and one has passed."""
    clock = iter([0.0, 61.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    Progress("half done", 1_000_000, 900_000).advance(6_100)
    assert capsys.readouterr().err == "half done: 91%, about 15.7 min left\n"


def test_a_resumed_training_tells_progress_where_it_starts(tmp_path, monkeypatch):
    """In the middle of a stack: the steps done before are not done in this process."""
    runs, path, told, saves = [make(steps=60), make(seed=1, steps=60)], tmp_path / "checkpoint.pt", [], []
    save = Checkpoint.save

    def interrupt(checkpoint, state):
        save(checkpoint, state)
        saves.append(state["current"]["step"])
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Checkpoint, "save", interrupt)
        train(runs, PROTOCOL, "cpu", checkpoint=path, checkpoint_seconds=0.0)
    monkeypatch.setattr(Progress, "__init__", lambda self, name, total, done=0: told.append((total, done)))
    monkeypatch.setattr(Progress, "advance", lambda self, steps: told.append(steps))
    monkeypatch.setattr(Progress, "close", lambda self: None)
    train(runs, PROTOCOL, "cpu", checkpoint=path)
    assert told[0] == (120, 2 * saves[0]) and 0 < saves[0] < 60
    assert sum(told[1:]) == 120 - 2 * saves[0]


def test_a_diverging_run_is_marked_and_disturbs_no_other():
    calm, wild = make(seed=1, optimizer="sgd", decay="l2"), make(optimizer="sgd", decay="l2", learning_rate=1e30)
    alone = train([calm], PROTOCOL, "cpu")
    both = train([wild, calm], PROTOCOL, "cpu")
    history = both.history[both.history["run"] == calm.id].reset_index(drop=True)
    pd.testing.assert_frame_equal(history, alone.history, check_exact=True)
    marks = both.runs.set_index("run")["diverged_at"]
    assert pd.isna(marks[calm.id]) and 1 < marks[wild.id] < 20
    after = both.history.query("run == @wild.id and step >= @marks[@wild.id]")
    assert len(after) and after["value"].isna().all()


def test_held_norm_stays_and_is_held_from_saturation_on():
    held = train([make(hold_norm="start")], PROTOCOL, "cpu").history.query("metric == 'weight_norm'")["value"]
    assert held.max() - held.min() < 1e-4 * held.max()
    saturating = make(train_size=64, width=128, steps=600, weight_decay=0.5, hold_norm="saturation")
    saturating = saturating.model_copy(update={"log_dense_until": 600})
    history = train([saturating], PROTOCOL, "cpu").history.pivot(index="step", columns="metric", values="value")
    saturated = history.index[history["train_accuracy_batch"] >= SATURATED][0]
    after = history.loc[saturated:, "weight_norm"]
    assert saturated < 500 and after.max() - after.min() < 1e-4 * after.max()
    assert history.loc[:saturated, "weight_norm"].std() > 1e-2


@pytest.mark.parametrize("part", ["all", "normalised", "others"])
def test_a_norm_is_held_once_it_has_fallen_and_of_its_part_alone(part):
    """The free run and the held ones are the same until then; other weights go on."""
    settings = {"steps": 300, "weight_decay": 3.0}
    free = make(**settings)
    before = Ensemble([free], PROTOCOL, torch.float32, CPU)
    before.held_columns = before.stack.columns(part)
    start = before.norm_of_held().item()
    runs = [free, *(make(**settings, held_norm=share * start, hold_part=part) for share in (0.8, 1e-3))]
    programs = [program([run]) for run in runs]
    norms = {run.id: [] for run in runs}
    for one in programs:
        one.ensemble.held_columns = one.ensemble.stack.columns(part)
        for _ in range(300):
            one.advance()
            norms[one.ensemble.run.id].append(one.ensemble.norm_of_held().item())
    free_norm, fallen, low = (np.array(norms[run.id]) for run in runs)
    assert (low == free_norm).all()  # it never falls so far
    first = np.argmax(free_norm <= 0.8 * start)
    assert 10 < first < 290 and (fallen[:first] == free_norm[:first]).all()
    assert fallen[first:] == pytest.approx(0.8 * start, rel=1e-5)
    assert free_norm[-1] < 0.75 * start


def test_the_parts_of_a_network_are_its_weights_before_batch_norm_and_the_others():
    ensemble = Ensemble([make()], PROTOCOL, torch.float32, CPU)
    layout = {(layer, name): offset for layer, name, offset in ensemble.stack.layout}
    spans = {part: ensemble.stack.columns(part) for part in ("all", "normalised", "others")}
    assert spans["all"] == [(0, ensemble.stack.parameters.shape[1])]
    inside = [offset for offset in layout.values() if any(a <= offset < b for a, b in spans["normalised"])]
    assert len(inside) == 4  # two blocks of two linear layers; their biases do nothing but drift
    assert sorted(spans["normalised"] + spans["others"])[0][0] == 0
    assert sum(b - a for part in ("normalised", "others") for a, b in spans[part]) == spans["all"][0][1]


def test_initial_parameters_are_scaled_alike():
    half, whole = (Ensemble([make(init_scale=scale)], PROTOCOL, torch.float64, CPU) for scale in (0.5, 1.0))
    assert torch.equal(2 * half.stack.parameters, whole.stack.parameters)


def test_logging_keeps_the_schedule_and_the_metrics_are_consistent():
    history = train([make()], PROTOCOL, "cpu").history
    steps = {metric: sorted(rows["step"]) for metric, rows in history.groupby("metric")}
    assert steps["test_accuracy"] == [0, 10, 20, 30, 50, 100]
    assert steps["train_accuracy"] == [0, 50, 100]
    assert steps["train_loss_batch"] == [10, 20, 30, 50, 100]
    wide = history.pivot(index="step", columns="metric", values="value")
    assert ((wide["train_accuracy"].dropna() >= 0) & (wide["train_accuracy"].dropna() <= 1)).all()
    assert (wide["weight_norm"] < wide["weight_norm_sum"]).all()
    assert math.isclose(wide.loc[0, "train_loss"], 0.25, abs_tol=0.05)  # untrained sigmoid outputs are near 1/2


def test_a_protocol_measures_what_else_it_wants():
    """At every logged step, of the runs asked for alone; what diverged has no value."""

    def measures(ensemble):
        return {"gradient_norm": ensemble.stack.gradients.norm(dim=1)} if ensemble.step else {}

    runs = [make(seed=0), make(seed=1, learning_rate=1e30)]
    result = train(runs, Protocol(PROTOCOL.splits, PROTOCOL.network, measures), "cpu")
    norms = result.history[result.history["metric"] == "gradient_norm"].set_index(["run", "step"])["value"]
    assert set(norms.index.get_level_values("step")) == {10, 20, 30, 50, 100}
    assert (norms[runs[0].id] > 0).all() and norms[runs[1].id].isna().all()
    assert result.runs.set_index("run").loc[runs[0].id, "gradient_norm"] == norms[runs[0].id, 100]


def test_proximal_l1_makes_zeros_and_the_subgradient_none():
    """Exact ones; after the threshold is passed in one step all is zero, and biases are spared where they are."""
    settings = {"dataset": "classes", "network": "mlp", "loss": "cross_entropy", "batch_norm_eps": None, "steps": 50}
    settings |= {"decay_exclude": "bias_and_norm", "optimizer": "sgd", "learning_rate": 0.1}
    decays = [("l1", 0.02), ("proximal_l1", 0.02), ("elastic_net", 0.04), ("proximal_l1", 1e3), ("decoupled", 0.02)]
    runs = [make(**settings, decay=decay, weight_decay=λ) for decay, λ in decays]
    made = program(runs)
    made.advance(50)
    ensemble = made.ensemble
    zeros = [(ensemble.stack.leaves[0].weight[replica] == 0).float().mean().item() for replica in range(len(runs))]
    assert zeros[0] == zeros[4] == 0 and zeros[3] == 1
    assert 0.1 < zeros[1] < 1 and 0.1 < zeros[2] < 1
    assert (ensemble.stack.leaves[0].bias != 0).all()


def test_gradients_are_kept_without_penalty():
    """After one step from the same weights they are the same whatever the decay."""
    runs = [make(decay=decay, weight_decay=0.5) for decay in ("decoupled", "l2", "l1", "proximal_l1", "elastic_net")]
    made = program(runs)
    made.advance()
    ensemble = made.ensemble
    assert (ensemble.stack.gradients == ensemble.stack.gradients[0]).all() and ensemble.stack.gradients.any()
    assert len({tuple(row[:9].tolist()) for row in ensemble.stack.parameters}) == len(runs)


def test_a_regression_has_no_accuracy():
    """One output, or a loss of differences; and the norm cannot be held from an accuracy on."""
    generator = torch.Generator().manual_seed(0)
    data = {"train": Split(*(torch.randn(64, size, generator=generator) for size in (3, 1)))}
    protocol = Protocol(lambda run: data, lambda runs: mlp(3, 1, 8, 1))
    for loss in ("squared_error", "absolute_error", "smooth_l1"):
        about = {"dataset": "noise", "train_size": 64, "network": "mlp", "width": 8, "blocks": 1}
        run = make(**about, batch_norm_eps=None, loss=loss, **SGD)
        result = train([run], protocol, "cpu")
        assert not any("accuracy" in metric for metric in result.history["metric"].unique())
        losses = result.history.query("metric == 'train_loss'").set_index("step")["value"]
        assert losses[100] < losses[0]
        with pytest.raises(ConfigError, match=r"^.*hold_norm is .?saturation"):
            train([run.model_copy(update={"hold_norm": "saturation"})], protocol, "cpu")


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ConfigError, match="batch_size is 64, but there are only 10 training examples"):
        train([make(train_size=10)], PROTOCOL, "cpu")


def test_the_protocol_sees_the_row():
    """Data and network are functions of the row: label noise reaches the training split only."""
    seen = []

    def recording(run):
        seen.append((run.seed, run.label_noise))
        return PROTOCOL.splits(run)

    protocol = Protocol(recording, PROTOCOL.network)
    train([make(seed=3, steps=1), make(seed=4, steps=1, label_noise=0.5)], protocol, "cpu")
    assert sorted(seen) == [(3, 0.0), (4, 0.5)]
