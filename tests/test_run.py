"""A run's settings are within bounds, and each of them has an effect; from Python as from a configuration."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.test_table import DEFAULTS, document, load, run, scales
from weightdecay.errors import ConfigError
from weightdecay.run import Run, broken_rule, telling_values
from weightdecay.table import table_of

SCALE_INVARIANT = {"network": "scale_invariant_mlp", "batch_norm_eps": 1e-5}
NO_EFFECT = [
    ({"decay": "none", "weight_decay": 0.5}, "weight_decay is 0.5, but must be 0 where decay is none."),
    (
        {"optimizer": "adam", "momentum": 0.9},
        "momentum is 0.9, but must be 0, or left out, where optimizer is not sgd.",
    ),
    ({"beta1": 0.8}, "beta1 is 0.8, but must be 0.9, or left out, where optimizer is not adam."),
    ({"beta2": 0.98}, "beta2 is 0.98, but must be 0.999, or left out, where optimizer is not adam."),
    ({"eps": 1e-3}, "eps is 0.001, but must be 1e-08, or left out, where optimizer is not adam."),
    ({"l1_ratio": 0.3}, "l1_ratio is 0.3, but must be 0.5, or left out, where decay is not elastic_net."),
    (
        {"loss": "absolute_error", "label_noise": 0.1},
        "label_noise is 0.1, but must be 0 where loss is absolute_error, which has no labels.",
    ),
    (
        {"loss": "smooth_l1", "hold_norm": "saturation"},
        "hold_norm is 'saturation', but must be never or start where loss is smooth_l1, which has no accuracy.",
    ),
    (
        {"batch_norm_eps": 1e-5},
        "batch_norm_eps is 1e-05, but must be null where network is mlp, which has no BatchNorm.",
    ),
    (
        {"network": "cnn", "blocks": 3, "batch_norm_eps": 1e-5},
        "batch_norm_eps is 1e-05, but must be null where network is cnn, which has no BatchNorm.",
    ),
    (
        {"network": "scale_invariant_mlp"},
        "batch_norm_eps is None, but must be a number where network is scale_invariant_mlp, which has BatchNorm.",
    ),
    *(
        (
            settings | {"dropout": 0.1},
            f"dropout is 0.1, but must be 0 where network is {settings['network']}, which has no dropout.",
        )
        for settings in ({"network": "residual_mlp"}, {"network": "cnn"}, SCALE_INVARIANT)
    ),
    ({"blocks": 0}, "blocks is 0, but must be at least 1 where network is mlp, which has hidden layers."),
    ({"network": "cnn", "blocks": 2}, "blocks is 2, but must be 3 where network is cnn, which has three convolutions."),
    (
        {"width": 16_384, "blocks": 100},
        "width is 16384 and blocks 100, but blocks × width² must be at most 1073741824.",
    ),
    (
        {"hold_norm": "start", "held_norm": 3.0},
        "held_norm is 3.0, but must be null, or left out, where hold_norm is start.",
    ),
    ({"hold_part": "others"}, "hold_part is 'others', but must be all, or left out, where no norm is held."),
    (
        {"held_norm": 3.0, "hold_part": "normalised"},
        "hold_part is 'normalised', but must be all, or left out, where the network has no BatchNorm.",
    ),
    (
        {"steps": 10**9, "log_every": 10},
        "a run of 1000000000 steps would log 100000000 of them, but may log at most 1000000.",
    ),
    (
        {"steps": 10**9, "log_every": 10**9, "log_dense_until": 10**7},
        "a run of 1000000000 steps would log 10000001 of them, but may log at most 1000000.",
    ),
]


@pytest.mark.parametrize(("changes", "sentence"), NO_EFFECT)
def test_a_setting_without_effect_is_refused_in_python_and_in_yaml(tmp_path, changes, sentence):
    with pytest.raises(ConfigError) as caught:
        run(**changes)
    assert str(caught.value) == sentence
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, document(scales=scales(changes)))
    assert str(caught.value) == f"{tmp_path / 'blobs' / 'config.yaml'}: scales.smoke.sweeps.main[0]: {sentence}"


def test_a_default_is_never_refused_and_what_has_an_effect_passes():
    unset = {name: field.default for name, field in Run.model_fields.items() if not field.is_required()}
    assert run(**unset) == run()
    adam = {"optimizer": "adam", "beta1": 0.8, "beta2": 0.98, "eps": 1e-3, "decay": "elastic_net", "l1_ratio": 0.3}
    assert run(**adam).l1_ratio == 0.3
    assert run(momentum=0.9, label_noise=0.1, dropout=0.2, hold_norm="saturation").momentum == 0.9
    assert run(**SCALE_INVARIANT, decay="none", weight_decay=0.0).decay == "none"
    own = {"dataset": "mine", "network": "mine", "loss": "mine", "optimizer": "mine"}  # of which nothing is known
    free = run(**own, dropout=0.1, batch_norm_eps=None, blocks=0, momentum=0.5, beta1=0.5, label_noise=0.1)
    assert free.network == "mine" and free.cost() == run().cost()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 10**30}, "width is 1000000000000000000000000000000, but must be an integer from 1 to 16384."),
        ({"width": 10**5000}, "width is an integer of about 5001 digits, but must be an integer from 1 to 16384."),
        ({"steps": 10**18}, "steps is 1000000000000000000, but must be an integer from 1 to 1000000000."),
        ({"seed": -1}, "seed is -1, but must be an integer from 0 to 9223372036854775807."),
        ({"seed": 2**63}, "seed is 9223372036854775808, but must be an integer from 0 to 9223372036854775807."),
        ({"seed": True}, "seed is True, but must be a valid integer."),
        ({"learning_rate": 1e31}, "learning_rate is 1e+31, but must be a number from 1e-30 to 1e+30."),
        ({"learning_rate": 1e-50}, "learning_rate is 1e-50, but must be a number from 1e-30 to 1e+30."),
        ({"weight_decay": 1e-50}, "weight_decay is 1e-50, but must be 0 or a number from 1e-30 to 1e+30."),
        ({"weight_decay": float("inf")}, "weight_decay is inf, but must be a finite number."),
        ({"momentum": 1.0}, "momentum is 1.0, but must be a number from 0 to below 1."),
        ({"label_noise": 1.5}, "label_noise is 1.5, but must be a number from 0 to 1."),
        ({"sweep": "../x"}, "sweep is '../x', but must be a name: letters, digits and _, at most 64, the first no _."),
        ({"dataset": "x" * 65}, f"dataset is '{'x' * 58}…, but must be a name: "),
        ({"network": "mlp\n"}, "network is 'mlp\\n', but must be a name: "),
        ({"loss": ["a"] * 1000}, "loss is a list of 1000 values, but must be a valid string."),
        ({"optimizer": "../adam"}, "optimizer is '../adam', but must be a name: "),
        ({"decay": "L2"}, "decay is 'L2', but must be 'none', 'l2', 'decoupled', 'l1', 'proximal_l1' or "),
        ({"weight_decy": 1.0}, "weight_decy is not a known key (did you mean weight_decay?)."),
    ],
)  # fmt: skip
def test_a_setting_beyond_its_bounds_is_refused_in_one_short_sentence(changes, sentence):
    with pytest.raises(ConfigError) as caught:
        run(**changes)
    said = str(caught.value)
    assert said.startswith(sentence.removesuffix(".")) and said.endswith(".") and len(said) < 240 and "\n" not in said


def test_a_missing_setting_is_named():
    with pytest.raises(
        ConfigError, match=r"^sweep is missing \(the sweep is the part of the finding that asks for the run\)\.$"
    ):
        Run(experiment="blobs", seed=0, **DEFAULTS)


def test_numpy_s_numbers_are_the_numbers_that_they_are():
    """A seed from an array, a learning rate from np.geomspace: the same run, of the same id, with Python's types."""
    ours = run(seed=np.int64(3), width=np.int32(8), learning_rate=np.float64(0.1), shuffle=np.True_)
    assert ours == run(seed=3) and ours.id == run(seed=3).id
    assert {type(value) for value in ours.model_dump().values()} <= {str, int, float, bool, type(None)}
    assert run(learning_rate=np.float32(0.1)).learning_rate == 0.10000000149011612  # exactly what it was
    with pytest.raises(ConfigError, match=r"^seed is array\(\[1, 2\]\), but must be a valid integer "):
        run(seed=np.array([1, 2]))
    with pytest.raises(ConfigError, match=r"^seed is 1\.0, but must be a valid integer "):
        run(seed=np.float64(1.0))


CHOICES = {
    "network": ["mlp", "cnn", "residual_mlp", "scale_invariant_mlp"],
    "blocks": [0, 1, 3, 100],
    "width": [1, 8, 16_384],
    "batch_norm_eps": [None, 1e-5, 1e-2],
    "dropout": [0.0, 0.1, 0.2],
    "loss": ["cross_entropy", "smooth_l1"],
    "label_noise": [0.0, 0.1],
    "optimizer": ["sgd", "adam"],
    "momentum": [0.0, 0.9],
    "beta2": [0.999, 0.98],
    "decay": ["none", "l2", "elastic_net"],
    "weight_decay": [0.0, 0.1, 1.0],
    "l1_ratio": [0.5, 0.3],
    "hold_norm": ["never", "saturation"],
    "held_norm": [None, 3.0],
    "hold_part": ["all", "others"],
    "steps": [10, 10**9],
    "log_every": [1, 10**9],
    "log_dense_every": [1, 10**9],
    "log_dense_until": [0, 10**9],
}
several = {key: st.lists(st.sampled_from(of), min_size=1, unique=True) for key, of in CHOICES.items()}
blocks = st.fixed_dictionaries({}, optional=several).filter(lambda block: len(block) <= 6)


def product(block: dict) -> list[dict]:
    return [dict(zip(block, chosen, strict=True)) for chosen in itertools.product(*block.values())]


@given(blocks)
@settings(max_examples=300)
def test_few_values_tell_whether_any_row_of_a_block_breaks_a_rule(block):
    """The block's check, which makes few runs, against every run of its product."""
    first = run()
    every = [first.model_copy(update=chosen) for chosen in product(block)]
    few = product({key: telling_values(key, values) for key, values in block.items()})
    told = [broken_rule(first.model_copy(update=chosen)) for chosen in few]
    assert any(told) == any(broken_rule(row) for row in every) and len(few) <= len(every)


@given(blocks)
@settings(max_examples=100)
def test_a_block_is_accepted_exactly_if_each_of_its_rows_is(tmp_path_factory, block):
    def row(chosen: dict) -> Run | None:
        try:
            return Run(**{"experiment": "blobs", "sweep": "main", "seed": 0, **DEFAULTS, **chosen})
        except ConfigError:
            return None

    rows = [row(chosen) for chosen in product(block)]
    try:
        config = load(tmp_path_factory.getbasetemp(), document(scales=scales(block, seeds=1)))
    except ConfigError:
        assert None in rows
    else:
        assert {made.id for made in table_of(config, "smoke")} == {made.id for made in rows}


def test_a_large_product_is_counted_before_it_is_made(tmp_path):
    hundred = [number / 1000 for number in range(1, 101)]
    block = dict.fromkeys(("learning_rate", "momentum", "label_noise", "dropout"), hundred)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, document(scales=scales(block)))
    assert str(caught.value).endswith(
        "config.yaml: scales.smoke asks for 200,000,000 runs, but a scale may have at most 2,000,000."
    )
    with pytest.raises(
        ConfigError, match=r"scales\.smoke\.seeds is 1000000000, but must be an integer from 1 to 1000000"
    ):
        load(tmp_path, document(scales=scales({}, seeds=1_000_000_000)))
    config = load(
        tmp_path, document(scales=scales({"learning_rate": hundred[:2]}, seeds=1_000_000))
    )  # as many as may be
    assert config.scales.smoke.seeds == 1_000_000
    rates = ("learning_rate", "momentum", "label_noise", "dropout", "weight_decay", "beta1", "beta2", "l1_ratio")
    with pytest.raises(ConfigError, match=r"scales\.smoke asks for 2e\+16 runs, but"):
        load(tmp_path, document(scales=scales(dict.fromkeys(rates, hundred))))
