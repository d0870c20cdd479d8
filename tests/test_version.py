"""The provenance names the commit of this code and of no other: real repositories, archives, and no git at all."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GIT = shutil.which("git")
ASKS = "from weightdecay.results import provenance; print(provenance()['code_version'])"
AUTHOR = ["-c", "user.name=A", "-c", "user.email=a@b", "-c", "commit.gpgsign=false", "-c", "init.defaultBranch=main"]


def git(folder: Path, *command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    done = subprocess.run(
        [GIT, *AUTHOR, "-C", str(folder), *command], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def version(folder: Path, **environment: str) -> str:
    """What the package in `folder` says, asked from elsewhere."""
    done = subprocess.run(
        [sys.executable, "-c", ASKS],
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": str(folder / "src"), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def repository(folder: Path, tag: str = "") -> Path:
    git(folder, "init")
    git(folder, "add", "--all")
    git(folder, "commit", "--message", "first", "--allow-empty")
    if tag:
        git(folder, "tag", tag)
    return folder


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A repository of this code alone."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    shutil.copy(ROOT / ".gitattributes", folder)
    (folder / ".gitignore").write_text("__pycache__/\n")
    return repository(folder)


@pytest.fixture
def archive(checkout, tmp_path) -> Path:
    """What `git archive` makes of it, unpacked in somebody's repository, which has a tag."""
    outer = tmp_path / "theirs"
    outer.mkdir()
    repository(outer, tag="v9.9")
    git(checkout, "archive", "--output", str(tmp_path / "code.zip"), "--prefix", "code/", "HEAD")
    shutil.unpack_archive(tmp_path / "code.zip", outer)
    return outer / "code"


def test_a_checkout_is_described_with_its_tag_and_its_changes(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    assert version(checkout) == head[:7]
    git(checkout, "tag", "v1.0")
    assert version(checkout) == "v1.0"
    (checkout / "src/weightdecay/version.py").open("a").write("\n")
    assert version(checkout) == "v1.0-dirty"


def test_an_archive_knows_its_commit_and_takes_no_tag_of_the_repository_around_it(archive, checkout):
    assert version(archive) == git(checkout, "rev-parse", "HEAD")[:7]


def test_code_copied_without_its_history_is_unknown(checkout, archive):
    shutil.copy(checkout / "src/weightdecay/commit.py", archive / "src/weightdecay/commit.py")
    assert version(archive) == "unknown"


def test_code_that_lies_untracked_at_the_top_of_a_repository_is_not_its_own(checkout, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    repository(mine, tag="v8.8")
    shutil.copytree(checkout / "src", mine / "src")
    assert version(mine) == "unknown"


def test_no_variable_of_git_changes_what_is_asked(checkout, archive):
    head, outer = git(checkout, "rev-parse", "HEAD")[:7], str(archive.parent)
    for environment in (
        {"GIT_DIR": f"{outer}/.git"},
        {"GIT_DIR": f"{outer}/.git", "GIT_WORK_TREE": outer},
        {"GIT_DIR": "/nowhere"},
        {"GIT_INDEX_FILE": "/nowhere", "GIT_OBJECT_DIRECTORY": "/nowhere"},
        {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.bare", "GIT_CONFIG_VALUE_0": "true"},
    ):
        assert version(checkout, **environment) == head
        assert version(archive, **environment) == head


def test_a_checkout_of_another_owner_is_described(checkout, tmp_path):
    """Git itself is made to believe so, as only root could give the files away."""
    wrapper = tmp_path / "bin/git"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nGIT_TEST_ASSUME_DIFFERENT_OWNER=1 exec {GIT} "$@"\n')
    wrapper.chmod(0o755)
    refused = subprocess.run([wrapper, "-C", checkout, "describe", "--always"], capture_output=True, check=False)
    assert b"dubious ownership" in refused.stderr
    assert version(checkout, PATH=f"{wrapper.parent}:{os.environ['PATH']}") == git(checkout, "rev-parse", "HEAD")[:7]


def test_without_git_an_archive_knows_its_commit_and_a_checkout_says_unknown(checkout, archive, tmp_path):
    (tmp_path / "empty").mkdir()
    assert version(archive, PATH=str(tmp_path / "empty")) == git(checkout, "rev-parse", "HEAD")[:7]
    assert version(checkout, PATH=str(tmp_path / "empty")) == "unknown"


def test_a_git_that_fails_or_prints_junk_is_unknown(checkout, tmp_path):
    wrapper = tmp_path / "bin/git"
    wrapper.parent.mkdir()
    for script in ("exit 1", "printf '\\377\\376'", "true"):
        wrapper.write_text(f"#!/bin/sh\n{script}\n")
        wrapper.chmod(0o755)
        assert version(checkout, PATH=f"{wrapper.parent}:{os.environ['PATH']}", PYTHONUTF8="1") == "unknown"
