"""A copy of this checkout to run for real: two experiments whose trainer takes no time, and no TeX."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TOOLS = ("bash", "sh", "dirname", "mkdir", "mv", "sleep", "cat", "which")  # all that rules and plugins use; no TeX

CONFIG = """
experiment: {name}
title: An experiment for tests
sources: [S1]
defaults: {{dataset: none, train_size: 10, network: mlp, width: 4, blocks: 1, batch_norm_eps: null, loss: squared_error,
  optimizer: sgd, learning_rate: 1e-2, decay: decoupled, batch_size: 5, shuffle: true, steps: 10, log_every: 5,
  log_dense_every: 1}}
scales:
  smoke: {{seeds: 2, shards: 2, sweeps: {{main: [{{weight_decay: [0.0, 0.1]}}]}}}}
  laptop: {{seeds: 3, shards: 1, sweeps: {{main: [{{weight_decay: [0.0, 0.1]}}]}}}}
  paper: {{seeds: 4, shards: 4, sweeps: {{main: [{{weight_decay: [0.0, 0.1]}}]}}}}
criteria:
  {claim}: {{source: S1, statement: It decays., criterion: Enough., thresholds: {{enough: 1.0}}}}
figures: [norm]
"""
TRAIN = """
from weightdecay.config import load_config
from weightdecay.table import config_hash, table_of
from weightdecay.experiment import main
main(None)
"""
TRAINER = """
import time
from types import SimpleNamespace
import pandas as pd

LOSS = 1.0

def train(runs, protocol, device, checkpoint, precision):
    started = time.time()
    time.sleep(0.3 if device == "cuda" else 0)
    rows = [{**run.model_dump(), "run": run.id, "train_loss": LOSS, "diverged_at": None} for run in runs]
    logged = [(run.id, step, "train_loss", LOSS) for run in runs for step in range(run.steps + 1)]
    history = pd.DataFrame(logged, columns=["run", "step", "metric", "value"])
    metadata = {"device": device, "started": started, "finished": time.time(), "resumed": checkpoint.exists()}
    metadata["precision"] = precision
    return SimpleNamespace(runs=pd.DataFrame(rows), history=history, metadata=metadata)
"""
COMPUTE = """
import pandas as pd
from weightdecay.computation import main

def squares(*, count: int):
    return pd.DataFrame({"y": [x * x for x in range(count)]})

main([squares])
"""
CLAIMS = """
import argparse, json
from pathlib import Path
from weightdecay import errors
from weightdecay import results
parser = argparse.ArgumentParser()
for option in ("scale", "results", "output"):
    parser.add_argument(f"--{option}")
options = parser.parse_args()

@errors.reports_user_errors
def main():
    config = load_config(Path(__file__).with_name("config.yaml"))
    found = results.load(options.results, config_hash(table_of(config, options.scale)))
    loss = found.history["value"].mean()
    row = {"measured": loss, "low": loss, "high": loss, "n": len(found.runs)}
    claims = []
    for name, words in config.criteria.items():
        verdict = "reproduced" if loss <= words.thresholds["enough"] else "refuted"
        ends = {"least": "-inf", "most": words.thresholds["enough"]}
        what = f"loss, {len(found.history)} values"
        parts = [{**row, **ends, "name": "Loss", "quantity": what, "verdict": verdict}]
        about = {"id": name, "source": "S1", "experiment": config.experiment, "statement": "", "criterion": ""}
        claims.append({**about, **row, "verdict": verdict, "parts": parts, "note": "", "scale": options.scale})
    with results.atomic_path(options.output) as path:
        path.write_text(json.dumps(claims))
main()
"""
FIGURES = """
import argparse
from pathlib import Path
from weightdecay.report import style
parser = argparse.ArgumentParser()
for option in ("scale", "results", "claims", "figures", "tables"):
    parser.add_argument(f"--{option}")
options = parser.parse_args()
for kind in ("pdf", "png"):
    Path(options.figures, f"{Path(__file__).parent.name}-norm.{kind}").write_text(options.scale)
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
import argparse
from pathlib import Path
from weightdecay.report import style
parser = argparse.ArgumentParser()
for option in ("claims", "figures"):
    parser.add_argument(f"--{option}")
options = parser.parse_args()
for name in ("overview-1", "overview-2"):
    for kind in ("pdf", "png"):
        Path(options.figures, f"{name}.{kind}").write_text("all claims")
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
        shutil.rmtree(folder / "src/weightdecay/ensemble")
        self.write("src/weightdecay/ensemble/__init__.py", "")
        self.write("src/weightdecay/ensemble/training.py", TRAINER)
        self.write("src/weightdecay/report/style.py", "")
        self.write("src/weightdecay/report/ledger.py", TABLES)
        self.write("src/weightdecay/report/overview.py", OVERVIEW)
        for name, claim in (("first", "A1"), ("second", "D1")):
            programs = {"train.py": TRAIN, "claims.py": CLAIMS, "figures.py": FIGURES}
            for file, text in {**programs, "config.yaml": CONFIG.format(name=name, claim=claim)}.items():
                self.write(f"experiments/{name}/{file}", text)
        self.write("paper/main.tex", "text")
        for tool in TOOLS:
            self.path(f"bin/{tool}").parent.mkdir(exist_ok=True)
            self.path(f"bin/{tool}").symlink_to(shutil.which(tool))

    def path(self, name: str) -> Path:
        return self.folder / name

    def write(self, name: str, text: str) -> None:
        self.path(name).parent.mkdir(parents=True, exist_ok=True)
        self.path(name).write_text(text, encoding="utf-8")

    def edit(self, name: str, old: str, new: str) -> None:
        text = self.path(name).read_text(encoding="utf-8")
        assert old in text
        self.write(name, text.replace(old, new))

    def tool(self, name: str, script: str, shell: str = "bash") -> None:
        self.write(f"bin/{name}", f"#!{shutil.which(shell)}\n{script}\n")
        self.path(f"bin/{name}").chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        paths = f"{self.folder}/src:{self.folder}/fake"
        return {**os.environ, "PATH": str(self.path("bin")), "PYTHONPATH": paths}

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", *command],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *command: str, **options) -> subprocess.Popen:
        """The same in the background, in a session of its own."""
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
