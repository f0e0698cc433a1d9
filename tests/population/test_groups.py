"""Patients walked in groups: the same numbers, and less waiting."""

import dataclasses
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpyro.infer.util import potential_energy
from toys import QPCR, Hunt, Line, dataset, made, patient, sample

from ckin.inference.density import make_density
from ckin.population import pack, patient_log_likelihoods, population, population_model
from ckin.population.groups import in_groups, share_of_padding, size_of_groups
from ckin.protocol import Dose


LAST_D = (60.0, 9.0, 30.0, 8.0, 8.0, 45.0, 9.0)
DOSES = (Dose(0.0, "CART", cells=5.0), Dose(7.0, "FTC", cells=80.0))
POP = population(made(Hunt), QPCR)
DENSITY = make_density(
    POP,
    pack(
        dataset(
            [
                patient(
                    f"p{i}",
                    [sample(day, 50.0) for day in (1.0, 7.0, last)],
                    doses=DOSES,
                )
                for i, last in enumerate(LAST_D)
            ]
        ),
        POP,
    ),
)
ETA = jax.random.normal(jax.random.key(3), DENSITY.eta_shape)
U = DENSITY.start + 0.1


def side_by_side(size: int):
    data = dataclasses.replace(DENSITY.data, together=size)
    return dataclasses.replace(DENSITY, data=data)


@eqx.filter_jit
def value_and_slopes(density, u, eta):
    return jax.value_and_grad(density.log_density, argnums=(0, 1))(u, eta)


@eqx.filter_jit
def each(density, u, eta):
    """Likelihood of each, and its slope in φ and in σ of each."""
    sigma = jnp.broadcast_to(density.hyper(u).sigma, (len(LAST_D), 1))
    phi = density.patient_phi(u, eta)

    def of(phi, sigma):
        return patient_log_likelihoods(POP, density.data, phi, sigma)

    value, pull = jax.vjp(of, phi, sigma)
    return value, pull(jnp.where(jnp.isfinite(value), 1.0, 0.0))


@eqx.filter_jit
def chains(density, u, eta):
    return jax.vmap(lambda u, eta: density.log_density(u, eta))(u, eta)


# The same operations on other vectors: a rounding error here and there.
same = partial(np.testing.assert_allclose, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("size", [2, 4])
def test_groups_change_no_number(size):
    assert not len(LAST_D) % size == 0, "the last group is filled up"
    value, slopes = value_and_slopes(DENSITY, U, ETA)
    again, others = value_and_slopes(side_by_side(size), U, ETA)
    same(again, value)
    assert jnp.abs(slopes[1]).min() > 1e-4
    for one, other in zip(slopes, others, strict=True):
        same(other, one)


def test_blocks_of_a_formula_change_no_number(monkeypatch):
    pop = population(made(Line), QPCR)
    people = [
        patient(f"p{i}", [sample(1.0, 3.0 + i), sample(2.0, 9.0)]) for i in range(5)
    ]
    whole = make_density(pop, pack(dataset(people), pop))
    monkeypatch.setattr("ckin.population.groups.BLOCK", 2)
    blocks = make_density(pop, pack(dataset(people), pop))
    assert (whole.data.together, blocks.data.together) == (0, 2)
    eta = jax.random.normal(jax.random.key(5), whole.eta_shape)
    value, slopes = value_and_slopes(whole, whole.start, eta)
    again, others = value_and_slopes(blocks, whole.start, eta)
    same(again, value)
    for one, other in zip(slopes, others, strict=True):
        same(other, one)


def test_chains_in_groups_are_those_one_by_one():
    grouped = side_by_side(2)
    u, eta = jnp.stack([U, U - 0.3]), jnp.stack([ETA, 0.5 * ETA])
    both = chains(grouped, u, eta)
    single = [value_and_slopes(DENSITY, *one)[0] for one in zip(u, eta, strict=True)]
    same(both, single)


def test_one_who_is_not_solved_leaves_the_others_of_the_group_alone():
    wild = ETA.at[2].set(200.0)
    found, slopes = each(side_by_side(4), U, wild)
    expected, own = each(DENSITY, U, ETA)
    assert np.isneginf(found[2])
    others = np.arange(len(LAST_D)) != 2
    same(found[others], expected[others])
    for one, other in zip(own, slopes, strict=True):
        assert (other[2] == 0.0).all()
        same(other[others], one[others])


def test_the_density_is_that_of_the_numpyro_model():
    sites = {**DENSITY._unconstrained(U), "eta": ETA}
    energy = potential_energy(population_model, (POP, DENSITY.data), {}, sites)
    value, _ = value_and_slopes(DENSITY, U, ETA)
    np.testing.assert_allclose(-energy, value, rtol=1e-12)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.integers(0, 6))
def test_rows_come_back_in_their_order_and_none_stops_early(steps, size):
    read_at = np.array(steps)[:, None]

    def rows(row, until):
        known = jnp.max(read_at) if until is None else until
        return row, jnp.broadcast_to(known, row.shape)

    order, until = in_groups(rows, size, read_at, jnp.arange(len(steps)))
    np.testing.assert_array_equal(order, np.arange(len(steps)))
    assert (np.asarray(until) >= read_at[:, 0]).all()


@given(st.lists(st.integers(1, 3000), min_size=1, max_size=60), st.integers(1, 20))
def test_groups_waste_no_more_than_one_of_all(steps, n_states):
    read_at = np.array(steps)[:, None]
    size = size_of_groups(read_at, n_states)
    assert size in (0, 4, 8, 16, 32)
    whole = -(-len(steps) // (size or len(steps))) * (size or len(steps))
    filling = (whole - len(steps)) * min(steps)
    alone = share_of_padding(read_at, 0)
    assert share_of_padding(read_at, size) <= alone + filling / sum(steps)


def test_patients_of_one_cycle_do_not_wait_for_those_of_three():
    read_at = np.array([2400] * 3 + [1400] * 13 + [400] * 18)[:, None]
    assert share_of_padding(read_at, 0) > 0.5
    # Under a third of what is walked is for nobody.
    assert share_of_padding(read_at, size_of_groups(read_at, 16)) < 0.3
