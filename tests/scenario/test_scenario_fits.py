"""Scenarios on draws of a posterior."""

import dataclasses
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from questions import ARMS, LINEAR, OUTCOMES, scenario
from toys import dataset, patient, sample
from typed import rows_of, typed

from ckin.assay import qpcr
from ckin.dataset import Change, read_dataset, write_dataset
from ckin.errors import InputError
from ckin.library import load_model
from ckin.population import log_readings, pack, population
from ckin.reopen import Reopened, reopen
from ckin.scenario import PeopleSpec, compare
from ckin.scenario import people as people_of_a_scenario


END = tuple(outcome for outcome in OUTCOMES if outcome.name in ("end", "auc28"))
DRAWS = 12


def run(*args):
    result = typed(*args)
    assert result.exit_code in (0, 1), result.output
    return result


@pytest.fixture
def fit(monkeypatch):
    """A fit folder as `reopen` gives it, without the minutes of a fit."""
    monkeypatch.setattr(people_of_a_scenario, "reopen", lambda *_: OPENED)
    return Path("fit")


def opened() -> Reopened:
    """Draws of six patients about typical patients that differ between draws."""
    whole = population(load_model(LINEAR), qpcr())
    rng = np.random.default_rng(5)
    typical = np.log(0.1) + 0.1 * rng.standard_normal((DRAWS, 1))
    omega = 0.2 * np.exp(0.1 * rng.standard_normal((DRAWS, 1)))
    eta = rng.standard_normal((6, 1))
    patients = [patient(f"V{n + 1}", [sample(7.0, 50.0)]) for n in range(6)]
    data = dataset(patients)
    return Reopened(
        dataset=data,
        population=whole,
        data=pack(data, whole),
        phi=typical[:, None] + omega[:, None] * eta,
        typical=typical,
        omega=omega,
        sigma=np.full(DRAWS, 0.4),
        manifest={"model": "linear", "synthetic_data": True, "converged": False},
    )


OPENED = opened()


def asked(fit, **people):
    spec = PeopleSpec(source="fit", fit=fit, draws=DRAWS, **people)
    return scenario(ARMS[:3], people=spec, outcomes=END)


def test_new_patients_are_drawn_from_the_posterior(fit):
    result = compare(asked(fit, patients=7))
    people = result.outcomes.people
    assert people.shape == (DRAWS, 7)
    np.testing.assert_array_equal(people.typical, OPENED.typical)
    # Patients of one draw lie about its typical patient by its own spread.
    eta = (people.phi - people.typical[:, None]) / OPENED.omega[:, None]
    np.testing.assert_allclose(eta - eta[:1], 0.0, atol=1e-12)
    assert people.uncertainty == ("posterior", "between-patient")
    assert "SYNTHETIC" in result.label
    assert any("DID NOT CONVERGE" in note for note in result.outcomes.notes)
    assert result.arm_rows[0]["low"] < result.arm_rows[0]["high"]


def test_fitted_patients_are_followed_by_their_own_draws(fit):
    result = compare(asked(fit, patients="fitted"))
    np.testing.assert_array_equal(result.outcomes.people.phi, OPENED.phi)
    ids = [patient.id for patient in OPENED.dataset.patients]
    assert result.outcomes.people.ids == tuple(ids)
    alone = compare(asked(fit, patient=ids[2]))
    assert alone.outcomes.people.shape == (DRAWS, 1)
    np.testing.assert_allclose(
        alone.outcomes.of("one", "end")[:, 0],
        result.outcomes.of("one", "end")[:, 2],
        # Other lanes: XLA may round the last digit otherwise.
        rtol=1e-12,
    )


def test_an_arm_changes_a_typical_value_that_was_estimated(fit):
    arm = ARMS[3]  # a loss of 0.05
    result = compare(
        scenario(
            (ARMS[0], arm),
            people=PeopleSpec(source="fit", fit=fit, draws=DRAWS, patients=4),
            outcomes=END,
        )
    )
    people = result.outcomes.people
    at = people.whole.estimate.index("loss")
    loss = np.exp(people.phi_with(arm.values)[..., at])
    spread = people.phi[..., at] - people.typical[:, None, at]
    np.testing.assert_allclose(loss, 0.05 * np.exp(spread), rtol=1e-12)


@pytest.mark.parametrize(
    ("people", "words"),
    [
        ({"patient": "V9"}, "has V1, V2"),
        ({"values": {"loss": 1.0}}, "which the fit estimated"),
    ],
)
def test_what_a_fit_does_not_have_is_refused(fit, people, words):
    with pytest.raises(InputError, match=words):
        compare(asked(fit, **people))


def test_a_folder_that_is_no_fit_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a fit folder"):
        compare(asked(tmp_path))


def test_another_model_than_the_fits_is_refused(fit):
    wrong = scenario(
        ARMS[:1], model="feeding_szcart01", people=asked(fit).people, outcomes=END
    )
    with pytest.raises(InputError, match="is a fit of linear"):
        compare(wrong)


@pytest.mark.slow
def test_the_command_takes_a_fit(tmp_path):
    data, fit = tmp_path / "virtual.csv", tmp_path / "fit"
    same = ("--model", LINEAR)
    plan = ("--protocol", "szcart01-cart1", "--n", 6, "--horizon", 60)
    run("simulate", *same, *plan, "--out", data)
    few = ("--method", "map", "--chains", 2, "--draws", 20)
    run("fit", data, *same, *few, "--out", fit)
    found = reopen(fit, 40)
    rows = {row["parameter"]: row for row in rows_of(fit / "summary.csv")}
    for name, draws in (
        ("loss", np.exp(found.typical[:, 0])),
        ("omega_loss", found.omega[:, 0]),
        ("sigma_qpcr", found.sigma),
    ):
        assert draws.mean() == pytest.approx(float(rows[name]["mean"]))
    file = tmp_path / "mine.toml"
    file.write_text(
        f"""
name = "mine"
title = "twice the dose"
model = "{LINEAR}"
follow_d = 60
[population]
source = "fit"
draws = 5
patients = "fitted"
[arms.one]
protocol = "szcart01-cart1"
[arms.double]
protocol = "szcart01-cart1"
with_dose = [{{ product = "CART", cells_per_kg = 10e6 }}]
[outcomes.auc]
metric = "AUC028"
""",
        encoding="utf-8",
    )
    missing = typed("compare", file, "--out", tmp_path / "a")
    assert missing.exit_code == 2
    assert "--fit FOLDER" in missing.output
    result = run("compare", file, "--fit", fit, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text("utf-8"))
    assert manifest["synthetic_data"] is True
    assert "posterior of linear" in manifest["basis"]


@pytest.mark.slow
def test_the_command_takes_a_fit_whose_cycles_differ(tmp_path):
    data, fit = tmp_path / "virtual.csv", tmp_path / "fit"
    same = ("--model", LINEAR)
    plan = ("--protocol", "szcart01-two-cycles", "--n", 6, "--horizon", 90)
    run("simulate", *same, *plan, "--out", data)
    varied = ("--iov", "loss", "--eta", "student_t")
    few = ("--method", "map", "--chains", 2, "--draws", 20)
    run("fit", data, *same, *varied, *few, "--out", fit)
    file = tmp_path / "mine.toml"
    file.write_text(
        f"""
name = "mine"
title = "more cycles"
model = "{LINEAR}"
follow_d = 240
[population]
source = "fit"
draws = 20
patients = 30
[arms.two]
protocol = "szcart01-two-cycles"
[arms.four]
protocol = "szcart01-high"
[outcomes.auc]
metric = "AUC"
""",
        encoding="utf-8",
    )
    found = run("compare", file, "--fit", fit, "--out", tmp_path / "new")
    assert "every cycle of a virtual patient is drawn anew" in found.output
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("patients = 30", 'patients = "fitted"'), "utf-8")
    found = run("compare", file, "--fit", fit, "--out", tmp_path / "same")
    assert "no patient had cycle" in " ".join(found.output.split())


# Days on which six patients are given a steroid.
ONSETS = (5.75, 6.0, 5.5, 6.5, 5.25, 6.0)


@pytest.mark.slow
def test_a_fit_with_a_covariate_that_changes_goes_everywhere(tmp_path):
    data, fit = tmp_path / "virtual.csv", tmp_path / "fit"
    same = ("--model", LINEAR)
    plan = ("--protocol", "szcart01-cart1", "--n", 6, "--horizon", 60)
    run("simulate", *same, *plan, "--out", data)
    drawn = read_dataset(data)
    changed = [
        dataclasses.replace(
            one,
            covariates={**one.covariates, "STEROID": 0.0},
            changes={"STEROID": (Change(day, 1.0, 4.0), Change(day + 9, 0.0, 14.0))},
        )
        for one, day in zip(drawn.patients, ONSETS, strict=True)
    ]
    write_dataset(dataclasses.replace(drawn, patients=tuple(changed)), data)
    acts = ("--covariate", "loss~exp(STEROID@0)", "--carry", "backward")
    few = ("--method", "map", "--chains", 2, "--draws", 20)
    run("fit", data, *same, *acts, *few, "--out", fit)
    found = reopen(fit, 10)
    (effect,) = found.population.changing
    assert effect.carry == "backward"
    # Since the row before: on day 4, as the first change has it.
    assert np.all(np.any(np.asarray(found.data.events.time_d) == 4.0, axis=1))
    read, ok = log_readings(found.population, jnp.asarray(found.phi[0]), found.data)
    beta = found.phi[0, :, -1] / effect.scale
    assert ok.all()
    assert np.ptp(beta) == 0.0
    days = np.asarray(found.data.time_d)
    on = np.clip(days - 4.0, 0.0, 10.0)
    loss = np.exp(found.phi[0, :, :1])
    kg = np.array([p.covariates["WT"] for p in found.dataset.patients])[:, None]
    given = [p.doses[0].total(w) for p, w in zip(changed, kg[:, 0], strict=True)]
    cells = np.array(given)[:, None]
    exact = (
        np.log(1e-6 * 60.0 * cells / kg)
        - loss * (days - on)
        - loss * np.exp(beta[:, None]) * on
    )
    # What the grid of a fit may err by.
    np.testing.assert_allclose(read, exact, atol=1e-3)
    run("metrics", fit, "--out", tmp_path / "metrics.csv")
    run("forecast", fit, data, "--until", 50, "--out", tmp_path / "foreseen")
    file = tmp_path / "mine.toml"
    file.write_text(
        f"""
name = "mine"
title = "once"
model = "{LINEAR}"
follow_d = 60
[population]
source = "fit"
draws = 5
patients = "fitted"
[arms.one]
protocol = "szcart01-cart1"
[outcomes.auc]
metric = "AUC"
""",
        encoding="utf-8",
    )
    told = run("compare", file, "--fit", fit, "--out", tmp_path / "out").output
    assert "STEROID stay as at the first event of each patient" in " ".join(
        told.split()
    )
