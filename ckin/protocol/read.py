"""A protocol file -> protocols. What is wrong with it, with line and key, all at once.

arms = read_protocols("my_trial.toml")     # by name: name of the file's, or name-arm
"""

import contextlib
import tomllib
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydantic

from ckin.errors import InputError, did_you_mean, quoted
from ckin.protocol import places
from ckin.protocol.arms import Protocol
from ckin.protocol.build import base, changed
from ckin.protocol.schema import ProtocolTable, Table


def read_protocols(path: str | Path) -> dict[str, Protocol]:
    """The protocols of a file by name: its arms, or the one that it is.

    Raises:
        InputError: with every fault that was found; line, key, what was found, what
            was expected, how to mend it.
    """
    try:
        text = Path(path).read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: cannot be read ({why}); check the path") from None
    return parse_protocols(text, str(path))


def parse_protocols(text: str, file: str) -> dict[str, Protocol]:
    """The protocols that a text defines.

    Args:
        text: TOML.
        file: what messages call it.

    Raises:
        InputError: as `read_protocols`.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{file}: not TOML ({error}); mend it there") from None
    where = _Where(file, places.lines(text))
    try:
        table = ProtocolTable.model_validate(content)
    except pydantic.ValidationError as error:
        faults = sorted(
            error.errors(),
            key=lambda fault: where.line(_in_file(fault["loc"], content)) or 0,
        )
        told = [_told(fault, content, where) for fault in faults]
        raise InputError("\n".join(told)) from None
    told = [f"{where(path)}: {words}" for path, words in _conflicts(table)]
    if told:
        raise InputError("\n".join(told))
    with where.located(("cycles",)):
        whole = base(table, where.located)
    if not table.arms:
        return {whole.name: whole}
    return {
        f"{table.name}-{arm}": changed(whole, arm, own, where.located)
        for arm, own in table.arms.items()
    }


class _Where:
    """File, line and key of a place."""

    def __init__(self, file: str, found: dict[places.Path, int]):
        self._file, self._found = file, found

    def line(self, path: places.Path) -> int | None:
        return places.line_of(self._found, path)

    def __call__(self, path: places.Path) -> str:
        line = self.line(path)
        told = self._file if line is None else f"{self._file} line {line}"
        return f"{told}, {places.shown(path)}" if path else told

    @contextlib.contextmanager
    def located(self, path: places.Path) -> Iterator[None]:
        """Say of an error where it arose, once."""
        try:
            yield
        except _Located:
            raise
        except InputError as error:
            raise _Located(f"{self(path)}: {error}") from None


class _Located(InputError):
    """An error that says where it arose."""


def _told(fault: Any, content: dict, where: _Where) -> str:
    """One fault of pydantic's in the words of the house."""
    path, loc = _in_file(fault["loc"], content), fault["loc"]
    if fault["type"] == "extra_forbidden":
        table = _table(loc[:-1])
        keys = list(table.model_fields) if table else []
        fix = did_you_mean(str(loc[-1]), keys) + "rename or remove it"
        return (
            f"{where(path)}: found a key {quoted(loc[-1])}, expected one of "
            f"{', '.join(keys)}; {fix}"
        )
    expected = _expected(loc)
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


def _table(loc: tuple) -> type[Table] | None:
    """The table of the schema at a location."""
    table: type[Table] = ProtocolTable
    for part in loc:
        if part in table.model_fields:
            inner = _inner(table.model_fields[part].annotation)
            if inner is None:
                return None
            table = inner
    return table


def _expected(loc: tuple) -> str:
    """What the schema says of the field at a location."""
    said = "something else"
    table: type[Table] | None = ProtocolTable
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


def _conflicts(table: ProtocolTable) -> Iterator[tuple[places.Path, str]]:
    """What single fields do not show: keys that exclude or need each other."""
    count = table.cycles.count
    if count > 1 and table.cycles.every_d is None:
        yield (
            ("cycles",),
            f"found {count} cycles without every_d, expected the days between them; "
            "add every_d = 56",
        )
    entries: list[tuple[places.Path, Any]] = [
        (("doses", place), dose) for place, dose in enumerate(table.doses)
    ]
    if table.lymphodepletion:
        entries.append((("lymphodepletion",), table.lymphodepletion))
    if table.tki and table.tki.held:
        entries.append((("tki", "held"), table.tki.held))
    for path, entry in entries:
        yield from _cycle_conflicts(path, entry, count)
    amounts = [each for each in entries if each[0][0] == "doses"]
    for arm, own in table.arms.items():
        amounts += [
            (("arms", arm, "with_dose", place), each)
            for place, each in enumerate(own.with_dose)
        ]
    for path, entry in amounts:
        given = [k for k in ("cells_per_kg", "cells") if getattr(entry, k) is not None]
        if len(given) != 1:
            found = "neither" if not given else "both"
            yield (
                path,
                f"found {found} of cells_per_kg and cells, expected one of them; "
                f"{'remove one' if given else 'add cells_per_kg = 5e6'}",
            )


def _cycle_conflicts(
    path: places.Path, entry: Any, count: int
) -> Iterator[tuple[places.Path, str]]:
    cycles, start = entry.cycles, getattr(entry, "from_cycle", None)
    if cycles is not None and start is not None:
        yield (
            (*path, "from_cycle"),
            "found from_cycle beside cycles, expected one of them; remove one",
        )
    beyond = [cycle for cycle in cycles or [start or 1] if cycle > count]
    if beyond:
        yield (
            (*path, "cycles" if cycles else "from_cycle"),
            f"found cycle {beyond[0]}, expected 1 to {count}; cycles.count says how "
            "many there are",
        )
