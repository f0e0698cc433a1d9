import jax.numpy as jnp
import numpy as np
import pytest

from ckin.units import (
    NUCLEATED_CELLS_PER_UG_GDNA,
    blood_volume_ul,
    canonical_unit,
    conversion,
    copies_per_ug,
    dimensions,
    total_cells,
)


def test_one_microgram_of_dna_is_151_500_cells():
    # 1 µg / 6.6 pg = 151,515, printed as 151,500.
    assert pytest.approx(1e6 / 6.6, rel=2e-4) == NUCLEATED_CELLS_PER_UG_GDNA


# By hand: 151,500 × 65 / (65 + N), to three significant digits.
@pytest.mark.parametrize(
    ("others_per_ul", "expected"),
    [(200, 37_200), (500, 17_400), (1000, 9_250), (2000, 4_770), (4500, 2_160)],
)
def test_the_same_cells_read_higher_among_fewer_others(others_per_ul, expected):
    found = copies_per_ug(65.0, others_per_ul, 1.0)
    assert found == pytest.approx(expected, rel=5e-3)


@pytest.mark.parametrize("copies_per_cell", [0.5, 1.0, 3.0])
def test_copies_per_ug_have_a_ceiling_that_marked_cells_alone_reach(copies_per_cell):
    ceiling = copies_per_cell * 151_500.0
    assert copies_per_ug(65.0, 0.0, copies_per_cell) == pytest.approx(ceiling)
    assert copies_per_ug(1e12, 1.0, copies_per_cell) <= ceiling


def test_an_empty_tube_reads_zero():
    assert copies_per_ug(0.0, 0.0, 1.0) == 0.0


def test_copies_per_ug_is_a_fraction_so_diluting_blood_changes_nothing():
    marked, others = jnp.array([1.0, 10.0, 65.0]), jnp.array([300.0, 4000.0, 100.0])
    np.testing.assert_allclose(
        copies_per_ug(0.1 * marked, 0.1 * others, 1.0),
        copies_per_ug(marked, others, 1.0),
        rtol=1e-12,
    )


def test_doses_and_blood_scale_with_weight():
    assert total_cells(5e6, 60.0) == 3e8
    # 70 mL/kg × 60 kg = 4.2 L.
    assert blood_volume_ul(60.0) == pytest.approx(4.2e6)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("copies/µg gDNA", "copies/ug"),  # micro sign
        ("copies/μg DNA", "copies/ug"),  # Greek mu
        ("Copies/ug", "copies/ug"),
        ("cells/µL", "cells/uL"),
        ("cells/ul", "cells/uL"),
        (" days ", "day"),
        ("1/days", "1/day"),
        ("PG/ML", "pg/mL"),
    ],
)
def test_a_unit_may_be_spelled_as_people_spell_it(written, meant):
    assert canonical_unit(written) == meant


# Of shipped models and data, and of what people fit beside them.
UNITS = (
    "", "1", "%", "ratio", "day", "hour", "year", "index", "1/(index day)", "cells/kg",
    "copies uL/(ug cells)", "copies/(ug cells)", "pg/(mL cells cells day)", "cells/uL",
    "copies/cell", "mg", "mg/L", "mg/kg", "L/h", "L/(h kg)", "1/h", "ng/mL", "IU/mL",
    "mm", "mmol/L",
)  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_spelling_a_unit_again_changes_nothing(unit):
    assert canonical_unit(unit) == unit


@pytest.mark.parametrize(
    ("unit", "measures"),
    [
        ("1/(cells h)", {"cells": -1, "day": -1}),
        ("L/h/kg", {"L": 1, "day": -1, "kg": -1}),
        ("mL/(min kg)", {"L": 1, "day": -1, "kg": -1}),
        ("ug/mL", {"mg": 1, "L": -1}),
        ("mm^2", {"m": 2}),
        ("h^-1", {"day": -1}),
        ("%", {}),
    ],
)
def test_what_a_unit_measures_does_not_depend_on_its_size(unit, measures):
    assert dimensions(unit) == measures


# By hand: 1 ug/mL is 1000 ug or 1 mg a litre; 1 L/h is 1000 mL in 60 min.
@pytest.mark.parametrize(
    ("source", "target", "factor"),
    [
        ("ug/mL", "mg/L", 1.0),
        ("ng/mL", "mg/L", 1e-3),
        ("L/h", "mL/min", 1000 / 60),
        ("ratio", "%", 100.0),
        ("1/h", "1/day", 24.0),
    ],
)
def test_units_convert_by_hand_worked_factors_and_back(source, target, factor):
    assert conversion(source, target) == pytest.approx(factor, rel=1e-12)
    assert conversion(target, source) == pytest.approx(1 / factor, rel=1e-12)


@pytest.mark.parametrize(
    ("source", "target"), [("mg", "kg"), ("mg/L", "mg"), ("cells/uL", "copies/ug")]
)
def test_units_that_measure_different_things_do_not_convert(source, target):
    assert conversion(source, target) is None


def test_an_unknown_unit_is_refused_with_the_ones_that_are_known():
    with pytest.raises(ValueError, match=r"unknown unit 'furlong'.*copies/ug"):
        canonical_unit("furlong")


@pytest.mark.parametrize(
    "unit", ["mM", "mg/M", "mg/", "mg//L", "mg/(L", "mg/L)", "5 mg", "mg/L/"]
)
def test_a_unit_that_is_not_well_formed_is_refused(unit):
    with pytest.raises(ValueError, match="unknown unit"):
        canonical_unit(unit)


def test_a_misspelt_part_is_named_with_a_suggestion():
    with pytest.raises(
        ValueError, match=r"'copes' cannot be read; did you mean copies"
    ):
        canonical_unit("copes/ug")
