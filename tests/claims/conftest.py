"""The synthetic binary addition, for tests of judging and drawing."""

from tests.experiments.binary_addition import config, results_of, world  # noqa: F401
