"""Products and assays of one's own: declared, read, converted, written, refused."""

import math
from pathlib import Path
from typing import Any

import pytest

from ckin.dataset import ColumnMap, DataError, read_dataset, write_dataset


HEAD = "# product DRUG mg/kg\n# unit conc mg/L\n# unit TIME hour\n"
ROWS = "ID,TIME,AMT,DV,WT\n1,0,4,.,80\n1,0,.,0,80\n1,6,.,2.5,80\n1,12,3,.,80\n"
FLAT = "Subject,Wt,Dose,Time,conc\n1,80,4,0,0\n1,80,4,6,2.5\n2,60,5,0,0\n2,60,5,6,3\n"
OPTIONS: dict[str, Any] = {
    "map": ["Subject=ID", "conc=DV", "Dose=DOSE_AT_0"],
    "unit": ["TIME=hour", "conc=mg/L"],
    "product": ["DRUG=mg/kg"],
}


def read(folder: Path, text: str, columns: ColumnMap | None = None):
    path = folder / "table.csv"
    path.write_text(text, encoding="utf-8")
    return read_dataset(path, columns)


def faults(folder: Path, text: str, columns: ColumnMap | None = None) -> str:
    with pytest.raises(DataError) as error:
        read(folder, text, columns)
    return str(error.value)


def test_doses_are_in_their_own_unit_and_hours_become_days(tmp_path):
    (person,) = read(tmp_path, HEAD + ROWS).patients
    told = [(d.product, d.unit, d.cells_per_kg, d.time_d) for d in person.doses]
    assert told == [("DRUG", "mg", 4.0, 0.0), ("DRUG", "mg", 3.0, 0.5)]
    # 4 mg/kg of 80 kg.
    assert person.doses[0].total(80.0) == 320.0
    assert [(s.assay, s.time_d, s.value) for s in person.samples] == [
        ("conc", 0.25, 2.5)
    ]
    assert [s.value for s in person.baseline] == [0.0]


def test_samples_at_the_first_dose_can_be_taken_in(tmp_path):
    dataset = read(tmp_path, HEAD + ROWS).with_baseline()
    (person,) = dataset.patients
    assert [s.time_d for s in person.samples] == [0.0, 0.25]
    assert person.baseline == ()
    assert any(
        "1 sample at or before the first dose taken in" in n for n in dataset.notes
    )


def test_a_column_of_doses_at_time_0_is_a_dose_of_each_patient(tmp_path):
    dataset = read(tmp_path, FLAT, ColumnMap.from_options(**OPTIONS))
    told = [
        [(d.time_d, d.cells_per_kg, d.unit) for d in p.doses] for p in dataset.patients
    ]
    assert told == [[(0.0, 4.0, "mg")], [(0.0, 5.0, "mg")]]
    assert any("2 doses at time 0 by column Dose" in note for note in dataset.notes)


@pytest.mark.parametrize("convention", ["ckin", "nonmem", "monolix"])
def test_what_is_written_is_read_back_the_same(tmp_path, convention):
    dataset = read(tmp_path, HEAD + ROWS)
    out = tmp_path / f"again_{convention}.csv"
    write_dataset(dataset, out, convention=convention)
    again = read_dataset(out)
    assert again.units == dataset.units
    for ours, theirs in zip(dataset.patients, again.patients, strict=True):
        assert ours.doses == theirs.doses
        assert ours.covariates == theirs.covariates
        for mine, other in zip(
            (*ours.baseline, *ours.samples),
            (*theirs.baseline, *theirs.samples),
            strict=True,
        ):
            assert (mine.time_d, mine.value, mine.below) == (
                other.time_d,
                other.value,
                other.below,
            )


def test_readings_convert_into_another_unit_limits_too(tmp_path):
    rows = "ID,TIME,AMT,DV,LIMIT,WT\n1,0,4,.,.,80\n1,6,.,2.5,0.5,80\n1,9,.,0.1,0.5,80\n"
    dataset = read(tmp_path, HEAD + rows).in_unit("conc", "ng/mL")
    (person,) = dataset.patients
    found = [(s.value, s.limit, s.below) for s in person.samples]
    assert found == [(2500.0, 500.0, False), (500.0, 500.0, True)]
    with pytest.raises(ValueError, match="cannot be told in"):
        dataset.in_unit("conc", "cells/uL")


def test_weeks_and_minutes_are_days_too(tmp_path):
    for unit, days in (("week", 7.0), ("min", 1 / 1440), ("day", 1.0)):
        text = (HEAD + ROWS).replace("TIME hour", f"TIME {unit}")
        (person,) = read(tmp_path, text).patients
        assert math.isclose(person.samples[0].time_d, 6.0 * days, rel_tol=1e-12)


WRONG = {
    "a misspelt assay": (HEAD.replace("conc", "qpc") + ROWS, "did you mean qpcr"),
    "a misspelt unit": (HEAD.replace("mg/L", "mgg/L") + ROWS, "did you mean mg"),
    "a dose in no amount": (HEAD.replace("mg/kg", "mg/L") + ROWS, "as mg or mg/kg"),
    "an assay that never occurs": (
        HEAD + "# unit pca %\n" + ROWS.replace("ID,TIME,AMT,DV", "ID,TIME,AMT,DV,DVID")
        .replace(",.,80", ",.,.,80").replace(",0,80", ",0,conc,80")
        .replace("2.5,80", "2.5,conc,80"),
        "a unit of 'pca'",
    ),
    "a product that nobody declared": (
        HEAD + "ID,TIME,AMT,CMT,DV,WT\n1,0,4,DRGU,.,80\n1,6,.,.,2.5,80\n",
        "did you mean DRUG",
    ),
    "a dose per kg without a weight": (
        HEAD + ROWS.replace(",WT", "").replace(",80", ""),
        "no weight of patient '1'",
    ),
    "a known product": (HEAD + "# product CART mg\n" + ROWS, "needs no telling"),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_slip_is_told_and_what_to_do(tmp_path, wrong):
    text, words = WRONG[wrong]
    assert words in faults(tmp_path, text)


def test_doses_at_time_0_that_cannot_be_are_told(tmp_path):
    columns = ColumnMap.from_options(**OPTIONS)
    changed = faults(tmp_path, FLAT.replace("1,80,4,6", "1,80,9,6"), columns)
    assert "row 3, column Dose: found '9', expected 4 as in row 2" in changed
    nobody = ColumnMap.from_options(**{**OPTIONS, "product": []})
    assert "--product DRUG=mg" in faults(tmp_path, FLAT, nobody)
    both = "Subject,Wt,Dose,AMT,Time,conc\n1,80,4,4,0,.\n1,80,4,.,6,2.5\n"
    assert "beside Dose" in faults(tmp_path, both, columns)


def test_a_zero_of_an_assay_of_ckins_still_needs_a_limit(tmp_path):
    text = "# unit flow cells/uL\nID,TIME,DV,DVID\n1,1,0,flow\n"
    assert "0 with no detection limit" in faults(tmp_path, text)
