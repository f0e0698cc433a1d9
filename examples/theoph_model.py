"""A drug taken by mouth: one compartment, first-order absorption and elimination.

    gut' = -ka gut        central' = ka gut - ke central
    concentration = central / V ,   V = CL weight / ke

Any data of one's own go the same way: a product that is no cell (`DRUG`, in mg), an
assay that ckin does not know (`conc`, in mg/L), hours. The theophylline data of R
(`Theoph`: 12 people, one dose each; Boeckmann, Sheiner and Beal) have a column Dose
instead of dose rows, and are fitted by

    ckin fit theoph.csv --model theoph_model.py --method laplace --out theoph \
      --map Subject=ID --map conc=DV --map Dose=DOSE_AT_0 \
      --unit TIME=hour --unit conc=mg/L --product DRUG=mg/kg --grid-error 1e-5
"""

import math
from collections.abc import Mapping
from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from ckin._types import Scalar
from ckin.model import AbstractModel, log_normal, parameter, state
from ckin.units import HOURS_PER_DAY


HERE = "a wide guess for a drug taken by mouth"


class Amounts(NamedTuple):
    """Drug that is not absorbed yet, and drug in the body."""

    gut: Scalar = state("mg", "drug in the gut")
    central: Scalar = state("mg", "drug in the body")


class OralDrug(AbstractModel):
    """Concentrations of a drug after doses by mouth."""

    ka: Scalar = parameter(
        1.5,
        unit="1/h",
        symbol="ka",
        doc="absorption",
        source=HERE,
        prior=log_normal(1.5, 1.0),
        omega=0.5,
        estimate=True,
    )
    ke: Scalar = parameter(
        0.08,
        unit="1/h",
        symbol="ke",
        doc="elimination",
        source=HERE,
        prior=log_normal(0.08, 1.0),
        estimate=True,
    )
    cl: Scalar = parameter(
        0.04,
        unit="L/(h kg)",
        symbol="CL",
        doc="clearance per kg of body weight",
        source=HERE,
        prior=log_normal(0.04, 1.0),
        omega=0.3,
        estimate=True,
    )
    weight: Scalar = parameter(
        70.0, unit="kg", doc="body weight", source="usual adult", column="WT"
    )

    State: ClassVar = Amounts
    receives: ClassVar = {"DRUG": "gut"}
    units: ClassVar = {"conc_mg_per_l": "mg/L"}
    assays: ClassVar = {"conc": "conc_mg_per_l"}
    errors: ClassVar = {"conc": "additive"}
    derived_units: ClassVar = {"volume": "L", "lka": "1", "lke": "1", "lcl": "1"}
    # Before its dose there is no drug, and a sample then is fitted too.
    described_from_d: ClassVar = -math.inf
    reference: ClassVar = "one-compartment kinetics, in any textbook"

    def initial(self) -> Amounts:
        """No drug yet."""
        return Amounts(jnp.zeros(()), jnp.zeros(()))

    def vector_field(
        self, t: Scalar, y: Amounts, inputs: Mapping[str, Scalar]
    ) -> Amounts:
        """Slopes are per day, and rates here per hour."""
        absorbed, eliminated = self.ka * y.gut, self.ke * y.central
        return Amounts(
            gut=-HOURS_PER_DAY * absorbed,
            central=HOURS_PER_DAY * (absorbed - eliminated),
        )

    def quantities(self, y: Amounts) -> dict[str, Scalar]:
        """What the laboratory measures."""
        return {"conc_mg_per_l": y.central / self.derived()["volume"]}

    def derived(self) -> dict[str, Scalar]:
        """Volume of distribution, and the logarithms that others print."""
        return {
            "volume": self.cl * self.weight / self.ke,
            "lka": jnp.log(self.ka),
            "lke": jnp.log(self.ke),
            "lcl": jnp.log(self.cl),
        }
