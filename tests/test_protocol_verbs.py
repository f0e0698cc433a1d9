"""Verbs of a protocol: laws that hold whatever the protocol, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckin.errors import InputError
from ckin.library import load_protocol
from ckin.protocol import PRODUCTS, Dose, Hold, Protocol, Tki, cells_text, runs
from ckin.protocol.days import day_of_time, hours_of_time, time_of_day


HIGH = load_protocol("szcart01-high")
BOOSTS = load_protocol("plat03-t-apc")
PLANS = [HIGH, BOOSTS, load_protocol("szcart01-tki-held")]

plans = st.sampled_from(PLANS)
amounts = st.floats(0.0, 1e8)
# Quarters of a day add up exactly; none moves a dose into another cycle.
moves = st.integers(-12, 60).map(lambda n: n / 4)


def course(protocol: Protocol):
    """All that a solver is told."""
    return protocol.doses, protocol.lymphodepletion_d, protocol.windows


def of(protocol: Protocol, product: str):
    return [dose for dose in protocol.doses if dose.product == product]


# Days


@given(st.integers(-400, 400).filter(bool), st.floats(0.0, 23.9))
def test_a_day_and_an_hour_are_found_again_from_their_time(day, hours):
    time_d = time_of_day(day) + hours / 24
    assert day_of_time(time_d) == day
    assert hours_of_time(time_d) == pytest.approx(hours, abs=1e-3)


def test_day_1_is_time_0_and_the_day_before_it_is_day_minus_1():
    assert [time_of_day(day) for day in (-3, -1, 1, 8)] == [-3.0, -1.0, 0.0, 7.0]
    with pytest.raises(ValueError, match="no day 0"):
        time_of_day(0)


def test_numbers_are_told_as_a_person_writes_them():
    assert runs([4, 2, 3, 7]) == "2-4, 7"
    assert runs([1, 2]) == "1, 2"
    assert runs([-5, -4, -3]) == "-5 to -3"
    told = [cells_text(cells) for cells in (3.25e6, 410e6, 5e5, 0.0)]
    assert told == ["3.25e6", "410e6", "0.5e6", "0"]


# Laws


@given(plans, amounts, amounts)
def test_of_two_doses_the_last_holds(plan, first, last):
    twice = plan.with_dose("FTC", first).with_dose("FTC", last)
    assert course(twice) == course(plan.with_dose("FTC", last))
    assert {dose.cells_per_kg for dose in of(twice, "FTC")} == {last}


@given(plans, st.sampled_from(["CART", "FTC"]))
def test_a_delay_by_nothing_is_no_change(plan, product):
    assert plan.delayed(product, by_days=0.0) is plan


def test_moved_to_a_day_is_later_by_the_days_between():
    moved = HIGH.moved("FTC", day=8, to_day=14)
    assert course(moved) == course(HIGH.delayed("FTC", day=8, by_days=6.0))
    with pytest.raises(InputError, match="no day 0"):
        HIGH.moved("FTC", day=8, to_day=0)


@given(st.lists(st.integers(2, 20), min_size=1, max_size=4, unique=True))
def test_a_split_dose_is_the_whole_dose(days):
    parts = HIGH.split("FTC", day=8, on_days=days)
    for cycle in (2, 3, 4):
        whole, split = (
            [d for d in of(p, "FTC") if d.cycle == cycle] for p in (HIGH, parts)
        )
        total = [sum(d.cells_per_kg or 0.0 for d in each) for each in (whole, split)]
        assert total[1] == pytest.approx(total[0], rel=1e-12)
        assert sorted({parts.day_of(d) for d in split}) == sorted({1, *days})


def test_split_on_its_own_day_is_no_split():
    assert course(HIGH.split("FTC", day=8, on_days=[8])) == course(HIGH)
    with pytest.raises(InputError, match=r"such as \[8, 11\]"):
        HIGH.split("FTC", day=8, on_days=[])


def test_a_cycle_can_go_without_lymphodepletion():
    less = HIGH.without_lymphodepletion([2, 4])
    assert [less.depletion_of(t) for t in less.lymphodepletion_d] == [1, 3]
    assert less.doses == HIGH.doses
    assert less.without_lymphodepletion([2]) is less
    with pytest.raises(InputError, match="has no cycle 5"):
        HIGH.without_lymphodepletion([5])


def test_one_day_can_be_left_out():
    once = HIGH.without("FTC", day=8)
    assert {once.day_of(dose) for dose in of(once, "FTC")} == {1}
    assert course(once.without("FTC", day=1)) == course(HIGH.without("FTC"))
    with pytest.raises(InputError, match="no FTC on day 9; it does on day 1, 8"):
        HIGH.without("FTC", day=9)


@given(plans, moves)
def test_there_and_back_is_where_it_was(plan, move):
    back = plan.delayed("FTC", by_days=move).delayed("FTC", by_days=-move)
    assert [d.time_d for d in back.doses] == pytest.approx(
        [d.time_d for d in plan.doses], abs=1e-9
    )
    assert [d.product for d in back.doses] == [d.product for d in plan.doses]


@given(plans, moves)
def test_a_delay_loses_no_cell(plan, move):
    moved = plan.delayed("FTC", by_days=move)
    for product in PRODUCTS:
        given_then, given_now = of(plan, product), of(moved, product)
        assert sum(d.total(60.0) for d in given_now) == pytest.approx(
            sum(d.total(60.0) for d in given_then)
        )


@given(plans, st.sampled_from(["CART", "FTC"]))
def test_without_twice_is_without_once(plan, product):
    once = plan.without(product)
    assert once.without(product) is once
    assert not of(once, product)


@given(plans, amounts, moves)
def test_a_verb_leaves_other_products_alone(plan, amount, move):
    for changed in (
        plan.with_dose("FTC", amount),
        plan.delayed("FTC", by_days=move),
        plan.without("FTC"),
    ):
        assert of(changed, "CART") == of(plan, "CART")
        assert changed.lymphodepletion_d == plan.lymphodepletion_d
        assert changed.windows == plan.windows


@given(plans, st.integers(1, 8), st.floats(40.0, 120.0), st.integers(1, 8))
def test_cycles_repeated_are_cut_again(plan, many, every_d, few):
    if plan is BOOSTS:
        every_d += 200.0
    course_d = plan.repeated(many, every_d)
    assert course_d.cycles == many
    fewer = course_d.repeated(min(many, few))
    assert fewer.cycles == min(many, few)
    assert fewer.doses == tuple(d for d in course_d.doses if d.cycle <= few)
    last = of(plan, "CART")[-1]
    assert course_d.doses[0].time_d == plan.doses[0].time_d
    assert len(of(course_d, "CART")) == many
    assert of(course_d, "CART")[-1].cells_per_kg == last.cells_per_kg


def test_as_many_cycles_as_before_change_nothing():
    for plan in PLANS:
        assert course(plan.repeated(plan.cycles)) == course(plan)


def test_the_last_cycle_is_the_one_repeated():
    longer = HIGH.repeated(6)
    assert longer.day1_d == (0.0, 56.0, 112.0, 168.0, 224.0, 280.0)
    assert [d.cycle for d in of(longer, "FTC")] == [2, 2, 3, 3, 4, 4, 5, 5, 6, 6]
    assert longer.lymphodepletion_d == tuple(day - 3.0 for day in longer.day1_d)


def test_holds_move_with_the_cycles():
    held = load_protocol("szcart01-tki-held").repeated(2, every_d=100.0)
    assert [(w.start_d, w.stop_d) for w in held.windows] == [
        (-30.0, -5.0),
        (28.0, 95.0),
        (128.0, 365.0),
    ]


@given(st.integers(-30, -1), st.integers(1, 50))
def test_a_tki_is_taken_or_held_and_never_both(stop_day, resume_day):
    tki = Tki("dasatinib", -60, 400, held=Hold(stop_day, resume_day))
    windows = [(w.start_d, w.stop_d) for w in tki.windows(HIGH.day1_d)]
    holds = tki.holds_d(HIGH.day1_d)
    taken = sum(stop - start for start, stop in windows)
    days = [(-60 + n / 2 + 0.25) for n in range(2 * 459)]
    held = sum(any(a <= day < b for a, b in holds) for day in days) / 2
    assert taken + held == pytest.approx(time_of_day(400) + 60)
    assert not any(a < d < b for a, b in windows for h in holds for d in h)


def test_what_verbs_changed_is_told():
    changed = (
        HIGH.repeated(3, every_d=42.0)
        .without("FTC", cycles=[2])
        .delayed("FTC", day=8, by_days=6.0)
        .with_dose("FTC", 2e6, day=14)
        .with_tki(Tki("dasatinib", -30, 366))
        .with_tki_held(-5, 29)
    )
    assert changed.changes[:4] == (
        "3 cycles, 42 d apart",
        "no FTC in cycle 2",
        "FTC on day 8 6 d later",
        "FTC 2e6 cells/kg on day 14",
    )
    assert "held from day -5 until day 29 of every cycle" in changed.changes[-1]
    late = [d for d in of(changed, "FTC") if changed.day_of(d) == 14]
    assert {d.cells_per_kg for d in late} == {2e6}
    assert changed.with_tki(None).windows == ()


def test_a_day_is_counted_from_day_1_even_when_nothing_is_given_on_it():
    alone = HIGH.without("CART")
    assert {alone.day_of(dose) for dose in alone.doses} == {1, 8}
    assert alone.delayed("FTC", day=8, by_days=1.0).doses[1].time_d == 64.0


def test_a_condition_stays_as_long_as_what_it_is_about():
    assert BOOSTS.conditions
    later = BOOSTS.with_dose("FTC", 1e6).delayed("FTC", by_days=7.0)
    assert later.conditions == BOOSTS.conditions
    assert any("met by everyone" in assumption for assumption in later.assumptions)
    alone = BOOSTS.without("FTC")
    assert not alone.conditions
    assert not any("met by everyone" in assumption for assumption in alone.assumptions)


# What is refused


REFUSED = {
    "unknown product": (lambda: HIGH.without("FTCC"), "'FTCC'; did you mean FTC"),
    "product not given": (
        lambda: load_protocol("szcart01-cart1").with_dose("FTC", 1e6),
        "gives no FTC; it gives CART",
    ),
    "no such day": (
        lambda: HIGH.delayed("FTC", day=9, by_days=1.0),
        "no FTC on day 9; it does on day 1, 8",
    ),
    "no such cycle": (
        lambda: HIGH.without("FTC", cycles=[5]),
        "no cycle 5; it has 1-4",
    ),
    "not in that cycle": (
        lambda: HIGH.with_dose("FTC", 1e6, cycles=[1]),
        "no FTC in cycle 1; it does in cycle 2-4",
    ),
    "negative dose": (lambda: HIGH.with_dose("FTC", -1.0), "not a number of cells"),
    "no dose": (lambda: HIGH.with_dose("FTC"), "either cells_per_kg or cells"),
    "two doses": (
        lambda: HIGH.with_dose("FTC", 1e6, cells=1e8),
        "either cells_per_kg or cells",
    ),
    "no cycles": (lambda: HIGH.repeated(0), "0 cycles; the least is 1"),
    "no gap": (lambda: BOOSTS.repeated(2), "say how many days"),
    "cycles that overlap": (
        lambda: HIGH.repeated(4, every_d=12.0),
        "cycles overlap: the last dose of cycle 2 is on day 20 of the course, cycle 3 "
        "begins on day 20",
    ),
    "moved into the next cycle": (
        lambda: HIGH.delayed("FTC", day=8, by_days=49.0),
        "cycles overlap",
    ),
    "moved to nowhere": (
        lambda: HIGH.delayed("FTC", by_days=float("nan")),
        "not at any time",
    ),
    "no TKI to hold": (lambda: HIGH.with_tki_held(-5, 29), "has no TKI to hold"),
    "a hold that does not last": (lambda: Hold(8, 8), "resumed on day 8, not after"),
    "a TKI that does not last": (lambda: Tki("x", 8, 1), "stops on day 1, not after"),
    "a level above 1": (lambda: Tki("x", 1, 8, level=2.0), "expected 0 to 1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_said(case):
    act, words = REFUSED[case]
    with pytest.raises(InputError) as found:
        act()
    assert words in str(found.value)


def test_a_gap_that_just_fits_is_taken():
    # Day 8 is time 7, the first drug of lymphodepletion five days before day 1.
    assert HIGH.repeated(2, every_d=12.5).cycles == 2
    bare = Protocol("bare", (Dose(0.0, "CART", cells=1e8),))
    assert bare.repeated(2, every_d=0.5).day1_d == (0.0, 0.5)


@pytest.mark.parametrize(
    ("drug", "input_name"),
    [("dasatinib", "dasatinib"), ("Imatinib", "imatinib"), ("ponatinib", "tki")],
)
def test_a_tki_drives_its_own_input_and_replaces_any_other(drug, input_name):
    other = HIGH.with_tki(Tki("dasatinib", -30, 366))
    changed = other.with_tki(Tki(drug, -10, 100))
    assert [(w.name, w.start_d) for w in changed.windows] == [(input_name, -10.0)]
