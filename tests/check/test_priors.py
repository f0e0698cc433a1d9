"""Overlap and power-scaling, where both are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.distributions import LKJCholesky
from scipy import stats
from toys import QPCR, Line, line_cohort, made

from ckin.check import log_priors, overlap, power_scaling
from ckin.inference.density import make_density
from ckin.population import pack, population
from ckin.population.hyper import CorrelationPrior
from ckin.population.specification import LKJ_CONCENTRATION


def draws_like_prior(density, rng, n):
    """Draws of the prior of `Line`: two normals, three log-normals."""
    columns = {
        "a": rng.normal(6.0, 2.0, n),
        "b": rng.normal(0.0, 0.3, n),
        "omega_a": np.log(0.8) + 0.5 * rng.normal(size=n),
        "omega_b": np.log(0.1) + 0.5 * rng.normal(size=n),
        "sigma_qpcr": np.log(0.5) + 0.3 * rng.normal(size=n),
    }
    return np.stack([columns[name] for name in density.names], axis=1)


def test_a_posterior_that_is_the_prior_overlaps_it_and_has_not_contracted(density):
    u = draws_like_prior(density, np.random.default_rng(1), 4000)
    table = overlap(density, u)
    # A kernel estimate of 4000 draws: 0.03.
    assert table["overlap"].to_numpy().min() > 0.96
    np.testing.assert_allclose(table["contraction"], 0.0, atol=0.08)


def test_overlap_of_two_normals_is_that_on_paper(density):
    rng = np.random.default_rng(2)
    u = draws_like_prior(density, rng, 4000)
    place = list(density.names).index("a")
    u[:, place] = rng.normal(8.0, 2.0, 4000)
    row = overlap(density, u).set_index("parameter").loc["a"]
    # Two normals of one SD, one SD apart: 2 Φ(-1/2).
    assert row["overlap"] == pytest.approx(2 * stats.norm.cdf(-0.5), abs=0.03)


@pytest.mark.parametrize("size", [2, 3, 5])
def test_each_correlation_of_a_block_has_the_prior_that_its_draws_have(size):
    block = LKJCholesky(size, LKJ_CONCENTRATION).sample(jax.random.key(0), (4000,))
    drawn = np.asarray(block @ jnp.swapaxes(block, -1, -2))
    prior = CorrelationPrior(size)
    for row, column in ((1, 0), (size - 1, size - 2)):
        found = stats.kstest(drawn[:, row, column], lambda r: np.asarray(prior.cdf(r)))
        assert found.pvalue > 1e-3
    share = np.array([0.01, 0.3, 0.5, 0.9])
    np.testing.assert_allclose(prior.cdf(prior.icdf(share)), share, rtol=1e-6)


def test_a_correlation_has_a_row_of_its_own():
    whole = population(made(Line), QPCR, correlate=[("a", "b")])
    correlated = make_density(whole, pack(line_cohort(2, (3,)), whole))
    rng = np.random.default_rng(1)
    u = 0.1 * rng.normal(size=(4000, correlated.n_hyper))
    place = correlated.names.index("corr_a_b")
    # Of two the prior is 3/4 (1 - r²): Beta(2, 2), by its quantiles.
    u[:, place] = np.arctanh(2.0 * rng.beta(2.0, 2.0, 4000) - 1.0)
    row = overlap(correlated, u).set_index("parameter").loc["corr_a_b"]
    assert row["overlap"] > 0.96
    assert row["contraction"] == pytest.approx(0.0, abs=0.08)


def test_log_priors_are_densities_of_the_parameters_own_units(density):
    values = log_priors(density, np.asarray(density.start)[None])[0]
    own = dict(zip(density.names, values, strict=True))
    sigma = float(density.constrain(jnp.asarray(density.start))["sigma_qpcr"])
    assert own["a"] == pytest.approx(stats.norm.logpdf(6.0, 6.0, 2.0))
    expected = stats.lognorm.logpdf(sigma, 0.3, scale=0.5)
    assert own["sigma_qpcr"] == pytest.approx(expected)


def test_power_scaling_tells_what_the_data_told_from_what_the_prior_did(density):
    rng = np.random.default_rng(3)
    u = draws_like_prior(density, rng, 4000)
    place = list(density.names).index("a")
    # Of a: prior N(6, 2), likelihood N(9, 1/2) about it, so a posterior between.
    precision = 1 / 4 + 4
    u[:, place] = rng.normal((6 / 4 + 9 * 4) / precision, precision**-0.5, 4000)
    likelihood = -0.5 * ((u[:, place] - 9.0) / 0.5) ** 2
    table = power_scaling(density, u, likelihood[:, None]).set_index("parameter")
    assert table.loc["a", "likelihood"] > 0.05
    # The others are their priors: nothing of the likelihood is in them.
    others = [name for name in density.names if name != "a"]
    assert (table.loc[others, "likelihood"] < 0.05).all()
    assert (table.loc[others, "prior"] > table.loc[others, "likelihood"]).all()
