"""The same records as NONMEM or Monolix wants them: what differs from ckin's own table.

NONMEM takes numbers alone. Patients, products, assays and words become codes: the side
file lists them, and a key file beside it the patients. A level of an input is in LEVEL
(NONMEM wants no AMT on EVID 2), a dose that runs in has RATE, `.` is missing, and lines
that are no records start with `#`, which NONMEM ignores unless told otherwise.

Monolix has names of its own, and says in LIMIT from where on a censored value may lie:
0 here. The detection limit of each sample is in LLOQ, which the side file says.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from ckin.dataset.column_map import ColumnMap
from ckin.dataset.columns import ASSAYS, OTHER_EVENTS
from ckin.protocol import PRODUCTS


Row = dict[str, str]
# A whole number that is not a name is its own code.
LARGEST_ID = 999_999_999


@dataclasses.dataclass(frozen=True)
class Written:
    """A table to be written, as text.

    Attributes:
        names: columns, in order.
        rows: cells by column; a column without a cell is missing.
        texts: covariates that are words.
        comments: lines above the table.
        columns: what the side file says.
        key: what the key file says: who is who.
        own: products and units of assays of the data's own, which codes refer to.
        head: comments of the side file.
        missing: what stands where nothing is known.
        before_names: what stands before the column names.
    """

    names: tuple[str, ...]
    rows: tuple[Row, ...]
    texts: tuple[str, ...]
    comments: tuple[str, ...]
    columns: ColumnMap
    key: ColumnMap = ColumnMap()
    own: ColumnMap = ColumnMap()
    head: str = ""
    missing: str = ""
    before_names: str = ""


def plain(table: Written) -> Written:
    """The table in ckin's own words."""
    return table


def nonmem(table: Written) -> Written:
    """The table in numbers."""
    names, rows = _without_levels_in_amt(table)
    if "DUR" in names:
        names = ["RATE" if name == "DUR" else name for name in names]
        rows = [_with_rate(row) for row in rows]
    names.insert(names.index("DV"), "MDV")
    rows = [row | {"MDV": "01"[row["EVID"] != "0"]} for row in rows]
    known = {"CMT": _given(table), "DVID": (*ASSAYS, *_own_assays(table))}
    codes = {
        name: _codes((row.get(name, "") for row in rows), known.get(name))
        for name in ("CMT", "DVID", *table.texts)
    }
    codes = {name: meanings for name, meanings in codes.items() if meanings}
    patients = list(dict.fromkeys(row["ID"] for row in rows))
    key = {} if all(map(_is_a_number, patients)) else {"ID": _codes(patients, patients)}
    numbers = {
        name: {word: code for code, word in meanings.items()}
        for name, meanings in (codes | key).items()
    }
    coded = tuple(
        {name: numbers.get(name, {}).get(cell, cell) for name, cell in row.items()}
        for row in rows
    )
    return dataclasses.replace(
        table,
        names=tuple(names),
        rows=coded,
        columns=dataclasses.replace(
            table.columns,
            codes=codes,
            units=table.own.units,
            products=table.own.products,
        ),
        key=ColumnMap(codes=key),
        head=f"# $INPUT {' '.join(names)}\n# $DATA FILE IGNORE=#\n",
        missing=".",
        before_names="#",
    )


def monolix(table: Written) -> Written:
    """The table in the words of Monolix."""
    names, rows = _without_levels_in_amt(table)
    words = {"DV": "Y", "DVID": "YTYPE", "CMT": "ADM", "DUR": "TINF", "LIMIT": "LLOQ"}
    renamed = [{words.get(k, k): cell for k, cell in row.items()} for row in rows]
    codes = _codes((row.get("CMT", "") for row in rows), _given(table))
    numbers = {word: code for code, word in codes.items()}
    for row in renamed:
        if "ADM" in row:
            row["ADM"] = numbers[row["ADM"]]
        if row.get("CENS") == "1":
            row["LIMIT"] = "0"
    names = [words.get(name, name) for name in names]
    names.insert(names.index("LLOQ"), "LIMIT")
    columns = dataclasses.replace(
        table.columns,
        rename={"LLOQ": "LIMIT"},
        ignore=("LIMIT",),
        codes={"CMT": codes} if codes else {},
        units=table.own.units,
        products=table.own.products,
    )
    return dataclasses.replace(
        table, names=tuple(names), rows=tuple(renamed), columns=columns, missing="."
    )


CONVENTIONS: dict[str, Callable[[Written], Written]] = {
    "ckin": plain,
    "nonmem": nonmem,
    "monolix": monolix,
}


def _without_levels_in_amt(table: Written) -> tuple[list[str], list[Row]]:
    """Columns and rows, where the level of an input is in LEVEL."""
    names, rows = list(table.names), []
    for row in table.rows:
        if row["EVID"] == "2" and "AMT" in row:
            row = {name: cell for name, cell in row.items() if name != "AMT"} | {
                "LEVEL": row["AMT"]
            }
        rows.append(row)
    if any("LEVEL" in row for row in rows):
        names.insert(names.index("AMT") + 1, "LEVEL")
    return names, rows


def _with_rate(row: Row) -> Row:
    """A row with RATE where it had DUR; a dose of no cells has none."""
    rest = {name: cell for name, cell in row.items() if name != "DUR"}
    if "DUR" not in row:
        return rest
    return rest | {"RATE": repr(float(row["AMT"]) / float(row["DUR"]))}


def _given(table: Written) -> tuple[str, ...]:
    """What CMT may say, in the order of its codes."""
    words = (row.get("CMT", "") for row in table.rows if row["EVID"] in ("1", "4"))
    own = sorted(set(words) - {"", *PRODUCTS})
    return (*PRODUCTS, *own, *OTHER_EVENTS)


def _own_assays(table: Written) -> tuple[str, ...]:
    return tuple(sorted({row.get("DVID", "") for row in table.rows} - {"", *ASSAYS}))


def _codes(cells: Iterable[str], order: Sequence[str] | None) -> dict[str, str]:
    """Number -> word, for the words that occur; in some order, or by name."""
    words = set(cells) - {""}
    listed = sorted(words) if order is None else [w for w in order if w in words]
    return {str(code): word for code, word in enumerate(listed, start=1)}


def _is_a_number(text: str) -> bool:
    plain = text.isascii() and text.isdigit() and str(int(text)) == text
    return plain and 0 < int(text) <= LARGEST_ID
