"""Memory, effector and exhausted CAR-T cells, switched over by antigen.

Cells in the whole body: M memory, E effectors, X exhausted, L leukaemia, B B cells, F
feeding T cells (FTC). u is how long antigen has been seen, 0 to 1.

    A = L + B + ω F        a = A^n / (K^n + A^n)        p = p_0 (1 - a)
    k = κ (E + ε X) / (E + ε X + K_c)

    M' = (2p - 1) μ M + r_M (1 - a) E - d_M M
    E' = 2 (1 - p) μ M + (λ a - d_E - r_M (1 - a) - x u) E + y (1 - u) X
    X' = x u E - (d_X + y (1 - u)) X
    u' = (a - u)/τ
    L' = r_L L · L/(L + 1) (1 - L/L_max) - k L
    B' = s_B - (d_B + k) B
    F' = -(d_F + k) F

One switch does four things. Without antigen (a = 0) memory renews itself (each division
leaves 2p_0 memory cells), effectors contract and some of them become memory; with
antigen (a = 1) every division of memory makes two effectors, effectors divide, and no
memory is formed. Exhaustion follows u, a mean of a over the last τ days: a short
encounter costs little, a long one costs x a day; X come back once u has faded.

It is toggle-type and NOT the model of Kirouac 2023, whose equations were not read; that
paper's idea is the switch. Every value is an assumption.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, logit_normal, parameter, state
from ckin.units import blood_volume_ul, copies_per_ug


# Leukaemia of less than one cell does not grow back; antigen is never less.
ONE_CELL = 1.0
STEIN = "assumption after Stein 2019"
TUNED = "assumption, so that a relapse peaks on day 12, near 10,000 copies/µg"

# Antigen before lymphodepletion; the defaults are a relapse.
SETTINGS: dict[str, dict[str, float]] = {
    "remission": {"leukaemia_0": 1e8, "b_cells_0": 2e9},
    "aplasia": {"leukaemia_0": 1.0, "b_cells_0": 1e6, "b_cell_source": 1e5},
}


def positive(default: float, sd_log: float, source: str = "assumption", **words) -> Any:
    """A parameter with a log-normal prior around its default."""
    prior = log_normal(default, sd_log)
    return parameter(default, source=source, checked="I", prior=prior, **words)


def fraction(
    default: float, sd_logit: float, source: str = "assumption", **words
) -> Any:
    """A parameter between 0 and 1 with a logit-normal prior around its default."""
    prior = logit_normal(default, sd_logit)
    return parameter(
        default, unit="1", source=source, checked="I", prior=prior, **words
    )


class Body(NamedTuple):
    """Cells of one patient."""

    memory: Scalar = state("cells", "memory CAR-T", scale=1e6)
    effector: Scalar = state("cells", "effector CAR-T", scale=1e6)
    exhausted: Scalar = state("cells", "exhausted CAR-T", scale=1e6)
    exposure: Scalar = state("1", "antigen seen over the last days, 0 to 1", scale=1e-2)
    leukaemia: Scalar = state("cells", "CD19+ leukaemia", log=True)
    b_cells: Scalar = state("cells", "normal B cells and precursors", log=True)
    feeder: Scalar = state("cells", "CD19+ feeding T cells", scale=1e6)


class Toggle(AbstractModel):
    """One patient with B-ALL; the equations are in the module's docstring."""

    # The switch
    antigen_half: Scalar = positive(
        3e8,
        1.0,
        TUNED,
        unit="cells",
        symbol="K",
        doc="antigen cells at which the switch is half over",
    )
    steepness: Scalar = positive(
        2.0, 0.25, unit="1", symbol="n", doc="how sharply it switches"
    )
    feeder_weight: Scalar = positive(
        1.0, 1.0, unit="ratio", symbol="ω", doc="antigen cells that one FTC is worth"
    )

    # Memory
    self_renewal: Scalar = parameter(
        0.5,
        unit="1",
        symbol="p_0",
        doc="daughters of memory that stay memory, without antigen",
        source="assumption: memory then keeps its number, but for d_M",
    )
    memory_division: Scalar = positive(
        0.2, 0.5, unit="1/day", symbol="μ", doc="division of memory"
    )
    memory_formed: Scalar = positive(
        0.00124,
        0.7,
        f"{STEIN}: 0.0079 × (0.16 - 0.0032), its effectors that become memory",
        unit="1/day",
        symbol="r_M",
        doc="effectors into memory, without antigen",
        omega=0.8,
        estimate=True,
    )
    memory_loss: Scalar = positive(
        0.0032,
        0.7,
        f"{STEIN} (half-life 220 d, extrapolated)",
        unit="1/day",
        symbol="d_M",
        doc="loss of memory",
    )

    # Effectors, and their exhaustion
    division: Scalar = positive(
        0.95,
        0.2,
        f"{STEIN} (doubling 0.78 d) less contraction",
        unit="1/day",
        symbol="λ",
        doc="division of effectors among much antigen",
        omega=0.1,
        estimate=True,
    )
    effector_loss: Scalar = positive(
        0.15876,
        0.3,
        f"{STEIN}: 0.16 less what becomes memory",
        unit="1/day",
        symbol="d_E",
        doc="loss of effectors",
        omega=0.4,
        estimate=True,
    )
    exhaustion: Scalar = positive(
        0.12,
        0.7,
        unit="1/day",
        symbol="x",
        doc="exhaustion of effectors after long exposure",
    )
    recovery: Scalar = positive(
        0.02,
        0.7,
        unit="1/day",
        symbol="y",
        doc="exhausted back to effectors once exposure has faded",
    )
    exhausted_loss: Scalar = positive(
        0.1, 0.7, unit="1/day", symbol="d_X", doc="loss of exhausted cells"
    )
    exposure_time: Scalar = positive(
        7.0, 0.5, unit="day", symbol="τ", doc="days over which exposure is remembered"
    )

    # What CAR-T kill
    kill_rate: Scalar = positive(
        1.5, 0.7, TUNED, unit="1/day", symbol="κ", doc="killing among many CAR-T"
    )
    kill_half: Scalar = positive(
        2e10,
        1.0,
        TUNED,
        unit="cells",
        symbol="K_c",
        doc="killers at which it is halved",
    )
    exhausted_killing: Scalar = fraction(
        0.1, 1.0, symbol="ε", doc="killing by an exhausted cell, of an effector's"
    )
    leukaemia_growth: Scalar = positive(
        0.03,
        0.5,
        "assumption after León-Triana 2021 (1/30)",
        unit="1/day",
        symbol="r_L",
        doc="growth of leukaemia",
    )
    leukaemia_max: Scalar = positive(
        1e12, 0.5, unit="cells", symbol="L_max", doc="most leukaemia there can be"
    )
    b_cell_source: Scalar = positive(
        2e7, 1.0, unit="cells/day", symbol="s_B", doc="B cells that the marrow makes"
    )
    b_cell_loss: Scalar = positive(
        0.017,
        0.5,
        "assumption after León-Triana 2021 (60 d)",
        unit="1/day",
        symbol="d_B",
        doc="loss of B cells that nobody kills",
    )
    feeder_loss: Scalar = positive(
        0.2, 0.7, unit="1/day", symbol="d_F", doc="loss of FTC that nobody kills"
    )
    leukaemia_0: Scalar = positive(
        1e10,
        1.5,
        unit="cells",
        symbol="L(0)",
        doc="leukaemia before the first event",
        omega=1.0,
        estimate=True,
    )
    b_cells_0: Scalar = positive(
        2e10, 1.0, unit="cells", symbol="B(0)", doc="B cells before the first event"
    )

    # Doses, lymphodepletion, the blood sample
    engrafted: Scalar = fraction(
        0.2,
        0.7,
        symbol="F_C",
        doc="share of CAR-T given that live on, as memory",
    )
    lymphocytes_spared: Scalar = fraction(
        0.1, 1.0, symbol="s", doc="lymphocytes that lymphodepletion leaves"
    )
    leukaemia_spared: Scalar = fraction(
        0.5, 1.0, symbol="s_L", doc="leukaemia that lymphodepletion leaves"
    )
    other_cells: Scalar = positive(
        4000.0, 0.4, unit="cells/uL", symbol="N", doc="other nucleated blood cells"
    )
    blood_share: Scalar = fraction(
        0.02, 0.5, symbol="b", doc="share of CAR-T, B cells and FTC that is in blood"
    )
    vcn: Scalar = positive(
        1.0,
        0.5,
        unit="copies/cell",
        symbol="VCN",
        doc="vector copies of a CAR-T cell",
        omega=0.4,
    )
    weight_kg: Scalar = parameter(
        60.0,
        unit="kg",
        symbol="WT",
        doc="body weight",
        source="the patient; 60 kg when nobody says",
        column="WT",
    )

    State: ClassVar = Body
    receives: ClassVar = {"CART": "memory", "FTC": "feeder"}
    viable: ClassVar = {"CART": "engrafted"}
    units: ClassVar = {
        "copies_per_ug": "copies/ug",
        "car_cells_per_ul": "cells/uL",
        "b_cells_per_ul": "cells/uL",
        "ftc_cells_per_ul": "cells/uL",
        "leukaemia_cells": "cells",
        "memory_cells": "cells",
        "effector_cells": "cells",
        "exhausted_cells": "cells",
    }
    derived_units: ClassVar = {
        "contraction_half_life": "day",
        "memory_half_life": "day",
        "exhausted_share": "1",
    }
    reference: ClassVar = (
        "ckin's own structure, toggle-type: the idea of a switch by antigen is of "
        "Kirouac DC et al. Nat Biotechnol 2023, doi:10.1038/s41587-023-01687-x, whose "
        "equations and values are not these"
    )
    caution: ClassVar = (
        "Not fitted to anyone: every value is an assumption, and what FTC do here is "
        "one, for no FTC data are public. A copies/µg curve does not tell memory, "
        "effectors and exhausted cells apart. B cells that the marrow goes on making "
        "keep CAR-T going for ever, near 400 copies/µg, and stay below their normal "
        "number. Other nucleated cells do not fall with lymphodepletion, so copies/µg "
        "of the first days read low. Not in the model: sharing of antigen among CAR-T, "
        "CD19-negative relapse, TKI."
    )

    def initial(self) -> Body:
        """Antigen; no CAR-T and no FTC yet."""
        empty = Body(*(jnp.zeros(()) for _ in Body._fields))
        return empty._replace(leukaemia=self.leukaemia_0, b_cells=self.b_cells_0)

    def lymphodeplete(self, y: Body) -> Body:
        """Fludarabine and cyclophosphamide, of CAR-T of earlier cycles too."""
        spared = Body(*(self.lymphocytes_spared * cells for cells in y))
        return spared._replace(
            leukaemia=self.leukaemia_spared * y.leukaemia, exposure=y.exposure
        )

    def sensed(self, y: Body) -> Scalar:
        """How far antigen has switched, a, from 0 to 1."""
        antigen = y.leukaemia + y.b_cells + self.feeder_weight * y.feeder
        # By logarithms: the power would overflow where antigen is gone.
        over = jnp.log(jnp.maximum(antigen, ONE_CELL)) - jnp.log(self.antigen_half)
        return jax.nn.sigmoid(self.steepness * over)

    def vector_field(self, t: Scalar, y: Body, inputs: Mapping[str, Scalar]) -> Body:
        """Slopes; the equations are in the module's docstring."""
        on = self.sensed(y)
        renewed = self.self_renewal * (1.0 - on)
        divided = self.memory_division * y.memory
        formed = self.memory_formed * (1.0 - on) * y.effector
        worn = self.exhaustion * y.exposure * y.effector
        # u stays between 0 and 1; a solver's trial step may not.
        rested = self.recovery * jnp.maximum(1.0 - y.exposure, 0.0) * y.exhausted
        killers = jnp.maximum(y.effector + self.exhausted_killing * y.exhausted, 0.0)
        kill = self.kill_rate * killers / (killers + self.kill_half)
        growing = y.leukaemia / (y.leukaemia + ONE_CELL)
        room = 1.0 - y.leukaemia / self.leukaemia_max
        return Body(
            memory=(2.0 * renewed - 1.0) * divided
            + formed
            - self.memory_loss * y.memory,
            effector=2.0 * (1.0 - renewed) * divided
            + (self.division * on - self.effector_loss) * y.effector
            - formed
            - worn
            + rested,
            exhausted=worn - rested - self.exhausted_loss * y.exhausted,
            exposure=(on - y.exposure) / self.exposure_time,
            leukaemia=(self.leukaemia_growth * growing * room - kill) * y.leukaemia,
            b_cells=self.b_cell_source - (self.b_cell_loss + kill) * y.b_cells,
            feeder=-(self.feeder_loss + kill) * y.feeder,
        )

    def quantities(self, y: Body) -> dict[str, Scalar]:
        """Assays of blood, and the cells that no assay tells apart."""
        per_ul = self.blood_share / blood_volume_ul(self.weight_kg)
        car = per_ul * (y.memory + y.effector + y.exhausted)
        b_cells, ftc = per_ul * y.b_cells, per_ul * y.feeder
        others = self.other_cells + b_cells + ftc
        return {
            "copies_per_ug": copies_per_ug(car, others, self.vcn),
            "car_cells_per_ul": car,
            "b_cells_per_ul": b_cells,
            "ftc_cells_per_ul": ftc,
            "leukaemia_cells": y.leukaemia,
            "memory_cells": y.memory,
            "effector_cells": y.effector,
            "exhausted_cells": y.exhausted,
        }

    def derived(self) -> dict[str, Scalar]:
        """Half-lives without antigen; share of exhausted cells with much, for long."""
        lost = self.effector_loss + self.memory_formed
        fading = self.memory_loss + (1.0 - 2.0 * self.self_renewal) * (
            self.memory_division
        )
        # E grows at λ - d_E - x and feeds X at x: X/(E + X) once they grow together.
        growing = self.division - self.effector_loss + self.exhausted_loss
        return {
            "contraction_half_life": jnp.log(2.0) / lost,
            "memory_half_life": jnp.log(2.0) / fading,
            "exhausted_share": self.exhaustion / growing,
        }
