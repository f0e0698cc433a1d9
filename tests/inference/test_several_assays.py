"""Several assays on one trajectory: one likelihood, one fit, and what M3 is for."""

import dataclasses
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

from ckin._types import Scalar
from ckin.assay import Assay, Counts, bcrabl, flow, qpcr
from ckin.cohort import simulate, with_samples
from ckin.inference import fit
from ckin.inference.density import make_density
from ckin.inference.individual import patient_log_likelihoods
from ckin.model import AbstractModel, parameter, state
from ckin.population import PackError, pack, population
from tests.toys import TOY, made, patient, sample


class Levels(NamedTuple):
    cells: Scalar = state("cells/uL", "CAR-T in blood", log=True)
    leukaemia: Scalar = state("%", "BCR::ABL1 per ABL1", log=True)


class Contraction(AbstractModel):
    """CAR-T and leukaemia that fall off, each at a rate of its own."""

    cells_0: Scalar = parameter(
        20.0, unit="cells/uL", doc="peak", source=TOY,
        prior=dist.LogNormal(np.log(20.0), 1.0), omega=0.6, estimate=True,
    )  # fmt: skip
    loss: Scalar = parameter(
        0.15, unit="1/day", doc="contraction", source=TOY,
        prior=dist.LogNormal(np.log(0.15), 0.7), omega=0.3, estimate=True,
    )  # fmt: skip
    clearance: Scalar = parameter(
        0.2, unit="1/day", doc="loss of leukaemia", source=TOY,
        prior=dist.LogNormal(np.log(0.2), 0.7), omega=0.3, estimate=True,
    )  # fmt: skip

    State: ClassVar = Levels
    units: ClassVar = {
        "copies_per_ug": "copies/ug",
        "car_cells_per_ul": "cells/uL",
        "bcr_abl1_pct": "%",
    }
    receives: ClassVar = {}
    reference: ClassVar = TOY

    def initial(self):
        return Levels(self.cells_0, jnp.array(0.5))

    def vector_field(self, t, y, inputs):
        return Levels(-self.loss * y.cells, -self.clearance * y.leukaemia)

    def closed_form(self, time_d):
        decay = lambda rate: jnp.exp(-rate * time_d)
        return Levels(self.cells_0 * decay(self.loss), 0.5 * decay(self.clearance))

    def quantities(self, y):
        return {
            "copies_per_ug": 100.0 * y.cells,
            "car_cells_per_ul": y.cells,
            "bcr_abl1_pct": y.leukaemia,
        }


ASSAYS = (
    qpcr(),
    flow().with_error(Counts()),
    bcrabl().with_error(Counts()),
)
SIGMA = {"qpcr": 0.4, "flow": 0.3, "bcrabl": 0.5}
DAYS = (2.0, 6.0, 12.0, 20.0, 30.0, 45.0, 60.0)


def whole(*assays: Assay, **options: Any):
    return population(made(Contraction), assays or ASSAYS, **options)


def cohort(seed: int):
    """40 patients read by three assays, two in five readings below their limit."""
    people = [
        patient(f"P{i:02d}", [sample(day, 1.0, limit=60.0) for day in DAYS])
        for i in range(40)
    ]
    people = with_samples(people, "flow", examined=2.0)
    people = with_samples(people, "bcrabl", examined=10_000.0)
    return simulate(jax.random.key(seed), whole(), people, sigma=SIGMA).dataset


def seen_only(trial):
    """The same without what is below a limit: what M1 does."""
    patients = tuple(
        dataclasses.replace(p, samples=tuple(s for s in p.samples if not s.below))
        for p in trial.patients
    )
    return dataclasses.replace(trial, patients=patients)


def fitted(trial):
    return fit(trial, whole(), method="map", seed=0, draws=200)


@pytest.fixture(scope="module")
def trial():
    return cohort(3)


def test_two_in_five_readings_are_below_their_limit(trial):
    below = [s.below for p in trial.patients for s in p.samples]
    assert 0.35 < np.mean(below) < 0.5


def test_the_joint_likelihood_is_that_of_every_assay_on_its_own(trial):
    phi = jnp.tile(whole().typical_phi(), (len(trial.patients), 1)) + 0.1

    def total(*assays):
        chosen = whole(*assays)
        density = make_density(chosen, pack(trial, chosen))
        sigma = jnp.array([SIGMA[assay.name] for assay in assays])
        return patient_log_likelihoods(density, phi, sigma)

    apart = sum(total(assay) for assay in ASSAYS)
    np.testing.assert_allclose(total(*ASSAYS), apart, rtol=1e-12)
    # Nor does it matter which assay is named first.
    np.testing.assert_allclose(total(*ASSAYS[::-1]), apart, rtol=1e-12)


def test_a_counted_assay_needs_to_know_what_was_examined(trial):
    bare = tuple(
        dataclasses.replace(
            p, samples=tuple(dataclasses.replace(s, examined=None) for s in p.samples)
        )
        for p in trial.patients
    )
    with pytest.raises(PackError, match="has no EXAMINED.*--error bcrabl=normal"):
        pack(dataclasses.replace(trial, patients=bare), whole())


def test_a_unit_the_model_does_not_predict_is_refused(trial):
    ratio = trial.in_unit("bcrabl", "ratio")
    with pytest.raises(PackError, match="bcrabl in ratio, and .* predicts %"):
        pack(ratio, whole())
    again = ratio.in_unit("bcrabl", "%")
    for before, after in zip(trial.patients, again.patients, strict=True):
        np.testing.assert_allclose(
            [s.value for s in after.samples], [s.value for s in before.samples]
        )


TRUTH = {"cells_0": 20.0, "loss": 0.15, "clearance": 0.2}


def scores(found) -> dict[str, float]:
    """How many SDs of its logarithm each number is from the truth."""
    truth = TRUTH | {f"sigma_{name}": value for name, value in SIGMA.items()}
    draws = {name: np.log(found.posterior["posterior"][name].values) for name in truth}
    return {
        name: float((draws[name].mean() - np.log(value)) / draws[name].std())
        for name, value in truth.items()
    }


def typical(found, name: str) -> float:
    return float(np.exp(np.log(found.posterior["posterior"][name].values).mean()))


@pytest.mark.slow
def test_three_assays_together_recover_the_truth(trial):
    found = scores(fitted(trial))
    # Six numbers: one of them beyond 3.3 SD happens in 1 of 170 cohorts.
    assert max(map(abs, found.values())) < 3.3, found


@pytest.mark.slow
def test_dropping_what_is_below_a_limit_makes_cells_last_longer_than_they_do():
    """Ten cohorts: the mean error of M3 is noise, that of dropping is not."""
    error = {"M3": [], "dropped": []}
    for seed in range(10):
        trial = cohort(seed)
        for how, data in (("M3", trial), ("dropped", seen_only(trial))):
            found = fitted(data)
            error[how].append([np.log(typical(found, n) / v) for n, v in TRUTH.items()])
    mean = {how: np.mean(each, axis=0) for how, each in error.items()}
    # SD of the mean of ten, by M3 itself.
    noise = np.std(error["M3"], axis=0) / np.sqrt(10)
    assert (np.abs(mean["M3"]) < 4.0 * noise + 0.01).all(), (mean, noise)
    assert (mean["dropped"][1:] < -4.0 * noise[1:]).all(), (mean, noise)
    assert (mean["dropped"][1:] < -0.05).all(), (mean, noise)
