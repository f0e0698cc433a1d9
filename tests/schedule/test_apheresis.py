"""One apheresis for a course: laws of demand, chance and cost."""

import dataclasses
import functools
import math

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from ckin.errors import InputError
from ckin.library import load_protocol
from ckin.schedule import (
    Apheresis,
    Making,
    Spread,
    affordable,
    cells_per_gained_day,
    coverage,
    demand,
    draw_yields,
    feasible_sets,
    starting_cells,
    typical_yields,
)


HIGH = load_protocol("szcart01-high")
DRAWS = 2000
# A product of two numbers, taken in another order.
ROUNDING = 1e-12

positive = st.floats(1e5, 1e8)
weights = st.floats(5.0, 150.0)


@pytest.fixture(scope="module")
def yields():
    return draw_yields(jax.random.key(3), Apheresis(), DRAWS)


@functools.cache
def some_yields():
    return draw_yields(jax.random.key(1), Apheresis(), 400)


def with_median(name: str, median: float) -> Apheresis:
    """A median that a user may not give: nothing, or no end."""
    known = Apheresis()
    if name == "collected":
        sure = dataclasses.replace(known.collected, median=median)
        return dataclasses.replace(known, collected=sure)
    making = {
        product: dataclasses.replace(
            own, fold=dataclasses.replace(own.fold, median=median)
        )
        for product, own in known.making.items()
    }
    return dataclasses.replace(known, making=making)


def test_the_registry_arms_take_the_cells_worked_out_by_hand():
    # 60 kg, three cycles with FTC: 2 × 3 × 60 × 5e6; CAR-T 4 × 60 × 5e6.
    assert demand(HIGH, 60.0) == pytest.approx({"CART": 1.2e9, "FTC": 1.8e9})
    low = demand(load_protocol("szcart01-low"), 60.0)
    assert low == pytest.approx({"CART": 1.2e9, "FTC": 7.2e8})


@given(positive, st.floats(0.1, 10.0), weights)
def test_demand_is_linear_in_dose_and_weight(dose, factor, weight_kg):
    once = demand(HIGH.with_dose("FTC", dose), weight_kg)["FTC"]
    dearer = demand(HIGH.with_dose("FTC", factor * dose), weight_kg)["FTC"]
    heavier = demand(HIGH.with_dose("FTC", dose), factor * weight_kg)["FTC"]
    assert dearer == pytest.approx(factor * once, rel=ROUNDING)
    assert heavier == pytest.approx(factor * once, rel=ROUNDING)


@given(st.integers(2, 6))
def test_demand_is_additive_over_cycles(cycles):
    whole = demand(HIGH.repeated(cycles), 60.0)
    first, second = (demand(HIGH.repeated(n), 60.0) for n in (1, 2))
    for product, cells in whole.items():
        one = second[product] - first.get(product, 0.0)
        by_cycle = first.get(product, 0.0) + (cycles - 1) * one
        assert cells == pytest.approx(by_cycle, rel=ROUNDING)


def test_a_dose_in_cells_does_not_ask_for_the_weight():
    plan = HIGH.with_dose("FTC", cells=1e8).with_dose("CART", cells=2e8)
    assert demand(plan, math.nan) == demand(plan, 60.0)


def test_starting_cells_add_up_over_products(yields):
    both = starting_cells({"CART": 1e9, "FTC": 2e9}, yields)
    each = starting_cells({"CART": 1e9}, yields) + starting_cells({"FTC": 2e9}, yields)
    np.testing.assert_allclose(both, each, rtol=ROUNDING)


@pytest.mark.parametrize("name", ["collected", "fold"])
def test_with_endless_yield_everyone_is_covered_and_with_none_nobody(name):
    cells = demand(HIGH, 60.0)
    for median, chance in ((math.inf, 1.0), (0.0, 0.0)):
        drawn = draw_yields(jax.random.key(0), with_median(name, median), 50)
        assert coverage(cells, drawn).chance == chance
    nothing = draw_yields(jax.random.key(0), with_median(name, 0.0), 50)
    assert coverage({"FTC": 0.0}, nothing).chance == 1.0


@given(st.lists(positive, min_size=2, max_size=6))
def test_the_chance_never_rises_with_the_dose(doses):
    drawn = some_yields()
    chances = [
        coverage(demand(HIGH.with_dose("FTC", dose), 60.0), drawn).chance
        for dose in sorted(doses)
    ]
    assert chances == sorted(chances, reverse=True)


def test_the_chance_of_one_product_is_that_of_a_log_normal():
    """All log-normal: log(collected × per cell) is normal, with variances added."""
    sure = Spread(1.0, 0.0, True, "test", "I")
    fold = Spread(20.0, 0.6, False, "test", "I")
    collected = Spread(1e9, 0.9, False, "test", "I")
    making = Making(Spread(0.2, 0.0, True, "test", "I"), fold, sure, sure)
    n = 20_000
    drawn = draw_yields(
        jax.random.key(5), Apheresis(collected, {"FTC": making}, 0.0), n
    )
    for cells in (1e9, 4e9, 2e10):
        exact = norm.cdf(math.log(1e9 * 0.2 * 20.0 / cells) / math.hypot(0.6, 0.9))
        # Four Monte Carlo SDs.
        found = coverage({"FTC": cells}, drawn).chance
        assert found == pytest.approx(exact, abs=4 * math.sqrt(0.25 / n))


def test_defaults_have_the_quartiles_of_the_source():
    defaults = Apheresis()
    for spread, low, high in (
        (defaults.collected, 1.2e9, 4.1e9),
        (defaults.making["CART"].transduction, 0.12, 0.231),
    ):
        below, above = spread.at(jax.numpy.array([-0.6745, 0.6745])).tolist()
        if spread.fraction:
            below, above = (v / (1 - v) for v in (below, above))
            low, high = (v / (1 - v) for v in (low, high))
        # The width is the source's; its quartiles are not even about its median.
        assert above / below == pytest.approx(high / low, rel=1e-3)


def test_what_is_assumed_says_so():
    tags = {name: spread.checked for name, spread in Apheresis().parts.items()}
    assert tags["collected"] == tags["CART.transduction"] == "C"
    assumed = {name for name, tag in tags.items() if tag in "IU"}
    assert assumed == set(tags) - {"collected", "CART.transduction"}


def test_patients_stay_the_same_when_a_median_moves():
    key = jax.random.key(2)
    before = draw_yields(key, Apheresis(), 100)
    after = draw_yields(key, Apheresis().with_medians({"CART.fold": 60.0}), 100)
    np.testing.assert_array_equal(before.collected, after.collected)
    np.testing.assert_array_equal(before.per_cell["FTC"], after.per_cell["FTC"])
    np.testing.assert_allclose(
        2.0 * before.per_cell["CART"], after.per_cell["CART"], rtol=1e-9
    )


def test_folds_of_one_patient_go_together():
    drawn = draw_yields(
        jax.random.key(8), dataclasses.replace(Apheresis(), fold_correlation=1.0), 5000
    )
    apart = draw_yields(
        jax.random.key(8), dataclasses.replace(Apheresis(), fold_correlation=0.0), 5000
    )
    together = [
        np.corrcoef(np.log(y.per_cell["CART"]), np.log(y.per_cell["FTC"]))[0, 1]
        for y in (drawn, apart)
    ]
    # Transduction, recovery and release are independent, so less than 1.
    assert together[0] > 0.4
    assert abs(together[1]) < 4 / math.sqrt(5000)


@given(st.floats(0.05, 0.95), st.floats(0.0, 3e9))
def test_what_is_affordable_is_covered_and_more_is_not(chance, cart):
    drawn = some_yields()
    most = affordable({"CART": cart}, "FTC", drawn, chance)
    # Within a rounding error of the patient who decides.
    assert coverage({"CART": cart, "FTC": 0.999999 * most}, drawn).chance >= (
        chance - 1e-9 if most > 0 else 0.0
    )
    if most > 0:
        assert (
            coverage({"CART": cart, "FTC": 1.01 * most}, drawn).chance < chance + 0.01
        )


def test_feasible_sets_shrink_with_cycles_and_dose(yields):
    found = feasible_sets(
        HIGH,
        yields,
        weight_kg=60.0,
        levels=(0.0, 2e6, 5e6),
        cycles=(2, 3, 4),
        chance=0.8,
    )
    chance = np.array([row.coverage.chance for row in found]).reshape(3, 3)
    assert np.all(np.diff(chance, axis=0) <= 0)
    assert np.all(np.diff(chance, axis=1) <= 0)
    assert [row.feasible for row in found] == (chance.ravel() >= 0.8).tolist()


def test_cost_per_gained_day_is_a_ratio_of_means():
    one = typical_yields(Apheresis())
    cells, less = demand(HIGH, 60.0), demand(HIGH.without("FTC"), 60.0)
    further = float((starting_cells(cells, one) - starting_cells(less, one))[0])
    assert cells_per_gained_day(cells, less, one, 20.0) == pytest.approx(further / 20)
    assert cells_per_gained_day(cells, less, one, 0.0) == math.inf
    assert cells_per_gained_day(less, cells, one, 20.0) < 0


WRONG = {
    "unknown": ({"CART.flod": 3.0}, "did you mean CART.fold"),
    "nothing": ({"collected": 0.0}, "expected a number above 0"),
    "no fraction": ({"FTC.recovery": 1.5}, "above 0 to 1"),
    "no number": ({"collected": "many"}, "expected a number"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_median_that_cannot_be_is_refused(case):
    medians, words = WRONG[case]
    with pytest.raises(InputError, match=words):
        Apheresis().with_medians(medians)


def test_a_product_that_nobody_makes_is_refused(yields):
    drawn = type(yields)(yields.collected, {"CART": yields.per_cell["CART"]})
    with pytest.raises(InputError, match="how FTC is made is not said"):
        starting_cells({"FTC": 1e8}, drawn)
