"""Laws of comparisons, on a model whose outcomes are known on paper."""

import dataclasses

import numpy as np
import pytest
from questions import (
    ARMS,
    FOLLOW_D,
    LIMIT,
    ONE,
    OUTCOMES,
    TWO,
    scenario,
)

from ckin.errors import InputError
from ckin.protocol import Protocol
from ckin.scenario import Arm, Endpoint, PeopleSpec, Result, Worth, compare


# RK4 at the usual steps errs by 1e-6 here; of a level that has fallen to 1e-8 of its
# peak, by that of its logarithm.
STEPS = 1e-4
CELLS_PER_KG = 5e6


def loss_and_scale(result: Result, arm: str) -> tuple[np.ndarray, np.ndarray]:
    """Loss of every person, and level per cell/kg, by the arm's own values."""
    people = result.outcomes.people
    values = result.outcomes.scenario.arm(arm).values
    phi = people.phi_with(values)
    loss = np.exp(phi[..., people.whole.estimate.index("loss")])
    return loss, np.full(loss.shape, values.get("scale", 1e-6)) * 60.0


def of(result: Result, arm: str, outcome: str) -> np.ndarray:
    return result.outcomes.of(arm, outcome)


def all_values(result: Result, arm: str) -> np.ndarray:
    return np.stack([of(result, arm, outcome.name) for outcome in OUTCOMES])


def test_one_infusion_is_the_closed_form(result):
    for arm, dose in (("one", 1.0), ("double", 2.0), ("slow", 1.0), ("bright", 1.0)):
        loss, scale = loss_and_scale(result, arm)
        start = scale * dose * CELLS_PER_KG
        at = lambda day, start=start, loss=loss: start * np.exp(-loss * day)
        # Read from day 1 on, and nothing before the infusion.
        np.testing.assert_allclose(of(result, arm, "peak"), at(1.0), rtol=STEPS)
        np.testing.assert_array_equal(of(result, arm, "peak_d"), 1.0)
        np.testing.assert_allclose(of(result, arm, "later"), at(4.0), rtol=STEPS)
        np.testing.assert_allclose(of(result, arm, "end"), at(FOLLOW_D), rtol=STEPS)
        first = 0.5 * at(1.0)
        area = first + (at(1.0) - at(28.0)) / loss
        np.testing.assert_allclose(of(result, arm, "auc28"), area, rtol=STEPS)
        area = first + (at(1.0) - at(FOLLOW_D)) / loss
        np.testing.assert_allclose(of(result, arm, "auc"), area, rtol=STEPS)
        falls = np.log(start / LIMIT) / loss
        seen = at(1.0) > LIMIT
        assert seen.all()
        last = np.minimum(falls, FOLLOW_D)
        np.testing.assert_allclose(of(result, arm, "last"), last, rtol=STEPS)
        rises = LIMIT / at(1.0)
        np.testing.assert_allclose(of(result, arm, "above"), last - rises, rtol=STEPS)
        np.testing.assert_array_equal(of(result, arm, "at_end"), falls >= FOLLOW_D)


def test_two_infusions_add_up(result):
    loss, scale = loss_and_scale(result, "two")
    each = scale * CELLS_PER_KG
    kept = 0.1**0  # the toy's cells are not touched by lymphodepletion
    levels = sum(kept * each * np.exp(-loss * (FOLLOW_D - day1)) for day1 in TWO.day1_d)
    np.testing.assert_allclose(of(result, "two", "end"), levels, rtol=STEPS)


def test_ftc_are_read_after_they_are_given(result):
    loss, scale = loss_and_scale(result, "two")
    each = scale * CELLS_PER_KG
    # Before the FTC of day 8, and 1 day after that: read at the steps in between.
    day_8 = each * (np.exp(-loss * (7.0 - 2.0 / 24.0)) + 1.0)
    found = of(result, "two", "ftc")
    assert np.all(found <= np.maximum(day_8, each) * (1 + 1e-4))
    assert np.all(found >= 0.95 * np.maximum(day_8, each * np.exp(-loss)))


def test_above_and_below_are_all_there_is(result):
    for arm in ARMS:
        above, below = (of(result, arm.name, name) for name in ("above", "below"))
        np.testing.assert_allclose(above + below, FOLLOW_D, rtol=1e-12)
        at_end, gone = (of(result, arm.name, name) for name in ("at_end", "gone"))
        np.testing.assert_array_equal(at_end + gone, 1.0)


def test_twice_the_dose_is_twice_the_level(result):
    # Exact but for the rounding of sums.
    for name in ("peak", "auc28", "auc", "end"):
        one, double = (of(result, arm, name) for arm in ("one", "double"))
        np.testing.assert_allclose(double, 2.0 * one, rtol=1e-12)


def test_the_same_seed_gives_the_same_numbers(result):
    again = compare(scenario())
    for arm in ARMS:
        np.testing.assert_array_equal(
            all_values(again, arm.name), all_values(result, arm.name)
        )


def test_another_seed_gives_others(result):
    other = compare(scenario(ARMS[:1], seed=4))
    assert not np.any(all_values(other, "one")[0] == all_values(result, "one")[0])


def test_another_arm_changes_no_number_of_the_others(result):
    # Bit for bit: the same lanes, and padding that adds nothing. `two` has more steps
    # and `bright` sets a parameter, and neither is here.
    for arms in (ARMS[:2], ARMS[:4]):
        fewer = compare(scenario(arms))
        for arm in arms:
            np.testing.assert_array_equal(
                all_values(fewer, arm.name), all_values(result, arm.name)
            )


def test_the_order_of_arms_changes_nothing(result):
    turned = compare(scenario(ARMS[::-1], reference="one"))
    for arm in ARMS:
        np.testing.assert_array_equal(
            all_values(turned, arm.name), all_values(result, arm.name)
        )


def test_more_patients_and_draws_leave_the_first_as_they_were(result):
    people = PeopleSpec(source="prior", draws=9, patients=8)
    more = compare(scenario(ARMS[:1], people=people))
    # Other lanes: XLA may round the last digit otherwise.
    np.testing.assert_allclose(
        all_values(more, "one")[:, :6, :5], all_values(result, "one"), rtol=1e-12
    )


def rows(result: Result, arm: str, against: str) -> dict:
    pair = dataclasses.replace(result.outcomes.scenario, comparisons=((arm, against),))
    other = Result(dataclasses.replace(result.outcomes, scenario=pair))
    return {row["endpoint"]: row for row in other.comparison_rows}


def test_an_arm_against_itself_is_a_tie(result):
    for row in rows(result, "same", "one").values():
        if row["endpoint"] == "ftc":  # neither arm has any: there is no ratio
            assert row["n"] == 0
            assert np.isnan(row["value"])
            continue
        if row["measure"] == "geometric mean ratio":
            assert row["value"] == row["low"] == row["high"] == 1.0
            assert row["patient_low"] == row["patient_high"] == 1.0
        else:
            assert row["value"] == row["low"] == row["high"] == 0.0
        assert row["better_patients"] == row["better_draws"] == 0.5


def test_one_against_the_other_is_the_reciprocal(result):
    there, back = rows(result, "slow", "two"), rows(result, "two", "slow")
    for name, row in there.items():
        other = back[name]
        if name == "ftc":
            continue
        # Quantiles between draws are weighed from either end.
        near = lambda value: pytest.approx(value, rel=1e-12, abs=1e-12)
        if row["measure"] == "geometric mean ratio":
            assert row["value"] == near(1.0 / other["value"])
            assert row["low"] == near(1.0 / other["high"])
            assert row["patient_high"] == near(1.0 / other["patient_low"])
        else:
            assert row["value"] == near(-other["value"])
            assert row["low"] == near(-other["high"])
        for chance in ("better_patients", "better_draws"):
            assert row[chance] == near(1.0 - other[chance])


def test_the_ratio_of_double_to_one_is_two(result):
    row = rows(result, "double", "one")["auc28"]
    assert (row["value"], row["low"], row["high"]) == pytest.approx((2.0, 2.0, 2.0))
    assert row["better_patients"] == row["better_draws"] == 1.0


def test_chances_of_being_best_share_ties_and_add_up(result):
    by_endpoint: dict[str, list] = {}
    for row in result.best_rows:
        by_endpoint.setdefault(row["endpoint"], []).append(row)
    for each in by_endpoint.values():
        for chance in ("best_patients", "best_draws"):
            assert sum(row[chance] for row in each) == pytest.approx(1.0)
            same = {row["arm"]: row[chance] for row in each}
            assert same["one"] == same["same"]


def test_doses_per_kg_go_by_the_weight_of_each():
    # The toy reads cells per kg: in a patient of any weight the same.
    people = PeopleSpec(source="typical", patients=4)
    light = dataclasses.replace(people, weight_kg=30.0)
    fixed = ONE.with_dose("CART", cells=60 * CELLS_PER_KG)
    arms = (Arm("per_kg", ONE), Arm("cells", fixed))
    one, other = (compare(scenario(arms, people=p)) for p in (people, light))
    np.testing.assert_allclose(
        of(one, "per_kg", "peak"), of(other, "per_kg", "peak"), rtol=1e-12
    )
    weight = one.outcomes.people.weight_kg
    np.testing.assert_allclose(
        of(one, "cells", "peak") * weight / 60.0, of(one, "per_kg", "peak"), rtol=1e-10
    )
    np.testing.assert_allclose(
        of(other, "cells", "peak"), 2.0 * of(other, "per_kg", "peak"), rtol=1e-12
    )


def test_without_variation_everyone_is_typical():
    alone = compare(scenario(ARMS[:1], people=PeopleSpec(), uncertainty=("residual",)))
    assert alone.outcomes.people.shape == (1, 1)
    assert np.isnan(alone.arm_rows[0]["low"])
    assert any("one set of parameters" in note for note in alone.outcomes.notes)


def test_readings_have_the_same_error_under_every_arm():
    read = compare(
        scenario(
            ARMS[:3],
            people=PeopleSpec(source="typical", patients=400),
            uncertainty=("between-patient", "residual"),
        )
    )
    one, double = (of(read, arm, "end") for arm in ("one", "double"))
    np.testing.assert_allclose(double, 2.0 * one, rtol=1e-12)
    loss, scale = loss_and_scale(read, "one")
    exact = scale * CELLS_PER_KG * np.exp(-loss * FOLLOW_D)
    error = np.log(one / exact)
    # 400 draws of a normal error with SD 0.5: four standard errors.
    assert abs(error.mean()) < 4 * 0.5 / 20
    assert error.std() == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(800))
    assert "residual" in read.outcomes.people.uncertainty


def test_endpoints_and_utility_are_what_they_say(result):
    asked = dataclasses.replace(
        result.outcomes.scenario,
        endpoints=(
            Endpoint("half", "auc28", "median"),
            Endpoint("many", "auc28", "share", at_least=3000.0),
            Endpoint("few", "auc28", "share", at_most=3000.0),
        ),
        worths=(
            Worth("above", 2.0, per=10.0),
            Worth("peak", -1.0, "above", level=250.0),
            Worth("auc", 1.0, "log2"),
        ),
    )
    other = Result(dataclasses.replace(result.outcomes, scenario=asked))
    for arm in ARMS:
        values = of(result, arm.name, "auc28")
        told = {r["endpoint"]: r for r in other.arm_rows if r["arm"] == arm.name}
        median = np.median(np.median(values, axis=1))
        assert told["half"]["value"] == pytest.approx(median)
        share = np.median(np.mean(values >= 3000.0, axis=1))
        assert told["many"]["value"] == pytest.approx(share)
        assert told["few"]["value"] == pytest.approx(1.0 - share)
    worth = (
        0.2 * np.stack([of(result, arm.name, "above") for arm in ARMS])
        - np.stack([of(result, arm.name, "peak") >= 250.0 for arm in ARMS])
        + np.log2(np.stack([of(result, arm.name, "auc") for arm in ARMS]))
    )
    np.testing.assert_allclose(other.utility, worth, rtol=1e-12)
    best = {r["arm"]: r for r in other.best_rows if r["endpoint"] == "utility"}
    expected = worth.mean(axis=(1, 2))
    assert [best[arm.name]["expected"] for arm in ARMS] == pytest.approx(expected)


def test_infusions_over_hours_give_the_same_cells():
    doses = [dataclasses.replace(d, duration_d=0.5) for d in ONE.doses]
    slow = dataclasses.replace(ONE, doses=tuple(doses))
    ran = compare(scenario((Arm("one", ONE), Arm("over_12_h", slow))))
    loss, _ = loss_and_scale(ran, "one")
    # A rate over T days, read later: (exp(kT) - 1) / kT of the bolus.
    more = np.expm1(0.5 * loss) / (0.5 * loss)
    np.testing.assert_allclose(
        of(ran, "over_12_h", "end"), more * of(ran, "one", "end"), rtol=STEPS
    )


def test_who_is_too_fast_for_the_usual_steps_takes_more():
    # RK4 blows up at 8 a day in steps of half a day, and not in an eighth.
    arms = (Arm("one", ONE), Arm("fast", ONE, values={"loss": 8.0}))
    people = PeopleSpec(source="typical", patients=3)
    found_there = compare(scenario(arms, people=people))
    assert found_there.outcomes.quick == 0
    found_before = compare(scenario(arms, people=people, reference="fast"))
    assert found_before.outcomes.quick == 3
    loss, scale = loss_and_scale(found_there, "fast")
    exact = scale * CELLS_PER_KG * np.exp(-loss)
    for found in (found_there, found_before):
        assert found.outcomes.failed == {"one": 0, "fast": 0}
        # 20 steps of z = 0.4 to 0.6 err by z^5/120 each.
        np.testing.assert_allclose(of(found, "fast", "peak"), exact, rtol=2e-2)
        np.testing.assert_allclose(of(found, "fast", "end"), 0.0, atol=1e-50)


def test_a_person_who_cannot_be_solved_is_left_out_and_counted():
    # A loss of 2e4 a day is too fast for any grid of this size.
    with np.errstate(all="ignore"):
        lost = compare(
            scenario(
                (Arm("one", ONE), Arm("fast", ONE, values={"loss": 2e4})),
                people=PeopleSpec(source="typical", patients=3),
            )
        )
    assert lost.outcomes.failed == {"one": 0, "fast": 3}
    assert np.isnan(of(lost, "fast", "auc")).all()
    by_endpoint = {r["endpoint"]: r for r in lost.comparison_rows}
    assert by_endpoint["auc"]["n"] == 0
    assert np.isnan(by_endpoint["auc"]["value"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model": "phases_stein2019"}, "answers to no dose"),
        ({"follow_d": 0.0}, "gives its last cells then"),
        ({"outcomes": (dataclasses.replace(OUTCOMES[0], cycle=2),)}, "has no more"),
        ({"outcomes": (dataclasses.replace(OUTCOMES[0], of="il6"),)}, "found 'il6'"),
        ({"follow_d": 20.0, "outcomes": (OUTCOMES[3],)}, "28 days to follow"),
        ({"uncertainty": ("parameters",), "people": PeopleSpec()}, "one set"),
        ({"people": PeopleSpec(source="fit")}, "--fit FOLDER"),
        ({"people": PeopleSpec(source="prior", draw=("lss",))}, "did you mean loss"),
    ],
)
def test_what_cannot_be_answered_is_refused(changes, words):
    with pytest.raises(InputError, match=words):
        compare(scenario(ARMS[:2], **changes))


def test_arms_that_are_not_there_are_refused():
    for changes in ({"reference": "thre"}, {"comparisons": (("one", "thre"),)}):
        with pytest.raises(InputError, match="no arm 'thre'"):
            scenario(**changes)
    with pytest.raises(InputError, match="two of arm one"):
        scenario((ARMS[0], ARMS[0]))
    assert isinstance(ONE, Protocol)
