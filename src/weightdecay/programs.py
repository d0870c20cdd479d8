"""Does an experiment's configuration fit its programs? Found in their source text, before anything is trained.

claims.py judges claims by their ids and reads thresholds by their names, compute.py has functions with arguments:
what is renamed in one place alone would otherwise end in a KeyError after all training. Nothing is imported or run.
What the source text does not show, a name put together at run time, say, passes.
"""

from collections.abc import Mapping
from pathlib import Path

from weightdecay.config import SCALES, Config
from weightdecay.errors import ConfigError
from weightdecay.modules import module_of
from weightdecay.reads import Readers
from weightdecay.refusals import closest

NEEDED = ("train.py", "claims.py", "figures.py")


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
    check_claims(path, config, Readers.of(path.parent))


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


def check_claims(path: Path, config: Config, readers: Readers) -> None:
    """ConfigError where claims or thresholds of the configuration at `path` are not those that its programs read."""
    claims = path.with_name("claims.py")
    for id in readers.judged:
        if id not in config.criteria:
            raise ConfigError(f"{claims} judges {id}, for which {path} has no criterion.")
    for id in config.criteria if readers.judged else ():
        if id not in readers.judged:
            raise ConfigError(f"{path}: criteria.{id} is judged by nothing in {claims}.")
    for file, line, id, name in readers.reads:
        if id not in config.criteria:
            raise ConfigError(f"{file}, line {line}, reads {id}, for which {path} has no criterion.")
        known = config.criteria[id].thresholds
        if name is not None and name not in known:
            said = closest(name, known) if known else ""
            raise ConfigError(f"{file}, line {line}, reads {id}'s threshold {name}, which {path} does not have{said}.")
    for id, words in config.criteria.items():
        followed = id in readers.given and id not in readers.lost
        read = {name for *_, of, name in readers.reads if of == id} | readers.of_any
        for name in words.thresholds:
            if name not in read and (followed or not readers.written(name)):
                raise ConfigError(f"{path}: criteria.{id}.thresholds.{name} is read by nothing in {path.parent}.")
