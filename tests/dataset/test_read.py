"""What a good file is read as: doses, cycles, samples, windows, notes."""

import dataclasses
import hashlib

import pytest

from ckin.dataset import Change, ColumnMap, Dataset, disposition, read_dataset
from ckin.protocol import Dose, InputWindow


UNITS = "# unit qpcr copies/ug\n# unit bcrabl %\n"


@pytest.fixture
def read(tmp_path):
    def read(text: str, columns: ColumnMap | None = None) -> Dataset:
        path = tmp_path / "trial.csv"
        path.write_text(UNITS + text)
        return read_dataset(path, columns)

    return read


def only(dataset: Dataset):
    (patient,) = dataset.patients
    return patient


def values(samples) -> list[tuple]:
    return [(s.time_d, s.value, s.below, s.limit) for s in samples]


def test_a_sample_below_its_limit_carries_the_limit(read):
    # By CENS and LIMIT; by CENS and DV, as Monolix writes it; by a value under LIMIT;
    # a value at its limit is a value.
    dataset = read(
        "ID,TIME,DV,CENS,LIMIT\n"
        "1,1,.,1,25\n1,2,0,1,25\n1,3,12.5,1,25\n1,4,30,1,.\n"
        "1,5,0,0,25\n1,6,3,0,25\n1,7,25,0,25\n1,8,26,.,.\n"
    )
    assert values(only(dataset).samples) == [
        (1.0, 25.0, True, 25.0),
        (2.0, 25.0, True, 25.0),
        (3.0, 25.0, True, 25.0),
        (4.0, 30.0, True, 30.0),
        (5.0, 25.0, True, 25.0),
        (6.0, 25.0, True, 25.0),
        (7.0, 25.0, False, 25.0),
        (8.0, 26.0, False, None),
    ]
    for note in (
        "1 qpcr value of 0 taken as below the limit",
        "1 qpcr value above 0 and under the limit taken as below it",
        "1 qpcr value with CENS 1 and no limit: DV taken as the limit",
    ):
        assert note in dataset.notes


def test_a_limit_of_the_column_map_is_for_rows_without_one(read):
    dataset = read(
        "ID,TIME,DV,LIMIT\n1,1,0,\n1,2,0,10\n1,3,30,NA\n",
        ColumnMap(limits={"qpcr": 25.0}),
    )
    assert values(only(dataset).samples) == [
        (1.0, 25.0, True, 25.0),
        (2.0, 10.0, True, 10.0),
        (3.0, 30.0, False, 25.0),
    ]


def test_a_sample_at_the_first_infusion_is_baseline_unless_drawn_after_it(read):
    dataset = read(
        "ID,TIME,EVID,AMT,CMT,DV,AFTER\n"
        "1,-3,0,,,1,\n1,0,0,,,2,0\n1,0,1,1e8,CART,,\n1,0,0,,,3,1\n1,1,0,,,4,\n"
    )
    patient = only(dataset)
    assert [sample.value for sample in patient.baseline] == [1.0, 2.0]
    assert [(s.value, s.after) for s in patient.samples] == [(3.0, True), (4.0, False)]
    assert (
        "2 samples at or before the first infusion set aside as baseline"
        in dataset.notes
    )


def test_without_doses_the_first_infusion_is_at_time_0(read):
    dataset = read("ID,TIME,DV\n1,0,1\n1,0.5,2\n2,-1,3\n")
    first, second = dataset.patients
    assert [sample.value for sample in first.samples] == [2.0]
    assert not second.samples
    assert "no dose rows: the first infusion is taken to be at TIME 0" in dataset.notes
    assert "no sample after the first infusion of 1 patient (2)" in dataset.notes
    assert "no column DVID: every value is qpcr, by default" in dataset.notes


CYCLES = """\
ID,TIME,EVID,AMT,CMT,DV
1,-5,2,.,LD,.
1,0,1,1e8,CART,.
1,0.083,1,2e8,FTC,.
1,1,1,1e8,CART,.
1,7,1,2e8,FTC,.
1,28,0,.,.,10
1,50,0,.,.,20
1,51,2,.,LD,.
1,52,0,.,.,30
1,56,0,.,.,40
1,56,1,1e8,CART,.
1,57,0,.,.,50
1,80,2,.,LD,.
"""


def test_without_occ_cycles_follow_the_cart_doses(read):
    # Days 0 and 1 are one split infusion; the sample of day 56 came before the dose.
    dataset = read(CYCLES)
    patient = only(dataset)
    assert [dose.cycle for dose in patient.doses] == [1, 1, 1, 1, 2]
    assert [sample.cycle for sample in patient.samples] == [1, 1, 1, 1, 2]
    cycles = [patient.lymphodepletion_cycle(t) for t in patient.lymphodepletion_d]
    assert cycles == [1, 2, 2]
    assert any(note.startswith("cycles numbered by time") for note in dataset.notes)


def test_the_first_cycles_end_before_the_next_one_prepares(read):
    first = read(CYCLES + "1,90,2,1,TKI,.\n").first_cycles(1)
    patient = only(first)
    assert {dose.cycle for dose in patient.doses} == {1}
    # Day 52 is cycle 1 still, but comes after a lymphodepletion that is left out.
    assert [sample.time_d for sample in patient.samples] == [28.0, 50.0]
    assert patient.lymphodepletion_d == (-5.0,)
    assert not patient.windows
    assert first.notes[-1] == (
        "cycles after cycle 1: 1 dose, 3 samples, 1 input window, 2 lymphodepletions "
        "left out"
    )
    with pytest.raises(ValueError, match="the first cycle is cycle 1"):
        first.first_cycles(0)


def test_all_cycles_are_the_data_set_itself(read):
    dataset = read(CYCLES)
    assert dataset.n_cycles == 2
    assert dataset.first_cycles(2) == dataset


def test_occ_goes_before_times(read):
    dataset = read(
        "ID,TIME,EVID,AMT,CMT,DV,OCC\n"
        "1,0,1,1e8,CART,.,1\n1,3,0,.,.,9,1\n1,6,1,1e8,CART,.,2\n1,6,0,.,.,8,2\n"
    )
    patient = only(dataset)
    assert [dose.cycle for dose in patient.doses] == [1, 2]
    assert [sample.cycle for sample in patient.samples] == [1, 2]


def test_addl_is_the_same_as_explicit_rows(read):
    header = "ID,TIME,EVID,AMT,CMT,ADDL,II,DV\n"
    explicit = read(
        header
        + "1,0,1,1e8,CART,,,\n1,1,1,2e8,FTC,,,\n1,8,1,2e8,FTC,0,,\n1,15,1,2e8,FTC,,,\n"
        + "1,16,0,,,,,5\n"
    )
    short = read(
        header + "1,0,1,1e8,CART,,,\n1,1,1,2e8,FTC,2,7,\n1,16,0,,,,,5\n",
    )
    assert only(short).doses == only(explicit).doses
    assert "2 doses written out from ADDL and II" in short.notes


def test_doses_per_kg_need_only_be_said(read):
    dataset = read("# unit AMT cells/kg\nID,TIME,AMT,CMT,DV,WT\n1,0,5e6,CART,.,60\n")
    patient = only(dataset)
    assert patient.doses == (Dose(0.0, "CART", cells_per_kg=5e6),)
    assert patient.doses[0].total(60.0) == 3e8
    assert patient.covariates == {"WT": 60.0}
    assert "no column EVID: rows with AMT above 0 are doses" in dataset.notes


def test_tki_holds_until_its_next_row(read):
    dataset = read(
        "ID,TIME,EVID,AMT,CMT,DV\n"
        "1,-30,2,1,TKI,.\n1,-2,2,0,TKI,.\n1,0,1,1e8,CART,.\n1,60,2,0.5,TKI,.\n"
    )
    held, off, half = only(dataset).windows
    assert held == InputWindow("tki", 1.0, -30.0, -2.0)
    assert off == InputWindow("tki", 0.0, -2.0, 60.0)
    assert (half.level, half.start_d) == (0.5, 60.0)
    assert half.stop_d > 36_525


def test_rows_that_are_left_out_are_counted(read):
    dataset = read(
        "ID,TIME,EVID,MDV,AMT,CMT,DV,IPRED,matrix\n"
        "1,0,1,1,0,CART,.,.,PB\n1,0,1,1,1e8,CART,.,.,PB\n1,1,0,1,.,.,7,8,PB\n"
        "1,2,2,1,.,.,.,.,PB\n1,3,0,0,.,.,9,8,PB\n1,1,0,0,.,.,9,8,BM\n"
        "2,1,0,0,.,.,9,8,BM\n,,,,,,,,\n# a remark\n",
        ColumnMap(where={"matrix": "PB"}),
    )
    assert values(only(dataset).samples) == [(3.0, 9.0, False, None)]
    for note in (
        "1 empty row left out",
        "1 row starting with # left out as comments",
        "columns not read: IPRED",
        "only rows where matrix is 'PB'",
        "2 rows left out by that, and 1 patient with them",
        "1 row left out with MDV 1",
        "1 row of EVID 2 without CMT left out, but for covariates",
        "1 row with a dose of 0 cells",
        "AMT is taken to be in cells: no unit is stated",
    ):
        assert note in dataset.notes, dataset.notes


def test_replicates_are_kept(read):
    dataset = read("ID,TIME,DV\n1,7,100\n1,7,120\n")
    assert [sample.value for sample in only(dataset).samples] == [100.0, 120.0]


def test_assays_are_told_apart_by_name(read):
    dataset = read("ID,TIME,DV,DVID\n1,7,100,qPCR\n1,7,0.01,BCRABL\n")
    assert dataset.assays == ("bcrabl", "qpcr")
    assert dataset.units == {"bcrabl": "%", "qpcr": "copies/ug"}


def test_covariates_are_numbers_or_texts(read):
    dataset = read(
        "ID,TIME,DV,ARM,Age,level,sex\n"
        "1,7,1,1,30,1,f\n1,8,2,.,.,.,.\n2,7,1,2,,2b,m\n2,8,2,2,40.0,2b,m\n",
        ColumnMap(covariates=("AGE", "level", "sex")),
    )
    first, second = dataset.patients
    assert first.covariates == {"ARM": "1", "Age": 30.0, "level": "1", "sex": "f"}
    assert second.covariates == {"ARM": "2", "Age": 40.0, "level": "2b", "sex": "m"}
    assert any("covariate level is read as text: row 6" in n for n in dataset.notes)


def test_a_covariate_that_changes_holds_from_its_row_on(read):
    dataset = read(
        "ID,TIME,DV,steroid,site\n"
        "1,1,9,,a\n1,3,8,0,a\n1,4,7,,\n1,5,6,1,b\n1,5,5,,\n1,9,4,1.0,b\n1,12,3,0,\n"
        "2,1,9,0,a\n2,2,8,,\n",
        ColumnMap(covariates=("steroid", "site")),
    )
    one, two = dataset.patients
    assert one.covariates == {"steroid": 0.0, "site": "a"}
    assert one.changes == {
        "steroid": (Change(5.0, 1.0, 4.0), Change(12.0, 0.0, 9.0)),
        "site": (Change(5.0, "b", 4.0),),
    }
    assert [change.row for change in one.changes["steroid"]] == [7, 10]
    days = (0.0, 3.0, 4.9, 5.0, 11.9, 12.0, 99.0)
    assert [one.covariate_at("steroid", t) for t in days] == [0, 0, 0, 1, 1, 0, 0]
    assert two.covariates == {"steroid": 0.0, "site": "a"}
    assert two.changes == {}
    notes = " ".join(dataset.notes)
    assert "steroid changes within 1 patient (1 in row 7)" in notes
    assert "steroid is empty in row 6, 8 of patients in whom it changes" in notes
    assert "steroid is empty in row 4 of" in notes
    assert "the first value after holds there" in notes
    # One cycle of two keeps what came in it.
    cycles = dataclasses.replace(
        one, doses=(Dose(0.0, "CART", 1e8), Dose(10.0, "CART", 1e8, cycle=2))
    )
    assert cycles.first_cycles(1).changes["steroid"] == one.changes["steroid"][:1]


def test_patients_whose_rows_are_apart_are_joined(read):
    dataset = read("ID,TIME,DV\n1,7,1\n2,7,1\n1,8,2\n")
    assert [len(patient.samples) for patient in dataset.patients] == [2, 1]
    assert "rows of 1 patient are not together: joined by ID" in dataset.notes


def test_hours_become_days(read):
    dataset = read(
        "# unit TIME hour\nID,TIME,AMT,CMT,ADDL,II,DV\n"
        "1,0,1,CART,,,\n1,12,1,FTC,1,24,\n1,36,,,,,5\n"
    )
    assert [dose.time_d for dose in only(dataset).doses] == [0.0, 0.5, 1.5]
    assert only(dataset).samples[0].time_d == 1.5
    assert "TIME and II converted from hours to days" in dataset.notes


def test_a_first_infusion_elsewhere_than_time_0_is_said(read):
    dataset = read("ID,TIME,AMT,CMT,DV\np1,1,1e8,CART,\np1,1,,,5\np1,2,,,5\n")
    assert only(dataset).first_infusion_d == 1.0
    assert len(only(dataset).baseline) == 1
    assert any(
        "first infusion of 1 patient (p1) is not at TIME 0" in n for n in dataset.notes
    )


@pytest.mark.parametrize("separator", [";", "\t", ", "])
def test_the_separator_is_found(separator, read):
    text = "ID,TIME,DV\n1,7,1.5\n".replace(",", separator)
    dataset = read(text)
    assert values(only(dataset).samples) == [(7.0, 1.5, False, None)]
    said = any("columns are separated by" in note for note in dataset.notes)
    assert said == (separator in ";\t")


def test_the_head_of_a_file_says_units_and_whether_it_is_synthetic(tmp_path):
    # As a spreadsheet saves comment lines: quoted, and filled up with separators.
    path = tmp_path / "trial.csv"
    path.write_text(
        '"# unit qpcr, copies/µg gDNA",,\n# SYNTHETIC,,\nID,TIME,DV\n1,7,1\n'
    )
    dataset = read_dataset(str(path))
    assert dataset.synthetic
    assert dataset.units == {"qpcr": "copies/ug"}
    assert dataset.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert dataset.path == str(path)
    assert dataset.patients[0].samples[0].row == 4
    path.write_text("# unit qpcr copies/ug\nID,TIME,DV\n1,7,1\n")
    assert not read_dataset(path).synthetic


def test_a_disposition_counts_overall_and_by_arm(read):
    dataset = read(
        "ID,TIME,EVID,AMT,CMT,DV,LIMIT,ARM,OCC\n"
        "1,-1,0,,,0,25,high,1\n1,0,1,1e8,CART,,,high,1\n1,0.1,1,1e8,FTC,,,high,1\n"
        "1,7,0,,,90,25,high,1\n1,56,1,1e8,CART,,,high,2\n1,70,0,,,0,25,high,2\n"
        "2,0,1,1e8,CART,,,low,1\n2,10,0,,,90,25,low,1\n"
        "3,0,1,1e8,CART,,,low,1\n"
    )
    everyone, high, low = disposition(dataset)
    assert everyone == {
        "group": "all",
        "patients": 3,
        "cycles": "1: 3, 2: 1",
        "doses_CART": 4,
        "doses_FTC": 1,
        "samples_qpcr": 3,
        "below_qpcr_pct": pytest.approx(100 / 3),
        "baseline_samples": 1,
        "no_samples": 1,
        "follow_up_median_d": 40.0,
        "follow_up_max_d": 70.0,
    }
    assert (high["group"], high["patients"], high["samples_qpcr"]) == ("ARM high", 1, 2)
    assert (low["group"], low["patients"], low["no_samples"]) == ("ARM low", 2, 1)
    assert list(high) == list(everyone)
