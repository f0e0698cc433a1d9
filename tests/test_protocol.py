import dataclasses
import math
import random

import equinox as eqx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckin.protocol import (
    FTC_LEVELS_CELLS_PER_KG,
    PRODUCTS,
    Dose,
    InputWindow,
    Protocol,
    Szcart01,
    event_table,
    pad_events,
    szcart01_arms,
)


CART, FTC = (list(PRODUCTS).index(product) for product in ("CART", "FTC"))

# Few distinct days, so that doses often fall together.
doses = st.lists(
    st.builds(
        Dose,
        time_d=st.sampled_from([0.0, 2.0 / 24.0, 7.0, 56.0]),
        product=st.sampled_from(sorted(PRODUCTS)),
        cells=st.integers(0, 10**9).map(float),
    ),
    max_size=8,
)


def table_of(some, **options):
    return event_table(some, weight_kg=60.0, **options)


# Event tables


@given(doses, st.randoms(use_true_random=False))
def test_the_order_of_doses_does_not_matter(some, shuffler: random.Random):
    shuffled = list(some)
    shuffler.shuffle(shuffled)
    # Whole numbers of cells add exactly in any order.
    assert eqx.tree_equal(table_of(shuffled), table_of(some))


@given(doses)
def test_simultaneous_doses_add_and_no_cell_is_lost(some):
    table = table_of(some)
    assert np.all(np.diff(table.time_d) > 0)
    for column, product in enumerate(PRODUCTS):
        for row, time_d in enumerate(table.time_d):
            assert table.cells[row, column] == sum(
                dose.cells
                for dose in some
                if dose.product == product and dose.time_d == time_d
            )
        assert table.cells[:, column].sum() == sum(
            dose.cells for dose in some if dose.product == product
        )


@given(doses, st.floats(30.0, 120.0))
def test_a_dose_per_kg_is_the_dose_of_that_weight(some, weight_kg):
    per_kg = [
        Dose(dose.time_d, dose.product, cells_per_kg=dose.cells / 60.0) for dose in some
    ]
    found = event_table(per_kg, weight_kg=weight_kg)
    expected = table_of(some)
    np.testing.assert_allclose(
        found.cells, expected.cells * weight_kg / 60.0, rtol=1e-12
    )
    # Doses in cells do not know the weight.
    assert eqx.tree_equal(event_table(some, weight_kg=weight_kg), expected)


@given(doses, st.integers(0, 5))
def test_padding_appends_empty_events_at_the_last_time(some, extra):
    table = table_of(some, lymphodepletion_d=[-3.0], inputs={"tki": 0.5})
    n_events = len(table.time_d)
    padded = pad_events(table, n_events + extra)
    assert len(padded.time_d) == n_events + extra
    np.testing.assert_array_equal(padded.time_d[:n_events], table.time_d)
    assert np.all(padded.time_d[n_events:] == table.time_d[-1])
    assert not padded.cells[n_events:].any()
    assert not padded.lymphodepletion[n_events:].any()
    assert np.all(padded.level[n_events:] == table.level[-1])


def test_a_table_cannot_be_padded_to_fewer_events():
    table = table_of([Dose(0.0, "CART", cells=1e8), Dose(7.0, "FTC", cells=1e8)])
    with pytest.raises(ValueError, match="cannot pad 2 events to 1"):
        pad_events(table, 1)


def test_no_dose_leaves_one_empty_event_to_start_from():
    table = table_of([])
    assert table.time_d.tolist() == [0.0]
    assert not table.cells.any()


def test_lymphodepletion_is_marked_on_its_days_only():
    table = table_of([Dose(0.0, "CART", cells=1e8)], lymphodepletion_d=[-3.0])
    assert table.time_d.tolist() == [-3.0, 0.0]
    assert table.lymphodepletion.tolist() == [1.0, 0.0]


# Input windows


def test_a_window_holds_from_its_start_until_its_stop():
    table = table_of(
        [Dose(0.0, "CART", cells=1e8), Dose(25.0, "FTC", cells=1e8)],
        windows=[InputWindow("tki", 1.0, 20.0, 30.0)],
        inputs={"tki": 0.25},
    )
    assert table.time_d.tolist() == [0.0, 20.0, 25.0, 30.0]
    assert table.level[:, 0].tolist() == [0.25, 1.0, 1.0, 0.25]


def test_where_windows_overlap_the_highest_level_holds():
    windows = [InputWindow("tki", 0.5, 0.0, 30.0), InputWindow("tki", 1.0, 10.0, 20.0)]
    table = table_of([], windows=windows, inputs={"tki": 0.0})
    assert table.time_d.tolist() == [0.0, 10.0, 20.0, 30.0]
    assert table.level[:, 0].tolist() == [0.5, 1.0, 0.5, 0.0]


def test_a_window_of_an_input_the_model_lacks_is_passed_over():
    some = [Dose(0.0, "CART", cells=1e8)]
    windows = [InputWindow("tki", 1.0, 20.0, 30.0)]
    assert eqx.tree_equal(table_of(some, windows=windows), table_of(some))


# What is refused


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"product": "TIL", "cells": 1e8}, "unknown product 'TIL'; ckin knows CART"),
        ({"product": "CART"}, "either as cells or as cells_per_kg"),
        (
            {"product": "CART", "cells": 1e8, "cells_per_kg": 1e6},
            "either as cells or as cells_per_kg",
        ),
        ({"product": "CART", "cells": -1.0}, "-1.0 cells is not a number of cells"),
        ({"product": "FTC", "cells": math.nan}, "nan cells is not a number"),
        ({"product": "FTC", "cells_per_kg": math.inf}, "inf cells is not a number"),
        ({"product": "CART", "cells": 1e8, "time_d": math.nan}, "not at any time"),
    ],
)
def test_a_dose_that_cannot_be_given_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Dose(**{"time_d": 0.0, **arguments})


@pytest.mark.parametrize("stop_d", [20.0, 10.0])
def test_a_window_that_does_not_last_is_refused(stop_d):
    with pytest.raises(ValueError, match="not after its start at day 20.0"):
        InputWindow("tki", 1.0, 20.0, stop_d)


@pytest.mark.parametrize("cycles", [0, 5])
def test_other_than_one_to_four_cycles_are_refused(cycles):
    with pytest.raises(ValueError, match=f"{cycles} cycles: ckin takes 1"):
        Szcart01(cycles=cycles)


@pytest.mark.parametrize(
    ("gap_d", "depletion_before_d"), [(7.0, None), (10.0, 3.0), (3.0, 0.0)]
)
def test_cycles_that_overlap_are_refused(gap_d, depletion_before_d):
    with pytest.raises(ValueError, match="overlap"):
        Szcart01(cycle_gap_d=gap_d, lymphodepletion_before_d=depletion_before_d)


def test_one_cycle_overlaps_with_nothing():
    assert len(Szcart01(cycles=1, cycle_gap_d=1.0).protocol().doses) == 1


# NCT03984968


def given_in(protocol: Protocol, product: str, cycle: int) -> list[Dose]:
    return [d for d in protocol.doses if (d.product, d.cycle) == (product, cycle)]


@pytest.mark.parametrize("cycles", [1, 2, 3, 4])
@pytest.mark.parametrize("gap_d", [28.0, 56.0])
def test_every_cycle_has_cart_on_day_1_and_only_the_later_ones_have_ftc(cycles, gap_d):
    protocol = Szcart01(cycles=cycles, cycle_gap_d=gap_d).protocol()
    assert given_in(protocol, "FTC", 1) == []
    for cycle in range(1, cycles + 1):
        day1 = (cycle - 1) * gap_d
        assert [dose.time_d for dose in given_in(protocol, "CART", cycle)] == [day1]
        if cycle > 1:
            times = [dose.time_d for dose in given_in(protocol, "FTC", cycle)]
            # 2 h after the CAR-T, and day 8: seven days after day 1.
            assert times == pytest.approx([day1 + 2.0 / 24.0, day1 + 7.0], rel=1e-15)
    assert {dose.cycle for dose in protocol.doses} == set(range(1, cycles + 1))


@pytest.mark.parametrize(
    ("level", "cells_per_kg"), [("high", 5e6), ("medium", 3.25e6), ("low", 2e6)]
)
def test_ftc_come_at_the_three_levels_of_the_registry(level, cells_per_kg):
    assert FTC_LEVELS_CELLS_PER_KG[level] == cells_per_kg
    protocol = szcart01_arms()[f"szcart01-{level}"]
    ftc = [dose for dose in protocol.doses if dose.product == "FTC"]
    assert [dose.cells_per_kg for dose in ftc] == [cells_per_kg] * 6
    table = protocol.events(60.0, {})
    assert table.cells[:, FTC].sum() == pytest.approx(6 * 60.0 * cells_per_kg)


def test_arms_without_ftc_differ_from_the_others_in_nothing_else():
    arms = szcart01_arms()
    without, high = arms["szcart01-no-ftc"], arms["szcart01-high"]
    cart = tuple(dose for dose in high.doses if dose.product == "CART")
    assert without.doses == cart
    assert without.lymphodepletion_d == high.lymphodepletion_d
    assert [d.product for d in arms["szcart01-cart1"].doses] == ["CART"]


def test_lymphodepletion_comes_before_every_cycle_or_never():
    with_it = Szcart01(cycles=2, lymphodepletion_before_d=3.0).protocol()
    assert with_it.lymphodepletion_d == (-3.0, 53.0)
    without = Szcart01(cycles=2, lymphodepletion_before_d=None).protocol()
    assert without.lymphodepletion_d == ()
    assert without.doses == with_it.doses


def test_a_tki_that_is_not_held_acts_at_every_event():
    held = Szcart01().protocol().events(60.0, {"tki": 0.0})
    assert not held.level.any()
    taken = Szcart01(tki_held=False, tki_level=0.8).protocol()
    level = taken.events(60.0, {"tki": 0.0}).level[:, 0]
    # All but the moment at which it stops, after the horizon.
    assert level.tolist() == [0.8] * (level.size - 1) + [0.0]
    assert taken.events(60.0, {}).inputs == ()


def test_everything_the_registry_does_not_state_is_listed_as_assumed():
    changed = Szcart01(
        cart_cells_per_kg=1e6,
        cycle_gap_d=28.0,
        lymphodepletion_before_d=None,
        tki_held=False,
    )
    pairs = zip(Szcart01().assumptions(), changed.assumptions(), strict=True)
    assert all(usual != other for usual, other in pairs)
    assert changed.protocol().assumptions == changed.assumptions()


def test_protocols_and_doses_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Dose(0.0, "CART", cells=1e8).cells = 2e8  # pyright: ignore
