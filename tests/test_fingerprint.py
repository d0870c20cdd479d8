"""A fingerprint changes with what code does, and with nothing else."""

import os
from pathlib import Path

import pytest

from tests.checkout import CONFIG, INIT
from tests.programs import EXPERIMENTS, finding
from weightdecay import fingerprint as module
from weightdecay.errors import ConfigError
from weightdecay.finding import findings
from weightdecay.fingerprint import fingerprint, sources
from weightdecay.table import table_of
from weightdecay.workflow import stages

PROGRAM = (
    '"""What it does."""\nfrom .lines import slope\n\n\ndef twice(x):\n    """Double it."""\n    return 2 * slope(x)\n'
)
LINES = "import numpy as np\n\n\ndef slope(x):\n    return np.diff(x)\n"


@pytest.fixture
def program(tmp_path):
    folder = tmp_path / "experiments" / "blobs"
    folder.mkdir(parents=True)
    (folder / "lines.py").write_text(LINES)
    (folder / "claims.py").write_text(PROGRAM)
    return folder / "claims.py"


def digest(program: Path) -> str:
    for cached in (module._digest, module._read):  # a program is read once a process
        cached.cache_clear()
    return fingerprint([program]).digest


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("What it does", "What else it does"),
        ("Double it", "Twice as much"),
        ("return 2", "# why\n    return 2"),
        ("2 * slope(x)", "(\n        2\n        * slope(x)\n    )"),
        ('    """Double it."""\n', ""),
        ('"""What it does."""', ""),
    ],
)
def test_comments_docstrings_and_layout_play_no_part(program, old, new):
    before = digest(program)
    program.write_text(PROGRAM.replace(old, new))
    assert digest(program) == before


def test_times_and_places_play_no_part(program, tmp_path):
    before = digest(program)
    os.utime(program, (0, 0))
    (tmp_path / "experiments").rename(tmp_path / "moved")
    (tmp_path / "clone").mkdir()
    (tmp_path / "moved").rename(tmp_path / "clone/experiments")
    assert digest(tmp_path / "clone/experiments/blobs/claims.py") == before


@pytest.mark.parametrize(("name", "old", "new"), [("claims.py", "2 *", "3 *"), ("lines.py", "diff(x)", "diff(x, 2)")])
def test_what_the_code_does_counts_with_what_it_imports(program, name, old, new):
    before = digest(program)
    path = program.with_name(name)
    path.write_text(path.read_text().replace(old, new))
    assert digest(program) != before


def test_its_text_says_what_it_is_made_of(program):
    text = fingerprint([program], scale="smoke").text
    names = [line.split("  ", 1)[1] for line in text.splitlines()]
    assert names == [
        "experiments/blobs/claims.py",
        "experiments/blobs/lines.py",
        "scale",
        "version of numpy",
        "version of python",
    ]


def test_a_file_that_is_not_python_is_named(program):
    program.write_text("def (")
    with pytest.raises(ConfigError, match=r"claims\.py, line 1, is not Python\.$"):
        digest(program)


def test_a_module_is_found_however_it_is_imported(program):
    package = "from weightdecay import closed_form\nfrom weightdecay.statistics.estimates import mean_interval\n"
    program.write_text(package + "import weightdecay.files\nfrom . import lines\n")
    digest(program)
    found = {path.name for path in sources([program])}
    assert {"closed_form.py", "estimates.py", "lines.py", "claims.py", "__init__.py"} <= found
    assert "files.py" not in found  # it computes nothing


@pytest.mark.parametrize("name", sorted(path.parent.name for path in EXPERIMENTS.glob("*/config.yaml")))
def test_training_depends_on_what_its_rows_name_and_on_its_own_device(name):
    made = finding(name)
    runs = table_of(made.config, "smoke")
    cpu, cuda = (set(stages.code_of_training(made, runs, device).parts) for device in ("cpu", "cuda"))
    assert f"experiments/{name}/train.py" in cpu & cuda
    losses = {f"src/weightdecay/ensemble/losses/{run.loss}.py" for run in runs}
    assert {each for each in cpu if "/losses/" in each} == losses
    assert not any(wing in each for wing in ("/claims", "/report/", "statistics", "progress") for each in cpu | cuda)
    assert "version of torch" in cpu & cuda and "version of tqdm" not in cpu | cuda
    of_one = {"loops.py": cpu, "cpu.py": cpu, "gpu.py": cuda, "triton/adam.py": cuda}
    for file, device in of_one.items():
        assert [f"src/weightdecay/ensemble/{file}" in each for each in (cpu, cuda)] == [device is cpu, device is cuda]
    assert "version of numba" in cpu - cuda and "version of triton" in cuda - cpu


def test_a_finding_depends_on_the_layers_that_its_networks_have():
    def layers(name: str) -> set[str]:
        made = finding(name)
        parts = stages.code_of_training(made, table_of(made.config, "smoke"), "cpu").parts
        return {Path(each).stem for each in parts if "/layers/" in each}

    assert layers("sparsity") == {"__init__", "linear", "relu", "dropout", "sequential"}
    assert "conv1d" in layers("double_descent") and "conv1d" not in layers("binary_addition")


def test_what_a_finding_says_in_its_init_file_counts(program):
    """Its docstring does not."""
    path = program.with_name("__init__.py")
    path.write_text('"""About."""\nSIZE = 3\n')
    before = digest(program)
    path.write_text('"""About something."""\nSIZE = 3\n')
    assert digest(program) == before
    path.write_text('"""About."""\nSIZE = 4\n')
    assert digest(program) != before


@pytest.mark.parametrize(
    "text", ["import weightdecay.ensemble.layers as L\nL.ReLU\n", "from weightdecay.ensemble.layers import ReLU\n"]
)
def test_a_layer_is_found_by_its_class(program, text):
    program.write_text(text)
    digest(program)
    assert {path.name for path in sources([program]) if path.parent.name == "layers"} == {"__init__.py", "relu.py"}


def test_modules_of_a_folder_within_a_finding_are_found(program):
    inner = program.parent / "parts"
    inner.mkdir()
    (inner / "__init__.py").write_text("")
    (inner / "one.py").write_text("from ..lines import slope\nfrom .two import TWO\n")
    (inner / "two.py").write_text("TWO = 2\n")
    program.write_text("from .parts.one import slope\n")
    digest(program)
    assert {"one.py", "two.py", "lines.py"} <= {path.name for path in sources([program])}


STAGES = ("train", "compute", "claims", "figures")


@pytest.fixture
def stage_digests(tmp_path):
    """`stage_digests()`: of each stage of a finding in a folder of its own, `stage_digests.folder`."""
    folder = tmp_path / "experiments/blobs"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(INIT)
    (folder / "config.yaml").write_text(CONFIG.format(name="blobs", claim="A1"))
    for stage in STAGES:
        (folder / f"{stage}.py").write_text("")
    made = findings(tmp_path)["blobs"]
    runs = table_of(made.config, "smoke")

    def digests() -> dict[str, str]:
        train = stages.code_of_training(made, runs, "cpu").digest
        return {"train": train} | {stage: stages.code_of(made, stage).digest for stage in STAGES[1:]}

    digests.folder = folder
    return digests


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("published.yaml", 'read(HERE / "published.yaml")'),
        ("weights.npz", 'load("weights.npz")'),
        ("more/points.csv", 'load(HERE / "more" / "points.csv")'),
        ("runs.parquet", 'HERE.glob("*.parquet")'),
    ],
)
def test_a_file_of_data_counts_in_the_stages_that_name_it(stage_digests, stage, name, program):
    (stage_digests.folder / f"{stage}.py").write_text(program)
    seen = [stage_digests()]
    path = stage_digests.folder / name
    path.parent.mkdir(exist_ok=True)
    for content in ("[1]", "[2]"):
        path.write_text(content)
        seen.append(stage_digests())
    assert {each: len({digests[each] for digests in seen}) for each in STAGES} == dict.fromkeys(STAGES, 1) | {stage: 3}
    path.unlink()
    assert stage_digests() == seen[0]


def test_comments_of_data_and_other_files_play_no_part(stage_digests):
    for stage in STAGES:
        (stage_digests.folder / f"{stage}.py").write_text('read("published.yaml")')
    path = stage_digests.folder / "published.yaml"
    path.write_text("slope: 1")
    before = stage_digests()
    path.write_text("slope: 1 # read off its figure\n")
    for name in (".points.csv", ".vscode/settings.json", "README.md", "config.yaml~", "published.yaml~"):
        (stage_digests.folder / name).parent.mkdir(exist_ok=True)
        (stage_digests.folder / name).write_text("1")
    assert stage_digests() == before


def test_a_configuration_counts_where_it_is_judged_and_drawn(stage_digests):
    """Training and computations depend on their own rows of it."""
    before = stage_digests()
    config = stage_digests.folder / "config.yaml"
    config.write_text(config.read_text().replace("It decays.", "It grows."))
    assert {stage for stage, digest in stage_digests().items() if digest != before[stage]} == {"claims", "figures"}


def test_a_rows_of_another_loss_have_another_fingerprint():
    made = finding("curve_fitting")
    runs = table_of(made.config, "smoke")
    digests = {stages.code_of_training(made, [run], "cpu").digest for run in runs}
    assert len(digests) == len({(run.loss, run.optimizer, run.network) for run in runs}) > 1
