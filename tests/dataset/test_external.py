"""Real curves, read through a column map. They are not part of this project."""

import csv
from typing import Any

import pytest

from ckin.dataset import ColumnMap, DataError, disposition, read_dataset


LIMIT = 25.0
OPTIONS: dict[str, Any] = {
    "map": [
        "patient=ID",
        "day=TIME",
        "copies_per_ug=DV",
        "vcn_per_cell=IGNORE",
        "visit_label=IGNORE",
    ],
    "where": ["matrix=PB"],
    "limit": [f"qpcr={LIMIT:g}"],
    "unit": ["qpcr=copies/ug"],
}


@pytest.fixture
def table(external_data):
    path = external_data / "ctl019" / "qpcr.csv"
    assert path.is_file()
    return path


def test_every_blood_sample_of_every_patient_is_accounted_for(table):
    dataset = read_dataset(table, ColumnMap.from_options(**OPTIONS))
    with table.open(newline="") as file:
        rows = list(enumerate(csv.DictReader(file), start=2))
    blood = [(number, row) for number, row in rows if row["matrix"] == "PB"]
    late = [(number, row) for number, row in blood if float(row["day"]) > 0]
    assert len(dataset.patients) == len({row["patient"] for _, row in rows}) == 34

    samples = [(p.id, s) for p in dataset.patients for s in p.samples]
    read = {s.row: (name, s.time_d, s.value, s.below) for name, s in samples}
    assert read == {
        number: (
            row["patient"],
            float(row["day"]),
            max(float(row["copies_per_ug"]), LIMIT),
            float(row["copies_per_ug"]) < LIMIT,
        )
        for number, row in late
    }
    assert {s.row for p in dataset.patients for s in p.baseline} == {
        number for number, row in blood if float(row["day"]) <= 0
    }

    (everyone,) = disposition(dataset)
    below = sum(float(row["copies_per_ug"]) < LIMIT for _, row in late)
    assert everyone["samples_qpcr"] == len(late)
    assert everyone["below_qpcr_pct"] == pytest.approx(100 * below / len(late))
    assert everyone["baseline_samples"] == len(blood) - len(late)
    zeros = sum(float(row["copies_per_ug"]) == 0 for _, row in blood)
    for note in (
        f"{len(rows) - len(blood)} rows left out by that",
        f"{zeros} qpcr values of 0 taken as below the limit",
        "no dose rows: the first infusion is taken to be at TIME 0",
    ):
        assert note in dataset.notes


@pytest.mark.parametrize(
    ("without", "says"),
    [
        ("limit", "column copies_per_ug: found 0 with no detection limit"),
        ("unit", "qpcr, whose unit is missing"),
        ("where", "column matrix: found an unknown column"),
        ("map", "column day: found an unknown column.*did you mean TIME"),
    ],
)
def test_nothing_about_the_file_is_guessed(without, says, table):
    options = {name: value for name, value in OPTIONS.items() if name != without}
    with pytest.raises(DataError, match=says):
        read_dataset(table, ColumnMap.from_options(**options))
