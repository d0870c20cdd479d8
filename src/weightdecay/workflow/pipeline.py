"""What the Snakefile needs to know before any job starts: options, findings, shards, the device, the TeX engine.

Bad input is refused here, and nothing is written. The plan is a few files: results/<scale>/<finding>/table.jsonl, the
table of runs, which is all of the configuration that training depends on; computations/<name>.json, the arguments of
what is computed; code/<stage>.txt, the fingerprint of what a stage runs; and paper/scale.txt, the scale that the paper
is built at. The first job of the pipeline writes those whose content has changed, and only those. So their times say
what has changed, and the times of source files, which any editor or clone may set, say nothing.

With --config results=reference the results are the shipped ones: read where they lie, checked before any job, never
made; each finding's are of the largest scale that is shipped of it, unless a scale is asked for, and a finding of which
nothing is shipped is left out. Judgments go to results/reference/. results/reference/<finding>/shipped.txt, which holds
the scale and the checksums, stands for the shipped files.
"""

import hashlib
import shutil
import sys
from collections.abc import Collection, Mapping
from functools import cached_property
from pathlib import Path

from weightdecay import yaml_file
from weightdecay.config import SCALES, Config, in_order, in_words, scale_of
from weightdecay.errors import ConfigError
from weightdecay.files import atomic_path, check_writable
from weightdecay.finding import check, findings
from weightdecay.fingerprint import fingerprint
from weightdecay.results import shipped
from weightdecay.run import canonical
from weightdecay.table import computations_of, table_of, table_text
from weightdecay.workflow import gpus, stages

# --config scale=... device=... results=..., and what they are without.
OPTIONS = {"scale": "laptop", "device": "auto", "results": "own"}
RESULTS = ("own", "reference")
SPARE = 64  # MiB; with less of the disk left, that is what made a job fail
PACKAGE = Path(__file__).parents[1]


class Plan:
    """The pipeline on one device. Raises a WeightDecayError for whatever cannot work.

    `results`: the folder of everything that is made here; `scales`: each finding's.
    """

    # of all claims
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
        self.shipped = str(shipped.FOLDER / options["scale"])
        self.shards: dict[str, list[str]] = {}
        self.files: dict[str, str] = {}  # the plan: path -> content
        if self.from_reference:
            self._plan_reference(config.get("scale"))
        else:
            self._plan_training(options["scale"], gpus.resolve(options["device"], local))
        for stage, module in (("ledger", "report/ledger.py"), ("overview", "report/overview.py")):
            self.files[f"{self.results}/code/{stage}.txt"] = fingerprint([PACKAGE / module]).text
        self.decided = {**config, "results": options["results"], "device": self.device}  # the same plan elsewhere
        self.stale = [path for path, text in self.files.items() if _content(path) != text]

    def _plan_reference(self, scale: str | None) -> None:
        self.device, self.results = "cpu", "results/reference"
        self.scales = shipped.largest(self.findings, scale)
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
        settings = self._settings(name)
        for module in modules:
            text = stages.code_of(self.findings[name], module).text
            self.files[self.code(name, module)] = text if module == "compute" else text + settings

    def _settings(self, name: str) -> str:
        """The YAML files of a finding by what they say: its configuration, and published numbers that it shows."""
        paths = sorted(self.findings[name].folder.glob("*.yaml"))
        digests = [hashlib.sha256(canonical(yaml_file.read(path)).encode()).hexdigest() for path in paths]
        return "".join(f"{digest}  {path.name}\n" for path, digest in zip(paths, digests, strict=True))

    def code(self, name: str, stage: str) -> str:
        """The file that says what code a stage of a finding runs; of training, on the device of this plan."""
        return f"{self.results}/{name}/code/{stage}{f'-{self.device}' if stage == 'train' else ''}.txt"

    def check_folders(self) -> None:
        """ResultError where a folder that the pipeline writes to is none, or cannot be written to."""
        for folder in ("paper/figures", "paper/tables", *(f"{self.results}/{name}" for name in self.findings)):
            check_writable(folder)

    def write(self) -> None:
        """Writes what has changed of the plan."""
        for path in self.stale:
            with atomic_path(path) as temporary:
                temporary.write_text(self.files[path], encoding="utf-8")

    def outdated(self) -> str:
        """A line about trained shards that are older than what makes them; nothing where there are none."""
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
        """In words: of all findings, "laptop and paper" say."""
        return in_words(self.scales.values())

    @property
    def sources(self) -> list[str]:
        """The folders whose results are judged and drawn, largest scale first; each holds those of its scale."""
        folders = [f"{shipped.FOLDER / scale}" for scale in reversed(in_order(self.scales.values()))]
        return folders if self.from_reference else [self.results]

    @cached_property
    def computations(self) -> dict[str, dict[str, str]]:
        """Each finding's tables that need no training, and their arguments as JSON."""
        return {name: computations_of(made.config, self.scales[name]) for name, made in self.findings.items()}

    def trained(self, name: str) -> str:
        """The folder of a finding's tables: those that this machine makes, or those that were shipped."""
        return f"{shipped.FOLDER / self.scales[name] if self.from_reference else self.results}/{name}"

    def read(self, name: str, *tables: str) -> list[str]:
        """These tables of a finding, `runs` say, as inputs of a rule; of shipped ones `stamp` alone is an input."""
        return [] if self.from_reference else [f"{self.trained(name)}/{table}.parquet" for table in tables]

    def stamp(self, name: str) -> list[str]:
        """The file that stands for a finding's shipped results, where these are used, as inputs of a rule."""
        return [f"{self.results}/{name}/shipped.txt"] if self.from_reference else []

    def computed(self, name: str) -> list[str]:
        """The tables of a finding that need no training, as inputs of a rule."""
        return self.read(name, *self.computations[name])

    def figures(self, name: str) -> list[str]:
        """Every figure of a finding, as PDF for the paper and as PNG for the README."""
        stems = self.findings[name].figures
        return [f"paper/figures/{name}-{stem}.{kind}" for stem in stems for kind in ("pdf", "png")]

    def tables(self, name: str) -> list[str]:
        """Every LaTeX table of a finding."""
        return [f"paper/tables/{name}-{stem}.tex" for stem in self.findings[name].tables]

    def to_compare(self) -> list[str]:
        """This machine's results of what was shipped at this scale, which must have the settings of now."""
        if self.from_reference:
            raise ConfigError(
                "verify compares this machine's results with the shipped ones: leave out results=reference."
            )
        compared = {name: made.config for name, made in self.findings.items() if Path(self.shipped, name).is_dir()}
        shipped.check_settings(self.scale, compared)
        return [path for name in compared for path in self.read(name, "runs", "history") + self.computed(name)]

    def paper_text(self) -> list[str]:
        """What people write of the paper."""
        written = [path for pattern in ("*.tex", "*.bib", "sections/*.tex") for path in Path("paper").glob(pattern)]
        return sorted(str(path) for path in written if path.name != "numbers.tex")

    @cached_property
    def engine(self) -> str | None:
        """What typesets the paper here: latexmk with pdflatex, tectonic, or nothing."""
        if shutil.which("latexmk") and shutil.which("pdflatex"):
            return "latexmk"
        return shutil.which("tectonic") and "tectonic"


def python(sdm: Collection[str] = ()) -> str:
    """The interpreter of the jobs: Snakemake's own, unless it makes an environment for them."""
    return "python" if sdm else sys.executable


def lack_of_space() -> str:
    """A line where the disk is full, for then a failed job's log may not hold its own; nothing elsewhere."""
    free = shutil.disk_usage(".").free / 2**20
    if free >= SPARE:
        return ""
    return (
        f"Only {free:.1f} MiB are free in {Path.cwd()}: make room, and run the same command again. It goes on from "
        "what is finished. All scales of all findings take less than 3 GiB."
    )


def shard_count(config: Config, scale: str, runs: int, device: str) -> int:
    """In how many shards so many runs are trained: a GPU takes the whole table at once, CPU cores share it."""
    return 1 if device == "cuda" else min(scale_of(config, scale).shards, runs)


def _content(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
