"""An estimate is drawn where it is, as far as its interval reaches, and as a ring where it is said to be hollow."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from weightdecay.report.plots import OPEN, estimates
from weightdecay.statistics.estimates import UNKNOWN, Estimate

FOUND = {1.0: Estimate(2.0, 1.5, 3.0, 5), 2.0: UNKNOWN, 3.0: Estimate(4.0, 3.0, np.inf, 5)}


@pytest.fixture(params=[False, True], ids=["upright", "across"])
def drawn(request):
    figure, axes = plt.subplots()
    estimates(axes, FOUND, across=request.param, hollow=[3.0], color="blue", marker="s", markersize=5, linestyle="-")
    yield axes, (slice(None, None, -1) if request.param else slice(None))  # places first in either
    plt.close(figure)


def test_values_and_ends_are_those_of_the_estimates(drawn):
    axes, order = drawn
    values = axes.lines[0].get_xydata()[:, order]
    assert np.array_equal(values, [[1, 2], [2, np.nan], [3, 4]], equal_nan=True)
    first, last = (bar[:, order] for bar in axes.collections[0].get_segments() if len(bar))  # the unknown has none
    assert first.tolist() == [[1, 1.5], [1, 3]] and last.tolist() == [[3, 3], [3, OPEN]]


def test_a_ring_covers_the_hollow_alone(drawn):
    axes, order = drawn
    ring = axes.lines[-1]
    assert ring.get_xydata()[:, order].tolist() == [[3, 4]]
    assert (ring.get_marker(), ring.get_markersize(), ring.get_markerfacecolor()) == ("s", 5, "white")
