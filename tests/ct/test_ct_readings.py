"""Readings and quality of plates: rules worked by hand, and laws of simulated wells."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from plates import INTERCEPT, SLOPE, drawn, layout, sample

from ckin.ct import (
    Check,
    CtData,
    Plate,
    Standard,
    quality,
    read_samples,
    write_observations,
)
from ckin.ct.quality import allowed_sd
from ckin.ct.readings import DETECTED_COPIES
from ckin.dataset import ColumnMap, read_dataset
from ckin.errors import InputError


def ct_of(copies: float) -> float:
    return INTERCEPT + SLOPE * math.log10(copies)


STANDARDS = tuple(
    Standard(10.0**n, ct_of(10.0**n) + off, 0)
    for n in range(1, 7)
    for off in (-0.1, 0.1)
)
PLATE = Plate("p", STANDARDS, (None, None))


def data(*samples, plate: Plate = PLATE) -> CtData:
    return CtData("wells.csv", (plate,), samples)


def copies_of(*copies: float | None, dna_ng: float = 200.0):
    """A reading of wells with these copies; `None` for a silent one."""
    cts = [None if c is None else ct_of(c) for c in copies]
    (reading,) = read_samples(data(sample(cts, dna_ng)))
    return reading


@given(st.floats(5.0, 1e6), st.floats(1.0, 1e4))
def test_a_sample_on_the_curve_reads_its_copies_per_ug(copies, dna_ng):
    reading = copies_of(copies, copies, dna_ng=dna_ng)
    assert not reading.below
    assert reading.copies_per_ug == pytest.approx(copies / dna_ng * 1000, rel=1e-9)


@given(st.floats(1.0, 1e4))
def test_three_copies_a_reaction_are_detected_in_95_of_100(dna_ng):
    reading = copies_of(None, dna_ng=dna_ng)
    assert reading.below
    assert reading.copies_per_ug == reading.lod == pytest.approx(3000 / dna_ng)
    per_reaction = reading.lod * reading.sample.dna_ug
    assert -math.expm1(-per_reaction) == pytest.approx(0.95, abs=1e-3)


def test_at_200_ng_the_limits_are_15_and_50_copies_per_ug():
    reading = copies_of(1e4)
    # 3 copies, and the lowest standard, 10 copies.
    assert (reading.lod, reading.lloq) == pytest.approx((15.0, 50.0))


def test_many_wells_are_averaged_on_the_log_scale_and_some_with_zeros():
    assert copies_of(100.0, 400.0).copies == pytest.approx(200.0)
    assert copies_of(12.0, None).copies == pytest.approx(6.0)
    assert copies_of(8.0, None, None).copies == pytest.approx(8 / 3)
    assert copies_of(8.0, None, None).below
    # Amplified, yet below what a sample can be told from nothing by.
    assert copies_of(2.0, 2.0).below


@pytest.mark.parametrize("copies", [4.0, 6.0, 12.0])
def test_readings_of_few_copies_are_right_on_average(copies):
    n = 3000
    empty = layout([sample([None] * 3, name=f"s{i}") for i in range(n)])
    made = drawn(5, empty, [copies / 0.2] * n, sigma=0.0, tau=0.1)
    known = dataclasses.replace(made, plates=(PLATE,))
    found = np.array([reading.copies for reading in read_samples(known)])
    # Silent wells are right as zeros; three amplified ones have a geometric mean, which
    # is low by about one part in twice the copies.
    assert found.mean() == pytest.approx(copies, rel=0.6 / copies + 0.02)


def test_written_readings_are_a_data_file(tmp_path):
    wells = (
        sample([ct_of(1e4), ct_of(1e4)], 100.0, day=7.0, name="b"),
        sample([None, None], 60.0, day=90.0, name="c"),
        sample([ct_of(200.0)], 200.0, day=1.0, name="a"),
    )
    file = tmp_path / "observed.csv"
    all_of = data(*wells)
    assert write_observations(all_of, read_samples(all_of), file) == 0
    rows = file.read_text().splitlines()[-4:]
    examined = [row.rsplit(",", 1)[1] for row in rows]
    assert examined == ["EXAMINED", "0.2", "0.1", "0.06"]
    (patient,) = read_dataset(file, ColumnMap(ignore=("EXAMINED",))).patients
    found = [(s.time_d, s.value, s.below, s.limit) for s in patient.samples]
    assert found == [
        (1.0, pytest.approx(1000.0, rel=1e-5), False, 15.0),
        (7.0, pytest.approx(1e5, rel=1e-5), False, 30.0),
        (90.0, 50.0, True, 50.0),
    ]


def test_the_same_row_twice_is_written_once_and_counted(tmp_path):
    twice = data(sample([None], name="a"), sample([None], name="b"))
    file = tmp_path / "observed.csv"
    assert write_observations(twice, read_samples(twice), file) == 1
    (patient,) = read_dataset(file, ColumnMap(ignore=("EXAMINED",))).patients
    assert len(patient.samples) == 1


def test_synthetic_wells_give_synthetic_readings(tmp_path):
    file = tmp_path / "observed.csv"
    made = drawn(0, layout([sample([None])]), [1e4])
    write_observations(made, read_samples(made), file)
    assert read_dataset(file, ColumnMap(ignore=("EXAMINED",))).synthetic


def test_nothing_to_write_and_nowhere_to_write_are_said(tmp_path):
    with pytest.raises(InputError, match="no wells of type sample"):
        write_observations(data(), (), tmp_path / "observed.csv")
    one = data(sample([30.0]))
    with pytest.raises(InputError, match="cannot be written"):
        write_observations(one, read_samples(one), tmp_path / "none" / "observed.csv")


# Quality.


def checks(of: CtData) -> dict[str, Check]:
    return {check.what: check for check in quality(of)}


GOOD = (sample([ct_of(1e4) + off for off in (-0.1, 0.0, 0.1)], name="good"),)


def test_a_good_plate_passes_everything():
    found = checks(data(*GOOD))
    assert [check.what for check in found.values() if not check.passed] == []
    assert len(found) == 9


def tilted(slope: float) -> Plate:
    wells = (Standard(c, 37 + slope * math.log10(c), 0) for c in (1e2, 1e4, 1e6))
    return Plate("p", tuple(wells), (None,))


def noisy() -> Plate:
    """Levels off the line by up to 1.2 cycles, in a way that leaves the line alone."""
    off = dict(zip((10.0**n for n in range(1, 7)), (1, -1, 0, 0, -1, 1), strict=True))
    wells = (
        Standard(w.copies, (w.ct or 0.0) + 1.2 * off[w.copies], 0) for w in STANDARDS
    )
    return Plate("p", tuple(wells), (None,))


LOWEST = ct_of(10.0)
# What fails, and on which plate and samples; nothing else about it may fail.
POOR = {
    "slope": data(plate=tilted(-3.7)),
    "R2": data(plate=noisy()),
    "NTC": data(plate=Plate("p", STANDARDS, (None, LOWEST + 4.9))),
    "standards amplify": data(
        plate=Plate("p", (*STANDARDS, Standard(100.0, None, 0)), (None,))
    ),
    "SD of standards": data(
        plate=Plate("p", (*STANDARDS, Standard(1e6, ct_of(1e6) + 1.2, 0)), (None,))
    ),
    "SD of samples": data(sample([ct_of(1e4), ct_of(1e4) + 0.8])),
    "samples in range": data(sample([ct_of(2e6)])),
    "LOD": data(sample([ct_of(1e4)], 59.0)),
}


@pytest.mark.parametrize("what", POOR)
def test_a_poor_plate_fails_where_it_is_poor(what):
    found = checks(POOR[what])
    assert [name for name, check in found.items() if check.passed is False] == [what]


def test_a_plate_without_controls_does_not_pass():
    assert checks(data(plate=Plate("p", STANDARDS, ())))["NTC"].passed is False


def test_a_late_control_passes():
    late = Plate("p", STANDARDS, (LOWEST + 5.1,))
    assert checks(data(plate=late))["NTC"].passed


def test_a_reading_between_the_limits_is_named():
    found = checks(data(*GOOD, sample([ct_of(5.0)], name="faint")))["LLOQ"]
    assert found.passed is False
    assert "faint" in found.value
    assert "good" not in found.value


def test_few_copies_may_scatter_more():
    """0.5 cycles and Poisson: at 10 copies 1.455 / sqrt 10 = 0.46 cycles more."""
    assert allowed_sd(1e8, SLOPE) == pytest.approx(0.5, abs=1e-3)
    assert allowed_sd(10.0, SLOPE) == pytest.approx(math.hypot(0.5, 0.46), abs=1e-3)
    assert DETECTED_COPIES == 3.0
