"""Commands as a person types them, run in this process, and the tables they write."""

import csv
from pathlib import Path

from typer.testing import CliRunner, Result

from ckin.cli import app


def typed(*words: object, **environment: str) -> Result:
    """What `ckin WORDS` does."""
    return CliRunner().invoke(app, [str(word) for word in words], env=environment)


def rows_of(table: Path) -> list[dict[str, str]]:
    """Rows of a CSV, by the names of its columns."""
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
