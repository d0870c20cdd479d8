"""The same bytes and numbers whatever surrounds a program: its environment, its user's files, its home, its path."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkout import ROOT, Checkout
from weightdecay import results, surroundings
from weightdecay.workflow import template

SMOKE = ("--cores", "2", "--config", "scale=smoke")
NOTEBOOK = {"MPLBACKEND": "module://matplotlib_inline.backend_inline", "PYTHONSTARTUP": "/nonexistent"}
PYTHON = {"PYTHONOPTIMIZE": "2", "PYTHONWARNINGS": "error", "PYTHONSAFEPATH": "1", "PYTHONHASHSEED": "7"}
LATIN = {"LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}
NUMBERS = {
    **{
        "OMP_NUM_THREADS": "7",
        "MKL_NUM_THREADS": "7",
        "NUMBA_OPT": "1",
        "NUMBA_DISABLE_JIT": "1",
        "TZ": "Asia/Kolkata",
    },
    **{"ATEN_CPU_CAPABILITY": "default", "NPY_DISABLE_CPU_FEATURES": "AVX2", "SOURCE_DATE_EPOCH": "0"},
}
HOMELESS = {"HOME": "/proc/nowhere", "XDG_CACHE_HOME": "/dev/null/cache"}
# Read by matplotlib from the folder in which it is imported, before any other.
MATPLOTLIBRC = (
    "text.usetex: True\nsavefig.bbox: tight\nsavefig.dpi: 31\nfont.size: 3\nfont.family: serif\nfigure.dpi: 44\n"
)

TRAIN = """
from weightdecay.datasets import mnist1d
from weightdecay.ensemble.state import Protocol

mnist1d.TRAIN_POOL, mnist1d.TEST_POOL, mnist1d.VALIDATION_POOL = 500, 200, 200  # all 20,000 would take ten seconds
PROTOCOL = Protocol(lambda run: mnist1d.mnist1d(run.seed, run.train_size, 200, 200, 0.0, "incorrect"))
print("λ")
"""
FIGURES = """
import matplotlib.pyplot as plt
import seaborn as sns
from weightdecay.report import style
from . import finding

@finding.figure("Z1")
def drawn(inputs):
    figure, axes = plt.subplots(figsize=(style.COLUMN, 2))
    sns.lineplot(x=[1, 2, 3], y=[1.0, 4.0, 2.0], ax=axes, color=style.weight_decay_colour(0.1))
    axes.set(xlabel="λ", ylabel=r"$\\eta$ of what is drawn", yscale="log", title="Text")
    print("λ")
    return figure
"""
NOTEBOOK_CELL = """
from pathlib import Path
import matplotlib.pyplot as plt
import seaborn as sns
from weightdecay.report import style

style.apply()
{}
style.save(figure, Path("."), "tiny-drawn", "smoke")
"""


def by_hand(folder: Path, **environment: str) -> dict[str, bytes | str]:
    """What the commands of a finding make: the history, the judgments, a figure."""
    texts = template.FILES | {"train.py": TRAIN, "figures.py": FIGURES}
    for name, text in texts.items():
        path = folder / "experiments/tiny" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = text.replace("CLAIM", "Z1").replace("NAME", "tiny").replace("dataset: digits", "dataset: mnist1d")
        path.write_text(text.replace("steps: 400", "steps: 40"), encoding="utf-8")
    claims = folder / "results/smoke/tiny/claims.json"
    drawn = ("--results", claims.parent, "--claims", claims, "--figures", folder, "--tables", folder)
    for command in (
        ("train", "tiny", "--scale", "smoke", "--device", "cpu"),
        ("claims", "tiny", "--scale", "smoke"),
        ("draw", "tiny", "--scale", "smoke", *drawn),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "weightdecay", *map(str, command)],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
    made = {path.name: path.read_bytes() for path in (claims, *folder.glob("tiny-drawn.*"))}
    history, _ = results.read_table(claims.parent / "history.parquet")
    return made | {"history": history.to_json(double_precision=15)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> dict[str, bytes | str]:
    return by_hand(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize(
    "hostile",
    [NOTEBOOK, PYTHON, LATIN, NUMBERS, HOMELESS],
    ids=["notebook", "interpreter", "encoding", "numbers", "no home"],
)
def test_commands_started_by_hand_make_the_same_bytes(undisturbed, tmp_path, hostile):
    (tmp_path / "matplotlibrc").write_text(MATPLOTLIBRC, encoding="utf-8")
    made = by_hand(tmp_path, MATPLOTLIBRC=str(tmp_path), **hostile)
    assert made == undisturbed
    assert len(made["history"]) > 7_000 and set(made) == {"history", "claims.json", "tiny-drawn.pdf", "tiny-drawn.png"}


BASH_ENV = "set -o noclobber; mkdir() { return 1; }; python() { return 1; }; echo unasked; exit 3"


def make(checkout: Checkout, *options: str, **environment: str) -> subprocess.CompletedProcess:
    """`make` in a checkout whose .venv is this interpreter."""
    shutil.copy(ROOT / "Makefile", checkout.path("Makefile"))
    for name in ("requirements.txt", "pyproject.toml", ".venv/installed"):
        checkout.write(name, "")
    checkout.tool("../.venv/bin/python", f'PYTHONPATH={checkout.path("src")} exec {sys.executable} "$@"', shell="sh")
    command = [shutil.which("make"), *options]
    environment = checkout.environment | environment
    return subprocess.run(command, cwd=checkout.folder, env=environment, capture_output=True, text=True, check=False)


def test_the_pipeline_makes_the_same_bytes_in_hostile_surroundings(tmp_path):
    made = []
    for name, hostile in (("friendly", {}), ("hostile", NOTEBOOK | PYTHON | LATIN | NUMBERS | HOMELESS)):
        checkout = Checkout(tmp_path / name)
        shutil.copy(ROOT / "src/weightdecay/report/style.py", checkout.path("src/weightdecay/report/style.py"))
        for finding, claim in (("first", "A1"), ("second", "D1")):
            drawing = FIGURES.replace("Z1", claim).replace("def drawn", "def norm")
            checkout.write(f"experiments/{finding}/figures.py", drawing)
        if hostile:
            checkout.write("matplotlibrc", MATPLOTLIBRC)
            checkout.write("profiles/elsewhere/config.yaml", "dry-run: true\n")
            checkout.write("trap.sh", BASH_ENV)
            checkout.tool("python", "exit 3")
            hostile |= {
                **{"BASH_ENV": str(checkout.path("trap.sh")), "ENV": str(checkout.path("trap.sh")), "CDPATH": "/:/tmp"},
                **{
                    "SNAKEMAKE_PROFILE": "profiles/elsewhere",
                    "SHELLOPTS": "noclobber",
                    "BASH_FUNC_cat%%": "() { exit 3; }",
                },
            }
        done = make(checkout, "reproduce", "SCALE=smoke", "CORES=2", **hostile)
        assert done.returncode == 0, done.stdout + done.stderr
        made.append({path.name: path.read_bytes() for path in checkout.path("paper").rglob("*") if path.is_file()})
        made[-1]["claims.json"] = checkout.path("results/smoke/claims.json").read_bytes()
        assert len(made[-1]["first-norm.pdf"]) > 5_000
    assert made[0] == made[1]


def test_figures_of_a_notebook_are_the_same_too(undisturbed, tmp_path):
    """There the package is a library: the process keeps its environment, and the style sets what it needs."""
    (tmp_path / "matplotlibrc").write_text(MATPLOTLIBRC, encoding="utf-8")
    drawing = re.findall(r"^    (.*)", FIGURES, re.MULTILINE)[:-1]
    (tmp_path / "cell.py").write_text(NOTEBOOK_CELL.format("\n".join(drawing)), encoding="utf-8")
    subprocess.run(
        [sys.executable, "cell.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        check=True,
    )
    for name in ("tiny-drawn.pdf", "tiny-drawn.png"):
        assert (tmp_path / name).read_bytes() == undisturbed[name]


def test_an_environment_of_its_own_keeps_what_is_the_users_and_is_final(tmp_path):
    found = {
        **{"PATH": "/usr/bin", "HOME": str(tmp_path), "CUDA_VISIBLE_DEVICES": "3", "SLURM_JOB_ID": "5", "TZ": "UTC"},
        **{"PYTHONPATH": "/mine:/other", "NUMBA_CACHE_DIR": "/scratch", "TEXMFHOME": "/texmf"},
        **{"TEXINPUTS": "/else:", "NVIDIA_TF32_OVERRIDE": "1", "CUBLAS_WORKSPACE_CONFIG": ":16:8", "LANG": "de_DE"},
    }
    made = surroundings.own(found, tmp_path)
    kept = ("PATH", "HOME", "CUDA_VISIBLE_DEVICES", "SLURM_JOB_ID", "TZ", "NUMBA_CACHE_DIR", "TEXMFHOME")
    assert {name: made[name] for name in kept} == {name: found[name] for name in kept}
    assert made["PYTHONPATH"] == f"{ROOT / 'src'}:/mine:/other"
    assert not {"TEXINPUTS", "NVIDIA_TF32_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG", "LANG"} & set(made)
    assert surroundings.own(made, tmp_path) == made
    needed = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_L2_SIZE": "512"}  # or some processors compute wrong
    assert needed.items() <= surroundings.own(needed, tmp_path).items()


def test_what_a_machine_needs_to_start_anything_is_kept(tmp_path):
    needed = {
        **{"PYTHONHOME": "/opt/python", "PYTHONUSERBASE": "/scratch/me", "PYTHONPLATLIBDIR": "lib64"},
        **{"KMP_DUPLICATE_LIB_OK": "TRUE", "MKL_THREADING_LAYER": "GNU", "MKL_SERVICE_FORCE_INTEL": "1"},
        **{"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": "", "TORCH_EXTENSIONS_DIR": "/scratch"},
        **{"BASH_FUNC_module%%": "() { :; }", "BASH_FUNC_ml%%": "() { :; }", "BASH_FUNC__module_raw%%": "() { :; }"},
    }
    strange = {"BASH_FUNC_cat%%": "() { exit 3; }", "KMP_AFFINITY": "none", "NUMBA_OPT": "1", "PYTHONHASHSEED": "7"}
    strange["PYTHONDONTWRITEBYTECODE"] = "1"  # with it every job would compile the libraries that it imports
    made = surroundings.own(needed | strange, tmp_path)
    assert needed.items() <= made.items() and not strange.keys() & made.keys()


def test_a_process_that_uses_the_package_as_a_library_keeps_its_environment():
    code = "import os; before = dict(os.environ); import weightdecay.table; assert dict(os.environ) == before"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **NOTEBOOK, **LATIN}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


FOREIGN = """
import os, signal, sys
before = dict(os.environ), sys.excepthook, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
import weightdecay
assert before == (dict(os.environ), sys.excepthook, signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP))
"""


@pytest.mark.parametrize("place", [".", "experiments/tiny", "src"])
@pytest.mark.parametrize("name", ["train.py", "weightdecay.py"])
def test_a_program_of_somebody_else_is_left_as_it_is_whatever_its_name(tmp_path, place, name):
    """The folder may hold a Snakefile and a package of its owner's."""
    folder = tmp_path / place
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / "config.yaml", tmp_path / "Snakefile"):
        path.touch()
    (folder / name).write_text(FOREIGN)
    kept = {"OMP_NUM_THREADS": "8", "TORCHELASTIC_RUN_ID": "5", "PYTHONHASHSEED": "7"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), **kept, "WEIGHTDECAY_OWNER": "1"}
    subprocess.run([sys.executable, name], cwd=folder, env=environment, check=True)


def test_the_package_can_be_imported_where_there_is_no_posix():
    code = "import sys; sys.modules.update(pwd=None, fcntl=None); import weightdecay; from weightdecay import {}"
    for module in ("table", "errors", "finding"):
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        subprocess.run([sys.executable, "-c", code.format(module)], env=environment, check=True)


def test_a_program_whose_parent_has_just_been_killed_ends():
    code = "import os; from weightdecay import surroundings; os.getppid = lambda: 1; surroundings._end_with_parent(2)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    assert done.returncode == -signal.SIGTERM


@pytest.mark.parametrize("home", ["/proc/nowhere", "/dev/null", None])
def test_without_a_home_the_commands_work_and_write_in_the_working_folder_alone(checkout, home):
    environment = checkout.environment
    for name in ("HOME", "LOGNAME", "USER", "LNAME", "USERNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
        environment.pop(name, None)
    if home:
        environment["HOME"] = home
    else:  # and nobody knows who this is, as in a container that runs under some number
        checkout.write("fake/sitecustomize.py", "import pwd\ndef unknown(_): raise KeyError\npwd.getpwuid = unknown\n")
    checkout.edit("experiments/first/config.yaml", "enough: 1.0", "enough: 2.0")
    checkout.edit("experiments/first/figures.py", "from . import", "import matplotlib.pyplot\nfrom . import")
    commands = [
        ("weightdecay", "--help"),
        ("weightdecay.workflow.make", *SMOKE),
        ("weightdecay", "train", "first", "--scale", "smoke"),
        ("weightdecay", "claims", "--scale", "smoke"),
    ]
    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=checkout.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
    assert "Matplotlib" not in checkout.path("results/smoke/first/logs/figures.log").read_text()
    assert checkout.path(".snakemake/home").is_dir()


@pytest.mark.parametrize("name", ["{scale} of {x}", "it's 100 %d", "é λ", 'a "b" $HOME `c`', "a\nb"])
def test_a_folder_may_have_any_name(built, tmp_path, name):
    checkout = Checkout.__new__(Checkout)
    checkout.folder = tmp_path / name
    shutil.copytree(built, checkout.folder, symlinks=True)
    checkout.edit("experiments/first/config.yaml", "steps: 10", "steps: 20")
    checkout.make("--config", "scale=smoke")
    assert checkout.planned("--config", "scale=smoke") == {}


def test_the_snakefile_can_be_named_from_elsewhere(checkout, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = {key: value for key, value in checkout.environment.items() if key != "PYTHONPATH"}

    def snakemake(*options: str, python: str = sys.executable) -> subprocess.CompletedProcess:
        command = [python, "-m", "snakemake", "--snakefile", str(checkout.path("Snakefile")), *SMOKE, *options]
        return subprocess.run(command, cwd=elsewhere, env=environment, capture_output=True, text=True, check=False)

    refused = snakemake()
    sentence = "error: there is no experiments/<name>/config.yaml: run from the folder that holds experiments/"
    assert refused.returncode == 1 and sentence in refused.stderr and "Traceback" not in refused.stderr
    done = snakemake("--directory", str(checkout.folder))
    assert done.returncode == 0 and "Nothing to be done" in done.stdout + done.stderr
    assert [path.name for path in elsewhere.iterdir()] in ([], [".snakemake"])


def test_a_snakemake_without_the_requirements_says_what_to_install(checkout):
    checkout.write("fake/pyarrow.py", "raise ModuleNotFoundError(\"No module named 'pyarrow'\")")
    refused = checkout.run("snakemake", *SMOKE)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "error: No module named 'pyarrow' where snakemake runs" in refused.stderr
    assert "install requirements.txt there, or use make." in refused.stderr


def test_a_latexmkrc_is_not_read(checkout):
    checkout.tool("pdflatex", "")
    checkout.tool("latexmk", 'echo "$*" > ../options; mkdir -p build; cat main.tex > build/main.pdf')
    checkout.make("--config", "scale=smoke")
    options = checkout.path("options").read_text().split()
    assert "-norc" in options and "-latexoption=-no-shell-escape" in options
