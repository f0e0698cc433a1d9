"""Free and bound CAR-T cells, tumour, IFN-γ, IL-6 and macrophages: a cytokine course.

Cells: F CAR-T free, B CAR-T bound to the tumour, T tumour, P macrophages. pg/mL: I
IFN-γ, L IL-6. i = I/I_0 and m = P/P_0 are what rest has as 1.

    F' = -k_b i (T - B) F + k_f B - α i B F - F/τ
    B' =  k_b i (T - B) F - k_f B - α i B B - B/τ
    T' = ρ T ln(T_max/T) - α i B T
    I' = r_I B T + d_I (I_0 - I)
    L' = r_L B T + d_L (L_0 [(1 - φ) + φ (1 + η) m/(m + η)] - L)
    P' = ρ_P [L/(L + ε) - L_0/(L_0 + ε)] P

The equations are those of code that was never published. It has production rates P_I,
P_L and a loss of macrophages where rest is written here; without CAR-T rest is then a
steady state by construction. Macrophages make the share φ of the IL-6 of rest.

Units. Stated: days; pg/mL; cells in 1e9 (here cells, so α = 0.1 is 1e-10 and so on).
Inferred: a rate per cell has the unit that closes its equation, and so have r_I and
r_L, pg/mL a day for a tumour cell and a bound CAR-T cell each; η is a number. P_0 is
5e9 cells if macrophages too are in 1e9; it changes no other quantity.

Not taken from the code. k_b and k_f (1.9e16 and 268 a day): binding is over before an
explicit solver can look; slower here. r_I and r_L: in its own units they move cytokines
by less than 0.001 pg/mL. The IL-6 that macrophages make at rest, 1872 × 5 pg/mL a day,
is 500 times what is cleared, so that the production P_L is negative, and the code's own
start is no steady state (IL-6 climbs to 450 pg/mL without any CAR-T): hence φ.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, logit_normal, parameter, state


CODE = "code CAR_T_NK-for-ALL (GitHub, Emiliefavier), unpublished as far as seen"


def value(default: float, sd_log: float = 0.5, **words: Any) -> Any:
    """A value of the code; the log-normal prior around it is ckin's."""
    prior = log_normal(default, sd_log)
    return parameter(default, source=CODE, checked="V", prior=prior, **words)


def assumed(default: float, source: str, sd_log: float = 0.7, **words: Any) -> Any:
    """A value that ckin assumes, with a log-normal prior around it."""
    prior = log_normal(default, sd_log)
    return parameter(default, source=source, checked="I", prior=prior, **words)


class Course(NamedTuple):
    """Cells in the body of one patient, and cytokines in blood."""

    free: Scalar = state("cells", "CAR-T cells, free", scale=1e6)
    bound: Scalar = state("cells", "CAR-T cells, bound to the tumour", scale=1e6)
    tumour: Scalar = state("cells", "tumour cells", log=True)
    ifn: Scalar = state("pg/mL", "IFN-γ", scale=100.0)
    # Of its peak, and not of rest: what is cleared within the hour would otherwise cost
    # thousands of steps to hold rest to more digits than any assay has.
    il6: Scalar = state("pg/mL", "IL-6", scale=1000.0)
    macrophages: Scalar = state("cells", "macrophages", log=True)


class Il6FreeBound(AbstractModel):
    """One patient with ALL; the equations are in the module's docstring."""

    binding: Scalar = assumed(
        1e-11,
        "assumption, so that CAR-T bind within days at the tumour of the start",
        unit="1/(cells day)",
        symbol="k_b",
        doc="binding of free CAR-T to the tumour",
    )
    unbinding: Scalar = assumed(
        0.3,
        "assumption: at rest half are bound to 3e10 tumour cells",
        unit="1/day",
        symbol="k_f",
        doc="release of bound CAR-T",
    )
    killing: Scalar = value(
        1e-10,
        unit="1/(cells day)",
        symbol="α",
        doc="killing of the tumour by bound CAR-T, and loss of CAR-T with it",
        omega=0.3,
    )
    cart_lifetime: Scalar = value(
        21.0, 0.3, unit="day", symbol="τ", doc="mean lifetime of CAR-T cells"
    )
    tumour_growth: Scalar = value(
        1.0 / 45.0, unit="1/day", symbol="ρ", doc="growth of the tumour (Gompertz)"
    )
    tumour_limit: Scalar = value(
        1e12, unit="cells", symbol="T_max", doc="largest tumour there can be"
    )
    tumour_0: Scalar = assumed(
        5e10,
        "assumption, a relapse (León-Triana 2021 has 5e10); the code starts from 1e9",
        1.0,
        unit="cells",
        symbol="T(0)",
        doc="tumour at the start",
        omega=1.0,
        estimate=True,
    )
    ifn_rest: Scalar = value(
        10.2, 0.3, unit="pg/mL", symbol="I_0", doc="IFN-γ without CAR-T"
    )
    ifn_made: Scalar = assumed(
        1e-17,
        "assumption, so that IFN-γ rises several-fold",
        unit="pg/(mL cells cells day)",
        symbol="r_I",
        doc="IFN-γ made for each bound CAR-T cell and tumour cell",
    )
    ifn_cleared: Scalar = value(
        1.51, 0.3, unit="1/day", symbol="d_I", doc="clearance of IFN-γ"
    )
    il6_rest: Scalar = value(
        1.1, 0.5, unit="pg/mL", symbol="L_0", doc="IL-6 without CAR-T", omega=0.5
    )
    il6_made: Scalar = assumed(
        2e-15,
        "assumption: a thousand pg/mL at the peak, as in a severe release of cytokines",
        1.0,
        unit="pg/(mL cells cells day)",
        symbol="r_L",
        doc="IL-6 made for each bound CAR-T cell and tumour cell",
        omega=1.0,
        estimate=True,
    )
    il6_cleared: Scalar = value(
        16.6, 0.3, unit="1/day", symbol="d_L", doc="clearance of IL-6"
    )
    macrophage_share: Scalar = parameter(
        0.5,
        unit="1",
        symbol="φ",
        doc="share of the IL-6 of rest that macrophages make",
        source="assumption; see the module's docstring",
        checked="I",
        prior=logit_normal(0.5, 1.0),
    )
    macrophage_half: Scalar = value(
        3.6e-5,
        unit="1",
        symbol="η",
        doc="macrophages, of those of rest, that make half of the most they can",
    )
    macrophages_rest: Scalar = value(
        5e9, unit="cells", symbol="P_0", doc="macrophages without CAR-T"
    )
    macrophage_growth: Scalar = value(
        1.7, unit="1/day", symbol="ρ_P", doc="growth of macrophages at much IL-6"
    )
    il6_half: Scalar = value(
        0.011, unit="pg/mL", symbol="ε", doc="IL-6 of half-maximal such growth"
    )

    State: ClassVar = Course
    receives: ClassVar = {"CART": "free"}
    units: ClassVar = {
        "il6_pg_per_ml": "pg/mL",
        "ifn_pg_per_ml": "pg/mL",
        "cart_cells": "cells",
        "bound_cells": "cells",
        "tumour_cells": "cells",
        "macrophage_cells": "cells",
    }
    derived_units: ClassVar = {"macrophage_loss": "1/day"}
    reference: ClassVar = (
        "Equations of the code CAR_T_NK-for-ALL (GitHub, Emiliefavier), CAR-T part; "
        "no publication was found"
    )
    caution: ClassVar = (
        "Not fitted to patients: the heights of IL-6 and IFN-γ are ckin's assumption, "
        "and so is how fast CAR-T bind. CAR-T do not expand in it: IL-6 peaks days "
        "earlier than a patient's. At the code's η macrophages make all they can at "
        "rest, so they hardly move IL-6, and at its ε a hundredfold IL-6 adds 1% to "
        "their growth; at rest any number of them stays. An IL-6 knock-down in CAR-T "
        "is not described, nor tocilizumab, which raises IL-6 in serum. No assay of "
        "copies/µg belongs to it."
    )

    def initial(self) -> Course:
        """The tumour, cytokines and macrophages at rest, and no CAR-T yet."""
        return Course(
            jnp.zeros(()),
            jnp.zeros(()),
            self.tumour_0,
            self.ifn_rest,
            self.il6_rest,
            self.macrophages_rest,
        )

    def vector_field(
        self, t: Scalar, y: Course, inputs: Mapping[str, Scalar]
    ) -> Course:
        """Slopes; the equations are in the module's docstring."""
        active = y.ifn / self.ifn_rest
        exchanged = self.binding * active * (y.tumour - y.bound) * y.free
        exchanged = exchanged - self.unbinding * y.bound
        kill = self.killing * active * y.bound
        loss = kill + 1.0 / self.cart_lifetime

        met = y.bound * y.tumour
        share = y.macrophages / self.macrophages_rest
        half = self.macrophage_half
        # One at rest, whatever η.
        activity = (1.0 + half) * share / (share + half)
        at_rest = self.il6_rest * (1.0 + self.macrophage_share * (activity - 1.0))
        excess = y.il6 / (y.il6 + self.il6_half) - self._saturation_at_rest()
        return Course(
            free=-exchanged - loss * y.free,
            bound=exchanged - loss * y.bound,
            tumour=(self.tumour_growth * jnp.log(self.tumour_limit / y.tumour) - kill)
            * y.tumour,
            ifn=self.ifn_made * met + self.ifn_cleared * (self.ifn_rest - y.ifn),
            il6=self.il6_made * met + self.il6_cleared * (at_rest - y.il6),
            macrophages=self.macrophage_growth * excess * y.macrophages,
        )

    def quantities(self, y: Course) -> dict[str, Scalar]:
        """Cytokines in blood, cells in the body."""
        return {
            "il6_pg_per_ml": y.il6,
            "ifn_pg_per_ml": y.ifn,
            "cart_cells": y.free + y.bound,
            "bound_cells": y.bound,
            "tumour_cells": y.tumour,
            "macrophage_cells": y.macrophages,
        }

    def derived(self) -> dict[str, Scalar]:
        """Loss of macrophages that rest needs."""
        return {"macrophage_loss": self.macrophage_growth * self._saturation_at_rest()}

    def _saturation_at_rest(self) -> Scalar:
        """Growth of macrophages at rest, of the most there can be."""
        return self.il6_rest / (self.il6_rest + self.il6_half)
