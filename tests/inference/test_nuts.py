"""Laws of the sampler: the posterior it finds, seeds, and going on."""

import dataclasses
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from toys import QPCR, Line, made

from ckin.inference import engines
from ckin.inference.chains import CHUNK, advance
from ckin.inference.checkpoint import open_checkpoint
from ckin.inference.convergence import diagnostics
from ckin.inference.engines import SAMPLERS, TARGETS, by_sampling
from ckin.inference.geometry import first_geometry
from ckin.inference.nuts import (
    joined,
    retuned,
    sample,
    settle,
    start_chains,
    warm_up,
)
from ckin.population import population


CHAINS, WARMUP, DRAWS = 2, 150, 300


def run(density, geometry, seed=0):
    chains = start_chains(density, geometry, jax.random.key(seed), chains=CHAINS)
    chains = warm_up(density, chains, WARMUP)
    return chains, *sample(density, chains, DRAWS)


@pytest.fixture(scope="module")
def informed(line, laplace):
    """(chains after warm-up, chains after sampling, draws) in whitened coordinates."""
    return run(line, first_geometry(laplace))


@pytest.fixture(scope="module")
def plain(line, laplace):
    """The same posterior, non-centred, from a population centre that is off."""
    nothing = jax.tree.map(jnp.zeros_like, laplace.quadratics)
    centre = laplace.u + 0.5 * jnp.sqrt(jnp.diag(laplace.factor @ laplace.factor.T))
    geometry = dataclasses.replace(
        first_geometry(laplace), centre=centre, quadratics=nothing
    )
    return run(line, geometry, seed=1)


def moments(draws):
    """Mean, and Monte Carlo error of it, of every population parameter and η."""
    flat = np.concatenate([draws.u, draws.eta.reshape(*draws.eta.shape[:2], -1)], -1)
    names = [str(i) for i in range(flat.shape[-1])]
    each = xr.Dataset(
        {name: (("chain", "draw"), flat[..., i]) for i, name in enumerate(names)}
    )
    ess = diagnostics(each)["ess_bulk"].to_numpy()
    return flat.mean((0, 1)), flat.std((0, 1)), np.sqrt(flat.var((0, 1)) / ess)


def test_whitened_and_plain_coordinates_give_one_posterior(informed, plain):
    mean, spread, error = moments(informed[2])
    other_mean, other_spread, other_error = moments(plain[2])
    # 13 numbers at once: 4.5 standard errors is one run in 10,000.
    gap = np.abs(mean - other_mean) / np.hypot(error, other_error)
    assert gap.max() < 4.5, gap
    # SDs of some hundred independent draws, to 5 standard errors.
    np.testing.assert_allclose(spread, other_spread, rtol=0.35)


def test_the_posterior_mean_is_near_the_mode_where_it_is_nearly_normal(
    informed, laplace
):
    mean, spread, _ = moments(informed[2])
    # Typical values: symmetric, so mean and mode agree to a part of an SD.
    gap = (mean[:2] - np.asarray(laplace.u)[:2]) / spread[:2]
    assert np.abs(gap).max() < 0.4


def test_whitened_coordinates_need_no_more_gradients_than_plain_ones(informed, plain):
    assert informed[2].info.n_steps.mean() <= 1.1 * plain[2].info.n_steps.mean()


def test_the_kept_log_density_is_that_of_the_draw(line, informed):
    chains, _, draws = informed
    geometry = chains.geometry
    u, eta = draws.u[0, -1], draws.eta[0, -1]
    natural = line.log_density(jnp.asarray(u), jnp.asarray(eta))
    # The position of a draw: find log det by mapping the last state of chain 0.
    last = informed[1].state.position[0]
    found_u, found_eta, log_det = geometry.to_natural(line, last)
    np.testing.assert_allclose(found_u, u, rtol=1e-12)
    np.testing.assert_allclose(found_eta, eta, rtol=1e-10, atol=1e-12)
    assert draws.info.lp[0, -1] == pytest.approx(float(natural + log_det), rel=1e-10)


def numbers(tree: Any) -> list[Any]:
    """Leaves of a tree, a key as its bits."""
    return [
        jax.random.key_data(leaf)
        if jnp.issubdtype(getattr(leaf, "dtype", float), jax.dtypes.prng_key)
        else leaf
        for leaf in jax.tree.leaves(tree)
    ]


def same(one: Any, other: Any) -> bool:
    pairs = zip(numbers(one), numbers(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def test_sampling_in_two_goes_is_sampling_in_one(line, informed):
    chains = informed[0]
    end, whole = sample(line, chains, 2 * CHUNK)
    middle, first = sample(line, chains, CHUNK)
    last, second = sample(line, middle, CHUNK)
    assert same(joined([first, second]), whole)
    assert same(last, end)
    # The start of what the fixture drew from the same chains.
    np.testing.assert_array_equal(informed[2].u[:, : 2 * CHUNK], whole.u)


class Killed(Exception):
    """Stands for the death of the process."""


class Mortal:
    """A checkpoint whose process dies after one more step."""

    def __init__(self, folder):
        self.lasting = open_checkpoint(folder, {}, draws=2 * CHUNK, resume=True)
        self.holds = self.lasting.holds

    def step(self, step, kind, make):
        if self.lasting.told()["made"]:
            raise Killed
        return self.lasting.step(step, kind, make)


def test_a_run_that_dies_after_every_chunk_draws_what_one_that_lives_draws(
    tmp_path, line, laplace, informed
):
    deaths, geometry = 0, first_geometry(laplace)

    def goes_on():
        memory = Mortal(tmp_path)
        chains = start_chains(
            line, geometry, jax.random.key(0), chains=CHAINS, memory=memory
        )
        chains = warm_up(line, chains, WARMUP, memory=memory)
        return chains, *sample(line, chains, 2 * CHUNK, memory=memory)

    while True:
        try:
            warm, last, draws = goes_on()
            break
        except Killed:
            deaths += 1
    # The start and every chunk; the last run finds the last one done.
    assert deaths == last.chunks == WARMUP // CHUNK + 2
    assert same(warm, informed[0])
    np.testing.assert_array_equal(draws.u, informed[2].u[:, : 2 * CHUNK])
    np.testing.assert_array_equal(draws.eta, informed[2].eta[:, : 2 * CHUNK])
    for mine, theirs in zip(draws.info, informed[2].info, strict=True):
        np.testing.assert_array_equal(mine, theirs[:, : 2 * CHUNK])


def test_the_same_state_draws_the_same_and_another_key_another(line, informed):
    chains = informed[0]
    _, once = sample(line, chains, CHUNK)
    _, again = sample(line, chains, CHUNK)
    assert same(once, again)
    other = dataclasses.replace(chains, key=jax.random.key(99))
    _, different = sample(line, other, CHUNK)
    assert not np.array_equal(once.u, different.u)


@pytest.fixture(scope="module")
def density_and_slope(line):
    return jax.jit(
        jax.vmap(
            jax.value_and_grad(lambda where, x: where.log_density(line, x), 1),
            (None, 0),
        )
    )


def knows_its_density(chains, density_and_slope):
    """Density and slope are those of where the chains are."""
    state: Any = chains.state
    value, slope = density_and_slope(chains.geometry, state.position)
    np.testing.assert_allclose(state.logdensity, value, rtol=1e-10)
    # Rounding of a sum of slopes of order 1 that cancel.
    np.testing.assert_allclose(state.logdensity_grad, slope, rtol=1e-8, atol=1e-8)


def test_chains_know_their_density_once_they_have_moved(
    line, laplace, density_and_slope
):
    geometry = first_geometry(laplace)
    chains = start_chains(line, geometry, jax.random.key(0), chains=CHAINS)
    # Nothing is computed where they begin: less than any density, and it is left.
    assert np.all(np.asarray(chains.state.logdensity) < -1e15)
    # One chunk a window: coordinates have changed three times.
    chains = warm_up(line, chains, 1)
    knows_its_density(chains, density_and_slope)


def test_coordinates_change_and_chains_stay_where_they_are(
    line, informed, density_and_slope
):
    warm, *_ = informed
    rng = np.random.default_rng(4)
    shape = (CHAINS, 200, warm.state.position.shape[1])
    after = retuned(warm, 0.2 + 1.3 * rng.normal(size=shape))
    knows_its_density(after, density_and_slope)


def test_a_seed_fixes_the_start_and_chains_start_apart(line, laplace):
    geometry = first_geometry(laplace)
    made: list[Any] = [
        start_chains(line, geometry, jax.random.key(seed), chains=CHAINS)
        for seed in (0, 0, 1)
    ]
    first, again, other = made
    assert same(first, again)
    assert not np.array_equal(first.state.position, other.state.position)
    assert not np.array_equal(first.state.position[0], first.state.position[1])


def test_draws_that_are_no_whole_chunk_are_cut(line, informed):
    _, few = sample(line, informed[0], 7)
    assert few.u.shape[:2] == few.info.lp.shape == (CHAINS, 7)
    np.testing.assert_array_equal(few.u, informed[2].u[:, :7])


def test_work_is_counted(informed):
    after_warmup, after, draws = informed
    assert after.leapfrogs - after_warmup.leapfrogs == draws.info.n_steps.sum()
    assert after.warmup_divergences == after_warmup.warmup_divergences


def test_steps_settle_where_the_target_wants_them(line, informed):
    chains = informed[0]
    careful = settle(line, chains, 8 * WARMUP, 0.97)
    _, draws = sample(line, careful, 4 * CHUNK)
    assert careful.step_size < chains.step_size
    # Of 200 acceptances; of the usual steps it is about 0.85.
    assert 0.93 < draws.info.acceptance_rate.mean() < 0.995
    np.testing.assert_array_equal(
        careful.geometry.centre, chains.geometry.centre, strict=True
    )


def sampled(line, laplace, memory, draws):
    return by_sampling(
        line,
        first_geometry(laplace),
        jax.random.key(0),
        sampler=SAMPLERS["nuts"],
        chains=CHAINS,
        warmup=WARMUP,
        draws=draws,
        report=lambda *_: None,
        memory=memory,
    )


def test_draws_that_diverge_are_made_anew_with_smaller_steps(
    tmp_path, line, laplace, monkeypatch
):
    """The first draws are made to look divergent; what comes after is kept."""
    bad = []

    def told(density, chains, draws, report, memory):
        chains, drawn = sample(density, chains, draws, report, memory)
        if chains.target in bad:
            wrong = np.ones_like(drawn.info.diverging)
            drawn = drawn._replace(info=drawn.info._replace(diverging=wrong))
        return chains, drawn

    monkeypatch.setattr(engines, "sample", told)
    usual = sampled(line, laplace, open_memory(tmp_path / "a", CHUNK), CHUNK)
    assert usual.anew == ()
    bad += TARGETS[:1]
    memory = open_memory(tmp_path / "b", CHUNK)
    once = sampled(line, laplace, memory, CHUNK)
    (why,) = once.anew
    assert why.startswith(f"{CHAINS * CHUNK} of {CHAINS * CHUNK} transitions diverged")
    assert "0.95" in why
    assert (once.step_size or 0.0) < (usual.step_size or 0.0)
    assert not np.isin(usual.draws.u[..., 0], once.draws.u[..., 0]).any()
    # What was interrupted anywhere after goes on the same way, with more draws too.
    again = sampled(line, laplace, open_memory(tmp_path / "b", CHUNK), CHUNK)
    assert same(once.draws, again.draws)
    more = sampled(line, laplace, open_memory(tmp_path / "b", 2 * CHUNK), 2 * CHUNK)
    fresh = sampled(line, laplace, open_memory(tmp_path / "c", 2 * CHUNK), 2 * CHUNK)
    assert same(more.draws, fresh.draws)
    bad += TARGETS[1:]
    worst = sampled(line, laplace, open_memory(tmp_path / "d", CHUNK), CHUNK)
    assert len(worst.anew) == len(TARGETS) - 1
    assert worst.draws.info.diverging.all()


def open_memory(folder, draws):
    return open_checkpoint(folder, {}, draws=draws, resume=True)


class Bent(Line):
    """The line again, but solved adaptively: for a switch that changes nothing."""

    def closed_form(self, time_d):
        return None

    def switch_times(self):
        return (jnp.asarray(5.0),)


@pytest.fixture(scope="module")
def bent(line):
    """The posterior of `line`, by a model that is on no grid and no formula."""
    whole = population(made(Bent), QPCR)
    assert not whole.on_grid
    return eqx.tree_at(lambda density: density.population, line, whole)


def moved_on(density, laplace):
    geometry = first_geometry(laplace)
    chains = start_chains(density, geometry, jax.random.key(0), chains=CHAINS)
    told = (chains.geometry, chains.key, jnp.array(True), jnp.asarray(0.8), 1, "nuts")
    return density, (chains.state, chains.averaging), *told


def test_what_is_solved_adaptively_can_be_sampled(bent, laplace):
    # Its gradient is traced where chains are shared out: not compiled, for the time.
    assert advance.lower(*moved_on(bent, laplace)) is not None


@pytest.mark.slow
def test_chains_know_density_and_slope_where_they_are_solved_adaptively(
    line, bent, laplace
):
    asked = moved_on(bent, laplace)
    (state, _), _, _ = advance(*asked)
    of_a_line = jax.value_and_grad(partial(asked[2].log_density, line))
    density, slope = jax.vmap(of_a_line)(state.position)
    # The tolerance of the solver on each of 40 readings, and of their slopes.
    np.testing.assert_allclose(state.logdensity, density, rtol=1e-4)
    np.testing.assert_allclose(state.logdensity_grad, slope, atol=1e-3)
