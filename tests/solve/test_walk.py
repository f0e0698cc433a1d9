"""The walk over a grid: its gradient is that of its steps, and lanes are apart."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from toys import Hunt, made

from ckin.protocol import Dose, event_table, stack_events
from ckin.solve import make_grids
from ckin.solve.scale import from_solver_scale, within_limits
from ckin.solve.walk import _advanced, _rows, first_state, walk_grid


DOSES = (Dose(0.0, "CART", cells=5.0), Dose(7.0, "FTC", cells=80.0))
# The first sample lies before every event, the last at the end of the grid, one at an
# event; the second patient is followed for less long, so that its grid is padded.
TIMES = np.array([[-1.0, 1.0, 7.0, 9.0, 30.0], [-1.0, 2.0, 7.0, 7.0, 12.0]])
AFTER = np.zeros(TIMES.shape, bool)
AFTER[1, 3] = True
EVENTS = stack_events([event_table(DOSES, weight_kg=60.0, inputs={})] * 2)
GRIDS = make_grids(made(Hunt), EVENTS, TIMES, AFTER)
# (chains, patients)
GROWTH = jnp.array([[0.9, 1.1], [1.0, 0.7], [1.3, 1.2]])
PREY_0 = jnp.array([[90.0, 120.0], [100.0, 60.0], [70.0, 110.0]])


def score(walk, growth, prey_0, grid):
    states, finite = walk(made(Hunt, growth=growth, prey_0=prey_0), grid)
    weights = jnp.arange(1.0, 6.0)
    return jnp.sum(weights * (jnp.log(states.hunter) + 0.01 * states.prey)), finite


def plain_walk(model, grid):
    """The same steps, differentiated by JAX."""

    def step(w, row):
        after = _advanced(model, w, row[1], grid)
        return after, after

    w0 = first_state(model)
    _, path = lax.scan(step, w0, _rows(grid))
    nodes = jax.tree.map(lambda a, b: jnp.append(a, b)[grid.read_at], w0, path)
    return from_solver_scale(model, within_limits(model, nodes)), jnp.array(True)


def slopes(walk):
    gradient = jax.value_and_grad(partial(score, walk), argnums=(0, 1), has_aux=True)
    patients = jax.vmap(gradient)
    return jax.jit(jax.vmap(patients, in_axes=(0, 0, None)))


def test_the_gradient_is_that_of_the_steps():
    (value, finite), ours = slopes(walk_grid)(GROWTH, PREY_0, GRIDS)
    (plain, _), theirs = slopes(plain_walk)(GROWTH, PREY_0, GRIDS)
    assert finite.all()
    # The same arithmetic in another order.
    np.testing.assert_allclose(value, plain, rtol=1e-12)
    np.testing.assert_allclose(ours, theirs, rtol=1e-10)


def test_chains_and_patients_as_lanes_are_as_if_alone():
    one = jax.jit(
        jax.value_and_grad(partial(score, walk_grid), argnums=(0, 1), has_aux=True)
    )
    (value, _), many = slopes(walk_grid)(GROWTH, PREY_0, GRIDS)
    for chain, patient in np.ndindex(GROWTH.shape):
        grid = jax.tree.map(lambda rows, i=patient: rows[i], GRIDS)
        (alone, _), slope = one(GROWTH[chain, patient], PREY_0[chain, patient], grid)
        np.testing.assert_allclose(value[chain, patient], alone, rtol=1e-12)
        for whole, single in zip(many, slope, strict=True):
            np.testing.assert_allclose(whole[chain, patient], single, rtol=1e-10)


def test_a_patient_who_blows_up_has_a_gradient_of_zero_and_leaves_others_alone():
    growth = GROWTH.at[1, 0].set(1e6)
    (_, finite), (by_growth, by_prey) = slopes(walk_grid)(growth, PREY_0, GRIDS)
    (_, _), (clean, _) = slopes(walk_grid)(GROWTH, PREY_0, GRIDS)
    assert not finite[1, 0]
    assert finite.sum() == finite.size - 1
    assert by_growth[1, 0] == 0.0
    assert by_prey[1, 0] == 0.0
    elsewhere = np.delete(np.arange(6), 2)
    np.testing.assert_array_equal(
        np.ravel(by_growth)[elsewhere], np.ravel(clean)[elsewhere]
    )


def test_forward_mode_is_refused_and_not_wrong():
    model, grid = made(Hunt), jax.tree.map(lambda rows: rows[0], GRIDS)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(
            lambda g: score(walk_grid, g, model.prey_0, grid)[0],
            (jnp.array(1.0),),
            (jnp.array(1.0),),
        )
