import jax.numpy as jnp
import numpy as np
import pytest

from ckin.units import (
    KNOWN_UNITS,
    NUCLEATED_CELLS_PER_UG_GDNA,
    blood_volume_ul,
    canonical_unit,
    copies_per_ug,
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


@pytest.mark.parametrize("unit", sorted(KNOWN_UNITS))
def test_spelling_a_known_unit_again_changes_nothing(unit):
    assert canonical_unit(unit) == unit


def test_an_unknown_unit_is_refused_with_the_ones_that_are_known():
    with pytest.raises(ValueError, match=r"unknown unit 'furlong'.*copies/ug"):
        canonical_unit("furlong")
