"""A copy of this checkout to run for real: two findings whose trainer takes no time, and no TeX."""

import os
import re
import shutil
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

from tests.forks.start import python

ROOT = Path(__file__).parents[1]
TOOLS = (
    "bash",
    "sh",
    "dirname",
    "mkdir",
    "mv",
    "sleep",
    "cat",
    "which",
    "tee",
    "true",
)  # all that rules and plugins use; no TeX

CONFIG = """
experiment: {name}
title: An experiment for tests
sources: [S1]
datasets: [none]
defaults: {{dataset: none, train_size: 10, network: mlp, width: 4, blocks: 1, batch_norm_eps: null, loss: squared_error,
  optimizer: sgd, learning_rate: 1e-2, decay: decoupled, batch_size: 5, shuffle: true, steps: 10, log_every: 5,
  log_dense_every: 1}}
scales:
  smoke: {{seeds: 2, shards: 2, sweeps: {{main: [{{weight_decay: [0.0, 0.1]}}]}}}}
  laptop: {{seeds: 3, shards: 1, sweeps: {{main: [{{weight_decay: [0.0, 0.1]}}]}}}}
  paper: {{seeds: 4, shards: 4, sweeps: {{main: [{{weight_decay: [0.0, 0.1]}}]}}}}
criteria:
  {claim}: {{source: S1, statement: It decays., criterion: Enough., thresholds: {{enough: 1.0}}}}
"""
TRAIN = """
PROTOCOL = "how a row is trained"
"""
TRAINER = """
import time
from types import SimpleNamespace
import pandas as pd

LOSS = 1.0

def train(runs, protocol, device, checkpoint, precision, code):
    started = time.time()
    time.sleep(0.3 if device == "cuda" else 0)
    rows = [{**run.model_dump(), "run": run.id, "train_loss": LOSS, "diverged_at": None} for run in runs]
    logged = [(run.id, step, "train_loss", LOSS) for run in runs for step in range(run.steps + 1)]
    history = pd.DataFrame(logged, columns=["run", "step", "metric", "value"])
    metadata = {"device": device, "started": started, "finished": time.time(), "resumed": checkpoint.exists()}
    metadata["precision"] = precision
    return SimpleNamespace(runs=pd.DataFrame(rows), history=history, metadata=metadata)
"""
INIT = """
from weightdecay.finding import Finding

finding = Finding(__name__)
"""
COMPUTE = """
import pandas as pd
from . import finding

@finding.computation
def squares(*, count: int):
    return pd.DataFrame({"y": [x * x for x in range(count)]})
"""
CLAIMS = """
from weightdecay.claims.judging import judged
from weightdecay.statistics.estimates import Estimate
from . import finding

@finding.claim("CLAIM")
def decays(found, *, enough):
    loss = found.history["value"].mean()
    estimate = Estimate(loss, loss, loss, len(found.runs))
    return [judged("Loss", f"loss, {len(found.history)} values", estimate, most=enough)], ""
"""
FIGURES = """
from weightdecay.report import style
from . import finding

@finding.figure("CLAIM")
def norm(inputs):
    return "norm"
"""
STYLE = """
def apply():
    pass

def save(figure, folder, stem, scale):
    for kind in ("pdf", "png"):
        (folder / f"{stem}.{kind}").write_text(scale)
"""
TABLES = """
import json

def judgments(judged, name, trained):
    found = judged / name / "claims.json"
    return found if found.is_file() else trained / "claims.json"

def join(judged, trained, paper):
    paths = [judgments(judged, name, folder) for name, folder in trained.items()]
    claims = [claim for path in paths for claim in json.loads(path.read_text())]
    judged.mkdir(parents=True, exist_ok=True)
    (judged / "claims.json").write_text(json.dumps(claims))
    names = ("numbers.tex", "tables/claims.tex", "tables/builds.tex")
    for path in [paper / name for name in names] if paper else []:
        path.write_text("% " + ", ".join(str(folder) for folder in trained.values()))
    for claim in claims * 10_000:
        print(claim)
"""
OVERVIEW = """
from weightdecay.report import style

def overview(claims, folder):
    for name in ("overview-1", "overview-2"):
        for kind in ("pdf", "png"):
            (folder / f"{name}.{kind}").write_text("all claims")
"""


class Checkout:
    """A copy of this checkout and the commands that a user would type there."""

    def __init__(self, folder: Path):
        self.folder = folder
        ignored = shutil.ignore_patterns("__pycache__")
        for name in ("src/weightdecay", "profiles"):
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
        for name in ("Snakefile", "environment.yml"):
            shutil.copy(ROOT / name, folder / name)
        self.write("src/weightdecay/ensemble/training.py", TRAINER)
        self.write("src/weightdecay/report/style.py", STYLE)
        self.write("src/weightdecay/report/ledger.py", TABLES)
        self.write("src/weightdecay/report/overview.py", OVERVIEW)
        for name, claim in (("first", "A1"), ("second", "D1")):
            programs = {"__init__.py": INIT, "train.py": TRAIN, "claims.py": CLAIMS, "figures.py": FIGURES}
            for file, text in programs.items():
                self.write(f"experiments/{name}/{file}", text.replace("CLAIM", claim))
            self.write(f"experiments/{name}/config.yaml", CONFIG.format(name=name, claim=claim))
        self.write("paper/main.tex", "text")
        for tool in TOOLS:
            self.path(f"bin/{tool}").parent.mkdir(exist_ok=True)
            self.path(f"bin/{tool}").symlink_to(shutil.which(tool))

    def path(self, name: str) -> Path:
        return self.folder / name

    def write(self, name: str, text: str) -> None:
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".py":  # Python takes compiled code for that of the file by its size and second
            Path(cache_from_source(path)).unlink(missing_ok=True)

    def edit(self, name: str, old: str, new: str) -> None:
        text = self.path(name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new))

    def tool(self, name: str, script: str, shell: str = "bash") -> None:
        self.write(f"bin/{name}", f"#!{shutil.which(shell)}\n{script}\n")
        self.path(f"bin/{name}").chmod(0o755)

    def gpu(self) -> None:
        """Make this machine one with a GPU: a driver that can be loaded, and a torch that finds it."""
        driver = self.path("fake/libcuda.so.1")
        driver.parent.mkdir(exist_ok=True)
        driver.symlink_to(next(path for path in Path("/proc/self/maps").read_text().split() if "/libc.so" in path))
        self.write("fake/torch.py", "class cuda:\n    is_available = staticmethod(lambda: True)\n")

    @property
    def environment(self) -> dict[str, str]:
        paths = f"{self.folder}/src:{self.folder}/fake"
        return {
            **os.environ,
            "PATH": str(self.path("bin")),
            "PYTHONPATH": paths,
            "LD_LIBRARY_PATH": f"{self.folder}/fake",
        }

    def run(self, *command: str) -> subprocess.CompletedProcess:
        """`python -m`, to its end. It and its jobs are forked (tests/forks), unless they need a library of our own."""
        return subprocess.run(
            [sys.executable if self.path("fake").exists() else python(), "-m", *command],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *command: str, **options) -> subprocess.Popen:
        """The same in the background, in a session of its own. Its processes start as they do for a user."""
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | options,
        )

    def make(self, *options: str) -> subprocess.CompletedProcess:
        done = self.run("snakemake", "--cores", "2", *options)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def planned(self, *options: str) -> dict[str, int]:
        """How often each rule would run, without running anything."""
        done = self.make("--dry-run", *options)
        table = re.search(r"^job +count\n[- ]+\n(.*?)^total", done.stderr + done.stdout, re.MULTILINE | re.DOTALL)
        counts = dict(line.split() for line in table[1].splitlines()) if table else {}
        return {rule: int(count) for rule, count in counts.items() if rule not in ("all", "write_plan")}
