"""The findings of this checkout and their modules, for tests."""

import importlib
from pathlib import Path
from types import ModuleType

from weightdecay.finding import Finding, findings

ROOT = Path(__file__).parents[1]
EXPERIMENTS = ROOT / "experiments"


def finding(name: str) -> Finding:
    return findings(ROOT)[name]


def load_program(experiment: str, name: str) -> ModuleType:
    """experiments/<experiment>/<name>.py as a module."""
    findings(ROOT)
    return importlib.import_module(f"experiments.{experiment}.{name}")
