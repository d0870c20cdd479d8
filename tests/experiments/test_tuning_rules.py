"""T1-T17 on results whose truth is known, verdicts both ways; every figure and table; the folds of cross-validation."""

import math
from functools import cache

import numpy as np
import pandas as pd
import pytest

from tests.experiments.drawing import assert_legible, drawn, promised
from tests.experiments.judgments import Judgments
from tests.experiments.tuning_rules import CONFIG, World, synthetic
from tests.programs import EXPERIMENTS, load_program
from tests.rows import defaults
from weightdecay.ensemble.layers import Dropout
from weightdecay.ensemble.stack import layers_of
from weightdecay.ensemble.training import train
from weightdecay.errors import ConfigError
from weightdecay.report import latex
from weightdecay.run import Run


@pytest.fixture(scope="module")
def judged():
    """`judged(seeds=3, ..., **world)`: the claims by id."""

    @cache
    def judging(seeds=3, sizes=None, rates=None, **world):
        options = {name: value for name, value in (("sizes", sizes), ("rates", rates)) if value is not None}
        return Judgments("tuning_rules", synthetic(World(**world), seeds, **options))

    return judging


def test_what_is_true_is_reproduced(judged):
    claims = judged()
    assert list(claims) == [f"T{number}" for number in range(1, 18)]
    verdicts = {id: claim.verdict for id, claim in claims.items()}
    assert verdicts.pop("T11") == "refuted"  # it denies what T10 says
    assert verdicts.pop("T17") == "refuted"  # and this what T7 says
    assert set(verdicts.values()) == {"reproduced"}, verdicts


@pytest.mark.parametrize(
    ("id", "world"),
    [
        ("T1", {"power": 0.0}),
        ("T2", {"dropout": 1.0}),
        ("T3", {"spared": 1.2, "spared_error": 0.05}),
        ("T4", {"cosine": 1.0}),
        ("T5", {"none": 0.8}),
        ("T6", {"misled": 1e-4}),
        ("T7", {"best": 0.3, "power": 0.0}),
        ("T8", {"underfit": 0.0}),
        ("T9", {"best": 2.0, "power": -0.2}),
        ("T10", {"power": -0.4}),
        ("T12", {"stopping": 0.9, "dropped": 0.9, "none": 1.0}),
        ("T13", {"together": 1.3}),
        ("T14", {"best": 3.0, "power": 0.0, "hump": 3.0}),
        ("T15", {"power": 0.0, "dropout": 1.0, "cosine": 1.0}),
        ("T16", {"norms": 1.0, "free": 0.5}),
    ],
)
def test_what_is_false_is_not_reproduced(judged, id, world):
    assert judged(**world)[id].verdict in ("refuted", "mixed")


def test_a_best_decay_that_does_not_move_is_what_s3_says(judged):
    claims = judged(power=0.0)
    assert [claims[id].verdict for id in ("T1", "T10", "T11")] == ["refuted", "refuted", "reproduced"]


@pytest.mark.parametrize(
    ("id", "part", "world"),
    [
        ("T1", "Decoupled", {"power": 0.0}),
        ("T2", "DecoupledZeroPointFive", {"dropout": 1.0}),
        ("T3", "BatchNormLoss", {"spared": 1.2}),
        ("T3", "BatchNormError", {"spared_error": 0.05}),
        ("T3", "PlainError", {"spared_error": 0.05}),
        ("T5", "FixedLoss", {"none": 0.8}),
        ("T5", "TenthLoss", {"none": 0.8}),
        ("T6", "CoupledLoss", {"best": 0.3, "power": 0.0}),
        ("T7", "CoupledSmall", {"best": 0.3, "power": 0.0}),
        ("T7", "CoupledLarge", {"best": 0.3, "power": 0.0}),
        ("T8", "DecoupledTest", {"underfit": 0.0}),
        ("T9", "CoupledTwoFiveZero", {"best": 2.0, "power": -0.2}),
        ("T12", "DecoupledStoppingLoss", {"stopping": 0.9}),
        ("T12", "CoupledDropoutLoss", {"dropped": 0.9}),
        ("T12", "CoupledNoneLoss", {"none": 1.0}),
        ("T12", "DecoupledNoneError", {"none": 1.0}),
        ("T13", "DecayLoss", {"together": 1.1}),
        ("T13", "DropoutLoss", {"together": 1.3}),
        ("T14", "DecoupledZeroPointZeroZeroOneLoss", {"best": 3.0, "power": 0.0, "hump": 3.0}),
        ("T14", "CoupledZeroPointZeroZeroZeroOneError", {"best": 3.0, "power": 0.0, "hump": 3.0}),
        ("T15", "Coupled", {"power": 0.0, "dropout": 1.0, "cosine": 1.0}),
        ("T16", "Range", {"norms": 1.0}),
        ("T16", "Above", {"free": 0.5}),
    ],
)
def test_each_part_can_fail_alone(judged, id, part, world):
    assert judged()[id].part(part).verdict == "reproduced"
    assert judged(**world)[id].part(part).verdict == "refuted"


def test_the_best_decay_is_found_between_the_values_of_the_grid(judged):
    claim = judged(best=0.0047)["T1"]
    assert claim.part("DecoupledOneZeroZeroZero").measured == pytest.approx(0.0047, rel=0.05)
    assert claim.part("CoupledFourZeroZeroZero").measured == pytest.approx(0.0047 / 4, rel=0.05)
    assert claim.part("Coupled").measured == pytest.approx(-1, abs=0.05)


@pytest.mark.parametrize(
    ("cosine", "spread", "verdict"),
    [(2.0, 1e-3, "reproduced"), (0.5, 1e-3, "reproduced"), (1.0, 1e-4, "refuted"), (1.25, 2e-3, "undecided")],
)
def test_a_schedule_may_move_the_best_decay_either_way(judged, cosine, spread, verdict):
    claim = judged(cosine=cosine, spread=spread)["T4"]
    assert claim.verdict == verdict
    part = claim.part("DecoupledCosine")
    assert (part.most == 0.8 and part.least == -math.inf) if cosine < 1 else part.least in (1.25, -math.inf)


def test_a_wide_interval_around_no_difference_is_undecided():
    part = load_program("tuning_rules", "claims").outside
    estimate = load_program("tuning_rules", "claims").Estimate
    assert part("Part", "ratio", estimate(1.1, 0.7, 1.2, 4), 1.25).verdict == "undecided"  # .7 would be a difference
    assert part("Part", "ratio", estimate(1.1, 0.9, 1.2, 4), 1.25).verdict == "refuted"
    assert part("Part", "ratio", estimate(0.5, 0.4, 0.7, 4), 1.25).verdict == "reproduced"


def test_two_bounds_decide_nothing_and_are_said(judged):
    claims = judged(best=1e-6)
    assert claims["T1"].verdict == "undecided" and math.isnan(claims["T1"].measured)
    said = "best λ censored at an end of its grid: decoupled, n = 250 (below 0.0001 in 3 of 3 seeds)"
    assert said in claims["T1"].note
    assert claims["T2"].verdict == claims["T4"].verdict == "undecided"
    assert (claims["T4"].low, claims["T4"].high) == (0, math.inf)
    assert claims["T5"].part("TenthLoss").n == 0  # a tenth of the smallest is not on the grid
    assert "a tenth of the best λ: 0 settings, without decoupled, n = 250;" in claims["T5"].note


def test_no_decay_that_is_best_of_all_bounds_the_best_decay(judged):
    claims = judged(none=0.8)
    assert claims["T1"].verdict == "undecided" and "(below 1e-05 in 3 of 3 seeds)" in claims["T1"].note
    assert claims["T7"].part("DecoupledSmall").verdict == "refuted"  # .00001 at most, and S0 names .01
    assert claims["T9"].part("CoupledTwoFiveZero").verdict == "undecided"  # that is S1's smallest


def test_dropout_that_leaves_nothing_for_decay_is_evidence(judged):
    claim = judged(dropped=0.7)["T2"]
    assert claim.verdict == "reproduced" and "dropout 0.5 (below 1e-05 in 3 of 3 seeds)" in claim.note
    part = claim.part("DecoupledZeroPointFive")
    assert part.low == 0 and part.high == pytest.approx(1e-5 / 0.003, rel=0.1)


def test_a_best_decay_beyond_the_grid_is_evidence(judged):
    claim = judged(cosine=1e4)["T4"]  # 30, and the grid ends at 10
    assert claim.verdict == "reproduced" and claim.high == math.inf and "cosine (above 1 in 3" in claim.note
    claims = judged(best=0.2, power=-4.0)  # at n = 250 it is 51
    assert claims["T1"].verdict == "reproduced" and claims["T1"].low == -math.inf
    assert claims["T10"].verdict == claims["T11"].verdict == "refuted"
    assert judged(best=100.0, power=0.0)["T7"].part("CoupledSmall").verdict == "refuted"


def test_bounds_go_through_to_estimates():
    best = load_program("tuning_rules", "best")
    exact = pd.DataFrame({"low": [1.0, 2.0, 4.0], "high": [1.0, 2.0, 4.0]})
    below = pd.DataFrame({"low": [0.0, 2.0, 4.0], "high": [1.0, 2.0, 4.0]})
    assert best.place(exact).value == pytest.approx(2) and 0 < best.place(exact).low < 1
    raised = pd.DataFrame({"low": [2.0, 2.0, 4.0], "high": [2.0, 2.0, 4.0]})
    assert best.place(below).low == 0 and best.place(below)[::2] == best.place(raised)[::2]
    assert best.quotient(exact, below).high == math.inf
    assert best.quotient(exact, below).low == best.quotient(exact, exact).low
    assert np.isnan(best.quotient(below, below).value) and best.quotient(below, below)[1:3] == (0, math.inf)
    falling = {1: below, 2: exact, 4: exact}
    assert best.power(falling).high == math.inf and best.power({1: exact, 2: exact, 4: below}).low == -math.inf
    assert best.power({1: exact, 2: below, 4: exact}) == best.power({1: exact, 2: exact, 4: exact})  # no weight
    assert best.place(exact.assign(low=np.nan)).n == 0


def test_nothing_hangs_on_how_far_the_grid_reaches_beyond_the_known():
    best = load_program("tuning_rules", "best")
    once = pd.DataFrame({"low": [1.0] * 4, "high": [1.0] * 4})
    high = [0.5, 0.6, 0.4, 2e-4]
    fell = pd.DataFrame({"low": [*high[:3], 0.0], "high": high})  # the last has its best λ at 0
    found, larger = best.quotient(fell, once), best.quotient(fell.assign(high=[*high[:3], 0.4]), once)
    assert found == larger and found.low == 0 and 0.4 < found.value < found.high < 0.7
    assert best.quotient(fell.assign(high=[*high[:3], 0.55]), once).high > found.high  # a bound among the known stays
    rose = best.quotient(once, fell)
    assert (rose.value, rose.low, rose.high) == pytest.approx((1 / found.value, 1 / found.high, math.inf))


def test_seeds_that_are_all_censored_share_the_loosest_bound():
    best = load_program("tuning_rules", "best")
    below = pd.DataFrame({"low": [0.0] * 4, "high": [0.02, 0.02, 0.02, 1e-3]})
    assert best.place(below) == (0.02, 0, 0.02, 4)
    above = pd.DataFrame({"low": [5.0, 50.0, 5.0, 5.0], "high": [math.inf] * 4})
    assert best.place(above) == (5, 5, math.inf, 4)
    against = pd.DataFrame({"low": [1.0, 2.0, 1.0, 2.0]}).assign(high=lambda table: table["low"])
    spread = best.place(against)  # the seeds of what is known still differ, and leave their spread
    assert best.quotient(below, against).high == pytest.approx(0.02 / spread.low)


def test_better_than_either_is_strict():
    compared = load_program("tuning_rules", "costs").compared
    alike = pd.DataFrame({"test_loss": [1.0, 2.0, 3.0], "test_error": [0.1, 0.2, 0.3]})
    options = ("Part", "test", ("both", "either"), alike, alike, 1.0, 0.01)
    assert [part.verdict for part in compared(*options, strict=True)] == ["undecided", "reproduced"]
    assert [part.verdict for part in compared(*options)] == ["reproduced", "reproduced"]


@pytest.mark.parametrize(
    ("losses", "bounds"),
    [
        ({0.0: 1, 0.1: 2, 1.0: 3}, (0, 0.1)),
        ({0.0: 2, 0.1: 1, 1.0: 3}, (0, 1)),
        ({0.0: 3, 0.1: 2, 1.0: 1}, (0.1, math.inf)),
        ({0.0: 3, 0.1: 2, 1.0: 1, 10.0: np.nan}, (0.1, math.inf)),
        ({0.0: 3, 0.1: 2, 1.0: 1, 10.0: 2}, (1, 1)),
    ],
)
def test_the_best_decay_is_bounded_by_its_neighbours(losses, bounds):
    found = load_program("tuning_rules", "best").best_of(pd.Series(losses, dtype=float))
    assert found == pytest.approx(bounds)


def test_early_stopping_is_read_at_the_step_of_the_lowest_validation_loss(judged):
    claim = judged(learns=0.015)["T12"]
    assert claim.part("Step").measured == pytest.approx(600)
    assert claim.part("StoppingTestLoss").measured == pytest.approx(1.2)
    assert claim.part("StoppingTestError").measured == pytest.approx(0.408)
    assert claim.part("DecoupledExamples").measured == pytest.approx(
        2, rel=0.15
    )  # .416 falls by .015 a doubling to .401
    beyond = judged()["T12"].part("DecoupledExamples")
    assert beyond.high == math.inf and beyond.measured == pytest.approx(4)  # the largest n without decay does not do it


def test_small_named_values_can_be_right(judged):
    assert judged(best=3e-5, power=0.0)["T17"].verdict == "reproduced"


def test_a_search_upwards_stops_where_validation_loss_rises(judged):
    claim = judged(best=3.0, power=0.0, hump=3.0)["T14"]
    assert "from 0.0001: found 0.001" in claim.note
    assert "from 0.0001: found 1" in judged(best=3.0, power=0.0)["T14"].note


def test_two_seeds_decide_nothing(judged):
    assert {claim.verdict for claim in judged(seeds=2).values()} == {"undecided"}


def test_three_sizes_are_too_few_for_a_power(judged):
    claims = judged(sizes=(250, 1000, 4000))
    assert {claims[id].verdict for id in ("T1", "T10", "T11")} == {"undecided"}
    assert "fewer than 4 sizes" in claims["T1"].note and claims["T7"].verdict == "reproduced"


def test_what_was_not_run_is_undecided_and_said(judged):
    claim = judged(rates=())["T2"]
    assert (claim.verdict, claim.note, claim.n) == ("undecided", "not run at this scale", 0)
    assert judged(rates=())["T13"].verdict == "undecided"


def test_a_diverged_run_is_never_the_best_and_is_counted(judged):
    claims = judged(diverged=(1.0,))
    assert claims["T1"].verdict == "reproduced" and "diverged" in claims["T1"].note
    assert claims["T8"].part("DecoupledTrain").verdict == "reproduced" and "diverged" in claims["T8"].note


def test_all_that_the_config_promises_is_made_and_legible(tmp_path):
    figures = drawn(CONFIG, synthetic(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == promised(CONFIG)
    assert_legible(figures)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_grid_of_which_most_is_missing_is_drawn_all_the_same(tmp_path):
    drawn(CONFIG, synthetic(World(best=1e-6), seeds=1, sizes=(250, 1000), rates=()), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == promised(CONFIG)
    assert "--" in (tmp_path / "tuning_rules-best.tex").read_text()


def test_the_caption_says_which_part_of_a_grid_is_not_drawn():
    caption = (EXPERIMENTS.parent / "paper/sections/tuning_rules.tex").read_text(encoding="utf-8")
    assert f"$\\lambda$ below $1/{load_program('tuning_rules', 'figures').WINDOW}$ of its largest" in caption


def test_every_claim_of_the_config_is_pure_ascii_once_escaped():
    for criterion in CONFIG.criteria.values():
        assert latex.escape(criterion.source + criterion.statement + criterion.criterion).isascii()


def run(**changes) -> Run:
    fixed = {"experiment": "tuning_rules", "sweep": "size", "seed": 0, "decay": "none"}
    return Run(**{**defaults(CONFIG), **fixed, **changes})


def test_folds_are_a_partition_of_the_training_examples():
    program = load_program("tuning_rules", "train")
    whole = program.splits(run(train_size=103))["train"]
    folds = [program.splits(run(train_size=103, dataset=f"mnist1d_fold{k}of5")) for k in range(1, 6)]
    rows = {tuple(row.tolist()) for row in whole.inputs}
    held_out = [tuple(row.tolist()) for fold in folds for row in fold["validation"].inputs]
    assert len(held_out) == len(set(held_out)) == 103 and set(held_out) == rows
    for fold in folds:
        kept = {tuple(row.tolist()) for row in fold["train"].inputs}
        assert len(fold["validation"].inputs) in (20, 21)
        assert kept == rows - {tuple(row.tolist()) for row in fold["validation"].inputs}
    assert program.splits(run(train_size=103, dataset="mnist1d_fold2of5"))["train"] is folds[1]["train"]  # held once


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"dataset": "mnist"}, "dataset is 'mnist', but must be mnist1d or mnist1d_fold<k>of<K> with 1 <= k <= K"),
        ({"dataset": "mnist1d_fold6of5"}, "dataset is 'mnist1d_fold6of5', but must be mnist1d or"),
        ({"dataset": "mnist1d_fold1of1"}, "dataset is 'mnist1d_fold1of1', but must be mnist1d or"),
        ({"network": "cnn", "blocks": 3}, "network is 'cnn', but must be one of mlp, residual_mlp in tuning_rules."),
        ({"label_noise": 0.1}, "label_noise is 0.1, but must be 0.0 in tuning_rules."),
    ],
)
def test_rows_that_cannot_be_trained_are_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError) as caught:
        load_program("tuning_rules", "train").splits(run(**changes))
    assert str(caught.value).startswith(sentence)


def test_networks_are_as_the_rows_say():
    program = load_program("tuning_rules", "train")
    for rate, count in ((0.0, 0), (0.5, 2)):
        layers = layers_of(program.PROTOCOL.built([run(), run(seed=1, dropout=rate)], 40, 10))
        assert sum(isinstance(layer, Dropout) for layer in layers) == count
    with pytest.raises(ConfigError, match="which has no dropout"):
        train([run(network="residual_mlp", batch_norm_eps=1e-5, dropout=0.5)], program.PROTOCOL, device="cpu")


def test_a_network_trains_alike_alone_and_among_all_rates_of_dropout():
    """Bitwise."""
    protocol = load_program("tuning_rules", "train").PROTOCOL
    few = {"steps": 20, "log_every": 20, "log_dense_every": 20, "train_size": 300, "decay": "l2", "weight_decay": 0.01}
    rows = [run(**few, dropout=rate, seed=seed) for rate in (0.0, 0.2, 0.5) for seed in (0, 1)]
    together = train(rows, protocol, device="cpu").runs.set_index("run")
    for row in rows:
        alone = train([row], protocol, device="cpu").runs.set_index("run").loc[row.id]
        metrics = ["train_loss", "validation_loss", "test_loss", "test_accuracy", "weight_norm"]
        assert np.isfinite(alone[metrics].astype(float)).all()
        assert together.loc[row.id, metrics].tolist() == alone[metrics].tolist()
