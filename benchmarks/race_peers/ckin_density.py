"""ckin: log posterior, gradient and simulation of the race problem."""

import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ckin.inference.density import make_density
from ckin.population import Packed, Population, log_readings, pack, refined
from ckin.population.model import patient_phi

from .ckin_cohort import coordinates, dataset_of, large_cohort, population_of
from .measure import LANES, at_points, lanes_ms, median_ms
from .problem import load_problem


# Draws of every patient, from the prior, that the grid is laid for.
GRID_DRAWS = 8


def on_grid(whole: Population, packed: Packed, error: float) -> Packed:
    """The cohort on a grid laid for draws of the prior, as `fit` lays one."""
    medians = []
    for info in whole.info.values():
        assert info.prior is not None  # `population` refuses such a parameter
        medians.append(jnp.asarray(info.prior.icdf(0.5)))
    estimated = (packed.n_patients, len(whole.estimate))
    centre = jnp.broadcast_to(whole.to_phi(jnp.stack(medians)), estimated)
    shape = (GRID_DRAWS, packed.n_patients, len(whole.vary))
    eta = jax.random.normal(jax.random.key(0), shape)
    phi = jax.vmap(lambda eta: patient_phi(whole, centre, jnp.array(whole.omega), eta))(
        eta
    )
    return refined(whole, packed, phi, target=error)[0]


def timings(task: dict, save) -> None:
    """Values, gradients and simulations, through the public interface."""
    problem = load_problem(task["problem"])
    folder = Path(task["folder"])
    whole = population_of(problem)
    packed = pack(dataset_of(problem, folder), whole)
    began = time.perf_counter()
    packed = on_grid(whole, packed, task["grid_error"])
    grid_s = time.perf_counter() - began
    density = make_density(whole, packed)
    coords = coordinates(problem, density)

    def one(u, eta):
        return jax.value_and_grad(density.log_density, argnums=(0, 1))(u, eta)

    value_and_grad, many = jax.jit(one), jax.jit(jax.vmap(one))
    truth = coords.into(problem.points["true"])
    lanes = coords.into(problem.around_truth(LANES))
    began = time.perf_counter()
    jax.block_until_ready(value_and_grad(*truth))
    compile_s = time.perf_counter() - began

    def on_scale(x):
        value, slopes = value_and_grad(*coords.into(x))
        return value + coords.constant, coords.back(*slopes, shifted=False)

    save(
        method="ckin: RK4 on a grid laid once, patients as lanes; whitened NUTS",
        grid_s=round(grid_s, 2),
        compile_s=round(compile_s, 2),
        points=at_points(problem.points, on_scale),
    )
    save(
        value_and_grad_ms=median_ms(
            lambda: jax.block_until_ready(value_and_grad(*truth))
        )
    )
    save(**lanes_ms(lambda: jax.block_until_ready(many(*lanes))))
    simulate = jax.jit(lambda phi: log_readings(whole, phi, packed))
    phi = jnp.asarray(problem.log_p(problem.points["true"]))
    reading = np.exp(np.asarray(simulate(phi)[0]))
    save(
        cart_true=((reading - problem.fix["floor"]) / problem.fix["s"]).tolist(),
        simulate_24_ms=median_ms(lambda: jax.block_until_ready(simulate(phi))),
    )
    large = large_cohort(problem)
    crowd = pack(dataset_of(large, folder / "large"), whole)
    crowd = on_grid(whole, crowd, task["grid_error"])
    simulate_crowd = jax.jit(lambda phi: log_readings(whole, phi, crowd))
    big_phi = jnp.asarray(problem.big_log_p)
    save(
        simulate_1000_ms=median_ms(
            lambda: jax.block_until_ready(simulate_crowd(big_phi))
        )
    )
