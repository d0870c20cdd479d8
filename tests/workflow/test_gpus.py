"""Trainings that run at once share several GPUs without clash, among those that the user left visible."""

import os
import select
import subprocess
import sys
import time

import pytest

TRAINER = 'metadata = {"gpu": __import__("os").environ.get("CUDA_VISIBLE_DEVICES"), "device": device'
TIMES = (
    "from weightdecay import results\n"
    "for name in ('first', 'second'):\n"
    "    about = results.read_table(f'results/smoke/{name}/shards/1of1.parquet')[1]\n"
    "    print(about['gpu'], about['started'], about['finished'])"
)
SHARDS = ("results/smoke/first/shards/1of1.parquet", "results/smoke/second/shards/1of1.parquet")
TAKER = (
    "import os, sys, time\n"
    "from weightdecay.workflow import gpus\n"
    "gpus.take_one(sys.argv[1])\n"
    "print(os.environ['CUDA_VISIBLE_DEVICES'], flush=True)\n"
    "time.sleep(60)"
)


@pytest.fixture
def with_gpus(checkout):
    """A checkout on a machine that seems to have two GPUs."""
    checkout.tool("nvidia-smi", "echo 'GPU 0: Some GPU (UUID: GPU-a)'; echo 'GPU 1: Some GPU (UUID: GPU-b)'")
    checkout.gpu()
    checkout.write("fake/times.py", TIMES)
    checkout.edit("src/weightdecay/ensemble/training.py", 'metadata = {"device": device', TRAINER)
    checkout.edit("src/weightdecay/ensemble/training.py", "time.sleep(0.3", "time.sleep(2")
    return checkout


def trained(checkout) -> list[tuple[str, float, float]]:
    """The GPU, the start and the end of both trainings."""
    lines = checkout.run("times").stdout.splitlines()
    return [(gpu, float(started), float(finished)) for gpu, started, finished in map(str.split, lines)]


@pytest.mark.parametrize(("visible", "expected"), [(None, {"0", "1"}), ("3,5", {"3", "5"})])
def test_trainings_at_once_take_different_gpus(with_gpus, monkeypatch, visible, expected):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with_gpus.make(*SHARDS, "--config", "scale=smoke", "--resources", "gpu=2")
    (one, *first), (other, *second) = trained(with_gpus)
    assert max(first[0], second[0]) < min(first[1], second[1])  # at the same time
    assert {one, other} == expected


def test_one_gpu_that_the_user_left_visible_is_the_one_that_is_used(with_gpus, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    with_gpus.make(*SHARDS, "--config", "scale=smoke")
    assert [gpu for gpu, *_ in trained(with_gpus)] == ["7", "7"]


def test_a_training_waits_for_a_gpu_and_takes_that_of_a_killed_one():
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": f"GPU-{os.getpid()}-a,GPU-{os.getpid()}-b"}
    processes = []

    def start() -> subprocess.Popen:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        processes.append(subprocess.Popen([sys.executable, "-c", TAKER, "cuda"], env=environment, text=True, **pipes))
        return processes[-1]

    try:
        first, second = start(), start()
        held = [first.stdout.readline(), second.stdout.readline()]
        assert len(set(held)) == 2
        third = start()
        assert third.stderr.readline() == "waiting for one of 2 GPUs, as other trainings hold all of them\n"
        time.sleep(1.5)
        assert third.poll() is None
        first.kill()
        assert third.stdout.readline() == held[0]
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def test_a_training_that_uses_no_gpu_waits_for_none(tmp_path):
    visible = f"GPU-{tmp_path}-a,GPU-{tmp_path}-b"
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": visible}
    pipes = {"env": environment, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    holders = [subprocess.Popen([sys.executable, "-c", TAKER, "cuda"], **pipes) for _ in range(2)]
    try:
        assert {holder.stdout.readline().strip() for holder in holders} == set(visible.split(","))
        holders.append(subprocess.Popen([sys.executable, "-c", TAKER, "cpu"], **pipes))
        ready, _, _ = select.select([holders[-1].stdout], [], [], 30)
        assert ready and holders[-1].stdout.readline().strip() == visible
    finally:
        for holder in holders:
            holder.kill()
            assert "waiting" not in holder.communicate()[1]
