"""What a page of the documentation owes the schema of a file: a word on every key."""

import inspect
from pathlib import Path
from types import ModuleType

from ckin.protocol.schema import ChangesTable, Table


def tables_of(schema: ModuleType) -> list[type[Table]]:
    """The tables that a schema defines itself."""
    return [
        table
        for _, table in inspect.getmembers(schema, inspect.isclass)
        if issubclass(table, Table) and table.__module__ == schema.__name__
    ]


def untold_keys(schema: ModuleType, page: Path) -> list[str]:
    """Keys that the page does not name; those of changes are on another page."""
    told = page.read_text(encoding="utf-8")
    return [
        f"{table.__name__}: {key}"
        for table in tables_of(schema)
        for key in sorted(set(table.model_fields) - set(ChangesTable.model_fields))
        if f"`{key}`" not in told
    ]
