"""What may be decided about a schedule: no coordinates lead out of it."""

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckin.errors import InputError
from ckin.library import load_protocol
from ckin.protocol import Dose
from ckin.schedule import (
    Apheresis,
    Budget,
    Infusions,
    Space,
    apheresis_budget,
    cells_budget,
    typical_yields,
)


TRIAL = load_protocol("szcart01-high").repeated(cycles=2)
FTC = Infusions("FTC", 2, n=2, from_day=1, to_day=28)
SPACE = Space(TRIAL, (FTC,), cells_budget("FTC", 60.0 * 6e6))
SHARED = Space(
    load_protocol("szcart01-high"),
    (
        Infusions("CART", 2, least=1e6, most=1e7),
        Infusions("FTC", 2, n=3, to_day=21, apart_d=3, least=2e5),
        Infusions("FTC", 4, n=2, from_day=4, to_day=12, apart_d=8, most=3.14e6),
    ),
    apheresis_budget(typical_yields(Apheresis().with_medians({"collected": 6e8}))),
)
SPACES = [SPACE, SHARED, replace(SPACE, budget=None, step=3.3e5)]

# Far beyond where sigmoid and softmax are 0 or 1 in floating point.
anything = st.floats(-1e4, 1e4) | st.sampled_from([-1e300, -60.0, 0.0, 60.0, 1e300])


# Plain numbers alone are drawn: type checks (beartype) use random numbers of their own,
# which hypothesis does not allow while it draws.
drawn = st.fixed_dictionaries(
    {
        "n": st.integers(1, 4),
        "apart": st.integers(1, 6),
        "first": st.integers(1, 9),
        "room": st.integers(0, 15),
        "least": st.sampled_from([0.0, 3e5]),
        "wide": st.floats(1e4, 1e7),
        "cart": st.booleans(),
        "share": st.floats(1e-3, 1.5),
        "price": st.floats(0.01, 3.0),
        "price_of_cart": st.floats(0.0, 3.0),
        "step": st.floats(1e4, 1e6),
    }
)


def space_of(n, apart, first, room, least, wide, cart, share, step, **prices) -> Space:
    """A space with a budget that is often too small for the most."""
    last = first + (n - 1) * apart + room
    choices = [Infusions("FTC", 2, n, first, last, apart, least, least + wide)]
    choices += [Infusions("CART", 2, least=5e5, most=8e6)] if cart else []
    price = {"FTC": prices["price"], "CART": prices["price_of_cart"]}
    space = Space(TRIAL, tuple(choices), None, 60.0, step)
    fixed = Budget(1.0, price).cost(space.base, 60.0)
    low, high = (
        fixed + 60.0 * sum(price[s.product] * getattr(s, end) for s in space.slots)
        for end in ("least", "most")
    )
    return replace(space, budget=Budget(low + share * (high - low) + 1.0, price))


@given(
    drawn | st.sampled_from(range(len(SPACES))),
    st.lists(anything, min_size=10, max_size=10),
)
def test_no_coordinates_lead_to_an_infeasible_schedule(which, point):
    space = SPACES[which] if isinstance(which, int) else space_of(**which)
    z = np.array(point)[: space.size]
    assert z.size == space.size
    days, cells = map(np.asarray, space.days_and_cells(jnp.asarray(z)))
    assert np.all(np.isfinite(days))
    assert np.all(np.isfinite(cells))
    whole, dosed = space.rounded(days, cells)
    plan = space.protocol(whole, dosed, "optimised")
    assert space.faults(plan) == ()
    assert np.all(whole == np.round(whole))
    # Before rounding the rules are kept as well.
    time_d, at = np.asarray(space.times(jnp.asarray(days))), 0
    for choice in space.choices:
        own, amount = time_d[at : at + choice.n], cells[at : at + choice.n]
        at += choice.n
        day1 = space.plan.day1_d[choice.cycle - 1]
        assert np.all(own >= day1 + choice.from_day - 1 - 1e-9)
        assert np.all(own <= day1 + choice.to_day - 1 + 2 / 24 + 1e-9)
        if choice.product == "FTC":
            assert np.all(own >= day1 + 2 / 24 - 1e-9)
        # On day 1 FTC come 2 h later, and the next are counted from day 1.
        assert np.all(np.diff(own) >= choice.apart_d - 2 / 24 - 1e-9)
        assert np.all(amount >= choice.least * (1 - 1e-12))
        assert np.all(amount <= choice.most * (1 + 1e-12))
    if space.budget is not None:
        cost = space.budget.cost(space.base, space.weight_kg) + sum(
            space.budget.price.get(slot.product, 0.0) * amount * space.weight_kg
            for slot, amount in zip(space.slots, cells.tolist(), strict=True)
        )
        assert cost <= space.budget.total * (1 + 1e-9)


def test_every_corner_can_be_reached():
    far = 40.0
    to_the_end = jnp.array([far, -far, -far, far, -far])
    days, cells = SPACE.days_and_cells(to_the_end)
    assert np.asarray(days) == pytest.approx([26.0, 27.0])
    assert np.asarray(cells) == pytest.approx([5e6, 0.0], abs=1.0)
    days, _ = SPACE.days_and_cells(jnp.array([-far, -far, far, 0.0, 0.0]))
    assert np.asarray(days) == pytest.approx([0.0, 1.0])
    time_d, _ = SPACE.schedule(jnp.array([-far, -far, far, 0.0, 0.0]))
    assert float(time_d[0]) == pytest.approx(56.0 + 2 / 24)


def test_where_the_most_is_too_dear_the_budget_is_spent():
    _, cells = SPACE.days_and_cells(jnp.array([0.0, 0.0, 0.0, 9.0, 9.0]))
    assert float(jnp.sum(cells)) == pytest.approx(6e6)
    assert float(jnp.sum(cells)) <= 6e6


def test_coordinates_have_finite_derivatives():
    for z in (np.zeros(5), np.array([60.0, -60.0, 0.0, 60.0, -60.0])):
        slopes = jax.jacfwd(SPACE.schedule)(jnp.asarray(z))
        assert all(bool(jnp.all(jnp.isfinite(slope))) for slope in slopes)


def test_the_schedule_of_the_trial_is_feasible_where_it_is_paid_for():
    rich = replace(SPACE, budget=cells_budget("FTC", 6.01e8))
    assert rich.faults(TRIAL) == ()
    assert "costs 6e+08, more than 3.6e+08" in SPACE.faults(TRIAL)


def test_a_protocol_is_what_was_decided():
    plan = SPACE.protocol(np.array([0.0, 13.0]), np.array([2e6, 4e6]), "mine")
    given_ftc = [d for d in plan.doses if d.product == "FTC"]
    assert [d.time_d for d in given_ftc] == pytest.approx([56.0 + 2 / 24, 69.0])
    assert [d.cells_per_kg for d in given_ftc] == [2e6, 4e6]
    assert plan.day1_d == TRIAL.day1_d
    one = SPACE.protocol(np.array([0.0, 13.0]), np.array([0.0, 4e6]), "mine")
    assert len([d for d in one.doses if d.product == "FTC"]) == 1


CART = TRIAL.doses[1]
BROKEN = {
    "too early": (
        [Dose(56.01, "FTC", cells_per_kg=1e6, cycle=2)],
        "0.24 h after CAR-T",
    ),
    "too late": ([Dose(90.0, "FTC", cells_per_kg=1e6, cycle=2)], "what is not open"),
    "too much": ([Dose(60.0, "FTC", cells_per_kg=5.1e6, cycle=2)], "5.1e+06 cells/kg"),
    "too dear": (
        [Dose(t, "FTC", cells_per_kg=4e6, cycle=2) for t in (60.0, 63.0)],
        "more than 3.6e",
    ),
    "too many": (
        [Dose(t, "FTC", cells_per_kg=1e6, cycle=2) for t in (60.0, 63.0, 66.0)],
        "3 infusions, more than 2",
    ),
    "too near": (
        [Dose(t, "FTC", cells_per_kg=1e6, cycle=2) for t in (60.2, 60.4)],
        "0 d apart",
    ),
    "not open": ([Dose(60.0, "CART", cells_per_kg=1e6, cycle=2)], "what is not open"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_rule_is_found(case):
    doses, words = BROKEN[case]
    doses = sorted((*SPACE.base.doses, *doses), key=lambda d: d.time_d)
    plan = replace(SPACE.base, doses=tuple(doses))
    assert any(words in fault for fault in SPACE.faults(plan)), SPACE.faults(plan)


WRONG = {
    "no fit": ([replace(FTC, n=9, apart_d=7)], "do not fit between day 1 and day 28"),
    "next cycle": ([replace(FTC, cycle=1, to_day=60)], "is not within the cycle"),
    "no cycle": ([replace(FTC, cycle=3)], "has 2 cycles"),
    "no range": ([replace(FTC, least=2e6, most=1e6)], "is no range"),
    "CAR-T day": ([Infusions("CART", 2, to_day=4)], "not its day"),
    "twice": ([FTC, FTC], "open twice"),
    "dear": ([replace(FTC, least=4e6)], "a budget of 3.6e"),
    "nothing": ([], "nothing is open"),
    "product": ([replace(FTC, product="NK")], "products are"),
    "before day 1": ([replace(FTC, from_day=-3)], "from 1"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_space_that_cannot_be_is_refused(case):
    choices, words = WRONG[case]
    with pytest.raises(InputError, match=words):
        Space(TRIAL, tuple(choices), cells_budget("FTC", 3.6e8))


def test_infusions_on_days_that_are_not_open_stay():
    later = Space(TRIAL, (replace(FTC, n=1, from_day=8, to_day=8),))
    kept = [d for d in later.base.doses if d.product == "FTC"]
    assert [later.plan.day_of(d) for d in kept] == [1]
    assert later.begins_d == 63.0
    assert later.faults(TRIAL) == ()


def test_ftc_wait_for_a_cart_that_comes_later():
    late = TRIAL.delayed("CART", by_days=2.0, cycles=[2])
    late = replace(late, day1_d=TRIAL.day1_d)
    with pytest.raises(InputError, match="CAR-T come 2.08 d later"):
        Space(late, (FTC,))
    assert math.isinf(Space(late, (replace(FTC, from_day=3),)).spare)
