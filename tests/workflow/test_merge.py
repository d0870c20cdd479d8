"""Shards are joined only where the same code trained them, at the same precision."""

import pandas as pd
import pytest

from tests.checkout import CONFIG, INIT
from weightdecay import results
from weightdecay.errors import ResultError
from weightdecay.finding import Finding, findings
from weightdecay.table import table_of
from weightdecay.workflow import stages

LOSSES = ("squared_error", "absolute_error")
CPU, GPU = "numba 0.68.1 for emeraldrapids", "triton"


@pytest.fixture
def finding(tmp_path) -> Finding:
    """A finding with four runs at smoke scale, two of each loss."""
    folder = tmp_path / "experiments/blobs"
    folder.mkdir(parents=True)
    config = CONFIG.format(name="blobs", claim="A1").replace(
        "smoke: {seeds: 2, shards: 2, sweeps: {main: [{weight_decay: [0.0, 0.1]}]}}",
        f"smoke: {{seeds: 2, shards: 4, sweeps: {{main: [{{weight_decay: 0.1, loss: [{', '.join(LOSSES)}]}}]}}}}",
    )
    assert "shards: 4" in config
    for name, text in {"__init__.py": INIT, "config.yaml": config, "train.py": "PROTOCOL = 'now'"}.items():
        (folder / name).write_text(text)
    return findings(tmp_path)["blobs"]


def merge(finding: Finding, *shards: dict) -> None:
    """Write a shard a run, with this metadata, and join them. A `fingerprint` "now" is that of the code of now."""
    runs = sorted(table_of(finding.config, "smoke"), key=lambda run: LOSSES.index(run.loss))
    folder, paths = finding.folder.parents[1], []
    for number, (run, about) in enumerate(zip(runs, shards, strict=True), 1):
        if about.get("fingerprint") == "now":
            device = "cpu" if about["kernels"] == CPU else "cuda"
            about = about | {"fingerprint": stages.code_of_training(finding, [run], device).digest}
        history = pd.DataFrame([(run.id, 0, "train_loss", 1.0)], columns=results.HISTORY)
        rows = pd.DataFrame([{"run": run.id, **run.model_dump(), "diverged_at": None}])
        paths.append(folder / f"{number}of4.parquet")
        results.write_shard(paths[-1], rows, history, about)
    stages.merge(finding, "smoke", paths, folder)
    assert len(results.load(folder).runs) == 4


def trained(fingerprint: str | None, kernels: str = CPU, precision: str = "float32") -> dict:
    return {"fingerprint": fingerprint, "kernels": kernels, "precision": precision}


NOW, OLD, OLDER = trained("now"), trained("old"), trained("older")
# Two runs of one loss, then two of the other.
TOGETHER = {
    "all of now, with a fingerprint for each loss": [NOW] * 4,
    "all of other code": [OLD, OLD, OLDER, OLDER],
    "a part on a GPU": [NOW, NOW, trained("now", GPU), trained("now", GPU)],
    "a part on a GPU, with other code": [NOW, trained("old", GPU), NOW, trained("old", GPU)],
    "before there were fingerprints": [{}, {}, {}, {}],
    "a part before there were fingerprints": [NOW, {}, trained(None), NOW],
}
APART = {
    "of one loss": [OLD, OLDER, OLD, OLD],
    "one of now": [NOW, NOW, NOW, OLD],
    "one of now, and of another loss": [NOW, NOW, OLD, OLD],
    "on GPUs": [trained("old", GPU), trained("older", GPU), NOW, NOW],
}


@pytest.mark.parametrize("shards", TOGETHER.values(), ids=TOGETHER)
def test_shards_of_the_same_code_are_joined(finding, shards):
    merge(finding, *shards)


@pytest.mark.parametrize("shards", APART.values(), ids=APART)
def test_shards_of_different_code_are_refused_in_one_sentence(finding, shards):
    with pytest.raises(ResultError, match=r"of4\.parquet and .*of4\.parquet were trained by different code") as caught:
        merge(finding, *shards)
    assert str(caught.value).endswith("train again with weightdecay train blobs --scale smoke.")
    assert "\n" not in str(caught.value) and not (finding.folder.parents[1] / "runs.parquet").exists()


@pytest.mark.parametrize("kernels", [CPU, GPU])
def test_shards_of_different_precisions_are_refused_on_whatever_devices(finding, kernels):
    other = trained("now", GPU, "tf32")
    with pytest.raises(ResultError, match=r" .*1of4\.parquet at float32 and .*3of4\.parquet at tf32: delete one"):
        merge(finding, trained("now", kernels), {}, other, other)
    assert not (finding.folder.parents[1] / "runs.parquet").exists()
