"""Every malformed file is refused, with the row, the column and what was expected."""

import dataclasses
import pickle

import pytest

from ckin.dataset import ColumnMap, DataError, read_dataset


HEADER = "# unit qpcr copies/ug\nID,TIME,EVID,AMT,CMT,DV,DVID,CENS,LIMIT,OCC,WT\n"
DOSE = "1,0,1,1e8,CART,.,.,.,.,1,70\n"
GOOD = HEADER + DOSE + "1,7,0,.,.,500,qpcr,0,25,1,70\n"
NAMES = "ID,TIME,DV\n"
UNIT = "# unit qpcr copies/ug\n"


@dataclasses.dataclass(frozen=True)
class Bad:
    """A file, and one fault that must be among those found in it."""

    text: str | bytes
    row: int | None
    column: str | None
    says: str
    columns: ColumnMap | None = None


def row(cells: str) -> str:
    """A file whose row 4 is `cells`, after a dose."""
    return HEADER + DOSE + cells + "\n"


def columns(header: str, cells: str) -> str:
    """A file of one observation, in row 3."""
    return f"{UNIT}ID,TIME,DV,{header}\n1,7,500,{cells}\n"


BAD = {
    "text for a number": Bad(
        row("1,7,0,.,.,abc,qpcr,0,25,1,70"),
        4,
        "DV",
        "found 'abc', expected a number; write a concentration in copies/ug or drop",
    ),
    "below written as text": Bad(
        row("1,7,0,.,.,<25,qpcr,0,25,1,70"), 4, "DV", "CENS 1 with the limit in LIMIT"
    ),
    "decimal comma": Bad(
        row('1,7,0,.,.,"2,5",qpcr,0,25,1,70'), 4, "DV", "decimals with a point"
    ),
    "not a number": Bad(
        row("1,7,0,.,.,NaN,qpcr,0,25,1,70"), 4, "DV", "not a finite number"
    ),
    "infinite": Bad(row("1,7,0,.,.,inf,qpcr,0,25,1,70"), 4, "DV", "not a finite"),
    "overflow": Bad(row("1,7,0,.,.,1e999,qpcr,0,25,1,70"), 4, "DV", "not a finite"),
    "negative value": Bad(
        row("1,7,0,.,.,-3,qpcr,0,25,1,70"), 4, "DV", "a value of 0 or more"
    ),
    "no value": Bad(row("1,7,0,.,.,.,qpcr,0,25,1,70"), 4, "DV", "write MDV 1"),
    "zero without a limit": Bad(
        row("1,7,0,.,.,0,qpcr,0,.,1,70"), 4, "DV", "--limit qpcr=NUMBER"
    ),
    "limit of zero": Bad(
        row("1,7,0,.,.,0,qpcr,1,0,1,70"), 4, "LIMIT", "a detection limit above 0"
    ),
    "negative limit": Bad(
        row("1,7,0,.,.,9,qpcr,0,-1,1,70"), 4, "LIMIT", "a detection limit above 0"
    ),
    "censored without a limit": Bad(
        row("1,7,0,.,.,0,qpcr,1,.,1,70"), 4, "CENS", "1 with no detection limit"
    ),
    "censored above its limit": Bad(
        row("1,7,0,.,.,40,qpcr,1,25,1,70"), 4, "DV", "not above its limit"
    ),
    "right-censored": Bad(
        row("1,7,0,.,.,40,qpcr,-1,25,1,70"), 4, "CENS", "upper limit are not taken"
    ),
    "unknown assay": Bad(
        row("1,7,0,.,.,40,qpr,0,25,1,70"), 4, "DVID", "did you mean qpcr?"
    ),
    "assay by number": Bad(
        row("1,7,0,.,.,40,1,0,25,1,70"), 4, "DVID", "qpcr, ddpcr, flow, ftc"
    ),
    "no assay": Bad(row("1,7,0,.,.,40,.,0,25,1,70"), 4, "DVID", "found nothing"),
    "no time": Bad(row("1,.,0,.,.,40,qpcr,0,25,1,70"), 4, "TIME", "found nothing"),
    "a date": Bad(row("1,2024-03-01,0,.,.,40,qpcr,0,25,1,70"), 4, "TIME", "not a date"),
    "a date as a spreadsheet stores it": Bad(
        row("1,45352,0,.,.,40,qpcr,0,25,1,70"), 4, "TIME", "within a century"
    ),
    "no patient": Bad(row(".,7,0,.,.,40,qpcr,0,25,1,70"), 4, "ID", "found nothing"),
    "time goes back": Bad(
        GOOD + "1,6,0,.,.,40,qpcr,0,25,1,70\n", 5, "TIME", "earlier than row 4"
    ),
    "the same row twice": Bad(
        GOOD + GOOD.splitlines()[-1], 5, None, "the same cells as row 4"
    ),
    "unknown product": Bad(
        row("1,7,1,1e8,CRT,.,.,.,.,1,70"), 4, "CMT", "did you mean CART?"
    ),
    "product by number": Bad(row("1,7,1,1e8,1,.,.,.,.,1,70"), 4, "CMT", "CART, FTC"),
    "no product": Bad(row("1,7,1,1e8,.,.,.,.,.,1,70"), 4, "CMT", "CART, FTC"),
    "depletion as a dose": Bad(row("1,7,1,1,LD,.,.,.,.,1,70"), 4, "CMT", "EVID 2"),
    "negative dose": Bad(row("1,7,1,-1,FTC,.,.,.,.,1,70"), 4, "AMT", "0 or more cells"),
    "no dose": Bad(row("1,7,1,.,FTC,.,.,.,.,1,70"), 4, "AMT", "found nothing"),
    "a dose on an observation": Bad(
        row("1,7,0,5,FTC,40,qpcr,0,25,1,70"), 4, "AMT", "EVID 1 if the row is a dose"
    ),
    "no such event": Bad(
        row("1,7,9,.,.,.,.,.,.,1,70"), 4, "EVID", "4 (reset and dose)"
    ),
    "unknown other event": Bad(
        row("1,7,2,1,TIK,.,.,.,.,1,70"), 4, "CMT", "did you mean TKI?"
    ),
    "level of TKI in mg": Bad(
        row("1,7,2,100,TKI,.,.,.,.,1,70"), 4, "AMT", "0 (held) to 1 (full)"
    ),
    "two levels of TKI at once": Bad(
        row("1,7,2,1,TKI,.,.,.,.,1,70\n1,7,2,0,TKI,.,.,.,.,1,70"),
        5,
        "TIME",
        "one level at a time",
    ),
    "cycle 0": Bad(row("1,7,0,.,.,40,qpcr,0,25,0,70"), 4, "OCC", "whole number from 1"),
    "a date for a cycle": Bad(
        row("1,7,0,.,.,40,qpcr,0,25,20240301,70"), 4, "OCC", "from 1 to 100"
    ),
    "half a cycle": Bad(
        row("1,7,0,.,.,40,qpcr,0,25,1.5,70"), 4, "OCC", "whole number from 1"
    ),
    "cycles go back": Bad(
        row("1,56,1,1e8,CART,.,.,.,.,2,70\n1,99,1,1e8,CART,.,.,.,.,1,70"),
        5,
        "OCC",
        "cycle 2 (row 4) or a later one",
    ),
    "half of the cycles": Bad(
        row("1,56,1,1e8,CART,.,.,.,.,.,70"), 4, "OCC", "number every CAR-T dose"
    ),
    "weight of 0": Bad(row("1,7,0,.,.,40,qpcr,0,25,1,0"), 4, "WT", "above 0"),
    "two weights at one time": Bad(
        row("1,0,0,.,.,40,qpcr,0,25,1,72"),
        4,
        "WT",
        "found '72', expected '70' as in row 3, one value at one time",
    ),
    "a dose per kg of a weight that changes": Bad(
        "# unit AMT cells/kg\n" + row("1,7,0,.,.,40,qpcr,0,25,1,72"),
        4,
        "WT",
        "found a dose per kg, and another weight in row 5",
    ),
    "arm changes": Bad(
        columns("ARM", "high") + "1,8,400,low\n",
        4,
        "ARM",
        "'high' as in row 3, one value per patient",
    ),
    "a cell too many": Bad(
        row("1,7,0,.,.,40,qpcr,0,25,1,70,9"), 4, None, "found 12 cells, expected 11"
    ),
    "a cell too few": Bad(row("1,7,0"), 4, None, "found 3 cells, expected 11"),
    "open quotation mark": Bad(row('1,7,0,.,.,"40'), 4, None, "do not pair up"),
    "modelled rate": Bad(
        "ID,TIME,AMT,CMT,RATE,DV\n1,0,1e8,CART,-2,.\n", 2, "RATE", "how long it runs in"
    ),
    "rate and duration": Bad(
        "ID,TIME,AMT,CMT,RATE,DUR,DV\n1,0,1e8,CART,2e8,0.5,.\n",
        2,
        "RATE",
        "one of them",
    ),
    "duration below nothing": Bad(
        "ID,TIME,AMT,CMT,DUR,DV\n1,0,1e8,CART,-1,.\n", 2, "DUR", "0 or more"
    ),
    "cells at a reset": Bad(row("1,7,3,1e8,CART,.,.,.,.,1,70"), 4, "AMT", "on a reset"),
    "steady state": Bad(
        "ID,TIME,AMT,CMT,SS,DV\n1,0,1e8,CART,1,.\n", 2, "SS", "a row of its own"
    ),
    "further doses at once": Bad(
        "ID,TIME,AMT,CMT,ADDL,II,DV\n1,0,1e8,FTC,2,.,.\n", 2, "II", "time between doses"
    ),
    "further doses in halves": Bad(
        "ID,TIME,AMT,CMT,ADDL,II,DV\n1,0,1e8,FTC,1.5,7,.\n", 2, "ADDL", "whole number"
    ),
    "further doses without end": Bad(
        "ID,TIME,AMT,CMT,ADDL,II,DV\n1,0,1e8,FTC,1e9,7,.\n", 2, "ADDL", "0 to 1000"
    ),
    "doses without CMT": Bad(
        "ID,TIME,AMT,DV\n1,0,1e8,.\n", 2, "CMT", "name the product of each dose"
    ),
    "events without AMT": Bad(
        "ID,TIME,EVID,CMT,DV\n1,0,1,CART,.\n", 2, "AMT", "no column AMT"
    ),
    "per kg without a weight": Bad(
        "# unit AMT cells/kg\nID,TIME,AMT,CMT,DV\n1,0,1e6,CART,.\n",
        3,
        "WT",
        "no weight of patient '1'",
    ),
    "flag neither 0 nor 1": Bad(columns("MDV", "2"), 3, "MDV", "0 or 1"),
    "flag in words": Bad(columns("AFTER", "yes"), 3, "AFTER", "0 or 1"),
    "two values of a covariate at one time": Bad(
        columns("AGE", "30") + "1,7,400,31\n",
        4,
        "AGE",
        "'30' as in row 3, one value at one time",
        ColumnMap(covariates=("AGE",)),
    ),
    "covariate not finite": Bad(
        columns("AGE", "nan"),
        3,
        "AGE",
        "a finite number",
        ColumnMap(covariates=("AGE",)),
    ),
    "nothing examined": Bad(
        columns("EXAMINED", "0"), 3, "EXAMINED", "in ug of DNA, above 0"
    ),
    "nothing examined and nothing found": Bad(
        f"{UNIT}ID,TIME,DV,EXAMINED\n1,7,0,-1\n", 3, "EXAMINED", "above 0"
    ),
    "examined by an assay that counts nothing": Bad(
        "# unit il6 pg/mL\n" + columns("DVID,EXAMINED", "il6,5"),
        4,
        "EXAMINED",
        "on a row of il6",
    ),
    "a dose examined": Bad(
        "ID,TIME,AMT,CMT,DV,EXAMINED\n1,0,1e8,CART,.,5\n",
        2,
        "EXAMINED",
        "where nothing was measured",
    ),
    "droplets of another assay": Bad(
        columns("PARTITIONS", "20000"), 3, "PARTITIONS", "write ddpcr in DVID"
    ),
    "half a droplet": Bad(
        "# unit ddpcr copies/ug\n" + columns("DVID,PARTITIONS", "ddpcr,0.5"),
        4,
        "PARTITIONS",
        "a whole number of partitions",
    ),
    "unknown column": Bad(
        columns("AGE", "30"), 2, "AGE", "--map AGE=COVARIATE or --map AGE=IGNORE"
    ),
    "misspelt column": Bad(
        UNIT + "ID,TIEM,DV\n1,7,5\n", 2, "TIEM", "did you mean TIME? --map TIEM=TIME"
    ),
    "column of another trade": Bad(
        UNIT + "ID,day,DV\n1,7,5\n", 2, "day", "did you mean TIME?"
    ),
    "no column TIME": Bad(
        UNIT + "ID,DV\n1,5\n", 2, "TIME", "name it TIME, or --map COLUMN=TIME"
    ),
    "no column names": Bad("1,0,5\n1,7,9\n", 1, None, "a row of column names"),
    "two columns of a name": Bad(
        UNIT + "ID,TIME,DV,dv\n1,7,5,6\n", 2, "DV", "the same name above two columns"
    ),
    "two columns for one": Bad(
        UNIT + "ID,TIME,DV,day\n1,7,5,6\n",
        2,
        "day",
        "one column to be TIME",
        ColumnMap(rename={"day": "TIME"}),
    ),
    "values under no name": Bad(
        UNIT + "ID,TIME,DV,\n1,7,5,6\n", 2, None, "no name above column 4"
    ),
    "a column map for another file": Bad(
        UNIT + "ID,TIME,DV\n1,7,5\n",
        2,
        "tme",
        "did you mean TIME?",
        ColumnMap(rename={"tme": "TIME"}),
    ),
    "where of another file": Bad(
        UNIT + "ID,TIME,DV\n1,7,5\n",
        2,
        "matrix",
        "no such column",
        ColumnMap(where={"matrix": "PB"}),
    ),
    "where finds nothing": Bad(
        UNIT + "ID,TIME,DV,matrix\n1,7,5,BM\n",
        None,
        "matrix",
        "found 'BM', expected a row with 'PB'",
        ColumnMap(where={"matrix": "PB"}),
    ),
    "no unit": Bad(NAMES + "1,7,5\n", 2, "DV", "qpcr, whose unit is missing"),
    "qPCR per volume": Bad(
        "# unit qpcr copies/uL\n" + NAMES + "1,7,5\n",
        1,
        None,
        "copies per ug of genomic DNA",
    ),
    "unit of something else": Bad(
        UNIT + "# unit il6 cells/uL\n" + NAMES + "1,7,5\n", 2, None, "il6 in pg/mL"
    ),
    "no such unit": Bad(
        "# unit qpcr furlongs\n" + NAMES + "1,7,5\n", 1, None, "qpcr in copies/ug"
    ),
    "unit of no assay": Bad(
        "# unit qpr copies/ug\n" + NAMES + "1,7,5\n", 1, None, "did you mean qpcr?"
    ),
    "units that disagree": Bad(
        "# unit bcrabl %\nID,TIME,DV,DVID\n1,7,5,bcrabl\n",
        None,
        "bcrabl",
        "find out which holds",
        ColumnMap(units={"bcrabl": "ratio"}),
    ),
    "empty": Bad("", None, None, "an empty file"),
    "comments only": Bad("# unit qpcr copies/ug\n\n", None, None, "an empty file"),
    "no rows": Bad(NAMES, 1, None, "column names and no rows"),
    "separated by blanks": Bad(
        "ID TIME DV\n1 7 5\n", 1, None, "column names separated by commas"
    ),
    "Latin-1": Bad(
        "# unit qpcr copies/µg\nID,TIME,DV\n1,7,5\n".encode("latin-1"),
        1,
        None,
        "byte 0xb5, which is not UTF-8",
    ),
    "UTF-16": Bad("ID,TIME,DV\n".encode("utf-16"), None, None, "UTF-16 text"),
    "workbook": Bad(b"PK\x03\x04rest", None, None, "a spreadsheet workbook"),
    "binary": Bad(b"ID,TIME\0,DV\n", None, None, "a binary file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_malformed_file_is_refused_with_its_row_and_column(name, tmp_path):
    bad = BAD[name]
    path = tmp_path / "trial.csv"
    path.write_bytes(bad.text if isinstance(bad.text, bytes) else bad.text.encode())
    with pytest.raises(DataError) as error:
        read_dataset(path, bad.columns)
    placed = [
        str(fault)
        for fault in error.value.faults
        if (fault.row, fault.column) == (bad.row, bad.column)
    ]
    assert any(bad.says in line for line in placed), str(error.value)
    assert all("\n" not in str(fault) for fault in error.value.faults)
    # No fault is only a consequence of another one (units aside: the file's own).
    kinds = error.value.lines()
    assert len(kinds) <= 2, kinds


def test_the_file_that_the_malformed_ones_vary_is_good(tmp_path):
    path = tmp_path / "trial.csv"
    path.write_text(GOOD)
    (patient,) = read_dataset(path).patients
    assert [sample.value for sample in patient.samples] == [500.0]


def test_every_fault_of_a_file_is_told_in_order_of_rows(tmp_path):
    path = tmp_path / "trial.csv"
    path.write_text(
        HEADER.replace("WT", "WT,AGE")
        + "1,0,1,-5,CART,.,.,.,.,1,70,3\n"
        + "1,7,0,.,.,abc,qpcr,0,25,1,70,3\n"
        + "1,6,0,.,.,-1,flow,7,25,1,0,3\n"
        + "2,0,1,1e8,CAR,.,.,.,.,0,70,3\n"
        + "2,1,0\n"
    )
    with pytest.raises(DataError) as error:
        read_dataset(path)
    places = [(fault.row, fault.column) for fault in error.value.faults]
    assert places == sorted(places, key=lambda place: place[0] or 0)
    assert set(places) == {
        (2, "AGE"),
        (3, "AMT"),
        (4, "DV"),
        (5, "TIME"),
        (5, "DV"),
        (5, "CENS"),
        (5, "WT"),
        (5, "DVID"),  # the unit of flow
        (6, "CMT"),
        (6, "OCC"),
        (7, None),
    }


def test_rows_with_the_same_fault_are_told_once_and_counted(tmp_path):
    path = tmp_path / "trial.csv"
    rows = "".join(f"1,{day},0\n" for day in range(1, 31))
    path.write_text(UNIT + NAMES + rows)
    with pytest.raises(DataError) as error:
        read_dataset(path)
    assert len(error.value.faults) == 30
    (line,) = str(error.value).splitlines()
    assert f"{path} row 3 (and 29 more), column DV: found 0 with no" in line


def test_rows_are_numbered_as_in_an_editor(tmp_path):
    # A byte order mark, Windows line ends, comments, empty rows, a cell of two lines.
    path = tmp_path / "trial.csv"
    lines = (
        "\ufeff# unit qpcr copies/ug",
        "# SYNTHETIC",
        "",
        "ID,TIME,DV,remark",
        '1,1,5,"two',
        'lines"',
        "# out",
        ",,,",
        "1,2,x,",
    )
    path.write_bytes("\r\n".join(lines).encode())
    with pytest.raises(DataError) as error:
        read_dataset(path, ColumnMap(ignore=("remark",)))
    assert [fault.row for fault in error.value.faults] == [9]


def test_faults_name_the_columns_of_the_file(tmp_path):
    path = tmp_path / "trial.csv"
    path.write_text("ID,day,copies\n1,7,many\n")
    with pytest.raises(DataError, match="row 2, column copies: found 'many'"):
        read_dataset(
            path,
            ColumnMap(
                rename={"day": "TIME", "copies": "DV"}, units={"qpcr": "copies/ug"}
            ),
        )


@pytest.mark.parametrize(
    ("name", "says"), [("missing.csv", "no such file"), ("", "a folder")]
)
def test_what_is_no_file_is_refused(name, says, tmp_path):
    with pytest.raises(DataError, match=says):
        read_dataset(tmp_path / name)


def test_a_data_error_is_a_value_error_and_survives_pickling():
    with pytest.raises(DataError, match="no such file") as error:
        read_dataset("missing.csv")
    assert isinstance(error.value, ValueError)
    again = pickle.loads(pickle.dumps(error.value))
    assert again.faults == error.value.faults
