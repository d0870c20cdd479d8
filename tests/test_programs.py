"""What a configuration and an experiment's programs name differently is found before anything is trained."""

from pathlib import Path

import pytest

from tests.test_grid import document, load, scales
from weightdecay import grid, programs
from weightdecay.errors import ConfigError
from weightdecay.grid import Config, Criterion
from weightdecay.reads import Readers

CONFIGS = sorted(Path(__file__).parents[1].glob("experiments/*/config.yaml"))
CLAIMS = """
from helpers import low_enough
from weightdecay.analysis import claims as ledger

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
        programs.check({"blobs": config})
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    return str(caught.value)


def test_what_fits_passes(experiment):
    programs.check({"blobs": experiment()})


@pytest.mark.parametrize("name", programs.NEEDED)
def test_a_missing_program_is_named(experiment, name):
    said = refusal(experiment(**{name.removesuffix(".py"): None}))
    assert said == f"experiments/blobs/{name} is missing: an experiment needs train.py, claims.py, figures.py."


@pytest.mark.parametrize(
    ("criteria", "said"),
    [
        ({"A1": THRESHOLDS["A1"]}, "claims.py judges A2, for which experiments/blobs/config.yaml has no criterion."),
        ({**THRESHOLDS, "A3": {}}, "config.yaml: criteria.A3 is judged by nothing in experiments/blobs/claims.py."),
        ({**THRESHOLDS, "A2": {}}, "helpers.py, line 3, reads A2's threshold low, which experiments/blobs/config.yaml"),
        (
            {**THRESHOLDS, "A2": {"lov": 1.0}},
            "helpers.py, line 3, reads A2's threshold low, which experiments/blobs/config.yaml does not have (did you",
        ),
        (
            {**THRESHOLDS, "A1": {"small_fall": 0.1, "high_fall": 0.2, "most": 1.0}},
            "claims.py, line 12, reads A1's threshold large_fall, which",
        ),
        (
            {**THRESHOLDS, "A2": {"low": 1.0, "most": 2.0}},  # which A1 has too
            "config.yaml: criteria.A2.thresholds.most is read by nothing in experiments/blobs.",
        ),
    ],
)
def test_a_claim_or_threshold_of_another_name_is_named(experiment, criteria, said):
    assert said in refusal(experiment(criteria))


def test_figures_are_read_too(experiment):
    assert "figures.py, line 2, reads A7, for which" in refusal(experiment(figures=FIGURES.replace("A2", "A7")))
    assert "figures.py, line 2, reads A1's threshold mots" in refusal(
        experiment(figures=FIGURES.replace("most", "mots"))
    )
    assert refusal(experiment(figures="def draw(:\n")).startswith(
        "experiments/blobs/figures.py, line 1, is not Python."
    )


def test_names_that_are_made_at_run_time_pass(experiment):
    """As tests/checkout.py has them: every criterion in turn, in no function `judge`."""
    looped = "def main(config):\n    return [words.thresholds['enough'] for id, words in config.criteria.items()]\n"
    programs.check({"blobs": experiment({"A1": {"enough": 1.0}}, claims=looped, figures="")})
    assert "thresholds.enouh is read by nothing" in refusal(
        experiment({"A1": {"enouh": 1.0}}, claims=looped, figures="")
    )
    lost = CLAIMS.replace("inner(limits)", "inner(dict(limits))")  # then any text of theirs may be the name
    programs.check({"blobs": experiment(claims=lost)})
    mistaken = {**THRESHOLDS, "A1": {"small_fal": 0.1, "large_fall": 0.2, "most": 1.0}}
    assert "thresholds.small_fal is read by nothing" in refusal(experiment(mistaken, claims=lost))


def test_either_of_two_dictionaries_names_what_both_name(experiment):
    chosen = CLAIMS.replace('{"small": 1, "large": 2}.items()', "ends.items()")
    chosen = chosen.replace("    def inner", "    ends = {'small': 1, 'large': 2} if results else {}\n    def inner")
    programs.check({"blobs": experiment(claims=chosen)})
    mistaken = {**THRESHOLDS, "A1": {"small_fal": 0.1, "large_fall": 0.2, "most": 1.0}}
    assert "reads A1's threshold small_fall" in refusal(experiment(mistaken, claims=chosen))


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
    programs.check({"blobs": experiment(computations={"squares": {"count": 3}}, compute=program)})


def test_two_experiments_cannot_have_a_claim_of_one_id(experiment, tmp_path):
    config = experiment()
    (tmp_path / "experiments" / "others").symlink_to("blobs")
    with pytest.raises(ConfigError, match=r"^A1 is a claim of both experiments/blobs and experiments/others\.$"):
        programs.check({"blobs": config, "others": config})


@pytest.mark.parametrize("command", [("snakemake", "--cores", "1"), ("weightdecay", "train", "first")])
def test_nothing_is_trained_where_a_threshold_was_renamed(checkout, command):
    checkout.edit("experiments/first/config.yaml", "enough: 1.0", "enouh: 1.0")
    before = sorted(checkout.folder.glob("results/**/*"))
    done = checkout.run(*command)
    said = "criteria.A1.thresholds.enouh is read by nothing in experiments/first."
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert f"error: experiments/first/config.yaml: {said}" in done.stderr
    assert sorted(checkout.folder.glob("results/**/*")) == before


def refused(path: Path, config: Config, readers: Readers, criteria: dict) -> bool:
    try:
        programs.check_claims(path, config.model_copy(update={"criteria": criteria}), readers)
    except ConfigError:
        return True
    return False


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.parent.name)
def test_every_single_renaming_in_every_experiment_is_found(path):
    """Each claim and each threshold, renamed, left out, or given to no one."""
    config, readers = grid.load_config(path), Readers.of(path.parent)
    programs.check_one(path, config)
    criteria = config.criteria
    assert not readers.lost and set(readers.judged) == set(criteria)
    for id, words in criteria.items():
        without = {other: its for other, its in criteria.items() if other != id}
        assert refused(path, config, readers, without)
        assert refused(path, config, readers, without | {"Z20": words})
        for name in words.thresholds:
            rest = {other: its for other, its in words.thresholds.items() if other != name}
            for thresholds in (rest, rest | {f"{name}s": 1.0}, words.thresholds | {f"{name}_2": 1.0}):
                changed = Criterion(**words.model_dump() | {"thresholds": thresholds})
                assert refused(path, config, readers, criteria | {id: changed}), (id, name, thresholds)
    assert refused(path, config, readers, criteria | {"Z20": words})
