"""Shipped results: thinned by their rule, named and refused when anything is wrong, enough to rebuild everything."""

import ast
import hashlib
import json
import math
import os
import random
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.checkout import Checkout
from tests.conftest import copy_of, made_once
from tests.programs import finding
from weightdecay import results
from weightdecay.claims import model as ledger
from weightdecay.config import SCALES, load_config
from weightdecay.errors import ResultError
from weightdecay.results import shipped as reference
from weightdecay.workflow import shipping, stages

ROOT = Path(__file__).parents[2]
SMOKE = ("--config", "scale=smoke")
SHIPPED = "data/reference/smoke"
REBUILT = {"claims": 2, "ledger": 1, "overview": 1, "figures_first": 1, "figures_second": 1}
REFERENCE = ("--config", "results=reference")


@pytest.fixture
def shipped(shipped_beside) -> Checkout:
    """A checkout as one clones it: with shipped results of smoke scale, and with nothing that was made."""
    return cloned(shipped_beside)


def cloned(checkout: Checkout) -> Checkout:
    for name in ("results", "paper/figures", "paper/tables", ".snakemake"):
        shutil.rmtree(checkout.path(name))
    return checkout


@pytest.fixture(scope="session")
def rebuilt_once(built_and_shipped, tmp_path_factory) -> Path:
    return made_once(
        tmp_path_factory, "rebuilt", lambda folder: cloned(copy_of(built_and_shipped, folder)).make(*REFERENCE)
    )


@pytest.fixture
def rebuilt(rebuilt_once, tmp_path) -> Checkout:
    """The same, with everything made of the shipped results."""
    return copy_of(rebuilt_once / "checkout", tmp_path)


def sums(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def made_in(folder: Path) -> list[Path]:
    return [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]


def test_everything_is_rebuilt_from_shipped_results_and_nothing_is_trained(shipped):
    before = sums(shipped.path("data"))
    assert shipped.planned(*REFERENCE) == REBUILT
    shipped.make("reference")
    assert shipped.path("paper/figures/first-norm.pdf").read_text() == "smoke"
    assert shipped.path("paper/numbers.tex").read_text() == f"% {SHIPPED}/first, {SHIPPED}/second"
    assert {path.parts[0] for path in made_in(shipped.path("results"))} == {"reference"}
    assert sums(shipped.path("data")) == before
    shutil.rmtree(shipped.path(".snakemake"))
    assert shipped.planned(*REFERENCE) == {}


def test_each_finding_is_of_the_largest_scale_at_which_it_was_shipped(shipped):
    assert shipped.run("weightdecay", "train", "second", "--scale", "paper").returncode == 0
    assert shipped.run("weightdecay", "ship", "second", "--scale", "paper").returncode == 0
    assert "Left out" not in shipped.make(*REFERENCE).stderr
    assert shipped.path("paper/scale.txt").read_text() == "smoke and paper, shipped\n"
    scales = [shipped.path(f"paper/figures/{name}-norm.pdf").read_text() for name in ("first", "second")]
    assert scales == ["smoke", "paper"]
    assert shipped.path("paper/numbers.tex").read_text() == f"% {SHIPPED}/first, data/reference/paper/second"
    shipped.make(*REFERENCE, "scale=smoke")
    assert shipped.path("paper/figures/second-norm.pdf").read_text() == "smoke"
    left_out = "Left out, as data/reference/paper has no results of them: first."
    assert left_out in shipped.make(*REFERENCE, "scale=paper").stderr.splitlines()
    assert shipped.path("paper/numbers.tex").read_text() == "% data/reference/paper/second"
    page = shipped.run("weightdecay", "expected").stdout
    assert "| `second` | smoke |" in page and "| `second` | paper |" in page
    assert page.count("**reproduced**") == 3 and page.count("| `second` |") == 2 and page.count("| `first` |") == 1


def test_findings_without_shipped_results_are_named(shipped):
    shutil.copytree(shipped.path("experiments/first"), shipped.path("experiments/third"))
    shipped.edit("experiments/third/config.yaml", "experiment: first", "experiment: third")
    shipped.edit("experiments/third/config.yaml", "A1:", "T1:")
    for module in ("claims", "figures"):
        shipped.edit(f"experiments/third/{module}.py", '"A1"', '"T1"')
    line = "Left out, as data/reference has no results of them: third."
    assert line in shipped.make("--dry-run", *REFERENCE).stderr.splitlines()
    assert line in shipped.make("reference").stdout.splitlines()


def test_shipping_one_anew_makes_only_that_one_again(rebuilt):
    rebuilt.edit("src/weightdecay/ensemble/training.py", "LOSS = 1.0", "LOSS = 2.0")
    for command in ("train", "ship"):
        rebuilt.run("weightdecay", command, "second", "--scale", "smoke")
    again = rebuilt.planned(*REFERENCE)
    assert again["claims"] == 1 and "figures_second" in again and "figures_first" not in again


def test_what_was_shipped_at_no_scale_is_said(shipped):
    shutil.rmtree(shipped.path(SHIPPED))
    done = shipped.run("snakemake", "--cores", "2", *REFERENCE)
    assert "error: data/reference has no results at any scale; scales that were shipped: none." in done.stderr
    done = shipped.run("weightdecay", "expected")
    assert done.returncode == 2 and "error: data/reference holds no shipped results" in done.stderr


def test_judgments_of_several_folders_are_written_into_none_of_them(shipped):
    before = sums(shipped.folder)
    done = shipped.run("weightdecay", "claims", "--results", "data/reference/paper", "--results", SHIPPED)
    assert done.returncode == 0 and "'id': 'D1'" in done.stdout, done.stderr
    assert sums(shipped.folder) == before


def test_what_was_shipped_of_one_finding_alone_is_compared_without_training_the_others(shipped):
    shutil.rmtree(shipped.path(SHIPPED))
    for command in ("train", "ship"):
        assert shipped.run("weightdecay", command, "first", "--scale", "smoke").returncode == 0
    shutil.rmtree(shipped.path("results"))
    done = shipped.make("verify", *SMOKE)
    assert "second is not in data/reference/smoke, and not compared" in done.stdout
    assert not shipped.path("results/smoke/second/runs.parquet").exists()


def test_times_of_files_do_not_matter(shipped):
    draw = random.Random(0)
    for path in shipped.folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            time = draw.choice([0, 946684800, 1990000000])  # 1970, 2000, 2033
            os.utime(path, (time, time))
    shipped.make(*REFERENCE)
    assert shipped.path("results/reference/claims.json").is_file()


def test_own_results_take_the_place_of_shipped_ones_and_the_other_way_round(rebuilt):
    rebuilt.make(*SMOKE)
    assert rebuilt.path("paper/scale.txt").read_text() == "smoke\n"
    shutil.rmtree(rebuilt.path(".snakemake"))
    again = rebuilt.planned(*REFERENCE)
    assert (again["figures_first"], again["ledger"]) == (1, 1) and "claims" not in again


def test_a_new_criterion_judges_shipped_results_again_and_new_settings_are_refused(rebuilt):
    rebuilt.edit("experiments/first/config.yaml", "enough: 1.0", "enough: 0.5")
    assert rebuilt.planned(*REFERENCE)["claims"] == 1
    rebuilt.make(*REFERENCE)
    first, second = json.loads(rebuilt.path("results/reference/claims.json").read_text())
    assert (first["verdict"], second["verdict"]) == ("refuted", "reproduced")
    assert json.loads(rebuilt.path(f"{SHIPPED}/first/claims.json").read_text())[0]["verdict"] == "reproduced"
    rebuilt.edit("experiments/first/config.yaml", "steps: 10", "steps: 20")
    done = rebuilt.run("snakemake", "--cores", "2", *REFERENCE)
    assert done.returncode != 0
    assert f"error: {SHIPPED}/first was made with other settings than experiments/first/config.yaml" in done.stderr


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip_a_bit(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(bytes(whole))


@pytest.mark.parametrize("file", ["first/history.parquet", "second/runs.parquet", "first/claims.json"])
@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (truncate, "is not the file that was shipped"),
        (flip_a_bit, "is not the file that was shipped"),
        (Path.unlink, "is missing"),
    ],
)
def test_a_damaged_file_is_named_and_refused_before_any_job(shipped, monkeypatch, file, damage, sentence):
    monkeypatch.chdir(shipped.folder)
    damage(shipped.path(f"{SHIPPED}/{file}"))
    with pytest.raises(ResultError, match=f"^{SHIPPED}/{file} {sentence}"):
        reference.check(SHIPPED)


def test_damaged_and_foreign_files_stop_every_command(shipped):
    truncate(shipped.path(f"{SHIPPED}/first/history.parquet"))
    sentence = f"error: {SHIPPED}/first/history.parquet is not the file that was shipped (its SHA-256 differs)"
    for command in (("snakemake", "--cores", "2", *REFERENCE), ("snakemake", "--cores", "2", "verify", *SMOKE)):
        done = shipped.run(*command)
        assert done.returncode != 0 and sentence in done.stderr and "Traceback" not in done.stderr
    assert not shipped.path("results/smoke/first/runs.parquet").exists()
    expected = shipped.run("weightdecay", "expected")
    assert expected.returncode == 2 and expected.stderr.startswith(sentence)


def test_a_file_without_a_sum_is_refused(shipped, monkeypatch):
    monkeypatch.chdir(shipped.folder)
    shipped.write(f"{SHIPPED}/first/more.parquet", "")
    with pytest.raises(ResultError, match=r"first/more\.parquet was not shipped"):
        reference.check(SHIPPED)
    shipped.write(f"{SHIPPED}/SHA256SUMS", "no sums")
    with pytest.raises(ResultError, match=r"SHA256SUMS is damaged"):
        reference.check(SHIPPED)


def test_what_was_not_shipped_is_said(shipped_beside):
    checkout = shipped_beside
    done = checkout.run("snakemake", "--cores", "2", *REFERENCE, "scale=paper")
    assert "error: data/reference has no results at paper scale; scales that were shipped: smoke." in done.stderr
    done = checkout.run("snakemake", "--cores", "2", "verify", "--config", "scale=laptop")
    assert "error: data/reference/laptop holds no shipped results; scales that were shipped: smoke." in done.stderr


def test_sums_are_those_of_coreutils(shipped):
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=shipped.path(SHIPPED), capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"")


def test_provenance_says_what_the_results_say_of_themselves(shipped):
    about = json.loads(shipped.path(f"{SHIPPED}/provenance.json").read_text())
    for name, said in about["experiments"].items():
        metadata = results.read_table(shipped.path(f"{SHIPPED}/{name}/runs.parquet"))[1]
        for key in ("code_version", "device", "python", "config_hash", "precision"):
            assert said[key] == metadata[key]
        assert (said["runs"], said["seeds"]) == (4, 2)
        assert (said["significant_bits"], said["stride"], said["share_of_history"]) == (24, 1, 1.0)


def test_incomplete_and_damaged_results_are_not_shipped(checkout):
    def refusal() -> str:
        done = checkout.run("weightdecay", "ship", "--scale", "smoke")
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert not checkout.path("data/reference/smoke").exists() and not list(checkout.path("data").rglob("*.part"))
        return done.stderr

    history = checkout.path("results/smoke/second/history.parquet")
    frame, metadata = results.read_table(history)
    results.write_table(history, frame[frame["run"] != frame["run"].iloc[0]], metadata)
    assert "results/smoke/second/history.parquet has 3 of the 4 runs of its settings" in refusal()
    results.write_table(history, frame, metadata)
    truncate(history)
    assert "results/smoke/second/history.parquet is damaged" in refusal()
    history.unlink()
    assert "results/smoke/second/history.parquet is missing" in refusal()
    checkout.edit("experiments/first/config.yaml", "steps: 10", "steps: 20")
    assert "results/smoke/first/runs.parquet was made with other settings" in refusal()


def test_one_finding_is_shipped_anew_and_the_other_stays(shipped):
    before = sums(shipped.path(SHIPPED))
    shipped.edit("src/weightdecay/ensemble/training.py", "LOSS = 1.0", "LOSS = 2.0")
    shipped.run("weightdecay", "train", "first", "--scale", "smoke")
    done = shipped.run("weightdecay", "ship", "first", "--scale", "smoke")
    assert done.returncode == 0, done.stderr
    after = sums(shipped.path(SHIPPED))
    changed = {Path(path).parent.name for path in before if before[path] != after[path]}
    assert changed == {"first", "smoke"}
    verdicts = [json.loads(shipped.path(f"{SHIPPED}/{name}/claims.json").read_text()) for name in ("first", "second")]
    assert [claims[0]["verdict"] for claims in verdicts] == ["refuted", "reproduced"]


def test_shipping_twice_gives_the_same_files(shipped_beside):
    before = sums(shipped_beside.path(SHIPPED))
    shipped_beside.run("weightdecay", "ship", "--scale", "smoke")
    assert sums(shipped_beside.path(SHIPPED)) == before


def test_thinning_that_would_move_what_is_judged_is_refused(checkout):
    checkout.run("weightdecay", "ship", "first", "--scale", "smoke")
    whole = checkout.path(f"{SHIPPED}/first/history.parquet").stat().st_size
    size = "--history-mib", f"{(whole - 1) / 2**20}"
    done = checkout.run("weightdecay", "ship", "first", "--scale", "smoke", *size)
    assert done.returncode == 0, done.stderr
    about = json.loads(checkout.path(f"{SHIPPED}/provenance.json").read_text())["experiments"]["first"]
    rows = len(results.read_table(checkout.path(f"{SHIPPED}/first/history.parquet"))[0])
    assert rows < 44 and about["stride"] > 1 and about["share_of_history"] == round(rows / 44, 4)
    claim = json.loads(checkout.path(f"{SHIPPED}/first/claims.json").read_text())[0]
    assert claim["parts"][0]["quantity"] == f"loss, {rows} values"
    before = sums(checkout.path(SHIPPED))
    for measured in ("len(found.history) / 100", "0.9 + len(found.history) / 1000"):  # the verdict, the value alone
        checkout.edit("experiments/first/claims.py", 'found.history["value"].mean()', measured)
        done = checkout.run("weightdecay", "ship", "first", "--scale", "smoke", *size)
        assert done.returncode == 2 and "gives other values of A1 (loss" in done.stderr
        assert sums(checkout.path(SHIPPED)) == before
        checkout.edit("experiments/first/claims.py", measured, 'found.history["value"].mean()')


def test_a_history_that_cannot_be_thinned_enough_is_refused(checkout):
    done = checkout.run("weightdecay", "ship", "--scale", "smoke", "--history-mib", "0.0001")
    assert done.returncode == 2
    assert done.stderr.startswith("error: the history of first cannot be cut down to 0.0001 MiB")


SCHEDULES = {  # steps, log_every, log_dense_every, log_dense_until
    "dense throughout": (10_000, 10**9, 10, 10**9),
    "both, off each other's grid": (30_030, 3_900, 234, 10**9),
    "dense early": (3_000, 150, 5, 100),
    "sparse": (600, 300, 300, 0),
}


def history_of(schedule: str, stop: float = math.inf) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Two runs logged as the trainer logs; the second has no number from step `stop` on, as after a divergence."""
    steps, every, dense_every, dense_until = SCHEDULES[schedule]
    full = {0, steps, *range(0, steps + 1, every)}
    logged = sorted(full | set(range(0, min(dense_until, steps) + 1, dense_every)))
    rows = [
        (run, step, metric, np.nan if run == "b" and step >= stop else float(step))
        for run in "ab"
        for step in logged
        for metric in ("test_loss", "train_loss")
        if metric == "test_loss" or step in full
    ]
    history = pd.DataFrame(rows, columns=["run", "step", "metric", "value"])
    return history, pd.DataFrame({"run": ["a", "b"], "steps": steps, "log_every": every})


def test_rounding_keeps_four_digits_and_leaves_what_is_no_number():
    values = np.float32([0.0, 1.0, -0.75, 1 / 3, 123.456, -7.7e-30, 3e38, np.inf, -np.inf, np.nan])
    left = shipping.rounded(values, shipping.ROUNDED_BITS)
    assert left.dtype == np.float32
    np.testing.assert_allclose(left, values, rtol=2.0**-shipping.ROUNDED_BITS, atol=0)
    np.testing.assert_array_equal(left[[0, 1, 2]], values[[0, 1, 2]])
    assert (left.view(np.uint32) & (2 ** (shipping.FLOAT32_BITS - shipping.ROUNDED_BITS) - 1) == 0)[:-1].all()
    np.testing.assert_array_equal(shipping.rounded(values, shipping.FLOAT32_BITS), values)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_stride_that_leaves_less_is_tried(schedule):
    history, runs = history_of(schedule)
    tried = list(shipping.strides(history, runs))

    def left(stride: int) -> int:
        return len(shipping.thinned(history, runs, stride))

    for stride in (*range(2, 40), 100, 300, 900, 901):
        assert (left(stride) < left(stride - 1)) == (stride in tried)
    assert left(max(tried, default=1)) == left(10**6)


def test_metrics_named_as_unrounded_keep_their_values(tmp_path):
    history, _ = history_of("sparse")
    history["value"] += 1 / 3
    shipping._write_rows(tmp_path / "history.parquet", history, 4, {}, ["test_loss"])
    values = results.read_table(tmp_path / "history.parquet")[0]["value"].to_numpy()
    whole = history["value"].to_numpy(np.float32)
    named = history["metric"] == "test_loss"
    np.testing.assert_array_equal(values[named], whole[named])
    np.testing.assert_array_equal(values[~named], shipping.rounded(whole[~named], 4))


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("stride", [1, 2, 7])
def test_thinning_keeps_the_ends_the_last_steps_and_every_stride_th_of_the_others(schedule, stride):
    history, runs = history_of(schedule)
    kept = shipping.thinned(history, runs, stride)
    pd.testing.assert_frame_equal(  # nothing is changed, nothing invented
        kept.merge(history, how="left"), kept
    )
    steps = runs["steps"].iloc[0]
    for metric in ("test_loss", "train_loss"):
        logged, left = (
            sorted(table.loc[(table["run"] == "a") & (table["metric"] == metric), "step"]) for table in (history, kept)
        )
        assert left[0] == 0 and left[-1] == steps
    logged, left = (sorted(table.loc[table["run"] == "a", "step"].unique()) for table in (history, kept))
    late = [step for step in logged[-shipping.LAST_STEPS :] if step >= 0.9 * steps]
    assert set(late) <= set(left)
    early = [step for step in logged if step not in late]
    assert len(set(left) - set(late)) <= math.ceil(len(early) / stride) + 2
    if stride == 1:
        assert left == logged


def test_unread_metrics_and_numbered_ones_logged_at_few_steps_are_left_to_the_table_of_runs():
    often = (0, 10, 20, 30)
    logged = {"fit_00": (0, 20, 30), "variance_1": often, "test_loss": (0, 30), "norm": often, "scale_2": often}
    rows = [(run, step, metric, 1.0) for run in "ab" for metric, steps in logged.items() for step in steps]
    history = pd.DataFrame(rows, columns=["run", "step", "metric", "value"])
    left = shipping.without_idle_metrics(history, ["norm", "scale"])
    assert left.groupby(["run", "metric"]).size().to_dict() == {
        (run, metric): len(logged[metric]) for run in "ab" for metric in ("variance_1", "test_loss")
    }


@pytest.mark.parametrize(
    "path", sorted((ROOT / "experiments").glob("*/config.yaml")), ids=lambda path: path.parent.name
)
def test_what_a_config_names_as_unread_is_read_nowhere(path):
    """By claims and figures: no string in them is a metric of that name, or begins a numbered one."""
    sources = [source for source in path.parent.glob("*.py") if source.name not in ("train.py", "compute.py")]
    constants = {
        node.value
        for source in sources
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    for metric in load_config(path).unread:
        assert not any(re.fullmatch(rf"{metric}(_\d*)?", constant) for constant in constants), metric


def test_evenly_logged_curves_stay_even_and_sparse_metrics_keep_their_share():
    history, runs = history_of("dense throughout")
    kept = shipping.thinned(history, runs, 3)
    steps = kept.loc[(kept["run"] == "a") & (kept["metric"] == "test_loss"), "step"].to_numpy()
    assert set(np.diff(steps[(steps > 0) & (steps < 9_800)])) == {30}
    history, runs = history_of("both, off each other's grid")
    kept = shipping.thinned(history, runs, 2)
    steps = kept.loc[(kept["run"] == "a") & (kept["metric"] == "train_loss"), "step"].tolist()
    assert steps[:4] == [0, 7_800, 15_600, 23_400] and steps[-1] == 30_030


def test_what_is_kept_does_not_depend_on_values():
    """Or the seeds of one setting would have no steps in common."""
    history, runs = history_of("dense early", stop=500)
    kept = shipping.thinned(history, runs, 4)
    first, second = (kept.loc[kept["run"] == run, ["metric", "step"]].to_numpy().tolist() for run in "ab")
    assert first == second


@pytest.mark.parametrize("scale", SCALES)
def test_the_results_in_this_repository_are_whole_and_small(scale, monkeypatch):
    """Of what is shipped the sums hold, and settings are those of now."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    if scale not in reference.scales():
        pytest.skip("nothing is shipped of this scale")
    names = reference.provenance(scale)
    configs = {name: load_config(Path("experiments", name, "config.yaml")) for name in names}
    reference.check_settings(scale, configs)
    files = [path for path in reference.FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= shipping.MOST_BYTES


@pytest.mark.parametrize("name", sorted(path.parent.name for path in ROOT.glob("experiments/*/config.yaml")))
@pytest.mark.parametrize("scale", SCALES)
def test_judging_what_is_shipped_again_gives_the_shipped_ledger(scale, name, monkeypatch):
    monkeypatch.chdir(ROOT)
    if name not in reference.provenance(scale):
        pytest.skip("nothing is shipped of this scale")
    judged = stages.judge(finding(name), scale, reference.FOLDER / scale / name)
    shipped = ledger.read(reference.FOLDER / scale / name / "claims.json")
    assert [claim.id for claim in judged] == [claim.id for claim in shipped]
    for now, then in zip(judged, shipped, strict=True):
        assert now.verdict == then.verdict, f"{now.id} of {scale} scale: ship {name} again"
        for part, other in zip(now.parts, then.parts, strict=True):
            assert part.measured == pytest.approx(other.measured, rel=1e-6, abs=1e-9, nan_ok=True)
