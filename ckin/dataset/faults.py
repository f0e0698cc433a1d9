"""What is wrong with an input: where, what was found, what was expected, what to do.

Reading goes on after a fault, so that one run tells a person everything there is to
mend. Whoever reads collects into `Faults` and ends with `raise_any`.
"""

import dataclasses
from collections.abc import Iterable, Iterator

from ckin.errors import did_you_mean as did_you_mean
from ckin.errors import nearest as nearest
from ckin.errors import quoted as quoted


@dataclasses.dataclass(frozen=True)
class Fault:
    """One thing to mend.

    Attributes:
        file: file as it was named, or the option (`--map`).
        row: line of the file, counted from 1 as an editor does (comment lines and the
            row of column names count); `None` when it is not about one row.
        column: column as the file spells it; `None` when it is not about one.
        found: what is there; a cell is quoted.
        expected: what should be there.
        fix: what to do about it.
    """

    file: str
    row: int | None
    column: str | None
    found: str
    expected: str
    fix: str

    def __str__(self) -> str:
        return self.line(1)

    def line(self, count: int) -> str:
        """The fault in one line, standing for `count` rows that have the same."""
        place = self.file if self.row is None else f"{self.file} row {self.row}"
        if count > 1:
            place += f" (and {count - 1} more)"
        if self.column is not None:
            place += f", column {self.column}"
        return f"{place}: found {self.found}, expected {self.expected}; {self.fix}"


class DataError(ValueError):
    """An input that cannot be used, with every fault that was found in it.

    Attributes:
        faults: all of them, by row.
    """

    faults: tuple[Fault, ...]

    def __init__(self, faults: Iterable[Fault]):
        self.faults = tuple(faults)
        super().__init__(self.faults)

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """One line per kind of fault: rows that share one are told once, counted."""
        alike: dict[tuple, list[Fault]] = {}
        for fault in self.faults:
            kind = (fault.file, fault.column, fault.found, fault.expected, fault.fix)
            alike.setdefault(kind, []).append(fault)
        return [same[0].line(len(same)) for same in alike.values()]


class Faults:
    """Faults of one file (or option) as they are found.

    Attributes:
        file: what the faults name as their file.
    """

    def __init__(self, file: str):
        self.file = file
        self._found: list[Fault] = []

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._found)

    def add(
        self, row: int | None, column: str | None, found: str, expected: str, fix: str
    ) -> None:
        """Note a fault of this file."""
        self._found.append(Fault(self.file, row, column, found, expected, fix))

    def extend(self, faults: Iterable[Fault]) -> None:
        """Note faults of another file."""
        self._found.extend(faults)

    def raise_any(self) -> None:
        """Raise what was found, if anything was, in order of rows.

        Raises:
            DataError: there is at least one fault.
        """
        if self._found:
            raise DataError(sorted(self._found, key=lambda fault: fault.row or 0))
