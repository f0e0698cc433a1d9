"""Question files: what they ask, and every fault with its line and key."""

import re
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from documented import tables_of, untold_keys

from ckin.errors import InputError
from ckin.library import load_protocol
from ckin.optimum import many, parse_inquiry, read_inquiry, schema
from ckin.schedule import Area, DaysAbove, Infusions, typical_yields
from ckin.schedule.apheresis import Apheresis


ROOT = Path(__file__).resolve().parents[2]
STARTING = ROOT / "ckin" / "starting" / "question.toml"
LINEAR = ROOT / "tests" / "scenario" / "linear.py"
GOOD = f"""\
name = "mine"
title = "a question"
model = "{LINEAR}"
follow_d = 100

[population]
source = "prior"
people = 4

[course]
protocol = "szcart01-medium"
repeated = {{ cycles = 2 }}

[[open]]
product = "FTC"
cycle = 2
infusions = 2
to_day = 15
apart_d = 3
most_cells_per_kg = 5e6

[budget]
product = "FTC"
cells_per_kg = 6.5e6

[outcomes.fed]
metric = "DABOVE"
of = "ftc"
level = 1
unit = "cells/uL"

[outcomes.peak]
metric = "CMAX"
of = "ftc_cells_per_ul"
level = 2
unit = "cells/uL"

[outcomes.area]
metric = "AUC"

[[utility]]
outcome = "fed"
weight = 2.0
per = 10

[[utility]]
outcome = "area"
weight = 1.0
scale = "log2"

[[caps]]
of = "qpcr"
level = 500
unit = "copies/ug"
share = 0.05

[pareto]
shares = [0.5, 1]
outcome = "fed"
"""


def parsed(text: str):
    return parse_inquiry(text, "mine.toml")


def test_a_file_is_the_same_question_as_in_python():
    inquiry = parsed(GOOD)
    plan = load_protocol("szcart01-medium").repeated(2)
    assert inquiry.plan.doses == plan.doses
    assert inquiry.choices == (
        Infusions("FTC", 2, n=2, to_day=15, apart_d=3, most=5e6),
    )
    space = inquiry.space(50.0)
    assert space.budget is not None
    assert space.budget.total == pytest.approx(50.0 * 6.5e6)
    assert inquiry.space(50.0, 0.5).spare == pytest.approx(0.5 * space.spare)
    goal = inquiry.goal({"ftc": "ftc_cells_per_ul", "qpcr": "copies_per_ug"} | {
        "ftc_cells_per_ul": "ftc_cells_per_ul"
    })  # fmt: skip
    assert goal.measures["fed"] == DaysAbove("ftc_cells_per_ul", 1.0)
    assert goal.measures["area"] == Area("copies_per_ug")
    worth = goal.utility({"fed": jnp.asarray(30.0), "area": jnp.asarray(8.0)})
    assert float(worth) == pytest.approx(2.0 * 30.0 / 10.0 + 3.0)
    (cap,) = goal.caps
    assert (cap.quantity, cap.level, cap.share) == ("copies_per_ug", 500.0, 0.05)


def test_an_apheresis_is_a_budget_of_cd3_shared_by_all_products():
    amount = 'product = "FTC"\ncells_per_kg = 6.5e6\n'
    text = GOOD.replace(amount, 'apheresis = { "FTC.fold" = 10 }\n')
    budget = parsed(text).space(60.0).budget
    yields = typical_yields(Apheresis().with_medians({"FTC.fold": 10.0}))
    assert budget is not None
    assert budget.total == pytest.approx(float(yields.collected[0]))
    assert set(budget.price) == {"CART", "FTC"}
    assert budget.price["FTC"] == pytest.approx(3.0 * budget.price["CART"])


def test_every_patient_has_a_draw_of_its_own_and_the_same_weight():
    inquiry = parsed(GOOD)
    whom = many(inquiry)
    assert whom.n == 4
    assert len(set(whom.people.phi[0, :, 0].tolist())) == 4
    assert len(set(np.asarray(whom.people.weight_kg).tolist())) == 1
    # Fewer of them are the same ones.
    fewer = replace(inquiry, people=replace(inquiry.people, draws=2, patients=2))
    np.testing.assert_array_equal(many(fewer).people.phi, whom.people.phi[:, :2])


def test_a_spread_that_the_model_has_not_may_be_given():
    text = GOOD.replace("people = 4", "people = 40\nomega = { scale = 0.5 }\nset = {}")
    people = many(parsed(text)).people
    assert "scale" in people.whole.vary
    assert people.whole.omega[people.whole.vary.index("scale")] == 0.5


FAULTS = [
    ('product = "FTC"\ncycle', 'product = "FCT"\ncycle', 15, "open[0].product", "FTC"),
    ("cycle = 2", "cycle = 3", 14, "open[0]", "has 2 cycles"),
    ("infusions = 2", "infusions = 9", 14, "open[0]", "do not fit"),
    ("to_day = 15", "to_day = 60", 4, "follow_d", "expected more than 115"),
    ("to_day = 15", "from_day = 20\nto_day = 15", 19, "open[0].to_day", "before from"),
    ("to_day = 15", "from_day = 0\nto_day = 15", 18, "open[0].from_day", "from 1"),
    ("= 5e6", "= -5e6", 20, "open[0].most_cells_per_kg", "above 0"),
    (
        "most_cells",
        "least_cells_per_kg = 6e6\nmost_cells",
        21,
        "open[0].most_cells_per_kg",
        "less than least",
    ),
    ("to_day = 15\n", "", 14, "open[0].to_day", "add to_day"),
    ("follow_d = 100", "follow_d = 60", 4, "follow_d", "expected more than 70"),
    ("cells_per_kg = 6.5e6", "cells_per_kg = 1e3", None, "", None),
    ('product = "FTC"\ncells', "cells", 22, "budget", "add product"),
    ("cells_per_kg = 6.5e6", "", 22, "budget", "found no budget"),
    (
        'product = "FTC"\ncells_per_kg = 6.5e6',
        "apheresis = { colected = 1e9 }",
        23,
        "budget.apheresis",
        "did you mean collected",
    ),
    ('of = "ftc"\nlevel', 'of = "fct"\nlevel', 28, "outcomes.fed.of", "did you mean"),
    ('level = 1\nunit = "cells/uL"', "level = 1", 29, "outcomes.fed.level", "its unit"),
    ('level = 1\nunit = "cells/uL"\n', "", 26, "outcomes.fed", "found no level"),
    (
        'level = 1\nunit = "cells/uL"',
        'level = 1\nunit = "copies/ug"',
        30,
        "outcomes.fed.unit",
        "expected 'cells/uL'",
    ),
    ('metric = "AUC"', 'metric = "AUC028"', 39, "outcomes.area.metric", "one of"),
    ('metric = "AUC"', 'metric = "AUC"\nlevel = 3', 40, "outcomes.area.level", "no"),
    ('outcome = "area"', 'outcome = "aera"', 47, "utility[1].outcome", "mean area"),
    ('scale = "log2"', 'scale = "above"', 49, "utility[1].scale", "linear"),
    ("share = 0.05", "share = 5", 55, "caps[0].share", "0 to less than 1"),
    ('of = "qpcr"', 'of = "il6"', 52, "caps[0].of", "expected an assay"),
    ('outcome = "fed"\n', 'outcome = "fe"\n', 42, "utility[0].outcome", "mean fed"),
    ("people = 4", "people = 0", 8, "population.people", "1 to 1000"),
    ("people = 4", "people = 4\nfit = 'x'", 9, "population.fit", "remove it"),
    (
        "people = 4",
        "people = 4\nset = { lss = 1 }",
        None,
        None,
        "no parameter 'lss'",
    ),
    ("medium", "middle", 11, "course.protocol", "szcart01"),
    ("repeated", "repeatd", 12, "course.repeatd", "did you mean repeated"),
    (f'model = "{LINEAR}"\n', "", None, "model", "expected a model"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "words"), FAULTS)
def test_a_fault_is_told_with_line_and_key(old, new, line, key, words):
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if words is None:  # little is no fault: less is given
        assert parsed(text).space(60.0).spare > 0
        return
    with pytest.raises(InputError) as told:
        many(parsed(text))
    message = str(told.value)
    if key is not None:
        where = "mine.toml" if line is None else f"mine.toml line {line}"
        assert f"{where}, {key}" in message, message
    assert re.search(words, message), message


def test_a_budget_that_does_not_pay_for_what_is_fixed_is_refused():
    text = GOOD.replace(
        'product = "FTC"\ncells_per_kg', 'product = "CART"\ncells_per_kg'
    )
    with pytest.raises(InputError, match=r"line 22, budget: a budget of"):
        parsed(text)


def test_the_starting_file_is_read_and_names_every_metric():
    assert read_inquiry(STARTING).choices
    text = STARTING.read_text(encoding="utf-8")
    for name in ("DABOVE", "AUC", "CEND", "CMAX"):
        assert name in text


def test_the_documentation_names_every_key():
    page = ROOT / "docs" / "schedules.md"
    assert len(tables_of(schema)) == 11
    assert untold_keys(schema, page) == []
