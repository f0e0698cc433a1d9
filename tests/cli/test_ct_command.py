"""`ckin ct` as its users meet it."""

from functools import partial

import pytest
from typed import typed

from ckin.dataset import ColumnMap, read_dataset


HEADER = "# SYNTHETIC wells\nTYPE,CT,COPIES,SAMPLE,ID,TIME,DNA_NG\n"
CURVE = "".join(
    f"standard,{37.4 - 3.35 * n + off:.2f},{10**n},,,,\n"
    for n in range(1, 7)
    for off in (-0.1, 0.1)
)
GOOD = (
    HEADER
    + CURVE
    + "ntc,,,,,,\nsample,24.0,,a,P1,7,200\nsample,24.2,,a,P1,7,200\n"
    + "sample,Undetermined,,b,P1,90,200\nsample,Undetermined,,b,P1,90,200\n"
)


run = partial(typed, "ct")


@pytest.fixture
def wells(tmp_path):
    file = tmp_path / "wells.csv"
    file.write_text(GOOD)
    return file


def test_it_prints_curve_quality_and_what_was_read(wells):
    result = run(wells)
    assert result.exit_code == 0, result.output
    for words in (
        "SYNTHETIC DATA",
        "quality: 9 checks, none failed",
        "-3.350",
        "98.8%",
        "3 copies; 60 ng",
        "2 samples of 1 patient: 1 below",
        "no column PLATE",
        "1 well without a Ct (empty)",
        "2 wells without a Ct (Undetermined)",
    ):
        assert words in result.output
    assert not list(wells.parent.glob("*.toml"))


def test_it_writes_rows_that_check_reads(wells):
    out = wells.with_name("observed.csv")
    result = run(wells, "--out", out)
    assert result.exit_code == 0, result.output
    dataset = read_dataset(out, ColumnMap(ignore=("EXAMINED",)))
    (patient,) = dataset.patients
    assert [sample.below for sample in patient.samples] == [False, True]
    assert dataset.synthetic


def test_poor_quality_is_said_first(wells):
    wells.write_text(GOOD.replace("ntc,,", "ntc,30,"))
    result = run(wells)
    assert result.exit_code == 0, result.output
    assert "QUALITY: 1 of 9 checks failed" in result.output.splitlines()[1]
    assert "FAIL" in result.output


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (CURVE, "", ["no standard wells", "TYPE standard"]),
        ("24.2", "24,2", ["row"]),
        ("24.2", "early", ["row 17", "column CT", "early"]),
        ("TYPE", "KIND", ["row 2", "no column TYPE"]),
    ],
)
def test_a_mistake_ends_with_code_2_and_names_the_place(wells, old, new, words):
    wells.write_text(GOOD.replace(old, new))
    out = wells.with_name("observed.csv")
    result = run(wells, "--out", out)
    assert result.exit_code == 2, result.output
    for word in ("wells.csv", *words):
        assert word in result.output
    assert "Traceback" not in result.output
    assert not out.exists()


def test_a_missing_file_and_a_wrong_map_end_with_code_2(tmp_path, wells):
    for args, word in (
        ([tmp_path / "none.csv"], "no such file"),
        ([wells, "--map", "CT=CTT"], "--map"),
        ([wells, "--out", tmp_path / "none" / "out.csv"], "cannot be written"),
    ):
        result = run(*args)
        assert result.exit_code == 2, result.output
        assert word in result.output
        assert "Traceback" not in result.output
