"""Registries of data sets, layers, losses, optimisers and networks by name. To add one, add one file to its folder.

A file registers what it defines under the file's own name. So names are known, and misspelt ones are refused, without
any import: torch and Numba are loaded when something is first used. A layer that is defined elsewhere can be registered
at run time in the same way.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from weightdecay.errors import ConfigError
from weightdecay.fingerprint import parsed
from weightdecay.refusals import closest, short

if TYPE_CHECKING:
    from weightdecay.datasets import DataSet
    from weightdecay.ensemble.layer import Layer
    from weightdecay.ensemble.loss import Loss
    from weightdecay.ensemble.network import Network
    from weightdecay.ensemble.optimizer import Optimizer


class Named(Protocol):
    """A thing that can be registered, because it has a name."""

    @property
    def name(self) -> str: ...


T = TypeVar("T", bound=Named)
HERE = Path(__file__).parent


class Registry(Generic[T]):
    """All things of one kind by name; `folder`, below this package, has one file for each."""

    def __init__(self, kind: str, folder: str):
        self.kind, self.folder = kind, folder
        self.files = {path.stem: path for path in sorted((HERE / folder).glob("*.py")) if path.stem != "__init__"}
        self.known: dict[str, T] = {}  # what has been registered so far

    def names(self) -> list[str]:
        """Return every known name, sorted, without importing anything."""
        return sorted({*self.files, *self.known})

    def __contains__(self, name: str) -> bool:
        """Return whether a name is known, without importing anything."""
        return name in self.known or name in self.files

    def get(self, name: str) -> T:
        """Import and return what is registered under a name; ConfigError for an unknown name, with the closest one."""
        if name not in self.known:
            if name not in self.files:
                raise ConfigError(f"{self.kind} is {short(name)}, which is not known{closest(name, self.names())}.")
            import_module(f"{__package__}.{self.folder.replace('/', '.')}.{name}")
            if name not in self.known:
                raise ConfigError(f"{self.files[name]} registers no {self.kind} of the name {name}.")
        return self.known[name]

    def all(self) -> dict[str, T]:
        """Import and return everything that is registered, by name."""
        return {name: self.get(name) for name in self.names()}

    def register(self, thing: T) -> T:
        """Register `thing` under its attribute `name`, and return it, so that this can decorate a class."""
        if self.known.setdefault(thing.name, thing) is not thing:
            raise ConfigError(f"{self.kind} {thing.name} is registered twice.")
        return thing

    def declared(self, name: str, attribute: str, default: Any = None) -> Any:
        """Return a constant that the class in a file declares, or `default`. It is read from the text, not imported."""
        if name in self.known:
            return getattr(self.known[name], attribute, default)
        return _constants(self.files[name]).get(attribute, default)


@cache
def _constants(file: Path) -> dict[str, Any]:
    """Return the literal values that a file's class assigns: the class whose `name` is the name of the file."""
    for node in parsed(file).body:
        found = dict(_assigned(node.body)) if isinstance(node, ast.ClassDef) else {}
        if found.get("name") == file.stem:
            return found
    return {}


def _assigned(body: list[ast.stmt]) -> Iterator[tuple[str, Any]]:
    for node in body:
        target = (
            node.targets[0]
            if isinstance(node, ast.Assign)
            else node.target
            if isinstance(node, ast.AnnAssign)
            else None
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant | ast.Tuple):
            yield target.id, ast.literal_eval(value)


LAYERS: Registry[type[Layer]] = Registry("layer", "ensemble/layers")
LOSSES: Registry[type[Loss]] = Registry("loss", "ensemble/losses")
OPTIMIZERS: Registry[type[Optimizer]] = Registry("optimizer", "ensemble/optimizers")
NETWORKS: Registry[Network] = Registry("network", "ensemble/networks")
DATASETS: Registry[DataSet] = Registry("dataset", "datasets")
