"""What the Snakefile needs to know before any job starts: options, experiments, shards, the device, the TeX engine.

Bad input is refused here, and nothing is written. The plan is a few files: results/<scale>/<experiment>/table.jsonl,
the table of runs, which is all of the configuration that training depends on; computations/<name>.json beside it, the
arguments of what is computed; and paper/scale.txt, the scale that the paper is built at. The first job of the pipeline
(`main` below) writes those whose content has changed, and only those, so that their times say what Snakemake's own
memory (.snakemake/) may have lost.

With the target `reference`, or --config results=reference, the results are the shipped ones: read where they lie,
checked before any job, never made; each experiment's are of the largest scale that is shipped of it, unless a scale is
asked for. Judgments go to results/reference/. The files' times count for nothing, as git keeps none:
results/reference/<experiment>/shipped.txt, which holds the scale and the checksums, stands for them.
"""

import os
import shutil
import sys
from collections.abc import Collection, Sequence
from functools import cached_property
from pathlib import Path

from weightdecay import consistency
from weightdecay.config import SCALES, Config, in_order, in_words, load_config
from weightdecay.errors import ConfigError, DeviceError, reports_user_errors
from weightdecay.experiment import DEVICES
from weightdecay.files import atomic_path, check_writable
from weightdecay.results import shipped
from weightdecay.table import computations_of, table_of, table_text
from weightdecay.workflow import gpus, sources

# --config scale=... device=... results=..., and what they are without.
OPTIONS = {"scale": "laptop", "device": "auto", "results": "own"}
RESULTS = ("own", "reference")
SPARE = 64  # MiB; with less of the disk left, that is what made a job fail


class Plan:
    """The pipeline on one device. Raises a WeightDecayError for whatever cannot work.

    `results`: the folder of everything that is made here; `scales`: each experiment's. `targets`: what the user asked
    for by name.
    """

    # of all claims
    overview = tuple(f"paper/figures/overview-{page}.{kind}" for page in (1, 2) for kind in ("pdf", "png"))

    def __init__(self, config: dict, local: bool = True, targets: Sequence[str] = ()):
        for key in config:
            if key not in OPTIONS:
                raise ConfigError(f"--config {key} is not an option: {', '.join(OPTIONS)} are.")
        options = {**OPTIONS, **config}
        if options["results"] not in RESULTS:
            raise ConfigError(f"--config results={options['results']} is unknown: choose from {', '.join(RESULTS)}.")
        self.from_reference = options["results"] == "reference" or "reference" in targets
        if self.from_reference and "verify" in targets:
            raise ConfigError("verify compares this machine's results with the shipped ones: run it without reference.")
        scale = options["scale"]
        if scale not in SCALES:
            raise ConfigError(f"--config scale={scale} is unknown: choose from {', '.join(SCALES)}.")
        self.experiments = {
            path.parent.name: load_config(path) for path in sorted(Path("experiments").glob("*/config.yaml"))
        }
        if not self.experiments:
            raise ConfigError("there is no experiments/<name>/config.yaml here: run from the folder of the Snakefile.")
        consistency.check(self.experiments)
        self.shipped = str(shipped.FOLDER / scale)
        self.compared = [name for name in self.experiments if Path(self.shipped, name).is_dir()]
        if "verify" in targets:
            shipped.check_settings(scale, {name: self.experiments[name] for name in self.compared})
        self.shards = {}
        self.files: dict[str, str] = {}  # the plan: path -> content
        if self.from_reference:
            self._plan_reference(config.get("scale"))
        else:
            self._plan_training(scale, resolve(options["device"], local))
        made = "reference" if self.from_reference else "own"
        self.decided = {**config, "results": made, "device": self.device}  # makes the same plan in another process
        self.stale = [path for path, text in self.files.items() if _content(path) != text]

    def _plan_reference(self, scale: str | None) -> None:
        self.device, self.results = "cpu", "results/reference"
        self.scales = shipped.largest(self.experiments) if scale is None else dict.fromkeys(self.experiments, scale)
        for each in in_order(self.scales.values()):
            chosen = {name: made for name, made in self.experiments.items() if self.scales[name] == each}
            digests = shipped.check_settings(each, chosen)
            for name in chosen:
                own = [f"{digest}  {path}\n" for path, digest in digests.items() if path.startswith(f"{name}/")]
                self.files[f"{self.results}/{name}/shipped.txt"] = "".join([f"{each}\n", *own])
        self.files["paper/scale.txt"] = f"{self.scale}, shipped\n"

    def _plan_training(self, scale: str, device: str) -> None:
        self.device, self.results = device, f"results/{scale}"
        self.scales = dict.fromkeys(self.experiments, scale)
        for name, experiment in self.experiments.items():
            runs = table_of(experiment, scale)
            count = shard_count(experiment, scale, len(runs), self.device)
            self.shards[name] = [f"{number}of{count}" for number in range(1, count + 1)]
            self.files[f"{self.results}/{name}/table.jsonl"] = table_text(runs)
            for computation, arguments in self.computations[name].items():
                self.files[f"{self.results}/{name}/computations/{computation}.json"] = f"{arguments}\n"
        self.files["paper/scale.txt"] = f"{scale}\n"

    def check_folders(self) -> None:
        """ResultError where a folder that the pipeline writes to is none, or cannot be written to."""
        for folder in ("paper/figures", "paper/tables", *(f"{self.results}/{name}" for name in self.experiments)):
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
            needed = [*code(f"experiments/{name}/train.py"), f"{self.results}/{name}/table.jsonl"]
            newest = max((Path(path).stat().st_mtime for path in needed if Path(path).is_file()), default=0)
            made = [Path(f"{self.results}/{name}/shards/{shard}.parquet") for shard in shards]
            older += sum(path.stat().st_mtime < newest for path in made if path.is_file())
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
        """In words: of all experiments, "laptop and paper" say."""
        return in_words(self.scales.values())

    @property
    def sources(self) -> list[str]:
        """The folders whose results are judged and drawn, largest scale first; each holds those of its scale."""
        shipped = [f"{shipped.FOLDER / scale}" for scale in reversed(in_order(self.scales.values()))]
        return shipped if self.from_reference else [self.results]

    @cached_property
    def computations(self) -> dict[str, dict[str, str]]:
        """Each experiment's tables that need no training, and their arguments as JSON."""
        return {name: computations_of(made, self.scales[name]) for name, made in self.experiments.items()}

    def trained(self, name: str) -> str:
        """The folder of an experiment's tables: those that this machine makes, or those that were shipped."""
        return f"{shipped.FOLDER / self.scales[name] if self.from_reference else self.results}/{name}"

    def read(self, name: str, *tables: str) -> list[str]:
        """These tables of an experiment, `runs` say, as inputs of a rule; of shipped ones `stamp` alone is an input."""
        return [] if self.from_reference else [f"{self.trained(name)}/{table}.parquet" for table in tables]

    def stamp(self, name: str) -> list[str]:
        """The file that stands for an experiment's shipped results, where these are used, as inputs of a rule."""
        return [f"{self.results}/{name}/shipped.txt"] if self.from_reference else []

    def computed(self, name: str) -> list[str]:
        """The tables of an experiment that need no training, as inputs of a rule."""
        return self.read(name, *self.computations[name])

    def figures(self, name: str) -> list[str]:
        """Every figure of an experiment, as PDF for the paper and as PNG for the README."""
        stems = self.experiments[name].figures
        return [f"paper/figures/{name}-{stem}.{kind}" for stem in stems for kind in ("pdf", "png")]

    def tables(self, name: str) -> list[str]:
        """Every LaTeX table of an experiment."""
        return [f"paper/tables/{name}-{stem}.tex" for stem in self.experiments[name].tables]

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


def code(program: str) -> list[str]:
    """The files that running `program` executes, as inputs of the rule that runs it."""
    return [os.path.relpath(path) for path in sources.sources(program)]


def settings(name: str) -> list[str]:
    """The YAML files of an experiment: its configuration, and published numbers that its figures show."""
    return sorted(str(path) for path in Path("experiments", name).glob("*.yaml"))


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


def shard_count(experiment: Config, scale: str, runs: int, device: str) -> int:
    """In how many shards so many runs are trained: a GPU takes the whole table at once, CPU cores share it."""
    return 1 if device == "cuda" else min(getattr(experiment.scales, scale).shards, runs)


def resolve(device: str, local: bool = True) -> str:
    """`auto`, `cpu` or `cuda` to `cpu` or `cuda`. Torch, which takes seconds to load, is asked only if need be."""
    if device not in DEVICES:
        raise ConfigError(f"--config device={device} is unknown: choose from {', '.join(DEVICES)}.")
    if device == "cpu" or (device == "auto" and not shutil.which("nvidia-smi")):
        return "cpu"
    if not local and device == "cuda":
        return "cuda"  # as asked, or as decided: this machine need not have one, and the trainer checks on its own
    if gpus.usable():
        return "cuda"
    if device == "cuda":
        raise DeviceError("--config device=cuda asks for a GPU, but torch finds none here: choose auto or cpu.")
    return "cpu"


def _content(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


@reports_user_errors
def main() -> None:
    """python -m weightdecay.workflow.pipeline KEY=VALUE ...: writes the plan that these options of --config make."""
    plan = Plan(dict(option.split("=", 1) for option in sys.argv[1:]), local=False)
    plan.check_folders()
    plan.write()


if __name__ == "__main__":
    main()
