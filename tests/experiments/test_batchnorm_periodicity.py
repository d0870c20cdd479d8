"""B1-B12 on results whose truth is known, verdicts both ways; every figure and table, also from a grid nearly empty."""

import itertools
from functools import cache

import numpy as np
import pytest
import torch

from tests.experiments.batchnorm_periodicity import ADDITION, CONFIG, World, synthetic
from tests.experiments.drawing import assert_legible, drawn, promised
from tests.experiments.judgments import Judgments
from tests.programs import load_program
from tests.rows import defaults
from weightdecay.ensemble import backend
from weightdecay.ensemble.layer import Moment
from weightdecay.ensemble.program import program_of
from weightdecay.ensemble.state import Ensemble
from weightdecay.errors import ConfigError
from weightdecay.report import latex
from weightdecay.run import Run

FIGURES = load_program("batchnorm_periodicity", "figures")


@pytest.fixture(scope="module")
def judged():
    """`judged(seeds=3, ..., **world)`: the claims by id."""

    @cache
    def judging(seeds=3, everything=True, **world):
        return Judgments("batchnorm_periodicity", synthetic(World(**world), seeds, everything))

    return judging


def test_what_is_true_is_reproduced(judged):
    claims = judged()
    assert list(claims) == [f"B{number}" for number in range(1, 13)]
    verdicts = {id: claim.verdict for id, claim in claims.items()}
    assert verdicts.pop("B6") in ("refuted", "mixed")  # B8 is true
    assert set(verdicts.values()) == {"reproduced"}, verdicts


def test_a_common_divisor_is_the_other_mechanism(judged):
    claims = judged(common="divisor")
    assert claims["B6"].verdict == "reproduced" and claims["B8"].verdict in ("refuted", "mixed")


@pytest.mark.parametrize(
    ("id", "part", "world"),
    [
        ("B1", "Count", {"collapses": 1}),
        ("B1", "Count", {"falls": 0.6}),  # though training accuracy collapses
        ("B2", "Count", {"cured": False}),
        ("B2", "Correlation", {"cured": False}),
        ("B3", "Addition", {"without_decay": 3}),
        ("B3", "Plain", {"without_norm": True}),
        ("B4", "Rate", {"power": -0.5}),
        ("B4", "MnistDecay", {"power": -0.5}),
        ("B5", "Digits", {"fall": 0.8}),
        ("B7", "Held", {"held": True}),
        ("B8", "Rate", {"common": "divisor"}),
        ("B9", "Gain", {"gain": 0.0}),
        ("B10", "Ratio", {"faster": 1.0}),
        ("B11", "Norm", {"thrown": 1.05}),
        ("B11", "Variance", {"thrown": 1.02}),
        ("B12", "Ratio", {"base": 0.96}),  # test accuracy converges before the first collapse
        ("B12", "Ratio", {"base": 0.84}),  # with the third collapse: the first one comes early on the way
    ],
)
def test_each_part_can_fail(judged, id, part, world):
    assert judged()[id].part(part).verdict == "reproduced"
    assert judged(**world)[id].part(part).verdict == "refuted"


@pytest.mark.parametrize(("part", "right"), [("Foretells", "divisor"), ("Common", "divisor")])
def test_the_comparison_of_mechanisms_finds_the_true_one(judged, part, right):
    assert judged(common=right)["B6"].part(part).verdict == "reproduced"
    assert judged()["B6"].part(part).verdict == "refuted"


def test_what_is_measured_is_what_was_made(judged):
    claims = judged(fall=0.9, period=0.4)
    assert claims["B5"].part("Digits").measured == pytest.approx(0.9, abs=0.01)
    assert claims["B4"].part("Period").measured == pytest.approx(0.4, abs=0.02)
    assert claims["B8"].part("Value").measured == pytest.approx(0.02, rel=0.05)
    assert claims["B1"].measured == 3 and claims["B9"].measured == pytest.approx(0.04, abs=0.002)
    assert claims["B10"].measured == pytest.approx(3, rel=0.05)
    assert claims["B10"].part("Undecayed").measured == pytest.approx(1.5, rel=0.05)


def test_convergence_is_that_of_test_accuracy_and_what_was_judged_before_is_reported(judged):
    claim = judged()["B12"]
    assert claim.measured == pytest.approx(7750 / 12000, rel=0.05)  # the second collapse lifts test accuracy to .96
    assert claim.part("Converged").measured == pytest.approx(12000, rel=0.03)
    assert claim.part("TrainingRatio").measured == pytest.approx(7750 / 2000, rel=0.05)
    unknown = judged(collapses=0)["B12"]
    assert unknown.verdict == "undecided" and "3 of 3 runs never collapse" in unknown.note
    assert "3 of 3 runs never reach test accuracy 0.95" in unknown.note


def test_a_run_shorter_than_the_original_s_does_not_refute_that_collapses_recur(judged):
    short = judged(collapses=1, length=20_000)["B1"]
    assert (short.measured, short.verdict) == (1, "undecided") and np.isinf(short.high)
    assert "3 of 3 runs are shorter than 40,000 steps" in short.note
    assert judged(length=20_000)["B1"].verdict == "reproduced"


def test_collapses_at_even_distances_are_periodic_where_there_are_four(judged):
    assert judged(collapses=4)["B1"].part("Variation").measured < 0.1
    assert np.isnan(judged()["B1"].part("Variation").measured)


def test_the_variance_falls_as_the_square_of_the_norm_until_the_first_collapse(judged):
    fall = judged()["B6"].part("Fall").measured
    assert fall == pytest.approx(np.exp(-(7750 - 1900) / 2 / 10000), rel=0.02)  # from its median, half-way


def test_a_count_has_no_negative_end(judged):
    part = judged(without_decay=1)["B3"].part("Addition")
    assert (part.measured, part.low, part.verdict) == (1, 0, "undecided")


def test_a_network_that_never_fits_leaves_the_ratio_open(judged):
    claim = judged(faster=100.0)["B10"]
    assert claim.verdict == "reproduced" and np.isinf(claim.high) and "3 of 3 runs without" in claim.note
    assert claim.part("Never").measured == 1 and judged()["B10"].part("Never").measured == 0


def test_two_seeds_decide_nothing(judged):
    assert {claim.verdict for claim in judged(seeds=2).values()} == {"undecided"}


def test_what_was_not_run_is_undecided(judged):
    claims = judged(everything=False)
    assert claims["B7"].verdict == claims["B8"].verdict == "undecided"
    assert claims["B1"].verdict == "reproduced"


def test_a_diverged_run_is_said_and_does_not_pass_for_a_calm_one(judged):
    claim = judged(diverged=True)["B4"]
    assert "2 of 24 runs had fewer than two events; 2 of 24 runs diverged" in claim.note
    assert np.isinf(claim.part("Period").high) and np.isfinite(judged()["B4"].part("Period").high)


def test_all_that_the_config_promises_is_made_and_legible(tmp_path):
    figures = drawn(CONFIG, synthetic(), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == promised(CONFIG)
    assert_legible(figures)


def test_a_grid_of_which_most_is_missing_is_drawn_all_the_same(tmp_path):
    drawn(CONFIG, synthetic(World(collapses=0, period=9.0), seeds=1, everything=False), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == promised(CONFIG)


def test_the_original_s_figure_meets_the_criteria_that_are_read_off_it():
    published, b1, b12 = FIGURES.PUBLISHED, CONFIG.criteria["B1"].thresholds, CONFIG.criteria["B12"].thresholds
    steps = [row["step"] for row in published["collapses"]]
    assert steps == sorted(steps) and len(steps) >= b1["count"] and steps[-1] <= published["length"] == b1["steps"]
    assert b12["earliest"] <= steps[0] / published["converged"] <= b12["latest"]


@pytest.mark.parametrize(
    ("seeds", "verdict"),
    [
        ([(9, 9), (11, 11), (12, 12)], "reproduced"),
        ([(10.5, 10.5), (11, 11), (12, 12)], "reproduced"),  # to within the error of reading
        ([(11, 11), (12, 12), (13, 13)], "undecided"),  # one more of three seeds is as likely to lie outside
        ([(11, 11)] * 19, "refuted"),
        ([(8, 8)] * 19, "refuted"),
        ([(8, 8)] * 18 + [(11, np.inf)], "reproduced"),  # the last one comes later
        ([(8, 8)] * 18 + [(9, np.inf)], "undecided"),  # or may come before
        ([(9, 9), (11, 11)], "undecided"),
        ([(9, 9), (11, 11), (np.nan, np.nan)], "undecided"),
        ([], "undecided"),
    ],
)
def test_a_published_number_is_held_against_the_range_of_the_seeds(seeds, verdict):
    assert FIGURES.compared("number", 10, 0.5, seeds)[-1] == verdict


def test_the_published_figure_stands_beside_ours_also_where_our_runs_are_shorter(tmp_path):
    lines = []
    for length in (40_000, 20_000):
        drawn(CONFIG, synthetic(World(length=length)), tmp_path, names=["published"])
        lines.append((tmp_path / "batchnorm_periodicity-published.tex").read_text())
    assert r"collapses in 40{,}000 steps & 11 & 3 & 3 & 3 & undecided" in lines[0]
    assert r"collapses in 40{,}000 steps & 11 & -- & -- & -- & undecided" in lines[1]
    assert r"collapse 4, step & 23{,}200 & later & later & later & undecided" in lines[1]
    assert r"accuracy at 35{,}000, eps $10^{-2}$ & 0.985 & -- & -- & -- & undecided" in lines[1]


@pytest.mark.parametrize(("length", "said"), [(40_000, False), (20_000, True)])
def test_a_figure_of_runs_shorter_than_the_original_s_says_so(tmp_path, length, said):
    (figure,) = drawn(CONFIG, synthetic(World(length=length)), tmp_path, names=["collapses"])
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert ("our runs end at step 20,000, S1's figure at 40,000" in texts) == said


def test_every_claim_of_the_config_is_pure_ascii_once_escaped():
    for criterion in CONFIG.criteria.values():
        assert latex.escape(criterion.statement + criterion.criterion).isascii()


def run(**changes) -> Run:
    few = {"learning_rate": 0.1, "weight_decay": 1e-3, "steps": 20, "log_dense_every": 10}
    fixed = {"experiment": "batchnorm_periodicity", "sweep": "grid", "seed": 0}
    return Run(**{**fixed, **defaults(CONFIG), **few, **changes})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network": "resnet"}, "network is 'resnet', but must be one of residual_mlp, mlp, "),
        ({"dataset": "mnist"}, "dataset is 'mnist', but must be one of digits, mnist1d in batchnorm_periodicity."),
        (
            {"batch_norm_eps": None},
            "batch_norm_eps is None, but must be a number where network is scale_invariant_mlp, which has BatchNorm.",
        ),
        ({"label_noise": 0.1}, "label_noise is 0.1, but must be 0.0 in batchnorm_periodicity."),
        ({"train_size": 1500}, "test_size 300, validation_size 200, train_size 1500: each must be at least 1"),
    ],
)
def test_rows_that_cannot_be_trained_are_refused_in_one_sentence(changes, sentence):
    with pytest.raises(ConfigError) as caught:
        load_program("batchnorm_periodicity", "train").splits(run(**changes))
    assert str(caught.value).startswith(sentence)


NETWORKS = {
    "addition": ADDITION | {"weight_decay": 0.1, "batch_norm_eps": 1e-2},
    "scale-invariant": {},
    "cnn": {"network": "scale_invariant_cnn", "dataset": "mnist1d", "width": 5},
}


@pytest.mark.parametrize("network", NETWORKS)
def test_what_is_measured_is_of_the_last_batch(network):
    """Norms by hand from the layers; variances by running the layers up to each BatchNorm on the batch again."""
    program = load_program("batchnorm_periodicity", "train")
    rows = [run(**NETWORKS[network] | {"seed": seed, "steps": 3}) for seed in range(2)]
    with backend.arithmetic(torch.device("cpu")):
        ensemble = Ensemble(rows, program.PROTOCOL, torch.float64, torch.device("cpu"))
        assert set(program.measures(ensemble)) == {"rho"}  # there is no batch yet
        trained = program_of(ensemble)
        trained.advance(2)
        order = torch.stack([ensemble.data_order(row.seed, 0)[2] for row in rows])
        inputs = torch.stack([ensemble.data["train"][0][ensemble.which[r]][order[r]] for r in range(2)])
        kept = ensemble.stack.parameters.clone(), ensemble.stack.buffers.clone()
        seen = {}
        norms = [layer for layer in ensemble.stack.leaves if type(layer).__name__ == "BatchNorm"]
        for k, layer in enumerate(norms, 1):

            def watched(x, training, k=k, layer=layer, forward=layer.forward):
                seen[k] = x.view(2, -1, layer.features).var(1, unbiased=False)
                return forward(x, training)

            layer.forward = watched
        ensemble.stack.network.forward(inputs.clone(), Moment(True, 2, None))
        ensemble.stack.parameters.copy_(kept[0]), ensemble.stack.buffers.copy_(kept[1])
        trained.advance()
        measured = program.measures(ensemble)
    assert len(seen) == {"addition": 4, "scale-invariant": 3, "cnn": 3}[network]
    for k, variance in seen.items():
        torch.testing.assert_close(measured[f"smallest_variance_{k}"], variance.amin(1), rtol=1e-6, atol=1e-9)
        torch.testing.assert_close(measured[f"median_variance_{k}"], variance.median(1).values, rtol=1e-6, atol=1e-9)
    matrices = [layer for layer, after in itertools.pairwise(ensemble.stack.leaves) if after in norms]
    for name, tensors in {"rho": "weight", "gradient_norm": "weight_gradient"}.items():
        expected = torch.cat([getattr(layer, tensors).flatten(1) for layer in matrices], 1).norm(dim=1)
        torch.testing.assert_close(measured[name], expected)
    assert ("scale_1" in measured) == (network == "addition")
