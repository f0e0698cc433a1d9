"""What is written in another convention, or as Parquet, reads back the same."""

import csv
import dataclasses
import math
import sys
import tempfile
from pathlib import Path

import pandas as pd
import pytest
from drawn import PLAIN, dataset_of, datasets, sample, without_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from ckin.dataset import ColumnMap, DataError, Patient, read_dataset, write_dataset
from ckin.dataset.cells import parse_number
from ckin.dataset.side_file import side_file_text
from ckin.errors import InputError
from ckin.protocol import Dose


# Each takes a data set to a file, and reads that.
KINDS = [("nonmem", ".csv"), ("monolix", ".csv"), ("ckin", ".parquet")]


def written(dataset, path: Path, convention: str):
    write_dataset(dataset, path, convention=convention)
    key = path.with_name(f"{path.stem}_ids.toml")
    columns = ColumnMap.from_options(map=[str(key)] if key.exists() else [])
    return read_dataset(path, columns)


def without_durations(patients: list[Patient]) -> list[Patient]:
    return [
        dataclasses.replace(
            patient,
            doses=tuple(dataclasses.replace(d, duration_d=0.0) for d in patient.doses),
        )
        for patient in patients
    ]


@pytest.mark.parametrize(("convention", "suffix"), KINDS)
@settings(max_examples=50)
@given(drawn=datasets())
def test_what_is_written_reads_back_the_same(convention, suffix, drawn):
    made, synthetic = drawn
    dataset = dataset_of(*(Patient(**fields) for fields in made), synthetic=synthetic)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"trial{suffix}"
        read = written(dataset, path, convention)
        first = path.read_bytes()
        read_again = written(read, path, convention)
    wanted, found = without_rows(dataset), without_rows(read)
    assert without_durations(found) == without_durations(wanted)
    assert (read.units, read.synthetic) == (dataset.units, dataset.synthetic)
    lasts = [
        [dose.duration_d for patient in patients for dose in patient.doses]
        for patients in (wanted, found)
    ]
    # AMT by AMT by DUR is DUR to the last digit or so.
    assert all(math.isclose(a, b, rel_tol=1e-15) for a, b in zip(*lasts, strict=True))
    assert read_again.patients == read.patients or convention == "nonmem"
    assert first


@settings(max_examples=50)
@given(drawn=datasets())
def test_nonmem_is_given_numbers_alone(drawn):
    dataset = dataset_of(*(Patient(**fields) for fields in drawn[0]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.csv"
        write_dataset(dataset, path, convention="nonmem")
        lines = path.read_text(encoding="utf-8").splitlines()
        side = path.with_suffix(".toml").read_text(encoding="utf-8")
    head = [line for line in lines if line.startswith("#")]
    assert lines[: len(head)] == head
    assert head[0].startswith("# SYNTHETIC")
    names = head[-1].removeprefix("#").split(",")
    assert f"# $INPUT {' '.join(names)}\n" in side
    for line in csv.reader(lines[len(head) :]):
        cells = dict(zip(names, line, strict=True))
        assert all(c == "." or parse_number(c)[0] is not None for c in line), line
        # What PREDPP asks of each kind of record.
        assert cells["MDV"] == str(int(cells["EVID"] != "0"))
        if cells["EVID"] != "1":
            assert cells["AMT"] == "."


def test_patients_with_numbers_keep_them_and_need_no_key(tmp_path: Path):
    path = tmp_path / "trial.csv"
    write_dataset(
        dataset_of(dataclasses.replace(PLAIN, id="P1")), path, convention="nonmem"
    )
    key = tmp_path / "trial_ids.toml"
    assert '1 = "P1"' in key.read_text()
    # Without the key nobody is named.
    assert [p.id for p in read_dataset(path).patients] == ["1"]
    assert "P1" not in path.read_text() + path.with_suffix(".toml").read_text()
    write_dataset(
        dataset_of(dataclasses.replace(PLAIN, id="17")), path, convention="nonmem"
    )
    assert not key.exists()
    assert [p.id for p in read_dataset(path).patients] == ["17"]


def test_monolix_has_the_limit_as_y_and_0_as_the_lower_bound(tmp_path: Path):
    path = tmp_path / "trial.csv"
    write_dataset(dataset_of(PLAIN), path, convention="monolix")
    lines = [line for line in path.read_text().splitlines() if line[0] != "#"]
    rows = list(csv.DictReader(lines))
    assert [
        (row["Y"], row["LIMIT"], row["LLOQ"]) for row in rows if row["CENS"] == "1"
    ] == [("25", "0", "25"), ("50.456", "0", "50.456")]
    assert {row["LIMIT"] for row in rows if row["CENS"] != "1"} == {"."}
    # Told nothing of LLOQ, LIMIT 0 is no limit, and Y is.
    path.with_suffix(".toml").write_text("[codes]\nCMT = {1 = 'CART', 2 = 'LD'}\n")
    limits = [
        s.limit
        for s in read_dataset(path, ColumnMap(ignore=("LLOQ",))).patients[0].samples
    ]
    assert limits == [None, 50.456]


@pytest.mark.parametrize(
    ("name", "convention", "says"),
    [
        ("t.csv", "phoenix", "ckin writes ckin, nonmem, monolix"),
        ("t.xlsx", "ckin", "ckin writes .csv and .parquet"),
        ("t.parquet", "nonmem", "nonmem reads text"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, name, convention, says):
    with pytest.raises(InputError, match=says):
        write_dataset(dataset_of(PLAIN), tmp_path / name, convention=convention)
    assert not list(tmp_path.iterdir())


def test_a_covariate_may_not_have_the_name_of_a_column(tmp_path):
    patient = dataclasses.replace(PLAIN, covariates={"level": 1.0, "WT": 60.0})
    write_dataset(dataset_of(patient), tmp_path / "t.csv")
    assert without_rows(read_dataset(tmp_path / "t.csv")) == [patient]
    patient = dataclasses.replace(PLAIN, covariates={"y": 1.0, "WT": 60.0})
    with pytest.raises(InputError, match="two columns would be called"):
        write_dataset(dataset_of(patient), tmp_path / "t.csv", convention="monolix")


def test_the_synthetic_mark_outlives_pandas(tmp_path):
    path = tmp_path / "trial.parquet"
    write_dataset(dataset_of(PLAIN), path)
    frame = pd.read_parquet(path)
    # Numbers are numbers there, and below its limit is said as in the CSV.
    assert frame.loc[frame["EVID"] == 0, "DV"].tolist() == [25.0, 1234.5678, 50.456]
    frame[frame["TIME"] > -1].to_parquet(tmp_path / "part.parquet")
    part = read_dataset(tmp_path / "part.parquet")
    assert part.synthetic
    assert part.units == {"qpcr": "copies/ug"}
    assert len(part.patients[0].samples) == 2


def test_faults_of_a_parquet_file_name_rows_as_in_its_csv(tmp_path):
    path = tmp_path / "trial.parquet"
    frame = pd.DataFrame({"ID": ["a", "a"], "TIME": [1.0, 2.0], "DV": [5.0, -1.0]})
    frame.to_parquet(path)
    with pytest.raises(DataError) as error:
        read_dataset(path, ColumnMap(units={"qpcr": "copies/ug"}))
    assert [(f.row, f.column) for f in error.value.faults] == [(3, "DV")]
    path.write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match="no Parquet"):
        read_dataset(path)


def test_without_pyarrow_a_sentence_says_how_to_install_it(tmp_path, monkeypatch):
    path = tmp_path / "trial.parquet"
    write_dataset(dataset_of(PLAIN), path)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(DataError, match=r'pip install "ckin\[parquet\]"'):
        read_dataset(path)
    with pytest.raises(InputError, match=r'pip install "ckin\[parquet\]"'):
        write_dataset(dataset_of(PLAIN), tmp_path / "other.parquet")
    assert not (tmp_path / "other.parquet").exists()


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6).map(
    str.strip
)
names = words.filter(lambda word: word.casefold() not in ("", "limit"))
codes = st.dictionaries(st.integers(0, 99).map(str), words.filter(bool), max_size=3)


@given(
    columns=st.builds(
        dict,
        rename=names.map(lambda name: {name: "DV"}),
        units=st.sampled_from([{}, {"qpcr": "copies/ug", "DATE": "DMY"}]),
        limits=st.floats(1e-9, 1e9).map(lambda limit: {"qpcr": limit}),
        where=st.dictionaries(words.filter(bool), words.filter(bool), max_size=1),
        codes=codes.map(lambda made: {"ID": made}),
        log=st.sampled_from([(), ("DV",), ("DV", "LIMIT")]),
        assay=st.sampled_from([None, "flow"]),
    )
)
def test_a_side_file_says_what_its_column_map_does(columns):
    made = ColumnMap(**columns)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "side.toml"
        path.write_text(side_file_text(made), encoding="utf-8", newline="\n")
        assert ColumnMap.from_options(map=[str(path)]) == made


def test_a_dose_that_runs_in_has_a_rate_in_nonmem(tmp_path):
    dose = Dose(0.0, "CART", cells=3e8, duration_d=0.25)
    patient = dataclasses.replace(
        PLAIN, doses=(dose,), samples=(sample(7.0, 9.0, None),)
    )
    path = tmp_path / "trial.csv"
    write_dataset(dataset_of(patient), path, convention="nonmem")
    assert "1200000000" in path.read_text()
    assert read_dataset(path).patients[0].doses == (dose,)
