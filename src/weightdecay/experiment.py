"""The training program of an experiment: experiments/<name>/train.py says what to train and ends in `main(PROTOCOL)`.

The protocol says how a row of the table is trained; this file makes of it a program that trains one shard of the table.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from weightdecay import files, results
from weightdecay.config import SCALES, load_config
from weightdecay.errors import ConfigError, ResultError, reports_user_errors
from weightdecay.run import Run
from weightdecay.shards import cut
from weightdecay.surroundings import importing
from weightdecay.table import config_hash, table_of
from weightdecay.workflow import gpus
from weightdecay.workflow.sources import changed

if TYPE_CHECKING:
    from weightdecay.ensemble.training import Protocol

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("float32", "tf32")


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """What the training programs and `weightdecay train` have in common."""
    parser.add_argument(
        "--scale", default="laptop", metavar="|".join(SCALES), help="how much to train (default: laptop)"
    )
    parser.add_argument(
        "--device", default="auto", choices=DEVICES, help="where to train (default: auto, the GPU if there is one)"
    )
    parser.add_argument(
        "--precision",
        default="float32",
        choices=PRECISIONS,
        help="of a GPU's matrix products: IEEE float32 (default), or tf32, which rounds factors to 10 bits",
    )


def shard_of(text: str, runs: list[Run]) -> list[Run]:
    """The part of the table named by, say, "2/4": the second of four."""
    try:
        number, count = (int(part) for part in text.split("/"))
        parts = cut(runs, count)
        return parts[range(1, len(parts) + 1).index(number)]
    except ValueError as error:
        raise ConfigError(
            f"shard is {text!r}, but must be k/K with 1 <= k <= K <= {len(runs)}, the number of runs."
        ) from error


@reports_user_errors
def main(protocol: "Protocol") -> None:
    """Trains the shard named on the command line; settings come from config.yaml beside the program that runs."""
    program = Path(sys.modules["__main__"].__file__)
    parser = argparse.ArgumentParser(
        description=sys.modules["__main__"].__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_training_arguments(parser)
    parser.add_argument("--shard", default="1/1", metavar="k/K", help="which part of the table (default: all of it)")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.parquet", help="where the shard is written")
    arguments = parser.parse_args()

    config = load_config(program.with_name("config.yaml"))
    runs = shard_of(arguments.shard, table_of(config, arguments.scale))
    expected = {"config_hash": config_hash(runs), "precision": arguments.precision}
    # Interrupted training is taken up from here. Beside the results, but no output that Snakemake would remove.
    checkpoint = arguments.output.parent.parent / "checkpoints" / f"{arguments.output.stem}.checkpoint"
    newest = changed(program)
    if results.is_made(arguments.output, expected, since=newest):
        print(f"{arguments.output} is finished already.")
        _delete(checkpoint)  # killed after the last write
        return
    files.check_writable(arguments.output.parent)
    _delete(checkpoint, before=newest)

    gpus.take_one(arguments.device)
    with importing():
        from weightdecay.ensemble.training import train  # torch: seconds, and not needed to refuse bad input

    trained = train(runs, protocol, device=arguments.device, checkpoint=checkpoint, precision=arguments.precision)
    about = {"experiment": config.experiment, "scale": arguments.scale, "config_hash": expected["config_hash"]}
    metadata = {**results.provenance(), **trained.metadata, **about}
    results.write_shard(arguments.output, trained.runs, trained.history, metadata)
    _delete(checkpoint)


def _delete(checkpoint: Path, before: float = math.inf) -> None:
    """Delete a checkpoint that is of no use any more, and no other file; one written `before`, a time, if given."""
    try:
        if files.is_checkpoint(checkpoint) and checkpoint.stat().st_mtime < before:
            checkpoint.unlink()
    except OSError as error:
        raise ResultError(f"{checkpoint} cannot be deleted: {error.strerror}.") from error
