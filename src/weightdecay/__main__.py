"""The command `weightdecay`: train, join, judge and compare without Snakemake."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from weightdecay import __version__, files
from weightdecay.checksums import sums_of
from weightdecay.config import SCALES, ScaleName, scale_of
from weightdecay.errors import ConfigError, reports_user_errors
from weightdecay.finding import Finding, findings
from weightdecay.refusals import closest
from weightdecay.results import shipped
from weightdecay.setting_types import Precision
from weightdecay.surroundings import importing
from weightdecay.table import table_of
from weightdecay.workflow import gpus, pipeline, shipping, stages
from weightdecay.workflow.gpus import DeviceName

ABOUT = """Train, join and judge the findings without Snakemake. Run it from the folder that holds experiments/.

`weightdecay train` makes the results of a scale, for all findings or for those that are named; then `weightdecay
claims NAME ...` judges them. To use several machines that share a folder, give each some shards (`weightdecay
train NAME --shard 2/4`), then call `weightdecay merge NAME` and, if the finding has a compute.py, `weightdecay compute
NAME`. The pipeline (`snakemake --cores all`) does the same on all cores, and builds figures, tables and the paper.

`weightdecay ship` copies the results of a scale to data/reference/, to be published with the code. Nothing else writes
there. `weightdecay claims --results data/reference/laptop` prints their ledger, and `weightdecay compare` compares your
results with them, as `snakemake verify` does.
"""
JUDGED = "code/judged.txt"  # beside a claims.json: the digests of the tables that it was judged by
Command = TypeVar("Command", bound=Callable[..., None])

app = typer.Typer(
    help=ABOUT, rich_markup_mode=None, pretty_exceptions_enable=False, add_completion=False, invoke_without_command=True
)

Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Findings, by folder (default: all).")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A finding, by its folder in experiments/.")]
AtScale = Annotated[ScaleName, typer.Option("--scale", help="How much is trained: the scale of config.yaml.")]
OnDevice = Annotated[DeviceName, typer.Option("--device", help="Where to train; auto is the GPU if there is one.")]
Rounding = Annotated[
    Precision,
    typer.Option(
        "--precision", help="A GPU's matrix products: IEEE float32, or tf32, which rounds factors to 10 bits."
    ),
]
Output = Annotated[Path | None, typer.Option("--output", metavar="FILE", help="Where the table is written.")]


def command(hidden: bool = False) -> Callable[[Command], Command]:
    """Register a command of `weightdecay`: its docstring is its help, and it reports a user's error in one sentence."""

    def add(function: Command) -> Command:
        app.command(hidden=hidden)(wraps(function)(reports_user_errors(function)))
        return function

    return add


@app.callback()
def main_options(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    if version:
        print(f"weightdecay {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@command()
def train(
    names: Names = None,
    shard: Annotated[
        str | None, typer.Option(metavar="k/K", help="Train this part of one table, and do not join.")
    ] = None,
    scale: AtScale = "laptop",
    device: OnDevice = "auto",
    precision: Rounding = "float32",
    output: Output = None,
) -> None:
    """Train findings shard by shard, join the shards, and compute what needs no training.

    Finished shards are kept: after an interruption, run the same command again to continue.
    """
    chosen = _chosen(names)
    if (shard or output) and len(chosen) > 1:
        raise ConfigError("--shard is a part of one finding: name that one.")
    if output and not shard:
        raise ConfigError("--output is the file of one shard: give --shard too.")
    for finding in chosen if not output else []:  # check all before training any; the pipeline did
        finding.check()
    where = gpus.resolve(device, local=shard is None)  # for one shard the pipeline has decided
    for finding in chosen:
        shards = {shard: output} if shard and output else _shards(finding, scale, "cpu" if shard else where)
        if shard and shard not in shards:
            raise ConfigError(f"shard is {shard!r}, but must be one of {', '.join(shards)}.")
        for part in [shard] if shard else shards:
            stages.train(finding, scale, part, shards[part], where, precision)
        if not shard:
            stages.merge(finding, scale, shards.values(), _folder(finding, scale))
            _compute(finding, scale)


@command()
def merge(
    name: Name,
    shards: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Its shard files (default: those that train made).")
    ] = None,
    scale: AtScale = "laptop",
) -> None:
    """Join the shards of a finding into runs.parquet and history.parquet, if every run is there once."""
    (finding,) = _chosen([name])
    made = [list(_shards(finding, scale, device).values()) for device in ("cpu", "cuda")]  # a GPU makes one shard
    found = next((paths for paths in made if all(path.is_file() for path in paths)), made[0])
    stages.merge(finding, scale, shards or found, _folder(finding, scale))


@command()
def compute(
    name: Name,
    table: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="One table (default: all of them).")] = None,
    scale: AtScale = "laptop",
    output: Output = None,
) -> None:
    """Compute the tables of a finding that need no training. `train` does so too, unless it is given a shard."""
    (finding,) = _chosen([name])
    if table:
        stages.compute(finding, scale, table, output or _folder(finding, scale) / f"{table}.parquet")
    elif output:
        raise ConfigError("--output is the file of one table: name that table.")
    else:
        _compute(finding, scale)


@command()
def claims(
    names: Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Findings to judge anew.")] = None,
    scale: Annotated[
        ScaleName | None, typer.Option(help="The scale (default: the one that --results is named after, else laptop).")
    ] = None,
    results: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FOLDER",
            help="The results to judge (default: results/SCALE). May be given several times: each finding is read from "
            "the first folder that has it. Nothing is written there unless --output names it.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Where to write judgments (default, without --results: beside the results)."
        ),
    ] = None,
    paper: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The paper's folder, for its tables and numbers.tex."),
    ] = None,
) -> None:
    """Judge the claims of the named findings, then join all judgments into the ledger and print it.

    With --results and without --output it only reads: `weightdecay claims --results data/reference/laptop` prints the
    ledger of the shipped results and writes nothing.
    """
    with importing():
        from weightdecay.report import ledger  # imports matplotlib and pandas, which training does not need

    folders = results or [Path("results") / (scale or "laptop")]
    for folder in folders:
        if (folder / files.SUMS).is_file():
            shipped.check(folder)
    chosen = _chosen(names) if names else []
    asked_for = {finding.name for finding in chosen} if results else set(findings())
    known = [name for name in findings() if name in asked_for or any((folder / name).is_dir() for folder in folders)]
    if not known:
        raise ConfigError(
            f"{', '.join(map(str, folders))} holds results of no finding: give a folder like results/laptop."
        )
    trained = {
        name: next((folder / name for folder in folders if (folder / name).is_dir()), folders[0] / name)
        for name in known
    }
    with tempfile.TemporaryDirectory() as unkept:
        looks = results and not output
        judged = Path(unkept) if looks else output or folders[0]
        for place in filter(None, (judged, paper)):
            files.check_unshipped(place)
        for finding in chosen:
            finding.check()
            folder = trained[finding.name]
            _judge(finding, scale or _scale_of(folder), folder, judged / finding.name / "claims.json")
        there = {name for name in known if ledger.judgments(judged, name, trained[name]).is_file()}
        if there and not paper and (chosen or looks):  # else every claim is needed
            if lacking := [name for name in known if name not in there]:
                print(f"not judged yet: {', '.join(lacking)}", file=sys.stderr)
            trained = {name: trained[name] for name in known if name in there}
        places = {name: ledger.judgments(judged, name, folder) for name, folder in trained.items()}
        if old := [name for name, place in places.items() if not _is_judged_by(place, trained[name])]:
            said = "judged by other tables than are there now (name them to judge them anew)"
            print(f"{said}: {', '.join(old)}", file=sys.stderr)
        ledger.join(judged, trained, paper)


@command()
def ship(
    names: Names = None,
    *,
    scale: Annotated[ScaleName, typer.Option(help="The scale to ship: results/SCALE.")],
    history_mib: Annotated[
        float, typer.Option(metavar="MIB", help="Size to which the history of each finding is cut down.")
    ] = shipping.HISTORY_MIB,
) -> None:
    """Copy the results of a scale to data/reference/: thinned, judged, and with checksums and provenance."""
    print(shipping.ship(scale, [finding.name for finding in _chosen(names)], findings(), history_mib))


@command()
def compare(
    here: Annotated[Path, typer.Argument(metavar="RESULTS", help="For example results/laptop.")],
    reference: Annotated[Path, typer.Argument(metavar="REFERENCE", help="For example data/reference/laptop.")],
    exact: Annotated[bool, typer.Option("--exact", help="Demand equal numbers, to the last bit.")] = False,
) -> None:
    """Compare two sets of results of one scale, claim by claim and curve by curve; exit with 1 if they contradict."""
    with importing():
        from weightdecay.workflow import comparison
        from weightdecay.workflow.comparison_text import comparison_text

    if exact:
        lines = comparison.unequal(here, reference, findings())
        print("\n".join(lines) or "Every number is the same.")
        sys.exit(bool(lines))
    found = comparison.compare(here, reference, findings())
    print(comparison_text(found))
    if found.contradictions:
        sys.exit(1)


@command()
def fingerprint(
    name: Name,
    scale: AtScale = "laptop",
    device: OnDevice = "auto",
) -> None:
    """Print everything that a finding's trained results depend on, and one hash of it all."""
    (finding,) = _chosen([name])
    found = stages.fingerprint_of_results(finding, scale, gpus.resolve(device))
    print(f"{found.digest}  {name}, {scale} scale\n\n{found.text}", end="")


@command()
def expected(
    summary: Annotated[bool, typer.Option("--summary", help="Only the table of README.md.")] = False,
) -> None:
    """Print in Markdown what the shipped results say about each claim: docs/claims.md."""
    with importing():
        from weightdecay.workflow import expectation

    print(expectation.summary(findings()) if summary else expectation.page(findings()))


@command()
def settings() -> None:
    """Print in Markdown what every key of a configuration means: docs/settings.md."""
    from weightdecay.settings_page import settings_page

    print(settings_page(), end="")


@command()
def new(name: Annotated[str, typer.Argument(metavar="NAME", help="The folder that is made in experiments/.")]) -> None:
    """Make a finding that already runs: experiments/NAME, with five short files to edit."""
    from weightdecay.workflow import template

    print(template.make(name))


@command()
def bench(
    cases: Annotated[
        list[str] | None, typer.Argument(metavar="[CASE]...", help="What to train (default: every case).")
    ] = None,
    replicas: Annotated[
        list[int] | None, typer.Option(metavar="R", min=1, help="Networks at once (default: counts that take seconds).")
    ] = None,
    peers: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Trainers to compare with (default: all).")
    ] = None,
    device: Annotated[DeviceName, typer.Option(help="cpu means one core.")] = "cpu",
    repeats: Annotated[int, typer.Option(metavar="N", min=1, help="Repeats; the median counts.")] = 5,
    output: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Write bench.json, .pdf, .png there.")] = None,
    list_them: Annotated[bool, typer.Option("--list", help="List the cases and peers, and measure nothing.")] = False,
) -> None:
    """Time the trainer, torch.optim, torch.func and JAX on the same work, beside the shortest time that is possible."""
    with importing():
        from weightdecay.bench import command as benchmark  # imports torch, which the other commands do not need

    if list_them:
        print(benchmark.listing())
    else:
        benchmark.bench(cases, replicas, peers, device, repeats, output)


# Commands that only the pipeline calls. It also calls `train`, `merge`, `compute` and `claims`.


@command(hidden=True)
def judge(
    name: Name,
    results: Annotated[Path, typer.Option(metavar="FOLDER")],
    output: Annotated[Path, typer.Option(metavar="FILE")],
    scale: AtScale = "laptop",
) -> None:
    """Judge the claims of a finding by its tables in a folder."""
    (finding,) = _chosen([name])
    _judge(finding, scale, results, output)


@command(hidden=True)
def draw(
    name: Name,
    results: Annotated[Path, typer.Option(metavar="FOLDER")],
    claims: Annotated[Path, typer.Option(metavar="FILE")],
    figures: Annotated[Path, typer.Option(metavar="FOLDER")],
    tables: Annotated[Path, typer.Option(metavar="FOLDER")],
    scale: AtScale = "laptop",
) -> None:
    """Draw the figures and write the tables of a finding."""
    (finding,) = _chosen([name])
    stages.draw(finding, scale, results, claims, figures, tables)


@command(hidden=True)
def overview(
    claims: Annotated[Path, typer.Option(metavar="FILE")], figures: Annotated[Path, typer.Option(metavar="FOLDER")]
) -> None:
    """Draw all claims, on two pages."""
    with importing():
        from weightdecay.claims import model as ledger
        from weightdecay.report import overview as pages
        from weightdecay.report import style

    style.apply()
    pages.overview(ledger.read(claims), figures)


def main() -> None:
    """Run the command line: the console script `weightdecay`, and `python -m weightdecay`."""
    app(prog_name="weightdecay")


def _chosen(names: Iterable[str] | None) -> list[Finding]:
    """Return the findings of these names, or all findings."""
    known = findings()
    for name in names or ():
        if name not in known:
            raise ConfigError(f"there is no experiments/{name}/config.yaml here{closest(name, known)}.")
    return [known[name] for name in dict.fromkeys(names or known)]


def _folder(finding: Finding, scale: str) -> Path:
    return Path("results") / scale / finding.name


def _shards(finding: Finding, scale: str, device: str = "cpu") -> dict[str, Path]:
    """Return the file of every shard of the finding on that device, by the shard's name k/K."""
    count = pipeline.shard_count(finding.config, scale, len(table_of(finding.config, scale)), device)
    folder = _folder(finding, scale) / "shards"
    return {f"{number}/{count}": folder / f"{number}of{count}.parquet" for number in range(1, count + 1)}


def _compute(finding: Finding, scale: str) -> None:
    for name in scale_of(finding.config, scale).computations:
        stages.compute(finding, scale, name, _folder(finding, scale) / f"{name}.parquet")


def _judge(finding: Finding, scale: ScaleName, folder: Path, output: Path) -> None:
    from weightdecay.claims import model as ledger

    files.check_writable(output.parent)
    ledger.write(output, stages.judge(finding, scale, folder))
    files.write(output.parent / JUDGED, _sums(folder))


def _is_judged_by(claims: Path, folder: Path) -> bool:
    """Whether the tables in `folder` are those that a claims.json was judged by, as far as is known."""
    try:
        return (claims.parent / JUDGED).read_bytes() == _sums(folder).encode()
    except OSError:  # judged by an earlier version, or shipped, which has checksums of its own
        return True


def _sums(folder: Path) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in sums_of(folder, "*.parquet").items())


def _scale_of(folder: Path) -> ScaleName:
    """Return the scale that the folder <scale>/<finding> lies in, or laptop if it lies in none."""
    return next((scale for scale in SCALES if scale == folder.parent.name), "laptop")


if __name__ == "__main__":
    main()
