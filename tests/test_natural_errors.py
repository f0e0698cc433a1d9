"""Errors on the scale of readings: against scipy, limits included, and draws."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from toys import dataset, patient, sample

from ckin.assay import (
    ERRORS,
    FLOOR,
    Additive,
    Assay,
    Combined,
    Counts,
    Normal,
    Partitions,
    Proportional,
    Sampled,
)
from ckin.errors import InputError


# σ of each law, and its additive part where it has one.
SIGMA, PART = 0.3, 0.7
LAWS = {"additive": Additive(), "proportional": Proportional(), "combined": Combined()}
SD = {
    "additive": lambda f: SIGMA + 0.0 * f,
    "proportional": lambda f: SIGMA * f,
    "combined": lambda f: np.hypot(SIGMA * f, PART),
}
READINGS = np.array([0.4, 1.0, 5.0, 20.0])
VALUES = np.array([0.0, 1.3, 4.1, 26.0])
SAMPLED = Sampled(additive=PART)


def told(law, reading, value, below):
    value = np.maximum(value, FLOOR)
    found = law.log_likelihood(jnp.log(reading), jnp.log(value), below, SIGMA, SAMPLED)
    return np.asarray(found)


@pytest.mark.parametrize("name", LAWS)
def test_a_reading_has_the_normal_density_of_its_own_sd(name):
    expected = stats.norm.logpdf(VALUES, READINGS, SD[name](READINGS))
    found = told(LAWS[name], READINGS, VALUES, False)
    # A reading of 0 is kept as 1e-12, which moves nothing that double precision sees.
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("name", LAWS)
@pytest.mark.parametrize("limit", [0.01, 1.0, 30.0])
def test_below_its_limit_it_has_the_probability_of_lying_there(name, limit):
    expected = stats.norm.logcdf(limit, READINGS, SD[name](READINGS))
    found = told(LAWS[name], READINGS, np.full(4, limit), True)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("name", LAWS)
def test_draws_have_the_density_that_the_likelihood_says(name):
    n = 20_000
    where = jnp.full(n, jnp.log(8.0))
    key = jax.random.key(0)
    drawn = np.exp(LAWS[name].draw(key, where, SIGMA, SAMPLED))
    # 8 is 3 SDs of the widest of them above 0, so hardly any draw is cut at 0.
    found = stats.kstest(drawn, stats.norm(8.0, SD[name](8.0)).cdf)
    assert found.pvalue > 1e-3


@pytest.mark.parametrize("below", [False, True])
@pytest.mark.parametrize("name", LAWS)
def test_its_slope_and_curvature_are_those_of_numbers_even_far_off(name, below):
    """A search goes where readings are predicted wrong by decades."""
    at = lambda x: LAWS[name].log_likelihood(x, jnp.log(2.0), below, SIGMA, SAMPLED)
    for x in (-20.0, 0.0, 8.0):
        assert jnp.isfinite(jax.grad(at)(x)), x
        assert jnp.isfinite(jax.grad(jax.grad(at))(x)), x


def test_a_combined_error_is_either_of_the_others_where_one_part_is_nothing():
    nearly = 1e-9
    only = told(Proportional(), READINGS, VALUES + 0.1, False)
    both = Combined().log_likelihood(
        jnp.log(READINGS), jnp.log(VALUES + 0.1), False, SIGMA, Sampled(additive=nearly)
    )
    np.testing.assert_allclose(both, only, rtol=1e-9)
    only = told(Additive(), READINGS, VALUES, False)
    both = Combined().log_likelihood(
        jnp.log(READINGS),
        jnp.log(np.maximum(VALUES, FLOOR)),
        False,
        nearly,
        Sampled(additive=SIGMA),
    )
    np.testing.assert_allclose(both, only, rtol=1e-9)


@pytest.mark.parametrize(
    "law", [Normal(), *LAWS.values(), Counts(), Partitions()], ids=lambda law: law.name
)
def test_residuals_of_data_drawn_from_a_law_have_mean_0_and_sd_1(law):
    n = 20_000
    sampled = Sampled(examined=20.0, partitions=20_000.0, additive=PART)
    where = jnp.full(n, jnp.log(40.0))
    drawn = law.draw(jax.random.key(1), where, SIGMA, sampled)
    off = np.asarray(law.residual(where, drawn, SIGMA, sampled))
    # 5 standard errors: 1/√n of the mean, and of the SD 1/√(2n) if it is normal, twice
    # as much for counts, whose gamma scatter has heavier tails.
    assert abs(off.mean()) < 5 / np.sqrt(n)
    assert abs(off.std() - 1.0) < 10 / np.sqrt(2 * n)


def test_the_size_of_an_additive_error_is_told_or_taken_from_the_data():
    assay = Assay("conc", "conc_mg_per_l", Additive())
    with pytest.raises(InputError, match="additive error is in the unit of the assay"):
        _ = assay.sigma_prior
    told = dataclasses.replace(assay, additive_median=0.7)
    assert float(told.sigma_prior.icdf(0.5)) == pytest.approx(0.7)
    rows = [
        sample(t, v, assay="conc") for t, v in ((1.0, 2.0), (2.0, 4.0), (3.0, 60.0))
    ]
    scaled = assay.scaled_to(dataset([patient("P", rows)]))
    # A tenth of the median reading.
    assert float(scaled.sigma_prior.icdf(0.5)) == pytest.approx(0.4)
    assert told.scaled_to(dataset([patient("P", rows)])) == told


def test_laws_are_told_apart_by_what_sigma_is_in():
    units = {name: law.sigma_unit for name, law in ERRORS.items()}
    assert units["additive"] == ""
    assert units["proportional"] == "CV"
    assert units["normal"] == units["counts"] == "SD of log"
