"""The floor's FLOPs and bytes against what one counts by hand."""

import pytest
import torch

from weightdecay.bench import floor
from weightdecay.bench.cases import CASES


def test_flops_are_the_products_of_both_passes_without_the_gradient_of_the_data():
    for width in (16, 512):
        first, second, last = 40 * width, width * width, width * 10
        assert floor.flops(CASES[f"mlp_{width}"]) == 2 * 128 * (2 * first + 3 * second + 3 * last)
    blocks = 4 * 256 * 256
    for batch in (64, 272):
        expected = 2 * batch * (2 * 64 * 256 + 3 * blocks + 3 * 256 * 32)
        assert floor.flops(CASES[f"residual_{batch}"]) == expected


def test_a_frozen_layer_has_no_weight_gradient():
    assert floor.flops(CASES["scale_invariant"]) == 2 * 128 * (2 * 40 * 64 + 3 * 2 * 64 * 64 + 2 * 64 * 10)


def test_a_convolution_is_a_product_over_its_windows():
    first, second, third = 19 * 5 * 25, 10 * 3 * 25 * 25, 5 * 3 * 25 * 25  # positions × kernel × inputs × outputs
    assert floor.flops(CASES["cnn"]) == 2 * 100 * (2 * first + 3 * (second + third) + 3 * 125 * 10)


def test_parameters_are_those_that_are_trained():
    assert floor.parameters(CASES["residual_64"]) == 290_080
    assert floor.parameters(CASES["scale_invariant"]) == 40 * 64 + 2 * 64 * 64


def test_the_floor_adds_the_optimisers_bytes_where_the_bandwidth_counts():
    case = CASES["residual_272"]
    alone = floor.floor_seconds(case, product_rate=1e11, bandwidth=None)
    assert alone == pytest.approx(floor.flops(case) / 1e11)
    both = floor.floor_seconds(case, product_rate=1e11, bandwidth=4e12)
    assert both - alone == pytest.approx(290_080 * 28 / 4e12)
    assert [floor.optimizer_bytes(CASES[name].run) for name in ("mlp_4", "scale_invariant")] == [20, 12]


def test_the_product_rate_is_that_of_this_machine():
    """Between a tenth of a GFLOP/s and ten TFLOP/s a core: a wrong count of operations would leave that range."""
    assert 1e8 < floor.product_rate(torch.device("cpu")) < 1e13
