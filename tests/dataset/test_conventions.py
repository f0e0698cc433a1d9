"""Files as NONMEM and Monolix have them are read as what they say."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckin.dataset import ColumnMap, DataError, Dataset, read_dataset


UNIT = "# unit qpcr copies/ug\n"
NUMBERED = ColumnMap(
    units={"qpcr": "copies/ug", "flow": "cells/uL"},
    codes={
        "DVID": {"1": "qpcr", "2": "flow"},
        "CMT": {"1": "CART", "2": "ftc", "3": "LD", "4": "TKI"},
        "arm": {"0": "low", "1": "high"},
    },
)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    path: Path = tmp_path_factory.mktemp("conventions") / "trial.csv"

    def read(text: str, columns: ColumnMap | None = None) -> Dataset:
        path.write_text(text)
        return read_dataset(path, columns)

    return read


WORDS = (
    "ID,TIME,EVID,AMT,CMT,DV,DVID,ARM\n"
    "1,-4,2,.,LD,.,.,high\n1,0,1,1e8,CART,.,.,high\n1,1,2,0.5,TKI,.,.,high\n"
    "1,2,1,2e8,FTC,.,.,high\n1,3,0,.,.,50,qpcr,high\n1,4,0,.,.,7,flow,high\n"
)
NUMBERS = (
    "ID,TIME,EVID,AMT,CMT,DV,DVID,ARM\n"
    "1,-4,2,0,3,.,.,1\n1,0,1,1e8,1,.,.,1\n1,1,2,0.5,4,.,.,1.0\n"
    "1,2,1,2e8,2.0,.,0,1\n1,3,0,0,1,50,1,1\n1,4,0,0,1,7,2,1\n"
)


def test_numbers_are_the_words_that_they_stand_for(read):
    words = read(WORDS, ColumnMap(units=NUMBERED.units))
    numbers = read(NUMBERS, NUMBERED)
    assert numbers.patients == words.patients
    assert numbers.units == words.units


@pytest.mark.parametrize(
    ("cells", "column", "says"),
    [
        ("1,5,0,.,.,7,3,1\n", "DVID", 'DVID = {3 = "qpcr"} under [codes]'),
        ("1,5,1,1e8,9,.,.,1\n", "CMT", 'CMT = {9 = "CART"} under [codes]'),
        ("1,5,0,.,.,7,1,2\n", "ARM", "a code of ARM: 0, 1"),
    ],
)
def test_a_number_that_stands_for_nothing_is_a_fault(read, cells, column, says):
    with pytest.raises(DataError) as error:
        read(NUMBERS + cells, NUMBERED)
    assert any(
        (fault.row, fault.column) == (8, column) and says in str(fault)
        for fault in error.value.faults
    ), str(error.value)


@pytest.mark.parametrize(
    ("codes", "says"),
    [
        ({"DVID": {"1": "qpc"}}, "did you mean qpcr"),
        ({"CMT": {"1": "cells"}}, "one of CART, FTC, LD"),
        ({"DV": {"1": "qpcr"}}, "numbers of other columns are numbers"),
    ],
)
def test_codes_of_nothing_are_refused(codes, says):
    with pytest.raises(DataError, match=says):
        ColumnMap(codes=codes)


MONOLIX = {
    "Y": "DV",
    "YTYPE": "DVID",
    "Observation ID": "DVID",
    "ADM": "CMT",
    "ADMINISTRATION_ID": "CMT",
    "AMOUNT": "AMT",
    "CENSORING": "CENS",
    "INTERDOSE INTERVAL": "II",
    "Additional doses": "ADDL",
    "INFUSION RATE": "RATE",
    "INFUSION DURATION": "DUR",
    "EVENT ID": "EVID",
    "IGNORED OBSERVATION": "MDV",
    "OCCASION": "OCC",
}
ROWS = (
    "1,0,1,1e8,CART,1,7,0.5,.,.,.,.,1\n"
    "1,3,0,.,.,.,.,.,50,qpcr,0,0,1\n1,4,0,.,.,.,.,.,51,qpcr,0,1,1\n"
)
NAMES = "ID,TIME,EVID,AMT,CMT,ADDL,II,DUR,DV,DVID,CENS,MDV,OCC\n"


@pytest.mark.parametrize("name", MONOLIX)
def test_the_names_of_monolix_are_read(read, name):
    column = MONOLIX[name]
    rows, names = ROWS, NAMES
    if column == "RATE":
        names, rows = names.replace("DUR", "RATE"), rows.replace(",0.5,", ",2e8,")
    other = read(UNIT + names.replace(f"{column},", f"{name},", 1) + rows)
    if name == "OCCASION":
        other = read(UNIT + names.replace("OCC", name) + rows)
    one = read(UNIT + names + rows)
    assert other.patients == one.patients
    note = f"columns in the words of Monolix: {name} read as {column}"
    assert note in other.notes


@pytest.mark.parametrize("name", ["C", "IGNORED LINE"])
def test_rows_with_c_in_column_c_are_left_out(read, name):
    mark = "C" if name == "C" else "1"
    text = f"{UNIT}{name},ID,TIME,DV\n.,1,1,5\n{mark},1,2,x\n,1,3,7\n"
    dataset = read(text)
    assert [s.value for s in dataset.patients[0].samples] == [5.0, 7.0]
    assert "1 row with C in column C left out" in dataset.notes
    with pytest.raises(DataError, match="found '5.5', expected C in a row to be left"):
        read(text + "5.5,1,4,9\n")


def test_names_of_columns_may_stand_in_a_comment(read):
    dataset = read(UNIT + "#ID,TIME,DV\n1,1,5\n1,2,7\n")
    assert [(s.row, s.value) for s in dataset.patients[0].samples] == [(3, 5), (4, 7)]
    assert "column names read from the comment in row 2" in dataset.notes


values = st.floats(1e-5, 1e9)


@given(values, values, st.sampled_from(["log", "log10"]))
def test_logarithms_are_read_as_what_they_are_of(read, value, limit, kind):
    logarithm = {"log": math.log, "log10": math.log10}[kind]
    plain = read(f"{UNIT}ID,TIME,DV,LIMIT\n1,1,{value!r},{limit!r}\n")
    both: Any = {kind: ("DV", "LIMIT")}
    columns = ColumnMap(**both)
    logs = read(
        f"{UNIT}ID,TIME,DV,LIMIT\n1,1,{logarithm(value)!r},{logarithm(limit)!r}\n",
        columns,
    )
    (one,), (other,) = plain.patients[0].samples, logs.patients[0].samples
    # Logarithms of 1e9 have 16 digits: exp returns 14 of them.
    assert math.isclose(one.value, other.value, rel_tol=1e-13)
    assert one.below == other.below or math.isclose(value, limit, rel_tol=1e-13)
    assert any("logarithms, as asked" in note for note in logs.notes)


def test_a_zero_of_a_log_scale_is_no_limit_of_one(read):
    text = UNIT + "ID,TIME,DV,CENS\n1,1,0,1\n1,2,0,0\n"
    columns = ColumnMap(log=("DV",), limits={"qpcr": 0.5})
    first, second = read(text, columns).patients[0].samples
    assert (first.value, first.below) == (0.5, True)
    assert (second.value, second.below) == (1.0, False)
    with pytest.raises(DataError, match="1 with no detection limit"):
        read(text, ColumnMap(log=("DV",)))


def test_a_limit_of_0_is_the_lower_bound_of_monolix(read):
    dataset = read(
        UNIT + "ID,TIME,Y,CENS,LIMIT\n1,1,25,1,0\n1,2,30,0,.\n",
        ColumnMap(limits={"qpcr": 10.0}),
    )
    first, second = dataset.patients[0].samples
    assert (first.value, first.below, first.limit) == (25.0, True, 25.0)
    assert (second.below, second.limit) == (False, 10.0)
    note = "1 qpcr value with CENS 1 and LIMIT 0, Monolix's lower bound: below DV"
    assert note in dataset.notes
