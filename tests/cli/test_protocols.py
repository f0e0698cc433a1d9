"""`ckin protocols`, `ckin new-protocol`, and files as `--protocol`."""

from pathlib import Path

import pytest
from typed import typed

from ckin.library import protocols


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    result = typed("new-protocol", path)
    assert result.exit_code == 0, result.output
    return path


def test_protocols_lists_every_protocol():
    listed = typed("protocols")
    assert listed.exit_code == 0
    for name in protocols():
        assert name in listed.output
    assert "CART 20e6/kg, FTC 19.5e6/kg" in listed.output


@pytest.mark.parametrize("name", protocols())
def test_a_card_shows_calendar_source_and_assumptions(name):
    shown = typed("protocols", name)
    assert shown.exit_code == 0, shown.output
    for word in ("Dose calendar", "Source:", "Stated by the source:", "Assumed"):
        assert word in shown.output
    for condition in protocols()[name].conditions:
        assert condition.text in shown.output


def test_cycles_that_are_alike_share_a_column():
    shown = typed("protocols", "szcart01-medium").output
    assert "cycles 2-4" in shown
    assert "day 1 = day 57, 113, 169" in shown
    assert "1, hour 2" in shown
    assert "FTC 3.25e6 cells/kg" in shown


@pytest.mark.parametrize("name", ["szcart01-tki-held", "szcart01", None])
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_calendar_is_drawn(tmp_path, name, ending):
    file = tmp_path / f"calendar.{ending}"
    result = typed("protocols", *([name] if name else []), "--out", file)
    assert result.exit_code == 0, result.output
    assert file.stat().st_size > 10_000
    again = tmp_path / f"again.{ending}"
    typed("protocols", *([name] if name else []), "--out", again)
    assert again.read_bytes() == file.read_bytes()


def test_the_file_to_start_from_runs_as_it_is(mine, tmp_path):
    assert "Dose calendar" in typed("protocols", mine).output
    virtual = tmp_path / "virtual.csv"
    result = typed(
        *("simulate", "--model", "feeding_szcart01", "--protocol", mine),
        *("--n", 2, "--horizon", 20, "--out", virtual),
    )
    assert result.exit_code == 0, result.output
    assert "assumed: cycles 56 d apart" in result.output
    assert virtual.exists()


def test_a_tki_that_the_model_does_not_know_is_told(tmp_path):
    plan = tmp_path / "one.toml"
    plan.write_text(
        'name = "one"\ntitle = "one dose"\nsource = "me"\n'
        '[[doses]]\nproduct = "CART"\nday = 1\ncells = 1e8\n'
        '[tki]\ndrug = "dasatinib"\nstart_day = 8\nstop_day = 30\n'
    )
    result = typed(
        *("simulate", "--model", "phases_stein2019", "--protocol", plan),
        *("--n", 2, "--horizon", 20, "--out", tmp_path / "virtual.csv"),
    )
    assert result.exit_code == 0, result.output
    assert "phases_stein2019 has no input 'dasatinib'" in result.output


def test_what_the_file_to_start_from_leaves_out_runs_too(mine):
    """Every commented key of the template, made to count."""
    text = mine.read_text(encoding="utf-8")
    head, rest = text.split("[products]", 1)
    lines = []
    for line in rest.splitlines():
        bare = line.removeprefix("# ")
        key = bare.startswith("[") or " = " in bare
        lines.append(bare if line.startswith("# ") and key else line)
    mine.write_text(head + "[products]" + "\n".join(lines), encoding="utf-8")
    shown = typed("protocols", mine)
    assert shown.exit_code == 0, shown.output
    for name in ("my-protocol-high", "my-protocol-low", "my-protocol-alone"):
        assert name in shown.output
    low = typed("protocols", f"{mine}:low")
    assert low.exit_code == 0, low.output
    for word in ("FTC on day 8 7 d later", "Given only on a condition", "held"):
        assert word in low.output


def test_a_file_is_not_written_over(mine):
    before = mine.read_bytes()
    result = typed("new-protocol", mine)
    assert result.exit_code == 2
    assert "exists" in result.output
    assert mine.read_bytes() == before


WRONG = {
    "no such protocol": (["protocols", "szcart01-hihg"], "did you mean szcart01-high"),
    "no such file": (["protocols", "nowhere/x.toml"], "cannot be read"),
    "another figure": (
        ["protocols", "szcart01-high", "--out", "x.pdf"],
        ".png or .svg",
    ),
    "not TOML by name": (["new-protocol", "x.txt"], "ends in .toml"),
    "no folder": (["new-protocol", "nowhere/x.toml"], "cannot be written"),
    "several arms": (
        ["simulate", "--model", "feeding_szcart01", "--protocol", "szcart01"]
        + ["--out", "x.csv"],
        "name one, such as szcart01-high",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_ends_with_code_2(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    args, words = WRONG[case]
    result = typed(*args)
    assert result.exit_code == 2, result.output
    assert words in result.output
    assert "Traceback" not in result.output


@pytest.mark.parametrize("command", ["protocols", "simulate"])
def test_a_fault_in_a_file_ends_with_code_2_and_names_the_place(
    mine, tmp_path, command
):
    text = mine.read_text(encoding="utf-8")
    mine.write_text(text.replace('product = "FTC"', 'product = "FCT"', 1))
    more = ["--model", "feeding_szcart01", "--out", tmp_path / "x.csv"]
    args = [mine] if command == "protocols" else ["--protocol", mine, *more]
    result = typed(command, *args)
    assert result.exit_code == 2, result.output
    for word in ("mine.toml line", "doses[1].product", "'FCT'", "did you mean FTC?"):
        assert word in result.output
    assert "Traceback" not in result.output
