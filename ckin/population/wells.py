"""Wells in a population: their curves are parameters that all patients share.

A fit that starts from raw Ct estimates the standard curve of every plate with the rest,
from the standards and from the samples. To everything that takes φ and σ the curves are
more of the same: φ of every patient ends with the intercepts and the slopes of the
plates, σ with the SD of a well, τ.
"""

import re
from collections.abc import Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import numpyro

from ckin._types import Array, Float
from ckin.assay import WELLS, Curves, Sampled
from ckin.ct import Standards, priors
from ckin.ct.likelihood import LN10
from ckin.population.pack import Packed
from ckin.population.specification import Population


TAU = "ct_tau"
INTERCEPT, SLOPE = "ct_intercept", "ct_slope"
UNITS = {INTERCEPT: "cycles", SLOPE: "cycles/decade", TAU: "cycles"}


def curve_names(standards: Standards | None) -> tuple[str, ...]:
    """Names of the curves' parameters: intercepts, slopes, τ; none without plates."""
    if standards is None:
        return ()
    # What a file format or a formula would stumble over is an underscore.
    plain = [re.sub(r"\W+", "_", plate) for plate in standards.plates]
    if len(set(plain)) < len(plain):
        plain = [str(number) for number in range(1, len(plain) + 1)]
    lines = [f"{kind}_{plate}" for kind in (INTERCEPT, SLOPE) for plate in plain]
    return (*lines, TAU)


def curve_units(standards: Standards | None) -> dict[str, str]:
    """Units of the curves' parameters."""
    return {name: UNITS[_kind(name)] for name in curve_names(standards)}


def curve_starts(standards: Standards | None) -> dict[str, float]:
    """The curves by least squares; τ starts from its prior."""
    if standards is None:
        return {}
    line = np.asarray(standards.line).T.ravel().tolist()
    return dict(zip(curve_names(standards)[:-1], line, strict=True))


def sample_curves(standards: Standards | None) -> dict[str, Array]:
    """NumPyro sites of the curves, and what the standard wells say of them."""
    if standards is None:
        return {}
    prior = priors()
    by_kind = {INTERCEPT: prior["intercept"], SLOPE: prior["slope"], TAU: prior["tau"]}
    values = {
        name: jnp.asarray(numpyro.sample(name, by_kind[_kind(name)]))
        for name in curve_names(standards)
    }
    *line, tau = values.values()
    intercept, slope = jnp.stack(line).reshape(2, -1)
    seen = standards.log_likelihood(intercept, slope, tau)
    numpyro.factor("ct_standards", jnp.sum(seen))
    return values


def with_curves(
    centre: Float[Array, "patients estimated"],
    sigma: Float[Array, " assays"],
    values: Mapping[str, Array],
    standards: Standards | None,
) -> tuple[Array, Array]:
    """Centres of φ and σ with the curves at their ends."""
    if standards is None:
        return centre, sigma
    *line, tau = [values[name] for name in curve_names(standards)]
    shared = jnp.broadcast_to(jnp.stack(line), (centre.shape[0], len(line)))
    return jnp.concatenate([centre, shared], 1), jnp.append(sigma, tau)


def wells_assay(population: Population) -> int:
    """Place of the assay that reads wells."""
    needs = [assay.error.needs for assay in population.assays]
    return next(index for index, need in enumerate(needs) if WELLS in need)


def read_by_curves(
    data: Packed, phi: Float[Array, "patients phi"], sigma: Array
) -> Packed:
    """Data whose wells are read by the curves at the ends of φ and σ.

    Args:
        data: returned as they are where there are no plates.
        phi: of every patient.
        sigma: of each assay, then τ; for all, or of each patient.
    """
    standards, wells = data.standards, data.sampled.wells
    if standards is None or wells is None:
        return data
    plates = len(standards.plates)
    own = lambda values: jnp.take_along_axis(values, wells.plate, axis=1)
    curves = Curves(
        intercept=own(phi[:, -2 * plates : -plates]),
        slope=own(phi[:, -plates:]),
        tau=jnp.atleast_2d(sigma)[:, -1:],
    )
    return eqx.tree_at(
        lambda d: d.sampled.curves, data, curves, is_leaf=lambda x: x is None
    )


def change_by_curves(
    sampled: Sampled, log_prediction: Float[Array, "patients samples"], plates: int
) -> Float[Array, "patients samples curves"]:
    """What a change of each intercept and slope is worth, in the log prediction.

    Wells see a + c (log prediction + log µg), c = slope / ln 10: an intercept higher by
    δ is a prediction higher by δ/c.
    """
    wells, curves = sampled.wells, sampled.curves
    assert wells is not None
    assert curves is not None
    mine = jnp.arange(plates) == wells.plate[..., None]
    by_intercept = LN10 / curves.slope
    by_slope = (log_prediction + wells.log_ug) / curves.slope
    both = [mine * each[..., None] for each in (by_intercept, by_slope)]
    return jnp.concatenate(both, axis=-1)


def _kind(name: str) -> str:
    return next(kind for kind in UNITS if name.startswith(kind))
