"""CAR-T cells stimulated by leukaemia, B cells and CD19+ feeding T cells (FTC).

Cells in the whole body of one patient, N in cells/µL of blood: I infused, R resting
in tissue, D_1..D_8 dividing, E effectors, M memory, F FTC, L leukaemia, B B cells.

    A = L + B + ω F      T = R + ΣD + E + M      s = A / (A + r50 T + K)
    rec = k_act s        div = λ s^γ             out = k_out (1 - s^γ)
    back = k_re s max(1 - N/N_0, 0) E            c = κ (ΣD+E) / (ΣD+E + A + K_c)

    I' = -(k_eng + d_I) I                        R' = k_eng I - (rec + d_R) R
    D_1' = rec (R + M) + back - (div + out) D_1
    D_j' = 2 div D_{j-1} - (div + out) D_j
    E' = (1 - f_M) 2 div D_8 + out ΣD - δ_E E - back
    M' = f_M 2 div D_8 - (δ_M + rec) M           F' = -(d_F + c) F
    L' = r_L L · L/(L + 1) - c (L - L_min)       B' = s_B - (d_B + c) B
    N' = r_N N (1 - N/N_0)

γ is the open question. At γ = 0 division is programmed: one encounter with antigen
buys eight divisions. At γ = 1 every division needs antigen, and cells that go without
leave the programme (out). TKIs multiply s in rec and back, s^γ and κ by
(1 - Imax max(tki, dasatinib)) (1 - Imax_i imatinib). Effectors are called back only
while lymphopenia leaves room. Fewer than one leukaemic cell does not grow back; L_min
keeps the logarithm finite. Of the cells given the shares F_C and F_F arrive.

Laws that are open stand at the end of the card: how antigen stimulates (s), what
division needs (s^γ), how FTC are lost (d_F + c), and two that are off by default, loss
of effectors by exhaustion (e = x s added to δ_E) and of all CAR-T by rejection (h from
day t_h). FTC count as CAR-T or not by the target of the assay (`--target`).

Blood: CAR-T/µL = (b T + b_I I) / (70,000 µL/kg × weight). FTC are in blood as infused
cells are (b_I), B cells as resident ones (b), and both dilute the qPCR fraction.
Blasts in blood are left out: the trial infuses patients in remission. BCR::ABL1 is
read in marrow, as q L / 1e11 (half of a marrow of 50% blasts where q = 1).
"""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, law, log_normal, logit_normal, parameter, state
from ckin.units import blood_volume_ul, copies_per_ug


STEIN = "Stein 2019, Table 1 (read through nlmixr2lib Stein_2019_Tisagenlecleucel)"
LEON = "León-Triana 2021, doi:10.1016/j.cnsns.2020.105570 (BioModels BIOMD0000001012)"
ASSUMED = "assumption"
CALIBRATED = "assumption, set with the others so that published behaviour comes out"

# One cell: fewer do not grow. A continuous equation has no extinction of its own.
ONE_CELL = 1.0
# Cells of leukaemia below which it is not followed.
LEUKAEMIA_FLOOR = 1e-6
# Days in which rejection sets in.
ONSET_D = 2.0
# Leukaemic cells in a marrow of nothing but blasts: the load of León-Triana's relapse,
# 5e10, is then a marrow of 50% blasts. Residual B cells are the same at any load.
CELLS_OF_A_FULL_MARROW = 1e11


def relapse_with(blasts: float) -> dict[str, float]:
    """Burden of a relapse with this share of blasts in the marrow, 0 to 1."""
    return {"leukaemia_0": blasts * CELLS_OF_A_FULL_MARROW, "b_cells_0": 2.5e10}


# Antigen at the start of integration, which is BEFORE lymphodepletion where the
# protocol has one: `model.with_values(**SETTINGS["aplasia"])`.
SETTINGS: dict[str, dict[str, float]] = {
    "relapse": relapse_with(blasts=0.5),
    "low": relapse_with(blasts=0.2),
    # First remission, residual B cells: the trial's population and the defaults.
    "remission": {"leukaemia_0": 1e8, "b_cells_0": 2e9},
    # The same as lymphodepletion leaves it at infusion, for a course without any.
    "remission_lymphodepleted": {
        "leukaemia_0": 5.5e7,
        "b_cells_0": 2.5e8,
        "other_cells_0": 300.0,
    },
    # Molecular remission and a marrow that makes no B cells: nothing to meet but FTC.
    "aplasia": {"leukaemia_0": ONE_CELL, "b_cells_0": 1e6, "b_cell_source": 1e5},
}


def ratio(model: "FeedingSzcart01", antigen: Scalar, cart: Scalar) -> Scalar:
    """Stimulation by antigen per CAR-T cell, half-maximal near one to one."""
    unmet = model.antigen_ratio_half * cart + model.antigen_half
    return antigen / (antigen + unmet)


def michaelis(model: "FeedingSzcart01", antigen: Scalar, cart: Scalar) -> Scalar:
    """Stimulation that saturates in antigen, however many CAR-T cells share it."""
    del cart
    return antigen / (antigen + model.antigen_scale)


def mass_action(model: "FeedingSzcart01", antigen: Scalar, cart: Scalar) -> Scalar:
    """Chance of a random encounter: proportional to antigen while that is scarce."""
    del cart
    return -jnp.expm1(-antigen / model.antigen_scale)


def programmed_to_driven(model: "FeedingSzcart01", s: Scalar) -> Scalar:
    """s^γ with 0^0 = 1, and derivatives that are finite at s = 0 and at γ = 0."""
    positive = s > 0
    power = jnp.exp(model.antigen_need * jnp.log(jnp.where(positive, s, 1.0)))
    return jnp.where(positive, power, jnp.where(model.antigen_need > 0, 0.0, 1.0))


def programmed(model: "FeedingSzcart01", s: Scalar) -> Scalar:
    """Full division rate once recruited, whatever the antigen: γ = 0."""
    del model
    return jnp.ones_like(s)


def killed(model: "FeedingSzcart01", kill: Scalar) -> Scalar:
    """FTC are killed by the CAR-T cells that they feed, and are lost besides."""
    return model.feeder_loss + kill


def first_order(model: "FeedingSzcart01", kill: Scalar) -> Scalar:
    """FTC are lost at one rate, whatever CAR-T do to them."""
    del kill
    return model.feeder_loss


def inexhaustible(model: "FeedingSzcart01", s: Scalar) -> Scalar:
    """Stimulation costs effectors nothing."""
    del model
    return jnp.zeros_like(s)


def exhausting(model: "FeedingSzcart01", s: Scalar) -> Scalar:
    """Effectors that go on meeting antigen are exhausted and lost, in proportion."""
    return model.exhaustion_rate * s


def tolerated(model: "FeedingSzcart01", t: Scalar) -> Scalar:
    """Nobody rejects CAR-T."""
    del model
    return jnp.zeros_like(t)


def rejected(model: "FeedingSzcart01", t: Scalar) -> Scalar:
    """The first cycle immunises: from one day on every CAR-T cell is lost faster."""
    return model.rejection_rate * jax.nn.sigmoid((t - model.rejection_day) / ONSET_D)


def positive(default: float, sd_log: float, source: str = ASSUMED, **words: Any) -> Any:
    """Parameter with a log-normal prior around its default."""
    prior = log_normal(default, sd_log)
    return parameter(default, source=source, prior=prior, **words)


def fraction(default: float, sd_logit: float, source: str = ASSUMED, **words) -> Any:
    """Parameter between 0 and 1 with a logit-normal prior around its default."""
    prior = logit_normal(default, sd_logit)
    return parameter(default, unit="1", source=source, prior=prior, **words)


class Body(NamedTuple):
    """Cells of one patient."""

    infused: Scalar = state("cells", "infused CAR-T, distributing", scale=1e6)
    engaged: Scalar = state("cells", "CAR-T in tissue, resting", scale=1e6)
    dividing_1: Scalar = state("cells", "before the 1st division", scale=1e6)
    dividing_2: Scalar = state("cells", "before the 2nd division", scale=1e6)
    dividing_3: Scalar = state("cells", "before the 3rd division", scale=1e6)
    dividing_4: Scalar = state("cells", "before the 4th division", scale=1e6)
    dividing_5: Scalar = state("cells", "before the 5th division", scale=1e6)
    dividing_6: Scalar = state("cells", "before the 6th division", scale=1e6)
    dividing_7: Scalar = state("cells", "before the 7th division", scale=1e6)
    dividing_8: Scalar = state("cells", "before the 8th division", scale=1e6)
    effector: Scalar = state("cells", "effector CAR-T, contracting", scale=1e6)
    memory: Scalar = state("cells", "memory CAR-T", scale=1e6)
    feeder: Scalar = state("cells", "CD19+ feeding T cells", scale=1e6)
    leukaemia: Scalar = state("cells", "CD19+ leukaemia", log=True)
    b_cells: Scalar = state("cells", "normal B cells and precursors", scale=1e6)
    other_cells: Scalar = state("cells/uL", "other nucleated blood cells", log=True)

    @property
    def dividing(self) -> tuple[Scalar, ...]:
        """D_1 to D_8."""
        return self[2:10]


class FeedingSzcart01(AbstractModel):
    """One patient of NCT03984968; the equations are in the module's docstring."""

    # CAR-T: arrival, recruitment, division, contraction
    engagement_rate: Scalar = positive(
        0.35, 0.4, unit="1/day", symbol="k_eng", doc="infused cells settling in tissue"
    )
    infused_loss: Scalar = positive(
        0.35, 0.5, unit="1/day", symbol="d_I", doc="infused cells dying on the way"
    )
    resting_loss: Scalar = positive(
        0.05, 0.7, unit="1/day", symbol="d_R", doc="loss of cells that meet no antigen"
    )
    recruitment_rate: Scalar = positive(
        0.6,
        0.5,
        CALIBRATED,
        unit="1/day",
        symbol="k_act",
        doc="resting and memory cells into division at full stimulation",
        omega=0.5,
        estimate=True,
    )
    division_rate: Scalar = positive(
        1.4,
        0.25,
        "Stein 2019 (doubling 0.78 d), Ogasawara 2021 (0.755 d), through the pipeline "
        "of eight divisions",
        unit="1/day",
        symbol="λ",
        doc="divisions per day of a dividing cell at full drive",
        checked="C",
        omega=0.2,
        estimate=True,
    )
    antigen_need: Scalar = fraction(
        0.1,
        1.5,
        CALIBRATED,
        symbol="γ",
        doc="0: programmed division; 1: every division needs antigen",
    )
    stall_rate: Scalar = positive(
        0.5, 0.7, unit="1/day", symbol="k_out", doc="stalled cells leaving division"
    )
    recall_rate: Scalar = positive(
        0.3,
        0.7,
        CALIBRATED,
        unit="1/day",
        symbol="k_re",
        doc="effectors back into division at full stimulation, in an empty host",
    )
    effector_loss: Scalar = positive(
        0.16,
        0.3,
        STEIN,
        unit="1/day",
        symbol="δ_E",
        doc="contraction of effectors (half-life 4.3 d)",
        checked="V",
        omega=0.5,
        estimate=True,
    )
    memory_fraction: Scalar = fraction(
        0.004,
        0.6,
        "Stein 2019 has 0.0079 of the peak; half of it here, see the caution",
        symbol="f_M",
        doc="share of fully divided cells that become memory",
        omega=0.8,
        estimate=True,
    )
    memory_loss: Scalar = positive(
        0.0032,
        0.7,
        STEIN,
        unit="1/day",
        symbol="δ_M",
        doc="loss of memory cells (half-life 220 d, extrapolated)",
        checked="V",
    )

    # What CAR-T see and kill
    antigen_ratio_half: Scalar = positive(
        0.7,
        0.7,
        "ClinicalTrials.gov NCT03984968 (1:1 stimulates best); the value is assumed",
        unit="ratio",
        symbol="r50",
        doc="antigen cells per CAR-T cell that stimulate half-maximally",
    )
    antigen_half: Scalar = positive(
        1e8,
        1.5,
        CALIBRATED,
        unit="cells",
        symbol="K",
        doc="antigen that stimulates few CAR-T cells half-maximally",
    )
    antigen_scale: Scalar = positive(
        5e10,
        1.5,
        f"{LEON}: k_act / ρ_C, ρ_C = 0.25 × 4.5e-11 per cell and day",
        unit="cells",
        symbol="A_1",
        doc="antigen scale of the laws `michaelis` and `mass_action`; else unused",
        checked="C",
    )
    kill_rate: Scalar = positive(
        3.0, 1.0, unit="1/day", symbol="κ", doc="killing of a target among many CAR-T"
    )
    kill_half: Scalar = positive(
        1e9,
        1.5,
        CALIBRATED,
        unit="cells",
        symbol="K_c",
        doc="killers at which few targets die at half the rate",
    )
    viable_cart: Scalar = parameter(
        1.0,
        unit="1",
        symbol="F_C",
        doc="share of CAR-T given that arrive alive",
        source="doses are taken to be of viable cells",
    )
    viable_ftc: Scalar = parameter(
        1.0,
        unit="1",
        symbol="F_F",
        doc="share of FTC given that arrive alive",
        source="doses are taken to be of viable cells",
    )
    tki_imax: Scalar = fraction(
        0.9,
        1.0,
        "Mestermann 2019, doi:10.1126/scitranslmed.aau5907: dasatinib blocks "
        "CAR signals reversibly; the value is assumed",
        symbol="Imax",
        doc="share of CAR function that dasatinib or an unnamed TKI blocks at level 1",
    )
    imatinib_imax: Scalar = fraction(
        0.2,
        1.0,
        "imatinib is said to block CAR signals less than dasatinib; value assumed",
        symbol="Imax_i",
        doc="share of CAR function that imatinib blocks at level 1",
        checked="U",
    )

    # Feeding cells, leukaemia, B cells
    feeder_weight: Scalar = positive(
        1.0,
        1.0,
        unit="ratio",
        symbol="ω",
        doc="antigen cells that one FTC is worth",
        estimate=True,
    )
    exhaustion_rate: Scalar = positive(
        0.3,
        1.0,
        unit="1/day",
        symbol="x",
        doc="loss of effectors at full stimulation, law `exhausting`; else unused",
    )
    rejection_rate: Scalar = positive(
        0.3,
        1.0,
        unit="1/day",
        symbol="h",
        doc="loss of CAR-T to an immune response, law `rejected`; else unused",
    )
    rejection_day: Scalar = positive(
        42.0,
        0.3,
        unit="day",
        symbol="t_h",
        doc="day of that response, before a second cycle on day 56; else unused",
    )
    feeder_loss: Scalar = positive(
        0.2, 0.7, unit="1/day", symbol="d_F", doc="loss of FTC that nobody kills"
    )
    leukaemia_growth: Scalar = positive(
        0.03,
        0.5,
        LEON,
        unit="1/day",
        symbol="r_L",
        doc="growth of leukaemia",
        checked="C",
    )
    b_cell_source: Scalar = positive(
        2e7, 1.0, unit="cells/day", symbol="s_B", doc="B cells that the marrow makes"
    )
    b_cell_loss: Scalar = positive(
        0.017,
        0.5,
        LEON,
        unit="1/day",
        symbol="d_B",
        doc="loss of B cells that nobody kills (60 d)",
        checked="C",
    )
    leukaemia_0: Scalar = positive(
        1e8, 2.0, unit="cells", symbol="L(0)", doc="leukaemia before the first event"
    )
    b_cells_0: Scalar = positive(
        2e9,
        1.0,
        unit="cells",
        symbol="B(0)",
        doc="B cells before the first event",
        omega=1.0,
        estimate=True,
    )

    # Lymphodepletion and the other nucleated cells
    lymphocytes_spared: Scalar = fraction(
        0.1, 1.0, symbol="p", doc="B cells, CAR-T and FTC that lymphodepletion leaves"
    )
    leukaemia_spared: Scalar = fraction(
        0.5, 1.0, symbol="p_L", doc="leukaemia that lymphodepletion leaves"
    )
    other_cells_0: Scalar = positive(
        4000.0, 0.4, unit="cells/uL", symbol="N(0)", doc="N before the first event"
    )
    other_cells_normal: Scalar = positive(
        4000.0, 0.3, unit="cells/uL", symbol="N_0", doc="N once recovered"
    )
    other_cells_nadir: Scalar = positive(
        185.0,
        0.5,
        unit="cells/uL",
        symbol="N_min",
        doc="N right after lymphodepletion (300 three days later)",
    )
    other_cells_recovery: Scalar = positive(
        0.17, 0.4, unit="1/day", symbol="r_N", doc="logistic recovery of N"
    )

    # The blood sample
    blood_share: Scalar = fraction(
        0.02,
        0.5,
        "about 2% of lymphocytes are in blood, the usual figure",
        symbol="b",
        doc="share of resident CAR-T and B cells that is in blood",
        checked="U",
    )
    blood_share_infused: Scalar = fraction(
        0.15, 0.5, symbol="b_I", doc="share of infused CAR-T and of FTC in blood"
    )
    vcn: Scalar = positive(
        1.0,
        0.5,
        "usual range 1-3",
        unit="copies/cell",
        symbol="VCN",
        doc="vector copies per CAR-T cell (and per FTC, if the assay sees them)",
        checked="U",
        omega=0.4,
    )
    transcripts: Scalar = positive(
        1.0,
        0.7,
        unit="ratio",
        symbol="q",
        doc="BCR::ABL1 transcripts per ABL1 transcript in leukaemic marrow cells",
    )
    weight_kg: Scalar = parameter(
        60.0,
        unit="kg",
        symbol="WT",
        doc="body weight",
        source="the patient; 60 kg when nobody says",
        column="WT",
    )

    stimulation: Callable[..., Any] = law(
        ratio, michaelis, mass_action, doc="how antigen stimulates CAR-T, s"
    )
    division: Callable[..., Any] = law(
        programmed_to_driven, programmed, doc="what stimulation division needs, s^γ"
    )
    feeder_fate: Callable[..., Any] = law(
        killed, first_order, doc="how FTC are lost, d_F + c"
    )
    exhaustion: Callable[..., Any] = law(
        inexhaustible, exhausting, doc="what stimulation costs effectors, e"
    )
    rejection: Callable[..., Any] = law(
        tolerated, rejected, doc="loss of all CAR-T to an immune response, h"
    )

    State: ClassVar = Body
    units: ClassVar = {
        "copies_per_ug": "copies/ug",
        "copies_per_ug_backbone": "copies/ug",
        "car_cells_per_ul": "cells/uL",
        "b_cells_per_ul": "cells/uL",
        "nucleated_cells_per_ul": "cells/uL",
        "ftc_cells_per_ul": "cells/uL",
        "bcr_abl1_pct": "%",
        "leukaemia_cells": "cells",
        "ftc_cells": "cells",
    }
    receives: ClassVar = {"CART": "infused", "FTC": "feeder"}
    viable: ClassVar = {"CART": "viable_cart", "FTC": "viable_ftc"}
    inputs: ClassVar = {"tki": 0.0, "dasatinib": 0.0, "imatinib": 0.0}
    reference: ClassVar = (
        "ckin's own structure for the design of NCT03984968 (ClinicalTrials.gov). It "
        "is no result of that trial: none was published, and nothing was fitted to it"
    )
    caution: ClassVar = (
        "What FTC do is prior-driven: no FTC data are public, and ω, r50, K and d_F "
        "trade off. γ (programmed or antigen-driven division) is not identified by "
        "qPCR curves and decides what FTC can do: run it near 0 and near 1. Defaults "
        "were set by hand so that the behaviour of other CD19 CAR-T (tisa-cel, "
        "liso-cel, obe-cel) comes out; no kinetics of ssCART-19 were found. Changed "
        "from the first draft: K and K_c 100 times higher, effectors called back only "
        "in lymphopenia (competition: Kimmel 2021, PMC8059581), and f_M half of "
        "Stein's share, because otherwise a trickle of new B cells kept CAR-T going "
        "for ever and B cells never returned; γ 0.1 instead of 0 and λ and k_re "
        "higher, for the height and day of the peak. Lymphodepletion also takes CAR-T "
        "of earlier cycles; without it the peak of a relapse is seven times lower, "
        "Stein has 1.9 without fludarabine. Patients differ less in the peak day than "
        "published. Rejection is a law that is off. Not in the model: CD19-negative "
        "relapse, blasts in blood, CRS."
    )

    def initial(self) -> Body:
        """Antigen and blood cells; no CAR-T and no FTC yet."""
        empty = Body(*(jnp.zeros(()) for _ in Body._fields))
        return empty._replace(
            leukaemia=jnp.maximum(self.leukaemia_0, LEUKAEMIA_FLOOR),
            b_cells=self.b_cells_0,
            other_cells=self.other_cells_0,
        )

    def lymphodeplete(self, y: Body) -> Body:
        """Fludarabine and cyclophosphamide: all but L and N are lymphocytes."""
        spared = Body(*(self.lymphocytes_spared * cells for cells in y))
        return spared._replace(
            leukaemia=jnp.maximum(self.leukaemia_spared * y.leukaemia, LEUKAEMIA_FLOOR),
            other_cells=jnp.minimum(y.other_cells, self.other_cells_nadir),
        )

    def vector_field(self, t: Scalar, y: Body, inputs: Mapping[str, Scalar]) -> Body:
        """Slopes; the equations are in the module's docstring."""
        # Plain arithmetic, state by state: XLA fuses it, and not a stack of them.
        dividing = sum(y.dividing)
        killers = jnp.maximum(dividing + y.effector, 0.0)
        cart = jnp.maximum(y.engaged + killers + y.memory, 0.0)
        met = y.leukaemia + y.b_cells + self.feeder_weight * y.feeder
        antigen = jnp.maximum(met, 0.0)

        taken = jnp.maximum(inputs["tki"], inputs["dasatinib"])
        free = 1.0 - taken * self.tki_imax
        free = free * (1.0 - inputs["imatinib"] * self.imatinib_imax)
        seen = self.stimulation(self, antigen, cart)
        s = free * seen
        drive = free * self.division(self, seen)
        kill = self.kill_rate * free * killers / (killers + antigen + self.kill_half)

        room = jnp.maximum(1.0 - y.other_cells / self.other_cells_normal, 0.0)
        recruited = self.recruitment_rate * s
        recalled = self.recall_rate * s * room * y.effector
        stalling = self.stall_rate * (1.0 - drive)
        division = self.division_rate * drive
        divided = [division * cells for cells in y.dividing]
        entering = [
            recruited * (y.engaged + y.memory) + recalled,
            *(2.0 * cells for cells in divided[:-1]),
        ]
        graduates = 2.0 * divided[-1]
        growing = y.leukaemia / (y.leukaemia + ONE_CELL)
        refused = self.rejection(self, t)
        worn = self.exhaustion(self, s)
        return Body(
            -(self.engagement_rate + self.infused_loss + refused) * y.infused,
            self.engagement_rate * y.infused
            - (recruited + self.resting_loss + refused) * y.engaged,
            *(
                new - (division + stalling + refused) * cells
                for new, cells in zip(entering, y.dividing, strict=True)
            ),
            effector=(1.0 - self.memory_fraction) * graduates
            + stalling * dividing
            - (self.effector_loss + worn + refused) * y.effector
            - recalled,
            memory=self.memory_fraction * graduates
            - (self.memory_loss + recruited + refused) * y.memory,
            feeder=-self.feeder_fate(self, kill) * y.feeder,
            leukaemia=self.leukaemia_growth * growing * y.leukaemia
            - kill * (y.leukaemia - LEUKAEMIA_FLOOR),
            b_cells=self.b_cell_source - (self.b_cell_loss + kill) * y.b_cells,
            other_cells=self.other_cells_recovery
            * (1.0 - y.other_cells / self.other_cells_normal)
            * y.other_cells,
        )

    def quantities(self, y: Body) -> dict[str, Scalar]:
        """Assays of blood, and the cells that no assay sees."""
        blood_ul = blood_volume_ul(self.weight_kg)
        resident = y.engaged + sum(y.dividing) + y.effector + y.memory
        infused = self.blood_share_infused * y.infused
        car = (self.blood_share * resident + infused) / blood_ul
        ftc = self.blood_share_infused * y.feeder / blood_ul
        b_cells = self.blood_share * y.b_cells / blood_ul
        others = y.other_cells + b_cells
        return {
            "copies_per_ug": copies_per_ug(car, others + ftc, self.vcn),
            "copies_per_ug_backbone": copies_per_ug(car + ftc, others, self.vcn),
            "car_cells_per_ul": car,
            "b_cells_per_ul": b_cells,
            "nucleated_cells_per_ul": car + ftc + others,
            "ftc_cells_per_ul": ftc,
            "bcr_abl1_pct": 100.0
            * self.transcripts
            * (y.leukaemia / CELLS_OF_A_FULL_MARROW),
            "leukaemia_cells": y.leukaemia,
            "ftc_cells": y.feeder,
        }
