"""profiles/slurm, as it is written, on a real Slurm without a database of accounts: the results are those made here.

A real finding goes through a cancelled job and a killed slurmd, and the pipeline of the fast checkout asks for GPUs.
"""

import importlib.util
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from tests.checkout import ROOT, Checkout
from tests.slurm.start import COMMANDS, Slurm, missing

lacking = [*missing(), *([] if importlib.util.find_spec("snakemake_executor_plugin_slurm") else ["pip's .[slurm]"])]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(lacking), reason=f"needs slurm-wlm and munge of Debian, and .[slurm]: no {lacking}"),
]
LEDGER = "results/smoke/claims.json"
TABLES = ("results/smoke/sparsity/runs.parquet", "results/smoke/sparsity/wide.parquet")  # trained, and computed
PROFILE = ("--profile", "profiles/slurm", "--latency-wait", "5")


@pytest.fixture(scope="module")
def slurm():
    with Slurm(cpus=2) as running:
        yield running


def sparsity(folder: Path) -> Path:
    """A checkout with one real finding."""
    for name in ("src/weightdecay", "experiments/sparsity", "profiles"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("Snakefile", "environment.yml"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "paper").mkdir()
    return folder


def start(folder: Path, environment: dict[str, str], *options: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "snakemake", *options, "--config", "scale=smoke"]
    with open(folder / "said.txt", "wb") as said:
        return subprocess.Popen(command, cwd=folder, env=environment, stdout=said, stderr=said)


def ended(process: subprocess.Popen, folder: Path, slurm: Slurm) -> str:
    """What Snakemake has said when it ends; a failure if it does not end."""
    try:
        process.wait(400)
    except subprocess.TimeoutExpired:
        process.kill()
        pytest.fail(f"Snakemake waits:\n{(folder / 'said.txt').read_text()}\n{slurm.run('squeue', '--states=all')}")
    return (folder / "said.txt").read_text()


def job_that_trains(slurm: Slurm, process: subprocess.Popen) -> str:
    """The number of a job of Slurm that has begun to train."""
    while process.poll() is None:
        for line in slurm.run("squeue", "--noheader", "--states=running", "--format=%i %M %k").splitlines():
            number, elapsed, rule = line.split(maxsplit=2)
            if rule.startswith("rule_train") and elapsed >= "0:04":
                return number
        time.sleep(0.2)
    pytest.fail("no job trained")


def tables(folder: Path) -> dict[str, pd.DataFrame]:
    found = sorted((folder / "results/smoke/sparsity").glob("*.parquet"))
    return {path.name: pd.read_parquet(path) for path in found}


def test_a_real_finding_is_bitwise_that_made_here_after_a_cancelled_job_and_a_killed_slurmd(slurm, tmp_path):
    here, there = sparsity(tmp_path / "here"), sparsity(tmp_path / "there")

    process = start(there, slurm.environment, *PROFILE, *TABLES)
    cancelled = job_that_trains(slurm, process)
    slurm.run("scancel", cancelled)
    said = ended(process, there, slurm)
    assert process.returncode != 0
    assert f"SLURM-job '{cancelled}' failed, SLURM status is: 'CANCELLED'" in said

    process = start(there, slurm.environment, *PROFILE, *TABLES)
    interrupted = job_that_trains(slurm, process)
    assert interrupted != cancelled
    slurm.kill_slurmd()
    time.sleep(5)
    slurm.start_slurmd()
    said = ended(process, there, slurm)
    if process.returncode:  # the job may have been lost with its daemon
        process = start(there, slurm.environment, *PROFILE, *TABLES)
        said = ended(process, there, slurm)
    assert process.returncode == 0, said

    local = start(here, slurm.environment, "--cores", "2", *TABLES)
    said = ended(local, here, slurm)
    assert local.returncode == 0, said
    made = tables(there)
    assert made.keys() == tables(here).keys() == {"runs.parquet", "history.parquet", "wide.parquet"}
    for name, table in tables(here).items():
        pd.testing.assert_frame_equal(made[name], table, check_exact=True)


def test_the_whole_pipeline_runs_on_gpus_that_slurm_gives_though_there_is_none_here(slurm, built, tmp_path):
    checkout = Checkout(tmp_path / "checkout")
    checkout.write("fake/torch/__init__.py", "class cuda:\n    is_available = staticmethod(lambda: False)\n")
    recorded = '{"gpu": __import__("os").environ["CUDA_VISIBLE_DEVICES"], "device": device'
    checkout.edit("src/weightdecay/ensemble/training.py", '{"device": device', recorded)
    checkout.edit("src/weightdecay/ensemble/training.py", "time.sleep(0.3", "time.sleep(10")
    for name in COMMANDS:
        checkout.path(f"bin/{name}").symlink_to(slurm.folder / "bin" / name)
    done = checkout.run(
        "snakemake", *PROFILE, "--slurm-jobname-prefix", "gpus", "--config", "scale=smoke", "device=cuda"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    asked = slurm.run(
        "squeue", "--noheader", "--states=all", "--Format=name:60,comment:60,tres-per-job:60"
    ).splitlines()
    requests = [line.split()[1:] for line in asked if line.startswith("gpus_")]
    assert len(requests) == 6
    for rule, resources in requests:
        assert ("gpu:1" if rule.startswith("rule_train") else "N/A") in resources
    code = (
        "from weightdecay import results\n"
        "for name in ('first', 'second'):\n"
        "    about = results.read_table(f'results/smoke/{name}/shards/1of1.parquet')[1]\n"
        "    print(about['device'], about['gpu'])"
    )
    checkout.write("fake/used.py", code)
    assert sorted(checkout.run("used").stdout.splitlines()) == ["cuda 0", "cuda 1"]
    same = checkout.path(LEDGER).read_text(), (built / LEDGER).read_text()
    assert same[0] == same[1]
