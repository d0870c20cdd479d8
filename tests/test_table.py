"""From configuration to table to shards: what is trained is what was asked for, each once, or nothing at all."""

from collections import Counter
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from weightdecay.config import Config, load_config, scale_of, scales_of
from weightdecay.errors import ConfigError
from weightdecay.run import Run
from weightdecay.shards import cut
from weightdecay.table import config_hash, hash_of, table_of

DEFAULTS = {
    **{"dataset": "blobs", "train_size": 100, "network": "mlp", "width": 8, "blocks": 1, "batch_norm_eps": None},
    **{"loss": "cross_entropy", "optimizer": "sgd", "learning_rate": 0.1, "decay": "decoupled", "weight_decay": 0.1},
    **{"batch_size": 10, "shuffle": True, "steps": 50, "log_every": 10, "log_dense_every": 1},
}
SCALE = {"seeds": 2, "shards": 2, "sweeps": {"main": [{"weight_decay": [0.0, 0.1]}]}}


def document(**changes) -> dict:
    """A configuration that is right, with top-level keys replaced."""
    base = {"experiment": "blobs", "title": "Blobs", "sources": ["S1"], "datasets": ["blobs"], "defaults": DEFAULTS}
    criteria = {"A1": {"source": "S1", "statement": "It falls.", "criterion": "Fall > 0.", "thresholds": {"fall": 0.0}}}
    return {**base, "criteria": criteria, "scales": {"smoke": SCALE}, **changes}


def scales(block: dict, **changes) -> dict:
    return {"smoke": {**SCALE, "sweeps": {"main": [block]}, **changes}}


def load(tmp_path, content) -> Config:
    path = tmp_path / "blobs" / "config.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return load_config(path)


def run(**changes) -> Run:
    return Run(**{"experiment": "blobs", "sweep": "main", "seed": 0, **DEFAULTS, **changes})


runs = st.builds(
    run,
    seed=st.integers(0, 3),
    width=st.sampled_from([2, 8, 64, 256]),
    steps=st.integers(1, 1000),
    weight_decay=st.sampled_from([0.0, 0.01, 1.0]),
    network=st.just("residual_mlp"),
    batch_norm_eps=st.sampled_from([None, 1e-5, 1e-2]),
)
tables = st.lists(runs, min_size=1, max_size=40, unique_by=lambda run: run.id)


def test_a_block_is_the_product_of_its_lists_over_all_seeds(tmp_path):
    block = {"weight_decay": [0, 0.1, 1], "learning_rate": [0.1, 0.3], "width": 16}
    table = table_of(load(tmp_path, document(scales=scales(block, seeds=4))), "smoke")
    settings = Counter((run.weight_decay, run.learning_rate, run.seed, run.width) for run in table)
    assert settings == Counter((w, lr, seed, 16) for w in (0.0, 0.1, 1.0) for lr in (0.1, 0.3) for seed in range(4))


def test_a_block_may_choose_its_seeds(tmp_path):
    table = table_of(load(tmp_path, document(scales=scales({"seed": [5, 7]}))), "smoke")
    assert [run.seed for run in table] == [5, 7]


def test_equal_settings_in_two_sweeps_are_trained_once_for_the_first(tmp_path):
    sweeps = {"main": [{"weight_decay": [0.1, 0.2]}], "again": [{"weight_decay": [0.2, 0.3]}]}
    table = table_of(load(tmp_path, document(scales=scales({}, seeds=1, sweeps=sweeps))), "smoke")
    assert [(run.sweep, run.weight_decay) for run in table] == [("main", 0.1), ("main", 0.2), ("again", 0.3)]


def test_an_id_names_the_settings_and_nothing_else():
    assert run(weight_decay=1).id == run(weight_decay=1.0).id == run(weight_decay=1.0, sweep="other").id
    assert run().id == "d79b9ec0544a"  # results on disk are found by it: it must not change between versions


@given(runs, runs)
def test_ids_are_equal_exactly_when_settings_are(first, second):
    assert (first.id == second.id) == (first == second)
    assert len(first.id) == 12 and int(first.id, 16) >= 0


@given(tables, st.integers(1, 50))
def test_shards_divide_the_table(table, count):
    parts = cut(table, count)
    assert len(parts) == min(count, len(table)) and all(parts)
    assert sorted(run.id for part in parts for run in part) == sorted(run.id for run in table)
    assert parts == cut(table, count)


@given(tables, st.integers(1, 8))
def test_no_shard_costs_more_than_a_fair_share_and_one_run(table, count):
    costs = [sum(run.cost() for run in part) for part in cut(table, count)]
    assert max(costs) <= 4 / 3 * sum(costs) / len(costs) + max(run.cost() for run in table)


@given(tables, st.integers(1, 8))
def test_runs_that_can_share_a_batch_stay_together(table, count):
    parts = cut(table, count)
    stacks_by_shard = sum(len({run.stack_key() for run in part}) for part in parts)
    assert stacks_by_shard <= len({run.stack_key() for run in table}) + 4 * len(parts)


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[1].glob("experiments/*/config.yaml")))
@pytest.mark.parametrize("scale", ["laptop", "paper"])
def test_the_shards_of_every_finding_are_balanced(path, scale):
    config = load_config(path)
    parts = cut(table_of(config, scale), scale_of(config, scale).shards)
    costs = [sum(run.cost() for run in part) for part in parts]
    assert max(costs) <= {"laptop": 1.15, "paper": 4 / 3}[scale] * sum(costs) / len(costs)


def test_replicas_of_one_batch_differ_only_in_what_a_batch_can_hold():
    assert run().stack_key() == run(seed=3, learning_rate=1.0, weight_decay=0.0, decay="l2", sweep="x").stack_key()
    assert run().stack_key() != run(width=9).stack_key()
    plain, small, large = (run(network="residual_mlp", batch_norm_eps=eps).stack_key() for eps in (None, 1e-5, 1e-2))
    assert plain != small == large  # without BatchNorm it is another network


@given(tables, st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_the_config_hash_is_of_the_settings_not_of_their_order(table, random):
    shuffled = random.sample(table, len(table))
    assert config_hash(shuffled) == config_hash(table)
    assert config_hash([*table[1:], run(seed=99)]) != config_hash(table)


FINDINGS = sorted(Path(__file__).parents[1].glob("experiments/*/config.yaml"))
OF_FINDINGS = [(path, scale) for path in FINDINGS for scale in scales_of(load_config(path))]


@pytest.mark.parametrize(("path", "scale"), OF_FINDINGS, ids=[f"{path.parent.name}-{of}" for path, of in OF_FINDINGS])
def test_the_hash_of_a_scale_is_that_of_its_table(path, scale):
    config = load_config(path)
    assert hash_of(config, scale) == config_hash(table_of(config, scale))


def test_the_hash_of_a_scale_is_that_of_its_table_where_blocks_overlap(tmp_path):
    blocks = [{"weight_decay": [0.0, 0.1]}, {"weight_decay": 0.1, "seeds": [1, 11]}]
    sweeps = {"main": blocks, "again": [{"weight_decay": [0.1, 0.2], "decay": ["l2", "decoupled"]}]}
    config = load(tmp_path, document(scales={"smoke": {**SCALE, "seeds": 12, "sweeps": sweeps}}))
    assert hash_of(config, "smoke") == config_hash(table_of(config, "smoke"))


@pytest.mark.parametrize(
    "changes", [{"steps": 51}, {"learning_rate": 0.2}, {"batch_norm_eps": 1e-5}, {"dataset": "mnist1d"}]
)
def test_the_hash_of_a_scale_changes_with_any_setting(tmp_path, changes):
    before = hash_of(load(tmp_path, document()), "smoke")
    assert hash_of(load(tmp_path, document(defaults={**DEFAULTS, **changes})), "smoke") != before
    assert hash_of(load(tmp_path, document(scales=scales({"weight_decay": [0.0, 0.1]}, seeds=3))), "smoke") != before
    assert hash_of(load(tmp_path, document(title="Other blobs")), "smoke") == before


def test_numbers_as_scientists_write_them(tmp_path):
    text = yaml.safe_dump(document()).replace("learning_rate: 0.1", "learning_rate: 1e-1")
    assert load(tmp_path, text) == load(tmp_path, document())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (document(titel="x"), "titel is not a known key (did you mean title?)."),
        (
            document(defaults={**DEFAULTS, "weigth_decay": 1.0}),
            "defaults: weigth_decay is not a setting of a run (did you mean weight_decay?).",
        ),
        (
            document(scales=scales({"lambda": [1.0]})),
            "scales.smoke.sweeps.main[0]: lambda is not a setting of a run (known are seed, ",
        ),
        (
            document(scales=scales({"weight_decay": [0.1, -0.1]})),
            "main[0]: weight_decay is -0.1, but must be 0 or a number from 1e-30 to 1e+30 (the weight decay λ is",
        ),
        (document(scales=scales({"weight_decay": []})), "weight_decay is an empty list, but must hold at least one"),
        (
            document(defaults={**DEFAULTS, "loss": "sqared_error"}),
            "defaults: loss is 'sqared_error', which is not known (did you mean squared_error?).",
        ),
        (
            document(scales=scales({"network": ["mlp", "mpl"]})),
            "network is 'mpl', which is not known (did you mean mlp?).",
        ),
        (
            document(scales=scales({"dataset": "mnits1d"})),
            "main[0]: dataset is 'mnits1d', which is not known (did you mean mnist1d?).",
        ),
        (document(scales=scales({"dataset": "bobs"})), "which is not known (did you mean blobs?)."),
        (document(datasets=[]), "defaults: dataset is 'blobs', which is not known (known are binary_addition, "),
        (
            document(scales=scales({"optimizer": "adamw"})),
            "main[0]: optimizer is 'adamw', which is not known (did you mean adam?).",
        ),
        (
            document(scales=scales({"l1_ratio": 0.3})),
            "main[0]: l1_ratio is 0.3, but must be 0.5, or left out, where decay is not elastic_net.",
        ),
        (document(scales=scales({"decay": "none"})), "weight_decay is 0.1, but must be 0 where decay is none."),
        (document(scales=scales({"steps": 10.5})), "steps is 10.5, but must be a valid integer"),
        (document(scales=scales({"steps": "a while"})), "steps is 'a while', but must be a valid integer"),
        (
            document(scales=scales({"seed": [0, 1, -1]})),
            "seed is -1, but must be an integer from 0 to 9223372036854775807 (the seed decides the data",
        ),
        (document(scales=scales({"weight_decay": float("nan")})), "weight_decay is nan, but must be a finite number"),
        (document(scales=scales({}, seeds=0)), "scales.smoke.seeds is 0, but must be an integer from 1 to 1000000"),
        (document(scales=scales({}, seed=1)), "scales.smoke.seed is not a known key (did you mean seeds?)."),
        (document(scales={"laptop": SCALE}), "scales.smoke is missing (the smallest scale shows"),
        (
            document(scales={**document()["scales"], "papr": SCALE}),
            "scales.papr is not a known key (did you mean paper?).",
        ),
        (document(criteria={"A1": {"source": "S1", "criterion": "x"}}), "criteria.A1.statement is missing (the statem"),
        (document(experiment="other"), "experiment is 'other', but must be the name of its folder, 'blobs'."),
        ("title: [", "line 1, is not YAML: expected the node content, but found '<stream end>'."),
        ("title: a\ntitle: b", "line 2: 'title' is given twice."),
        ("", "must be a valid dictionary or instance of Config."),
    ],
)
def test_bad_input_is_one_sentence_naming_file_and_key(tmp_path, content, sentence):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, content)
    assert sentence in str(caught.value)
    assert str(tmp_path / "blobs" / "config.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_an_unknown_scale(tmp_path):
    with pytest.raises(ConfigError, match=r"config\.yaml cannot be read: No such file"):
        load_config(tmp_path / "config.yaml")
    with pytest.raises(ConfigError, match=r"scale is 'papers', but must be one of smoke, laptop, paper \(did you mean"):
        table_of(load(tmp_path, document()), "papers")
