"""What a configuration and an experiment's programs name differently is found before anything is trained."""

import shutil
from pathlib import Path

import pytest

from tests.test_table import document, load, scales
from weightdecay import consistency
from weightdecay.config import Config, Criterion, load_config
from weightdecay.consistency import Named
from weightdecay.errors import ConfigError

CONFIGS = sorted(Path(__file__).parents[1].glob("experiments/*/config.yaml"))
CLAIMS = """
from helpers import low_enough
from weightdecay.claims import model as ledger

def judge(results, criteria):
    t = {id: words.thresholds for id, words in criteria.items()}
    parts = {"A1": falls(results, t["A1"]), "A2": low_enough(results, t["A2"])}
    return [ledger.claim(id, "blobs", criteria, *found) for id, found in parts.items()]

def falls(results, limits):
    def inner(others):
        return [others[f"{end}_fall"] for end, _ in {"small": 1, "large": 2}.items()]
    return inner(limits), [limits["most"] for _ in results]
"""
HELPERS = """
def low_enough(results, t):
    return sum(lambda value: value < t["low"] for value in results)
"""
FIGURES = "def draw(inputs):\n    return inputs.config.criteria['A1'].thresholds['most'], inputs.claims['A2']\n"
THRESHOLDS = {"A1": {"small_fall": 0.1, "large_fall": 0.2, "most": 1.0}, "A2": {"low": 1.0}}


def criterion(thresholds: dict) -> dict:
    return {"source": "S1", "statement": "It falls.", "criterion": "Fall > 0.", "thresholds": thresholds}


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """`experiment(changes of its files)`: the configuration of an experiment whose programs fit it otherwise."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "experiments" / "blobs"
    folder.mkdir(parents=True)

    def make(criteria=THRESHOLDS, computations=None, **files) -> Config:
        written = {"claims": CLAIMS, "helpers": HELPERS, "figures": FIGURES, "train": "", "compute": "", **files}
        for name, text in written.items():
            path = folder / f"{name}.py"
            path.unlink(missing_ok=True)
            if text is not None:
                path.write_text(text, encoding="utf-8")
        words = {id: criterion(thresholds) for id, thresholds in criteria.items()}
        every = scales({}, computations=computations or {})
        return load(tmp_path / "experiments", document(criteria=words, scales=every))

    return make


def refusal(config: Config) -> str:
    with pytest.raises(ConfigError) as caught:
        consistency.check({"blobs": config})
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    return str(caught.value)


def test_what_fits_passes(experiment):
    consistency.check({"blobs": experiment()})


@pytest.mark.parametrize("name", consistency.NEEDED)
def test_a_missing_program_is_named(experiment, name):
    said = refusal(experiment(**{name.removesuffix(".py"): None}))
    assert said == f"experiments/blobs/{name} is missing: an experiment needs train.py, claims.py, figures.py."


@pytest.mark.parametrize(
    ("criteria", "said"),
    [
        ({"A1": THRESHOLDS["A1"]}, "claims.py, line 7, reads A2, for which experiments/blobs/config.yaml has no crit"),
        ({"A1": THRESHOLDS["A1"], "A3": {"low": 1.0}}, "claims.py, line 7, reads A2, for which"),
        ({**THRESHOLDS, "A3": {}}, "config.yaml: criteria.A3 is judged by nothing in experiments/blobs/claims.py."),
        ({**THRESHOLDS, "A2": {}}, "helpers.py, line 3, reads a threshold low, which experiments/blobs/config.yaml"),
        (
            {**THRESHOLDS, "A2": {"lov": 1.0}},
            "helpers.py, line 3, reads a threshold low, which experiments/blobs/config.yaml does not have (did you",
        ),
        (
            {**THRESHOLDS, "A1": {"small_fal": 0.1, "large_fall": 0.2, "most": 1.0}},
            "config.yaml: criteria.A1.thresholds.small_fal is read by nothing in experiments/blobs.",
        ),
        (
            {**THRESHOLDS, "A2": {"low": 1.0, "lowest": 2.0}},
            "config.yaml: criteria.A2.thresholds.lowest is read by nothing in experiments/blobs.",
        ),
    ],
)
def test_a_claim_or_threshold_of_another_name_is_named(experiment, criteria, said):
    assert said in refusal(experiment(criteria))


def test_a_name_changed_in_a_program_is_named(experiment):
    more = CLAIMS.replace('t["A2"])}', 't["A2"]), "A7": ([], results)}')
    assert "claims.py judges A7, for which experiments/blobs/config.yaml has no" in refusal(experiment(claims=more))
    called = CLAIMS.replace("    return [ledger", '    ledger.claim("A7", "blobs", criteria, [])\n    return [ledger')
    assert "claims.py judges A7, for which" in refusal(experiment(claims=called))
    assert "reads a threshold mots" in refusal(experiment(claims=CLAIMS.replace("most", "mots")))
    assert "thresholds.low is read by nothing" in refusal(experiment(helpers=HELPERS.replace('t["low"]', "1")))


def test_figures_are_read_too(experiment):
    for id in ("A1", "A2"):
        assert "figures.py, line 2, reads A7, for which" in refusal(experiment(figures=FIGURES.replace(id, "A7")))
    assert "figures.py, line 2, reads a threshold mots" in refusal(experiment(figures=FIGURES.replace("most", "mots")))
    for name in ("figures", "helpers"):
        said = refusal(experiment(**{name: "def draw(:\n"}))
        assert said.startswith(f"experiments/blobs/{name}.py, line 1, is not Python.")


OTHER = """
    t = criteria["A1"].thresholds
    print(t["most"])
"""
BRANCHES = """
    if results:
        t = criteria["A1"].thresholds
    else:
        t = criteria["A2"].thresholds
    print(t["most"], t["low"])
"""
RIGHT = {  # what may stand in a `judge(results, criteria)` that never ends in a KeyError
    "either of two claims": BRANCHES,
    "either of two claims, and something else": BRANCHES + '    t: dict = {"high": 1}\n    t["high"]\n',
    "names of sources": '    {"S1": "Smith", "S0": "Jones"}\n',
    "a word for each claim and source": '    {"A1": "first", "S1": "second", "S2": "third", "S3": "fourth"}\n',
    "set again": OTHER + '    t = {"high": 1}\n    t["high"]\n',
    "set again, annotated": OTHER + '    t: dict = {"high": 1}\n    t["high"]\n',
    "set by with": OTHER + '    with open("x") as t:\n        t["high"]\n',
    "set by a loop": OTHER + '    for t in [{"high": 1}]:\n        print(t["high"])\n',
    "set by a comprehension": OTHER + '    [t["high"] for t in [{"high": 1}]]\n',
    "set by a lambda": OTHER + '    (lambda t: t["high"])({"high": 1})\n',
    "set by a function within": OTHER + '    def t(): pass\n    t["high"]\n',
    "set by an import": OTHER + '    import json as t\n    t["high"]\n',
    "grown": OTHER + '    t |= {"high": 1}\n    t["high"]\n',
    "grown by a key": OTHER + '    t["high"] = 1\n    t["high"]\n',
    "set by except": OTHER + '    try:\n        pass\n    except Exception as t:\n        pass\n    t["high"]\n',
    "set by match": OTHER + '    match results:\n        case t:\n            t["high"]\n',
    "set by match of a mapping": OTHER + '    match results:\n        case {**t}:\n            t["high"]\n',
    "set by :=": OTHER + '    if (t := {"high": 1}):\n        t["high"]\n',
    "tried": OTHER + '    try:\n        t["high"]\n    except KeyError:\n        criteria["A9"]\n',
    "asked for": OTHER + '    t["high"] if "high" in t else criteria["A9"] if "A9" in criteria else 0\n',
    "of something else": '    results.criteria["A9"], of.criteria["A9"].thresholds["high"], results.claims["A9"]\n',
    "grown by an update": OTHER + '    t.update(high=1)\n    t["high"]\n',
    "handed to one who takes other things too": OTHER + '    pick(t, 0), pick({"high": 1}, 1)\n',
    "handed over a star": OTHER + "    pick(*results, t)\n",
    "handed to a function within": OTHER + '    def pick(x, all): return x["A9"]\n    pick(t, 0)\n',
    "other arguments": '    def inner(criteria): return criteria["A9"]\n    inner({"A9": 1})\n',
    "a dictionary of dictionaries": '    t = {id: {"high": 1} for id in criteria}\n    t["A1"]["high"]\n',
}
PICK = '\ndef pick(x, all): return x["high"] if all else x["most"]\n'


@pytest.mark.parametrize("body", RIGHT.values(), ids=RIGHT)
def test_what_is_right_passes(experiment, body):
    """What a claims.py of somebody else may hold."""
    ours = CLAIMS.replace("t = {", "every = {").replace('t["A', 'every["A')
    claims = ours.replace("criteria):\n", f"criteria):\n{body}", 1)
    compile(claims, "claims.py", "exec")
    consistency.check({"blobs": experiment(claims=claims + PICK)})


GENERIC = "def main(config):\n    return [words.thresholds['enough'] for id, words in config.criteria.items()]\n"
MADE = {  # how else a program may name A1's threshold small_fall, and A2's low
    "by adding": ('others[f"{end}_fall"]', 'others[end + "_fall"]'),
    "by %": ('others[f"{end}_fall"]', 'others["%s_fall" % end]'),
    "by format": ('others[f"{end}_fall"]', 'others["{}_fall".format(end)]'),
    "as arguments": ('low_enough(results, t["A2"])', 'lowest(**t["A2"])'),
    "in a module that is imported whole": ("from helpers import low_enough", "import helpers"),
    "in a module that is loaded otherwise": ("from helpers import low_enough", "low_enough = load('hel' 'pers')"),
}


@pytest.mark.parametrize(("old", "new"), MADE.values(), ids=MADE)
def test_names_that_are_put_together_pass(experiment, old, new):
    lowest = new.startswith("lowest")
    claims = CLAIMS.replace(old, new) + "\ndef lowest(low): return low\n" * lowest
    consistency.check({"blobs": experiment(claims=claims, helpers="" if lowest else HELPERS)})


def test_ids_that_are_taken_from_the_configuration_pass(experiment):
    """As tests/checkout.py has them: every criterion in turn, in no function `judge`."""
    consistency.check({"blobs": experiment({"A1": {"enough": 1.0}}, claims=GENERIC, figures="")})
    many = {f"A{number}": {"enough": 1.0} for number in range(1, 6)}
    special = GENERIC.replace("['enough']", "['enough'] if id != 'A3' else 0")
    consistency.check({"blobs": experiment(many, claims=special, figures="")})
    assert "thresholds.enouh is read by nothing" in refusal(
        experiment({"A1": {"enouh": 1.0}}, claims=GENERIC, figures="")
    )


def test_a_file_that_nothing_imports_need_not_be_python(experiment, tmp_path):
    config = experiment()
    (tmp_path / "experiments" / "blobs" / "notes.py").write_text("%matplotlib inline\n", encoding="utf-8")
    consistency.check({"blobs": config})


@pytest.mark.parametrize(
    ("computations", "said"),
    [
        ({"cubes": {}}, "cubes is no function of experiments/blobs/compute.py (known are squares)."),
        ({"squares": {"count": 3, "scal": 1.0}}, "squares.scal is no argument of squares (did you mean scale?)."),
        ({"squares": {"scale": 1.0}}, "squares.count is missing: experiments/blobs/compute.py needs it."),
    ],
)
def test_a_computation_that_is_not_there_or_takes_other_arguments_is_named(experiment, computations, said):
    program = "def squares(*, count: int, scale: float = 1.0):\n    return count * scale\n"
    assert said in refusal(experiment(computations=computations, compute=program))
    consistency.check({"blobs": experiment(computations={"squares": {"count": 3}}, compute=program)})


def test_two_experiments_cannot_have_a_claim_of_one_id(experiment, tmp_path):
    config = experiment()
    (tmp_path / "experiments" / "others").symlink_to("blobs")
    with pytest.raises(ConfigError, match=r"^A1 is a claim of both experiments/blobs and experiments/others\.$"):
        consistency.check({"blobs": config, "others": config})


@pytest.mark.parametrize("command", [("snakemake", "--cores", "1"), ("weightdecay", "train", "first")])
def test_nothing_is_trained_where_a_threshold_was_renamed(checkout, command):
    checkout.edit("experiments/first/config.yaml", "enough: 1.0", "enouh: 1.0")
    before = sorted(checkout.folder.glob("results/**/*"))
    done = checkout.run(*command)
    said = "criteria.A1.thresholds.enouh is read by nothing in experiments/first."
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert f"error: experiments/first/config.yaml: {said}" in done.stderr
    assert sorted(checkout.folder.glob("results/**/*")) == before


def refused(path: Path, config: Config, named: Named, criteria: dict) -> bool:
    try:
        consistency.check_claims(path, config.model_copy(update={"criteria": criteria}), named)
    except ConfigError:
        return True
    return False


UNFOLLOWED = {
    "curve_fitting": {"residual", "solver", "multiplier"},
    "tuning_rules": {"small_low", "small_high", "large_low", "large_high"},
}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_every_single_renaming_in_every_experiment_is_found(path):
    """Each claim and each threshold, renamed, left out, or given to no one.

    What passes: a threshold that one claim lacks, but another has; and those of `UNFOLLOWED`, if they are left out.
    """
    config, named = load_config(path), Named.of(path.parent)
    consistency.check_one(path, config)
    criteria, passed = config.criteria, set()
    for id, words in criteria.items():
        without = {other: its for other, its in criteria.items() if other != id}
        assert refused(path, config, named, without)
        assert refused(path, config, named, without | {"Z20": words})
        others = {name for its in without.values() for name in its.thresholds}
        for name in words.thresholds:
            rest = {other: its for other, its in words.thresholds.items() if other != name}
            for thresholds in (rest, rest | {f"{name}renamed": 1.0}, words.thresholds | {f"{name}2": 1.0}):
                changed = Criterion(**words.model_dump() | {"thresholds": thresholds})
                if not refused(path, config, named, criteria | {id: changed}):
                    assert thresholds == rest, (id, name, thresholds)
                    passed |= {name} - others
    assert refused(path, config, named, criteria | {"Z20": words})
    assert passed == UNFOLLOWED.get(config.experiment, set())


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_every_claim_and_threshold_that_is_renamed_in_the_programs_is_found(path, tmp_path):
    """Each claim's id, and each threshold, wherever a text of a program is that name."""
    config = load_config(path)
    folder = tmp_path / path.parent.name
    shutil.copytree(path.parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    programs = {file: file.read_text(encoding="utf-8") for file in folder.glob("*.py")}
    thresholds = {name for words in config.criteria.values() for name in words.thresholds}
    written = {name for name in thresholds if any(f'"{name}"' in text for text in programs.values())}
    for name in sorted({*config.criteria, *written}):
        new = f"{name[0]}97" if name in config.criteria else f"{name}renamed"
        for file, text in programs.items():
            file.write_text(text.replace(f'"{name}"', f'"{new}"'), encoding="utf-8")
        assert refused(path, config, Named.of(folder), config.criteria), name
    assert len(thresholds - written) <= 4  # put together: "small_low"
