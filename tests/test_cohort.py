import dataclasses

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ckin.assay import FLOOR, Assay, Combined, qpcr
from ckin.cohort import (
    NADIR_D,
    SAMPLE_DAYS,
    WEIGHT_MEDIAN_KG,
    WEIGHT_SD_LOG,
    Simulated,
    simulate,
    virtual_patients,
)
from ckin.dataset import Dataset, Patient
from ckin.errors import InputError
from ckin.library import load_model, load_protocol
from ckin.population import CovariateEffect, population
from ckin.solve import Solver


N, MANY = 4, 400
FEW_DAYS = (0.0, 1.0, 4.0, 7.0, 14.0, 28.0)
TRIAL = load_protocol("szcart01-high")
TWO_CYCLES = TRIAL.repeated(2).named("two")
ONE_CYCLE = TRIAL.repeated(1).named("one")

STEIN = population(load_model("phases_stein2019"), qpcr())
FLAGSHIP = population(load_model("feeding_szcart01"), qpcr())
BACKBONE = population(load_model("feeding_szcart01"), qpcr(target="backbone"))


def few(key, protocol, n: int = N, **words) -> tuple[Patient, ...]:
    return virtual_patients(
        key, protocol, n, sample_days=FEW_DAYS, follow_up_days=(91.0, 365.0), **words
    )


def values(dataset: Dataset) -> list[float]:
    return [s.value for p in dataset.patients for s in (*p.baseline, *p.samples)]


def equal(one: Simulated, other: Simulated) -> bool:
    return one.dataset == other.dataset and np.array_equal(one.phi, other.phi)


@pytest.fixture(scope="module")
def seed() -> jax.Array:
    return jax.random.key(7)


@pytest.fixture(scope="module")
def people(seed) -> tuple[Patient, ...]:
    return few(seed, TWO_CYCLES)


@pytest.fixture(scope="module")
def read(seed, people) -> Simulated:
    """The flagship, read by qPCR of the CAR."""
    return simulate(seed, FLAGSHIP, people, sigma=0.4)


@pytest.fixture(scope="module")
def many(seed) -> Simulated:
    """A model in closed form, without limits."""
    patients = few(seed, ONE_CYCLE, MANY, limit=None)
    return simulate(seed, STEIN, patients, sigma=0.5)


# Virtual patients


def test_doses_are_the_protocol_at_the_patients_weight(people):
    for patient in people:
        for dose, planned in zip(patient.doses, TWO_CYCLES.doses, strict=True):
            assert dose.cells == pytest.approx(planned.total(patient.covariates["WT"]))
            assert (dose.time_d, dose.product) == (planned.time_d, planned.product)
        assert patient.lymphodepletion_d == TWO_CYCLES.lymphodepletion_d


def test_weights_have_the_stated_median_and_spread(many):
    found = [float(p.covariates["WT"]) for p in many.dataset.patients]
    logs = np.log(np.array(found) / WEIGHT_MEDIAN_KG)
    # Five standard errors, here and below.
    assert abs(np.mean(logs)) < 5 * WEIGHT_SD_LOG / np.sqrt(MANY)
    assert abs(np.std(logs) / WEIGHT_SD_LOG - 1) < 5 / np.sqrt(2 * MANY)


def test_growing_a_cohort_keeps_its_patients(seed, people):
    def but_for_ids(patients):
        return [dataclasses.replace(patient, id="") for patient in patients]

    larger = few(seed, TWO_CYCLES, 12)
    assert but_for_ids(larger[:N]) == but_for_ids(people)
    small = simulate(seed, STEIN, few(seed, ONE_CYCLE), sigma=0.4)
    large = simulate(seed, STEIN, few(seed, ONE_CYCLE, 12), sigma=0.4)
    np.testing.assert_array_equal(large.phi[:N], small.phi)


def test_samples_of_a_cycle_end_before_the_next_is_prepared(seed):
    patients = virtual_patients(seed, load_protocol("szcart01-high"), 1)
    times = {s.time_d: s.cycle for s in patients[0].samples}
    assert [t for t, cycle in times.items() if cycle == 2] == [
        56.0 + day for day in SAMPLE_DAYS
    ]
    close = TRIAL.repeated(2, every_d=30.0)
    (patient,) = virtual_patients(seed, close, 1)
    first = [s.time_d for s in (*patient.baseline, *patient.samples) if s.cycle == 1]
    # Day 28 is after the lymphodepletion of day 27.
    assert first == [day for day in SAMPLE_DAYS if day < 27]


def test_what_is_drawn_before_the_first_infusion_is_baseline(people):
    for patient in people:
        assert [s.time_d for s in patient.baseline] == [0.0]
        assert all(s.time_d > 0 for s in patient.samples)


def test_limits_are_higher_while_there_is_little_dna(seed):
    low, high = [], []
    for patient in few(seed, TWO_CYCLES, 200):
        for sample in (*patient.baseline, *patient.samples):
            since = [sample.time_d - t for t in patient.lymphodepletion_d]
            near = any(0 <= days <= NADIR_D for days in since)
            (high if near else low).append(sample.limit)
    # 200 patients × 6 samples or more: 1% of the median either side.
    assert np.median(low) == pytest.approx(50.0, rel=0.05)
    assert np.median(high) == pytest.approx(150.0, rel=0.05)


# Readings


def test_the_same_key_gives_the_same_data(seed, people, read):
    assert equal(simulate(seed, FLAGSHIP, people, sigma=0.4), read)
    other = simulate(jax.random.key(8), FLAGSHIP, people, sigma=0.4)
    assert not equal(other, read)
    assert read.dataset.synthetic
    assert not read.failed


def test_another_protocol_treats_the_same_people(seed, read):
    low = TWO_CYCLES.with_dose("FTC", 2e6)
    simulated = simulate(seed, FLAGSHIP, few(seed, low), sigma=0.4)
    assert not np.array_equal(values(simulated.dataset), values(read.dataset))
    np.testing.assert_array_equal(simulated.phi, read.phi)


def test_without_error_and_limits_a_reading_is_the_prediction(seed):
    patients = few(seed, TWO_CYCLES, limit=None)
    exact = simulate(seed, FLAGSHIP, patients, sigma=0.0)
    np.testing.assert_array_equal(values(exact.dataset), np.concatenate(exact.ipred))
    # No CAR-T before the first infusion.
    assert all(ipred[0] == pytest.approx(FLOOR) for ipred in exact.ipred)
    assert all(np.all(ipred[1:] > FLOOR) for ipred in exact.ipred)


def test_a_missed_visit_changes_nobody_else(seed):
    patients = few(seed, ONE_CYCLE)
    missed = dataclasses.replace(patients[0], samples=patients[0].samples[:3])
    whole = simulate(seed, STEIN, patients, sigma=0.5)
    ragged = simulate(seed, STEIN, (missed, *patients[1:]), sigma=0.5)
    assert ragged.dataset.patients[1:] == whole.dataset.patients[1:]
    assert ragged.dataset.patients[0].samples == whole.dataset.patients[0].samples[:3]
    assert [len(each) for each in ragged.ipred] == [4, *map(len, whole.ipred[1:])]


def test_a_sample_is_below_exactly_when_it_is_under_its_own_limit(seed, people, read):
    bare = tuple(
        dataclasses.replace(
            p,
            baseline=tuple(dataclasses.replace(s, limit=None) for s in p.baseline),
            samples=tuple(dataclasses.replace(s, limit=None) for s in p.samples),
        )
        for p in people
    )
    free = values(simulate(seed, FLAGSHIP, bare, sigma=0.4).dataset)
    rows = [s for p in read.dataset.patients for s in (*p.baseline, *p.samples)]
    for sample, value in zip(rows, free, strict=True):
        assert sample.below == (value < sample.limit)
        assert sample.value == (sample.limit if sample.below else value)
    assert any(s.below for s in rows)
    assert not all(s.below for s in rows)


def test_an_assay_of_the_backbone_counts_feeding_cells_too(seed, people, read):
    backbone = simulate(seed, BACKBONE, people, sigma=0.4)
    fed = 0
    for patient, car, both in zip(people, read.ipred, backbone.ipred, strict=True):
        # Solver tolerance 1e-8 a step.
        assert np.all(both >= car * (1 - 1e-6))
        cycle = [s.cycle for s in (*patient.baseline, *patient.samples)]
        ratio = both / car
        np.testing.assert_allclose(ratio[np.array(cycle) == 1], 1.0, rtol=1e-6)
        fed += bool(np.max(ratio) > 1.01)
    assert fed == N


def test_patients_spread_as_omega_says(many):
    where = list(STEIN.vary_index)
    eta = (many.phi - np.asarray(STEIN.typical_phi()))[:, where] / STEIN.omega
    assert np.max(np.abs(np.mean(eta, axis=0))) < 5 / np.sqrt(MANY)
    assert np.max(np.abs(np.std(eta, axis=0) - 1)) < 5 / np.sqrt(2 * MANY)
    own = np.stack([many.parameters[name] for name in STEIN.estimate], axis=-1)
    np.testing.assert_allclose(STEIN.to_phi(jnp.asarray(own)), many.phi, rtol=1e-9)


def test_errors_spread_as_sigma_says(many):
    errors = np.log(values(many.dataset)) - np.log(np.concatenate(many.ipred))
    n = errors.size
    assert abs(np.mean(errors)) < 5 * 0.5 / np.sqrt(n)
    assert abs(np.std(errors) / 0.5 - 1) < 5 / np.sqrt(2 * n)


def test_a_covariate_effect_moves_the_patients_by_beta(seed):
    effect = CovariateEffect(STEIN.estimate[0], "WT", center=60.0)
    heavier = population(STEIN.model, STEIN.assay, covariates=(effect,))
    patients = few(seed, ONE_CYCLE)
    plain = simulate(seed, heavier, patients, sigma=0.5)
    moved = simulate(seed, heavier, patients, sigma=0.5, beta={effect.name: 0.75})
    by = [0.75 * np.log(float(p.covariates["WT"]) / 60.0) for p in patients]
    np.testing.assert_allclose(moved.phi[:, 0] - plain.phi[:, 0], by, rtol=1e-9)


def test_a_patient_who_cannot_be_solved_is_listed_and_counted(seed):
    patients = few(seed, ONE_CYCLE)
    stuck = Solver(method=dfx.Tsit5(), max_steps=1)
    simulated = simulate(seed, STEIN, patients, sigma=0.4, solver=stuck)
    assert list(simulated.failed) == [patient.id for patient in patients]
    assert set(simulated.failed["V1"]) == set(STEIN.estimate)
    assert simulated.dataset.patients == ()
    assert simulated.phi.shape == (0, len(STEIN.estimate))
    assert any("4 patients could not be solved" in n for n in simulated.dataset.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"assay": "flow"}, "samples of flow; simulating qpcr"),
        ({"sample_days": (), "follow_up_days": ()}, "no samples"),
    ],
)
def test_a_sampling_plan_that_is_not_the_assays_is_refused(seed, change, words):
    patients = virtual_patients(seed, ONE_CYCLE, 1, **change)
    with pytest.raises(InputError, match=words):
        simulate(seed, STEIN, patients, sigma=0.4)


def test_a_coefficient_of_no_effect_is_refused(seed):
    with pytest.raises(InputError, match="no covariate effect.*it has none"):
        simulate(seed, STEIN, few(seed, ONE_CYCLE), sigma=0.4, beta={"beta_x": 1.0})


def test_a_combined_error_is_drawn_with_both_its_parts(seed):
    """Where little is read the SD is the additive part, where much is read σ f."""
    assay = Assay("qpcr", "copies_per_ug", Combined())
    whole = population(load_model("phases_stein2019"), assay)
    patients = few(seed, ONE_CYCLE, 100, limit=None)
    sigma = {"qpcr": 0.2, "add_qpcr": 30.0}
    made = simulate(seed, whole, patients, sigma=sigma)
    off = []
    for person, exact in zip(made.dataset.patients, made.ipred, strict=True):
        read = np.array([s.value for s in (*person.baseline, *person.samples)])
        # A reading is never below nothing: those that could be are left out.
        wide = np.sqrt((0.2 * exact) ** 2 + 30.0**2)
        off += ((read - exact) / wide)[exact > 4.0 * wide].tolist()
    assert len(off) > 300
    # SD of so many standard normal numbers: 1 ± 1/√(2 n), four times over.
    assert np.std(off) == pytest.approx(1.0, abs=4.0 / np.sqrt(2 * len(off)))
    with pytest.raises(InputError, match="add_qpcr"):
        simulate(seed, whole, patients[:2], sigma=0.2)
