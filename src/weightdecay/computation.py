"""The compute program of an experiment: what needs no training, as a table with the provenance that results have.

experiments/<name>/compute.py holds functions and ends in `main([function, ...])`. A scale of config.yaml names those
that it wants and their arguments; each returns a data frame, which becomes results/<scale>/<name>/<function>.parquet.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
from pydantic import ConfigDict, ValidationError, validate_call

from weightdecay import files, results
from weightdecay.config import SCALES, load_config
from weightdecay.errors import ConfigError, reports_user_errors
from weightdecay.refusals import sentence
from weightdecay.table import computation_hashes
from weightdecay.workflow.sources import changed


@reports_user_errors
def main(functions: Sequence[Callable[..., pd.DataFrame]]) -> None:
    """Computes the table named on the command line; its arguments come from config.yaml beside the program that runs.

    Arguments are checked against the function's signature: unknown or missing ones and wrong types are refused.
    """
    program = Path(sys.modules["__main__"].__file__)
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scale", default="laptop", metavar="|".join(SCALES), help="default: laptop")
    parser.add_argument("--table", required=True, metavar="NAME", help="what to compute")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.parquet", help="where it is written")
    arguments = parser.parse_args()

    config = load_config(program.with_name("config.yaml"))
    hashes = computation_hashes(config, arguments.scale)
    known = {function.__name__: function for function in functions}
    if arguments.table not in hashes or arguments.table not in known:
        where = program if arguments.table in hashes else f"computations of scale {arguments.scale}"
        raise ConfigError(f"table is {arguments.table!r}, which is not among the {where}.")
    about = {"experiment": config.experiment, "scale": arguments.scale, "config_hash": hashes[arguments.table]}
    if results.is_made(arguments.output, {"config_hash": about["config_hash"]}, since=changed(program)):
        print(f"{arguments.output} is finished already.")
        return
    files.check_writable(arguments.output.parent)
    began = time.monotonic()
    settings = getattr(config.scales, arguments.scale).computations[arguments.table]
    table = call(known[arguments.table], settings)
    about |= results.provenance() | {"wall_seconds": round(time.monotonic() - began, 2)}
    results.write_table(arguments.output, table, about)


def call(function: Callable[..., pd.DataFrame], settings: dict) -> pd.DataFrame:
    """`function(**settings)`, or a ConfigError where they do not fit its signature."""
    checked = validate_call(function, config=ConfigDict(strict=True, allow_inf_nan=False))
    try:
        return checked(**settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"computation {function.__name__}: {sentence(first)}.") from error
