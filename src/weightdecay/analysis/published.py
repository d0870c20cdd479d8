"""The numbers that a source published, in published.yaml beside the figures that show them: names and numbers alone."""

from pathlib import Path
from typing import Annotated

import yaml
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from weightdecay.errors import ConfigError, reports_user_errors

Number = int | float
Row = dict[Annotated[str, Field(pattern=r"^\w+$")], Number]
SCHEMA = TypeAdapter(dict[str, Number | Row | list[Row]], config=ConfigDict(strict=True, allow_inf_nan=False))


@reports_user_errors  # figure programs read it when they start
def read_published(path: Path) -> dict[str, Number | Row | list[Row]]:
    """A number, a row of numbers, or a table of them, by name; ConfigError for anything else."""
    try:
        return SCHEMA.validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}.") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{path}: {place} is not a number, or a table of numbers by name.") from error
