"""O1-O14 on results whose truth is known, verdicts both ways; every figure and table; what is computed on networks."""

from dataclasses import replace
from functools import cache

import numpy as np
import pandas as pd
import pytest
import torch

from tests.experiments.adam_vs_adamw import CONFIG, World, synthetic
from tests.experiments.drawing import assert_legible, drawn, promised
from tests.experiments.judgments import Judgments
from tests.programs import load_program
from tests.rows import defaults
from weightdecay.ensemble.training import train
from weightdecay.errors import ConfigError
from weightdecay.report import latex
from weightdecay.run import Run
from weightdecay.statistics.estimates import UNKNOWN, Estimate
from weightdecay.statistics.separability import Shear
from weightdecay.workflow.stages import called

NONE_OF_BOTH = {"O7": "mixed", "O11": "mixed", "O13": "undecided"}  # see the tests of each
DIAGONAL = {"coupled_angle": -45.0, "decoupled_angle": -45.0, "across": 0.8}


@pytest.fixture(scope="module")
def judged(shears, surfaces):
    """`judged(seeds=3, ..., **world)`: the claims by id, O4's with few resamples and few synthetic basins."""

    @cache
    def judging(seeds=3, addition=False, **world):
        return Judgments("adam_vs_adamw", synthetic(World(**world), seeds, addition))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shears, "DRAWS", 1)
        patch.setattr(surfaces, "RESAMPLES", 100)
        yield judging


def test_what_is_true_is_reproduced(judged):
    claims = judged()
    assert list(claims) == [f"O{number}" for number in range(1, 15)]
    verdicts = {id: claim.verdict for id, claim in claims.items()}
    assert {id: verdicts.pop(id) for id in NONE_OF_BOTH} == NONE_OF_BOTH
    assert set(verdicts.values()) == {"reproduced"}, verdicts


def test_basins_along_constant_ηλ_have_best_λ_as_1_over_η(judged):
    claim = judged(**DIAGONAL)["O7"]
    assert claim.verdict == "reproduced"
    assert [part.measured for part in claim.parts[:4]] == pytest.approx([-1] * 4, abs=0.2)


@pytest.mark.parametrize(
    ("id", "part", "world"),
    [
        ("O1", "SzeroUpdate", {"residual": 1e-11}),
        ("O1", "StwoSecondRun", {"residual": 1e-11}),
        ("O2", "Slope", {"slope": -0.1}),
        ("O2", "Fall", {"slope": -0.1}),
        ("O2", "Spread", {"spread": 1.1}),
        ("O3", "Step", {"distance": 1e-3}),
        ("O3", "ShrinkageCosine", {"shrinkage": 1.0}),
        ("O4", "AdamW", {"decoupled_angle": -26.565}),
        ("O4", "SgdW", {"decoupled_angle": -26.565}),
        ("O4", "AdamL", {"coupled_angle": 90.0}),
        ("O4", "SgdL", {"coupled_angle": 90.0}),
        ("O5", "Mnist", {"gain": 1.2}),
        ("O5", "Digits", {"gain": 1.2}),
        ("O6", "Ratio", {"wide": 0.7}),
        ("O7", "AdamWProduct", {"product": 8.0}),
        ("O8", "Batch", {"powers": (1.0, -0.5, -0.5)}),
        ("O8", "Points", {"powers": (0.5, -1.0, -0.5)}),
        ("O8", "Epochs", {"powers": (0.5, -0.5, 0.0)}),
        ("O9", "Law", {"norm": 0.1}),
        ("O9", "Digits", {"product": 4.0}),
        ("O12", "Ratio", {"unrest": 4.0}),
        ("O14", "First", {"formula": 40.0}),
        ("O10", "NarrowerSgdL", {"narrower": 0.99}),
        ("O10", "WiderAdam", {"wider": 1.01}),
        ("O10", "Difference", {"classifier_gain": 1.2}),
    ],
)
def test_each_part_can_fail(judged, id, part, world):
    assert judged()[id].part(part).verdict == "reproduced"
    assert judged(**world)[id].part(part).verdict == "refuted"


def test_one_basin_is_separable_in_one_coordinate_and_diagonal_in_the_other(judged):
    """The trap: the same runs, both kinds of decay alike, are called separable if each is drawn as its authors do."""
    claim = judged(**DIAGONAL)["O4"]
    assert claim.verdict == "mixed" and "by the same rule: reproduced" in claim.note
    assert [claim.part(name).verdict for name in ("AdamW", "AdamL")] == ["reproduced", "refuted"]
    assert "from 1, where η and ηλ are separable" in claim.part("AdamW").quantity
    assert claim.part("AdamWShear").measured == pytest.approx(claim.part("AdamLShear").measured, abs=0.02)


@pytest.mark.parametrize(
    ("low", "high", "distance"),
    [
        (-0.1, 0.3, (0.1, 0.0, 0.3)),
        (-0.4, 0.1, (0.15, 0.0, 0.4)),
        (0.2, 0.6, (0.4, 0.2, 0.6)),
        (-1, -0.4, (0.7, 0.4, 1)),
    ],
)
def test_a_distance_of_an_interval_is_that_of_its_points(shears, low, high, distance):
    found = shears.distance(Estimate((low + high) / 2, low, high, 9), 0)
    assert found == pytest.approx((*distance, 9))
    assert np.isnan(shears.distance(UNKNOWN, 1)[:3]).all()


def test_synthetic_basins_have_the_shear_that_they_were_given(shears, surfaces, monkeypatch):
    """What is found on them are known truths, 0 and 1, and noise alone decides nothing."""
    monkeypatch.setattr(shears, "DRAWS", 10)
    grids = surfaces.Grids(synthetic(World(noise=0.1, unrest=1.0), seeds=8))
    known = {method: grids.shear(method, grids.surfaces(method), 0.5).estimate for method in shears.FAMILIES["Adam"]}
    found = {part.name: part for part in shears.controls(grids, known, 0.5, 0.5)}
    assert abs(found["ControlBias"].measured) < 0.02 and found["ControlPower"].measured == 1
    assert found["ControlCoverage"].n == 40 and found["ControlCoverage"].measured > 0.8
    assert found["ControlNoise"].measured <= 0.1


def test_a_synthetic_basin_is_the_measured_one_about_its_centre_with_another_shear(shears):
    """ηλ in place of λ; known where the measured basin, |x| ≤ 2 and |y| ≤ 3, has these η and these values of g."""
    rates, decays = np.exp(np.arange(-4.0, 5)), np.exp(np.arange(-6.0, 7))
    grid = pd.MultiIndex.from_product([rates, decays])
    x, y = np.log(np.array(list(grid))).T
    errors = pd.DataFrame([np.exp(0.1 * x**2 + 0.05 * y**2)], columns=grid)
    level, source = shears.resheared(errors, 0.0, 1, 0.5)
    known = (np.abs(x) <= 2.01) & (np.abs(y + x) <= 3.01)
    assert (level.notna() == known).all()
    assert level[known].to_numpy() == pytest.approx((0.1 * x**2 + 0.05 * (y + x) ** 2)[known], abs=1e-9)
    within = known & (np.abs(y + x) < 1.5)
    assert np.allclose(y[source[within]], (y + x)[within]) and np.allclose(x[source[within]], x[within])
    nothing, itself = shears.resheared(errors, 0.0, None, 0.5)
    assert (nothing.dropna() == 0).all() and (itself == np.arange(len(grid))).all() and 10 < nothing.count() < 40


def test_a_shear_is_unknown_where_λ_explains_little():
    known = Estimate(0.1, 0.0, 0.2, 9)
    found = [Shear(known, explained, 1).known(0.5) for explained in (0.5, 0.49, np.nan)]
    assert found == [known, UNKNOWN, UNKNOWN]


def test_exponents_and_rival_laws_are_told_apart(judged):
    claim = judged(powers=(1.0, -1.0, 0.0))["O8"]
    assert [claim.part(name).measured for name in ("Batch", "Points", "Epochs")] == pytest.approx([1, -1, 0], abs=0.05)
    assert "λ_norm: refuted" in claim.note and "in epochs: reproduced" in claim.note
    assert claim.part("ResidualEpochs").measured < 1.1 < claim.part("ResidualNorm").measured
    assert claim.part("AgainstEpochs").low > 1


def test_where_every_best_λ_is_at_the_end_of_the_grid_nothing_is_decided(judged):
    claim = judged(norm=600.0)["O8"]
    assert claim.verdict == "undecided" and "18 of 18 best λ over b, B and T are at an end of the grid" in claim.note


def test_a_best_λ_beyond_the_grid_is_a_bound_that_bends_no_exponent(judged):
    """At 4,000 points it would be .0075, and the grid begins at .01: taken for the best, it flattens the exponent."""
    claim = judged(powers=(0.5, -1.0, -0.5), norm=0.019)["O8"]
    assert "3 of 18 best λ" in claim.note
    assert claim.part("Points").measured == pytest.approx(-1, abs=0.06)
    assert claim.part("PointsKept").measured > -0.93


def test_bounds_keep_the_exponent_against_η_and_leaving_them_out_flattens_it(scaling):
    """λ = .03/η with noise, in a grid that ends at λ = 1 and that half of the λ of the smallest η exceed."""
    generator, found = np.random.default_rng(0), {}
    rates = 0.03 * 2.0 ** np.arange(5)
    rows = [{"seed": s, "surface": f, "rate": η} for s in range(60) for f in "abc" for η in rates]
    table = pd.DataFrame(rows)
    table["best"] = 0.03 / table["rate"] * np.exp(generator.normal(0, 0.6, len(table)))
    table = table.assign(side=(table["best"] > 1).astype(int), end=1.0)
    table["best"] = table["best"].clip(upper=1.0)
    for ends in ("bounds", "kept", "dropped"):
        found[ends] = scaling.rate_exponents(table, ends).mean()
    assert found["bounds"] == pytest.approx(-1, abs=0.04)
    assert min(found["kept"], found["dropped"]) > -0.93


def test_a_surface_without_a_best_λ_inside_its_grid_tells_nothing(scaling):
    rates = [0.1, 0.2, 0.4]
    known = [{"seed": 0, "surface": "a", "rate": η, "best": 0.01 / η, "side": 0, "end": 1.0} for η in [*rates, 0.8]]
    lost = [{"seed": 0, "surface": "b", "rate": η, "best": 1.0, "side": 1, "end": 1.0} for η in rates]
    for rows in (known, known + lost):
        assert scaling.rate_exponents(pd.DataFrame(rows)).to_list() == pytest.approx([-1.0])
    assert scaling.rate_exponents(pd.DataFrame(lost)).isna().all()


def test_a_best_λ_norm_beyond_the_grid_leaves_its_interval_open(judged):
    part = judged(product=64.0)["O9"].part("Mnist")
    assert part.high == np.inf and part.low > 0.05 and part.verdict == "refuted"
    assert judged(product=1 / 64.0)["O9"].part("Mnist").low == 0


def test_constant_ηλ_is_level_where_the_basin_is(judged):
    """A basin along ηλ = .01 that is long enough, in which a constant λ is far from level; and one too short."""
    claim = judged(**DIAGONAL, along=50.0)["O11"]
    assert claim.verdict == "reproduced" and claim.part("AdamW").measured < 1.02
    assert claim.part("AdamWHeld").low > 1.5 and claim.part("SgdWBest").measured < 1.02
    assert judged(**DIAGONAL)["O11"].verdict == "refuted"


def test_λ_has_to_be_tuned_again_where_the_basin_is_diagonal(judged):
    claim = judged(**DIAGONAL)["O13"]
    assert claim.verdict == "reproduced" and claim.part("AdamWProduct").high < 1.02
    along_η = judged(coupled_angle=0.0, decoupled_angle=0.0)["O13"]
    assert along_η.verdict == "refuted" and along_η.part("AdamLProduct").low > 1.05


@pytest.mark.parametrize(("formula", "verdict"), [(1.0, "reproduced"), (100.0, "refuted")])
def test_of_two_formulas_the_first_is_judged(judged, formula, verdict):
    """Apart by a factor α = .01, they cannot both hold: where the second does, the claim is refuted."""
    claim = judged(formula=formula)["O14"]
    assert claim.verdict == verdict and claim.part("Second").verdict is None
    assert claim.part("Second").measured == pytest.approx(0.01 * claim.part("First").measured)


@pytest.fixture(scope="module")
def windowed():
    """Basins along ηλ = .04 with the best η at the grid's end: at the two smallest of five η that line has no cell."""
    results = synthetic(World(**DIAGONAL, product=4.0))
    results = replace(results, runs=results.runs[results.runs["learning_rate"] <= 0.02])
    return load_program("adam_vs_adamw", "surfaces").Grids(results)


def test_lines_of_ηλ_are_compared_over_the_η_that_both_have(windowed, coupling):
    lines = coupling.lines_of(windowed, "mnist1d", "AdamW", "cosine", 0.01, 10.0)
    rates = [[η for η, _ in lines[name]] for name in ("Best", "")]
    assert set(rates[0]) < set(rates[1])
    best, beside = coupling.at_common(lines["Best"], lines[""])
    assert [η for η, _ in best] == [η for η, _ in beside] == rates[0]
    parts, note = coupling.constant_shrinkage(windowed, **{**CONFIG.criteria["O11"].thresholds, "usable": 10.0})
    found = {part.name: part.measured for part in parts}
    # across: ln 4/√2 from the valley's bottom; along: 2.94 at the smallest η of all, .98 at that of both lines
    floor = 1 + (np.log(4) / np.sqrt(2) / 1.2) ** 2
    truth = [1 + (far / np.sqrt(2) / 7.5) ** 2 / floor for far in (3 * np.log(4), np.log(4))]
    assert [found["AdamW"], found["AdamWBeside"]] == pytest.approx(truth, rel=0.005)
    assert "AdamW: the best cell's ηλ is inside the window at 12 of these 20 η" in note


def test_costs_of_keeping_λ_and_ηλ_are_compared_over_common_η(windowed, coupling):
    costs = coupling.costs_of_keeping(windowed, "mnist1d", "AdamW", "cosine", 10.0, 4.0)
    assert (costs["common"] < costs["far"]).all()
    assert (costs["ηλ"] < costs["beside"]).all() and not np.allclose(costs["beside"], costs["λ"])


def test_seeds_are_averaged_over_the_same_surfaces(surfaces):
    known, part = pd.Series([1.0, 2.0]), pd.Series([3.0, np.nan])
    assert surfaces.over_surfaces([known, part]).isna().to_list() == [False, True]
    assert surfaces.over_surfaces([]).empty


def test_the_best_cell_is_located_between_the_λ_of_its_grid(surfaces, scaling):
    """The truth is a third of a step of the grid above its cell; and at the largest η where the grid ends there."""
    world = World(product=2 ** (1 / 3), noise=1e-4)
    found = scaling.best_products(surfaces.Grids(synthetic(world)), "SGDW")
    assert found["best"].to_numpy() == pytest.approx(0.01 * 2 ** (1 / 3), rel=0.03) and not found["outer"].any()
    cut = synthetic(world)
    cut = replace(cut, runs=cut.runs[cut.runs["learning_rate"] <= 0.02])
    assert scaling.best_products(surfaces.Grids(cut), "SGDW")["outer"].all()


def test_the_effect_of_decay_can_be_steadier_where_the_error_is_not(judged):
    claim = judged(unrest=1.0)["O12"]
    assert claim.part("Ratio").verdict == "undecided"
    assert claim.part("AdamW").measured == pytest.approx(claim.part("AdamL").measured, rel=0.1)


def test_basins_that_the_window_cuts_are_counted_and_leave_their_ratio_open(judged):
    """A basin goes on beyond the window: AdamW's may be larger than it looks, and so may those of Adam + L2."""
    uncut, cut = judged()["O6"], judged(product=16.0)["O6"]
    assert "AdamW: the window cuts 12 of 12 basins" in cut.note and cut.part("AdamWEdge").low > 0.05
    assert cut.verdict == "undecided" and (cut.part("Ratio").low, cut.part("Ratio").high) == (0, np.inf)
    assert cut.part("Inside").low > 1
    assert uncut.part("AdamLEdge").measured == 0 and uncut.part("Ratio").low == uncut.part("Inside").low


def test_cells_of_equal_error_are_told_apart_by_their_loss(surfaces):
    """All cells of the addition task are without error: the best is that of the lowest loss, not the first."""
    grids = surfaces.Grids(synthetic(World(saturated=True), addition=True))
    errors = grids.errors("addition", "Adam + L2", "cosine", "validation")
    assert (grids.errors("addition", "Adam + L2", "cosine", "test") == 0).all(axis=None)
    assert errors.mean().idxmin() == pytest.approx((0.02, 0.5))
    ones = pd.Series([1.0, 1.0]), pd.Series([0.4, np.nan])
    assert surfaces.untied(*ones).is_monotonic_increasing and surfaces.untied(*ones).is_unique


def test_a_loss_never_outweighs_an_example(surfaces):
    least = 1 / 4000 / 2 / 20  # of a mean over two logged steps and 20 seeds
    errors = surfaces.untied(pd.Series([0.1, 0.1 + least]), pd.Series([50.0, 0.0]))
    assert errors[0] < errors[1]


def test_a_saturated_task_is_judged_without_infinities(judged):
    claims = judged(addition=True, saturated=True)
    assert claims["O5"].part("Addition").measured == 0 and claims["O5"].part("AdditionRatio").measured == 1
    assert all(np.isfinite(part.measured) for part in claims["O7"].parts)


def test_two_seeds_decide_nothing(judged):
    assert {claim.verdict for claim in judged(seeds=2).values()} == {"undecided"}


def test_a_diverged_run_has_error_1_and_is_counted(judged):
    claims = judged(diverged=True)
    assert "216 of 4104 runs diverged" in claims["O5"].note  # 2 methods, schedules and data sets, 9 λ, 3 seeds
    assert claims["O6"].part("AdamWArea").measured <= judged()["O6"].part("AdamWArea").measured


def test_addition_is_judged_where_it_was_run(judged):
    assert "addition: not run at this scale" in judged()["O5"].note
    assert judged(addition=True)["O5"].part("Addition").verdict == "reproduced"


def test_all_that_the_config_promises_is_made_and_legible(tmp_path):
    figures = drawn(CONFIG, synthetic(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == promised(CONFIG)
    assert_legible(figures)
    assert "AdamW" in (tmp_path / "adam_vs_adamw-best.tex").read_text()


@pytest.mark.parametrize(("world", "slopes"), [(World(), (0.0, 1.0)), (World(**DIAGONAL), (-0.93, 0.07))])
def test_a_line_is_level_in_the_coordinate_in_which_the_basin_is_separable(tmp_path, world, slopes):
    (figure,) = drawn(CONFIG, synthetic(world), tmp_path, ["separability"], judged=False)
    shown = [float(panel.texts[0].get_text().split()[1].replace("−", "-")) for panel in figure.axes[0:4:2]]
    assert shown == pytest.approx(slopes, abs=0.02)
    assert all("Loshchilov" in figure.axes[place].texts[1].get_text() for place in (1, 2))


@pytest.mark.parametrize("dataset", ["mnist1d", "digits"])
def test_the_data_set_is_shown_on_which_a_penalty_helps_more(dataset):
    class Made:
        def schedules(self, dataset):
            return ["constant", "cosine"]

        def errors(self, of, method, schedule, split):
            assert (schedule, split) == ("cosine", "test")
            return pd.DataFrame([[0.5, 0.4 if of == dataset and method == "Adam + L2" else 0.45]])

    assert load_program("adam_vs_adamw", "heat_maps").shown_surface(Made()) == (dataset, "cosine")


def test_one_seed_is_drawn_without_intervals(tmp_path):
    names = ["basins", "best_lambda", "exponents", "best"]
    drawn(CONFIG, synthetic(seeds=1, addition=True), tmp_path, names)
    text = (tmp_path / "adam_vs_adamw-basins.tex").read_text()
    assert "addition" in text and "pm" not in text


def test_every_claim_of_the_config_is_pure_ascii_once_escaped():
    for criterion in CONFIG.criteria.values():
        assert latex.escape(criterion.statement + criterion.criterion).isascii()


@pytest.fixture(scope="module")
def surfaces():
    return load_program("adam_vs_adamw", "surfaces")


@pytest.fixture(scope="module")
def shears():
    return load_program("adam_vs_adamw", "shears")


@pytest.fixture(scope="module")
def coupling():
    return load_program("adam_vs_adamw", "coupling")


@pytest.fixture(scope="module")
def scaling():
    return load_program("adam_vs_adamw", "scaling")


@pytest.fixture(scope="module")
def compute():
    """`compute(name, **settings)`: a computation with the smoke scale's arguments."""
    program = load_program("adam_vs_adamw", "compute")

    @cache
    def computing(name, **changes):
        return called(getattr(program, name), CONFIG.scales.smoke.computations[name] | changes)

    return computing


def test_the_identity_holds_in_every_convention_on_networks(compute):
    table = compute("identities", steps=10, seeds=1)
    assert len(table) == 4 and (table[["update", "run"]] < 1e-14).all(axis=None)
    rows = table.set_index("convention")
    assert rows.loc["S0", "λ"] == 0.005 and rows.loc["S2", "λ"] == 1.0  # of PyTorch's .01, 100 examples
    assert rows["factor"].to_numpy() == pytest.approx(0.999, abs=1e-12)


def test_a_wrong_convention_is_seen(monkeypatch):
    """S0's λ taken for PyTorch's: the factor is not 1 − ηλ but 1 − 2ηλ."""
    program = load_program("adam_vs_adamw", "compute")
    monkeypatch.setitem(program.CONVENTIONS, "S0", (lambda λ, η, m: λ, *program.CONVENTIONS["S0"][1:]))
    settings = CONFIG.scales.smoke.computations["identities"] | {"steps": 2, "seeds": 1}
    table = called(program.identities, settings).set_index("convention")
    assert table.loc["S0", "update"] > 1e-6 > table.loc["S3", "update"]


def test_without_momentum_l2_and_decay_agree_under_every_schedule(compute):
    table = compute("schedules", seeds=1).set_index(["momentum", "schedule"])["distance"]
    assert (table[0.0] < 1e-10).all() and (table[0.9] > 1e-3).all()


def test_decay_of_adamw_is_constant_and_that_of_adam_falls(compute):
    table = compute("decay_rates", seeds=1).set_index("decay")
    assert table.loc["decoupled", ["low", "rate", "high"]].to_numpy() == pytest.approx(1, abs=1e-6)
    assert table.loc["l2", "slope"].iloc[0] < -0.5


def test_weight_decay_of_torchs_adam_is_the_λ_of_neither_formula(compute):
    table = compute("torch_optimizers", seeds=1, steps=100).set_index("optimizer")["rate"]
    assert table["SGD"] == pytest.approx(1, abs=1e-6) and table["AdamW"] == pytest.approx(1, abs=1e-6)
    assert 2 < table["Adam"] < 90  # of αλw; the second formula would have 1/α = 100


def test_the_classifier_is_s0s_and_its_histograms_hold_every_weight(compute):
    table = compute("classifier", seeds=1)
    shares = table.groupby(["network", "stage"])["share"].sum()
    assert len(shares) == 10 and shares.to_numpy() == pytest.approx(1)
    before = table[table["stage"] == "before"].groupby("network")["spread"].first()
    # U(±1/√inputs) has variance 1/(3 inputs)
    sizes = np.array([(784, 256), (256, 128), (128, 10)])
    expected = np.sqrt((sizes[:, 1] / 3).sum() / sizes.prod(1).sum())
    assert before.to_numpy() == pytest.approx(expected, rel=0.02)


def run(**changes) -> Run:
    fixed = {"experiment": "adam_vs_adamw", "sweep": "mnist1d", "seed": 0, "optimizer": "adam", "decay": "l2"}
    return Run(**{**fixed, "learning_rate": 1e-3, "weight_decay": 0.01, **defaults(CONFIG), **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"dataset": "mnist"},
            "dataset is 'mnist', but must be one of mnist1d, digits, binary_addition in adam_vs_adamw.",
        ),
        ({"network": "cnn", "blocks": 3}, "network is 'cnn', but must be 'mlp' in adam_vs_adamw."),
        ({"label_noise": 0.1}, "label_noise is 0.1, but must be 0.0 in adam_vs_adamw."),
        (
            {"batch_norm_eps": 0.1},
            "batch_norm_eps is 0.1, but must be null where network is mlp, which has no BatchNorm.",
        ),
        ({"blocks": 0}, "blocks is 0, but must be at least 1 where network is mlp, which has hidden layers."),
    ],
)
def test_rows_that_cannot_be_trained_are_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError) as caught:
        load_program("adam_vs_adamw", "train").splits(run(**changes))
    assert str(caught.value) == sentence


def test_every_data_set_is_trained():
    program = load_program("adam_vs_adamw", "train")
    few = {"train_size": 64, "batch_size": 32, "width": 8, "steps": 4, "log_every": 2}
    addition = {"dataset": "binary_addition", "network": "residual_mlp", "loss": "sigmoid_squared_error"}
    rows = [run(**few), run(**few, dataset="digits"), run(**few, **addition, batch_norm_eps=0.01, blocks=2)]
    result = train(rows, program.PROTOCOL, device="cpu")
    assert torch.tensor(result.runs["test_loss"].to_numpy(float)).isfinite().all()
    assert set(result.runs["dataset"]) == {"mnist1d", "digits", "binary_addition"}


def test_l2_and_decoupled_sgd_without_momentum_are_one_run():
    """What the grids rest on: without momentum the two optimisers of a pair are one, whatever the schedule."""
    program = load_program("adam_vs_adamw", "train")
    few = {"train_size": 64, "batch_size": 32, "width": 8, "steps": 20, "log_every": 20, "optimizer": "sgd"}
    rows = [run(**few, schedule="cosine", learning_rate=0.1, decay=decay) for decay in ("l2", "decoupled")]
    losses = train(rows, program.PROTOCOL, device="cpu", dtype=torch.float64).runs["test_loss"]
    assert losses.iloc[0] == pytest.approx(losses.iloc[1], rel=1e-12)


def test_finals_are_means_over_the_last_tenth():
    results = synthetic(seeds=1)
    surfaces = load_program("adam_vs_adamw", "surfaces")
    grids = surfaces.Grids(results)
    errors = grids.errors("mnist1d", "AdamW", "cosine", "test")
    assert errors.shape == (1, 81) and isinstance(errors.columns, pd.MultiIndex)
    assert errors.loc[0].min() == pytest.approx(0.16, rel=0.02)
