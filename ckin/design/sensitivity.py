"""How readings move with the parameters of a patient: forward sensitivities."""

from typing import NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp

from ckin._types import Array, Bool, Float
from ckin.population import Packed, Population, log_readings
from ckin.solve import Solver


class Sensitivities(NamedTuple):
    """Error-free readings of a cohort and their derivative by each patient's φ.

    Attributes:
        log_reading: natural log of the readings.
        jacobian: derivative of it by φ (of a positive parameter: its logarithm).
        solved: who was solved; the numbers of others are 0.
    """

    log_reading: Float[Array, "patients samples"]
    jacobian: Float[Array, "patients samples estimated"]
    solved: Bool[Array, " patients"]


@eqx.filter_jit
def sensitivities(
    population: Population, data: Packed, phi: Float[Array, "patients estimated"]
) -> Sensitivities:
    """Readings and their derivatives, each direction of φ carried along the solution.

    Args:
        population: the model and its assays.
        data: what the patients are given and when they are sampled.
        phi: of each patient.
    """
    forward = Solver(adjoint=dfx.ForwardMode())

    def along(direction):
        everyone = jnp.broadcast_to(direction, phi.shape)
        return jax.jvp(
            lambda phi: log_readings(population, phi, data, forward),
            (phi,),
            (everyone,),
            has_aux=True,
        )

    # The readings do not depend on the direction: they are solved once.
    log_reading, change, solved = jax.vmap(along, out_axes=(None, -1, None))(
        jnp.eye(phi.shape[1])
    )
    good = solved & jnp.all(jnp.isfinite(change), axis=(1, 2))
    return Sensitivities(log_reading, jnp.where(good[:, None, None], change, 0.0), good)
