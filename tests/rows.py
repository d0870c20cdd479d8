"""Rows of a finding made in Python, for tests."""

from typing import Any

from weightdecay.blocks import LEFT_OUT
from weightdecay.config import Config
from weightdecay.shorthand import listed


def defaults(config: Config) -> dict[str, Any]:
    """The configuration's defaults as `Run` takes them, with those that it leaves out."""
    given = {key: values for key, (values, *_) in LEFT_OUT.items()}
    given |= {key: listed(key, value)[0] for key, value in config.defaults.items()}
    return {**given, "log_dense_every": given["log_dense_every"] or given["log_every"]}
