"""A checkpoint is what was saved, or is ignored with one line; a training without one goes on, and ends the same."""

import hashlib
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.ensemble.runs import PROTOCOL, make
from weightdecay.ensemble.checkpoint import Checkpoint
from weightdecay.ensemble.state import Ensemble
from weightdecay.ensemble.training import TrainingResult, train
from weightdecay.errors import ResultError

STATE = {
    "stacks": [{"history": [{"step": 0, "train_loss": [0.5, float("nan")]}], "diverged_at": [None, 3]}],
    "current": {
        "step": 7,
        "tensors": {
            "parameters": torch.arange(12, dtype=torch.float32).view(3, 4),
            "finite_steps": torch.tensor([7, 2]),
        },
        "history": [{"step": 5, "weight_norm": [1.5, 2.5]}],
    },
    "seconds": 1.25,
}


def same(ours: object, theirs: object) -> bool:
    """Equal to the last bit, NaN and types included."""
    return pickle.dumps(_plain(ours)) == pickle.dumps(_plain(theirs))


def _plain(value: object) -> object:
    if isinstance(value, torch.Tensor):
        return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
    if isinstance(value, dict):
        return [(str(key), _plain(item)) for key, item in value.items()]
    return [_plain(item) for item in value] if isinstance(value, list) else repr(value)


@pytest.fixture
def saved(tmp_path) -> Path:
    Checkpoint(tmp_path / "checkpoint.pt", "key").save(STATE)
    return tmp_path / "checkpoint.pt"


def ignored(path: Path, capfd) -> bool:
    """Whether nothing is loaded, and one line says of which file."""
    assert Checkpoint(path, "key").load() is None
    lines = capfd.readouterr().err.splitlines()
    return len(lines) == 1 and lines[0].startswith(f"the checkpoint {path} is ignored, and training starts anew: ")


def test_what_was_saved_is_loaded(saved, capfd):
    assert same(Checkpoint(str(saved), "key").load(), STATE)
    assert not capfd.readouterr().err


def test_no_flipped_bit_is_loaded(saved, capfd):
    """600 flips anywhere, and one in every byte of what stands before the tensors. Of 300, 299 were once loaded."""
    whole, generator = saved.read_bytes(), random.Random(0)
    places = [(byte, generator.randrange(8)) for byte in range(64)]
    places += [(generator.randrange(len(whole)), generator.randrange(8)) for _ in range(600)]
    for byte, bit in places:
        saved.write_bytes(whole[:byte] + bytes([whole[byte] ^ 1 << bit]) + whole[byte + 1 :])
        assert ignored(saved, capfd), (byte, bit)


def test_no_part_of_a_file_and_nothing_longer_is_loaded(saved, capfd):
    whole, generator = saved.read_bytes(), random.Random(0)
    for length in [0, 1, 24, 25, 56, 57, len(whole) - 1, *(generator.randrange(len(whole)) for _ in range(100))]:
        saved.write_bytes(whole[:length])
        assert ignored(saved, capfd), length
    for longer in (whole + b"\0", whole + whole, b"\0" + whole, bytes(len(whole))):
        saved.write_bytes(longer)
        assert ignored(saved, capfd)


def sealed(path: Path, body: bytes) -> Path:
    """A file whose digest fits, as whoever can write there can make one."""
    path.write_bytes(b"weightdecay checkpoint 1\n" + hashlib.sha256(body).digest() + body)
    return path


class Hostile:
    """What a pickle runs when it is loaded."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_hostile_file_runs_nothing(saved, capfd, tmp_path):
    """A plain pickle and one in torch's own format, with a digest that fits, or without."""
    proof = tmp_path / "it-ran"
    torch.save({"key": "key", **STATE, "seconds": Hostile(proof)}, tmp_path / "hostile")
    for body in (pickle.dumps(Hostile(proof), protocol=2), (tmp_path / "hostile").read_bytes()):
        saved.write_bytes(body)
        assert ignored(saved, capfd) and not proof.exists()
        assert ignored(sealed(saved, body), capfd) and not proof.exists()
    pickle.loads(pickle.dumps(Hostile(proof)))
    assert proof.exists()  # it would


@pytest.mark.parametrize(
    "state",
    [
        [1, 2, 3],
        {"key": "key"},
        {"key": "key", **STATE, "more": 1},
        {"key": "key", **STATE, "stacks": {}},
        {"key": "key", **STATE, "seconds": "long"},
        {"key": "another", **STATE},
    ],
)
def test_what_is_no_state_of_this_training_is_ignored(saved, capfd, state):
    torch.save(state, saved)
    assert ignored(sealed(saved, saved.read_bytes()), capfd)


def test_tensors_of_other_shapes_are_refused():
    """Torch would spread them over all replicas."""
    ensemble = Ensemble([make(seed=seed) for seed in range(2)], PROTOCOL, torch.float32, torch.device("cpu"))
    right = {name: tensor.clone() for name, tensor in ensemble.tensors().items()}
    wrong = [{name: tensor[:1] for name, tensor in right.items()}, right | {"more": torch.zeros(1)}]
    wrong += [right | {"loss_sum": right["loss_sum"].double()}, {"parameters": right["parameters"]}]
    for tensors in wrong:
        with pytest.raises(ResultError, match="the checkpoint holds tensors of other names or shapes"):
            ensemble.restore(3, tensors)
    ensemble.restore(3, right)


def runs() -> list:
    return [make(seed=seed, width=width, steps=120, log_every=10) for seed in range(2) for width in (8, 16)]


def assert_same(ours: TrainingResult, theirs: TrainingResult) -> None:
    pd.testing.assert_frame_equal(ours.history, theirs.history, check_exact=True)
    pd.testing.assert_frame_equal(ours.runs, theirs.runs, check_exact=True)


def said(capfd) -> list[str]:
    """The lines on stderr that are of the checkpoint."""
    return [line for line in capfd.readouterr().err.splitlines() if "checkpoint" in line]


def test_a_checkpoint_of_other_code_is_ignored(tmp_path, capfd):
    path = tmp_path / "checkpoint.pt"
    train(runs(), PROTOCOL, "cpu", checkpoint=path, code="one")
    for code, lines in (("one", 0), ("another", 1)):
        train(runs(), PROTOCOL, "cpu", checkpoint=path, code=code)
        assert len(said(capfd)) == lines


def test_a_training_with_a_damaged_checkpoint_starts_anew(tmp_path, capfd):
    """Interrupted in the middle, one bit flipped, resumed: once the resumed run was another."""
    path, undisturbed = tmp_path / "checkpoint.pt", train(runs(), PROTOCOL, "cpu")
    train(runs(), PROTOCOL, "cpu", checkpoint=path, checkpoint_seconds=0.0)
    whole = bytearray(path.read_bytes())
    for place in range(60, len(whole), len(whole) // 12):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        assert_same(train(runs(), PROTOCOL, "cpu", checkpoint=path), undisturbed)
        assert len(said(capfd)) == 1


def unwritable(tmp_path: Path) -> Path:
    """A folder in which a file stands where a folder is wanted: nobody, root neither, can make one there."""
    (tmp_path / "file").write_text("mine")
    return tmp_path / "file" / "folder" / "checkpoint.pt"


def occupied(tmp_path: Path) -> Path:
    """A folder of the user's in the place of the file."""
    (tmp_path / "checkpoint.pt").mkdir()
    (tmp_path / "checkpoint.pt" / "mine").write_text("mine")
    return tmp_path / "checkpoint.pt"


IMPOSSIBLE = {
    "no folder": unwritable,
    "a folder in its place": occupied,
    "a name that is too long": lambda tmp_path: tmp_path / ("x" * 300),
    "a name that is too long with our ending": lambda tmp_path: tmp_path / ("x" * 250),
    "a path that is too long": lambda tmp_path: tmp_path.joinpath(*["x" * 200] * 25),
    "a folder that root cannot write in either": lambda tmp_path: Path("/proc/checkpoint.pt"),
    "a name that cannot be": lambda tmp_path: tmp_path / "x\0y",
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_a_training_whose_checkpoint_cannot_be_kept_goes_on(tmp_path, capfd, case):
    """It says so once, names the folder and the space, and ends the same; nothing is left there."""
    path, undisturbed = IMPOSSIBLE[case](tmp_path), train(runs(), PROTOCOL, "cpu")
    before = sorted(tmp_path.rglob("*"))
    said(capfd)
    assert_same(train(runs(), PROTOCOL, "cpu", checkpoint=path, checkpoint_seconds=0.0), undisturbed)
    lines = [line for line in said(capfd) if "is ignored" not in line]
    assert len(lines) == 1
    assert (
        lines[0].startswith(f"no checkpoint can be kept in {path.parent}, where ") and " MiB are needed (" in lines[0]
    )
    assert sorted(tmp_path.rglob("*")) == before


FULL = """
import resource, sys
from pathlib import Path
from tests.ensemble.runs import PROTOCOL
from tests.ensemble.test_checkpoint import runs
from weightdecay.ensemble.checkpoint import Checkpoint
from weightdecay.ensemble.training import train

limit, checkpoint, result = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
save, saves, free = Checkpoint.save, [], resource.RLIM_INFINITY

def counted(self, state):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit if len(saves) in range(3, 9) else free, free))
    before = checkpoint.read_bytes() if checkpoint.exists() else None
    save(self, state)
    now = checkpoint.read_bytes() if checkpoint.exists() else None
    saves.append(now != before)
    assert [path.name for path in checkpoint.parent.iterdir()] == ([checkpoint.name] if now else [])

Checkpoint.save = counted
trained = train(runs(), PROTOCOL, "cpu", checkpoint=checkpoint, checkpoint_seconds=0.0)
print("".join("+" if kept else "-" for kept in saves))
trained.history.to_pickle(result)
"""


@pytest.mark.parametrize("limit", [0, 1, 10_000])
def test_a_disk_that_is_full_for_a_while_costs_a_line(tmp_path, limit):
    """The system refuses to write more than `limit` bytes to a file, from the fourth save to the ninth.

    The third stays whole meanwhile, and from the tenth on they are kept again.
    """
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    command = [sys.executable, "-c", FULL, str(limit), str(folder / "checkpoint.pt"), str(tmp_path / "history")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": "."}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    kept = done.stdout.strip()
    assert kept.startswith("+++------+++") and "-" not in kept[9:]
    (line,) = [line for line in done.stderr.splitlines() if "checkpoint" in line]
    assert line.startswith(f"no checkpoint can be kept in {folder}, where ") and line.endswith("goes on without it.")
    undisturbed = train(runs(), PROTOCOL, "cpu").history
    pd.testing.assert_frame_equal(pd.read_pickle(tmp_path / "history"), undisturbed, check_exact=True)
