"""A protocol file -> protocols. What is wrong with it, with line and key, all at once.

arms = read_protocols("my_trial.toml")     # by name: name of the file's, or name-arm
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ckin.errors import InputError
from ckin.protocol import places
from ckin.protocol.arms import Protocol
from ckin.protocol.build import base, changed
from ckin.protocol.faults import read_text, validated
from ckin.protocol.schema import ProtocolTable


def read_protocols(path: str | Path) -> dict[str, Protocol]:
    """The protocols of a file by name: its arms, or the one that it is.

    Raises:
        InputError: with every fault that was found; line, key, what was found, what
            was expected, how to mend it.
    """
    return parse_protocols(read_text(path), str(path))


def parse_protocols(text: str, file: str) -> dict[str, Protocol]:
    """The protocols that a text defines.

    Args:
        text: TOML.
        file: what messages call it.

    Raises:
        InputError: as `read_protocols`.
    """
    table, where = validated(text, file, ProtocolTable)
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
