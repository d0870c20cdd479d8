"""L1-L10 on results whose truth is known, verdicts both ways; solvers against scikit-learn; every figure."""

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import ElasticNet, Lasso, Ridge

from tests.experiments.drawing import assert_legible, drawn, promised
from tests.experiments.judgments import Judgments
from tests.programs import EXPERIMENTS, load_program
from tests.rows import defaults
from weightdecay.config import load_config
from weightdecay.ensemble.state import Ensemble
from weightdecay.ensemble.training import train
from weightdecay.errors import ConfigError
from weightdecay.report import latex
from weightdecay.results import Results
from weightdecay.run import Run
from weightdecay.table import config_hash
from weightdecay.workflow.stages import called

CONFIG = load_config(EXPERIMENTS / "sparsity" / "config.yaml")
PENALTIES = (0.01, 0.1, 1.0)  # the second is best
EXACT = {"fit_intercept": False, "tol": 1e-13, "max_iter": 1_000_000}


@dataclass(frozen=True)
class World:
    """The truth; with the defaults every claim is reproduced."""

    proximal: float = 0.9  # share of irrelevant weights that are 0 at the best λ
    support: float = 1.0  # and at the largest λ that keeps the relevant
    subgradient: float = 0.8  # the same of S2's update
    subgradient_support: float = 1.0
    ridge_norm: float = 0.8  # over least squares
    ridge_zeros: float = 0.0
    kept: float = 1.2
    same: float = 0.2
    share: float = 0.22
    spread: float = 3.0  # L1 over L2
    net_over_l1: float = 0.7
    net_over_l2: float = 0.5
    units: tuple[float, float, float] = (0.5, 0.5, 0.0)  # proximal, subgradient, decoupled: pruned at the best λ
    loss: float = 0.9  # test loss with proximal L1 over none
    dense: float = 0.7  # error, L2 over L1, where all features contribute
    sparse: float = 0.3  # and L1 over L2, where few are relevant
    zeros: tuple[float, float, float] = (0.1, 0.4, 0.9)  # of the linear model's weights, over λ
    network_zeros: tuple[float, float, float] = (0.1, 0.4, 0.9)  # of the network's
    missed: float = 0.0  # share of the relevant weights that are 0 at the best λ


def table(seeds: int) -> list[Run]:
    """The runs of the sweep, on a grid of its own: the tests are not those of the config's grid."""
    kinds = ("l1", "proximal_l1", "elastic_net", "l2", "decoupled")
    blocks = [{"decay": decay, "weight_decay": λ} for decay in kinds for λ in PENALTIES]
    fixed = {"experiment": "sparsity", "sweep": "network", **defaults(CONFIG)}
    blocks += [{**block, "optimizer": "sgd"} for block in blocks if block["decay"] in ("l1", "proximal_l1")]
    return [Run(**{**fixed, **block, "seed": seed}) for block in [{"decay": "none"}, *blocks] for seed in range(seeds)]


def synthetic(world: World = World(), seeds: int = 3) -> Results:
    """Last values of the runs of `table` in the given world, and the tables of what is computed."""
    rows, runs = [], table(seeds)
    pruned = dict(zip(("proximal_l1", "l1", "decoupled"), world.units, strict=True))
    for run in runs:
        jitter = _jitter(run.seed, int(run.id[:8], 16))
        best = run.weight_decay in (0.0, PENALTIES[1])
        loss = jitter * (1 if run.decay == "none" else world.loss) * (1 if best else 1.5)
        units = pruned.get(run.decay, 0.0) * jitter * (1.0 if best else 0.1) * (0.5 if run.optimizer == "sgd" else 1.0)
        shares = {
            f"{name}_{of}": min(1.0, units) for name in ("zero", "small") for of in ("units", "inputs", "weights")
        }
        if run.decay == "proximal_l1":
            shares["zero_weights"] = world.network_zeros[PENALTIES.index(run.weight_decay)] * jitter
        rows.append(run.model_dump() | shares | {"validation_loss": loss, "test_loss": loss, "run": run.id})
    frame = pd.DataFrame(rows).assign(diverged_at=np.nan)
    metadata = {"config_hash": config_hash(runs), "scale": "laptop", "device": "cpu", "wall_seconds": 100.0}
    history = pd.DataFrame({"run": frame["run"], "step": 0, "metric": "test_loss", "value": frame["test_loss"]})
    makers = {"recovery": _recovery, "groups": _groups, "wide": _wide, "contributions": _contributions}
    computed = {name: maker(world, seeds) for name, maker in makers.items()}
    return Results(frame, history, metadata, computed)


def _jitter(*key: int) -> float:
    return float(np.exp(np.random.default_rng(key).normal(0, 0.005)))


def _recovery(world: World, seeds: int) -> pd.DataFrame:
    rows = []
    for seed, method, λ in itertools.product(
        range(seeds), ("least_squares", "proximal", "elastic_net", "ridge", "subgradient"), PENALTIES
    ):
        if method == "least_squares" and λ > PENALTIES[0]:
            continue
        jitter, best = _jitter(seed, len(method)), λ == PENALTIES[1]
        zero = {"proximal": world.proximal, "subgradient": world.subgradient, "ridge": world.ridge_zeros}.get(
            method, 0.0
        )
        supports = {"proximal": world.support, "subgradient": world.subgradient_support}
        zero = supports[method] if method in supports and λ == PENALTIES[2] else zero * jitter
        row = {"seed": seed, "method": method, "penalty": 0.0 if method == "least_squares" else λ, "step": 0.01}
        row |= {"zero_irrelevant": min(1.0, zero), "small_irrelevant": 0.5, "zero": zero}
        row["zero_relevant"] = world.missed if method == "proximal" and best else 0.0
        if method == "proximal":
            row["zero"] = world.zeros[PENALTIES.index(λ)] * jitter
        row |= {"size": 0.01 * λ * jitter, "norm": jitter * (world.ridge_norm if method == "ridge" else 1.0)}
        row |= {"validation_loss": jitter * (1 if best else 2), "disagreement": 1e-12, "relevant": 2}
        rows.append(row | {f"weight_{place:02}": 0.1 * place for place in range(6)})
    return pd.DataFrame(rows)


def _groups(world: World, seeds: int) -> pd.DataFrame:
    rows = []
    for seed, correlation, method in itertools.product(range(seeds), (0.0, 0.99), ("l1", "l2")):
        sparse, jitter = method == "l1", _jitter(seed, len(method), int(100 * correlation))
        row = {"seed": seed, "correlation": correlation, "method": method, "members": 5, "same": world.same * jitter}
        row |= {"kept": world.kept * jitter if sparse else 5.0, "share": 0.9 if sparse else world.share * jitter}
        row |= {"spread": jitter * (world.spread if sparse else 1.0), "bias": 0.1}
        rows.append(row | {f"weight_{draw}_{member}": 1.0 for draw in range(3) for member in range(5)})
    return pd.DataFrame(rows)


def _wide(world: World, seeds: int) -> pd.DataFrame:
    excess = {"l1": 1 / world.net_over_l1, "l2": 1 / world.net_over_l2, "elastic_net": 1.0}
    return pd.DataFrame(
        [
            {
                "seed": seed,
                "correlation": correlation,
                "method": method,
                "excess": value * _jitter(seed, len(method)),
                "kept": 30,
            }
            | {"features": 500, "samples": 50}
            for seed, correlation, (method, value) in itertools.product(range(seeds), (0.0, 0.9), excess.items())
        ]
    )


def _contributions(world: World, seeds: int) -> pd.DataFrame:
    excess = {"dense": {"l1": 1.0, "l2": world.dense}, "sparse": {"l1": world.sparse, "l2": 1.0}}
    return pd.DataFrame(
        [
            {"seed": seed, "truth": truth, "method": method, "excess": value * _jitter(seed, len(truth)), "kept": 20}
            for seed in range(seeds)
            for truth, methods in excess.items()
            for method, value in methods.items()
        ]
    )


PARTS = [  # what must be false for a part to be refuted
    ("L1", "Subgradient", {"subgradient": 0.0}),
    ("L1", "SubgradientSupport", {"subgradient_support": 0.5}),
    ("L2", "Norm", {"ridge_norm": 1.1}),
    ("L2", "Zeros", {"ridge_zeros": 0.1}),
    ("L3", "Kept", {"kept": 2.5}),
    ("L3", "Same", {"same": 0.9}),
    ("L3", "Share", {"share": 0.6}),
    ("L4", "Ratio", {"spread": 1.1}),
    ("L5", "Absolute", {"net_over_l1": 1.0}),
    ("L5", "Square", {"net_over_l2": 1.1}),
    ("L6", "Proximal", {"units": (0.1, 0.5, 0.0)}),
    ("L6", "Subgradient", {"units": (0.5, 0.0, 0.0)}),
    ("L6", "Decoupled", {"units": (0.5, 0.5, 0.2)}),
    ("L6", "Loss", {"loss": 1.2}),
    ("L7", "Dense", {"dense": 1.1}),
    ("L7", "Sparse", {"sparse": 1.1}),
    ("L8", "Linear", {"zeros": (0.1, 0.9, 0.7)}),
    ("L8", "More", {"zeros": (0.3, 0.4, 0.6)}),
    ("L8", "Network", {"network_zeros": (0.9, 0.4, 0.1)}),
    ("L9", "Recall", {"missed": 0.5}),
    ("L9", "Precision", {"proximal": 0.6}),
    ("L10", "Zeros", {"proximal": 0.3}),
    ("L10", "Support", {"support": 0.9}),
]


@pytest.fixture(scope="module")
def judged():
    """`judged(seeds=3, **world)`: the claims by id."""

    @cache
    def judging(seeds=3, **world):
        return Judgments("sparsity", synthetic(World(**world), seeds))

    return judging


def test_what_is_true_is_reproduced(judged):
    claims = judged()
    assert list(claims) == [f"L{number}" for number in range(1, 11)]
    assert {id: claim.verdict for id, claim in claims.items()} == dict.fromkeys(claims, "reproduced")


@pytest.mark.parametrize(("id", "part", "world"), PARTS)
def test_each_part_can_fail(judged, id, part, world):
    claim = judged(**world)[id]
    assert claim.part(part).verdict == "refuted" and claim.verdict in ("refuted", "mixed")


def test_every_judged_part_is_made_to_fail(judged):
    parts = {(id, part.name) for id, claim in judged().items() for part in claim.parts if part.verdict}
    assert parts == {(id, part) for id, part, _ in PARTS}


def test_optimisers_are_told_apart(judged):
    """The claim is of Adam's runs; those of SGD, with half as many units pruned, are reported beside it."""
    claim = judged()["L6"]
    assert claim.measured == pytest.approx(0.5, rel=0.02)
    assert claim.part("Sgd").measured == pytest.approx(0.25, rel=0.02) and claim.part("Sgd").verdict is None


def test_two_seeds_decide_nothing(judged):
    assert {claim.verdict for claim in judged(seeds=2).values()} == {"undecided"}


@pytest.fixture(scope="module")
def linear():
    return load_program("sparsity", "linear")


@pytest.mark.parametrize(("samples", "features", "correlation"), [(100, 50, 0.0), (60, 20, 0.95), (30, 60, 0.5)])
def test_solutions_are_scikit_learn_s(linear, samples, features, correlation):
    """To 1e-6, the zeros exactly; independent and correlated features, and more features than samples."""
    generator = np.random.default_rng(0)
    common = generator.normal(size=(samples, 1))
    x = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * generator.normal(size=(samples, features))
    y = x[:, :5].sum(1) + generator.normal(size=samples)
    penalties = np.array([0.03, 0.3, 1.0])
    found = linear.proximal(x, y, penalties), linear.proximal(x, y, penalties, 0.5), linear.ridge(x, y, penalties)
    for place, penalty in enumerate(penalties):
        theirs = (
            Lasso(alpha=penalty, **EXACT),
            ElasticNet(alpha=penalty, l1_ratio=0.5, **EXACT),
            Ridge(alpha=samples * penalty, fit_intercept=False),
        )
        for ours, model in zip(found, theirs, strict=True):
            reference = model.fit(x, y).coef_
            assert ours[:, place] == pytest.approx(reference, abs=1e-6)
            assert np.array_equal(ours[:, place] == 0, reference == 0)
    assert 0 < (found[0] == 0).mean() < 1 and (found[2] != 0).all()


def test_subgradient_steps_come_near_zero_and_do_not_stop_there(linear):
    """S2's update: within a few of its steps of the minimiser, and nowhere exactly 0."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(200, 10))
    y = 2 * x[:, 0] + generator.normal(size=200)
    penalties, start = np.array([0.3]), generator.uniform(-0.3, 0.3, 10)
    steps = linear.subgradient(x, y, penalties, start, 0.01, 5000)
    exact = linear.proximal(x, y, penalties)
    assert (exact[1:] == 0).all() and (steps != 0).all()
    assert np.abs(steps - exact).max() < 2 * 0.01 * 0.3


@pytest.fixture(scope="module")
def compute():
    return load_program("sparsity", "compute")


def test_groups_have_their_correlation_and_the_excess_is_the_expected_error(compute):
    """`excess` of `wide` is (w − w*)ᵀ Σ (w − w*), here against 200,000 fresh examples."""
    generator = np.random.default_rng(0)
    true, w = np.repeat([1.0, 0.0], 3), np.array([1.5, 0.5, 1.2, -0.3, 0.2, 0.0])
    x, y = compute.grouped(generator, 200_000, 2, 3, 0.7, true, 1.0)
    correlations = np.corrcoef(x.T)
    assert correlations[0, 1] == pytest.approx(0.7, abs=0.01) and correlations[0, 4] == pytest.approx(0, abs=0.01)
    off = (w - true).reshape(2, 3)
    expected = (1 - 0.7) * (off**2).sum() + 0.7 * (off.sum(1) ** 2).sum()
    assert ((x @ w - y) ** 2).mean() - 1 == pytest.approx(expected, abs=0.02)


def test_what_is_computed_has_a_row_a_setting_and_its_own_reference(compute):
    settings = {"seeds": 2, "samples": 60, "noise": 1.0, "relevant": 2}
    table = compute.recovery(**settings, features=8, penalties=[0.1, 0.4], l1_ratio=0.5, step=0.01, iterations=50)
    assert len(table) == 2 * (1 + 4 * 2)
    assert table["disagreement"].dropna().max() <= 1e-6 and (table["zero_irrelevant"] > 0).any()
    groups = {"groups": 2, "relevant": 1, "members": 3, "penalties": 8, "correlations": [0.0, 0.9]}
    settings |= groups
    table = compute.groups(**settings, draws=3)
    assert len(table) == 2 * 2 * 2 and (table.loc[table["method"] == "l2", "kept"] == 3).all()
    table = compute.wide(**settings, l1_ratios=[0.2, 0.8])
    assert len(table) == 2 * 2 * 3 and set(table.loc[table["method"] == "elastic_net", "l1_ratio"]) <= {0.2, 0.8}


@pytest.mark.parametrize(
    ("function", "changes", "sentence"),
    [
        ("recovery", {"relevant": 9}, "relevant is 9, but must be at most features, 8."),
        ("recovery", {"samples": 0}, "computation recovery: samples is 0, but must be greater than or equal to 1."),
        ("recovery", {"noise": -1.0}, "computation recovery: noise is -1.0, but must be greater than 0."),
        ("recovery", {"method": "ridge"}, "computation recovery: method is not a known argument."),
        ("groups", {"relevant": 3}, "relevant is 3, but must be at most groups, 2."),
        ("groups", {"draws": 1}, "computation groups: draws is 1, but must be greater than or equal to 2."),
        ("groups", {"correlations": [1.0]}, "computation groups: correlations.0 is 1.0, but must be less than 1."),
        ("wide", {"relevant": 3}, "relevant is 3, but must be at most groups, 2."),
        ("wide", {"l1_ratios": [0.5, 1.0]}, "computation wide: l1_ratios.1 is 1.0, but must be less than 1."),
        ("contributions", {"relevant": 9}, "relevant is 9, but must be at most features, 8."),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_one_sentence(compute, function, changes, sentence):
    common = {"seeds": 1, "samples": 20, "relevant": 1, "noise": 1.0}
    flat, grouped = (
        common | {"features": 8},
        common | {"groups": 2, "members": 3, "penalties": 4, "correlations": [0.0]},
    )
    fitting = {
        "recovery": flat | {"penalties": [0.1], "l1_ratio": 0.5, "step": 0.01, "iterations": 5},
        "groups": grouped | {"draws": 2},
        "wide": grouped | {"l1_ratios": [0.5]},
        "contributions": flat | {"penalties": 4},
    }[function]
    called(getattr(compute, function), fitting)
    with pytest.raises(ConfigError) as caught:
        called(getattr(compute, function), fitting | changes)
    assert str(caught.value) == sentence


def test_l1_suits_few_relevant_features_and_l2_many(compute):
    """‖w − w*‖² of both methods, of the truths as they are said to be: equal norms."""
    table = compute.contributions(seeds=8, samples=100, features=50, relevant=5, noise=1.0, penalties=20)
    excess = table.pivot(index="seed", columns=["truth", "method"], values="excess").mean()
    assert excess["dense", "l2"] < excess["dense", "l1"] and 2 * excess["sparse", "l1"] < excess["sparse", "l2"]
    assert table["excess"].max() < 5


def run(**changes) -> Run:
    return Run(**{"experiment": "sparsity", "sweep": "test", "seed": 0, **defaults(CONFIG), **changes})


@pytest.fixture(scope="module")
def program():
    return load_program("sparsity", "train")


def test_units_and_inputs_without_weights_are_counted(program):
    """Of 64 units 3 without incoming, 2 without outgoing weights, one of them without both; one irrelevant input."""
    ensemble = Ensemble([run()], program.PROTOCOL, torch.float32, torch.device("cpu"))
    first, last = (layer.weight for layer in ensemble.stack.leaves)
    first[0, :, 18] = 1e-4
    first[0, :, 19] = 0
    first[0, :3] = 0
    last[0, 0, 2:4] = 0
    found = {name: values.item() for name, values in program.measures(ensemble).items()}
    assert [found["zero_units"], found["zero_inputs"]] == pytest.approx([4 / 64, 1 / 17])
    assert found["small_units"] >= 4 / 64 and found["small_inputs"] == pytest.approx(2 / 17)
    assert found["zero_weights"] == pytest.approx((3 * 20 + 61) / (64 * 20))


def test_only_the_relevant_inputs_decide_the_target(program):
    """Standardised without noise; the seed draws the teacher, and kinds of decay share it."""
    one, other = (program.splits(run(decay=decay, weight_decay=0.1)) for decay in ("l1", "proximal_l1"))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(one["train"], other["train"], strict=True))
    inputs, targets = (part.double().numpy() for part in one["test"])
    assert targets.var() == pytest.approx(1 + program.NOISE**2, abs=0.2) and targets.mean() == pytest.approx(
        0, abs=0.15
    )
    correlations = [abs(np.corrcoef(column, targets[:, 0])[0, 1]) for column in inputs.T]
    assert max(correlations[program.RELEVANT :]) < 0.08 < max(correlations[: program.RELEVANT])


def test_a_network_under_every_decay_trains_alike_alone_and_among_all(program):
    """Bitwise; and only proximal steps leave zeros."""
    few = {"steps": 60, "log_every": 60, "log_dense_every": 60}
    kinds = ("l1", "proximal_l1", "elastic_net", "l2", "decoupled")
    rows = [run(decay=decay, weight_decay=0.3, seed=seed, **few) for decay in kinds for seed in (0, 1)]
    together = train(rows, program.PROTOCOL, "cpu").runs.set_index("run")
    for row in rows[::2]:
        alone = train([row], program.PROTOCOL, "cpu").runs.set_index("run").loc[row.id]
        metrics = [name for name in alone.index if name.endswith(("loss", "norm", "units", "weights"))]
        assert together.loc[row.id, metrics].equals(alone[metrics])
        assert (alone["zero_weights"] > 0) == (row.decay in ("proximal_l1", "elastic_net"))


@pytest.mark.parametrize(
    ("field", "value", "must"), [("dataset", "line", "'teacher'"), ("blocks", 2, "1"), ("label_noise", 0.1, "0.0")]
)
def test_rows_that_cannot_be_trained_are_refused_in_one_sentence(program, field, value, must):
    with pytest.raises(ConfigError) as caught:
        program.splits(run(**{field: value}))
    assert str(caught.value) == f"{field} is {value!r}, but must be {must} in sparsity."


@pytest.mark.parametrize("seeds", [1, 3])
def test_all_figures_that_the_config_promises_are_made_and_legible(tmp_path, seeds):
    figures = drawn(CONFIG, synthetic(seeds=seeds), tmp_path, judged=False)
    assert {path.name for path in tmp_path.iterdir()} == promised(CONFIG)
    assert_legible(figures)


def test_every_claim_of_the_config_is_pure_ascii_once_escaped():
    for criterion in CONFIG.criteria.values():
        assert latex.escape(criterion.statement + criterion.criterion).isascii(), criterion
