"""weightdecay: train, join and judge without Snakemake. Run from the folder that holds experiments/.

`weightdecay train` makes the results of a scale, all of them or those of the experiments it is given; then
`weightdecay claims NAME ...` judges them. To use several machines that share a folder, give each some of the shards
(`weightdecay train NAME --shard 2/4`), then `weightdecay merge NAME` and, where the experiment has a compute.py,
`weightdecay compute NAME`.
The pipeline (`snakemake --cores all`) does the same, on all cores, and builds figures, tables and the paper as well.

`weightdecay ship` keeps the results of a scale in data/reference/, to be published with the code, and nothing else
writes there; `weightdecay claims --results data/reference/laptop` prints their ledger, and `weightdecay compare` holds
results against them, as does `snakemake verify`.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from weightdecay import __version__, consistency, files, results
from weightdecay.config import SCALES, Config, load_config
from weightdecay.errors import ConfigError, reports_user_errors
from weightdecay.experiment import add_training_arguments
from weightdecay.results import shipped
from weightdecay.surroundings import importing
from weightdecay.table import computations_of, table_of
from weightdecay.workflow import pipeline, shipping

EXPERIMENTS = Path("experiments")


def train(arguments: argparse.Namespace) -> None:
    """Trains experiments shard by shard, joins the shards, and computes what needs no training.

    What is finished is kept: run it again to go on.
    """
    names = arguments.experiments or _some_known()
    if arguments.shard and len(names) > 1:
        raise ConfigError("--shard is a part of one experiment: name that one.")
    configs = [_config(name) for name in names]  # all are checked before any is trained
    consistency.check({config.experiment: config for config in configs})
    device = "cpu" if arguments.shard else pipeline.resolve(arguments.device)
    for config in configs:
        shards = _shards(config, arguments.scale, device)
        if arguments.shard and arguments.shard not in shards:
            raise ConfigError(f"shard is {arguments.shard!r}, but must be one of {', '.join(shards)}.")
        for shard in [arguments.shard] if arguments.shard else shards:
            chosen = {name: getattr(arguments, name) for name in ("scale", "device", "precision")}
            _run_program(config, "train.py", **chosen, shard=shard, output=shards[shard])
        if not arguments.shard:
            _merge(config, arguments.scale, shards.values())
            _compute(config, arguments.scale)


def compute(arguments: argparse.Namespace) -> None:
    """Computes the tables of an experiment that need no training. `train` does so too, unless it is given a shard."""
    _compute(_config(arguments.experiment), arguments.scale)


def merge(arguments: argparse.Namespace) -> None:
    """Joins the shards of an experiment into runs.parquet and history.parquet, if every run is there once."""
    config = _config(arguments.experiment)
    _merge(config, arguments.scale, arguments.shards or _shards(config, arguments.scale).values())


def claims(arguments: argparse.Namespace) -> None:
    """Judges the claims of the named experiments, then joins all judgments into the ledger and prints it.

    With --results and without --output it only looks: `weightdecay claims --results data/reference/laptop` prints the
    ledger of what was shipped and writes nothing.
    """
    with importing():
        from weightdecay.report import ledger  # the analysis wing: nothing that trains needs it

    if arguments.scale:
        _check_scale(arguments.scale)
    folders = arguments.results or [Path("results") / (arguments.scale or "laptop")]
    for folder in folders:
        if (folder / files.SUMS).is_file():
            shipped.check(folder)
    known = _some_known()
    trained = {
        name: next((folder / name for folder in folders if (folder / name).is_dir()), folders[0] / name)
        for name in known
    }
    for name in arguments.experiments:
        _config(name)
    with tempfile.TemporaryDirectory() as unkept:
        looks = arguments.results and not arguments.output
        judged = Path(unkept) if looks else arguments.output or folders[0]
        for output in filter(None, (judged, arguments.paper)):
            files.check_unshipped(output)
        for name in arguments.experiments:
            shipped.judge(trained[name], name, _scale_of(trained[name], arguments.scale), judged / name / "claims.json")
        there = {name for name in known if ledger.judgments(judged, name, trained[name]).is_file()}
        if there and not arguments.paper and (arguments.experiments or looks):  # else all are asked for
            if lacking := [name for name in known if name not in there]:
                print(f"not judged yet: {', '.join(lacking)}", file=sys.stderr)
            trained = {name: trained[name] for name in known if name in there}
        ledger.join(judged, trained, arguments.paper)


def ship(arguments: argparse.Namespace) -> None:
    """Keeps the results of a scale in data/reference/, thinned to a size, judged, with checksums and provenance."""
    _check_scale(arguments.scale)
    known = _some_known()
    for name in arguments.experiments:
        _config(name)
    print(shipping.ship(arguments.scale, arguments.experiments or known, known, arguments.history_mib))


def compare(arguments: argparse.Namespace) -> None:
    """Compares two results of a scale, claim by claim and curve by curve; status 1 where something contradicts."""
    with importing():
        from weightdecay.claims import comparison
        from weightdecay.report.comparison import comparison_text

    found = comparison.compare(arguments.here, arguments.shipped, _some_known())
    print(comparison_text(found))
    if found.contradictions:
        sys.exit(1)


def expected(arguments: argparse.Namespace) -> None:
    """Prints, in Markdown, what the shipped results say of each claim, its figures, and how to get them."""
    with importing():
        from weightdecay.report import expectation

    print(expectation.markdown({name: _config(name) for name in _some_known()}))


def bench(arguments: argparse.Namespace) -> None:
    """Times the trainer beside torch.optim, torch.func and JAX on the same work, with the floor of this machine."""
    with importing():
        from weightdecay.bench import command  # torch: seconds, and the other commands do without

    if arguments.list:
        print(command.listing())
    else:
        command.bench(
            arguments.case,
            arguments.replicas,
            arguments.peers,
            arguments.device,
            arguments.repeats,
            arguments.output,
        )


def main() -> None:
    """The console script `weightdecay` and `python -m weightdecay`."""
    parser = argparse.ArgumentParser(
        prog="weightdecay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"weightdecay {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(function) -> argparse.ArgumentParser:
        """A new command is a function of the parsed arguments; its docstring is its help."""
        added = commands.add_parser(function.__name__, help=function.__doc__, description=function.__doc__)
        added.set_defaults(function=function)
        return added

    added = command(train)
    added.add_argument("experiments", nargs="*", metavar="NAME", help="folders of experiments/ (default: all)")
    added.add_argument("--shard", metavar="k/K", help="train only this part of one experiment's table, and do not join")
    add_training_arguments(added)

    added = command(compute)
    added.add_argument("experiment", metavar="NAME", help="a folder of experiments/")
    added.add_argument("--scale", default="laptop", metavar="|".join(SCALES), help="default: laptop")

    added = command(merge)
    added.add_argument("experiment", metavar="NAME", help="a folder of experiments/")
    added.add_argument("--shards", nargs="+", type=Path, metavar="FILE", help="default: those that `train` makes")
    added.add_argument("--scale", default="laptop", metavar="|".join(SCALES), help="default: laptop")

    added = command(claims)
    added.add_argument("experiments", nargs="*", metavar="NAME", help="to judge anew; default: keep the judgments")
    added.add_argument(
        "--scale", metavar="|".join(SCALES), help="default: that which --results is named for, else laptop"
    )
    added.add_argument(
        "--results",
        nargs="+",
        type=Path,
        metavar="FOLDER",
        help="what is judged (default: results/SCALE); of several, each experiment's are in the first that has it; "
        "without --output nothing is written there: data/reference/laptop prints the ledger of what was shipped",
    )
    added.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help="where judgments go (default: beside the results, if --results is not given); those that are not there "
        "are read beside the results",
    )
    added.add_argument("--paper", type=Path, metavar="FOLDER", help="write its tables and numbers.tex there")

    added = command(ship)
    added.add_argument(
        "experiments", nargs="*", metavar="NAME", help="of these (default: all); what is shipped of others stays"
    )
    added.add_argument("--scale", required=True, metavar="|".join(SCALES), help="results/SCALE is what is shipped")
    added.add_argument(
        "--history-mib",
        type=float,
        default=shipping.HISTORY_MIB,
        metavar="MIB",
        help=f"size to which each experiment's history is cut down (default: {shipping.HISTORY_MIB:g})",
    )

    added = command(compare)
    added.add_argument("here", type=Path, metavar="RESULTS", help="results/laptop, say")
    added.add_argument(
        "shipped", type=Path, metavar="REFERENCE", help="what they are held against: data/reference/laptop"
    )

    command(expected)

    added = command(bench)
    added.add_argument("--case", nargs="+", metavar="NAME", help="what to train (default: every case)")
    added.add_argument("--replicas", nargs="+", type=_count, metavar="R", help="default: as many as take seconds")
    added.add_argument("--peers", nargs="+", metavar="NAME", help="beside ours (default: all that run here)")
    added.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="default: cpu, one core")
    added.add_argument("--repeats", type=_count, default=5, metavar="N", help="turns, whose median counts (default: 5)")
    added.add_argument("--output", type=Path, metavar="FOLDER", help="write bench.json, bench.pdf and bench.png there")
    added.add_argument("--list", action="store_true", help="say which cases and peers there are")

    arguments = parser.parse_args()
    reports_user_errors(arguments.function)(arguments)


def _known() -> list[str]:
    return sorted(path.parent.name for path in EXPERIMENTS.glob("*/config.yaml"))


def _some_known() -> list[str]:
    if not _known():
        raise ConfigError(
            "there is no experiments/<name>/config.yaml here: run from the folder that holds experiments/."
        )
    return _known()


def _scale_of(folder: Path, scale: str | None) -> str:
    """The scale that was asked for, or that of the folder <scale>/<experiment>, or laptop."""
    return scale or (folder.parent.name if folder.parent.name in SCALES else "laptop")


def _check_scale(scale: str) -> None:
    if scale not in SCALES:
        raise ConfigError(f"scale is {scale!r}, but must be one of {', '.join(SCALES)}.")


def _count(text: str) -> int:
    if not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"{text} is not a number of at least 1")
    return int(text)


def _config(name: str) -> Config:
    if name not in _known():
        raise ConfigError(
            f"there is no experiments/{name}/config.yaml here: known experiments are {', '.join(_known()) or 'none'}."
        )
    return load_config(EXPERIMENTS / name / "config.yaml")


def _folder(config: Config, scale: str) -> Path:
    return Path("results") / scale / config.experiment


def _shards(config: Config, scale: str, device: str = "cpu") -> dict[str, Path]:
    """k/K of every shard of the experiment on that device, and its file."""
    count = pipeline.shard_count(config, scale, len(table_of(config, scale)), device)
    folder = _folder(config, scale) / "shards"
    return {f"{number}/{count}": folder / f"{number}of{count}.parquet" for number in range(1, count + 1)}


def _merge(config: Config, scale: str, shards: Iterable[Path]) -> None:
    folder = _folder(config, scale)
    results.merge(shards, folder / "runs.parquet", folder / "history.parquet", table_of(config, scale))


def _compute(config: Config, scale: str) -> None:
    for name in computations_of(config, scale):
        output = _folder(config, scale) / f"{name}.parquet"
        _run_program(config, "compute.py", scale=scale, table=name, output=output)


def _run_program(config: Config, program: str, **options: str | Path) -> None:
    """Runs a program of the experiment; it says itself what is wrong when it fails, and its status becomes ours."""
    command = [sys.executable, str(EXPERIMENTS / config.experiment / program)]
    for name, value in options.items():
        command += [f"--{name}", str(value)]
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()
