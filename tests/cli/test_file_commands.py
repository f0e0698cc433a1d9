"""Files in and out by the command line: maps that are saved, other programs' forms."""

from pathlib import Path

import pandas as pd
import pytest
from typed import typed

from ckin.dataset import ColumnMap, read_dataset


TABLE = (
    "patient,when,given,what,copies,tube\n"
    "P1,01/03/2024,1e8,CART,,\nP1,08/03/2024,,,50,PB\nP1,09/03/2024,,,0,PB\n"
)
OPTIONS = [
    *("--map", "patient=ID", "--map", "when=DATE", "--map", "given=AMT"),
    *("--map", "what=CMT", "--map", "copies=DV", "--map", "tube=IGNORE"),
    *("--unit", "qpcr=copies/ug", "--unit", "DATE=DMY", "--limit", "qpcr=25"),
]


@pytest.fixture
def table(tmp_path) -> Path:
    path = tmp_path / "trial.csv"
    path.write_text(TABLE)
    return path


def test_a_map_that_is_saved_is_read_with_the_data(table):
    asked = typed("check", table, *OPTIONS, "--save-map")
    assert asked.exit_code == 0, asked.output
    side = table.with_suffix(".toml")
    assert f"written: {side}" in asked.output
    again = typed("check", table)
    assert again.exit_code == 0, again.output
    assert "samples_qpcr" in again.output
    dataset = read_dataset(table)
    assert [s.time_d for s in dataset.patients[0].samples] == [7.0, 8.0]
    # Options change what was saved, and the rest stays.
    assert typed("check", table, "--limit", "qpcr=40", "--save-map").exit_code == 0
    assert [s.limit for s in read_dataset(table).patients[0].samples] == [40.0, 40.0]


def test_a_map_is_not_saved_over_one_that_a_person_wrote(table):
    side = table.with_suffix(".toml")
    assert typed("check", table, *OPTIONS, "--save-map").exit_code == 0
    mine = side.read_text().split("\n", 1)[1]
    side.write_text(mine)
    refused = typed("check", table, "--limit", "qpcr=40", "--save-map")
    assert refused.exit_code == 2
    assert "qpcr = 40.0" in refused.output
    assert side.read_text() == mine


def test_nothing_is_saved_where_nothing_was_given_or_the_data_are_at_fault(table):
    refused = typed("check", table, *OPTIONS[:-2], "--save-map")
    assert refused.exit_code == 2
    assert "0 with no detection limit" in refused.output
    plain = table.with_name("plain.csv")
    plain.write_text("# unit qpcr copies/ug\nID,TIME,DV\na,1,5\n")
    assert "nothing to save" in typed("check", plain, "--save-map").output
    assert not list(table.parent.glob("*.toml"))


@pytest.mark.parametrize("convention", ["nonmem", "monolix"])
def test_an_export_reads_back_the_same_and_holds_no_date(table, convention):
    out = table.with_name("out.csv")
    made = typed("export", table, *OPTIONS, "--as", convention, "--out", out)
    assert made.exit_code == 0, made.output
    files = [*table.parent.glob("out*")]
    assert all(f"written: {file}" in made.output for file in files)
    for file in files:
        assert "2024" not in file.read_text()
        assert "/03" not in file.read_text()
    key = table.with_name("out_ids.toml")
    columns = ColumnMap.from_options(map=[str(key)] if key.exists() else [])
    given = ColumnMap.from_options(
        map=OPTIONS[1:12:2], unit=OPTIONS[13:16:2], limit=OPTIONS[17:]
    )
    (one,), (other,) = (
        read_dataset(table, given).patients,
        read_dataset(out, columns).patients,
    )
    assert (one.id, one.doses) == (other.id, other.doses)
    assert [(s.time_d, s.value, s.below) for s in one.samples] == [
        (s.time_d, s.value, s.below) for s in other.samples
    ]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--as", "phoenix", "--out", "x.csv"], "ckin writes ckin, nonmem, monolix"),
        (["--as", "nonmem", "--out", "x.parquet"], "nonmem reads text"),
        (["--as", "nonmem", "--out", "nowhere/x.csv"], "there is no folder nowhere"),
    ],
)
def test_an_export_that_cannot_be_is_refused(table, words, says):
    refused = typed("export", table, *OPTIONS, *words)
    assert refused.exit_code == 2
    assert says in refused.output


def test_an_export_never_replaces_its_own_data(table):
    refused = typed("export", table, *OPTIONS, "--as", "nonmem", "--out", table)
    assert refused.exit_code == 2
    assert table.read_text() == TABLE


def test_simulated_parquet_is_the_csv_and_says_that_it_is_synthetic(tmp_path):
    for name in ("v.csv", "v.parquet"):
        made = typed(
            *("simulate", "--model", "phases_stein2019", "--n", "2", "--seed", "1"),
            *("--protocol", "szcart01-cart1", "--out", tmp_path / name),
        )
        assert made.exit_code == 0, made.output
    one, other = (read_dataset(tmp_path / name) for name in ("v.csv", "v.parquet"))
    # Rows are counted after the comment lines of the CSV.
    shift = one.patients[0].samples[0].row - other.patients[0].samples[0].row
    assert shift > 0
    assert [len(p.samples) for p in one.patients] == [
        len(p.samples) for p in other.patients
    ]
    assert [s.value for p in one.patients for s in p.samples] == [
        s.value for p in other.patients for s in p.samples
    ]
    assert one.synthetic
    assert other.synthetic
    assert one.units == other.units
    frame = pd.read_parquet(tmp_path / "v.parquet")
    assert list(frame) == list(pd.read_csv(tmp_path / "v.csv", comment="#"))
    checked = typed("check", tmp_path / "v.parquet")
    assert checked.exit_code == 0
    assert "SYNTHETIC" in checked.output


def test_a_product_of_ones_own_is_exported_with_its_unit(tmp_path):
    file, out = tmp_path / "drug.csv", tmp_path / "drug_nm.csv"
    file.write_text("ID,TIME,EVID,DVID,DV,AMT\n1,0,1,DRUG,,100\n1,0.5,0,conc,3,\n")
    told = ("--product", "DRUG=mg", "--unit", "conc=mg/L")
    made = typed("export", file, *told, "--as", "nonmem", "--out", out)
    assert made.exit_code == 0, made.output
    (person,) = read_dataset(out).patients
    (dose,) = person.doses
    assert (dose.product, dose.unit, dose.cells) == ("DRUG", "mg", 100.0)
    assert [(s.assay, s.value) for s in person.samples] == [("conc", 3.0)]
