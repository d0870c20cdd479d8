"""The cache of compiled code: it deletes its own unused versions, and nothing else, ever."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from weightdecay.ensemble import cache

PACKAGE = Path(cache.__file__).parents[1]
OLD = time.time() - cache.UNUSED_SECONDS - 3600
FIRST, SECOND = "a" * 64, "b" * 64


def age(folder: Path) -> Path:
    """The same folder, last used long ago."""
    os.utime(folder / cache.MARKER, (OLD, OLD))
    return folder


def chosen_folder(checkout: Path, **variables: str) -> Path:
    """The cache that a new process of a checkout takes."""
    asks = "from weightdecay.ensemble import compiler; print(compiler.FOLDER)"
    kept = {name: value for name, value in os.environ.items() if name not in ("NUMBA_CACHE_DIR", "XDG_CACHE_HOME")}
    done = subprocess.run(
        [sys.executable, "-c", asks],
        env={**kept, "PYTHONPATH": str(checkout / "src"), **variables},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip())


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A copy of the package, in a folder named as what a ZIP of the branch unpacks to."""
    folder = tmp_path / "home" / "weightdecay-main"
    shutil.copytree(PACKAGE, folder / "src/weightdecay", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "results").mkdir()
    (folder / "results/weeks-of-work").write_text("irreplaceable")
    return folder


def everything(folder: Path) -> dict[Path, bytes]:
    """Every file below that is not the compiler's own, or Python's."""
    paths = [path for path in folder.rglob("*") if not {"__pycache__", cache.NAME} & set(path.parts)]
    return {path: path.read_bytes() for path in paths if path.is_file()}


@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "HOME"])
def test_nothing_of_the_user_is_deleted(checkout, variable):
    """Not the checkout in the cache folder, not any other folder there, whatever their names and however old."""
    home = checkout.parent
    parent = home / ".cache" if variable == "HOME" else home
    for name in ("weightdecay-main-backup", "weightdecay-0123456789abcdef", cache.NAME + "-mine"):
        (parent / name).mkdir(parents=True)
        (parent / name / "file").write_text("mine")
        os.utime(parent / name, (OLD, OLD))
    (parent / cache.NAME / FIRST).mkdir(parents=True)  # the user's, as it has no marker
    (parent / cache.NAME / FIRST / "file").write_text("mine")
    mine = parent / cache.NAME / FIRST / "file"
    before = everything(home)
    if variable != "NUMBA_CACHE_DIR":  # the package's own folder cannot be written, so that the user's cache is taken
        (checkout / "src/weightdecay/ensemble/__pycache__").write_text("in the way")
    folder = chosen_folder(checkout, **{"HOME": str(home), variable: str(home)})
    assert parent in folder.parents and (folder / cache.MARKER).is_file()
    after = everything(home)
    assert {path: after.get(path) for path in before} == before and mine.read_text() == "mine"


def test_two_checkouts_share_a_cache_and_keep_each_others_versions(checkout, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(checkout, other)
    with (other / "src/weightdecay/ensemble/loops.py").open("a") as file:
        file.write("\nANOTHER = True\n")
    shared = {"NUMBA_CACHE_DIR": str(tmp_path / "shared"), "HOME": str(tmp_path)}
    first, second = chosen_folder(checkout, **shared), chosen_folder(other, **shared)
    assert first != second and len(first.name) == 64
    assert chosen_folder(checkout, **shared) == first and second.is_dir() and first.is_dir()


def test_without_a_home_there_is_a_cache_or_none_but_no_error(checkout):
    assert checkout in chosen_folder(checkout, HOME="").parents


def test_an_unused_version_in_a_folder_of_our_choice_is_deleted(tmp_path):
    old = age(cache.version_folder(FIRST, {tmp_path: False}))
    assert cache.version_folder(SECOND, {tmp_path: False}).is_dir() and not old.exists()


def test_a_version_in_use_is_kept(tmp_path):
    """Its marker is touched at each use, so that its age is since the last one."""
    used = age(cache.version_folder(FIRST, {tmp_path: False}))
    cache.version_folder(FIRST, {tmp_path: False})
    cache.version_folder(SECOND, {tmp_path: False})
    assert used.is_dir()


def test_nothing_is_deleted_in_a_folder_that_the_user_named(tmp_path):
    old = age(cache.version_folder(FIRST, {tmp_path: True}))
    cache.version_folder(SECOND, {tmp_path: True})
    assert old.is_dir()


def test_what_carries_no_marker_no_digest_or_is_a_link_is_kept(tmp_path):
    current = cache.version_folder(SECOND, {tmp_path: False})
    named = age(cache.version_folder("not-a-digest", {tmp_path: False}))
    elsewhere = age(cache.version_folder(FIRST, {tmp_path / "elsewhere": True}))
    (current.parent / FIRST).symlink_to(elsewhere)
    unmarked = current.parent / ("c" * 64)
    unmarked.mkdir()
    os.utime(unmarked, (OLD, OLD))
    cache.version_folder(SECOND, {tmp_path: False})
    assert named.is_dir() and unmarked.is_dir() and (current.parent / FIRST).is_symlink() and elsewhere.is_dir()
