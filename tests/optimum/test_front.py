"""Which arms no other beats, and spaces of other budgets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckin.errors import InputError
from ckin.library import load_protocol
from ckin.plot.optimum import front_of
from ckin.schedule import Infusions, Space, cells_budget, with_total


ARMS = st.lists(
    st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=12
)


@given(ARMS)
def test_an_arm_is_on_the_front_if_none_of_as_few_cells_gains_as_much(arms):
    cost, gain = (np.array(column, float) for column in zip(*arms, strict=True))
    front = front_of(cost, gain)
    assert np.all(np.diff(cost[front]) > 0)
    assert np.all(np.diff(gain[front]) > 0)
    for at in range(len(arms)):
        front_gain = -np.inf
        for other in front:
            if cost[other] <= cost[at]:
                front_gain = max(front_gain, gain[other])
        # What is affordable for as much is on the front, or beaten by what is.
        assert gain[at] <= front_gain


def test_arms_that_are_not_known_are_on_no_front():
    assert front_of(np.array([1.0, 2.0]), np.array([np.nan, 3.0])) == [1]
    assert front_of(np.array([1.0]), np.array([np.nan])) == []


def test_a_space_of_another_budget_is_the_same_but_for_it():
    plan = load_protocol("szcart01-medium").repeated(2)
    choices = (Infusions("FTC", 2, to_day=8, least=1e6, most=5e6),)
    space = Space(plan, choices, cells_budget("FTC", 60 * 5e6), 60.0)
    half = with_total(space, 0.5 * 60 * 5e6)
    assert half.choices == space.choices
    assert half.spare == pytest.approx(60 * 1.5e6)
    with pytest.raises(InputError, match="a budget of"):
        with_total(space, 60 * 0.5e6)
