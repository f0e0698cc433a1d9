"""Profile likelihood against closed forms, quadratics, scipy, and where it is flat."""

import math
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import optimize, stats
from toys import (
    QPCR,
    TOY,
    Level,
    Line,
    Share,
    dataset,
    line_cohort,
    made,
    patient,
    sample,
)

from ckin._types import Scalar
from ckin.errors import InputError
from ckin.inference import Fit, Profile, fit, profile, wanted_profiles
from ckin.inference.density import coordinates, make_density
from ckin.inference.ridge import Place, Ridge, walk
from ckin.library import load_model
from ckin.model import AbstractModel, log_normal, logit_normal, parameter
from ckin.population import pack, population


FALL = 0.5 * float(stats.chi2.ppf(0.95, 1))
TIMES = np.arange(1.0, 9.0)


def noisy(name: str, log_value: np.ndarray, seed: int, sigma: float = 0.4):
    noise = sigma * np.random.default_rng(seed).normal(size=log_value.size)
    values = np.exp(log_value + noise)
    rows = zip(TIMES.tolist(), values.tolist(), strict=True)
    return patient(name, [sample(t, v) for t, v in rows])


def quadratic(precision: np.ndarray, centre: np.ndarray):
    def at(u):
        off = u - centre
        return -0.5 * float(off @ precision @ off), -precision @ off

    return at


def both_limits(surface, top: np.ndarray, index: int, covariance: np.ndarray):
    free = np.ones(top.size, dtype=bool)
    found = []
    for side in (-1, 1):
        ridge = Ridge(surface, index, free, covariance)
        value, slope = surface(top)
        place = Place(top, value, float(slope[index]), True)
        end = top[index] + side * 50.0 * ridge.sd
        found.append(walk(ridge, place, side, end, FALL))
    assert all(side.found for side in found)
    return np.array([side.places[-1].u[index] for side in found])


COVARIANCE = np.array([[4.0, 1.2, -0.9], [1.2, 1.0, 0.2], [-0.9, 0.2, 0.6]])
TOP = np.array([1.0, -2.0, 0.5])


@pytest.mark.parametrize("index", range(3))
def test_of_a_quadratic_the_limits_are_walds(index):
    surface = quadratic(np.linalg.inv(COVARIANCE), TOP)
    reach = math.sqrt(2.0 * FALL * COVARIANCE[index, index])
    found = both_limits(surface, TOP, index, COVARIANCE)
    # A limit may miss the fall by 1e-4 nats: 5e-5 of a standard error.
    np.testing.assert_allclose(found - TOP[index], [-reach, reach], rtol=1e-4)


def test_limits_do_not_depend_on_the_scale_of_any_coordinate():
    """A banana: the other follows in a curve, and the walk starts as if it did not."""

    def banana(u):
        bend = u[1] - 0.5 * u[0] ** 2
        slope = np.array([-u[0] + 4.0 * bend * u[0], -4.0 * bend])
        return -0.5 * u[0] ** 2 - 2.0 * bend**2, slope

    def stretched(u):
        value, slope = banana(u / scale)
        return value, slope / scale

    scale = np.array([100.0, 0.01])
    plain = both_limits(banana, np.zeros(2), 0, np.eye(2))
    wide = both_limits(stretched, np.zeros(2), 0, np.diag(scale**2))
    reach = math.sqrt(2.0 * FALL)
    np.testing.assert_allclose(plain, [-reach, reach], rtol=1e-4)
    np.testing.assert_allclose(wide, 100.0 * plain, rtol=1e-4)


def profile_of(result: Fit, name: str) -> Profile:
    assert result.maximum is not None
    return profile(result.density, result.maximum, name)


@pytest.fixture(scope="module")
def level():
    """One level `a` and one error: everything known on paper."""
    people = [noisy(f"P{i}", 6.0 - 0.1 * TIMES, i) for i in range(3)]
    whole = population(made(Line), QPCR, estimate=("a",), vary=())
    data = dataset(people)
    y = np.array([np.log(s.value) + 0.1 * s.time_d for p in people for s in p.samples])
    return fit(data, whole, method="laplace", chains=1, draws=20), y


def test_the_profile_of_a_mean_is_the_closed_form(level):
    result, y = level
    found = profile_of(result, "a")
    n, spread = y.size, y.var()
    # Fall of ℓ(a) = -n/2 log mean (y - a)².
    delta = -0.5 * n * np.log1p((found.value - y.mean()) ** 2 / spread)
    np.testing.assert_allclose(found.delta, delta, atol=2e-4)
    reach = math.sqrt(spread * math.expm1(2.0 * FALL / n))
    limits = np.array([found.lower.value, found.upper.value])
    assert np.abs(limits - (y.mean() + np.array([-reach, reach]))).max() < 1e-3 * reach
    wald = 1.959964 * math.sqrt(spread / n)
    np.testing.assert_allclose(
        found.wald, [y.mean() - wald, y.mean() + wald], rtol=1e-3
    )
    assert found.lower.note == found.upper.note == ""
    assert found.reasons == ()


def test_the_profile_of_an_sd_is_the_closed_form(level):
    result, y = level
    found = profile_of(result, "sigma_qpcr")
    n, best = y.size, y.std()
    fall = lambda s: n * (math.log(s / best) + 0.5 * (best / s) ** 2 - 0.5) - FALL
    expected = [optimize.brentq(fall, 0.3 * best, best), 0.0]
    expected[1] = optimize.brentq(fall, best, 3.0 * best)
    np.testing.assert_allclose(
        [found.lower.value, found.upper.value], expected, rtol=1e-3
    )
    # Skewed, as an SD is.
    assert expected[1] - best > best - expected[0]


class Rise(AbstractModel):
    """log reading = a + log(1 - exp(-k t)), which may be over by the first day."""

    a: Scalar = parameter(
        6.0, unit="1", doc="log level", source=TOY, prior=dist.Normal(6.0, 2.0),
        estimate=True,
    )  # fmt: skip
    k: Scalar = parameter(
        2.0, unit="1/day", doc="rate", source=TOY, prior=log_normal(2.0, 1.0),
        estimate=True,
    )  # fmt: skip

    State: ClassVar = Level
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    reference: ClassVar = TOY
    one_course: ClassVar = True

    def initial(self):
        return Level(jnp.exp(self.a) * 1e-9)

    def vector_field(self, t, y, inputs):
        return Level(self.k * (jnp.exp(self.a) - y.level))

    def closed_form(self, time_d):
        return Level(jnp.exp(self.a) * -jnp.expm1(-self.k * time_d))

    def quantities(self, y):
        return {"copies_per_ug": y.level}


@pytest.mark.slow
def test_a_rate_too_fast_to_be_seen_has_a_lower_limit_only():
    people = [noisy(f"R{i}", 6.0 + 0.0 * TIMES, 10 + i) for i in range(3)]
    whole = population(made(Rise), QPCR, vary=())
    result = fit(dataset(people), whole, method="laplace", chains=1, draws=20)
    found = profile_of(result, "k")
    y = np.array([[np.log(s.value) for s in p.samples] for p in people])

    def best(k):
        """Over a and σ, which are closed forms given k."""
        return -0.5 * y.size * math.log((y - np.log(-np.expm1(-k * TIMES))).var())

    top = max(best(k) for k in np.geomspace(0.1, 1e3, 4000))
    expected = optimize.brentq(lambda k: top - best(k) - FALL, 0.1, 3.0)
    assert found.lower.value == pytest.approx(expected, rel=1e-3)
    assert math.isnan(found.upper.value)
    assert "no upper limit found" in found.upper.note
    assert "practically not identifiable" in found.upper.note
    # Sought as far as e^5 times the prior's median.
    assert found.value[-1] > 200.0


@pytest.mark.slow
def test_a_product_of_two_tells_neither_and_that_is_said():
    people = [noisy(f"S{i}", np.log(150.0) - 0.05 * TIMES, 20 + i) for i in range(3)]
    whole = population(
        made(Share), QPCR, estimate=("level", "share"), vary=(),
        priors={"level": log_normal(400.0, 0.2), "share": logit_normal(0.3, 0.2)},
    )  # fmt: skip
    result = fit(dataset(people), whole, method="laplace", chains=1, draws=20)
    assert not result.verdict.converged
    found = profile_of(result, "level")
    assert math.isnan(found.lower.value)
    assert math.isnan(found.upper.value)
    assert "no lower limit found" in found.lower.note
    assert "no upper limit found" in found.upper.note
    # The other makes up for it: nothing is lost to rounding and the search's end.
    assert np.abs(found.delta).max() < 1e-3
    assert np.isnan(found.wald).all()


def test_what_is_not_estimated_has_no_profile(level):
    result, _ = level
    with pytest.raises(InputError, match=r"--profile sigma: .*it estimates a, sigma"):
        profile_of(result, "sigma")


def test_a_coordinate_of_its_own_is_the_parameter():
    three = ("tmax", "cmax", "alpha")
    whole = population(load_model("phases_stein2019"), QPCR, correlate=[three])
    density = make_density(whole, pack(line_cohort(2, (3,)), whole))
    found = coordinates(density)
    # Of three correlations one is of no coordinate alone.
    assert set(density.names) - set(found) == {"corr_cmax_alpha"}
    u = 0.7 * np.random.default_rng(0).normal(size=density.n_hyper)
    values = density.constrain(jnp.asarray(u))
    for name, one in found.items():
        place = u[density.names.index(name)]
        assert float(one.forward(place)) == pytest.approx(float(values[name]))
        assert float(one.inverse(values[name])) == pytest.approx(place)


def test_a_correlation_without_a_coordinate_is_refused_with_a_way_out():
    three = ("tmax", "cmax", "alpha")
    whole = population(load_model("phases_stein2019"), QPCR, correlate=[three])
    data = line_cohort(2, (3,))
    with pytest.raises(InputError, match="corr_cmax_alpha: of a block .* in --vary"):
        wanted_profiles(["corr_cmax_alpha"], "laplace", whole, data)
    assert "corr_tmax_alpha" in wanted_profiles(["all"], "laplace", whole, data)
