"""No compiled loop reads or writes beyond an array: by Numba's own bounds check, and at the last door before a loop."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from tests.ensemble.runs import DECAYS, NETWORKS, OPTIMIZERS, PROTOCOL, make
from tests.ensemble.runs import program as program_of
from weightdecay.ensemble.array_checks import check_program
from weightdecay.ensemble.cpu import CpuProgram
from weightdecay.ensemble.operations import FIELDS
from weightdecay.ensemble.training import train
from weightdecay.errors import ConfigError

VARIANTS = {
    "more features than the batch has examples": {"batch_size": 3, "width": 50},
    "fewer examples than a piece of an evaluation": {"train_size": 7, "batch_size": 7},
    "a last, incomplete batch, shuffled": {"train_size": 131, "batch_size": 50, "shuffle": True},
    "more examples than a piece of an evaluation": {"train_size": 700, "batch_size": 650},
    "norm held from the start": {"hold_norm": "start"},
    "norm held from saturation": {"hold_norm": "saturation", "train_size": 64},
    "norm held once it has fallen": {"held_norm": 4.0, "hold_part": "normalised"},
    "no residual block": {"blocks": 0, "batch_norm_eps": None},
    "dropout of a width that is no multiple of four": NETWORKS["mlp, dropout"] | {"width": 5},
    "one hidden unit": NETWORKS["mlp, cross-entropy"] | {"width": 1, "blocks": 1},
    "diverges": {"optimizer": "sgd", "decay": "l2", "learning_rate": 1e30},
}
CHECKED = """
import numpy as np, numba
from tests.ensemble.test_array_checks import every_kind
from weightdecay.ensemble import loops
assert numba.config.BOUNDSCHECK == 1
try:
    batch = np.zeros((2, 2), np.float32)
    loops.gather(np.zeros((3, 2), np.float32), np.array([0, 3]), batch, batch.copy())
    raise SystemExit("the bounds are not checked")
except IndexError:
    every_kind()
"""


def every_kind() -> None:
    """Train two runs of every network, optimiser, decay and variant for a few steps."""
    every = [*NETWORKS.values(), *VARIANTS.values(), *OPTIMIZERS.values(), *DECAYS.values()]
    for settings in every:
        few = {"steps": 7, "log_every": 7, "log_dense_every": 3}
        result = train([make(**settings | few, seed=seed) for seed in (0, 1)], PROTOCOL, "cpu")
        finite = np.isfinite(result.runs["weight_norm"]).all()
        assert finite or settings is VARIANTS["diverges"]


@pytest.mark.slow
def test_numba_s_bounds_check_finds_nothing(tmp_path):
    """All loops compiled anew, with a look at every index."""
    # The checks are in the code before LLVM optimises it: half as long at its lowest level that does.
    checks = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_OPT": "1"}
    environment = {**os.environ, **checks, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": "."}
    done = subprocess.run([sys.executable, "-c", CHECKED], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", [*NETWORKS, *VARIANTS])
def test_every_network_passes_the_door(name):
    check_program(program(**(NETWORKS | VARIANTS)[name]))


def program(**settings) -> CpuProgram:
    return program_of([make(**settings, seed=seed) for seed in (0, 1)])


def refused(made: CpuProgram, sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        check_program(made)


REPLICAS = {"parameters": 0, "gradients": 1, "buffers": 2, "slots": 3}
FAULTS = {  # what may be wrong with an array -> how
    "shorter": lambda array: array[:, :-1].copy(),
    "fewer rows": lambda array: array[:1].copy(),
    "not contiguous": lambda array: np.asfortranarray(array),
    "of another kind": lambda array: array.astype(np.float64),
    "flat": lambda array: array.reshape(-1),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", [*REPLICAS, "train inputs", "train targets", "test inputs", "test targets"])
def test_an_array_that_the_loops_are_not_compiled_for_is_refused(name, fault):
    made, change = program(), FAULTS[fault]
    if name in REPLICAS:
        if (name, fault) in (("parameters", "shorter"), ("buffers", "shorter")):
            return  # then the operations reach beyond it: see below
        arrays = list(made.replicas)
        arrays[REPLICAS[name]] = change(arrays[REPLICAS[name]])
        made.replicas = tuple(arrays)
        refused(made, "the array .* is .*, but the loops take ")
        return
    split, part = name.split()
    pair = list(made.data[split])
    place = ("inputs", "targets").index(part)
    flat = fault in ("shorter", "not contiguous")
    pair[place] = np.stack([change(rows) for rows in pair[place]]) if flat else change(pair[place])
    if fault == "not contiguous":
        pair[place] = np.asfortranarray(pair[place])
    if fault == "fewer rows" and part == "inputs":
        pair[1] = pair[1][:1]  # then `which` is beyond them
    made.data[split] = tuple(pair)
    refused(made, rf"the array {split} (inputs|targets|which) ")


# Flags and counts that are no place; a stride or window fits by chance.
UNBOUNDED = {"trained", "joins", "number", "stride", "window"}


@pytest.mark.parametrize("network", NETWORKS)
def test_an_operation_that_reaches_beyond_its_arrays_is_refused(network):
    """Each number of each operation, that reads or writes, one too large, and negative."""
    made = program(**NETWORKS[network])
    right = made.operations.copy()
    for number, (operation, layer) in enumerate(zip(right, made.layers, strict=True)):
        for field in (*FIELDS[1:], *layer.fields):
            if field in UNBOUNDED:
                continue
            for wrong in (2**40, -1 - operation[field]):
                made.operations = right.copy()
                made.operations[number][field] = wrong
                if number == 0 and field == "inputs":  # held to the data already
                    refused(made, "the array train inputs")
                else:
                    refused(made, f"operation {number} of the compiled network")
    made.operations = right
    check_program(made)


@pytest.mark.parametrize("wrong", [-1, 200, 2**40])
def test_an_order_beyond_the_examples_is_refused(wrong):
    """Where a batch would be gathered from."""
    made = program()
    order = made.ensemble.data_order
    made.ensemble.data_order = lambda seed, epoch: order(seed, epoch).index_fill(0, torch.tensor(1), wrong)
    with pytest.raises(ConfigError, match=r"the array orders has indices from .* to .*, but there are 200"):
        made.advance()


def test_without_the_compiler_there_is_one_sentence():
    asks = "from weightdecay.ensemble import loops"
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", asks], env=environment, capture_output=True, text=True, check=False)
    assert (
        done.stderr.strip()
        .splitlines()[-1]
        .endswith("ConfigError: NUMBA_DISABLE_JIT is set, but a CPU can only train with compiled loops: unset it.")
    )
