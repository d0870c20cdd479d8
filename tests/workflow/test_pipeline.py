"""The pipeline reruns what a change can affect and nothing else, and refuses bad input before any job.

It is run for real, in a copy of this checkout with two findings whose trainer takes no time and whose TeX is a
shell script; what is under test is the Snakefile, the planning and the command line, which are the real ones.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.checkout import COMPUTE
from weightdecay.errors import ConfigError, ResultError, WeightDecayError
from weightdecay.workflow import pipeline

SMOKE = ("--config", "scale=smoke")
DRAWN = {"figures_first": 1, "figures_second": 1, "overview": 1}
JUDGED_FIRST = {"claims": 1, "ledger": 1, "overview": 1, "figures_first": 1}


def test_everything_is_built_without_tex_and_one_line_says_how_to_get_the_pdf(checkout):
    shutil.rmtree(checkout.path("paper/figures"))
    done = checkout.make(*SMOKE)
    assert [line for line in done.stdout.splitlines() if "main.pdf" in line] == [
        "Everything but paper/main.pdf is built: install latexmk with TeX Live, or tectonic, and run again."
    ]
    assert sorted(path.name for path in checkout.path("paper/figures").iterdir()) == [
        *("first-norm.pdf", "first-norm.png"),
        *("overview-1.pdf", "overview-1.png", "overview-2.pdf", "overview-2.png"),
        *("second-norm.pdf", "second-norm.png"),
    ]
    ledger = json.loads(checkout.path("results/smoke/claims.json").read_text())
    assert [(claim["id"], claim["n"]) for claim in ledger] == [("A1", 4), ("D1", 4)]
    assert not checkout.path("paper/main.pdf").exists()


def test_the_paper_is_typeset_where_there_is_tex(checkout):
    checkout.tool("pdflatex", "")
    checkout.tool("latexmk", "mkdir -p build; cat main.tex numbers.tex > build/main.pdf")
    assert checkout.planned(*SMOKE) == {"paper": 1}
    checkout.make(*SMOKE)
    assert checkout.path("paper/main.pdf").read_text() == "text% results/smoke/first, results/smoke/second"
    checkout.write("paper/sections/method.tex", "method")
    assert checkout.planned(*SMOKE) == {"paper": 1}


def test_nothing_is_rerun_without_a_reason(checkout):
    checkout.write("README.md", "A comment.")
    checkout.path("src/weightdecay/report/style.py").touch()
    assert checkout.planned(*SMOKE) == {}


def test_a_plot_style_redraws_and_trains_nothing(checkout):
    checkout.write("src/weightdecay/report/style.py", "COLOUR = 'black'")
    assert checkout.planned(*SMOKE) == DRAWN


def test_a_criterion_judges_again_and_trains_nothing(checkout):
    checkout.edit("experiments/first/config.yaml", "enough: 1.0", "enough: 2.0")
    assert checkout.planned(*SMOKE) == JUDGED_FIRST


def test_settings_retrain_their_own_finding_at_the_scales_that_use_them(checkout):
    checkout.edit("experiments/first/config.yaml", "laptop: {seeds: 3", "laptop: {seeds: 5")
    assert checkout.planned(*SMOKE) == JUDGED_FIRST
    checkout.edit("experiments/first/config.yaml", "steps: 10", "steps: 20")
    assert checkout.planned(*SMOKE) == {"train": 2, "merge": 1, **JUDGED_FIRST}


def test_a_computation_is_made_again_for_its_own_reasons_alone(checkout):
    checkout.write("experiments/first/compute.py", COMPUTE)
    checkout.edit("experiments/first/config.yaml", "smoke: {", "smoke: {computations: {squares: {count: 3}}, ")
    assert checkout.planned(*SMOKE) == {"compute": 1, **JUDGED_FIRST}
    checkout.make(*SMOKE)
    assert checkout.planned(*SMOKE) == {}
    checkout.edit("experiments/first/config.yaml", "count: 3", "count: 4")
    assert checkout.planned(*SMOKE) == {"compute": 1, **JUDGED_FIRST}
    checkout.make(*SMOKE)
    checkout.edit("experiments/first/config.yaml", "steps: 10", "steps: 20")
    assert checkout.planned(*SMOKE) == {"train": 2, "merge": 1, **JUDGED_FIRST}
    checkout.edit("experiments/first/config.yaml", "steps: 20", "steps: 10")
    checkout.edit("experiments/first/compute.py", "x * x", "x ** 2")
    assert checkout.planned(*SMOKE) == {"compute": 1, **JUDGED_FIRST}


def test_code_reruns_the_findings_that_execute_it(checkout):
    checkout.write("src/weightdecay/datasets/blobs.py", "")
    assert checkout.planned(*SMOKE) == {}
    checkout.edit("experiments/first/train.py", "PROTOCOL", "from weightdecay.datasets import blobs\nPROTOCOL")
    assert checkout.planned(*SMOKE) == {"train": 2, "merge": 1, **JUDGED_FIRST}


def test_a_file_of_data_makes_again_what_names_it(checkout):
    checkout.write("experiments/first/points.csv", "1,2")
    assert checkout.planned(*SMOKE) == {}  # nobody names it yet
    checkout.edit("experiments/first/train.py", "how a row is trained", "points.csv")
    checkout.make(*SMOKE)
    checkout.write("experiments/first/points.csv", "1,3")
    assert checkout.planned(*SMOKE) == {"train": 2, "merge": 1, **JUDGED_FIRST}


def test_nothing_stale_is_taken_for_new_when_snakemake_has_forgotten(checkout):
    shutil.rmtree(checkout.path(".snakemake"))
    assert checkout.planned(*SMOKE) == {}
    checkout.edit("experiments/first/config.yaml", "steps: 10", "steps: 20")
    assert checkout.planned(*SMOKE) == {"train": 2, "merge": 1, **JUDGED_FIRST}


def test_another_scale_rebuilds_the_paper_and_keeps_the_results_of_both(checkout):
    checkout.make("--config", "scale=laptop")
    assert checkout.path("paper/figures/first-norm.pdf").read_text() == "laptop"
    shutil.rmtree(checkout.path(".snakemake"))
    assert checkout.planned(*SMOKE) == {**DRAWN, "ledger": 1}


def test_an_unfinished_pipeline_goes_on_where_it_was(checkout):
    results = checkout.path("results/smoke/first")
    for name in ("shards/2of2.parquet", "runs.parquet", "history.parquet"):
        (results / name).unlink()
    assert checkout.planned(*SMOKE) == {"train": 1, "merge": 1, **JUDGED_FIRST}


def test_a_foreign_or_damaged_shard_is_named_and_the_others_survive(checkout):
    shards = checkout.path("results/smoke/first/shards")
    shutil.copy(checkout.path("results/smoke/second/shards/1of2.parquet"), shards / "1of2.parquet")
    done = checkout.run("snakemake", "--cores", "2", *SMOKE)
    assert done.returncode != 0
    sentence = "error: results/smoke/first/shards/1of2.parquet holds runs that are not its own"
    assert sentence in done.stdout + done.stderr and "Traceback" not in done.stdout + done.stderr
    (shards / "1of2.parquet").write_text("damaged")
    done = checkout.run("snakemake", "--cores", "2", *SMOKE)
    assert "error: results/smoke/first/shards/1of2.parquet is damaged" in done.stdout + done.stderr
    (shards / "1of2.parquet").unlink()
    assert checkout.planned(*SMOKE)["train"] == 1


def test_on_a_gpu_findings_are_one_shard_each_and_take_turns(checkout):
    checkout.gpu()
    checkout.make(*(f"results/smoke/{name}/shards/1of1.parquet" for name in ("first", "second")), *SMOKE)
    code = (
        "from weightdecay import results\n"
        "for name in ('first', 'second'):\n"
        "    about = results.read_table(f'results/smoke/{name}/shards/1of1.parquet')[1]\n"
        "    print(about['device'], about['started'], about['finished'])"
    )
    checkout.write("fake/times.py", code)
    (device, *first), (_, *second) = (line.split() for line in checkout.run("times").stdout.splitlines())
    assert device == "cuda"
    earlier, later = sorted([[float(time) for time in first], [float(time) for time in second]])
    assert earlier[1] <= later[0]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"scale": "papr"}, "--config scale=papr is unknown: choose from smoke, laptop, paper."),
        ({"device": "gpu"}, "device=gpu is unknown: choose from auto, cpu, cuda."),
        ({"scal": "smoke"}, "--config scal is not an option: scale, device, results are."),
        ({"device": "cuda"}, "device=cuda asks for a GPU, but torch finds none here: choose auto or cpu."),
    ],
)
def test_bad_options_are_refused_in_one_sentence(checkout, monkeypatch, options, sentence):
    checkout.write("fake/torch.py", "class cuda:\n    is_available = staticmethod(lambda: False)\n")
    monkeypatch.chdir(checkout.folder)
    monkeypatch.setenv("PYTHONPATH", "fake")
    with pytest.raises(WeightDecayError) as caught:
        pipeline.Plan(options)
    assert str(caught.value) == sentence


def test_snakemake_shows_the_sentence_and_nothing_else(checkout):
    done = checkout.run("snakemake", "--cores", "2", "--config", "scale=papr")
    assert done.returncode != 0
    assert done.stderr.splitlines()[1:] == ["error: --config scale=papr is unknown: choose from smoke, laptop, paper."]


def test_bad_configurations_and_folders_are_refused_in_one_sentence(checkout, monkeypatch):
    monkeypatch.chdir(checkout.folder)
    checkout.edit("experiments/second/config.yaml", "learning_rate:", "learning_rat:")
    with pytest.raises(ConfigError, match=r"experiments/second/config\.yaml: defaults: learning_rat is not a setting"):
        pipeline.Plan({})
    checkout.edit("experiments/second/config.yaml", "learning_rat:", "learning_rate:")
    shutil.rmtree(checkout.path("results"))
    checkout.write("results", "a file where a folder should be")
    with pytest.raises(ResultError, match=r"^cannot write in results/laptop/first: Not a directory\.$"):
        pipeline.Plan({}).check_folders()


def test_a_finding_can_be_trained_and_judged_without_snakemake(checkout):
    shutil.rmtree(checkout.path("results"))
    checkout.run("weightdecay", "train", "first", "--scale", "smoke", "--shard", "2/2")
    lacking = checkout.run("weightdecay", "merge", "first", "--scale", "smoke")
    assert lacking.returncode == 2
    assert lacking.stderr.startswith("error: results/smoke/first/shards/1of2.parquet is missing")
    trained = checkout.run("weightdecay", "train", "first", "--scale", "smoke")
    assert trained.stdout == "results/smoke/first/shards/2of2.parquet is finished already.\n"
    for precision in ("tf32", "float32"):  # each is another result
        arguments = ("--scale", "smoke", "--shard", "2/2", "--precision", precision)
        assert checkout.run("weightdecay", "train", "first", *arguments).stdout == ""
    checkout.run("weightdecay", "train", "second", "--scale", "smoke")
    checkout.path("paper/numbers.tex").unlink()
    judged = checkout.run("weightdecay", "claims", "first", "second", "--scale", "smoke")
    assert judged.returncode == 0, judged.stderr
    assert [claim["id"] for claim in json.loads(checkout.path("results/smoke/claims.json").read_text())] == ["A1", "D1"]
    assert not checkout.path("paper/numbers.tex").exists()


def test_shards_of_another_precision_or_of_changed_code_are_not_joined_and_can_be_trained_again(checkout):
    train, merge = (("weightdecay", command, "first", "--scale", "smoke") for command in ("train", "merge"))
    shards = [f"results/smoke/first/shards/{number}of2.parquet" for number in (1, 2)]
    checkout.run(*train, "--shard", "2/2", "--precision", "tf32")
    done = checkout.run(*merge)
    said = f"shards were trained at different precisions, {shards[0]} at float32 and {shards[1]} at tf32"
    assert (done.returncode, done.stderr) == (2, f"error: {said}: delete one and train it again.\n")
    checkout.edit("experiments/first/train.py", "how a row", "how one row")
    checkout.run(*train, "--shard", "2/2")
    done = checkout.run(*merge)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {shards[0]} and {shards[1]} were trained by different code")
    checkout.run(*train)
    assert checkout.run(*merge).returncode == 0


def test_claims_that_were_judged_by_other_tables_are_named(checkout):
    """`weightdecay claims` without names judges nothing."""
    claims, train = (("weightdecay", command) for command in ("claims", "train"))
    smoke, mine = ("--scale", "smoke"), ("--results", "results/smoke", "--output", "mine")
    assert checkout.run(*train, "first", *smoke).returncode == 0  # the same tables, written again
    assert checkout.run(*claims, "second", *mine).returncode == 0
    assert [checkout.run(*claims, *options).stderr for options in (smoke, mine)] == ["", ""]
    checkout.edit("src/weightdecay/ensemble/training.py", "LOSS = 1.0", "LOSS = 2.0")
    assert checkout.run(*train, *smoke).returncode == 0
    said = "judged by other tables than are there now (name them to judge them anew)"
    for options in (smoke, smoke, mine):
        done = checkout.run(*claims, *options)
        assert done.returncode == 0 and "reproduced" in done.stdout
        assert done.stderr == f"{said}: first, second\n"
    for options in (("first", *smoke), smoke):
        assert checkout.run(*claims, *options).stderr == f"{said}: second\n"
    checkout.path("results/smoke/second/code/judged.txt").unlink()  # as earlier versions left it
    assert checkout.run(*claims, *smoke).stderr == ""


def test_all_findings_are_trained_by_one_command_and_those_on_a_gpu_in_one_shard(checkout):
    shutil.rmtree(checkout.path("results"))
    checkout.gpu()
    done = checkout.run("weightdecay", "train", "--scale", "smoke", "--device", "cuda")
    assert done.returncode == 0, done.stderr
    for name in ("first", "second"):
        shards = checkout.path(f"results/smoke/{name}/shards").iterdir()
        assert [path.name for path in shards] == ["1of1.parquet"]
        assert checkout.path(f"results/smoke/{name}/runs.parquet").is_file()


def test_the_ledger_can_be_cut_short_by_its_reader(checkout):
    command = f"{sys.executable} -m weightdecay claims --scale smoke | {shutil.which('head')} -n 1"
    checkout.tool("cut", command)
    done = subprocess.run(
        [checkout.path("bin/cut")],
        cwd=checkout.folder,
        env={**os.environ, "PYTHONPATH": f"{checkout.folder}/src"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("\n") == 1 and done.stderr == ""


def test_a_shard_is_kept_unless_its_code_has_changed(checkout):
    """Times and comments say nothing, in either direction."""
    train = ("weightdecay", "train", "first", "--scale", "smoke")
    for path in checkout.path("src/weightdecay").rglob("*.py"):
        path.touch()
    checkout.edit("experiments/first/train.py", "PROTOCOL", "# A comment.\nPROTOCOL")
    assert checkout.run(*train).stdout.count("is finished already") == 2
    checkout.edit("experiments/first/train.py", "how a row", "how one row")
    os.utime(checkout.path("experiments/first/train.py"), (0, 0))
    assert checkout.run(*train).stdout == ""


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (("train", "frist"), "there is no experiments/frist/config.yaml here (did you mean first?)."),
        (("train", "first", "--scale", "smoke", "--shard", "3/2"), "shard is '3/2', but must be one of 1/2, 2/2."),
        (("train", "--scale", "smoke", "--shard", "1/2"), "--shard is a part of one finding: name that one."),
    ],
)
def test_the_command_line_refuses_in_one_sentence(checkout, command, sentence):
    done = checkout.run("weightdecay", *command)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {sentence}") and done.stderr.count("\n") == 1


def test_the_command_line_names_the_scales(checkout):
    done = checkout.run("weightdecay", "claims", "--scale", "papr")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "'papr' is not one of 'smoke', 'laptop', 'paper'" in done.stderr


def test_bare_weightdecay_prints_its_help(checkout):
    done = checkout.run("weightdecay")
    assert done.returncode == 0 and done.stdout.startswith("Usage: weightdecay")
