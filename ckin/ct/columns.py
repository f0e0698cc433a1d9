"""The columns of a file of wells, and where they are in its rows."""

from collections.abc import Iterable, Mapping

from ckin.dataset.faults import Faults, did_you_mean, nearest, quoted
from ckin.dataset.header import Layout
from ckin.dataset.table import Table


COLUMNS = {
    "PLATE": "plate (run) the well belongs to; one plate without it",
    "WELL": "position on the plate",
    "TYPE": "standard, sample or ntc (no template)",
    "CT": "threshold cycle; empty or Undetermined without amplification",
    "COPIES": "copies per reaction of a standard",
    "SAMPLE": "name that the replicate wells of a sample share",
    "ID": "patient",
    "TIME": "days from the first infusion",
    "DNA_NG": "DNA that went into the reaction of a sample, ng",
    "OCC": "cycle, from 1",
}
REQUIRED = ("TYPE", "CT")
IGNORE = "IGNORE"
# Other names that mean the same without doubt.
SYNONYMS = {"CQ": "CT", "CYCLE": "OCC"}
# What other files call our columns: for suggestions.
ALIASES = {
    "CP": "CT",
    "TASK": "TYPE",
    "CONTENT": "TYPE",
    "QUANTITY": "COPIES",
    "QTY": "COPIES",
    "SAMPLE NAME": "SAMPLE",
    "SAMPLE_NAME": "SAMPLE",
    "RUN": "PLATE",
    "POSITION": "WELL",
    "PATIENT": "ID",
    "SUBJECT": "ID",
    "DAY": "TIME",
    "DAYS": "TIME",
    "NG": "DNA_NG",
    "INPUT_NG": "DNA_NG",
    "DNA": "DNA_NG",
}


def renamed(pairs: Iterable[str]) -> dict[str, str]:
    """Casefolded column of a file -> what it is, of options `COLUMN=NAME`.

    Raises:
        DataError: with every option that cannot be used.
    """
    faults = Faults("--map")
    found: dict[str, str] = {}
    known = (*COLUMNS, IGNORE)
    for pair in pairs:
        column, _, target = (side.strip() for side in pair.rpartition("="))
        name = target.upper()
        if not column or name not in known:
            fix = did_you_mean(target, known, ALIASES) + "write, say, 'Cq Mean=IGNORE'"
            expected = f"COLUMN=NAME with one of {', '.join(known)}"
            faults.add(None, None, quoted(pair), expected, fix)
            continue
        found[column.casefold()] = name
    faults.raise_any()
    return found


def lay_out_wells(table: Table, rename: Mapping[str, str], faults: Faults) -> Layout:
    """Where the columns of `table` are; see `faults`.

    Args:
        table: the rows.
        rename: casefolded column of the file -> a column of `COLUMNS`, or IGNORE.
        faults: where faults are added.
    """
    position: dict[str, int] = {}
    spelled: dict[str, str] = {}
    unread = []
    for at, name in enumerate(table.header):
        target = rename.get(name.casefold()) or SYNONYMS.get(name.upper(), name.upper())
        if target == IGNORE:
            unread.append(name)
        elif target not in COLUMNS:
            _refuse(table, at, position, faults)
        elif target in position:
            faults.add(
                table.header_row,
                name,
                f"a second column for {target}, beside {quoted(spelled[target])}",
                f"one column to be {target}",
                f"remove one, or --map '{name}=IGNORE'",
            )
        else:
            position[target], spelled[target] = at, name
    present = {name.casefold() for name in table.header}
    for column in rename:
        if column not in present:
            faults.add(
                table.header_row,
                None,
                f"no column {quoted(column)}, named by --map",
                f"one of {', '.join(table.header)}",
                did_you_mean(column, table.header) + "mend --map",
            )
    for column in REQUIRED:
        if column not in position:
            faults.add(
                table.header_row,
                column,
                f"no column {column} among {', '.join(table.header)}",
                f"a column {column}: {COLUMNS[column]}",
                f"name it {column}, or --map 'COLUMN={column}'",
            )
    notes = (f"columns not read: {', '.join(unread)}",) if unread else ()
    return Layout(position, spelled, {}, {}, notes)


def _refuse(table: Table, at: int, taken: Mapping[str, int], faults: Faults) -> None:
    name = table.header[at]
    if not name:
        faults.add(
            table.header_row,
            None,
            f"no name above column {at + 1}",
            "a name above every column",
            "name it, or remove the column",
        )
        return
    meant = nearest(
        name, [column for column in COLUMNS if column not in taken], ALIASES
    )
    guess = f"did you mean {meant}? --map '{name}={meant}'; or " if meant else ""
    faults.add(
        table.header_row,
        name,
        "an unknown column",
        f"one of {', '.join(COLUMNS)}",
        f"{guess}--map '{name}=IGNORE'",
    )
