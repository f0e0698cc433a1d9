"""Protocol files: what they say, and every fault with its line and key."""

import inspect
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ckin.errors import InputError
from ckin.protocol import Dose, parse_protocols, places, read_protocols, schema


ROOT = Path(__file__).resolve().parents[1]
SHIPPED = sorted((ROOT / "ckin" / "protocol").rglob("*.toml"))

GOOD = """\
name = "mine"
title = "a dose"
source = "me"

[cycles]
count = 2
every_d = 28

[[doses]]
product = "CART"
day = 1
cells_per_kg = 1e6

[[doses]]
product = "FTC"
from_cycle = 2
day = [1, 8]
hours = 2
cells = 3e8
only_if = "complete response"

[lymphodepletion]
days = [-4, -3]

[tki]
drug = "dasatinib"
start_day = -10
stop_day = 100
held = { stop_day = -5, resume_day = 15 }
"""


def parsed(text: str):
    return parse_protocols(text, "mine.toml")


def test_cells_run_in_over_hours():
    (plan,) = parsed(GOOD.replace("hours = 2", "hours = 2\nover_h = 6")).values()
    assert [dose.duration_d for dose in plan.doses] == [0.0, 0.0, 0.25, 0.25]
    table = plan.events(60.0, {})
    assert table.rate is not None
    ran_in = (table.rate[:-1] * np.diff(table.time_d)[:, None]).sum(axis=0)
    # 3e8 twice; differences of times round in the 13th digit.
    np.testing.assert_allclose(ran_in, [0.0, 6e8], rtol=1e-9)
    assert table.cells.sum() == 2 * 60e6


def test_a_file_says_what_is_given_when():
    (plan,) = parsed(GOOD).values()
    assert plan.doses == (
        Dose(0.0, "CART", cells_per_kg=1e6, cycle=1),
        Dose(28.0, "CART", cells_per_kg=1e6, cycle=2),
        Dose(28.0 + 2 / 24, "FTC", cells=3e8, cycle=2),
        Dose(35.0 + 2 / 24, "FTC", cells=3e8, cycle=2),
    )
    assert plan.lymphodepletion_d == (-3.0, 25.0)
    assert plan.depletion_drugs_d(2) == (24.0, 25.0)
    assert [(w.start_d, w.stop_d) for w in plan.windows] == [
        (-10.0, -5.0),
        (14.0, 23.0),
        (42.0, 99.0),
    ]
    assert plan.changes == ()


def test_a_condition_is_shown_and_assumed_met():
    (plan,) = parsed(GOOD).values()
    told = "FTC on days 1, 8 of cycle 2 only if complete response"
    assert [str(condition) for condition in plan.conditions] == [told]
    assert f"met by everyone: {told}" in plan.assumptions
    text = GOOD.replace("every_d = 28", 'every_d = 28\nonly_if = "remission"')
    (plan,) = parsed(text).values()
    assert str(plan.conditions[0]) == "each cycle after the first only if remission"


def test_lymphodepletion_of_several_days_says_that_it_acts_once():
    (plan,) = parsed(GOOD).values()
    assert any("at the start of day -3" in told for told in plan.assumptions)


def test_inline_tables_are_the_same_file():
    head, rest = GOOD.split("[[doses]]", 1)
    rest = rest[rest.index("[lymphodepletion]") :]
    inline = (
        "doses = [\n"
        '  { product = "CART", day = 1, cells_per_kg = 1e6 },\n'
        '  { product = "FTC", from_cycle = 2, day = [1, 8], hours = 2, cells = 3e8,'
        ' only_if = "complete response" },\n]\n'
    )
    assert parsed(inline + head + rest) == parsed(GOOD)


def test_arms_are_the_verbs():
    arms = parsed(
        GOOD
        + """
[arms.all]
title = "everything changed"
assumptions = "so"
repeated = { cycles = 3, every_d = 56 }
without = [{ product = "FTC", cycles = [2] }]
delayed = [{ product = "FTC", day = 8, by_days = 6 }]
with_dose = [{ product = "FTC", day = 14, cells_per_kg = 2e6 }]
tki = { drug = "imatinib", start_day = 1, stop_day = 8 }

[arms.same]
title = "as it is"
"""
    )
    assert list(arms) == ["mine-all", "mine-same"]
    plan = arms["mine-all"]
    (whole,) = parsed(GOOD).values()
    by_hand = (
        whole.repeated(3, every_d=56.0)
        .without("FTC", cycles=[2])
        .delayed("FTC", day=8, by_days=6.0)
        .with_dose("FTC", 2e6, day=14)
    )
    assert plan.doses == by_hand.doses
    assert [window.stop_d for window in plan.windows] == [7.0]
    assert plan.assumptions[-1] == "so"
    assert arms["mine-same"].doses == whole.doses


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_file_reads(path: Path):
    for name, protocol in read_protocols(path).items():
        assert protocol.name == name


# Faults: what is changed in GOOD, and words that the message must have.
FAULTS = {
    "unknown product": (
        'product = "FTC"',
        'product = "FTCC"',
        ["line 15, doses[1].product", "'FTCC'", "CART or FTC", "did you mean FTC?"],
    ),
    "unknown key": (
        "from_cycle",
        "fromcycle",
        ["line 16, doses[1].fromcycle", "did you mean from_cycle?"],
    ),
    "unknown unit": (
        "cells_per_kg = 1e6",
        "cells_per_m2 = 1e6",
        ["line 12, doses[0].cells_per_m2", "did you mean cells_per_kg?"],
    ),
    "a unit in the value": (
        "cells_per_kg = 1e6",
        'cells_per_kg = "1e6/kg"',
        ["line 12, doses[0].cells_per_kg", "'1e6/kg'", "its unit is in the name"],
    ),
    "negative dose": (
        "cells_per_kg = 1e6",
        "cells_per_kg = -1e6",
        ["line 12, doses[0].cells_per_kg", "-1000000.0", "a number above 0"],
    ),
    "infinite dose": ("= 1e6", "= inf", ["doses[0].cells_per_kg", "inf"]),
    "no dose": (
        "cells_per_kg = 1e6",
        "",
        ["line 9, doses[0]", "neither of cells_per_kg and cells"],
    ),
    "two doses": (
        "cells = 3e8",
        "cells = 3e8\ncells_per_kg = 1",
        ["line 14, doses[1]", "both of cells_per_kg and cells"],
    ),
    "day 0": ("day = 1\n", "day = 0\n", ["line 11, doses[0].day", "no day 0"]),
    "day 0 in a list": ("[1, 8]", "[0, 8]", ["line 17, doses[1].day[0]", "no day 0"]),
    "half a day": ("day = 1\n", "day = 1.5\n", ["line 11, doses[0].day", "1.5"]),
    "a day of hours": ("hours = 2", "hours = 24", ["doses[1].hours", "less than 24"]),
    "lymphodepletion after day 1": (
        "[-4, -3]",
        "[-4, 3]",
        ["line 23, lymphodepletion.days[1]", "comes before day 1"],
    ),
    "no cycle there": (
        "from_cycle = 2",
        "from_cycle = 3",
        ["line 16, doses[1].from_cycle", "cycle 3, expected 1 to 2"],
    ),
    "cycles and from_cycle": (
        "from_cycle = 2",
        "from_cycle = 2\ncycles = 2",
        ["doses[1].from_cycle", "remove one"],
    ),
    "no gap": ("every_d = 28\n", "", ["line 5, cycles", "without every_d"]),
    "no cycles": ("count = 2", "count = 0", ["line 6, cycles.count", "from 1 to 100"]),
    "cycles that overlap": (
        "every_d = 28",
        "every_d = 3",
        ["line 5, cycles: cycles overlap", "day"],
    ),
    "title missing": ('title = "a dose"\n', "", ["mine.toml, title", "nothing"]),
    "a name with a blank": ('"mine"', '"my own"', ["line 1, name", "letters, digits"]),
    "a hold that does not last": (
        "resume_day = 15",
        "resume_day = -5",
        ["line 25, tki", "resumed on day -5"],
    ),
    "a level above 1": (
        "start_day = -10",
        "start_day = -10\nlevel = 2",
        ["tki.level", "from 0 (none) to 1"],
    ),
    "not TOML": ("[cycles]", "[cycles", ["not TOML", "line 5"]),
    "unknown table": ("[cycles]", "[cycle]", ["line 5, cycle", "did you mean cycles?"]),
    "unknown product named": (
        "[cycles]",
        '[products]\nTIL = "x"\n[cycles]',
        ["line 6, products.TIL", "'TIL'"],
    ),
    "an arm of no day": (
        "[tki]",
        '[arms.late]\ntitle = "l"\n'
        'delayed = [{ product = "FTC", day = 9, by_days = 6 }]\n[tki]',
        ["line 27, arms.late.delayed[0]", "on day 9; it does on day 1, 8"],
    ),
    "an arm of another key": (
        "[tki]",
        '[arms.late]\ntitle = "l"\nwith_doses = []\n[tki]',
        ["line 27, arms.late.with_doses", "did you mean with_dose?"],
    ),
    "an arm of nothing": (
        "[tki]",
        '[arms.none]\ntitle = "l"\n'
        'without = [{ product = "FTC" }, { product = "CART" }]\n[tki]',
        ["line 25, arms.none", "without any dose"],
    ),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_told_with_its_line_and_key(case):
    old, new, words = FAULTS[case]
    assert old in GOOD
    with pytest.raises(InputError) as found:
        parsed(GOOD.replace(old, new, 1))
    for word in (*words, "mine.toml"):
        assert word in str(found.value), str(found.value)


def test_every_fault_is_told_at_once():
    text = GOOD.replace('"FTC"', '"TIL"').replace("count = 2", "count = 2.5")
    with pytest.raises(InputError) as found:
        parsed(text)
    lines = str(found.value).splitlines()
    assert len(lines) == 2
    assert "line 6, cycles.count" in lines[0]
    assert "line 15, doses[1].product" in lines[1]


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_file_that_cannot_be_read_is_said_so(tmp_path, content):
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        read_protocols(path)


def test_lines_end_as_they_may(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert read_protocols(path) == parsed(GOOD)


# Lines of keys

keys = st.sampled_from(["a", "b", "c-d", "e_f"])
values = st.recursive(
    st.sampled_from(
        ["1", "-2.5e6", '"x # y = ["', "'z'", "true", "1979-05-27 07:32:00"]
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda each: "[\n" + ",\n".join(each) + "\n]"),
        st.dictionaries(keys, st.sampled_from(["1", '"}"']), max_size=3).map(
            lambda d: "{ " + ", ".join(f"{k} = {v}" for k, v in d.items()) + " }"
        ),
    ),
    max_leaves=6,
)


@given(st.dictionaries(keys, values, max_size=4), st.integers(0, 3))
def test_the_line_of_every_key_is_found(content, blank):
    text = "# comment [x]\n" + "".join(
        "\n" * blank + f"{key} = {value}  # = [\n" for key, value in content.items()
    )
    found = places.lines(text)
    table = tomllib.loads(text)
    lines = text.splitlines()
    for key in table:
        assert lines[found[(key,)] - 1].startswith(f"{key} =")

    def paths(value, path):
        if path:
            yield path
        each = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in each:
            if isinstance(inner, dict | list):
                yield from paths(inner, (*path, key))
            else:
                yield (*path, key)

    assert set(found) == set(paths(table, ()))


def test_tables_and_arrays_of_tables_have_lines():
    found = places.lines('[[a]]\nx = 1\n[[a]]\n[a.b]\ny = 1\n["c d".e]\nz.w = 2\n')
    assert found[("a", 0, "x")] == 2
    assert found[("a", 1)] == 3
    assert found[("a", 1, "b", "y")] == 5
    assert found[("c d", "e", "z", "w")] == 7
    assert places.line_of(found, ("a", 1, "b", "missing")) == 4
    assert places.line_of(found, ("missing",)) is None
    assert places.shown(("a", 1, "b")) == "a[1].b"


def test_the_documentation_names_every_key():
    told = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    tables = [table for table in vars(schema).values() if inspect.isclass(table)]
    for table in tables:
        if issubclass(table, schema.Table):
            for key in table.model_fields:
                assert f"`{key}`" in told, f"{table.__name__}: {key}"


def test_the_examples_of_the_documentation_run():
    told = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```toml\n(.*?)```", told, re.DOTALL)
    whole, *arms = blocks
    assert parsed(whole)
    assert parsed("\n".join(blocks))
    assert arms
