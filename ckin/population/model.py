"""The population model in NumPyro: priors, patients, readings.

Sites: each estimated parameter by its own name (typical value, its own unit),
`omega_NAME` (between-patient SD on the φ scale), `corr_cholesky_A_B` (correlations of a
block), `beta_PARAMETER_COLUMN` (or `screen_...`, see `population.screening`),
`sigma_ASSAY` (error SD of the natural log, or what the law of the assay says),
`sigma_add_ASSAY` (additive part of a combined error), `eta` (patients × varying
parameters, standard normal) and each assay itself (natural log of its readings, masked
where the sample is another's). Wells of plates add the curves (`population.wells`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro.distributions import constraints

from ckin._types import Array, ArrayLike, Bool, Float, Int
from ckin.assay import NOT_COUNTED, Assay, Sampled
from ckin.population.groups import in_groups
from ckin.population.hyper import hyper_of, patient_phi, sample_hyper
from ckin.population.pack import Packed
from ckin.population.specification import Population
from ckin.population.wells import read_by_curves
from ckin.protocol import EventTable
from ckin.solve import Changing, Grid, Patientlike, Solver, occasions_at, solve


class CensoredReading(dist.Distribution):
    """Distribution of log readings around a prediction, with detection limits.

    A reading marked `below` is only known to lie under `log_value` (its limit). A
    patient whose ODE could not be solved has log probability -inf and gradient 0. A
    draw from it is a reading with error, before any limit.
    """

    # NumPyro's own distributions put a class attribute over this property.
    support = constraints.real  # pyright: ignore[reportAssignmentType]
    reparametrized_params = ["log_prediction", "sigma"]
    arg_constraints = {
        "log_prediction": constraints.real,
        "sigma": constraints.positive,
    }

    def __init__(
        self,
        assay: Assay,
        log_prediction,
        sigma,
        below,
        solved,
        sampled: Sampled = NOT_COUNTED,
    ):
        self.assay, self.below, self.solved = assay, below, solved
        self.sampled = sampled
        self.log_prediction, self.sigma = log_prediction, sigma
        super().__init__(batch_shape=log_prediction.shape, validate_args=False)

    def sample(self, key, sample_shape=()):
        """Readings with error, on the natural-log scale."""
        assert key is not None
        shape = sample_shape + self.batch_shape
        prediction = jnp.broadcast_to(self.log_prediction, shape)
        return self.assay.draw(key, prediction, self.sigma, self.sampled)

    def log_prob(self, value):
        """Log likelihood of each reading (M3 below the limit)."""
        each = self.assay.log_likelihood(
            self.log_prediction, value, self.below, self.sigma, self.sampled
        )
        return jnp.where(self.solved, each, -jnp.inf)


def walked_back(population: Population, solver: Solver) -> bool:
    """Whether trajectories are walked on a grid, with the walk's own gradient."""
    return population.on_grid and solver.method is None and solver.reverse_only


def log_readings(
    population: Population,
    phi: Float[Array, "patients estimated"],
    data: Packed,
    solver: Solver | None = None,
) -> tuple[Float[Array, "patients samples"], Bool[Array, " patients"]]:
    """Natural log of error-free readings of every patient, and who was solved.

    The readings of a patient who was not solved are 0, with a gradient of 0. On the
    grid they can be differentiated in reverse mode, unless the solver is for more
    (`Solver.reverse_only`).
    """
    solver = Solver() if solver is None else solver
    backward = walked_back(population, solver)

    def each(phi, known, events, grid, time_d, after, which):
        whole = (population, solver, known, events, grid, time_d, after, which)
        if backward:
            return _guarded(phi, whole)
        return _patient_readings(phi, whole)

    def side_by_side(rows, until):
        until = data.grid.until if until is None else until

        def one(phi, known, events, grid, *samples):
            grid = dataclasses.replace(grid, until=until)
            return each(phi, known, events, grid, *samples)

        return jax.vmap(one)(*rows)

    grid = dataclasses.replace(data.grid, until=None)
    rows = (phi, data.known, data.events, grid, data.time_d, data.after, data.which)
    size = data.together if backward else 0
    return in_groups(side_by_side, size, data.grid.read_at, rows)


def predicted(
    population: Population,
    model: Patientlike,
    states,
    which: Int[Array, " times"] | None = None,
    occasion: Int[Array, " times"] | None = None,
) -> Float[Array, " times"]:
    """Natural log of what the assay of each time reads of `states`, without error.

    Args:
        population: says which assays there are.
        model: the patient's model.
        states: at each time.
        which: assay at each time, by its place; may be left out where there is one.
        occasion: at each time, where the model changes between occasions.
    """
    if isinstance(model, Changing):
        assert occasion is not None
        read = lambda y, o: [a.predict(model.at(o), y) for a in population.assays]
        return of_its_assay(jax.vmap(read)(states, occasion), which)
    each = [assay.predict(model, states) for assay in population.assays]
    return of_its_assay(each, which)


def of_its_assay(each: Sequence[Array], which: Array | None) -> Array:
    """Of what each assay has for every sample, that of the sample's own assay.

    Args:
        each: by assay, shapes that broadcast against the samples.
        which: assay of each sample, by its place; not looked at where there is one.
    """
    chosen, *others = each
    for index, values in enumerate(others, start=1):
        chosen = jnp.where(which == index, values, chosen)
    return chosen


def reading_log_likelihoods(
    population: Population,
    log_prediction: Float[Array, "patients samples"],
    data: Packed,
    sigma: Float[ArrayLike, "#patients #samples"],
) -> Float[Array, "patients samples"]:
    """Log likelihood of every sample by the law of its assay; 0 where padded.

    Args:
        population: says which assays there are.
        log_prediction: natural log of the error-free reading of each sample.
        data: what was read.
        sigma: error SD of the assay of each sample (`by_sample`).
    """
    each = [
        assay.log_likelihood(
            log_prediction, data.log_value, data.below, sigma, data.sampled
        )
        for assay in population.assays
    ]
    return jnp.where(data.present, of_its_assay(each, data.which), 0.0)


def completed(
    population: Population,
    data: Packed,
    phi: Float[Array, "patients phi"],
    sigma: Float[Array, "*#patients errors"],
) -> Packed:
    """Data with what their error laws take from φ and σ: curves, additive parts.

    Args:
        population: says which assays there are.
        data: the cohort.
        phi: of every patient.
        sigma: as `Hyper.sigma`, for all or of each patient.
    """
    data = read_by_curves(data, phi, sigma)
    if not population.two_part:
        return data
    each = by_sample(additive_parts(population, sigma), data.which)
    return eqx.tree_at(
        lambda d: d.sampled.additive, data, each, is_leaf=lambda x: x is None
    )


def additive_parts(
    population: Population, sigma: Float[Array, "*batch errors"]
) -> Float[Array, "*batch assays"]:
    """Additive part of the error of each assay; 1 where it has none."""
    n, places = len(population.assays), population.two_part
    parts = jnp.ones((*sigma.shape[:-1], n))
    return parts.at[..., np.array(places, dtype=int)].set(
        sigma[..., n : n + len(places)]
    )


def by_sample(
    values: Float[Array, "*#patients assays"], which: Int[Array, "patients samples"]
) -> Float[Array, "#patients #samples"]:
    """A number of each assay, at the samples of that assay."""
    each = jnp.moveaxis(jnp.atleast_2d(values), -1, 0)[..., None]
    return of_its_assay(list(each), which)


def log_reading(
    population: Population,
    phi: Float[Array, " estimated"],
    known: Mapping[str, Array],
    events: EventTable,
    time_d: Float[ArrayLike, " times"],
    *,
    which: Int[Array, " times"] | None = None,
    after: Array | None = None,
    solver: Solver | None = None,
    grid: Grid | None = None,
) -> tuple[Float[Array, " times"], Bool[Array, ""]]:
    """Natural log of error-free readings of one patient, and whether it was solved.

    The readings of a patient who was not solved mean nothing. `grid` is passed over
    where the population's trajectories are not solved on one. `which` assay reads at
    each time may be left out where there is one.
    """
    model = population.patient_model(phi, known)
    steps = grid if population.on_grid else None
    trajectory = solve(model, events, time_d, after=after, solver=solver, grid=steps)
    occasion = None
    if isinstance(model, Changing):
        occasion = occasions_at(events, jnp.asarray(time_d), after)
    reading = predicted(population, model, trajectory.states, which, occasion)
    return reading, trajectory.ok & jnp.all(jnp.isfinite(reading))


def _patient_readings(phi: Array, whole: tuple) -> tuple[Array, Array]:
    population, solver, known, events, grid, time_d, after, which = whole
    reading, solved = log_reading(
        population,
        phi,
        known,
        events,
        time_d,
        which=which,
        after=after,
        solver=solver,
        grid=grid,
    )
    # A failed patient must not leak inf or NaN into anyone's gradient.
    return jnp.where(solved, reading, 0.0), solved


# Where a step on the grid overflowed, reverse mode meets zero times infinity. The
# gradient of a patient who was not solved is therefore set to zero; that of a solved
# patient is left as it is, NaN and all.
@eqx.filter_custom_vjp
def _guarded(phi, whole):
    return _patient_readings(phi, whole)


@_guarded.def_fwd
def _(perturbed, phi, whole):
    del perturbed
    reading, pull, solved = jax.vjp(
        lambda phi: _patient_readings(phi, whole), phi, has_aux=True
    )
    return (reading, solved), (pull, solved)


@_guarded.def_bwd
def _(residuals, cotangents, perturbed, phi, whole):
    del perturbed, phi, whole
    pull, solved = residuals
    (slope,) = pull(cotangents[0])
    return jnp.where(solved, slope, 0.0)


def population_model(
    population: Population,
    data: Packed,
    *,
    solver: Solver | None = None,
    likelihood: bool = True,
    observed: bool = True,
) -> None:
    """The NumPyro model of a cohort.

    Args:
        population: what is estimated and what varies.
        data: the cohort's arrays.
        solver: how to integrate.
        likelihood: False leaves the readings out (the prior alone).
        observed: False draws the readings instead of conditioning on them.
    """
    values = sample_hyper(population, data)
    shape = (data.n_patients, len(population.eta_names))
    eta = numpyro.sample("eta", dist.Normal().expand(shape).to_event(2))
    if not likelihood:
        return
    hyper = hyper_of(population, data, values)
    phi = patient_phi(population, hyper.centre, hyper.spread, cast(Array, eta))
    log_prediction, solved = log_readings(population, phi, data, solver)
    data = completed(population, data, phi, hyper.sigma)
    for index, assay in enumerate(population.assays):
        readings = CensoredReading(
            assay,
            log_prediction,
            hyper.sigma[index],
            data.below,
            solved[:, None],
            data.sampled,
        )
        with numpyro.handlers.mask(mask=data.present & (data.which == index)):
            numpyro.sample(
                assay.name, readings, obs=data.log_value if observed else None
            )
