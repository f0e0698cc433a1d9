"""What a laboratory sees of a trajectory: the quantity, and the error of the reading.

There is one likelihood, `Assay.log_likelihood`, and everything uses it: MAP, NUTS, LOO,
predictive checks and simulation.
"""

import dataclasses
import statistics
from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpyro.distributions as dist

from ckin._types import Array, ArrayLike, Float
from ckin.assay.errors import (
    DEFAULT_NU,
    FLOOR,
    NOT_COUNTED,
    AbstractError,
    Counts,
    Normal,
    Partitions,
    Sampled,
    StudentT,
)
from ckin.assay.natural import Additive, Combined, Proportional
from ckin.dataset import Dataset
from ckin.errors import InputError
from ckin.model import AbstractModel, log_normal, name_of


# Error laws that can be asked for; `RawCt` follows from the data.
ERRORS: dict[str, AbstractError] = {
    law.name: law
    for law in (
        Normal(),
        StudentT(),
        Counts(),
        Partitions(),
        Additive(),
        Proportional(),
        Combined(),
    )
}

# Residual SD of the natural log: Stein 2019 found 0.56 for qPCR, model misfit included.
# Taken for every assay: misfit is most of it.
SIGMA_MEDIAN, SIGMA_SD_LOG = 0.5, 0.3

# Prior of a coefficient of variation of drug concentrations: 5% to 80%.
CV_MEDIAN, CV_SD_LOG = 0.2, 0.7

# Prior of an error in the unit of its assay: this share of a typical reading, give or
# take a factor of 2.7.
ADDITIVE_SHARE, ADDITIVE_SD_LOG = 0.1, 1.0


class Assay(eqx.Module):
    """A measurement of one quantity of a model, with its error.

    Attributes:
        name: name of the assay in data (DVID).
        quantity: the model's quantity that it measures (`AbstractModel.units`).
        error: error law.
        sigma_median: prior median of σ: the error SD of the natural logarithm, or what
            the law says; `None` for the law's usual one.
        sigma_sd_log: prior SD of log σ; `None` likewise.
        additive_median: prior median of an error in the unit of the assay: σ of an
            additive law, the additive part of a combined one. There is no usual one
            (`scaled_to`).
        additive_sd_log: prior SD of its logarithm.
    """

    name: str = eqx.field(static=True)
    quantity: str = eqx.field(static=True)
    error: AbstractError = eqx.field(static=True, default=Normal())
    sigma_median: float | None = eqx.field(static=True, default=None)
    sigma_sd_log: float | None = eqx.field(static=True, default=None)
    additive_median: float | None = eqx.field(static=True, default=None)
    additive_sd_log: float = eqx.field(static=True, default=ADDITIVE_SD_LOG)

    @property
    def sigma_prior(self) -> dist.Distribution:
        """Prior of σ.

        Raises:
            InputError: an additive error whose size nobody has told.
        """
        if self.error.sigma_unit == "":
            return self.additive_prior
        of_cv = self.error.sigma_unit == "CV"
        usual = CV_SD_LOG if of_cv else SIGMA_SD_LOG
        sd_log = usual if self.sigma_sd_log is None else self.sigma_sd_log
        return log_normal(self.typical_sigma, sd_log)

    @property
    def typical_sigma(self) -> float:
        """Prior median of σ.

        Raises:
            InputError: an additive error whose size nobody has told.
        """
        if self.error.sigma_unit == "":
            return self._typical_additive
        if self.sigma_median is not None:
            return self.sigma_median
        return CV_MEDIAN if self.error.sigma_unit == "CV" else SIGMA_MEDIAN

    @property
    def additive_prior(self) -> dist.Distribution:
        """Prior of an error in the unit of the assay.

        Raises:
            InputError: nobody has told its size.
        """
        return log_normal(self._typical_additive, self.additive_sd_log)

    @property
    def _typical_additive(self) -> float:
        if self.additive_median is None:
            raise InputError(
                f"assay {self.name}: the size of its {self.error.name} error is in the "
                "unit of the assay, and nobody has told it; give additive_median, or "
                "take `Assay.scaled_to(dataset)`"
            )
        return self.additive_median

    def scaled_to(self, dataset: Dataset) -> "Assay":
        """The same assay with the prior of an error in its unit, if nobody gave it.

        Its median is a tenth of the median reading above 0 of the data, or 1 where
        there is none.
        """
        readings = [
            sample.value
            for patient in dataset.patients
            for sample in (*patient.baseline, *patient.samples)
            if sample.assay == self.name and sample.value > 0
        ]
        if self.additive_median is not None:
            return self
        typical = statistics.median(readings) if readings else 1.0 / ADDITIVE_SHARE
        return dataclasses.replace(self, additive_median=ADDITIVE_SHARE * typical)

    def with_error(self, error: AbstractError) -> "Assay":
        """The same assay with another error law."""
        return dataclasses.replace(self, error=error)

    def predict(self, model: AbstractModel, states) -> Array:
        """Natural log of what an error-free assay reads of `states`."""
        # A model describes one patient at one time: the axes of samples are ours.
        quantities_at = model.quantities
        for _ in range(jnp.ndim(states[0])):
            quantities_at = jax.vmap(quantities_at)
        quantities = quantities_at(states)
        if self.quantity not in quantities:
            known = ", ".join(model.units)
            raise ValueError(
                f"{name_of(model)} has no {self.quantity} for assay {self.name}; "
                f"it has {known}"
            )
        return jnp.log(jnp.maximum(quantities[self.quantity], FLOOR))

    def log_likelihood(
        self,
        log_prediction: Float[ArrayLike, "*samples"],
        log_value: Float[ArrayLike, "*samples"],
        below: ArrayLike,
        sigma: ArrayLike,
        sampled: Sampled = NOT_COUNTED,
    ) -> Float[Array, "*samples"]:
        """Log likelihood of each sample.

        Args:
            log_prediction: natural log of the error-free reading.
            log_value: natural log of the reading; of the limit where `below`.
            below: True where the sample is below its detection limit (M3).
            sigma: SD (scale, for Student-t) of the error on the log scale, or what the
                law says, for all or broadcast against the samples.
            sampled: what was examined, for laws that count.
        """
        return self.error.log_likelihood(
            log_prediction, log_value, below, sigma, sampled
        )

    def draw(
        self,
        key: Array,
        log_prediction: Float[Array, "*samples"],
        sigma: ArrayLike,
        sampled: Sampled = NOT_COUNTED,
    ) -> Float[Array, "*samples"]:
        """Natural log of readings with error, before any limit is applied."""
        return self.error.draw(key, log_prediction, sigma, sampled)


def qpcr(
    *,
    target: Literal["car", "backbone"] = "car",
    error: AbstractError | Literal["normal", "student_t"] = "normal",
    nu: int = DEFAULT_NU,
    sigma_median: float = SIGMA_MEDIAN,
    sigma_sd_log: float = SIGMA_SD_LOG,
) -> Assay:
    """QPCR in copies/µg gDNA.

    Args:
        target: "car" amplifies the CAR alone; "backbone" amplifies a vector sequence
            that FTC carry too, and counts them.
        error: error of the natural logarithm, or another law.
        nu: degrees of freedom of the Student-t error, an even number.
        sigma_median: prior median of the error SD (of the natural logarithm).
        sigma_sd_log: prior SD of its logarithm.
    """
    quantity = {"car": "copies_per_ug", "backbone": "copies_per_ug_backbone"}
    if target not in quantity:
        raise ValueError(f"target={target!r} is not 'car' or 'backbone'")
    laws = {"normal": Normal(), "student_t": StudentT(nu)}
    if isinstance(error, str) and error not in laws:
        raise ValueError(f"error={error!r} is not 'normal' or 'student_t'")
    law = laws[error] if isinstance(error, str) else error
    return Assay(
        "qpcr",
        quantity[target],
        law,
        sigma_median=sigma_median,
        sigma_sd_log=sigma_sd_log,
    )


def ddpcr(*, target: Literal["car", "backbone"] = "car") -> Assay:
    """DdPCR in copies/µg gDNA: the quantity of `qpcr`, counted."""
    return dataclasses.replace(qpcr(target=target), name="ddpcr")


def flow() -> Assay:
    """CAR+ T cells in blood by flow cytometry, cells/µL; FTC carry no CAR."""
    return Assay("flow", "car_cells_per_ul")


def ftc() -> Assay:
    """FTC in blood by flow cytometry (CD19+ CD3+), cells/µL."""
    return Assay("ftc", "ftc_cells_per_ul")


def bcell() -> Assay:
    """B cells in blood by flow cytometry (CD19+ CD3-), cells/µL; FTC are CD3+."""
    return Assay("bcell", "b_cells_per_ul")


def wbc() -> Assay:
    """Nucleated cells of blood, cells/µL: what copies/µg gDNA are a share of."""
    return Assay("wbc", "nucleated_cells_per_ul")


def bcrabl() -> Assay:
    """BCR-ABL1 transcripts per 100 ABL1 transcripts, %.

    ABL1 copies are what was examined: no BCR-ABL1 in 10,000 of them is below 0.01%,
    MR4; MR4.5 takes 32,000 and MR5 100,000.
    """
    return Assay("bcrabl", "bcr_abl1_pct")


def il6() -> Assay:
    """Serum IL-6, pg/mL, of a model that describes it."""
    return Assay("il6", "il6_pg_per_ml")


def cell_index() -> Assay:
    """Cell index of a well (impedance), of a model that describes it.

    Its error is additive, 0.002 to 0.006 of the index in the readings of CARRGODEX; the
    law here is that of all assays, of the logarithm. Where the index stays within a
    factor of three, as there, the two are nearly one.
    """
    return Assay("cell_index", "cell_index", sigma_median=0.01, sigma_sd_log=0.7)


# By the name that data give them.
ASSAYS: dict[str, Callable[..., Assay]] = {
    make.__name__: make
    for make in (qpcr, ddpcr, flow, ftc, bcell, wbc, bcrabl, il6, cell_index)
}
