"""Profile likelihood: how far one parameter can go while the others make up for it.

    ℓ(ψ) = max over all others of log L(θ) ,   limits where ℓ has fallen by χ²₁(95%) / 2

Patients are integrated out as at the maximum (`marginal`). Unlike a standard error, a
limit need not lie as far below as above, needs no curvature, and there may be none:
then the data bound the parameter on one side only, or on neither (practically not
identifiable: Raue et al. 2009, doi:10.1093/bioinformatics/btp358).
"""

import dataclasses
import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from scipy import stats

from ckin._types import Array
from ckin.errors import InputError, did_you_mean
from ckin.inference.density import Coordinate, Density, coordinates
from ckin.inference.marginal import smooth
from ckin.inference.maximum import Maximum
from ckin.inference.ridge import Place, Ridge, Side, walk
from ckin.inference.surface import Surface


# Of the interval.
LEVEL = 0.95
# How far beyond estimate and median of the prior a limit is sought, in SDs of the
# prior: with a log-normal one of SD 0.7, 33 times.
REACH = 5.0
# Quantiles of the prior that are 1 SD of a normal one apart from its median.
ONE_SD = (0.15865525393145707, 0.8413447460685429)
# An ω that small is none.
NO_OMEGA = 1e-3
# Nats by which a place may lie above the maximum.
HIGHER = 1e-3


@dataclasses.dataclass(frozen=True)
class Limit:
    """One end of an interval.

    Attributes:
        value: in the parameter's own unit; NaN where there is none.
        note: why there is none, or why it is not to be trusted; else empty.
    """

    value: float
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Profile:
    """The profile likelihood of one parameter.

    Attributes:
        name: of the parameter.
        level: of the interval.
        estimate: its value at the maximum, in its own unit.
        lower: end of the interval.
        upper: end of the interval.
        wald: the interval of its standard error, symmetric on the scale on which the
            parameter is estimated (log, logit or its own); NaN where there is none.
        value: places where it was computed, in its own unit, (places,), rising.
        delta: log likelihood there minus that of the maximum, (places,).
        wald_delta: the same of the normal approximation, (places,).
        u: all parameters there, (places, hyper), unconstrained.
        settled: whether the others were at their best, (places,).
    """

    name: str
    level: float
    estimate: float
    lower: Limit
    upper: Limit
    wald: tuple[float, float]
    value: np.ndarray
    delta: np.ndarray
    wald_delta: np.ndarray
    u: np.ndarray
    settled: np.ndarray

    @property
    def reasons(self) -> tuple[str, ...]:
        """What it says against the maximum, one sentence; none if it is one."""
        best = int(self.delta.argmax())
        if self.delta[best] <= HIGHER:
            return ()
        return (
            f"the likelihood is higher elsewhere: by {self.delta[best]:.2g} nats at "
            f"{self.name} = {self.value[best]:.4g}; start there (--set), or fit again "
            "with another --seed",
        )


def profile(
    density: Density,
    maximum: Maximum,
    name: str,
    *,
    level: float = LEVEL,
    key: Array | None = None,
) -> Profile:
    """Profile likelihood of one population parameter.

    An ω that is 0 at the maximum stays so, unless it is the one that is profiled.

    Args:
        density: what was fitted to what.
        maximum: of its likelihood.
        name: a population parameter: a typical value, `omega_NAME`, `sigma_ASSAY`,
            the coefficient of a covariate, or a correlation with the first parameter
            of its block.
        level: of the interval.
        key: of the fresh starts with which patients' modes are sought again at limits.

    Raises:
        InputError: no such parameter.
    """
    (index,) = places_of(density.names, [name])
    key = jax.random.key(0) if key is None else key
    free = np.array([other not in maximum.at_zero for other in density.names])
    covariance, has_width = _width(maximum, index, free)
    fall = 0.5 * float(stats.chi2.ppf(level, 1))
    coordinate = coordinates(density)[name]
    ends = zip((-1, 1), _ends(name, coordinate, maximum, index), strict=True)
    sides: list[Side] = []
    for side, end in ends:
        # Each side sets out with the patients' modes of the maximum.
        surface = Surface(smooth(density), maximum.modes.eta)
        top_value, slope = surface.at(maximum.u)
        top = Place(maximum.u, top_value, float(slope[index]), True)
        start = top
        if name in maximum.at_zero and side > 0:
            u = maximum.u.copy()
            u[index] = math.log(NO_OMEGA)
            start = Place(u, top_value, 0.0, True)
        ridge = Ridge(surface.at, index, free, covariance, surface.elsewhere)
        anew = partial(surface.higher_modes, key=key)
        sides.append(walk(ridge, start, side, end, fall, anew))
    own = lambda u: coordinate.forward(jnp.asarray(u, dtype=float))
    lower, upper = (
        _limit(name, found, own, index, top_value, side)
        for found, side in zip(sides, ("lower", "upper"), strict=True)
    )
    places = [*reversed(sides[0].places), top, *sides[1].places]
    u = np.stack([place.u for place in places])
    delta = np.array([place.value for place in places]) - top_value
    sd = math.sqrt(maximum.covariance[index, index]) if has_width else math.nan
    reach = float(stats.norm.ppf(0.5 + 0.5 * level)) * sd
    centre = maximum.u[index]
    return Profile(
        name=name,
        level=level,
        estimate=0.0 if name in maximum.at_zero else float(own(centre)),
        lower=lower,
        upper=upper,
        wald=(float(own(centre - reach)), float(own(centre + reach))),
        value=np.array([float(own(x)) for x in u[:, index]]),
        delta=delta,
        wald_delta=-0.5 * ((u[:, index] - centre) / sd) ** 2,
        u=u,
        settled=np.array([place.settled for place in places]),
    )


def places_of(fitted: Sequence[str], names: Sequence[str]) -> list[int]:
    """Places of parameters among those of a fit.

    Raises:
        InputError: one that is not estimated.
    """
    for name in names:
        if name not in fitted:
            raise InputError(
                f"--profile {name}: not a parameter of this fit; "
                f"{did_you_mean(name, fitted)}it estimates {', '.join(fitted)}"
            )
    return [fitted.index(name) for name in names]


def _width(maximum: Maximum, index: int, free: np.ndarray) -> tuple[np.ndarray, bool]:
    """Covariance that sets what a step is, and whether it is that of the estimates."""
    moving = free | (np.arange(free.size) == index)
    own = maximum.covariance[np.ix_(moving, moving)]
    if np.linalg.eigvalsh(own)[0] > 0.0:
        covariance = np.eye(free.size)
        covariance[np.ix_(moving, moving)] = own
        return covariance, True
    # Not determined, or none: that of the approximation, which has the priors in it.
    return maximum.width @ maximum.width.T, False


def _ends(
    name: str, coordinate: Coordinate, maximum: Maximum, index: int
) -> tuple[float, float]:
    """Values of u that a walk does not pass."""
    low, middle, high = (
        float(coordinate.inverse(jnp.asarray(coordinate.prior.icdf(q), dtype=float)))
        for q in (ONE_SD[0], 0.5, ONE_SD[1])
    )
    centre = float(maximum.u[index])
    end = min(centre, middle) - REACH * (middle - low)
    if name.startswith("omega_"):
        end = min(max(end, math.log(NO_OMEGA)), centre)
    return end, max(centre, middle) + REACH * (high - middle)


def _limit(name: str, side: Side, own, index: int, top: float, which: str) -> Limit:
    """A walk's end as a limit, or why there is none."""
    if side.found:
        return Limit(float(own(side.places[-1].u[index])))
    if not side.places:
        if side.stopped:
            return Limit(math.nan, f"no {which} limit found: no likelihood beside it")
        return Limit(math.nan, f"no {which} limit: 0 (no variation) is as likely")
    last = side.places[-1]
    at, fallen = float(own(last.u[index])), top - last.value
    if not last.settled:
        note = f"the other parameters did not settle at {name} = {at:.4g}"
        return Limit(math.nan, f"no {which} limit found: {note}")
    if side.stopped:
        note = f"the model cannot be solved past {name} = {at:.4g}"
    elif name.startswith("omega_") and which == "lower":
        return Limit(
            math.nan,
            f"no lower limit: 0 (no variation) is only {fallen:.2g} nats less likely",
        )
    else:
        note = "practically not identifiable on this side"
    return Limit(
        math.nan,
        f"no {which} limit found up to {name} = {at:.4g}, where the log likelihood is "
        f"{max(fallen, 0.0):.2g} lower: {note}",
    )


def profile_tables(
    profiles: Sequence[Profile], units: dict[str, str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Profiles place by place, and their intervals beside Wald's.

    Args:
        profiles: of some parameters.
        units: of each parameter.

    Returns:
        `parameter, unit, value, delta_log_likelihood, wald_delta, settled`; and
        `parameter, unit, level, estimate, lower, upper, wald_lower, wald_upper, note`.
    """
    places = [
        pd.DataFrame(
            {
                "parameter": each.name,
                "unit": units[each.name],
                "value": each.value,
                "delta_log_likelihood": each.delta,
                "wald_delta": each.wald_delta,
                "settled": each.settled,
            }
        )
        for each in profiles
    ]
    intervals = pd.DataFrame(
        [
            {
                "parameter": each.name,
                "unit": units[each.name],
                "level": each.level,
                "estimate": each.estimate,
                "lower": each.lower.value,
                "upper": each.upper.value,
                "wald_lower": each.wald[0],
                "wald_upper": each.wald[1],
                "note": "; ".join(n for n in (each.lower.note, each.upper.note) if n),
            }
            for each in profiles
        ]
    )
    return pd.concat(places, ignore_index=True), intervals
