"""The numbers that a source published, in published.yaml beside the figures that show them: names and numbers alone."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from weightdecay import yaml_file
from weightdecay.errors import ConfigError, reports_user_errors

Number = int | float
Row = dict[Annotated[str, Field(pattern=r"^\w+$")], Number]
SCHEMA = TypeAdapter(dict[str, Number | Row | list[Row]], config=ConfigDict(strict=True, allow_inf_nan=False))


@reports_user_errors  # figure programs read it when they start
def read_published(path: Path) -> dict[str, Any]:
    """A number, a row of numbers, or a table of them, by name; ConfigError for anything else."""
    content = yaml_file.read(path)
    try:
        return SCHEMA.validate_python(content)
    except ValidationError as error:
        place = (*error.errors()[0]["loc"], "the file")[0]  # what follows a name is how pydantic tells kinds apart
        raise ConfigError(f"{path}: {place} is not a number, or a table of numbers by name.") from error
