"""Information of a design: a published table, a linear model on paper, laws."""

from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from toys import HEAVY, QPCR, TOY, Line, dataset, made, patient, sample

from ckin._types import Scalar
from ckin.design import as_design, information, point, what_is_told
from ckin.design.information import Information
from ckin.inference.density import make_density
from ckin.model import AbstractModel, parameter, state
from ckin.population import pack, population


DAYS = (1.0, 3.0, 7.0, 14.0, 28.0)
OMEGA, SIGMA = {"a": 0.8, "b": 0.1}, {"qpcr": 0.4}


def posed(days=DAYS, n=6, assay=QPCR, limit=None, model: type = Line):
    people = [
        patient(f"P{i}", [sample(float(d), 1.0, limit=limit) for d in days])
        for i in range(n)
    ]
    whole = population(made(model), assay)
    return make_density(whole, pack(as_design(dataset(people)), whole))


def told(density, **options) -> Information:
    u = point(density, omega=OMEGA, sigma=SIGMA)
    return information(density, u, jax.random.key(0), **options)


@pytest.fixture(scope="module")
def usual():
    return told(posed())


def block(info, *names):
    at = [info.names.index(name) for name in names]
    return info.matrix[np.ix_(at, at)]


# A one-compartment model with first-order absorption, the warfarin design that PopED
# ships as an example (ex.2.a): 32 people, 70 mg, 8 samples, proportional error 0.1.
class Depot(NamedTuple):
    level: Scalar = state("copies/ug", "concentration")


def rate(value, omega):
    prior = dist.LogNormal(np.log(value), 10.0)
    return parameter(
        value, unit="1", doc=TOY, source=TOY, prior=prior, omega=omega, estimate=True
    )


class Warfarin(AbstractModel):
    CL: Scalar = rate(0.15, 0.07**0.5)
    V: Scalar = rate(8.0, 0.02**0.5)
    KA: Scalar = rate(1.0, 0.6**0.5)

    State: ClassVar = Depot
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    receives: ClassVar = {}
    reference: ClassVar = TOY

    def initial(self):
        return Depot(jnp.zeros(()))

    def vector_field(self, t, y, inputs):
        return Depot(jnp.zeros(()))

    def closed_form(self, time_d):
        k = self.CL / self.V
        decay = jnp.exp(-k * time_d) - jnp.exp(-self.KA * time_d)
        return Depot(70.0 * self.KA / (self.V * (self.KA - k)) * decay)

    def quantities(self, y):
        return {"copies_per_ug": y.level}


def test_the_warfarin_design_has_the_standard_errors_that_poped_prints():
    """PopED 0.7.0, `evaluate_design` of ex.2.a with the reduced information.

    RSE%: CL 4.738266, V 2.756206, KA 13.925829; of the variances d_CL 25.627205, d_V
    30.344316, d_KA 25.777327 and sigma 11.170784. An SD has half the RSE of a variance.
    On the log scale a proportional error is a constant, so the two are the same sums.
    """
    density = posed((0.5, 1, 2, 6, 24, 36, 72, 120), n=32, model=Warfarin)
    u = point(density, omega={"CL": 0.07**0.5, "V": 0.02**0.5, "KA": 0.6**0.5},
              sigma={"qpcr": 0.1})  # fmt: skip
    found = information(density, u, jax.random.key(0), first_order=True)
    printed = [4.738266, 2.756206, 13.925829]
    printed += [x / 2 for x in (25.627205, 30.344316, 25.777327, 11.170784)]
    # Printed to seven digits; the error SD of the prior medians to as many.
    np.testing.assert_allclose(100 * found.standard_errors, printed, rtol=1e-6)


def test_a_linear_model_is_told_what_least_squares_says(usual):
    design = np.column_stack([np.ones(len(DAYS)), DAYS])
    spread = design @ np.diag([0.8**2, 0.1**2]) @ design.T + 0.4**2 * np.eye(len(DAYS))
    expected = 6 * design.T @ np.linalg.solve(spread, design)
    # Everything is linear, so it does not matter where patients are linearised.
    np.testing.assert_allclose(block(usual, "a", "b"), expected, rtol=1e-8)


def test_information_on_spreads_is_the_curvature_of_the_normal_likelihood(usual):
    """Against the expected Hessian of a normal likelihood, by its own derivatives."""
    design = jnp.column_stack([jnp.ones(len(DAYS)), jnp.array(DAYS)])

    def covariance(log_spreads):
        a, b, sigma = jnp.exp(2 * log_spreads)
        between = design @ jnp.diag(jnp.array([a, b])) @ design.T
        return between + sigma * jnp.eye(len(DAYS))

    at = jnp.log(jnp.array([0.8, 0.1, 0.4]))
    true = covariance(at)

    def expected_loss(log_spreads):
        v = covariance(log_spreads)
        return 0.5 * (jnp.linalg.slogdet(v)[1] + jnp.trace(jnp.linalg.solve(v, true)))

    expected = 6 * jax.hessian(expected_loss)(at)
    found = block(usual, "omega_a", "omega_b", "sigma_qpcr")
    np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_twice_as_many_patients_tell_twice_as_much(usual):
    twice = told(posed(n=12))
    np.testing.assert_allclose(twice.matrix, 2 * usual.matrix, rtol=1e-8)
    assert twice.eta_shrinkage == pytest.approx(usual.eta_shrinkage)


def test_one_more_day_never_tells_less(usual):
    more = told(posed((*DAYS, 60.0)))
    gained = np.linalg.eigvalsh(more.matrix - usual.matrix)
    assert gained.min() > -1e-8 * gained.max()
    assert (more.contraction >= usual.contraction - 1e-12).all()


def test_readings_under_a_limit_tell_less_and_far_under_it_nothing(usual):
    typical = np.exp(6.0 - 0.1 * 14.0)
    part, none = told(posed(limit=typical)), told(posed(limit=1e12))
    assert (part.contraction <= usual.contraction + 1e-9).all()
    assert part.contraction[0] < usual.contraction[0]
    np.testing.assert_allclose(none.matrix, 0.0, atol=1e-8)
    assert not np.isfinite(none.standard_errors).any()
    np.testing.assert_allclose(none.contraction, 0.0, atol=1e-8)
    assert len(none.weak_directions()) == len(none.names)


def test_heavy_tails_tell_less_by_a_known_share():
    """A Student-t reading with ν = 4 tells (ν + 1)/(ν + 3) = 5/7 of a normal one."""
    density = posed(assay=HEAVY, n=40)
    u = point(density, omega=OMEGA, sigma=SIGMA)
    found = what_is_told(density, u, jax.random.key(1)).told
    # 64 draws of 200 readings: the mean of a bounded second derivative, to 2%.
    assert float(found.mean()) * 0.4**2 == pytest.approx(5 / 7, rel=0.03)


def test_weights_are_repeated_samples():
    density = posed()
    u = point(density, omega=OMEGA, sigma=SIGMA)
    each = what_is_told(density, u, jax.random.key(0))
    doubled = told(posed((*DAYS[:2], DAYS[2], DAYS[2], *DAYS[3:])))
    weights = jnp.array([[1.0, 1.0, 2.0, 1.0, 1.0]])
    found, _ = eqx.filter_jit(type(each).matrix)(each, weights)
    at = [density.names.index(name) for name in ("a", "b", "omega_a", "omega_b")]
    # Of σ it is the number of readings that counts, and a weight is not one more.
    np.testing.assert_allclose(
        np.asarray(found)[np.ix_(at, at)], doubled.matrix[np.ix_(at, at)], rtol=1e-8
    )


def test_a_direction_that_nothing_tells_is_named():
    """One day tells a + b t and not how the two share it."""
    found = told(posed((10.0,)))
    loads = [d for d in found.weak_directions() if {"a", "b"} & set(d)]
    assert loads
    assert found.contraction[found.names.index("omega_a")] < 0.3
