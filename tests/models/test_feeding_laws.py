"""Open laws of feeding_szcart01: each form changes what it is about, and no more."""

import jax.numpy as jnp
import numpy as np
import pytest
from ckin.models.feeding_szcart01 import ratio  # pyright: ignore[reportMissingImports]
from transcribed import slopes_of

from ckin.library import load_model


MODEL = load_model("feeding_szcart01")
Y = MODEL.initial()._replace(
    **{
        name: jnp.asarray(size)
        for name, size in {
            "infused": 1e8,
            "engaged": 2e8,
            "dividing_1": 3e7,
            "dividing_8": 5e8,
            "effector": 4e9,
            "memory": 1e7,
            "feeder": 3e8,
        }.items()
    }
)
CART = ("infused", "engaged", *(f"dividing_{j}" for j in range(1, 9)), "effector")
CART = (*CART, "memory")


def changes(day: float = 10.0, **laws: str) -> dict[str, float]:
    """By how much the slope of each state differs from that of the defaults."""
    before, after = (
        slopes_of(MODEL, Y, day),
        slopes_of(MODEL.with_values(**laws), Y, day),
    )
    return {name: after[name] - before[name] for name in before}


def test_ftc_lost_at_one_rate_are_not_killed_and_nothing_else_changes():
    found = changes(feeder_fate="first_order")
    slope = slopes_of(MODEL.with_values(feeder_fate="first_order"), Y)["feeder"]
    assert slope == pytest.approx(-0.2 * 3e8)
    assert found.pop("feeder") > 0.0
    assert set(found.values()) == {0.0}


def test_exhaustion_takes_effectors_in_proportion_to_stimulation():
    found = changes(exhaustion="exhausting")
    s = float(ratio(MODEL, Y.leukaemia + Y.b_cells + Y.feeder, cart_of(Y)))
    assert found.pop("effector") == pytest.approx(-0.3 * s * 4e9, rel=1e-9)
    assert set(found.values()) == {0.0}


def cart_of(y):
    return sum(getattr(y, name) for name in CART if name != "infused")


@pytest.mark.parametrize(("day", "share"), [(20.0, 0.0), (42.0, 0.5), (70.0, 1.0)])
def test_rejection_takes_every_car_t_cell_at_one_rate_once_it_set_in(day, share):
    found = changes(day, rejection="rejected")
    for name in CART:
        lost = -0.3 * share * float(getattr(Y, name))
        # A sigmoid of two days: e^-11 is left at three weeks from its middle.
        assert found.pop(name) == pytest.approx(lost, rel=1e-4, abs=1e-4 * 4e9)
    np.testing.assert_array_equal(list(found.values()), 0.0)


def test_b_cells_that_return_are_antigen_like_any_other():
    more = Y._replace(b_cells=Y.b_cells + 5e8)
    fed = Y._replace(feeder=Y.feeder + 5e8)
    regenerated, given = slopes_of(MODEL, more), slopes_of(MODEL, fed)
    # One FTC is worth ω = 1 antigen cell.
    assert regenerated["dividing_1"] == pytest.approx(given["dividing_1"], rel=1e-12)
    assert regenerated["dividing_1"] > slopes_of(MODEL, Y)["dividing_1"]
