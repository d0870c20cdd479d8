"""A finding whose files do not fit together is refused in one sentence, before anything is trained."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.checkout import CLAIMS, COMPUTE, CONFIG, FIGURES, INIT, TRAIN
from tests.programs import EXPERIMENTS
from weightdecay.errors import ConfigError
from weightdecay.finding import Finding, findings

FILES = {
    "__init__.py": INIT,
    "config.yaml": CONFIG.format(name="blobs", claim="A1"),
    "train.py": TRAIN,
    "claims.py": CLAIMS,
    "figures.py": FIGURES,
}


@pytest.fixture
def blobs(tmp_path) -> Callable[..., Finding]:
    """`blobs(file, old, new)`: a finding with one of its files changed; `new` None: without that file."""

    def make(changed: str = "", old: str = "", new: str | None = "") -> Finding:
        for file, text in FILES.items():
            path = tmp_path / "experiments/blobs" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            text = text.replace("CLAIM", "A1")
            if file == changed:
                assert new is None or old in text
                text = "" if new is None else text.replace(old, new)
            if file != changed or new is not None:
                path.write_text(text)
        return findings(str(tmp_path))["blobs"]

    return make


def test_a_finding_is_its_modules(blobs):
    finding = blobs()
    finding.check()
    assert finding.name == "blobs" and finding.config.experiment == "blobs"
    assert list(finding.figures) == ["norm"] and finding.figures["norm"].claims == ("A1",)
    assert finding.protocol == "how a row is trained"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("__init__.py", "finding =", "found ="), r"__init__\.py must say: finding = Finding\(__name__\)\."),
        (("train.py", "", None), r"train\.py is missing: it says how a row of the table is trained\."),
        (
            ("claims.py", '"A1"', '"A2"'),
            r"claims\.py judges A2, for which .*config\.yaml has no criterion \(known are A1\)",
        ),
        (("claims.py", '@finding.claim("A1")', ""), r"config\.yaml: criteria\.A1 is judged by nothing in claims\.py\."),
        (("claims.py", "enough", "enouhg"), r"criteria\.A1\.thresholds\.enough is no argument of decays .*enouhg"),
        (
            ("claims.py", "enough):", "enough, more):"),
            r"criteria\.A1\.thresholds lacks more, which decays in claims\.py",
        ),
        (
            ("claims.py", "def decays", "def first(): pass\n\n@finding.claim('A1')\ndef decays"),
            r"judges A1 twice, by decays",
        ),
        (("claims.py", "def decays", "def (decays"), r"claims\.py, line \d+, is not Python\."),
        (
            ("figures.py", '@finding.figure("A1")', "@finding.figure"),
            r"figures\.py: write @finding\.figure\(\) or @finding\.table\(\)",
        ),
        (
            ("figures.py", "@finding", "@finding.figure()\ndef norm(inputs): pass\n\n@finding"),
            r"figures\.py has two of the name norm\.",
        ),
        (("figures.py", '"A1"', '"A7"'), r"figures\.py: norm shows A7, which is no claim here\."),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(blobs, change, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        blobs(*change).check()
    assert "\n" not in str(caught.value)


DIVERGES = '@finding.claim("A1", of_divergence=["Loss"])'


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ('["Los"]', r"claims\.py: of_divergence of A1 names Los, but no part has that name\.$"),
        ('"Loss"', r"claims\.py: write of_divergence=\['Loss'\], a list\.$"),
    ],
)
def test_names_of_parts_that_speak_of_divergence_are_those_of_parts(blobs, parts, sentence):
    with pytest.raises(ConfigError, match=sentence):
        blobs("claims.py", '@finding.claim("A1")', DIVERGES.replace('["Loss"]', parts)).check()


def test_a_part_may_speak_of_divergence(blobs):
    blobs("claims.py", '@finding.claim("A1")', DIVERGES).check()


def test_a_part_whose_name_is_put_together_may_speak_of_divergence(blobs):
    finding = blobs("claims.py", '@finding.claim("A1")', DIVERGES)
    path = finding.folder / "claims.py"
    path.write_text(path.read_text().replace('judged("Loss"', "judged(f\"{'L'}oss\""))
    finding.check()


def computing(finding: Finding, settings: str, program: str) -> Finding:
    """The finding with a computation at smoke scale. Its compute.py cannot be imported, as where there is no torch."""
    config = FILES["config.yaml"].replace("smoke: {", f"smoke: {{computations: {{{settings}}}, ")
    (finding.folder / "config.yaml").write_text(config)
    (finding.folder / "compute.py").write_text(f"{program}\nraise RuntimeError('imported')\n")
    return finding


ANY = COMPUTE.replace("*, count: int", "count, power=2, *, scale=1.0, **more")


@pytest.mark.parametrize(
    ("settings", "program"),
    [
        ("squares: {count: 3}", COMPUTE),
        ("squares: {count: 3}", ANY),
        ("squares: {count: 3, power: 3, scale: 2.0, other: 1}", ANY),
    ],
)
def test_computations_that_fit_are_not_imported(blobs, settings, program):
    computing(blobs(), settings, program).check()


@pytest.mark.parametrize(
    ("settings", "program", "sentence"),
    [
        ("{cuont: 3}", COMPUTE, r"smoke\.computations\.squares\.cuont is no argument of squares in .*mean count"),
        ("{}", COMPUTE, r"scales\.smoke\.computations\.squares lacks count, which squares in compute\.py asks"),
        ("{power: 3}", ANY, r"scales\.smoke\.computations\.squares lacks count, which"),
        ("{count: 3}", COMPUTE.replace("squares", "sqaures"), r"squares is no @finding\.computation in .*mean sqaures"),
        ("{count: 3}", COMPUTE.replace("@finding.computation", ""), r"squares is no @finding\.computation in"),
        ("{count: 3}", COMPUTE * 2, r"compute\.py has two computations of the name squares\."),
        (
            "{count: 3}",
            COMPUTE + COMPUTE.replace("squares", "cubes"),
            r"compute\.py computes cubes, for which no scale of .*config\.yaml has arguments",
        ),
        ("{count: 3}", "def (", r"compute\.py, line 1, is not Python\."),
    ],
)
def test_computations_that_do_not_fit_are_refused_in_one_sentence(blobs, settings, program, sentence):
    with pytest.raises(ConfigError, match=sentence) as caught:
        computing(blobs(), f"squares: {settings}", program).check()
    assert "\n" not in str(caught.value)


def test_a_computation_may_stand_in_a_module_that_compute_imports(blobs):
    finding = computing(blobs(), "squares: {count: 3}", "from . import shapes")
    (finding.folder / "shapes.py").write_text(COMPUTE)
    finding.check()


def test_a_finding_without_a_protocol_says_so_when_it_is_trained(blobs):
    with pytest.raises(ConfigError, match=r"train\.py has no PROTOCOL"):
        _ = blobs("train.py", "PROTOCOL", "OTHER").protocol


def test_a_folder_without_findings_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no .*experiments/<name>/config\.yaml: run from the folder"):
        findings(tmp_path)


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXPERIMENTS.glob("*/config.yaml")))
def test_the_findings_of_this_checkout_fit(name):
    findings(EXPERIMENTS.parent)[name].check()


def test_to_plan_neither_torch_nor_numba_is_imported():
    code = "import sys; from weightdecay.finding import findings; [each.check() for each in findings().values()]\n"
    code += "assert not {'torch', 'numba'} & set(sys.modules), 'imported'"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=EXPERIMENTS.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_new_makes_is_trained_judged_and_drawn_at_once(tmp_path):
    """And it can be edited as the tutorial says."""
    for name in ("experiments", "paper/figures", "paper/tables"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "experiments/sparsity").symlink_to(EXPERIMENTS / "sparsity")  # whose letter is taken

    def run(*command: str) -> str:
        command = (sys.executable, "-m", "weightdecay", *command)
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "experiments/moons is there" in run("new", "moons")
    folder = tmp_path / "experiments/moons"
    assert sum(len(path.read_text().splitlines()) for path in folder.iterdir()) < 120
    run("train", "moons", "--scale", "smoke", "--device", "cpu")
    assert " reproduced " in run("claims", "moons", "--scale", "smoke")
    results = "results/smoke/moons"
    drawn = (
        "--results",
        results,
        "--claims",
        f"{results}/claims.json",
        "--figures",
        "paper/figures",
        "--tables",
        "paper/tables",
    )
    run("draw", "moons", "--scale", "smoke", *drawn)
    assert (tmp_path / "paper/figures/moons-norm.pdf").stat().st_size > 5000
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("ratio: 0.9", "ratio: 0.1"))
    assert " refuted " in run("claims", "moons", "--scale", "smoke")
