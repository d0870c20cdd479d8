"""Jobs that run elsewhere make the plan that was made here: the same results, scale, device and shards.

The executor is a stand-in for any cluster: as all of Snakemake's remote executors do, it starts Snakemake anew for each
job, with the command line that Snakemake writes for it, in an environment that shares nothing with ours but the path.
"""

import json
import shutil
from types import SimpleNamespace

import pytest

from weightdecay.errors import ConfigError
from weightdecay.workflow import cluster

NODES = """
import os, subprocess
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
from snakemake_interface_executor_plugins.settings import CommonSettings

common_settings = CommonSettings(non_local_exec=True, implies_no_shared_fs=False, job_deploy_sources=False)

class Executor(RemoteExecutor):
    def run_job(self, job):
        kept = {name: os.environ[name] for name in ("HOME", "SNAKEMAKE_PROFILE") if name in os.environ}
        path = os.pathsep.join([os.path.abspath("node"), os.path.abspath("bin")])
        environment = {**kept, "PATH": path, "PYTHONPATH": os.path.abspath("fake"), "ON_A_NODE": "yes"}
        process = subprocess.Popen(["sh", "-c", self.format_job_exec(job)], env=environment)
        self.report_job_submission(SubmittedJobInfo(job, aux={"process": process}))

    async def check_active_jobs(self, active_jobs):
        for job in active_jobs:
            status = job.aux["process"].poll()
            if status is None:
                yield job
            else:
                (self.report_job_error if status else self.report_job_success)(job)

    def cancel_jobs(self, active_jobs):
        for job in active_jobs:
            job.aux["process"].kill()
"""
TORCH = "import os\n\nclass cuda:\n    is_available = staticmethod(lambda: {})\n"
ON_A_NODE = "'ON_A_NODE' in os.environ"
TRAINED = "results/smoke/first/runs.parquet"
ELSEWHERE = ("--executor", "nodes", "--jobs", "2", "--seconds-between-status-checks", "1")


def with_nodes(checkout, torch: str = "False"):
    checkout.write("fake/snakemake_executor_plugin_nodes/__init__.py", NODES)
    checkout.path("fake/torch.py").unlink(missing_ok=True)
    checkout.write("fake/torch/__init__.py", TORCH.format(torch))
    return checkout


def run(checkout, *options: str) -> None:
    done = checkout.run("snakemake", *ELSEWHERE, *options)
    assert done.returncode == 0, done.stdout + done.stderr


def devices(checkout, shards: int) -> list[str]:
    code = (
        "from weightdecay import results\n"
        f"for shard in range(1, {shards + 1}):\n"
        f"    print(results.read_table(f'results/smoke/first/shards/{{shard}}of{shards}.parquet')[1]['device'])"
    )
    checkout.write("fake/devices.py", code)
    return checkout.run("devices").stdout.split()


def test_everything_is_the_same_as_here(checkout):
    made = {path: path.read_bytes() for path in checkout.path("paper").rglob("*") if path.is_file()}
    judged = checkout.path("results/smoke/claims.json").read_bytes()
    for path in (*checkout.path("results/smoke").rglob("*.parquet"), *made):
        path.unlink()
    checkout.write("paper/main.tex", "text")
    run(with_nodes(checkout), "--config", "scale=smoke")
    assert checkout.path("results/smoke/claims.json").read_bytes() == judged
    assert {path: path.read_bytes() for path in checkout.path("paper").rglob("*") if path.is_file()} == made
    assert [path.name for path in checkout.path("results").iterdir()] == ["smoke"]


def test_the_shipped_results_are_read_by_every_job(shipped_beside):
    run(with_nodes(shipped_beside), "--config", "results=reference")
    assert shipped_beside.path("paper/scale.txt").read_text() == "smoke, shipped\n"
    made = sorted(path.name for path in shipped_beside.path("results").iterdir())
    assert made == ["reference", "smoke"]  # no job planned the default scale of its own
    claims = json.loads(shipped_beside.path("results/reference/claims.json").read_text())
    assert [(claim["id"], claim["scale"]) for claim in claims] == [("A1", "smoke"), ("D1", "smoke")]
    assert shipped_beside.path("paper/numbers.tex").read_text().startswith("% data/reference/smoke/first")


def test_an_exported_profile_changes_no_job_and_no_plan(shipped_beside, monkeypatch):
    profile = "executor: nodes\njobs: 2\nseconds-between-status-checks: 1\nconfig: {scale: paper}\n"
    with_nodes(shipped_beside).write("elsewhere/config.yaml", profile)
    monkeypatch.setenv("SNAKEMAKE_PROFILE", str(shipped_beside.path("elsewhere")))
    figure = "paper/figures/first-norm.pdf"
    shipped_beside.path(figure).unlink()
    done = shipped_beside.run("snakemake", figure, "--config", "results=reference", "scale=smoke")
    assert done.returncode == 0, done.stdout + done.stderr
    assert shipped_beside.path(figure).read_text() == "smoke"
    assert shipped_beside.path("results/reference/first/claims.json").is_file()
    assert shipped_beside.path("paper/scale.txt").read_text() == "smoke, shipped\n"
    assert not shipped_beside.path("results/paper").exists()


def test_the_device_is_decided_here_even_where_a_node_has_a_gpu(checkout):
    with_nodes(checkout, torch=ON_A_NODE)
    shutil.rmtree(checkout.path("results"))
    run(checkout, TRAINED, "--config", "scale=smoke", "device=auto")
    assert devices(checkout, 2) == ["cpu", "cpu"]


def test_a_gpu_is_taken_as_asked_and_only_the_trainer_needs_one(checkout):
    with_nodes(checkout, torch="False")
    run(checkout, TRAINED, "--config", "scale=smoke", "device=cuda")
    assert devices(checkout, 1) == ["cuda"]


def test_a_gpu_found_here_is_what_the_jobs_are_told(checkout):
    checkout.gpu()
    with_nodes(checkout, torch=f"not {ON_A_NODE}")
    run(checkout, TRAINED, "--config", "scale=smoke")
    assert devices(checkout, 1) == ["cuda"]


def with_slurm(folder, monkeypatch, sacct: str, min_job_age: int) -> SimpleNamespace:
    """The settings of Snakemake's executor, where `sacct` and `scontrol` say this."""
    said = f"echo AccountingStorageType = any; echo 'MinJobAge               = {min_job_age} sec'"
    for name, script in (("sacct", sacct), ("scontrol", said)):
        folder.joinpath(name).write_text(f"#!/bin/sh\n{script}\n")
        folder.joinpath(name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return SimpleNamespace(status_command="sacct", init_seconds_before_status_checks=10)


def test_sacct_is_asked_where_slurm_keeps_accounts(tmp_path, monkeypatch):
    settings = with_slurm(tmp_path, monkeypatch, "echo '1|COMPLETED'", min_job_age=10)
    cluster.choose_status_command(settings)
    assert settings.status_command == "sacct"


def test_squeue_is_asked_where_sacct_is_there_but_knows_nothing(tmp_path, monkeypatch):
    settings = with_slurm(tmp_path, monkeypatch, "echo Slurm accounting storage is disabled >&2; exit 1", 300)
    cluster.choose_status_command(settings)
    assert settings.status_command == "squeue"


@pytest.mark.parametrize("min_job_age", [0, 30, 299])  # 0: for ever; but Slurm's executor takes it for a short time
def test_a_slurm_that_tells_no_end_of_a_job_is_refused_in_one_sentence(tmp_path, monkeypatch, min_job_age):
    settings = with_slurm(tmp_path, monkeypatch, "exit 1", min_job_age)
    with pytest.raises(ConfigError, match=rf"has MinJobAge={min_job_age}, .* or MinJobAge=300 in slurm\.conf\.$"):
        cluster.choose_status_command(settings)


@pytest.mark.parametrize("settings", [None, SimpleNamespace(), SimpleNamespace(status_command=None)])
def test_other_executors_are_left_alone(settings):
    cluster.choose_status_command(settings)
    assert settings is None or getattr(settings, "status_command", None) is None
