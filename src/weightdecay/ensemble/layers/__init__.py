"""The layers that networks are built of, one in each file: `layers.Linear`, `layers.ReLU`, ...; imported on first use.

To add one is to add a file with a class that derives from `layer.Layer` and is registered with `registry.LAYERS`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weightdecay.ensemble.layer import Layer as Layer


def __getattr__(name: str) -> Any:
    """Import and return a layer's class, or the base class `Layer`. So reading a network's rules needs no torch."""
    if name.startswith("_"):
        raise AttributeError(name)
    from importlib import import_module

    from weightdecay.registry import LAYERS

    if name == "Layer":
        return import_module("weightdecay.ensemble.layer").Layer
    for module in (import_module(f"{__name__}.{file}") for file in LAYERS.files):
        if name in vars(module):
            return vars(module)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
