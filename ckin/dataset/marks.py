"""Marks of other programs in a table: rows that are comments, codes for words."""

from collections.abc import Iterable

from ckin.dataset.cells import plain_code, present
from ckin.dataset.faults import Faults, quoted
from ckin.dataset.header import Layout
from ckin.dataset.table import Line, Table


def comment_rows(table: Table, layout: Layout, faults: Faults) -> set[int]:
    """Rows with C in column C (IGNORE=C of NONMEM), or 1 (Monolix)."""
    if not layout.has("C"):
        return set()
    rows = set()
    for line in table.lines:
        mark = (layout.text(line, "C") or "0").upper()
        if mark in ("C", "1"):
            rows.add(line.row)
        elif mark != "0":
            faults.add(
                line.row,
                layout.name("C"),
                quoted(mark),
                "C in a row to be left out, or nothing",
                f"--map {layout.name('C')}=NAME if the column is something else",
            )
    return rows


def check_codes(lines: Iterable[Line], layout: Layout, faults: Faults) -> None:
    """Every cell of a column of codes stands for something.

    Assays and products are looked up later, where a code without a name is a fault.
    """
    names = {at: name for name, at in (layout.covariates | layout.position).items()}
    for at, meanings in layout.codes.items():
        column = names.get(at, "")
        if column in ("CMT", "DVID", ""):
            continue
        known = {*meanings, *meanings.values()}
        for line in lines:
            text = present(line.cells[at])
            if text is not None and plain_code(text) not in known:
                faults.add(
                    line.row,
                    layout.name(column),
                    quoted(text),
                    f"a code of {column}: {', '.join(list(meanings)[:8])}",
                    "name it under [codes] of the column map",
                )
