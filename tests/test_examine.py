"""A model that is wrong is explained, and a file to start from is right."""

from pathlib import Path

import pytest
from typed import typed

from ckin.errors import InputError
from ckin.examine import faults, open_units
from ckin.library import load_model
from ckin.model import parameters
from ckin.starting import write_starting_file


DYING = "cart=(self.division * stimulation - self.contraction) * y.cart"
KILLED = "antigen=-self.killing * y.cart * y.antigen"


@pytest.fixture
def start(tmp_path: Path) -> Path:
    path = tmp_path / "start.py"
    write_starting_file("model.py", path)
    return path


def changed(path: Path, old: str, new: str) -> Path:
    """Another file, in which `old` is `new`."""
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    other = path.with_name("changed.py")
    other.write_text(text.replace(old, new), encoding="utf-8")
    return other


def test_the_file_to_start_from_is_a_model_without_faults(start: Path):
    model = load_model(start)
    assert faults(model) + open_units(model) == []
    assert {"division", "killing"} <= set(parameters(model))


def test_a_file_that_exists_or_has_another_ending_is_left_alone(start: Path):
    with pytest.raises(InputError, match="exists and is left as it is"):
        write_starting_file("model.py", start)
    with pytest.raises(InputError, match=r"ends in \.py"):
        write_starting_file("model.py", start.with_suffix(".txt"))
    with pytest.raises(InputError, match="cannot be written"):
        write_starting_file("model.py", start.parent / "nowhere" / "m.py")


WRONG = {
    "a slope that is not a number": (
        DYING,
        "cart=jnp.log(y.cart - 1e30)",
        "the slope of cart is nan on day 2 where cart=.*division by zero",
    ),
    "a loss that goes on below nothing": (
        DYING,
        "cart=self.division * stimulation * y.cart - 1e6",
        "cart falls by 1e\\+06 cells/day where there is none",
    ),
    "a state that nothing writes": (
        KILLED,
        "antigen=jnp.zeros(())",
        "nothing ever changes antigen",
    ),
    "an initial state that is not finite": (
        "antigen=self.antigen_0)",
        "antigen=1.0 / jnp.zeros(()))",
        "initial: antigen is inf",
    ),
    "an input that was not declared": (
        DYING,
        DYING + ' * (1.0 - inputs["tki"])',
        r"line \d+ could not be run: KeyError: 'tki'",
    ),
    "a parameter without a unit": (
        '        unit="1/day",\n        symbol="δ",\n',
        "",
        r"line \d+ could not be run: TypeError: .*'unit'",
    ),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_model_is_explained(start: Path, wrong: str):
    old, new, words = WRONG[wrong]
    path = changed(start, old, new)
    with pytest.raises(InputError, match=words) as found:
        load_model(path)
    assert "changed.py" in str(found.value)


@pytest.mark.parametrize(
    ("old", "new", "base"),
    [
        # Killing by a share instead of a rate per cell.
        ('unit="1/(cells day)"', 'unit="1/day"', "cells"),
        ('1e-10,\n        unit="1/(cells day)"', '1e-10,\n        unit="cells"', "day"),
        # A capacity written into the equation.
        (DYING, DYING + " * (1.0 - y.cart / 1e12)", "cells"),
    ],
)
def test_units_that_do_not_close_are_shown_on_the_card(
    start: Path, old: str, new: str, base: str
):
    path = changed(start, old, new)
    doubts = open_units(load_model(path))
    assert len(doubts) == 1
    assert f"count {base}" in doubts[0] or f"or {base} in" in doubts[0]
    shown = typed("models", path)
    assert shown.exit_code == 0
    assert "In doubt: units: the slope of" in " ".join(shown.output.split())


def test_new_model_writes_a_file_that_simulates(tmp_path: Path):
    path = tmp_path / "mine.py"
    wrote = typed("new-model", path)
    assert wrote.exit_code == 0
    assert "ckin models" in wrote.output
    again = typed("new-model", path)
    assert again.exit_code == 2
    table = tmp_path / "virtual.csv"
    words = ["simulate", "--model", str(path), "--protocol", "szcart01-cart1"]
    made = typed(*words, "--n", "2", "--out", table)
    assert made.exit_code == 0, made.output
    assert table.exists()


def test_a_law_is_chosen_where_a_value_is_set(tmp_path: Path):
    words = ["simulate", "--protocol", "szcart01-cart1", "--n", "1"]
    words += ["--model", "ball_leontriana2021", "--out", str(tmp_path / "v.csv")]
    wrong = typed(*words, "--set", "marrow=progenitor")
    assert wrong.exit_code == 2
    assert "did you mean progenitors" in " ".join(wrong.output.split())
