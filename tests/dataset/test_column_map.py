"""Column maps: options, side files, and what is wrong with them."""

from pathlib import Path
from typing import Any

import pytest

from ckin.dataset import ColumnMap, DataError, read_dataset


EXAMPLE = Path(__file__).parents[2] / "examples" / "columns_example.toml"
TABLE = "patient,matrix,day,copies_per_ug\na,PB,3,40\na,PB,5,0\nb,BM,5,7\n"
OPTIONS: dict[str, Any] = {
    "map": [
        "patient=ID",
        "day=time",
        "copies_per_ug=DV",
        "age=COVARIATE",
        "vcn=ignore",
    ],
    "where": ["matrix=PB"],
    "limit": ["qpcr=25"],
    "unit": ["qPCR=copies/µg gDNA", "AMT=cells/kg"],
}


def test_options_make_a_column_map():
    assert ColumnMap.from_options(**OPTIONS) == ColumnMap(
        rename={"patient": "ID", "day": "TIME", "copies_per_ug": "DV"},
        units={"qpcr": "copies/ug", "AMT": "cells/kg"},
        limits={"qpcr": 25.0},
        where={"matrix": "PB"},
        ignore=("vcn",),
        covariates=("age",),
    )


def test_the_example_side_file_says_what_options_say():
    example = ColumnMap.from_options(map=[str(EXAMPLE)])
    assert example == ColumnMap.from_options(
        map=[
            "patient=ID",
            "day=TIME",
            "copies_per_ug=DV",
            "visit_label=IGNORE",
            "comment=IGNORE",
            "age=COVARIATE",
            "disease=COVARIATE",
        ],
        where=["matrix=PB"],
        limit=["qpcr=25"],
        unit=["qpcr=copies/ug"],
        assay="qpcr",
    )


def test_options_go_before_side_files():
    both = ColumnMap.from_options(
        map=[str(EXAMPLE), "visit_day=TIME", "AGE=IGNORE"],
        where=["Matrix=BM"],
        limit=["qpcr=50"],
    )
    assert both.rename == {
        "patient": "ID",
        "copies_per_ug": "DV",
        "visit_day": "TIME",
    }
    assert both.covariates == ("disease",)
    assert "AGE" in both.ignore
    assert both.where == {"Matrix": "BM"}
    assert both.limits == {"qpcr": 50.0}


def test_a_side_file_beside_the_table_is_read_and_noted(tmp_path):
    path = tmp_path / "trial.csv"
    path.write_text(TABLE)
    path.with_suffix(".toml").write_text(
        'title = "a trial"\n[columns]\npatient = "ID"\nday = "TIME"\n'
        'copies_per_ug = "DV"\n[where]\nmatrix = "PB"\n[units]\nqpcr = "copies/ug"\n'
        "[limits]\nqpcr = 30\n"
    )
    dataset = read_dataset(path)
    assert dataset.units == {"qpcr": "copies/ug"}
    assert [(s.value, s.below) for s in dataset.patients[0].samples] == [
        (40.0, False),
        (30.0, True),
    ]
    assert "trial.toml: title not read" in dataset.notes
    assert any("read from this side file" in note for note in dataset.notes)
    assert "1 row left out by that, and 1 patient with them" in dataset.notes
    # The caller goes before the side file.
    dataset = read_dataset(path, ColumnMap(limits={"qpcr": 50.0}))
    assert all(sample.below for sample in dataset.patients[0].samples)


WRONG_OPTIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no such column": (
        {"map": ["day=TIM"]},
        "--map, column day: found 'TIM'.*did you mean TIME",
    ),
    "no equals sign": ({"map": ["day"]}, "--map: found 'day', expected COLUMN=NAME"),
    "one side": ({"where": ["matrix="]}, "--where: found 'matrix='"),
    "two for one": ({"map": ["a=DV", "b=DV"]}, "one column to be DV; 'a' is"),
    "one for two": ({"map": ["a=DV", "A=TIME"]}, "expected DV, as before"),
    "no such assay": ({"limit": ["qpc=5"]}, "did you mean qpcr"),
    "limit in words": ({"limit": ["qpcr=low"]}, "--limit, column qpcr: found 'low'"),
    "limit of 0": ({"limit": ["qpcr=0"]}, "a number above 0"),
    "no such unit": ({"unit": ["qpcr=copies"]}, "qpcr in copies/ug"),
    "per volume": ({"unit": ["qpcr=copies/uL"]}, "share of the nucleated cells"),
    "unit of nothing": ({"unit": ["DV=copies/ug"]}, "--unit, column DV"),
    "two values": ({"where": ["m=PB", "m=BM"]}, "one value; 'PB' was asked for"),
    "missing side file": ({"map": ["nowhere.toml"]}, "nowhere.toml: found a file that"),
    "assay": ({"assay": "elisa"}, "--assay, column elisa"),
}


@pytest.mark.parametrize("name", WRONG_OPTIONS)
def test_a_wrong_option_is_a_fault(name):
    options, says = WRONG_OPTIONS[name]
    with pytest.raises(DataError, match=says):
        ColumnMap.from_options(**options)


def test_every_wrong_option_is_told_at_once():
    with pytest.raises(DataError) as error:
        ColumnMap.from_options(
            map=["day=TIM", "x"], where=["y"], limit=["qpcr=-1"], unit=["il6=m"]
        )
    assert [fault.file for fault in error.value.faults] == [
        "--map",
        "--map",
        "--unit",
        "--where",
        "--limit",
    ]


WRONG_SIDE_FILES = {
    "no TOML": ("[columns\n", "found no TOML"),
    "unknown entry": ('unit = "x"\n', "column unit: .*did you mean units"),
    "list in a table": ('[columns]\nignore = ["x"]\n', "go above the first"),
    "number for a name": ("[columns]\nday = 3\n", "column columns.day: found 3"),
    "text for a list": ('ignore = "x"\n', 'ignore = \\["COLUMN"\\]'),
    "text for a table": ('units = "copies/ug"\n', "a table \\[units\\]"),
    "true for a limit": ("[limits]\nqpcr = true\n", "a number above 0"),
    "number for an assay": ("assay = 1\n", "the name of an assay"),
}


@pytest.mark.parametrize("name", WRONG_SIDE_FILES)
@pytest.mark.parametrize("beside", [True, False])
def test_a_wrong_side_file_is_a_fault_of_that_file(name, beside, tmp_path):
    text, says = WRONG_SIDE_FILES[name]
    table, side = tmp_path / "trial.csv", tmp_path / "trial.toml"
    table.write_text(TABLE)
    side.write_text(text)
    with pytest.raises(DataError, match=says) as error:
        read_dataset(table) if beside else ColumnMap.from_options(map=[str(side)])
    assert {fault.file for fault in error.value.faults} == {str(side)}


def test_a_column_map_is_checked_when_it_is_made():
    with pytest.raises(DataError, match="column map, column day: found 'WHEN'"):
        ColumnMap(rename={"day": "WHEN"})
