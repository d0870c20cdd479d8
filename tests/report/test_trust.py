"""What is read back is checked, and no text of it is a command: claims.json, published numbers, LaTeX."""

import json
import math
import random
import re
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pydantic import TypeAdapter

from tests.programs import EXPERIMENTS, load_program
from weightdecay.claims.judging import claim, judged, reported
from weightdecay.claims.model import read, write
from weightdecay.claims.names import stem_of_claim
from weightdecay.config import Criterion
from weightdecay.errors import ConfigError, ResultError
from weightdecay.report import latex, ledger, published
from weightdecay.report.macros import claim_macros, macros_tex
from weightdecay.results import write_table
from weightdecay.setting_types import ClaimId
from weightdecay.statistics.estimates import UNKNOWN, Estimate

HOSTILE = [
    r"\input{/etc/passwd}",
    r"\immediate\write18{touch x}",
    r"^^5cinput{x}",
    r"\\input|x",
    r"} \end{tabular} \input{x} {",
    r"$\openout3=x$ & \\ % # _ ~",
    r"\csname input\endcsname{x}",
    r"\begin{filecontents}{x} \end{filecontents}",
    "a\nb\t\\par c",
    "[1ex] *x",
    "中文 \u202e 😀 é",
    r"\newcommand{\Scale}{\input{x}}",
]
ESTIMATES = [Estimate(0.5, 0.4, 0.6, 3), Estimate(0.5, 0.4, math.inf, 4), UNKNOWN]


def claims_of(text: str = "loss", experiment: str = "moons", scale: str = "laptop", id: str = "M1") -> list:
    words = {"statement": text, "criterion": text.replace("{", "{{").replace("}", "}}")}
    criteria = {id: Criterion(source=text, kind="stated", fixed="before", **words)}
    parts = [judged(name, text, found, most=1.0) for name, found in zip(("A", "B", "C"), ESTIMATES, strict=True)]
    made = claim(id, experiment, criteria, [*parts, reported("D", text, ESTIMATES[0])], note=text)
    return [replace(made, scale=scale)]


@pytest.fixture
def path(tmp_path) -> Path:
    write(tmp_path / "claims.json", claims_of())
    return tmp_path / "claims.json"


def changed(path: Path, change) -> None:
    rows = json.loads(path.read_text())
    change(rows[0])
    path.write_text(json.dumps(rows))


MUTATIONS = {
    "verdict": [r"\input{x}", "Reproduced", "", None, 1, "reproduced"],  # of undecided parts
    "n": [r"\input{x}", -1, 3.5, "3", None, True, 4, 10**400],
    "id": ["X", "AB1", "A0", "A01", "A100", "a1", "A1\n", r"\A1", "", 1, "Ä1", "A１"],
    "measured": ["nan", "1", r"\input{x}", [], True, 0.6, None, "Infinity"],
    "experiment": ["../x", "a b", "", r"\x", None, "spirals"],
    "scale": ["huge", "paper", 1, None],
    "statement": [None, 1, "a\0b", "\x1b[2J"],
    "parts": [[], None, {}, [1], [{}]],
    "unknown": ["x"],
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in MUTATIONS.items() for value in values])
def test_a_claim_that_is_not_one_is_refused(path, key, value):
    changed(path, lambda row: row.update({key: value}))
    with pytest.raises(ResultError, match=r"claims\.json is damaged or not .*make it again\.$") as caught:
        read(path, "moons", "laptop")
    assert len(str(caught.value).splitlines()) == 1


PART_MUTATIONS = {
    "name": ["A1", "", "x", r"\A", "B"],  # B is another part's
    "n": ["3", 5],
    "verdict": ["good", "refuted"],
    **{"least": ["low"], "most": [r"\x"], "quantity": [None], "more": [1]},
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in PART_MUTATIONS.items() for value in values])
def test_a_part_that_is_not_one_is_refused(path, key, value):
    changed(path, lambda row: row["parts"][0].update({key: value}))
    with pytest.raises(ResultError, match=r"claims\.json is damaged or not .*make it again\.$"):
        read(path)


def test_the_claims_of_another_finding_or_scale_are_refused(path):
    assert [made.id for made in read(path, "moons", "laptop")] == ["M1"]
    with pytest.raises(ResultError, match=r"\(M1 is of moons, not of spirals\)"):
        read(path, "spirals")
    with pytest.raises(ResultError, match=r"\(M1 is of scale laptop, not paper\)"):
        read(path, "moons", "paper")
    path.write_text(json.dumps(json.loads(path.read_text()) * 2))
    with pytest.raises(ResultError, match=r"\(M1 is there twice\)"):
        read(path)


def test_damaged_claims_are_refused_or_read_as_some_claims(path):
    """600 random bytes changed: a sentence, or claims of the schema; text has no digest, so words may differ."""
    whole, draw = path.read_bytes(), random.Random(0)
    refused = 0
    for _ in range(600):
        damaged = bytearray(whole)
        damaged[draw.randrange(len(whole))] = draw.randrange(256)
        path.write_bytes(damaged)
        try:
            for made in read(path):
                claim_macros(made)
        except ResultError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 300


def test_every_id_has_a_macro_of_its_own():
    for number in range(1, 100):
        (made,) = claims_of(id=f"D{number}")
        names = set(claim_macros(made))
        assert all(name.isascii() and name.isalpha() for name in names)
        assert f"{stem_of_claim(made.id)}Verdict" in names
    assert len({stem_of_claim(f"D{number}") for number in range(1, 100)}) == 99
    assert (stem_of_claim("D21"), stem_of_claim("D40"), stem_of_claim("D3")) == ("Dtwentyone", "Dforty", "Dthree")


def commands(text: str) -> set[str]:
    return {found[1] for found in latex.COMMAND.finditer(text)}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_is_only_text_in_every_table_of_the_ledger(tmp_path, text):
    folder = tmp_path / "laptop" / "moons2"
    write(folder / "claims.json", claims_of(text, experiment="moons2"))
    runs = {"run": ["a"], "seed": [0], "diverged_at": [math.nan]}
    about = {"scale": text, "device": text, "torch": [text, text], "code_version": text, "precision": text}
    write_table(folder / "runs.parquet", pd.DataFrame(runs), about)
    ledger.join(tmp_path / "laptop", {"moons2": folder}, tmp_path / "paper")
    words = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "paper").rglob("*.tex"))
    plain = tmp_path / "plain"
    write(folder / "claims.json", claims_of("loss", experiment="moons2"))
    ledger.join(tmp_path / "laptop", {"moons2": folder}, plain)
    usual = "".join(path.read_text(encoding="utf-8") for path in plain.rglob("*.tex"))
    escapes = {found for value in latex.SPECIAL.values() for found in commands(value)}
    assert commands(words) <= commands(usual) | escapes
    assert "^^" not in words and "MoonsTwoRuns" in words


@pytest.mark.parametrize("text", HOSTILE)
def test_escaped_text_is_one_line_of_known_commands_with_balanced_braces(text):
    escaped = latex.escape(text)
    latex.check_commands("a", escaped)
    assert "\n" not in escaped and "^^" not in escaped
    bare = re.sub(r"\\[{}\\]", "", escaped)
    assert bare.count("{") == bare.count("}")
    assert not re.search(r"(?<!\\)[&%#_~]|(?<!\{)[\[*]", escaped)


@pytest.mark.parametrize("text", [text for text in HOSTILE if re.search(r"(?<!\\)\\[a-z]|\^\^", text)])
def test_text_that_was_not_escaped_reaches_no_file(tmp_path, text):
    """The door behind the doors: whatever a figure program puts into a cell."""
    body = latex.booktabs("lr", ["a", "b"], [["x", text]])
    if text != "a\nb\t\\par c":  # a command of ours
        with pytest.raises(ConfigError, match="is no command of our tables"):
            latex.write(tmp_path / "a.tex", body)
        with pytest.raises(ConfigError, match="is no command of our tables"):
            macros_tex({"A": text})
        assert not (tmp_path / "a.tex").exists()


@pytest.mark.parametrize("program", sorted(EXPERIMENTS.glob("*/figures*.py")), ids=lambda path: path.parent.name)
def test_figure_programs_write_no_file_themselves(program):
    assert not re.search(r"write_text|write_bytes|\bopen\(|\.tex\b", program.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("experiment", "module"),
    [
        ("batchnorm_periodicity", "figures"),
        ("binary_addition", "figures"),
        ("double_descent", "figures_notebook"),
        ("published_sweep", "points"),
        ("published_widths", "curves"),
    ],
)
def test_published_numbers_are_numbers(experiment, module):
    program = load_program(experiment, module)
    assert program.PUBLISHED == published.read_published(EXPERIMENTS / experiment / "published.yaml")


NOT_PUBLISHED = [
    *("a: !!python/object/apply:os.system ['touch x']", "a: text", "- 1", "a: [{b: .nan}]", "a: {b: [1]}", "a: ["),
    *("\0", "1", "", "a: {'b c': 1}", "a: 2024-01-01", "a: yes", "a: 1\na: 2", "a: &a 1\nb: *b"),
]


@pytest.mark.parametrize("text", NOT_PUBLISHED)
def test_published_numbers_that_are_none_are_one_sentence(tmp_path, text, capsys):
    (tmp_path / "published.yaml").write_text(text)
    with pytest.raises(SystemExit) as caught:
        published.read_published(tmp_path / "published.yaml")
    error = capsys.readouterr().err
    assert caught.value.code == 2 and error.startswith("error: ") and error.count("\n") == 1
    assert "published.yaml" in error and [file.name for file in tmp_path.iterdir()] == ["published.yaml"]


def test_a_published_value_that_is_no_number_is_named_by_its_key(tmp_path, capsys):
    path = tmp_path / "published.yaml"
    for text, place in (("a: 1\nd: text\n", "d"), ("d: [{b: text}]", "d"), ("- 1", "the file")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SystemExit):
            published.read_published(path)
        assert capsys.readouterr().err == f"error: {path}: {place} is not a number, or a table of numbers by name.\n"


def test_published_numbers_are_read_within_the_bounds_of_a_configuration(tmp_path, capsys):
    path = tmp_path / "published.yaml"
    for text, said in (("a: 1\na: 2", ", line 2: 'a' is given twice."), ("#" * 300_000, " has more than 256 KiB")):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(SystemExit):
            published.read_published(path)
        assert f"{path}{said}" in capsys.readouterr().err


def test_a_claim_has_an_id_that_a_configuration_may_have(path):
    """One type says what an id is, to either."""
    for id in ("A1", "Z21", "M99"):
        write(path, claims_of(id=id))
        assert read(path)[0].id == TypeAdapter(ClaimId).validate_python(id) == id
    for id in ("A0", "A100", "a1"):
        changed(path, lambda row, id=id: row.update(id=id))
        with pytest.raises(ResultError, match="must be a claim's id: one capital letter and a number from 1 to 99"):
            read(path)
