"""Names are known without torch; a misspelt one is refused with the closest, and every file is what its name says."""

import subprocess
import sys

import pytest

from weightdecay import registry
from weightdecay.ensemble.layer import Layer
from weightdecay.ensemble.loss import Loss
from weightdecay.ensemble.network import Network
from weightdecay.ensemble.optimizer import Optimizer
from weightdecay.errors import ConfigError

REGISTRIES = {"LAYERS": Layer, "LOSSES": Loss, "OPTIMIZERS": Optimizer, "NETWORKS": Network}
WITHOUT_TORCH = """
import sys
from weightdecay.registry import LOSSES, NETWORKS, OPTIMIZERS
assert [LOSSES.declared(name, "classes_from") for name in ("absolute_error", "squared_error")] == [None, 2]
assert OPTIMIZERS.names() == ["adam", "sgd"] and OPTIMIZERS.declared("sgd", "settings") == ("momentum",)
assert len([network.weights for network in NETWORKS.all().values()]) == 5
found = {"torch", "numba"} & set(sys.modules)
assert not found, found
"""


@pytest.mark.parametrize("name", REGISTRIES)
def test_every_file_registers_a_thing_of_its_name(name):
    found = getattr(registry, name).all()
    assert found.keys() == getattr(registry, name).files.keys()
    for key, thing in found.items():
        assert thing.name == key
        assert isinstance(thing, Network) or issubclass(thing, REGISTRIES[name])


def test_names_rules_and_constants_need_no_torch():
    subprocess.run([sys.executable, "-c", WITHOUT_TORCH], check=True)


@pytest.mark.parametrize(
    ("known", "name", "closest"),
    [("LOSSES", "sqared_error", "squared_error"), ("NETWORKS", "mpl", "mlp"), ("OPTIMIZERS", "adamw", "adam")],
)
def test_a_misspelt_name_is_refused_with_the_closest(known, name, closest):
    with pytest.raises(ConfigError, match=rf"is '{name}', which is not known \(did you mean {closest}\?\)\.$"):
        getattr(registry, known).get(name)


@pytest.mark.parametrize("name", registry.LOSSES.names())
def test_what_is_declared_is_what_the_class_has(name):
    assert registry._constants(registry.LOSSES.files[name])["classes_from"] == registry.LOSSES.get(name).classes_from
