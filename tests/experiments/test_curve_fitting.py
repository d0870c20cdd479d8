"""C1-C14 on results whose truth is known, verdicts both ways; what is trained and computed; every figure."""

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import QuantileRegressor, Ridge

from tests.experiments.curve_fitting import CONFIG, World, synthetic
from tests.experiments.drawing import assert_legible, drawn, promised
from tests.experiments.judgments import Judgments
from tests.programs import EXPERIMENTS, load_program
from tests.rows import defaults
from weightdecay import results
from weightdecay.ensemble import literal
from weightdecay.ensemble.training import train
from weightdecay.errors import ConfigError, ResultError
from weightdecay.report import latex
from weightdecay.run import Run
from weightdecay.workflow.stages import called

PARTS = [  # what must be false for a part to be refuted, all others being reproduced
    ("C1", "Rough", {"rough": 1.0}),
    ("C1", "Test", {"test": 1.2}),
    ("C2", "Decay", {"contracts": 0.9}),
    ("C2", "Without", {"stays": 1.2}),
    ("C2", "Moved", {"moved": 0.3}),
    ("C3", "Small", {"small_norm": 1.1}),
    ("C3", "Demo", {"demo_norm": 1.1}),
    ("C4", "Largest", {"largest": 1.5}),
    ("C4", "Limit", {"steadier": False}),
    ("C5", "Falls", {"falls": 1.1}),
    ("C5", "Rises", {"rises": 1.2, "ridged": 0.5}),
    ("C5", "Fits", {"fits": 0.5}),
    ("C5", "Repairs", {"rises": 2.0}),
    ("C5", "Repaired", {"ridged": 1.4}),
    ("C6", "Residual", {"residual": 1e-8}),
    ("C6", "Solver", {"solver": 1e-3}),
    ("C6", "Multiplier", {"multiplier": 0.1}),
    ("C7", "Absolute", {"distances": (0.19, 0.2, 1.5)}),
    ("C7", "Square", {"distances": (0.12, 0.2, 0.25)}),
    ("C7", "SmoothAbsolute", {"distances": (0.12, 0.1, 1.5)}),
    ("C7", "SquareSmooth", {"distances": (0.12, 1.7, 1.5)}),
    ("C7", "Network", {"network": (1.0, 1.0, 1.0)}),
    ("C7", "LineEven", {"several": (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0)}),
    ("C7", "LineOdd", {"several": (1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0)}),
    ("C8", "Slope", {"power": -0.5}),
    ("C8", "Ratio", {"power": -0.1}),
    ("C8", "Network", {"vanishes": 0.1}),
    ("C9", "Network", {"rough": 1.0}),
    ("C9", "Polynomial", {"steep": 1.2}),
    ("C9", "Together", {"calm": 20.0}),
    ("C9", "PolynomialTogether", {"steep": 1.2}),
    ("C10", "Many", {"falls": 1e5}),
    ("C10", "More", {"rises": 0.15}),
    ("C10", "Large", {"rises": 0.5}),
    ("C11", "Surface", {"surface": 1e-3}),
    ("C11", "Inside", {"inside": 1e-2}),
    ("C11", "Better", {"ball": 1.3}),
    ("C12", "Limit", {"limits": (0.4, 0.8, 0.8)}),
    ("C12", "Absolute", {"limits": (0.1, 0.1, 0.8)}),
    ("C12", "Smooth", {"limits": (0.1, 0.8, 0.1)}),
    ("C12", "Rises", {"restless": (0.2, 0.1, 0.5)}),
    ("C12", "RisesAbsolute", {"restless": (0.2, 0.5, 0.0)}),
    ("C13", "Wide", {"stays": 1.0}),
    ("C13", "Extreme", {"extreme": 1.1}),
    ("C13", "Closer", {"contracts": 0.9}),
    ("C13", "Tamed", {"tamed": 1.2}),
    ("C14", "Ratio", {"moves": 1.1}),
]


@pytest.fixture(scope="module")
def judged():
    """`judged(seeds=4, **world)`: the claims by id."""

    @cache
    def judging(seeds=4, **world):
        return Judgments("curve_fitting", synthetic(World(**world), seeds))

    return judging


def test_what_is_true_is_reproduced(judged):
    claims = judged()
    assert list(claims) == [f"C{number}" for number in range(1, 15)]
    wider = judged(stays=1.2)["C13"]  # C2 and C13, of two sources, exclude each other
    verdicts = {id: claim.verdict for id, claim in claims.items()} | {"C13": wider.verdict}
    assert verdicts == dict.fromkeys(claims, "reproduced")


@pytest.mark.parametrize(("id", "part", "world"), PARTS)
def test_each_part_can_fail(judged, id, part, world):
    claim = judged(**world)[id]
    assert claim.part(part).verdict == "refuted" and claim.verdict in ("refuted", "mixed")


def test_every_judged_part_is_made_to_fail(judged):
    judged_parts = {(id, part.name) for id, claim in judged().items() for part in claim.parts if part.verdict}
    assert judged_parts == {(id, part) for id, part, _ in PARTS}


def test_two_seeds_decide_nothing(judged):
    assert {claim.verdict for claim in judged(seeds=2).values()} == {"undecided"}


def test_an_interval_that_is_the_bound_does_not_satisfy_less_than(judged):
    """Gradients that decay leaves as they are, seed by seed, are no smaller."""
    assert judged(largest=1.0)["C4"].part("Largest").verdict == "undecided"


def test_runs_whose_units_are_dead_are_lost_without_diverging():
    claims = load_program("curve_fitting", "claims")
    runs = synthetic(seeds=3).runs
    chosen = runs[(runs["sweep"] == "outlier_rates") & (runs["learning_rate"] == 0.05)].copy()
    assert not claims.lost(chosen).any()
    chosen.loc[chosen.index[0], [f"fit_{i:02}" for i in range(41)]] = 0.3
    chosen.loc[chosen.index[1], "diverged_at"] = 7.0
    assert claims.lost(chosen).tolist() == [True, True] + [False] * (len(chosen) - 2)


def test_where_no_learning_rate_diverges_the_next_of_the_grid_counts(judged):
    """Without decay .2 diverges, with it .8; a grid that went no further than .2 would have had .8 next."""
    claim = judged()["C4"]
    assert claim.measured == pytest.approx(0.5, rel=0.02)
    assert claim.part("Rate").measured == pytest.approx(0.2) and claim.part("Limit").measured == pytest.approx(4)
    assert claim.note == "12 of 24 runs at larger learning rates diverged"


def test_a_learning_rate_that_no_run_fails_at_is_a_bound():
    """Seed 1 fails nowhere: .8 would come next. As a numerator it opens the ratio above, as a denominator below."""
    runs = load_program("curve_fitting", "runs")
    rates = pd.DataFrame({"seed": [0, 0, 0, 1, 1, 1, 2, 2, 2], "learning_rate": [0.1, 0.2, 0.4] * 3})
    some = runs.first_failing(rates, pd.Series([False, True, True] + [False] * 3 + [False, False, True]))
    assert some["rate"].tolist() == pytest.approx([0.2, 0.8, 0.4]) and some["reached"].tolist() == [True, False, True]
    every = runs.first_failing(rates, rates["learning_rate"] > 0.1)
    assert every["reached"].all()
    over, under = runs.ratio_of_limits(some, every), runs.ratio_of_limits(every, some)
    assert over.value == pytest.approx(2) and 0 < over.low < 2 and over.high == np.inf
    assert under.value == pytest.approx(0.5) and under.low == 0 and 0.5 < under.high < np.inf
    assert runs.ratio_of_limits(some, some)[1:3] == (0, np.inf)
    assert runs.ratio_of_limits(every, every)[1:3] == (1, 1)
    assert runs.mean_limit(some).high == np.inf and runs.mean_limit(every).high == pytest.approx(0.2)


def test_limits_that_the_grid_does_not_reach_decide_only_what_a_bound_can(judged):
    """Where L1 alone diverges nowhere, 2 times L2's limit is passed; where L2 alone does, it is not; both: unknown."""
    absolute = judged(limits=(0.1, 9.0, 0.8))["C12"]
    assert absolute.part("Absolute").verdict == "reproduced" and absolute.part("Absolute").high == np.inf
    assert "; L1: 4 of 4 seeds diverge at no learning rate tried" in absolute.note
    square = judged(limits=(9.0, 0.8, 0.8))["C12"]
    assert square.part("Absolute").low == 0 and square.part("Absolute").verdict == "refuted"
    assert square.part("Limit").verdict == "refuted" and square.part("Limit").high == np.inf
    neither = judged(limits=(9.0, 9.0, 0.8))["C12"]
    assert neither.part("Absolute").verdict == "undecided"


@pytest.mark.parametrize("several", [(1.0,) * 8, (0.0,) * 8])
def test_numbers_of_minimisers_that_algebra_decides_are_reported(judged, several):
    claim = judged(several=several)["C7"]
    names = [
        "ConstantEven",
        "ConstantOdd",
        *(f"{kind}Square" for kind in ("ConstantEven", "ConstantOdd", "LineEven", "LineOdd")),
    ]
    assert [claim.part(name).measured for name in names] == [several[0]] * 6
    assert {claim.part(name).verdict for name in names} == {None}
    assert claim.verdict == ("reproduced" if several[0] else "mixed") and "decided by algebra" in claim.note


def run(**changes) -> Run:
    return Run(**{"experiment": "curve_fitting", "sweep": "test", "seed": 0, **defaults(CONFIG), **changes})


@pytest.fixture(scope="module")
def program():
    return load_program("curve_fitting", "train")


def linear_layers(model: torch.nn.Module) -> list[torch.nn.Linear]:
    return [module for module in model.modules() if isinstance(module, torch.nn.Linear)]


@pytest.mark.parametrize("weight_decay", [0.0, 0.01])
def test_the_network_is_s3_s_in_plain_pytorch(program, weight_decay):
    """Fifty steps of S3's program by torch.optim.SGD with its weight_decay, from the same weights, in float64."""
    row = run(weight_decay=weight_decay, steps=50, log_every=50, log_dense_until=0)
    model, _ = literal.train(row, program.PROTOCOL, torch.float64)
    assert [tuple(layer.weight.shape) for layer in linear_layers(model)] == [
        (200, 1),
        (200, 200),
        (200, 200),
        (1, 200),
    ]
    last = train([row], program.PROTOCOL, "cpu", dtype=torch.float64).runs.iloc[0]
    x = torch.linspace(-1, 1, 41, dtype=torch.float64)[:, None]
    assert last[[f"fit_{i:02}" for i in range(41)]].tolist() == pytest.approx(model(x)[:, 0].tolist(), abs=1e-9)


def test_fits_and_histograms_are_those_of_the_network(program):
    """Counts as numpy's histogram; every weight is in a bin; gradients of dead units in the first."""
    row = run(steps=20, log_every=20, log_dense_until=0)
    model, _ = literal.train(row, program.PROTOCOL, torch.float64)
    last = train([row], program.PROTOCOL, "cpu", dtype=torch.float64).runs.iloc[0]
    layer = linear_layers(model)[1]
    edges = np.concatenate([[-np.inf], program.WEIGHT_EDGES, [np.inf]])
    ours = last[[f"layer2_weight_bin_{i:02}" for i in range(len(edges) - 1)]].to_numpy(float)
    theirs = np.histogram(layer.weight.detach().numpy(), edges)[0]
    assert ours.sum() == 200 * 200 and np.abs(ours - theirs).sum() <= 4  # weights that lie on an edge to rounding
    gradients = last[[f"layer2_gradient_bin_{i:02}" for i in range(len(program.GRADIENT_EDGES) + 1)]].to_numpy(float)
    assert gradients.sum() == 200 * 200 and gradients[0] >= (layer.weight.grad == 0).sum() > 0


def test_a_network_and_its_curve_are_alike_alone_and_among_others(program):
    """Bitwise: every metric, fit and histograms too."""
    rows = [run(seed=seed, steps=20, log_every=10, log_dense_every=10) for seed in range(8)]
    together = train(rows, program.PROTOCOL, "cpu").runs.set_index("run")
    alone = train(rows[:1], program.PROTOCOL, "cpu").runs.set_index("run").loc[rows[0].id]
    metrics = [name for name in alone.index if name.startswith(("fit", "layer2", "train_loss", "weight_norm"))]
    assert len(metrics) > 40
    assert together.loc[rows[0].id, metrics].astype(float).equals(alone[metrics].astype(float))


def test_an_outlier_shifts_one_training_point_and_nothing_else(program):
    for seed in range(5):
        clean, shifted = (program.splits(run(seed=seed, dataset=name)) for name in ("line", "line_outlier"))
        difference = (shifted["train"].targets - clean["train"].targets).abs()
        assert difference.count_nonzero() == 1 and difference.max() == pytest.approx(5, abs=1e-5)
        assert torch.equal(clean["test"].targets, shifted["test"].targets)
    assert clean["train"].inputs[:, 0].tolist() == pytest.approx(np.linspace(-1, 1, 10), abs=1e-7)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": "circle"}, "dataset is 'circle', but must be one of line, line_outlier, noise in curve_fitting."),
        ({"network": "cnn", "blocks": 3}, "network is 'cnn', but must be 'mlp' in curve_fitting."),
        ({"blocks": 0}, "blocks is 0, but must be at least 1 where network is mlp, which has hidden layers."),
        ({"label_noise": 0.1}, "label_noise is 0.1, but must be 0.0 in curve_fitting."),
    ],
)
def test_rows_that_cannot_be_trained_are_refused_in_one_sentence(program, changes, sentence):
    with pytest.raises(ConfigError) as caught:
        program.splits(run(**changes))
    assert str(caught.value) == sentence


@pytest.fixture(scope="module")
def compute():
    return load_program("curve_fitting", "compute")


def test_polynomials_are_numpy_s_and_scikit_learn_s(compute):
    """Least squares by numpy.polynomial; the ridge by scikit-learn's, whose penalty leaves the constant out as well."""
    generator = np.random.default_rng(0)
    x, y = np.linspace(-1, 1, 15), generator.normal(size=15)
    found = compute.polynomial_path(x, y, 6, [0.0, 0.01, 1.0])
    assert found[0] == pytest.approx(np.polynomial.polynomial.polyfit(x, y, 6), rel=1e-9)
    for weights, λ in zip(found[1:], (0.01, 1.0), strict=True):
        model = Ridge(alpha=15 * λ, tol=1e-12).fit(x[:, None] ** np.arange(1, 7), y)
        assert weights == pytest.approx([model.intercept_, *model.coef_], abs=1e-9)
    assert compute.polynomial_path(x, y, 0, [0.0])[0] == pytest.approx([y.mean()])


def test_the_ridge_solution_is_the_constrained_minimiser(compute):
    """To rounding, and by a solver that is told only the ball; the norm falls as λ grows."""
    table = compute.constraints(seeds=2, train_size=15, noise=0.5, degree=9, weight_decays=[0.01, 1.0, 1e4])
    assert table["residual"].max() <= 1e-10 and table["solver"].max() <= 1e-4 and table["multiplier"].max() <= 1e-2
    assert (table.pivot(index="seed", columns="weight_decay", values="norm").diff(axis=1).iloc[:, 1:] < 0).all(
        axis=None
    )


def test_lines_minimise_their_losses():
    """L1: scikit-learn's median regression; smooth L1: torch's gradient is zero; L2: numpy's fit."""
    lines = load_program("curve_fitting", "lines")
    generator = np.random.default_rng(1)
    x = generator.uniform(-1, 1, 25)
    features, y = np.column_stack([np.ones(25), x]), 2 * x + generator.standard_t(1.5, 25)
    median = QuantileRegressor(quantile=0.5, alpha=0, solver="highs").fit(x[:, None], y)
    assert lines.least_absolute(features, y) == pytest.approx([median.intercept_, *median.coef_], abs=1e-6)
    assert lines.least_squares(features, y) == pytest.approx(np.polynomial.polynomial.polyfit(x, y, 1))
    weights = torch.tensor(lines.least_smooth_l1(features, y), requires_grad=True)
    torch.nn.functional.smooth_l1_loss(torch.tensor(features) @ weights, torch.tensor(y)).backward()
    assert weights.grad.abs().max() < 1e-6


def test_the_sensitivity_of_a_polynomial_is_its_slope_s_root_mean_square(compute):
    """Of 1 + 2x: 2; of x²: √(4/3); of a constant: 0; of any other: an average over a fine grid."""
    assert compute.sensitivity(np.array([1.0, 2.0])) == pytest.approx(2)
    assert compute.sensitivity(np.array([0.0, 0.0, 1.0])) == pytest.approx(np.sqrt(4 / 3))
    assert compute.sensitivity(np.array([3.0])) == 0
    weights, x = np.array([1.0, -2.0, 0.5, 3.0]), np.linspace(-1, 1, 100_001)
    slope = np.polynomial.polynomial.polyval(x, np.polynomial.polynomial.polyder(weights))
    assert compute.sensitivity(weights) == pytest.approx(np.sqrt((slope**2).mean()), rel=1e-4)


def test_a_ball_binds_only_where_the_optimum_is_outside(compute):
    table = compute.balls(seeds=2, train_size=15, validation_size=50, noise=0.5, degree=3, radii=[0.3, 0.8, 1.5, 4.0])
    smaller, larger = table[table["radius"] < 1], table[table["radius"] > 1]
    assert smaller["surface"].max() < 1e-6 and smaller["apart"].min() > 0.01
    assert larger["apart"].max() < 1e-5 and larger["norm"].to_numpy() == pytest.approx(1, abs=1e-5)
    free = table[table["radius"] == 1].set_index("seed")["error"]
    assert larger["error"].to_numpy() == pytest.approx(larger["seed"].map(free).to_numpy(), rel=1e-3)


def test_the_line_of_least_squares_moves_as_theory_says(compute):
    """Its constant has variance σ²/n and its slope σ²/Σx², so its mean square distance is σ²(1/n + 1/(3 Σx²))."""
    table = compute.nudges(seeds=10, train_size=20, noise=0.5, nudge=0.01, draws=40)
    moved = table.pivot(index="seed", columns="loss", values="moved")
    x = np.linspace(-1, 1, 20)
    assert (moved["squared_error"] ** 2).mean() == pytest.approx(1 / 20 + 1 / (3 * (x**2).sum()), rel=0.15)
    assert (moved["absolute_error"] > moved["squared_error"]).all()


def test_an_odd_number_of_points_has_one_median(compute):
    table = compute.minimisers(seeds=3, train_sizes=[4, 5], noise=0.5)
    several = table.set_index(["loss", "problem", "size"])["several"]
    assert (several["absolute_error", "constant", 4] == 1).all()
    assert (several["absolute_error", "constant", 5] == 0).all() and (several["squared_error"] == 0).all()


@pytest.mark.parametrize(
    ("function", "changes", "sentence"),
    [
        ("outliers", {"outliers": 9}, "outliers is 9, but must be at most train_size, 8."),
        (
            "outliers",
            {"train_size": 0},
            "computation outliers: train_size is 0, but must be greater than or equal to 1.",
        ),
        ("outliers", {"noise": -0.5}, "computation outliers: noise is -0.5, but must be greater than 0."),
        ("outliers", {"loss": "L2"}, "computation outliers: loss is not a known argument."),
        (
            "balls",
            {"degree": 8},
            "degree is 8, but must be less than train_size, 8: many optima otherwise.",
        ),
        ("balls", {"radii": [1.0]}, "radii has 1.0, but must not: that ball ends at the unconstrained optimum."),
        ("minimisers", {"train_sizes": []}, "computation minimisers: train_sizes is [], but must have at least 1"),
        ("nudges", {"draws": 0}, "computation nudges: draws is 0, but must be greater than or equal to 1."),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_one_sentence(compute, function, changes, sentence):
    common = {"seeds": 1, "noise": 0.5}
    fitting = {
        "outliers": common | {"train_size": 8, "outliers": 2, "shifts": [0.0]},
        "balls": common | {"train_size": 8, "validation_size": 5, "degree": 2, "radii": [0.5]},
        "minimisers": common | {"train_sizes": [4]},
        "nudges": common | {"train_size": 8, "nudge": 0.1, "draws": 1},
    }[function]
    called(getattr(compute, function), fitting)
    with pytest.raises(ConfigError) as caught:
        called(getattr(compute, function), fitting | changes)
    assert str(caught.value).startswith(sentence)


EVENTS = EXPERIMENTS / "curve_fitting" / "event_files.py"


def stored(folder: Path) -> Path:
    """Synthetic results as the pipeline stores them."""
    made = synthetic(seeds=2)
    results.write_table(folder / "runs.parquet", made.runs, made.metadata)
    results.write_table(folder / "history.parquet", made.history, made.metadata)
    return folder


def write_events(monkeypatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", [str(EVENTS), *arguments])
    load_program("curve_fitting", "event_files").main()


def test_event_files_hold_the_histograms_and_losses_of_the_results(tmp_path, monkeypatch):
    """Read back by TensorBoard's own reader: every step, the counts in their bins, and the scalars."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
    write_events(monkeypatch, "--results", str(stored(tmp_path)), "--output", str(tmp_path / "events"), "--seed", "1")
    made = synthetic(seeds=2)
    for name, weight_decay in (("normal", 0.0), ("weight_decay", 0.01)):
        runs = made.runs[(made.runs["sweep"] == "weight_decay") & (made.runs["seed"] == 1)]
        run = runs.loc[runs["weight_decay"] == weight_decay, "run"].item()
        own = made.history[made.history["run"] == run].set_index(["metric", "step"])["value"]
        events = reader(str(tmp_path / "events" / "seed_1" / name), size_guidance={"histograms": 0, "scalars": 0})
        events.Reload()
        assert set(events.Tags()["histograms"]) == {"linears.2.weight_data", "linears.2.weight_log10_abs_grad"}
        losses = {event.step: event.value for event in events.Scalars("test_loss")}
        assert losses == pytest.approx(own["test_loss"].to_dict(), rel=1e-6)
        weights = events.Histograms("linears.2.weight_data")
        assert [event.step for event in weights] == [0, 1000, 2000]
        for event in weights:
            value = event.histogram_value
            counts = [own[f"layer2_weight_bin_{i:02}", event.step] for i in range(42)]
            assert value.num == pytest.approx(sum(counts)) and len(value.bucket) == len(value.bucket_limit)
            filled = {
                round(limit, 9): count for limit, count in zip(value.bucket_limit, value.bucket, strict=True) if count
            }
            limits = np.append(np.linspace(-0.1, 0.1, 41), 0.105)
            assert filled == pytest.approx({round(limit, 9): n for limit, n in zip(limits, counts, strict=True) if n})


def test_a_folder_that_has_event_files_gets_no_second_ones(tmp_path):
    """Neither network's: the other folder is not begun either."""
    empty_folders = load_program("curve_fitting", "event_files").empty_folders
    normal, decayed = empty_folders(tmp_path / "seed_0").values()
    (decayed / "events.out.tfevents.1.host.2.0").touch()
    normal.rmdir()
    with pytest.raises(ResultError) as caught:
        empty_folders(tmp_path / "seed_0")
    assert str(caught.value) == f"{decayed} has event files already: delete it, or give another --output."
    assert not normal.exists() and set(empty_folders(tmp_path / "seed_1")) == {"normal", "weight_decay"}


@pytest.mark.parametrize("lacking", ["sweep", "weight counts", "gradient counts"])
def test_results_without_s3_s_histograms_are_refused_in_one_sentence(tmp_path, lacking):
    made, program = synthetic(seeds=2), load_program("curve_fitting", "event_files")
    if lacking == "sweep":
        made = replace(made, runs=made.runs.assign(sweep="main"))
    else:
        counts = made.history["metric"].str.startswith(f"layer2_{lacking.split()[0]}_bin_")
        made = replace(made, history=made.history[~counts])
    with pytest.raises(ResultError) as caught:
        program.histories(made, tmp_path, 0)
    assert (
        str(caught.value) == f"{tmp_path} has no histograms of S3's program: --results must be those of curve_fitting."
    )


def test_without_tensorboard_one_sentence_says_how_to_install_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SystemExit) as stopped:
        write_events(monkeypatch, "--results", str(tmp_path), "--output", str(tmp_path))
    assert stopped.value.code == 2
    error = "error: event files need the package tensorboard, which is not installed: pip install --editable "
    assert capsys.readouterr().err == f"{error}.[tensorboard]\n"


def test_the_interval_of_minimisers_is_measured(compute):
    """Four points: any constant between the middle two; five: one. A line through three of which two share an x."""
    ones = np.ones((4, 1))
    assert compute.width_of_minimisers(ones, np.array([0.0, 1.0, 2.5, 9.0])) == pytest.approx(1.5, abs=1e-6)
    assert compute.width_of_minimisers(np.ones((5, 1)), np.array([0.0, 1, 2, 3, 9])) == pytest.approx(0, abs=1e-6)
    line = np.column_stack([np.ones(3), [0.0, 1.0, 1.0]])
    assert compute.width_of_minimisers(line, np.array([0.0, 1.0, 2.0])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("seeds", [1, 3])
def test_all_figures_that_the_config_promises_are_made_and_legible(tmp_path, seeds):
    figures = drawn(CONFIG, synthetic(seeds=seeds), tmp_path, judged=False)
    assert {path.name for path in tmp_path.iterdir()} == promised(CONFIG)
    assert_legible(figures)


def test_every_claim_of_the_config_is_pure_ascii_once_escaped():
    for criterion in CONFIG.criteria.values():
        assert latex.escape(criterion.statement + criterion.criterion).isascii(), criterion
