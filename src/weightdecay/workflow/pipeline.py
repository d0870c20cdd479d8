"""The plan of the pipeline: all that the Snakefile must know before any job starts.

These are the options, the findings, their shards, the device and the TeX engine. Bad input is refused before anything
is written. The plan is kept in a few files:

    results/<scale>/<finding>/table.jsonl                  the table of runs: the configuration as far as training needs
    results/<scale>/<finding>/computations/<name>.json     the arguments of a computation
    results/<scale>/<finding>/code/<stage>.txt             the fingerprint of the code of a stage
    paper/scale.txt                                        the scale at which the paper is built

The first job of the pipeline writes those files whose content has changed, and no others. So their times tell Snakemake
what has changed. The times of source files, which any editor or clone may set, play no role.

With --config results=reference the shipped results are used. They are read in place, checked before any job, and never
made. Each finding has its largest shipped scale, unless a scale is given; findings that were not shipped are left out
and named. Judgments go to results/reference/. The file results/reference/<finding>/shipped.txt holds the scale and the
checksums, and stands for the shipped files.
"""

import shutil
import sys
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path

from weightdecay.config import SCALES, Config, in_order, in_words, scale_of
from weightdecay.errors import ConfigError
from weightdecay.files import atomic_path, check_writable
from weightdecay.finding import check, findings
from weightdecay.fingerprint import fingerprint
from weightdecay.results import shipped
from weightdecay.table import computations_of, table_of, table_text
from weightdecay.workflow import gpus, stages

# The options of --config, and their defaults.
OPTIONS = {"scale": "laptop", "device": "auto", "results": "own"}
RESULTS = ("own", "reference")
SPARE = 64  # MiB; if less is free, a job probably failed because the disk is full
PACKAGE = Path(__file__).parents[1]


class Plan:
    """The plan of the pipeline on one device. Raises a WeightDecayError if it cannot work.

    `results`: the folder for everything that is made here. `scales`: the scale of each finding. `left_out`: a line that
    names the findings of which nothing was shipped.
    """

    # figures of all claims
    overview = tuple(f"paper/figures/overview-{page}.{kind}" for page in (1, 2) for kind in ("pdf", "png"))

    def __init__(self, config: Mapping[str, str], local: bool = True):
        for key in config:
            if key not in OPTIONS:
                raise ConfigError(f"--config {key} is not an option: {', '.join(OPTIONS)} are.")
        options = {**OPTIONS, **config}
        if options["results"] not in RESULTS:
            raise ConfigError(f"--config results={options['results']} is unknown: choose from {', '.join(RESULTS)}.")
        if options["scale"] not in SCALES:
            raise ConfigError(f"--config scale={options['scale']} is unknown: choose from {', '.join(SCALES)}.")
        self.from_reference = options["results"] == "reference"
        self.findings = findings()
        check(self.findings.values())
        self.left_out = ""
        self.shipped = str(shipped.FOLDER / options["scale"])
        self.shards: dict[str, list[str]] = {}
        self.files: dict[str, str] = {}  # the files of the plan: path -> content
        if self.from_reference:
            self._plan_reference(config.get("scale"))
        else:
            self._plan_training(options["scale"], gpus.resolve(options["device"], local))
        for stage, module in (("ledger", "report/ledger.py"), ("overview", "report/overview.py")):
            self.files[f"{self.results}/code/{stage}.txt"] = fingerprint([PACKAGE / module]).text
        # With these options, another machine makes the same plan.
        self.decided = {**config, "results": options["results"], "device": self.device}
        self.stale = [path for path, text in self.files.items() if _content(path) != text]

    def _plan_reference(self, scale: str | None) -> None:
        self.device, self.results = "cpu", "results/reference"
        self.scales = shipped.largest(self.findings, scale)
        if left_out := [name for name in self.findings if name not in self.scales]:
            where = shipped.FOLDER / scale if scale else shipped.FOLDER
            self.left_out = f"Left out, as {where} has no results of them: {', '.join(left_out)}."
        self.findings = {name: finding for name, finding in self.findings.items() if name in self.scales}
        for each in in_order(self.scales.values()):
            chosen = {name: made.config for name, made in self.findings.items() if self.scales[name] == each}
            digests = shipped.check_settings(each, chosen)
            for name in chosen:
                own = [f"{digest}  {path}\n" for path, digest in digests.items() if path.startswith(f"{name}/")]
                self.files[f"{self.results}/{name}/shipped.txt"] = "".join([f"{each}\n", *own])
                self._plan_code(name, "claims", "figures")
        self.files["paper/scale.txt"] = f"{self.scale}, shipped\n"

    def _plan_training(self, scale: str, device: str) -> None:
        self.device, self.results = device, f"results/{scale}"
        self.scales = dict.fromkeys(self.findings, scale)
        for name, finding in self.findings.items():
            runs = table_of(finding.config, scale)
            count = shard_count(finding.config, scale, len(runs), device)
            self.shards[name] = [f"{number}of{count}" for number in range(1, count + 1)]
            self.files[f"{self.results}/{name}/table.jsonl"] = table_text(runs)
            self.files[self.code(name, "train")] = stages.code_of_training(finding, runs, device).text
            for computation, arguments in self.computations[name].items():
                self.files[f"{self.results}/{name}/computations/{computation}.json"] = f"{arguments}\n"
            self._plan_code(name, *(["compute"] if self.computations[name] else []), "claims", "figures")
        self.files["paper/scale.txt"] = f"{scale}\n"

    def _plan_code(self, name: str, *modules: str) -> None:
        for module in modules:
            self.files[self.code(name, module)] = stages.code_of(self.findings[name], module).text

    def code(self, name: str, stage: str) -> str:
        """Return the file with the fingerprint of a finding's stage; that of training is for the plan's device."""
        return f"{self.results}/{name}/code/{stage}{f'-{self.device}' if stage == 'train' else ''}.txt"

    def check_folders(self) -> None:
        """Raise ResultError if a folder that the pipeline writes to is not a folder, or is not writable."""
        for folder in ("paper/figures", "paper/tables", *(f"{self.results}/{name}" for name in self.findings)):
            check_writable(folder)

    def write(self, folder: Path) -> None:
        """Write the files of the plan that have changed to their places in `folder`."""
        for path in self.stale:
            with atomic_path(folder / path) as temporary:
                temporary.write_text(self.files[path], encoding="utf-8")

    def outdated(self) -> str:
        """Return a line about trained shards that are older than their code or settings, or "" if there are none."""
        older = 0
        for name, shards in self.shards.items():
            needed = [self.code(name, "train"), f"{self.results}/{name}/table.jsonl"]
            changed = any(path in self.stale for path in needed)
            newest = max((Path(path).stat().st_mtime for path in needed if Path(path).is_file()), default=0)
            made = [Path(f"{self.results}/{name}/shards/{shard}.parquet") for shard in shards]
            older += sum(changed or path.stat().st_mtime < newest for path in made if path.is_file())
        if not older:
            return ""
        return (
            f"{older} of {sum(map(len, self.shards.values()))} shards in {self.results} are older than the code or the "
            "settings, so they will be trained again. If you copied them here together with this code, run `snakemake "
            f"--touch --cores 1 --config scale={self.scale} device={self.device}` once to keep them. If you edited the "
            "code, do nothing."
        )

    @property
    def scale(self) -> str:
        """The scales of all findings in words, such as "laptop and paper"."""
        return in_words(self.scales.values())

    @property
    def sources(self) -> list[str]:
        """The folders whose results are judged and drawn: one for each scale, the largest first."""
        folders = [f"{shipped.FOLDER / scale}" for scale in reversed(in_order(self.scales.values()))]
        return folders if self.from_reference else [self.results]

    @cached_property
    def computations(self) -> dict[str, dict[str, str]]:
        """The computed tables of each finding, which need no training, with their arguments as JSON."""
        return {name: computations_of(made.config, self.scales[name]) for name, made in self.findings.items()}

    def trained(self, name: str) -> str:
        """Return the folder of a finding's tables, which this machine makes or which were shipped."""
        return f"{shipped.FOLDER / self.scales[name] if self.from_reference else self.results}/{name}"

    def read(self, name: str, *tables: str) -> list[str]:
        """Return tables of a finding, such as `runs`, as inputs of a rule; none if they were shipped: see `stamp`."""
        return [] if self.from_reference else [f"{self.trained(name)}/{table}.parquet" for table in tables]

    def stamp(self, name: str) -> list[str]:
        """Return the file that stands for a finding's shipped results, as an input of a rule; none if it is trained."""
        return [f"{self.results}/{name}/shipped.txt"] if self.from_reference else []

    def computed(self, name: str) -> list[str]:
        """Return the computed tables of a finding as inputs of a rule."""
        return self.read(name, *self.computations[name])

    def figures(self, name: str) -> list[str]:
        """Return every figure of a finding, as PDF for the paper and as PNG for looking at."""
        stems = self.findings[name].figures
        return [f"paper/figures/{name}-{stem}.{kind}" for stem in stems for kind in ("pdf", "png")]

    def tables(self, name: str) -> list[str]:
        """Return every LaTeX table of a finding."""
        return [f"paper/tables/{name}-{stem}.tex" for stem in self.findings[name].tables]

    def to_compare(self) -> list[str]:
        """Return this machine's results of the findings that were shipped at this scale.

        ResultError if the shipped results were made with other than the present settings.
        """
        if self.from_reference:
            raise ConfigError(
                "verify compares this machine's results with the shipped ones: leave out results=reference."
            )
        compared = {name: made.config for name, made in self.findings.items() if Path(self.shipped, name).is_dir()}
        shipped.check_settings(self.scale, compared)
        return [path for name in compared for path in self.read(name, "runs", "history") + self.computed(name)]

    def paper_text(self) -> list[str]:
        """Return the files of the paper that people write."""
        written = [path for pattern in ("*.tex", "*.bib", "sections/*.tex") for path in Path("paper").glob(pattern)]
        return sorted(str(path) for path in written if path.name != "numbers.tex")

    @cached_property
    def engine(self) -> str | None:
        """The program that typesets the paper here: latexmk with pdflatex, tectonic, or None."""
        if shutil.which("latexmk") and shutil.which("pdflatex"):
            return "latexmk"
        return shutil.which("tectonic") and "tectonic"


def python(sdm: Collection[str] = ()) -> str:
    """Return the interpreter for jobs: Snakemake's own, unless Snakemake makes an environment for them."""
    return "python" if sdm else sys.executable


def lack_of_space() -> str:
    """Return a line if the disk is full, as a failed job may not have been able to log it; otherwise ""."""
    free = shutil.disk_usage(".").free / 2**20
    if free >= SPARE:
        return ""
    return (
        f"Only {free:.1f} MiB are free in {Path.cwd()}: make room, and run the same command again. It goes on from "
        "what is finished. All scales of all findings take less than 3 GiB."
    )


def shard_count(config: Config, scale: str, runs: int, device: str) -> int:
    """Return the number of shards for so many runs: a GPU takes the whole table at once, CPU cores share it."""
    return 1 if device == "cuda" else min(scale_of(config, scale).shards, runs)


def _content(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
