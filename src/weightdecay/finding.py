"""Findings: what each folder of experiments/ trains, computes, claims and shows.

    experiments/<name>/__init__.py   what the finding is about, and `finding = Finding(__name__)`
                       config.yaml   what is trained at each scale, and the criteria of its claims
                       train.py      PROTOCOL: how a row of the table is trained
                       compute.py    functions marked @finding.computation, if something needs no training
                       claims.py     functions marked @finding.claim("A1"), and @finding.measured
                       figures.py    functions marked @finding.figure("A1", "A2") and @finding.table("A1")

The decorators register these functions. A module is imported only when something in it is needed, because torch and
matplotlib take seconds to load.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from weightdecay import module_text
from weightdecay.config import Config, Criterion, ScaleName, load_config, scales_of
from weightdecay.errors import ConfigError
from weightdecay.module_text import Signature
from weightdecay.refusals import closest

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from weightdecay.claims.model import Claim, Part
    from weightdecay.ensemble.state import Protocol
    from weightdecay.results import Results

    Judged = tuple[Sequence[Part], str]  # the parts of a claim, and its note
    Judge = Callable[..., Judged]

Function = TypeVar("Function", bound=Callable[..., Any])
Made = TypeVar("Made")
Drawn = TypeVar("Drawn", covariant=True)
EXPERIMENTS = "experiments"
NAME = "[A-Za-z0-9][A-Za-z0-9_]*"  # the names that a finding's folder may have: it becomes a module


@dataclass(frozen=True)
class Shown(Generic[Drawn]):
    """A figure or a table of the paper: the function that makes it, and the claims that it shows."""

    make: Callable[[Inputs], Drawn]
    claims: tuple[str, ...]


@dataclass(frozen=True)
class Inputs:
    """The inputs of a figure or table: the results of one scale, and the claims as judged by them."""

    scale: str
    results: Results
    config: Config
    claims: Mapping[str, Claim]  # by id
    _made: dict[Callable[..., Any], Any] = field(default_factory=dict, init=False, repr=False)

    def made(self, kind: Callable[[Results], Made]) -> Made:
        """Return `kind(results)`. It is made once for all figures, so they show the same curves and events."""
        if kind not in self._made:
            self._made[kind] = kind(self.results)
        return self._made[kind]


Marking = Callable[[Callable[[Inputs], Made]], Callable[[Inputs], Made]]  # a decorator of functions of Inputs


class Finding:
    """A finding: one folder of experiments/, and the functions that its modules register here."""

    def __init__(self, package: str):
        """`package`: the `__name__` of the folder's `__init__.py`."""
        self.package, self.name = package, package.rpartition(".")[2]
        self.folder = Path(sys.modules[package].__path__[0])
        self._measured: Callable[[Results], object] = lambda results: results
        self._judges: dict[str, Judge] = {}
        self._of_divergence: dict[str, Collection[str]] = {}
        self._figures: dict[str, Shown[Figure]] = {}
        self._tables: dict[str, Shown[str]] = {}
        self._computations: dict[str, Callable[..., pd.DataFrame]] = {}

    @cached_property
    def config(self) -> Config:
        """The checked config.yaml; ConfigError where something in it is wrong."""
        return load_config(self.folder / "config.yaml")

    # Decorators for the modules of the finding

    def measured(self, make: Function) -> Function:
        """Mark the class or function `make`: judges receive `make(results)` instead of the results."""
        self._measured = make
        return make

    def claim(self, *ids: str, of_divergence: Collection[str] = ()) -> Callable[[Function], Function]:
        """Mark the judge of a claim: a function `(measured, *, <thresholds>) -> parts, note`.

        The thresholds of the claim's criterion in config.yaml are its keyword-only arguments. `of_divergence`: the
        names of the parts that assert where training diverges, as the judge writes them.
        """

        def register(judge: Function) -> Function:
            if isinstance(of_divergence, str):
                raise ConfigError(f"{self._place('claims')}: write of_divergence=[{of_divergence!r}], a list.")
            for id in ids:
                if self._judges.setdefault(id, judge) is not judge:
                    raise ConfigError(
                        f"{self._place('claims')} judges {id} twice, by {judge.__name__} the second time."
                    )
                self._of_divergence[id] = of_divergence
            return judge

        return register

    def figure(self, *claims: str) -> Marking[Figure]:
        """Mark a function `(inputs) -> Figure` that shows these claims; paper/figures/<finding>-<function> is drawn."""
        return self._shown(self._figures, claims)

    def table(self, *claims: str) -> Marking[str]:
        """Mark a function `(inputs) -> str` that returns a LaTeX table: paper/tables/<finding>-<function>.tex."""
        return self._shown(self._tables, claims)

    def _shown(self, register: dict[str, Shown[Made]], claims: tuple[str, ...]) -> Marking[Made]:
        if any(callable(each) for each in claims):
            raise ConfigError(f"{self._place('figures')}: write @finding.figure() or @finding.table(), with brackets.")

        def add(make: Callable[[Inputs], Made]) -> Callable[[Inputs], Made]:
            name = make.__name__.removesuffix("_table")
            if name in register:
                raise ConfigError(f"{self._place('figures')} has two of the name {name}.")
            register[name] = Shown(make, claims)
            return make

        return add

    def computation(self, function: Function) -> Function:
        """Mark a function of compute.py that returns a table. Each scale in config.yaml gives its arguments by name."""
        self._computations[function.__name__] = function
        return function

    # What the modules have registered

    @property
    def protocol(self) -> Protocol:
        """PROTOCOL of train.py, which says how a row of the table is trained."""
        protocol = getattr(self._load("train"), "PROTOCOL", None)
        if protocol is None:
            raise ConfigError(f"{self._place('train')} has no PROTOCOL: it must be a weightdecay Protocol.")
        return protocol

    @property
    def computations(self) -> Mapping[str, Callable[..., pd.DataFrame]]:
        """The functions of compute.py, by name."""
        self._load("compute")
        return self._computations

    @property
    def figures(self) -> Mapping[str, Shown[Figure]]:
        """The figures, by name, in the order in which they are drawn."""
        self._load("figures")
        return self._figures

    @property
    def tables(self) -> Mapping[str, Shown[str]]:
        """The LaTeX tables, by name."""
        self._load("figures")
        return self._tables

    def judge(self, results: Results, scale: ScaleName) -> list[Claim]:
        """Judge the claims by the results of one scale; return them in the order of config.yaml.

        A convention for diverged runs decides no part: see `claims.judging.verdicts`.
        """
        from weightdecay.claims.judging import claim, verdicts

        self._check_judges()

        def judged(found: Results, criteria: Mapping[str, Criterion]) -> list[Claim]:
            measured = self._measured(found)
            return [
                claim(id, self.name, criteria, *self._judges[id](measured, **words.thresholds))
                for id, words in criteria.items()
            ]

        return [
            replace(one, scale=scale) for one in verdicts(judged, results, self.config.criteria, self._of_divergence)
        ]

    def check(self) -> None:
        """Raise ConfigError if the modules and config.yaml do not fit together, as far as this shows before training.

        It imports claims.py and figures.py, but neither train.py nor compute.py, which need torch: it reads the names
        of functions and arguments in the text of compute.py.
        """
        if not (self.folder / "train.py").is_file():
            raise ConfigError(f"{self._place('train')} is missing: it says how a row of the table is trained.")
        self._check_computations()
        self._check_judges()
        self._check_parts()
        for name, shown in [*self.figures.items(), *self.tables.items()]:
            for id in shown.claims:
                if id not in self.config.criteria:
                    raise ConfigError(f"{self._place('figures')}: {name} shows {id}, which is no claim here.")

    def _check_judges(self) -> None:
        self._load("claims")
        criteria = self.config.criteria
        for id, judge in self._judges.items():
            if id not in criteria:
                raise ConfigError(
                    f"{self._place('claims')} judges {id}, for which {self.folder / 'config.yaml'} has no criterion"
                    f"{closest(id, criteria)}."
                )
            self._check_thresholds(id, judge, criteria[id].thresholds)
        for id in criteria:
            if id not in self._judges:
                raise ConfigError(f"{self.folder / 'config.yaml'}: criteria.{id} is judged by nothing in claims.py.")

    def _check_thresholds(self, id: str, judge: Judge, thresholds: Mapping[str, float]) -> None:
        parameters = inspect.signature(judge).parameters.values()
        named = {each.name: each.default is each.empty for each in parameters if each.kind is each.KEYWORD_ONLY}
        taken = Signature(named, any(each.kind is each.VAR_KEYWORD for each in parameters))
        self._check_arguments(f"criteria.{id}.thresholds", thresholds, f"{judge.__name__} in claims.py", taken)

    def _check_arguments(self, key: str, given: Collection[str], function: str, taken: Signature) -> None:
        """ConfigError unless a key of config.yaml gives what a function asks for."""
        where = f"{self.folder / 'config.yaml'}: {key}"
        for name in given:
            if name not in taken.needed and not taken.takes_others:
                raise ConfigError(f"{where}.{name} is no argument of {function}{closest(name, taken.needed)}.")
        for name, needed in taken.needed.items():
            if needed and name not in given:
                raise ConfigError(f"{where} lacks {name}, which {function} asks for.")

    def _check_computations(self) -> None:
        place, config = self._place("compute"), self.folder / "config.yaml"
        functions = module_text.computations(place)
        computed = {scale: given.computations for scale, given in scales_of(self.config).items()}
        for scale, computations in computed.items():
            for name, settings in computations.items():
                key = f"scales.{scale}.computations.{name}"
                if name not in functions:
                    known = closest(name, functions) if functions else ""
                    raise ConfigError(f"{config}: {key} is no @finding.computation in compute.py{known}.")
                self._check_arguments(key, settings, f"{name} in compute.py", functions[name])
        for name in functions:
            if not any(name in computations for computations in computed.values()):
                raise ConfigError(f"{place} computes {name}, for which no scale of {config} has arguments.")

    def _check_parts(self) -> None:
        place = self._place("claims")
        for id, names in self._of_divergence.items():
            for name in names:
                if not module_text.writes(place, name):
                    raise ConfigError(f"{place}: of_divergence of {id} names {name}, but no part has that name.")

    def _place(self, module: str) -> Path:
        return self.folder / f"{module}.py"

    def _load(self, module: str) -> ModuleType | None:
        """Import a module of the folder; return None if there is none of that name."""
        if not self._place(module).is_file():
            return None
        return imported(f"{self.package}.{module}")


def findings(root: str | Path = ".") -> dict[str, Finding]:
    """Return every finding in root/experiments/ by name; ConfigError if there are none."""
    root = Path(root)
    names = sorted(path.parent.name for path in root.glob(f"{EXPERIMENTS}/*/config.yaml"))
    if not names:
        raise ConfigError(
            f"there is no {root / EXPERIMENTS}/<name>/config.yaml: run from the folder that holds {EXPERIMENTS}/."
        )
    for name in names:
        if not re.fullmatch(NAME, name, re.ASCII):
            raise ConfigError(
                f"{root / EXPERIMENTS / name} cannot be a finding, as its name must consist of letters, digits and _: "
                "rename the folder, or move its config.yaml away."
            )
    _import_experiments(root / EXPERIMENTS)
    return {name: _finding(root, name) for name in names}


def check(chosen: Iterable[Finding]) -> None:
    """Raise ConfigError if the files of a finding do not fit together, or two findings use the same id of a claim."""
    owners: dict[str, Finding] = {}
    for finding in chosen:
        finding.check()
        for id in finding.config.criteria:
            if owners.setdefault(id, finding) is not finding:
                places = f"{owners[id].folder / 'config.yaml'} and {finding.folder / 'config.yaml'}"
                raise ConfigError(f"claim {id} is in both {places}, but ids must be unique over all findings.")


def _finding(root: Path, name: str) -> Finding:
    place = root / EXPERIMENTS / name / "__init__.py"
    finding = getattr(imported(f"{EXPERIMENTS}.{name}"), "finding", None) if place.is_file() else None
    if not isinstance(finding, Finding):
        raise ConfigError(f"{place} must say: finding = Finding(__name__).")
    return finding


def _import_experiments(folder: Path) -> None:
    """Make the folder importable as the package `experiments`, although it is not on Python's path."""
    known = sys.modules.get(EXPERIMENTS)
    path = str(folder.resolve())
    if known is not None and list(known.__path__) == [path]:
        return
    for name in [name for name in sys.modules if name.split(".")[0] == EXPERIMENTS]:
        del sys.modules[name]  # it belongs to another checkout
    package = ModuleType(EXPERIMENTS, "The findings of this checkout.")
    package.__path__ = [path]
    sys.modules[EXPERIMENTS] = package


def imported(name: str) -> ModuleType:
    """Import a module of a finding; ConfigError if it is not valid Python."""
    try:
        return importlib.import_module(name)
    except SyntaxError as error:
        raise ConfigError(f"{error.filename}, line {error.lineno}, is not Python.") from error
