"""The set-up says the same thing everywhere, and what is installed is what it says."""

from importlib.metadata import version
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def pins() -> dict[str, str]:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("#")[0].strip().split("==") for line in lines if not line.startswith("#"))


def test_every_requirement_is_pinned_and_has_a_reason():
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        requirement, _, reason = line.partition("#")
        assert reason.strip()
        assert not requirement or "==" in requirement


def test_conda_and_pip_install_the_same_versions():
    dependencies = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    from_pip = next(entry["pip"] for entry in dependencies if isinstance(entry, dict))
    assert dict(entry.split("==") for entry in from_pip) == pins()


def test_the_pinned_versions_are_installed():
    assert {name: version(name).split("+")[0] for name in pins()} == pins()
