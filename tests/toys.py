"""Models with answers known on paper, and small cohorts of them."""

from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist

from ckin._types import Scalar
from ckin.assay import Assay, StudentT
from ckin.dataset import Dataset, Patient, Sample
from ckin.model import (
    AbstractModel,
    log_normal,
    logit_normal,
    parameter,
    state,
)
from ckin.protocol import Dose


TOY = "made up for a test"
QPCR = Assay("qpcr", "copies_per_ug")
HEAVY = Assay("qpcr", "copies_per_ug", StudentT())


class Level(NamedTuple):
    level: Scalar = state("copies/ug", "what qPCR reads", log=True)


class Line(AbstractModel):
    """log reading = a + b t: linear in its parameters, so a fit is known exactly."""

    a: Scalar = parameter(
        6.0, unit="1", doc="log level", source=TOY, prior=dist.Normal(6.0, 2.0),
        omega=0.8, estimate=True,
    )  # fmt: skip
    b: Scalar = parameter(
        -0.1, unit="1/day", doc="log slope", source=TOY, prior=dist.Normal(0.0, 0.3),
        omega=0.1, estimate=True,
    )  # fmt: skip

    State: ClassVar = Level
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    reference: ClassVar = TOY
    one_course: ClassVar = True

    def initial(self):
        return Level(jnp.exp(self.a))

    def vector_field(self, t, y, inputs):
        return Level(self.b * y.level)

    def closed_form(self, time_d):
        return Level(jnp.exp(self.a + self.b * time_d))

    def quantities(self, y):
        return {"copies_per_ug": y.level}


class Share(AbstractModel):
    """reading = level * share * exp(slope t) * weight / 60: one parameter a scale."""

    level: Scalar = parameter(
        500.0, unit="copies/ug", doc="a positive number", source=TOY,
        prior=log_normal(400.0, 0.7), omega=0.5, estimate=True,
    )  # fmt: skip
    share: Scalar = parameter(
        0.3, unit="1", doc="a fraction", source=TOY,
        prior=logit_normal(0.25, 0.8), omega=0.4, estimate=True,
    )  # fmt: skip
    slope: Scalar = parameter(
        -0.05, unit="1/day", doc="any number", source=TOY,
        prior=dist.Normal(-0.02, 0.1), omega=0.03, estimate=True,
    )  # fmt: skip
    weight: Scalar = parameter(
        60.0, unit="1", doc="body weight", source=TOY, column="WT"
    )

    State: ClassVar = Level
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    reference: ClassVar = TOY

    def initial(self):
        return Level(self.level * self.share * self.weight / 60.0)

    def vector_field(self, t, y, inputs):
        return Level(self.slope * y.level)

    def closed_form(self, time_d):
        return Level(self.initial().level * jnp.exp(self.slope * time_d))

    def quantities(self, y):
        return {"copies_per_ug": y.level}


class Prey(NamedTuple):
    hunter: Scalar = state("cells", "given, dividing while there is prey", log=True)
    prey: Scalar = state("cells", "what they kill", scale=10.0)
    unread: Scalar = state("cells", "nothing looks at it", scale=10.0)


class Hunt(AbstractModel):
    """A population that grows on another and crashes it: bent, then nearly straight.

    Solved on a grid. Its start depends on a parameter, its readings on body weight.
    """

    growth: Scalar = parameter(
        1.0, unit="1/day", doc="division", source=TOY, prior=log_normal(1.0, 0.3),
        omega=0.3, estimate=True,
    )  # fmt: skip
    death: Scalar = parameter(0.2, unit="1/day", doc="of hunters", source=TOY)
    prey_0: Scalar = parameter(
        100.0, unit="cells", doc="at first", source=TOY, prior=log_normal(100.0, 0.3)
    )
    weight: Scalar = parameter(
        60.0, unit="kg", doc="body weight", source=TOY, column="WT"
    )

    State: ClassVar = Prey
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    receives: ClassVar = {"CART": "hunter", "FTC": "prey"}
    reference: ClassVar = TOY

    def initial(self):
        return Prey(jnp.array(1e-3), self.prey_0, jnp.zeros(()))

    def vector_field(self, t, y, inputs):
        met = y.prey / (10.0 + y.prey)
        return Prey(
            (self.growth * met - self.death) * y.hunter,
            -0.02 * y.hunter * y.prey,
            y.hunter - y.unread,
        )

    def quantities(self, y):
        return {"copies_per_ug": 600.0 * y.hunter / self.weight}


def made(cls: type[AbstractModel], **values: Any) -> Any:
    """The model with these values; a type checker takes class variables for fields."""
    return cls(**values)


def sample(time_d: float, value: float, *, below: bool = False, **other) -> Sample:
    """A qPCR sample; its value is the limit where it is `below`."""
    limit = value if below else None
    known = dict(assay="qpcr", limit=limit, after=False, cycle=1, row=2)
    return Sample(time_d=time_d, value=value, below=below, **{**known, **other})


def patient(
    name: str,
    samples: Sequence[Sample],
    *,
    doses: Sequence[Dose] = (Dose(0.0, "CART", cells=1e8),),
    **covariates: float | str,
) -> Patient:
    return Patient(
        id=name,
        doses=tuple(doses),
        samples=tuple(samples),
        baseline=(),
        covariates={"WT": 60.0, **covariates},
        windows=(),
        lymphodepletion_d=(),
    )


def dataset(patients: Sequence[Patient]) -> Dataset:
    return Dataset(
        "by hand", tuple(patients), {"qpcr": "copies/ug"}, True, (), "0" * 64
    )


def line_cohort(
    n: int, times: Sequence[int], *, sigma: float = 0.4, seed: int = 1
) -> Dataset:
    """Patients of `Line`: patient i has `times[i % len(times)]` samples."""
    rng = np.random.default_rng(seed)
    made = []
    for row in range(n):
        a, b = rng.normal(6.0, 0.8), rng.normal(-0.1, 0.1)
        time_d = np.linspace(1.0, 20.0, times[row % len(times)])
        log_value = a + b * time_d + sigma * rng.normal(size=time_d.size)
        rows = [
            sample(t, v)
            for t, v in zip(time_d.tolist(), np.exp(log_value).tolist(), strict=True)
        ]
        made.append(patient(f"L{row}", rows))
    return dataset(made)
