"""What all tests share."""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.checkout import Checkout

# No deadline for an example: tests run beside each other on small machines, where a slow moment proves nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")

# One thread a process, as the pipeline gives its jobs. Nothing has imported a library yet that reads it.
os.environ.setdefault("OMP_NUM_THREADS", "1")
for name in ("MPLBACKEND", "SNAKEMAKE_PROFILE", "PYTHONDONTWRITEBYTECODE"):  # of the shell that starts the tests
    os.environ.pop(name, None)


# Begun first, so that no process of a run is left with a long test at its end.
LONG = (
    "test_judging_what_is_shipped_again",
    "test_numba_s_bounds_check",
    "test_killed_at_random",
    "test_a_training_that_is_killed_again",
    "test_the_pipeline_makes_the_same_bytes_in_hostile_surroundings",
    "test_without_a_home",
    "test_all_figures_that_the_config_promises",
    "test_figures_are_drawn_where_half",
)


LACKING = pytest.StashKey[list[str]]()  # those of LONG that no test has, where all tests were collected


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.name.startswith(LONG))
    asked = {config.invocation_params.dir / argument for argument in config.args}
    is_whole = asked <= {config.rootpath, config.rootpath / "tests"} and not config.getoption("lf", False)
    lacking = [name for name in LONG if not any(item.name.startswith(name) for item in items)]
    config.stash[LACKING] = lacking if is_whole else []


@pytest.fixture
def lacking(pytestconfig) -> list[str]:
    return pytestconfig.stash[LACKING]


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first of the run's processes to ask for it makes; the others wait for it."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # each process has its own, in the run's
        base = base.parent
    with open(base / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / name).exists():
            unfinished = factory.mktemp(name)
            make(unfinished)
            unfinished.rename(base / name)
    return base / name


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """A checkout in which everything is built at smoke scale, without TeX. For copying."""

    def build(folder: Path) -> None:
        Checkout(folder / "checkout").make("--config", "scale=smoke")

    return made_once(tmp_path_factory, "built", build) / "checkout"


@pytest.fixture(scope="session")
def built_and_shipped(built, tmp_path_factory) -> Path:
    """The same with its results shipped. For copying."""

    def ship(folder: Path) -> None:
        done = copy_of(built, folder).run("weightdecay", "ship", "--scale", "smoke")
        assert done.returncode == 0, done.stderr

    return made_once(tmp_path_factory, "shipped", ship) / "checkout"


@pytest.fixture
def checkout(built, tmp_path) -> Checkout:
    """A checkout of one's own in which everything is built."""
    return copy_of(built, tmp_path)


@pytest.fixture
def shipped_beside(built_and_shipped, tmp_path) -> Checkout:
    """A checkout of one's own in which everything is built and its results are shipped."""
    return copy_of(built_and_shipped, tmp_path)


def copy_of(folder: Path, place: Path) -> Checkout:
    copy = Checkout.__new__(Checkout)
    copy.folder = place / "checkout"
    shutil.copytree(folder, copy.folder, symlinks=True)  # with its times
    return copy
