"""What is wrong with a TOML file, by its schema: all of it, with line and key.

table, where = validated(read_text("mine.toml"), "mine.toml", ProtocolTable)
"""

import contextlib
import tomllib
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from ckin.errors import InputError, did_you_mean, quoted
from ckin.protocol import places
from ckin.protocol.schema import Table


AnyTable = TypeVar("AnyTable", bound=Table)


def read_text(path: str | Path) -> str:
    """The text of a file, with lines that end as they do everywhere.

    Raises:
        InputError: a file that cannot be read.
    """
    try:
        return Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({why}); check the path") from None


def validated(text: str, file: str, root: type[AnyTable]) -> tuple[AnyTable, "Where"]:
    """A text as its schema reads it, and where each of its keys stands.

    Args:
        text: TOML.
        file: what messages call it.
        root: the schema of the whole file.

    Raises:
        InputError: with every fault that was found; line, key, what was found, what
            was expected, how to mend it.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file}: not TOML ({error}); mend it there") from None
    where = Where(file, places.lines(text))
    try:
        return root.model_validate(content), where
    except pydantic.ValidationError as error:
        faults = sorted(
            error.errors(),
            key=lambda fault: where.line(_in_file(fault["loc"], content)) or 0,
        )
        told = [_told(fault, content, where, root) for fault in faults]
        raise InputError("\n".join(told)) from None


class Where:
    """File, line and key of a place."""

    def __init__(self, file: str, found: dict[places.Path, int]):
        self._file, self._found = file, found

    def line(self, path: places.Path) -> int | None:
        """Line of a key path, or of the nearest thing that holds it."""
        return places.line_of(self._found, path)

    def __call__(self, path: places.Path) -> str:
        """The place as a message names it."""
        line = self.line(path)
        told = self._file if line is None else f"{self._file} line {line}"
        return f"{told}, {places.shown(path)}" if path else told

    @contextlib.contextmanager
    def located(self, path: places.Path) -> Iterator[None]:
        """Say of an error where it arose, once."""
        try:
            yield
        except Located:
            raise
        except InputError as error:
            raise Located(f"{self(path)}: {error}") from None

    def tell(self, faults: Iterable[tuple[places.Path, str]]) -> None:
        """Say all of these at once, each with its line and key, if there is any.

        Raises:
            InputError: there is one.
        """
        told = [f"{self(path)}: {words}" for path, words in faults]
        if told:
            raise InputError("\n".join(told))


class Located(InputError):
    """An error that says where it arose."""


def _told(fault: Any, content: dict, where: Where, root: type[Table]) -> str:
    """One fault of pydantic's in the words of the house."""
    path, loc = _in_file(fault["loc"], content), fault["loc"]
    if fault["type"] == "extra_forbidden":
        table = _table(loc[:-1], root)
        keys = list(table.model_fields) if table else []
        fix = did_you_mean(str(loc[-1]), keys) + "rename or remove it"
        return (
            f"{where(path)}: found a key {quoted(loc[-1])}, expected one of "
            f"{', '.join(keys)}; {fix}"
        )
    expected = _expected(loc, root)
    if fault["type"] == "missing":
        return f"{where(path)}: found nothing, expected {expected}; add {loc[-1]} = ..."
    fix = fault.get("ctx", {}).get("fix") or "mend it there"
    if fault["type"] in ("float_type", "int_type") and isinstance(fault["input"], str):
        fix = "write the number alone; its unit is in the name of the key"
    found = loc[-2] if loc and loc[-1] == "[key]" else fault["input"]
    return f"{where(path)}: found {quoted(found)}, expected {expected}; {fix}"


def _in_file(loc: tuple, content: Any) -> places.Path:
    """The part of a location that the file has; a list of one may be its entry."""
    path: places.Path = ()
    for part in loc:
        if isinstance(part, int) and not isinstance(content, list):
            break
        if part == "[key]":
            break
        path = (*path, part)
        inside = isinstance(content, dict) or isinstance(part, int)
        try:
            content = content[part] if inside else None
        except (KeyError, IndexError):
            content = None
    return path


def _table(loc: tuple, root: type[Table]) -> type[Table] | None:
    """The table of the schema at a location."""
    table: type[Table] = root
    for part in loc:
        if part in table.model_fields:
            inner = _inner(table.model_fields[part].annotation)
            if inner is None:
                return None
            table = inner
    return table


def _expected(loc: tuple, root: type[Table]) -> str:
    """What the schema says of the field at a location."""
    said = "something else"
    table: type[Table] | None = root
    for part in loc:
        if table is not None and part in table.model_fields:
            field = table.model_fields[part]
            said, table = field.description or said, _inner(field.annotation)
    return said


def _inner(annotation: Any) -> type[Table] | None:
    """The table inside `X | None`, `list[X]` or `dict[str, X]`."""
    if isinstance(annotation, type) and issubclass(annotation, Table):
        return annotation
    found = (_inner(part) for part in typing.get_args(annotation))
    return next((table for table in found if table), None)
