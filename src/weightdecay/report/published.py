"""Published numbers of a source, from published.yaml in the folder of a finding: only names and numbers."""

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
    """Return numbers, rows of numbers and tables of numbers by name; ConfigError for anything else."""
    content = yaml_file.read(path)
    try:
        return SCHEMA.validate_python(content)
    except ValidationError as error:
        place = (*error.errors()[0]["loc"], "the file")[0]  # pydantic appends which kind it tried
        raise ConfigError(f"{path}: {place} is not a number, or a table of numbers by name.") from error
