"""Steps that are short enough for RK4 to be stable, and no shorter."""

import dataclasses
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from toys import TOY, made

from ckin._types import Scalar
from ckin.model import AbstractModel, parameter, state
from ckin.protocol import Dose, event_table
from ckin.solve import jacobians, make_grid, steps_for_stability
from ckin.solve.occasions import Changing
from ckin.solve.stability import STABLE


class Ring(NamedTuple):
    first: Scalar = state("cells", "divides into the second", scale=10.0)
    second: Scalar = state("cells", "divides into the third", scale=3.0)
    third: Scalar = state("cells", "calls the first ones back", scale=7.0)
    grown: Scalar = state("cells", "decays on its own", log=True)


class Divisions(AbstractModel):
    """Three divisions, and a share `back` of what the last one makes comes back."""

    rate: Scalar = parameter(2.0, unit="1/day", doc="of division", source=TOY)
    back: Scalar = parameter(0.5, unit="1", doc="loop's product", source=TOY)

    State: ClassVar = Ring
    units: ClassVar = {"cells": "cells"}
    reference: ClassVar = TOY
    receives: ClassVar = {"CART": "first"}

    def initial(self):
        return Ring(1.0, 1.0, 1.0, 5.0)

    def vector_field(self, t, y, inputs):
        a, b, c = y.first, y.second, y.third
        return Ring(
            self.rate * (self.back / 4.0 * c - a),
            self.rate * (2.0 * a - b),
            self.rate * (2.0 * b - c),
            -0.1 * y.grown,
        )

    def quantities(self, y):
        return {"cells": y.third}


GRID = make_grid(
    event_table((Dose(0.0, "CART", cells=3.0),), weight_kg=60.0),
    np.array([1.0, 4.0]),
    np.zeros(2, bool),
)


def amplified(matrix):
    """How much one RK4 step makes of a deviation, at the worst."""
    square = matrix @ matrix
    step = np.eye(len(matrix)) + matrix + square / 2 + square @ matrix / 6
    return np.abs(np.linalg.eigvals(step + square @ square / 24)).max()


@pytest.mark.parametrize("back", [0.0, 0.5, 1.0])
def test_a_ring_of_divisions_is_as_stiff_as_paper_says(back):
    found = jacobians(made(Divisions, back=back), GRID)
    # Eigenvalues: -rate + rate × the cube roots of the loop's product.
    roots = np.roots([1.0, 0.0, 0.0, -back]) if back else np.zeros(1)
    expected = 2.0 * np.abs(roots - 1.0).max() / STABLE
    # Enough, and hardly more than that (the root of the norm of a high power).
    steps = np.asarray(steps_for_stability(found))
    assert np.all((steps >= expected * (1.0 - 1e-9)) & (steps <= 1.05 * expected))


@pytest.mark.parametrize("back", [0.0, 0.5, 1.0])
def test_that_many_steps_damp_and_a_quarter_fewer_do_not(back):
    matrix = jacobians(made(Divisions, back=back), GRID)[0]
    steps = steps_for_stability(matrix)
    # A loop that just holds its number neither grows nor fades: rounding.
    assert amplified(matrix / steps) <= 1.0 + 1e-12
    assert amplified(1.25 * matrix / steps) > 1.0


def test_the_bound_holds_in_every_direction():
    angle = np.linspace(0.5 * np.pi, 1.5 * np.pi, 401)
    z = STABLE * np.exp(1j * angle)
    assert np.abs(1 + z + z**2 / 2 + z**3 / 6 + z**4 / 24).max() <= 1.0


def test_growth_counts_as_decay_does_and_rest_asks_for_no_step():
    both = steps_for_stability(
        jnp.array([[[3.0, 0.0], [0.0, 0.0]], [[-3.0, 0.0], [0.0, 0.0]]])
    )
    np.testing.assert_allclose(both, 3.0 / STABLE, rtol=1e-9)
    assert steps_for_stability(jnp.zeros((2, 2))) == 0.0


@pytest.mark.parametrize("spread", [0.0, 3.0])
def test_steps_are_never_too_few_for_any_matrix(spread):
    rng = np.random.default_rng(0)
    # Rates of very different sizes, far from normal matrices.
    sizes = 10.0 ** rng.uniform(-spread, spread, (200, 9, 1))
    matrices = rng.normal(size=(200, 9, 9)) * sizes
    largest = np.abs(np.linalg.eigvals(matrices)).max(axis=-1)
    steps = np.asarray(steps_for_stability(jnp.asarray(matrices))) * STABLE
    assert np.all(steps >= largest * (1.0 - 1e-6))
    assert np.median(steps / largest) < 1.05
    # Whatever the unit of time.
    again = np.asarray(steps_for_stability(jnp.asarray(1e200 * matrices)))
    np.testing.assert_allclose(again * STABLE / 1e200, steps, rtol=1e-9)


def test_a_walk_that_blew_up_asks_for_none_either():
    found = np.asarray(jacobians(made(Divisions, rate=1e200), GRID))
    assert not found.any()
    assert jnp.isfinite(found).all()


def test_each_occasion_has_its_own_stiffness():
    doses = tuple(Dose(10.0 * n, "CART", cells=3.0, cycle=n + 1) for n in range(2))
    table = event_table(doses, weight_kg=60.0)
    table = dataclasses.replace(table, occasion=np.arange(2))
    grid = make_grid(table, np.array([4.0, 14.0]), np.zeros(2, bool))
    slow_then_fast = Changing(made(Divisions), {"rate": jnp.array([2.0, 6.0])})
    steps = steps_for_stability(jacobians(slow_then_fast, grid))
    late = grid.start_d >= 10.0
    np.testing.assert_allclose(steps[late], 3.0 * steps[~late][0], rtol=1e-6)
