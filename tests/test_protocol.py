import dataclasses
import math
import random

import equinox as eqx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckin.errors import InputError
from ckin.library import load_protocol, protocols
from ckin.protocol import (
    FTC_LEVELS_CELLS_PER_KG,
    PRODUCTS,
    Dose,
    InputWindow,
    Protocol,
    event_table,
    pad_events,
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


@pytest.mark.parametrize("weight_kg", [math.nan, 0.0, -60.0])
def test_a_dose_per_kg_needs_a_weight(weight_kg):
    protocol = load_protocol("szcart01-cart1")
    with pytest.raises(InputError, match=r"CART/kg at time 0 d.*give the weight"):
        protocol.events(weight_kg, {})
    # A dose in cells does not.
    in_cells = protocol.with_dose("CART", cells=3e8)
    assert in_cells.events(weight_kg, {}).cells.sum() == 3e8


def test_a_dose_belongs_to_a_cycle_that_there_is():
    with pytest.raises(ValueError, match="cycle 2, day1_d of 1"):
        Protocol("p", (Dose(56.0, "CART", cells=1e8, cycle=2),), day1_d=(0.0,))


# NCT03984968


TRIAL = {
    "high": 5e6,
    "phase2-high": 5e6,
    "medium": 3.25e6,
    "low": 2e6,
    "no-ftc": None,
    "cart1": None,
    "two-cycles": 5e6,
    "three-cycles": 5e6,
}
CYCLES = {"cart1": 1, "two-cycles": 2, "three-cycles": 3}


def trial(arm: str) -> list[tuple[float, str, float, int]]:
    """Doses of an arm, from the text of the registry and what ckin assumes of it."""
    doses = []
    for cycle in range(1, CYCLES.get(arm, 4) + 1):
        day1 = 56.0 * (cycle - 1)
        doses.append((day1, "CART", 5e6, cycle))
        if cycle > 1 and TRIAL[arm]:
            # 2 h after the CAR-T, and day 8: seven days after day 1.
            for time_d in (day1 + 2.0 / 24.0, day1 + 7.0):
                doses.append((time_d, "FTC", TRIAL[arm], cycle))
    return doses


@pytest.mark.parametrize("arm", TRIAL)
def test_the_arms_of_the_registry_give_these_doses_to_the_last_bit(arm):
    protocol = load_protocol(f"szcart01-{arm}")
    found = [(d.time_d, d.product, d.cells_per_kg, d.cycle) for d in protocol.doses]
    assert found == trial(arm)
    day1 = [56.0 * cycle for cycle in range(CYCLES.get(arm, 4))]
    assert protocol.lymphodepletion_d == tuple(day - 3.0 for day in day1)
    assert protocol.day1_d == tuple(day1)
    assert protocol.windows == ()
    table = protocol.events(61.3, {"tki": 0.0})
    expected = event_table(
        [Dose(t, p, cells_per_kg=c, cycle=n) for t, p, c, n in trial(arm)],
        weight_kg=61.3,
        lymphodepletion_d=[day - 3.0 for day in day1],
        inputs={"tki": 0.0},
    )
    assert eqx.tree_equal(table, expected)


def test_ftc_come_at_the_three_levels_of_the_registry():
    for level, cells_per_kg in FTC_LEVELS_CELLS_PER_KG.items():
        table = load_protocol(f"szcart01-{level}").events(60.0, {})
        assert table.cells[:, FTC].sum() == pytest.approx(6 * 60.0 * cells_per_kg)


def test_a_tki_that_is_held_acts_between_the_cycles_only():
    protocol = load_protocol("szcart01-tki-held")
    table = protocol.events(60.0, {"dasatinib": 0.0})
    level = dict(zip(table.time_d.tolist(), table.level[:, 0].tolist(), strict=True))
    assert level[-30.0] == level[28.0] == level[84.0] == 1.0
    given = table.cells.any(axis=1) | (table.lymphodepletion > 0)
    assert not table.level[given].any()
    assert level[365.0] == 0.0
    assert protocol.events(60.0, {}).inputs == ()


def test_every_shipped_protocol_says_where_it_is_from_and_what_it_assumes():
    for protocol in protocols().values():
        assert protocol.title
        assert protocol.source
        assert protocol.stated
        assert protocol.assumptions
        assert protocol.doses


def test_protocols_and_doses_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Dose(0.0, "CART", cells=1e8).cells = 2e8  # pyright: ignore
