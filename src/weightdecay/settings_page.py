"""docs/settings.md, which explains every key of a finding's config.yaml and every setting of a run, from the schema."""

import json
import types
from collections.abc import Iterable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from weightdecay.blocks import LEFT_OUT
from weightdecay.config import Config, Criterion, Scale, Scales
from weightdecay.run import Run
from weightdecay.setting_types import Allowed

PARTS: dict[str, type[BaseModel]] = {
    "A configuration": Config,
    "`scales`": Scales,
    "A scale": Scale,
    "A criterion": Criterion,
    "A run: `defaults` and the blocks of `sweeps`": Run,
}
KINDS = {bool: "true or false", str: "text", list: "a list", dict: "a mapping", type(None): "null"}


def settings_page() -> str:
    """Return the page in Markdown: for each part of a configuration a table of its keys, their values and meaning."""
    lines = ["# Settings", "", "Every key of `experiments/<name>/config.yaml`, from its schema."]
    for title, model in PARTS.items():
        lines += ["", f"## {title}", "", "| key | what it may be | if left out | what it is |", "|---|---|---|---|"]
        lines += [_row(name, field) for name, field in model.model_fields.items() if name not in _given(model)]
    return "\n".join([*lines, ""])


def _given(model: type[BaseModel]) -> tuple[str, ...]:
    """Return the fields of a run that no block gives: a configuration names the finding and the sweep elsewhere."""
    return ("experiment", "sweep") if model is Run else ()


def _row(name: str, field: FieldInfo) -> str:
    cells = (f"`{name}`", " or ".join(_allowed(field.rebuild_annotation())), _left_out(name, field), field.description)
    return f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in cells)} |"


def _left_out(name: str, field: FieldInfo) -> str:
    """Return the value that holds if a configuration leaves the key out."""
    if name == "log_dense_every":
        return "`log_every`"
    if field.default_factory:
        return "none"
    default = LEFT_OUT[name][0] if name in LEFT_OUT else field.default
    if default is PydanticUndefined:
        return "needed"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _allowed(kind: Any) -> Iterable[str]:
    """Yield the words for what a type allows."""
    if get_origin(kind) is Annotated:
        said = [extra.said for extra in kind.__metadata__ if isinstance(extra, Allowed)]
        return said or _allowed(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return [f"`{value}`" for value in get_args(kind)]
    if get_origin(kind) in (Union, types.UnionType):
        return [said for one in get_args(kind) for said in _allowed(one)]
    return [KINDS.get(get_origin(kind) or kind, "a mapping")]
