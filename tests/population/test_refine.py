"""The cohort's grid: as fine as asked, and no failure reaches a gradient."""

from typing import ClassVar, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toys import QPCR, TOY, Hunt, dataset, made, patient, sample

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state
from ckin.population import log_readings, pack, population, refined
from ckin.population.refine import LAID
from ckin.protocol import Dose
from ckin.solve import Solver


DOSES = (Dose(0.0, "CART", cells=5.0), Dose(7.0, "FTC", cells=80.0))
COHORT = dataset(
    [
        patient(
            name,
            [sample(day, 50.0) for day in (1.0, 4.0, 7.0, 9.0, 14.0, last)],
            doses=DOSES,
        )
        for name, last in (("a", 30.0), ("b", 60.0), ("c", 30.0))
    ]
)
POP = population(made(Hunt), QPCR)
DATA = pack(COHORT, POP)
SPREAD = jnp.array([[[-0.6], [0.0], [0.6]], [[0.3], [-0.3], [0.0]]])

TRACES = []


@eqx.filter_jit
def readings(phi, data, solver=None):
    TRACES.append(1)
    return log_readings(POP, phi, data, solver)


@pytest.fixture(scope="module")
def exact():
    tsit5 = Solver(method=dfx.Tsit5(), rtol=1e-10, atol=1e-10)
    return [readings(phi, DATA, tsit5)[0] for phi in SPREAD]


@pytest.mark.parametrize("target", [1e-2, 1e-4, 1e-6])
def test_readings_on_the_grid_err_by_less_than_the_target(target, exact):
    data, report = refined(POP, DATA, SPREAD, target=target)
    assert report.error <= target
    for phi, right in zip(SPREAD, exact, strict=True):
        gap = jnp.abs(readings(phi, data)[0] - right) / np.log(10.0)
        # The estimate is of the leading order; the exact solve errs by about 1e-9.
        assert gap.max() < 1.5 * target


def test_a_stricter_target_takes_more_steps():
    steps = [refined(POP, DATA, SPREAD, target=t)[1].steps for t in (1e-2, 1e-4, 1e-6)]
    assert steps[0] < steps[1] < steps[2]


def test_a_grid_of_the_same_size_is_not_compiled_again():
    one, _ = refined(POP, DATA, SPREAD, target=1e-4)
    readings(SPREAD[0], one)
    before = len(TRACES)
    other, _ = refined(POP, DATA, 0.98 * SPREAD, target=1e-4)
    assert other.grid.length_d.shape == one.grid.length_d.shape
    assert (other.grid.length_d != one.grid.length_d).any()
    readings(SPREAD[1], other)
    assert len(TRACES) == before


def worst_error(data, phi):
    tsit5 = Solver(method=dfx.Tsit5(), rtol=1e-10, atol=1e-10)
    gap = readings(phi, data)[0] - readings(phi, DATA, tsit5)[0]
    return float(jnp.abs(gap).max() / np.log(10.0))


def test_a_grid_serves_the_draws_too_that_it_was_not_laid_for_at_first():
    usual = 0.05 * jnp.asarray(np.random.default_rng(0).normal(size=(LAID, 3, 1)))
    stray = jnp.array([[1.5], [0.0], [-0.5]])
    target = 1e-5
    few, _ = refined(POP, DATA, usual, target=target)
    # Or there would be nothing to mend.
    assert worst_error(few, stray) > 2.0 * target
    every = jnp.concatenate([usual, stray[None]])
    data, report = refined(POP, DATA, every, target=target)
    assert report.error <= target
    assert report.rounds > 1
    assert worst_error(data, stray) < 1.5 * target
    assert worst_error(data, usual[0]) < 1.5 * target


def test_draws_that_nobody_solves_leave_the_usual_grid():
    data, report = refined(POP, DATA, jnp.full((1, 3, 1), jnp.nan))
    assert np.isfinite(np.asarray(data.grid.length_d)).all()
    assert report.steps > 50


class Pool(NamedTuple):
    pool: Scalar = state("cells", "made and lost", scale=1.0)


class Turnover(AbstractModel):
    """y' = k (1 - y): soon level, and stiff the more the larger k."""

    loss: Scalar = parameter(
        1.0, unit="1/day", doc="k", source=TOY, prior=log_normal(1.0, 0.5),
        omega=0.3, estimate=True,
    )  # fmt: skip

    State: ClassVar = Pool
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    reference: ClassVar = TOY

    def initial(self):
        return Pool(0.5)

    def vector_field(self, t, y, inputs):
        return Pool(self.loss * (1.0 - y.pool))

    def quantities(self, y):
        return {"copies_per_ug": y.pool}


def test_steps_are_stable_for_patients_further_out():
    turnover = population(made(Turnover), QPCR)
    times = [sample(day, 50.0) for day in (1.0, 60.0, 90.0)]
    cohort = dataset([patient("a", times, doses=DOSES)])
    data = pack(cohort, turnover)
    usual, stray = jnp.zeros((1, 1, 1)), jnp.full((1, 1, 1), np.log(3.0))

    def read(data):
        reading, solved = log_readings(turnover, stray[0], data)
        # y = 1 - exp(-k t) / 2, level from the second sample on.
        return np.asarray(reading)[0, 1:] if solved.all() else np.inf

    plain, told = refined(turnover, data, usual)
    assert np.abs(read(plain)).max() > 1.0
    wide, wider = refined(turnover, data, usual, wide=stray)
    np.testing.assert_allclose(read(wide), 0.0, atol=1e-3)
    assert wider.steps < 4 * told.steps


@jax.jit
def slopes(phi):
    def total(phi):
        each, solved = log_readings(POP, phi, DATA)
        return jnp.sum(each), solved

    return jax.grad(total, has_aux=True)(phi)


def test_a_patient_that_blows_up_has_a_gradient_of_zero_and_the_others_their_own():
    fine = jnp.zeros((3, 1))
    expected, solved = slopes(fine)
    assert solved.all()
    slope, solved = slopes(fine.at[1].set(12.0))
    assert solved.tolist() == [True, False, True]
    assert slope[1] == 0.0
    np.testing.assert_array_equal(slope[::2], expected[::2])
    assert (jnp.abs(expected) > 0.1).all()
