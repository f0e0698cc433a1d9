"""Reading wells: every fault with its place, and nothing lost in silence."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plates import drawn, layout, sample

from ckin.ct import CtData, read_wells, write_wells
from ckin.dataset import DataError


HEADER = "PLATE,WELL,TYPE,CT,COPIES,SAMPLE,ID,TIME,DNA_NG,OCC\n"
CURVE = "".join(
    f"1,A{n},standard,{37.4 - 3.35 * n:.2f},{10**n},,,,,\n" for n in range(1, 7)
)
NTC = "1,B1,ntc,Undetermined,,,,,,\n"
SAMPLE = "1,C1,sample,30.1,,s1,P1,7,200,1\n"
GOOD = HEADER + CURVE + NTC + SAMPLE + "1,C2,sample,30.3,,s1,P1,7,200,1\n"


def read(tmp_path: Path, text: str, **options) -> CtData:
    file = tmp_path / "wells.csv"
    file.write_text(text, encoding="utf-8")
    return read_wells(file, **options)


def test_a_good_file_is_plates_and_samples(tmp_path):
    data = read(tmp_path, GOOD)
    (plate,), (found,) = data.plates, data.samples
    assert len(plate.standards) == 6
    assert plate.controls == (None,)
    assert found.cts == (30.1, 30.3)
    assert (found.patient, found.time_d, found.dna_ng, found.cycle) == ("P1", 7, 200, 1)
    assert found.row == 9
    assert not data.synthetic
    assert "1 well without a Ct (Undetermined): no amplification" in data.notes


# Text of the file, and words of the message. The names are row 1, samples begin in 9.
MALFORMED = {
    "no TYPE": (GOOD.replace("TYPE", "WHAT"), ["row 1", "no column TYPE"]),
    "unknown column": (GOOD.replace("DNA_NG", "DNA"), ["row 1", "DNA", "DNA=DNA_NG"]),
    "column twice": (GOOD.replace("OCC", "CYCLE").replace("WELL", "OCC"), ["second"]),
    "not a Ct": (GOOD.replace("30.3", "late"), ["row 10", "CT", "late"]),
    "a Ct of 0": (GOOD.replace("30.3", "0"), ["row 10", "CT", "Undetermined"]),
    "a Ct of 300": (GOOD.replace("30.3", "300"), ["row 10", "CT", "60"]),
    "unknown type": (GOOD.replace("ntc", "nct"), ["row 8", "TYPE", "mean ntc"]),
    "no type": (GOOD.replace("ntc", ""), ["row 8", "TYPE", "nothing"]),
    "no copies": (GOOD.replace(",10,", ",,"), ["row 2", "COPIES", "nothing"]),
    "copies of 0": (GOOD.replace(",10,", ",0,"), ["row 2", "COPIES", "ntc"]),
    "copies of a sample": (
        GOOD.replace("30.1,,", "30.1,99,"),
        ["row 9", "COPIES", "TYPE standard"],
    ),
    "no DNA": (GOOD.replace("7,200", "7,"), ["row 9", "1 more", "DNA_NG", "nothing"]),
    "no column DNA_NG": (
        GOOD.replace(",DNA_NG", "").replace(",200", "").replace(",,\n", ",\n"),
        ["row 9", "no column DNA_NG"],
    ),
    "no column TIME": (
        GOOD.replace(",TIME", "").replace(",7,", ",").replace(",,\n", ",\n"),
        ["row 1", "no column TIME"],
    ),
    "DNA in ug": (GOOD.replace("200", "2e5"), ["row 9", "DNA_NG", "10,000"]),
    "no patient": (GOOD.replace("P1", ""), ["row 9", "ID"]),
    "no sample": (GOOD.replace("s1", ""), ["row 9", "SAMPLE"]),
    "no time": (GOOD.replace("P1,7", "P1,"), ["row 9", "TIME"]),
    "a cycle and a half": (GOOD.replace("200,1\n", "200,1.5\n"), ["row 9", "OCC"]),
    "no plate": (GOOD.replace("1,C2", ",C2"), ["row 10", "PLATE"]),
    "a well twice": (GOOD.replace("C2", "c1"), ["row 10", "WELL", "row 9"]),
    "replicates differ": (
        GOOD.replace("30.3,,s1,P1,7", "30.3,,s1,P1,8"),
        ["row 10", "TIME", "8.0", "row 9"],
    ),
    "no standards": (HEADER + NTC + SAMPLE, ["row 3", "no standard wells", "PLATE"]),
    "standards on another plate": (
        GOOD.replace("1,C1", "2,C1").replace("1,C2", "2,C2"),
        ["row 9", "'2'", "no standard wells", "share one PLATE"],
    ),
    "controls alone": (HEADER + NTC, ["neither standards nor samples", "TYPE"]),
    "two levels": (
        HEADER + "".join(CURVE.splitlines(True)[:2]) + NTC + SAMPLE,
        ["row 2", "2 levels", "at least 3"],
    ),
    "rising": (
        HEADER + "".join(f"1,A{n},std,{20 + n},{10**n},,,,,\n" for n in range(1, 5)),
        ["row 2", "do not fall"],
    ),
    "units": ("# unit TIME hour\n" + GOOD, ["row 1", "TIME in days"]),
    "empty": ("", ["empty"]),
    "too few cells": (GOOD + "1,C3,sample,30\n", ["row 11", "4 cells"]),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_a_fault_is_told_with_its_place(tmp_path, fault):
    text, words = MALFORMED[fault]
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    for word in ("wells.csv", *words):
        assert word in str(caught.value)


def test_every_fault_is_told_at_once(tmp_path):
    text = GOOD.replace("30.3", "x").replace("ntc", "nct").replace("30.1", "-1")
    with pytest.raises(DataError) as caught:
        read(tmp_path, text)
    assert [fault.row for fault in caught.value.faults] == [8, 9, 10]


@pytest.mark.parametrize(
    "cell", ["", ".", "NA", "Undetermined", "UNDETERMINED", "N/A", "NaN", "No Cq"]
)
def test_no_amplification_is_spelled_as_instruments_do(tmp_path, cell):
    data = read(tmp_path, GOOD.replace("30.3", cell))
    assert data.samples[0].cts == (30.1, None)
    assert any("no amplification" in note for note in data.notes)


def test_other_names_are_read_through_a_map(tmp_path):
    text = GOOD.replace("DNA_NG", "input").replace("WELL", "Tm").replace("CT", "Cq")
    data = read(tmp_path, text, map=["input=DNA_NG", "Tm=IGNORE"])
    assert data.samples[0].dna_ng == 200
    assert "columns not read: Tm" in data.notes
    for wrong, word in (("input=DNA", "DNA_NG"), ("volume=IGNORE", "volume")):
        with pytest.raises(DataError, match=word):
            read(tmp_path, GOOD, map=[wrong])


def test_one_plate_needs_no_column_and_says_so(tmp_path):
    rows = (line.split(",", 1)[1] for line in GOOD.splitlines())
    data = read(tmp_path, "\n".join(rows))
    assert [plate.name for plate in data.plates] == ["1"]
    assert any("no column PLATE" in note for note in data.notes)


def test_a_sample_on_two_plates_is_two_readings(tmp_path):
    again = (CURVE + SAMPLE).replace("1,", "2,", 1).replace("\n1,", "\n2,")
    data = read(tmp_path, GOOD + again)
    assert [sample.plate for sample in data.samples] == ["1", "2"]
    assert any("more than one plate" in note for note in data.notes)


levels = st.lists(st.floats(1.0, 1e6), min_size=1, max_size=5)


@settings(max_examples=20)
@given(st.integers(0, 1000), levels, st.sampled_from([1, 2, 3]))
def test_what_is_written_is_what_is_read(seed, copies_per_ug, wells):
    samples = [
        sample([None] * wells, name=f"s{n}", day=n) for n in range(len(copies_per_ug))
    ]
    made = drawn(seed, layout(samples), copies_per_ug)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "wells.csv"
        write_wells(made, file)
        found = read_wells(file)
    assert found.synthetic
    assert [p.controls for p in found.plates] == [p.controls for p in made.plates]
    for ours, theirs in ((found.samples, made.samples), _standards(found, made)):
        assert [_but_row(one) for one in ours] == [_but_row(one) for one in theirs]


def _standards(*data: CtData):
    return [
        [well for plate in each.plates for well in plate.standards] for each in data
    ]


def _but_row(record) -> dict:
    return {name: value for name, value in vars(record).items() if name != "row"}
