"""The programs of experiments as modules, for tests."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

EXPERIMENTS = Path(__file__).parents[1] / "experiments"


def load_program(experiment: str, name: str) -> ModuleType:
    """experiments/<experiment>/<name>.py as a module; its neighbours are found as when it is run from a shell."""
    folder = EXPERIMENTS / experiment
    specification = importlib.util.spec_from_file_location(f"{experiment}_{name}", folder / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.path.insert(0, str(folder))
    try:
        specification.loader.exec_module(module)
    finally:
        sys.path.remove(str(folder))
        for neighbour in folder.glob("*.py"):
            sys.modules.pop(neighbour.stem, None)
    return module
