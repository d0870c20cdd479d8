"""LaTeX that any engine can set, macros with the names the paper uses, and the joined ledger."""

import re
import shutil
from dataclasses import replace

import pytest

from tests.programs import finding
from weightdecay.claims.model import read, write
from weightdecay.claims.names import in_letters
from weightdecay.errors import ConfigError, ResultError
from weightdecay.report import latex, ledger
from weightdecay.report.macros import macros_tex
from weightdecay.results import write_table


def test_what_latex_would_read_as_a_command_is_escaped():
    assert latex.escape("50 % of a_b & $1 {x} #2") == r"50 \% of a\_b \& \$1 \{x\} \#2"
    assert latex.escape("η ≤ λ") == r"\ensuremath{\eta} \ensuremath{\leq} \ensuremath{\lambda}"
    assert latex.escape("\\") == r"\textbackslash{}"
    assert latex.escape("S0 §7") == r"S0 \S{}7"


def test_every_claim_of_the_config_is_pure_ascii_once_escaped(config):
    for criterion in config.criteria.values():
        assert latex.escape(criterion.statement + criterion.criterion).isascii()


def test_macro_names_are_letters():
    assert in_letters(0.003) == "ZeroPointZeroZeroThree"
    assert in_letters(1.0) == "One"
    with pytest.raises(ValueError, match="letters only"):
        macros_tex({"A4": "1"})


@pytest.fixture(scope="module")
def built(results_of, tmp_path_factory):
    """Folders `results/laptop` and `paper` with the ledger of a synthetic finding in them."""
    folder = tmp_path_factory.mktemp("ledger")
    results, experiment = results_of(), folder / "laptop" / "binary_addition"
    for name in ("runs", "history"):
        write_table(experiment / f"{name}.parquet", getattr(results, name), {**results.metadata, "scale": "laptop"})
    claims = finding("binary_addition").judge(results, "laptop")
    write(experiment / "claims.json", [replace(claim, scale="laptop") for claim in claims])
    ledger.join(folder / "laptop", {"binary_addition": experiment}, folder / "paper")
    return folder


def test_ledger_joins_the_claims(built):
    claims = read(built / "laptop" / "claims.json")
    assert [claim.id for claim in claims] == [f"A{number}" for number in range(1, 13)]
    assert "Binary addition & laptop & " in (built / "paper/tables/builds.tex").read_text()
    text = (built / "paper/tables/claims.tex").read_text()
    assert text.isascii() and all(f"\nA{number} & S1, toy experiment" in text for number in range(1, 13))


def test_every_claim_has_its_macros(built):
    text = (built / "paper/numbers.tex").read_text()
    macros = dict(re.findall(r"\\newcommand\{\\([A-Za-z]+)\}\{(.*)\}\n", text))
    assert len(macros) == text.count("newcommand")
    numbers = "one two three four five six seven eight nine ten eleven twelve"
    for stem in (f"A{number}" for number in numbers.split()):
        assert macros[f"{stem}Verdict"] == "reproduced"
        assert {f"{stem}Measured", f"{stem}Low", f"{stem}High", f"{stem}N", f"{stem}CI"} <= set(macros)
    assert macros["AfourRatio"] == macros["AfourMeasured"] and "[" in macros["AtenLearningRateCI"]
    assert (macros["Scale"], macros["Claims"], macros["ClaimsReproduced"], macros["ClaimsRefuted"]) == (
        "laptop",
        "12",
        "12",
        "0",
    )
    assert (macros["BinaryAdditionSeeds"], macros["BinaryAdditionScale"]) == ("3", "laptop")


def test_scales_that_differ_are_all_said(built, tmp_path):
    shutil.copytree(built / "laptop", tmp_path / "mixed")
    text = (built / "laptop/binary_addition/claims.json").read_text()
    other = text.replace('"binary_addition"', '"moons"').replace('"laptop"', '"paper"').replace('"id": "A', '"id": "M')
    (tmp_path / "mixed/moons").mkdir()
    (tmp_path / "mixed/moons/claims.json").write_text(other)
    for name in ("runs", "history"):
        shutil.copy(built / f"laptop/binary_addition/{name}.parquet", tmp_path / "mixed/moons")
    trained = {name: tmp_path / "mixed" / name for name in ("moons", "binary_addition")}
    ledger.join(tmp_path / "mixed", trained, tmp_path / "paper")
    text = (tmp_path / "paper/numbers.tex").read_text()
    assert r"\newcommand{\Scale}{laptop and paper}" in text
    assert r"\newcommand{\ClaimsByScale}{12 at laptop scale and 12 at paper scale}" in text
    assert [claim.id[0] for claim in read(tmp_path / "mixed/claims.json")] == [*12 * "A", *12 * "M"]  # by letter
    tables = (tmp_path / "paper/tables/claims.tex").read_text()
    assert r"\textbf{Moons, paper scale}" in tables and r"\textbf{Binary addition, laptop scale}" in tables


def test_ledger_leaves_the_paper_alone_unless_asked(built, tmp_path, monkeypatch, capsys):
    shutil.copytree(built / "laptop", tmp_path / "laptop")
    monkeypatch.chdir(tmp_path)
    ledger.join(tmp_path / "laptop", {"binary_addition": tmp_path / "laptop/binary_addition"}, None)
    assert [path.name for path in tmp_path.iterdir()] == ["laptop"]
    assert capsys.readouterr().out.count("\n") == 13


def test_ledger_refuses_missing_claims_and_an_id_given_twice(built, tmp_path):
    shutil.copytree(built / "laptop", tmp_path / "laptop")
    trained = {name: tmp_path / "laptop" / name for name in ("binary_addition", "moons")}
    with pytest.raises(ResultError, match=r"missing: make it with weightdecay claims moons --scale laptop\.$"):
        ledger.join(tmp_path / "laptop", trained, None)
    text = (built / "laptop/binary_addition/claims.json").read_text()
    (tmp_path / "laptop/moons").mkdir()
    (tmp_path / "laptop/moons/claims.json").write_text(text.replace('"binary_addition"', '"moons"'))
    with pytest.raises(ConfigError, match=r"^claim A1 is in both .*binary_addition/config\.yaml and .*moons/config"):
        ledger.join(tmp_path / "laptop", trained, None)
