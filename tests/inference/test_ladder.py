"""Laws of the ladder: when an approximation serves, and engines that agree."""

import jax
import numpy as np
import pytest
import xarray as xr
from toys import QPCR, Line, line_cohort, made

from ckin.errors import InputError
from ckin.inference import fit
from ckin.inference.convergence import diagnostics
from ckin.inference.geometry import first_geometry
from ckin.inference.ladder import Approximation, resampled, weighed, why
from ckin.population import population


LINES = population(made(Line), QPCR)
COHORT = line_cohort(4, (8, 3))
DRAWS = 400


@pytest.fixture(scope="module")
def positions(line):
    size = line.n_hyper + int(np.prod(line.eta_shape))
    return jax.random.normal(jax.random.key(5), (DRAWS, size))


def test_a_weight_is_the_posterior_over_the_approximation(line, laplace, positions):
    geometry = first_geometry(laplace)
    found = weighed(line, geometry, positions)
    value = jax.jit(jax.vmap(lambda x: geometry.log_density(line, x)))(positions)
    ratio = np.asarray(value) + 0.5 * np.sum(np.asarray(positions) ** 2, axis=1)
    # Smoothing touches the largest 3 sqrt(S) weights alone.
    rest = np.argsort(ratio)[: DRAWS - int(3 * np.sqrt(DRAWS)) - 1]
    gap = np.log(found.weights[rest]) - ratio[rest]
    np.testing.assert_allclose(gap, gap[0], atol=1e-8)
    assert found.weights.sum() == pytest.approx(1.0)
    assert 1.0 < found.ess < DRAWS
    np.testing.assert_allclose(
        found.u[0], geometry.to_natural(line, positions[0])[0], rtol=1e-12
    )


def approximation(weights: np.ndarray, khat: float, ess: float) -> Approximation:
    n = len(weights)
    return Approximation(
        np.arange(float(n))[:, None], np.zeros((n, 1, 0)), weights, khat, ess
    )


def test_a_draw_comes_as_often_as_its_weight_says():
    weights = np.array([0.5, 0.0, 0.25, 0.125, 0.125, 0.0, 0.0, 0.0])
    u, eta = resampled(approximation(weights, 0.0, 3.0), 0)
    counts = np.bincount(u[:, 0].astype(int), minlength=8)
    np.testing.assert_array_equal(counts, 8 * weights)
    assert eta.shape == (8, 1, 0)


@pytest.mark.parametrize(
    ("khat", "ess", "serves", "words"),
    [
        (0.3, 900.0, True, "weighted, they are the result"),
        (0.3, 300.0, False, "worth only 300 of the posterior (limit 400)"),
        (0.6, 900.0, False, "0.60 (limit 0.5): sampled by NUTS"),
        (np.inf, 1.0, False, "sampled by NUTS"),
        (np.nan, 1.0, False, "sampled by NUTS"),
    ],
)
def test_an_approximation_that_is_not_surely_good_does_not_serve(
    khat, ess, serves, words
):
    found = approximation(np.full(4, 0.25), khat, ess)
    assert found.serves is serves
    assert words in why(found)


def test_nested_r_hat_sees_superchains_that_disagree():
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(32, 50))
    # Each superchain of four stays where it began.
    stuck = mixed + np.repeat(rng.normal(size=8), 4)[:, None]
    for draws, good in ((mixed, True), (stuck, False)):
        table = diagnostics(xr.Dataset({"x": (("chain", "draw"), draws)}), 4)
        assert bool(table["r_hat"].to_numpy() < 1.01) == good


@pytest.mark.parametrize("chains", [4, 6])
def test_many_chains_come_in_superchains(chains):
    with pytest.raises(InputError, match="give 8, 12"):
        fit(COHORT, LINES, method="many", chains=chains)


@pytest.fixture(scope="module")
def sampled():
    return {
        method: fit(COHORT, LINES, method=method, seed=3) for method in ("nuts", "many")
    }


@pytest.mark.slow
def test_many_short_chains_find_the_posterior_that_nuts_finds(sampled):
    tables = [found.summary.set_index("parameter") for found in sampled.values()]
    for found in sampled.values():
        assert found.verdict.converged, found.verdict.reasons
    one, other = tables
    names = sampled["nuts"].density.names
    for name in names:
        errors = [t["sd"][name] / np.sqrt(t["ess_bulk"][name]) for t in tables]
        gap = one["mean"][name] - other["mean"][name]
        # Five numbers at once: 4.5 standard errors is one run in 30,000.
        assert abs(gap) < 4.5 * np.hypot(*errors), name
        assert other["sd"][name] == pytest.approx(one["sd"][name], rel=0.25), name
    manifest = sampled["many"].manifest
    assert (manifest["method"], manifest["chains"], manifest["warmup"]) == (
        *("many", 32, 100),
    )


@pytest.mark.slow
def test_auto_takes_the_weighted_approximation_where_it_serves():
    pooled = population(made(Line), QPCR, vary=())
    quick = fit(COHORT, pooled, seed=1)
    assert quick.manifest["method"] == "weighted"
    assert quick.manifest["asked"] == "auto"
    assert "they are the result" in quick.manifest["auto"]
    assert quick.verdict.converged, quick.verdict.reasons
    slow = fit(COHORT, pooled, method="nuts", seed=1)
    for place, name in enumerate(quick.density.names):
        mine, theirs = quick.u[..., place], slow.u[..., place]
        # Some 1,000 draws each: 0.2 SD are 4.5 standard errors of a mean.
        assert abs(mine.mean() - theirs.mean()) < 0.2 * theirs.std(), name
        assert mine.std() == pytest.approx(theirs.std(), rel=0.2), name


@pytest.mark.slow
def test_auto_samples_where_it_does_not_and_says_why():
    found = fit(COHORT, LINES, seed=3, warmup=100, draws=50)
    assert found.manifest["method"] == "nuts"
    assert "sampled by NUTS" in found.manifest["auto"]
    assert found.manifest["approximation"]["khat"] > 0.5
