"""Scenario files: what they say, and every fault with its line and key."""

import re
from pathlib import Path

import pytest
from documented import tables_of, untold_keys
from questions import LINEAR

from ckin.errors import InputError
from ckin.library import load_protocol, scenario_files, scenario_path
from ckin.scenario import METRICS, parse_scenario, read_scenario, schema


ROOT = Path(__file__).resolve().parents[2]
STARTING = ROOT / "ckin" / "starting" / "scenario.toml"

GOOD = f"""\
name = "mine"
title = "a question"
model = "{LINEAR}"
follow_d = 120

[population]
source = "prior"
draws = 3
patients = 4

[arms.high]
protocol = "szcart01-two-cycles"

[arms.once]
protocol = "szcart01-two-cycles"
without = [{{ product = "FTC", day = 8 }}]

[sweeps.later]
protocol = "szcart01-two-cycles"
product = "FTC"
of_day = 8
day = [11, 14]
cells_per_kg = [2e6, 5e6]

[outcomes.peak]
metric = "CMAX"
cycle = 2

[outcomes.above]
metric = "DABOVE"
level = 50
unit = "copies/ug"

[[utility]]
outcome = "above"
per = 30
weight = 1.0
"""


def parsed(text: str):
    return parse_scenario(text, "mine.toml")


def test_a_sweep_is_an_arm_for_every_combination():
    scenario = parsed(GOOD)
    assert [arm.name for arm in scenario.arms] == [
        "high",
        "once",
        "later-2e6/kg-day11",
        "later-2e6/kg-day14",
        "later-5e6/kg-day11",
        "later-5e6/kg-day14",
    ]
    arm = scenario.arm("later-2e6/kg-day14")
    assert dict(arm.point) == {"cells_per_kg": 2e6, "day": 14.0}
    by_verbs = (
        load_protocol("szcart01-two-cycles")
        .with_dose("FTC", 2e6, day=8)
        .moved("FTC", day=8, to_day=14)
    )
    assert arm.protocol.doses == by_verbs.doses
    assert scenario.pairs[0] == ("once", "high")
    assert len(scenario.pairs) == 5


def test_a_sweep_of_values_sets_parameters():
    text = GOOD.replace("day = [11, 14]\n", "values = { loss = [0.05, 0.2] }\n")
    arms = parsed(text.replace("of_day = 8\n", "")).arms
    assert [arm.values for arm in arms[2:]] == [
        {"loss": 0.05},
        {"loss": 0.2},
        {"loss": 0.05},
        {"loss": 0.2},
    ]


def test_paths_are_seen_from_the_folder_of_the_file(tmp_path):
    (tmp_path / "own.toml").write_text(
        (ROOT / "ckin" / "starting" / "protocol.toml").read_text(encoding="utf-8"),
        encoding="utf-8",
    )
    text = GOOD.replace(
        '[arms.high]\nprotocol = "szcart01-two-cycles"',
        '[arms.high]\nprotocol = "own.toml"',
    )
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    assert read_scenario(tmp_path / "mine.toml").arm("high").protocol.doses


FAULTS = [
    # an arm that is not there
    (
        'title = "a question"',
        'title = "a"\nreference = "hihg"',
        3,
        "reference",
        "did you mean high",
    ),
    # an amount below nothing
    (
        "cells_per_kg = [2e6, 5e6]",
        "cells_per_kg = [2e6, -5e6]",
        23,
        "sweeps.later.cells_per_kg[1]",
        "found -5000000.0, expected .* above 0",
    ),
    (
        'without = [{ product = "FTC", day = 8 }]',
        'with_dose = [{ product = "FTC", cells_per_kg = -1 }]',
        16,
        "arms.once.with_dose[0].cells_per_kg",
        "found -1, expected a number above 0",
    ),
    # FTC before the CAR-T that they feed
    (
        "day = [11, 14]",
        "day = [11, -2]",
        22,
        "sweeps.later.day[1]",
        "before the CAR-T of cycle 2",
    ),
    (
        'without = [{ product = "FTC", day = 8 }]',
        'delayed = [{ product = "FTC", day = 8, by_days = -8.0 }]',
        16,
        "arms.once.delayed[0]",
        "found FTC on day .* before the CAR-T of cycle 2",
    ),
    # units
    (
        'level = 50\nunit = "copies/ug"',
        "level = 50",
        31,
        "outcomes.above.level",
        "without its unit; add unit",
    ),
    (
        'unit = "copies/ug"',
        'unit = "cells/uL"',
        32,
        "outcomes.above.unit",
        "found 'cells/uL', expected 'copies/ug'",
    ),
    (
        'unit = "copies/ug"',
        'unit = "copies per ug"',
        32,
        "outcomes.above.unit",
        "unknown unit",
    ),
    (
        "cells_per_kg = [2e6, 5e6]",
        "dose = [2e6, 5e6]",
        23,
        "sweeps.later.dose",
        "found a key 'dose', expected one of",
    ),
    ("per = 30", 'per = "30 days"', 36, "utility[0].per", "write the number alone"),
    # sweeps of what is not there
    (
        "day = [11, 14]\n",
        "values = { lss = [1, 2] }\n",
        22,
        "sweeps.later.values",
        "no parameter 'lss'; did you mean loss",
    ),
    ("of_day = 8", "of_day = 9", 23, "sweeps.later.cells_per_kg[0]", "no FTC on day 9"),
    (
        "day = [11, 14]\ncells_per_kg = [2e6, 5e6]\n",
        "",
        18,
        "sweeps.later",
        "found a sweep of nothing",
    ),
    ('product = "FTC"\nof_day', "of_day", 18, "sweeps.later", "add product"),
    ("of_day = 8\n", "", 18, "sweeps.later", "add of_day"),
    # names
    (
        'protocol = "szcart01-two-cycles"\n\n[arms.once]',
        'protocol = "szcart01-tow-cycles"\n\n[arms.once]',
        12,
        "arms.high.protocol",
        "did you mean szcart01-two-cycles",
    ),
    (
        'outcome = "above"',
        'outcome = "abov"',
        35,
        "utility[0].outcome",
        "did you mean above",
    ),
    (
        'metric = "CMAX"',
        'metric = "CMX"',
        26,
        "outcomes.peak.metric",
        'expected one of "CMAX"',
    ),
    (
        'metric = "CMAX"',
        'metric = "CMAX"\nof = "il6"',
        27,
        "outcomes.peak.of",
        "found 'il6', expected an assay",
    ),
    (
        "[arms.high]\n",
        "[arms.high]\nset = { leukemia = 1.0 }\n",
        12,
        "arms.high.set",
        "no parameter 'leukemia'",
    ),
    (
        "[arms.high]\n",
        "[arms.high]\nsetting = 'aplasia'\n",
        11,
        "arms.high",
        "setting = 'aplasia'",
    ),
    # what does not fit together
    ("cycle = 2", "cycle = 3", 27, "outcomes.peak.cycle", "high has no more"),
    ("follow_d = 120", "follow_d = 60", 4, "follow_d", "expected more than 63"),
    ("follow_d = 120", "follow_d = 70", 25, "outcomes.peak", None),
    ('level = 50\nunit = "copies/ug"\n', "", 29, "outcomes.above", "found no level"),
    ("patients = 4", 'patients = "fitted"', 9, "population.patients", "without a fit"),
    (
        'source = "prior"',
        'source = "typical"\ndraw = ["loss"]',
        8,
        "population.draw",
        'beside source = "typical"',
    ),
    (f'model = "{LINEAR}"\n', "", None, "model", "expected a model"),
]


@pytest.mark.parametrize(("old", "new", "line", "key", "words"), FAULTS)
def test_a_fault_is_told_with_line_and_key(old, new, line, key, words):
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if words is None:  # a shorter course is no fault
        parsed(text.replace("[11, 14]", "[9, 10]"))
        return
    with pytest.raises(InputError) as told:
        parsed(text)
    message = str(told.value)
    where = "mine.toml" if line is None else f"mine.toml line {line}"
    assert f"{where}, {key}" in message, message
    assert re.search(words, message), message


def test_every_fault_is_told_at_once():
    text = GOOD.replace("draws = 3", "draws = 0").replace('"CMAX"', '"CMX"')
    with pytest.raises(InputError) as told:
        parsed(text.replace("follow_d = 120", "follow_d = -1"))
    assert len(str(told.value).splitlines()) == 3


@pytest.mark.parametrize("name", scenario_files())
def test_shipped_scenarios_say_what_they_take_for_granted(name):
    scenario = read_scenario(scenario_path(name))
    assert scenario.name == name
    assert scenario.assumptions
    assert scenario.pairs
    assert scenario.people.source == "prior"
    assert f"`{name}`" in (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")


def test_an_unknown_scenario_is_answered_with_those_there_are():
    with pytest.raises(InputError, match="did you mean ftc-doses"):
        scenario_path("ftc-dose")


def test_the_starting_file_names_every_metric_and_runs():
    text = STARTING.read_text(encoding="utf-8")
    assert read_scenario(STARTING).pairs
    for name in METRICS:
        assert name in text


def test_the_documentation_names_every_key():
    page = ROOT / "docs" / "compare.md"
    assert len(tables_of(schema)) == 8
    assert untold_keys(schema, page) == []
    told = page.read_text(encoding="utf-8")
    for metric in METRICS:
        assert f"`{metric}`" in told
