"""SBML in: what is imported is what libroadrunner simulates, the rest is refused."""

from pathlib import Path

import jax
import numpy as np
import pytest
from transcribed import FOLDER, as_sbml, course_of, sbml, states_of
from typed import typed

from ckin.errors import InputError
from ckin.examine import faults
from ckin.library import load_model
from ckin.protocol import event_table
from ckin.sbml import import_sbml, read_sbml
from ckin.solve import Solver, solve


def imported(text: str, folder: Path, **words):
    """The model of an SBML text, through a file."""
    source = folder / "source.xml"
    source.write_text(text, encoding="utf-8")
    # A file by another name every time: a model file is run once in a process.
    target = folder / f"imported_{folder.name}.py"
    import_sbml(source, target, time_unit=words.pop("time_unit", "day"), **words)
    return load_model(target)


TRANSCRIBED = sorted(path.stem for path in FOLDER.glob("*.ant"))
# Those with a switch at an event, which is refused (test below).
SWITCHED = {"BIOMD0000001025"}
# One whose exposure u stays between 0 and 1, which SBML has no word for: where u is
# above 1, exhausted cells "come back" in negative numbers.
BOUNDED = {"TOGGLE"}
RUNS = [name for name in TRANSCRIBED if name not in SWITCHED | BOUNDED]


@pytest.mark.parametrize("name", RUNS)
def test_a_transcription_runs_imported_as_by_libroadrunner(name: str, tmp_path: Path):
    model = imported(sbml(name), tmp_path)
    assert faults(model) == []
    times = np.linspace(0.0, 9.0, 19)
    found, expected = states_of(model, times), course_of(sbml(name), times)
    for species, values in expected.items():
        # Two solvers at 1e-10 a step, over a few hundred steps.
        scale = np.max(np.abs(values))
        # A species called as something of a model file is (y, t) has another name.
        own = found[species] if species in found else found[f"{species}_"]
        np.testing.assert_allclose(
            own, values, rtol=1e-6, atol=1e-9 * scale, err_msg=species
        )


@pytest.mark.parametrize("name", sorted(SWITCHED))
def test_a_transcription_with_an_event_is_refused(name: str, tmp_path: Path):
    with pytest.raises(InputError, match="event .*`switch_times` of a model file"):
        imported(sbml(name), tmp_path)


@pytest.mark.parametrize("name", sorted(BOUNDED))
def test_a_state_that_falls_below_nothing_outside_its_bounds_is_told(name, tmp_path):
    with pytest.raises(InputError, match="E falls by .* where there is none of it"):
        imported(sbml(name), tmp_path)


EVERYTHING = """
function saturated(x, k)
  x / (k + x)
end
model everything
  compartment blood = 5;
  species A in blood, B in blood;
  substanceOnly species D in blood;
  R1: A -> 2 B; blood * vmax * saturated(A, km) * sqrt(A);
  R2: B -> ; blood * k2 * piecewise(B, time < 3, B^2, B > 0.5, 2 * B);
  R3: D -> A; k3 * D * exp(-0.1 * time);
  total := A + B;
  k3 := 0.2 * total / (1 + total);
  vmax = 0.7; km = 2 * vmax; k2 = 0.1; lambda' = -0.3 * lambda; lambda = 4;
  A = 3; B = 0; D = 10;
end
"""


def test_rules_functions_and_compartments_mean_what_they_mean_in_sbml(tmp_path: Path):
    text = as_sbml(EVERYTHING)
    model = imported(text, tmp_path)
    # The switch of `piecewise` at day 3 is in the equations, not in `switch_times`.
    times = np.linspace(0.0, 2.5, 11)
    found, expected = states_of(model, times), course_of(text, times)
    for name in ("A", "B"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-9)
    # D is an amount for its formulas; what roadrunner shows in brackets is by volume.
    np.testing.assert_allclose(found["D"], 5.0 * expected["D"], rtol=1e-6)
    np.testing.assert_allclose(found["lambda_"], 4.0 * np.exp(-0.3 * times), rtol=1e-6)
    shown = model.quantities(model.initial())
    assert float(shown["total"]) == pytest.approx(3.0)


def test_a_name_that_a_model_file_has_already_is_changed(tmp_path: Path):
    names = "units", "inputs", "count", "time_", "abs_", "lambda"
    made = " ".join(f"{name} = {i + 1};" for i, name in enumerate(names))
    text = as_sbml(
        f"model m; species A; A -> ; A * ({' + '.join(names)}); A = 1; {made} end"
    )
    model = imported(text, tmp_path)
    slopes = model.vector_field(jax.numpy.ones(()), model.initial(), {})
    assert float(slopes[0]) == pytest.approx(-21.0)


FORMULAS = {
    "root(3, x)^2": 5.0 ** (2.0 / 3.0),
    "x^root(3, z)": 5.0 ** (2.0 ** (1.0 / 3.0)),
    "root(x + z, 9)": 9.0 ** (1.0 / 7.0),
    "-x^2 + 30 - (z - x)": 8.0,
    "(-x)^2 / (z * x)": 2.5,
    "(x^z)^z": 625.0,
    "z^(z^x)": 2.0**32,
    "z^-x": 2.0**-5,
    "log10(x * 20) / 2": 1.0,
    "max(x, z, 7) - min(x, z)": 5.0,
}


@pytest.mark.parametrize("formula", FORMULAS)
def test_a_formula_has_its_value(formula: str, tmp_path: Path):
    text = as_sbml(f"model m; species A; -> A; {formula}; A = 1; x = 5; z = 2; end")
    model = imported(text, tmp_path)
    slope = model.vector_field(jax.numpy.ones(()), model.initial(), {})[0]
    assert float(slope) == pytest.approx(FORMULAS[formula], rel=1e-12)


def test_time_of_the_file_becomes_days(tmp_path: Path):
    text = as_sbml("model m; species A; A -> ; 0.05 * A; A = 2; end")
    model = imported(text, tmp_path, time_unit="hour")
    slopes = model.vector_field(jax.numpy.ones(()), model.initial(), {})
    assert float(slopes[0]) == pytest.approx(-0.05 * 24.0 * 2.0)


def test_time_in_a_formula_is_that_of_the_file(tmp_path: Path):
    text = as_sbml("model m; species A; -> A; time; A = 0; end")
    model = imported(text, tmp_path, time_unit="hour")
    events = event_table((), weight_kg=60.0, inputs={})
    path = solve(model, events, np.array([0.0, 2.0]), solver=Solver(rtol=1e-8))
    # The integral of time over 48 hours.
    assert float(path.states[0][-1]) == pytest.approx(48.0**2 / 2.0, rel=1e-6)


def test_a_stated_unit_of_time_needs_no_option(tmp_path: Path):
    text = as_sbml(
        "model m; unit time_unit = 3600 second; species A; A -> ; A; A=1; end"
    )
    path = tmp_path / "stated.xml"
    path.write_text(text, encoding="utf-8")
    assert read_sbml(path).time_unit == "hour"


REFUSED = {
    "varying stoichiometry": (
        "species A, B; n := 1 + time; A -> n B; A; A = 1; B = 0;",
        "stoichiometry that varies",
    ),
    "event": ("species A; A -> ; A; A = 1; at time > 3: A = 5;", "event .*protocol"),
    "delay": ("species A; A -> ; delay(A, 2); A = 1;", "rate of .*delay"),
    "no rate": ("species A; A -> ; ; A = 1;", "has no rate"),
    "no value": ("species A; A -> ; k * A; A = 1;", "k has no value"),
    "no amount": ("species A; A -> ; A;", "A has no initial amount"),
}


@pytest.mark.parametrize("wrong", REFUSED)
def test_what_has_no_counterpart_is_refused_with_the_reason(wrong: str, tmp_path: Path):
    body, words = REFUSED[wrong]
    path = tmp_path / "refused.xml"
    path.write_text(as_sbml(f"model m; {body} end"), encoding="utf-8")
    with pytest.raises(InputError, match=words) as found:
        read_sbml(path, "day")
    assert "refused.xml" in str(found.value)


def test_rules_that_need_each_other_are_refused(tmp_path: Path):
    text = as_sbml(
        "model m; species A; A -> ; x; A = 1; x := z; z := w + 1; w = 2; end"
    )
    path = tmp_path / "circle.xml"
    # Antimony itself refuses to write this.
    path.write_text(text.replace("<ci> w </ci>", "<ci> x </ci>"), encoding="utf-8")
    with pytest.raises(InputError, match="x, z assign to each other"):
        read_sbml(path, "day")


def test_what_is_no_sbml_or_has_no_time_is_said_so(tmp_path: Path):
    path = tmp_path / "text.xml"
    with pytest.raises(InputError, match="no file"):
        read_sbml(path, "day")
    path.write_text("<sbml", encoding="utf-8")
    with pytest.raises(InputError, match=r"line \d+: not SBML"):
        read_sbml(path, "day")
    path.write_text(as_sbml("model m; species A; A -> ; A; A = 1; end"))
    with pytest.raises(InputError, match="does not say its unit of time.*--time-unit"):
        read_sbml(path)


def test_the_command_writes_a_model_that_a_protocol_doses(tmp_path: Path):
    source, target = tmp_path / "lt.xml", tmp_path / "lt_imported.py"
    source.write_text(sbml("BIOMD0000001011"), encoding="utf-8")
    words = ["import-sbml", str(source), "--out", str(target), "--time-unit", "day"]
    wrong = typed(*words, "--receives", "CART=X")
    assert wrong.exit_code == 2
    assert "a species of C, L, B" in " ".join(wrong.output.split())
    said = typed(*words, "--receives", "CART=C")
    assert said.exit_code == 0, said.output
    model = load_model(target)
    shipped = load_model("ball_leontriana2021")
    y = shipped.initial()._replace(cart=jax.numpy.asarray(3e8))
    ours = shipped.vector_field(jax.numpy.ones(()), y, {})
    theirs = model.vector_field(jax.numpy.ones(()), model.State(*y), {})
    np.testing.assert_allclose(np.array(theirs), np.array(ours), rtol=1e-12)
    again = typed(*words)
    assert again.exit_code == 2
    assert "left as it is" in " ".join(again.output.split())
