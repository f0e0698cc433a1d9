"""Laws of `ckin convert`: a ladder of units, steps made of stated assumptions."""

import dataclasses
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typed import typed

from ckin.conversion import LADDER, Assumptions, convert
from ckin.errors import InputError
from ckin.units import blood_volume_ul, copies_per_ug


ALL = Assumptions(vcn=1.5, wbc=2000.0, weight=70.0, blood_share=0.02)
# A product and a quotient of a few doubles.
SAME = 1e-12

units = st.sampled_from(LADDER)
stated = st.builds(
    Assumptions,
    vcn=st.floats(0.1, 5.0),
    wbc=st.floats(1.0, 1e5),
    weight=st.floats(2.0, 200.0),
    blood_share=st.floats(1e-3, 1.0),
)


def ceiling(unit: str, assumed: Assumptions) -> float:
    """What `unit` says when every nucleated cell is marked."""
    top = (assumed.vcn or 0.0) * (assumed.cells_per_ug or 0.0)
    return top if unit == LADDER[0] else convert(top, LADDER[0], unit, assumed)


@given(units, units, stated, st.floats(0.0, 0.999))
def test_there_and_back_is_the_same_number(source, target, assumed, share):
    value = share * ceiling(source, assumed)
    there = convert(value, source, target, assumed)
    assert convert(there, target, source, assumed) == pytest.approx(value, rel=SAME)


@given(units, units, units, stated, st.floats(0.001, 0.999))
def test_two_steps_are_one(first, second, third, assumed, share):
    value = share * ceiling(first, assumed)
    by_way = convert(convert(value, first, second, assumed), second, third, assumed)
    assert by_way == pytest.approx(convert(value, first, third, assumed), rel=SAME)


@given(units, units, stated, st.floats(0.001, 0.4))
def test_more_stays_more(source, target, assumed, share):
    value = share * ceiling(source, assumed)
    less, more = (convert(v, source, target, assumed) for v in (value, 2 * value))
    assert more > less


@given(stated, st.floats(0.001, 0.999))
def test_the_models_read_the_same(assumed, share):
    """`ckin.units.copies_per_ug`, which the models use, is the inverse."""
    assert assumed.wbc is not None
    marked = share * assumed.wbc
    read = copies_per_ug(marked, assumed.wbc - marked, assumed.vcn)
    # JAX and Python sum and divide in different orders.
    expected = pytest.approx(marked, rel=1e-9)
    assert convert(float(read), "copies/ug", "cells/uL", assumed) == expected


def test_by_hand():
    # 1000 of 1.5 × 151,500 copies, of 2000 cells/µL.
    per_ul = 1000 / (1.5 * 151_500) * 2000
    assert convert(1000.0, "copies/µg gDNA", "cells/µL", ALL) == pytest.approx(per_ul)
    blood = per_ul * float(blood_volume_ul(70.0))
    assert convert(1000.0, "copies/ug", "cells", ALL) == pytest.approx(blood)
    body = convert(1000.0, "copies/ug", "cells-in-body", ALL)
    assert body == pytest.approx(50 * blood)


@given(units.filter(lambda unit: unit != LADDER[0]), stated)
def test_more_marked_cells_than_nucleated_cells_are_refused(unit, assumed):
    top = ceiling(unit, assumed)
    found = convert(top, unit, LADDER[0], assumed)
    assert found == pytest.approx(ceiling(LADDER[0], assumed))
    for value, source, target in (
        (1.001 * top, unit, LADDER[0]),
        (1.001 * found, LADDER[0], unit),
    ):
        with pytest.raises(InputError, match="every nucleated cell"):
            convert(value, source, target, assumed)


@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        ("vcn", "copies/ug", "cells/uL"),
        ("wbc", "cells", "copies/ug"),
        ("weight", "cells/uL", "cells"),
        ("blood_share", "cells-in-body", "cells/uL"),
    ],
)
def test_a_missing_assumption_is_asked_for_by_its_option(name, source, target):
    option = "--" + name.replace("_", "-")
    for value, word in ((None, "missing"), (0.0, "above 0"), (-1.0, "above 0")):
        lacking = dataclasses.replace(ALL, **{name: value})
        with pytest.raises(InputError, match=f"{option}.*{word}"):
            convert(1.0, source, target, lacking)


def test_all_that_is_missing_is_said_at_once():
    with pytest.raises(InputError) as caught:
        convert(1.0, "copies/ug", "cells-in-body", Assumptions())
    for option in ("--vcn", "--wbc", "--weight", "--blood-share"):
        assert option in str(caught.value)


@pytest.mark.parametrize("value", [-1.0, float("nan"), float("inf")])
def test_a_level_is_a_number_of_0_or_more(value):
    with pytest.raises(InputError, match="0 or more"):
        convert(value, "cells/uL", "cells", ALL)


run = partial(typed, "convert")


def test_the_command_prints_value_and_assumptions():
    result = run(
        *(1000, 0, "--from", "copies/ug", "--to", "cells/uL"),
        *("--wbc", 2000, "--vcn", 1.5, "--weight", 70),
    )
    assert result.exit_code == 0, result.output
    for words in (
        "1000 copies/ug = 8.80088 cells/uL",
        "0 copies/ug = 0 cells/uL",
        "--cells-per-ug",
        "151,500",
        "default",
        "note: --weight is not used",
    ):
        assert words in result.output


WRONG = {
    "no assumption": (["--to", "cells/uL"], "--wbc"),
    "unknown unit": (["--to", "cell/ul"], "did you mean cells/uL"),
    "unit of something else": (["--to", "pg/mL"], "copies/ug"),
    "nothing to do": (["--to", "copies/µg"], "nothing to convert"),
    "above the ceiling": (
        ["--to", "cells/uL", "--wbc", "9", "--vcn", "0.001"],
        "every nucleated cell",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_ends_with_code_2_and_says_what_would_do(case):
    options, words = WRONG[case]
    result = run(1000, "--from", "copies/ug", *options)
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "Traceback" not in result.output
