"""The phases of `phases_smooth`, of a patient whose level wanders afterwards.

    C = C_smooth exp(w(t))

w is a walk in the logarithm of time: 0 until day 28, and by the end of each stretch of
days δ further, linear in ln t on the way and constant after the last,

    w(t) = Σ δ_k min(1, max(0, ln(t/a_k) / ln(b_k/a_k)))
    (a_k, b_k) = (28, 90), (90, 180), (180, 365), (365, 730), (730, 1460) days

In the ODE both rates have w'(t) = δ_k / (t ln(b_k/a_k)) more, on the stretch of t. With
every δ at 0 the curve is that of `phases_smooth`; patients differ in them (ω in units
of ln C), and the typical patient's are estimated too, from a prior around 0. What a
patient has gained on, or lost to, the two exponentials goes on from there: readings
that lie months apart stray together, as independent errors of an assay do not.

What it is for: foreseeing late samples. Two exponentials, estimated until some day, are
too sure of what comes years later: CAR-T that persist, or rise again when B cells come
back, are no error of the assay. The walk says by how much a forecast widens with every
further stretch, and learns it from patients who were followed long.
"""

import math
from typing import ClassVar

import jax.numpy as jnp
from ckin.models.phases_smooth import (  # pyright: ignore[reportMissingImports]
    AbstractGatedPhases,
)

from ckin._types import Array, Scalar
from ckin.model import normal, parameter


KNOTS_D = (28.0, 90.0, 180.0, 365.0, 730.0, 1460.0)
STRETCHES_D = tuple(zip(KNOTS_D, KNOTS_D[1:], strict=False))


def further(start: float, end: float):
    """The parameter of what the level gains over a stretch of days."""
    return parameter(
        0.0,
        unit="1",
        symbol=f"δ{end:g}",
        doc=f"gained by ln C over days {start:g} to {end:g}, beside the phases",
        checked="I",
        source="assumption: a factor of 1.6 either way in two of three patients; "
        "stretches end at usual visits",
        prior=normal(0.0, 0.5),
        omega=0.5,
        estimate=True,
    )


class PhasesWandering(AbstractGatedPhases):
    """Empirical phases of a single course whose level wanders between visits."""

    walk_90: Scalar = further(*STRETCHES_D[0])
    walk_180: Scalar = further(*STRETCHES_D[1])
    walk_365: Scalar = further(*STRETCHES_D[2])
    walk_730: Scalar = further(*STRETCHES_D[3])
    walk_1460: Scalar = further(*STRETCHES_D[4])

    reference: ClassVar = (
        "ckin; the phases are those of phases_smooth (Stein AM et al. CPT "
        "Pharmacometrics Syst Pharmacol 2019;8:285-295, doi:10.1002/psp4.12388). The "
        "walk is ours: a random effect of each occasion, carried on"
    )
    caution: ClassVar = (
        "The walk is empirical: it says that a course strays from two exponentials, "
        "and not why. Its stretches are fixed beforehand; patients who left early say "
        "nothing of the later ones, whose ω then is its prior. Half-lives are of the "
        "phases alone. See phases_smooth for the rest."
    )

    def switch_times(self) -> tuple[Scalar, ...]:
        """The infusion, and the days between stretches."""
        return tuple(jnp.asarray(day) for day in (0.0, *KNOTS_D))

    def wandered(self, t: Array) -> tuple[Array, Array]:
        """The walk of the module's docstring, and its slope per day."""
        after = jnp.maximum(t, KNOTS_D[0])
        level, slope = jnp.zeros_like(after), jnp.zeros_like(after)
        steps = (
            self.walk_90,
            self.walk_180,
            self.walk_365,
            self.walk_730,
            self.walk_1460,
        )
        for (start, end), step in zip(STRETCHES_D, steps, strict=True):
            rate = step / math.log(end / start)
            level += rate * (jnp.log(jnp.clip(after, start, end)) - math.log(start))
            on_it = (t >= start) & (t < end)
            slope += jnp.where(on_it, rate / after, 0.0)
        return level, slope
