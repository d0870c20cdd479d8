"""What all tests share."""

import shutil
from pathlib import Path

import pytest
from hypothesis import settings

from tests.checkout import Checkout

# No deadline for an example: tests run beside each other on small machines, where a slow moment proves nothing.
settings.register_profile("shared", deadline=None)
settings.load_profile("shared")


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """A checkout in which everything is built at smoke scale, without TeX. For copying."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"))
    checkout.make("--config", "scale=smoke")
    return checkout.folder


@pytest.fixture(scope="session")
def built_and_shipped(built, tmp_path_factory) -> Path:
    """The same with its results shipped. For copying."""
    checkout = copy_of(built, tmp_path_factory.mktemp("shipped"))
    done = checkout.run("weightdecay", "ship", "--scale", "smoke")
    assert done.returncode == 0, done.stderr
    return checkout.folder


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
