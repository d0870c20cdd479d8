"""Does an experiment's configuration fit its programs? Found in their source text, before anything is trained.

claims.py judges claims by their ids and reads thresholds by their names, compute.py has functions with arguments:
what is renamed in one place alone would otherwise end in a KeyError after all training. Nothing is imported or run.
Only what is wrong beyond doubt is refused. So a name passes that is put together at run time, or read through a
variable that is not always thresholds; and so does a threshold that one claim lacks, but another claim has.
"""

import ast
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from weightdecay.config import SCALES, Config
from weightdecay.errors import ConfigError
from weightdecay.modules import Texts, module_of, modules_of, texts
from weightdecay.reads import Read, reads
from weightdecay.refusals import closest
from weightdecay.setting_types import CLAIM

NEEDED = ("train.py", "claims.py", "figures.py")
CLAIM_CALLS = ("claim", "claims.claim", "ledger.claim")


def check(configs: Mapping[str, Config]) -> None:
    """ConfigError where a program of these experiments, by name, is missing or does not fit the configuration.

    To be called from the folder that holds experiments/.
    """
    judged: dict[str, str] = {}
    for name, config in configs.items():
        check_one(Path("experiments", name, "config.yaml"), config)
        for id in config.criteria:
            if id in judged:
                raise ConfigError(f"{id} is a claim of both experiments/{judged[id]} and experiments/{name}.")
            judged[id] = name


def check_one(path: Path, config: Config) -> None:
    """The same of one experiment, whose configuration lies at `path`."""
    for name in NEEDED:
        if not path.with_name(name).is_file():
            raise ConfigError(f"{path.with_name(name)} is missing: an experiment needs {', '.join(NEEDED)}.")
    _check_computations(path, config)
    check_claims(path, config, Named.of(path.parent))


def _check_computations(path: Path, config: Config) -> None:
    for scale in SCALES:
        for name, arguments in getattr(config.scales, scale).computations.items():
            where, program = f"{path}: scales.{scale}.computations.{name}", path.with_name("compute.py")
            module = module_of(program)
            if name not in module.names:
                raise ConfigError(f"{where} is no function of {program}{closest(name, module.functions)}.")
            if name not in module.functions:
                continue  # imported
            taken = module.functions[name].args
            ordered, named = [*taken.posonlyargs, *taken.args], taken.kwonlyargs
            known = [argument.arg for argument in (*ordered, *named)]
            optional = {argument.arg for argument in ordered[len(ordered) - len(taken.defaults) :]}
            optional |= {argument.arg for argument, given in zip(named, taken.kw_defaults, strict=True) if given}
            for argument in arguments:
                if argument not in known and taken.kwarg is None:
                    raise ConfigError(f"{where}.{argument} is no argument of {name}{closest(argument, known)}.")
            for argument in known:
                if argument not in arguments and argument not in optional:
                    raise ConfigError(f"{where}.{argument} is missing: {program} needs it.")


@dataclass(frozen=True)
class Named:
    """What the programs of a folder name of its criteria."""

    reads: Sequence[Read]
    claims: Texts  # of claims.py and what it imports
    everything: Texts  # of all programs
    judges: Sequence[Collection[str]]  # the keys of each dictionary in `judge`
    called: Collection[str]  # the ids that `claim` is called with

    @classmethod
    def of(cls, folder: Path) -> "Named":
        modules = modules_of(folder, "claims", "figures")
        others = []
        for path in sorted(set(folder.rglob("*.py")) - {module.path for module in modules.values()}):
            with suppress(ConfigError):  # nothing imports it by its name, so it need not be Python
                others.append(module_of(path))
        judge = modules["claims"].functions.get("judge")
        inside = list(ast.walk(judge)) if judge is not None else []
        dictionaries = [node.keys for node in inside if isinstance(node, ast.Dict)]
        calls = [node for node in inside if isinstance(node, ast.Call) and node.args]
        return cls(
            list(reads(modules)),
            Texts(modules_of(folder, "claims").values()),
            Texts([*modules.values(), *others]),
            [{text for key in keys for text in texts(key)} for keys in dictionaries],
            {text for call in calls if ast.unparse(call.func) in CLAIM_CALLS for text in texts(call.args[0])},
        )


def check_claims(path: Path, config: Config, named: Named) -> None:
    """ConfigError where claims or thresholds of the configuration at `path` are not those that its programs name."""
    claims, known = path.with_name("claims.py"), config.criteria
    thresholds = {name for words in known.values() for name in words.thresholds}
    judging = [keys for keys in named.judges if 2 * len(keys & set(known)) > len(keys)]
    for id in sorted(set(named.called).union(*judging) - set(known)):
        if re.fullmatch(CLAIM, id):
            raise ConfigError(f"{claims} judges {id}, for which {path} has no criterion.")
    for read in named.reads:
        if read.of == "criteria" and read.name not in known:
            raise ConfigError(f"{read.place} reads {read.name}, for which {path} has no criterion.")
        if read.of == "thresholds" and read.name not in thresholds:
            said = closest(read.name, thresholds) if thresholds else ""
            raise ConfigError(f"{read.place} reads a threshold {read.name}, which {path} does not have{said}.")
    unnamed = [id for id in known if id not in named.claims]
    if 2 * len(unnamed) < len(known):  # else claims.py takes its ids from the configuration
        for id in unnamed:
            raise ConfigError(f"{path}: criteria.{id} is judged by nothing in {claims}.")
    for id, words in known.items():
        for name in words.thresholds:
            if name not in named.everything:
                raise ConfigError(f"{path}: criteria.{id}.thresholds.{name} is read by nothing in {path.parent}.")
