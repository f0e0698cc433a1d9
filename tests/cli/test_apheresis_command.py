"""`ckin apheresis`: what one apheresis pays for, on the terminal and as a table."""

from functools import partial

import pytest
from typed import rows_of, typed

from ckin.library import protocol_families


run = partial(typed, "apheresis")


def test_every_arm_of_the_trial_is_shown_and_what_is_assumed():
    shown = run("--n", 500)
    assert shown.exit_code == 0, shown.output
    for name in protocol_families()["szcart01"]:
        assert name in shown.output
    for words in ("MODEL-BASED", "1800e6", "modelling assumption", "unverified"):
        assert words in shown.output


def test_one_protocol_is_shown_with_the_doses_and_cycles_that_are_feasible(tmp_path):
    file = tmp_path / "one.csv"
    shown = run("szcart01-high", "--weight", 20, "--n", 500, "--out", file)
    assert shown.exit_code == 0, shown.output
    for words in ("600e6", "FTC 3.25e6/kg", "no FTC", "written"):
        assert words in shown.output
    rows = rows_of(file)
    assert len(rows) == 1 + 4 * 4
    assert float(rows[0]["ftc_cells"]) == pytest.approx(6e8)


def test_a_poor_harvest_suits_fewer():
    poor = run("szcart01-high", "--n", 500, "--set", "collected=1e8")
    assert "too few" in poor.output
    assert "given by the user" in poor.output


def test_a_protocol_without_ftc_has_no_table_of_ftc_doses():
    shown = run("szcart01-cart1", "--n", 100)
    assert shown.exit_code == 0, shown.output
    assert "no FTC" not in shown.output


WRONG = {
    "no such protocol": (["szcart01-hihg"], "did you mean szcart01-high"),
    "no weight": (["szcart01-high", "--weight", 0], "body weight of 0"),
    "no chance": (["szcart01-high", "--chance", 90], "between 0 and 1"),
    "unknown name": (["--set", "CART.flod=3"], "did you mean CART.fold"),
    "no number": (["--set", "collected=lots"], "expected a number"),
    "no folder": (["szcart01-high", "--out", "nowhere/x.csv"], "cannot be written"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_ends_with_code_2(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args, words = WRONG[case]
    shown = run("--n", 50, *args)
    assert shown.exit_code == 2, shown.output
    assert words in shown.output
    assert "Traceback" not in shown.output
