"""What README.md and docs/ say to read or to call exists; and the tutorial's finding runs as it is printed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer.main

from tests.programs import EXPERIMENTS, ROOT
from weightdecay.__main__ import app
from weightdecay.settings_page import settings_page
from weightdecay.workflow.pipeline import OPTIONS

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MADE = re.compile(r"results/|paper/(figures|tables|main\.pdf|numbers\.tex)|experiments/(my_finding|noisy_labels)")
TOPS = "src|experiments|docs|tests|paper|data|profiles|results"
TUTORIAL = (ROOT / "docs/extending.md").read_text(encoding="utf-8")


@pytest.fixture(params=PAGES, ids=lambda page: page.name)
def page(request) -> Path:
    return request.param


def anchors(text: str) -> set[str]:
    """The names by which GitHub links to headings."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_every_link_leads_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        path, _, anchor = unquote(link).partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_path_that_is_named_exists(page):
    text = page.read_text(encoding="utf-8")
    named = {path for path in re.findall(rf"`((?:{TOPS})/[^`\s]*)`", text) if "<" not in path and not MADE.match(path)}
    if page.name == "robustness.md":
        named |= {f"tests/{path}" for path in re.findall(r"`((?:\w+/)?test_\w+\.py)`", text)}
    assert not [path for path in named if not any((root / path).exists() for root in (ROOT, ROOT / "tests"))]


def commands(program: str) -> list[list[str]]:
    """The words after `program` in every line of a block of shell commands, and in every command between backticks."""
    found = set()
    for text in (page.read_text(encoding="utf-8") for page in PAGES):
        lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
        lines += re.findall(rf"`({program} [^`]+)`", text)
        words = (shlex.split(line.removeprefix(".venv/bin/"), comments=True) for line in lines)
        found |= {tuple(line[1:]) for line in words if line[:1] == [program]}
    assert found
    return sorted(map(list, found))


@pytest.mark.parametrize("words", commands("weightdecay"), ids=" ".join)
def test_every_weightdecay_command_is_one(words):
    """It has that name, those options and values that they take; nothing is run."""
    known = typer.main.get_command(app).commands
    name, *arguments = [word for word in words if word not in ("COMMAND", "--help")] or ["train"]
    assert name in known
    if arguments:  # else it is only spoken of
        known[name].make_context(name, arguments)


@pytest.mark.parametrize("words", commands("make"), ids=" ".join)
def test_every_make_command_is_one(words):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for name, is_variable, _ in (word.partition("=") for word in words):
        assert re.search(rf"^{name} \?=" if is_variable else rf"^{name}:", makefile, re.MULTILINE), name


@pytest.mark.parametrize("words", commands("snakemake"), ids=" ".join)
def test_every_snakemake_command_gives_settings_that_there_are_after_its_targets(words):
    settings = words[words.index("--config") + 1 :] if "--config" in words else []
    assert {setting.partition("=")[0] for setting in settings} <= OPTIONS.keys()


def test_the_tutorials_finding_is_trained_judged_and_drawn(tmp_path):
    for name in ("experiments", "paper/figures", "paper/tables", "data"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "experiments/sparsity").symlink_to(EXPERIMENTS / "sparsity")

    def run(command: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", *command.split()], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("weightdecay new noisy_labels")
    files = re.findall(r"`(experiments/noisy_labels/[\w.]+)`:\n\n```\w+\n(.*?)```", TUTORIAL, re.DOTALL)
    assert len(files) == 4
    for name, text in files:
        assert (tmp_path / name).is_file()
        (tmp_path / name).write_text(text, encoding="utf-8")
    run("weightdecay train noisy_labels --scale smoke --device cpu")
    assert "\nZ1 " in run("weightdecay claims noisy_labels --scale smoke")
    results = "results/smoke/noisy_labels"
    run(
        f"weightdecay draw noisy_labels --scale smoke --results {results} --claims {results}/claims.json "
        "--figures paper/figures --tables paper/tables"
    )
    assert (tmp_path / "paper/figures/noisy_labels-accuracy.png").is_file()


def test_the_page_of_settings_is_that_of_the_schema():
    assert (ROOT / "docs/settings.md").read_text(encoding="utf-8") == settings_page()


def test_the_readme_is_short():
    readme = (ROOT / "README.md").read_bytes()
    assert readme.count(b"\n") <= 150 and len(readme) <= 12_000
