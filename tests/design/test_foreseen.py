"""What a prior foresees, of a model whose metrics are log-normal on paper."""

import math

import numpy as np
import pytest

from ckin.foreseen import foresee
from ckin.identify import Alternative, Question


MODEL = '''
"""Cells that decay from the first infusion on: level = a exp(-0.1 t), or half of it."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
from ckin._types import Scalar
from ckin.model import AbstractModel, law, log_normal, parameter, state


class Level(NamedTuple):
    level: Scalar = state("copies/ug", "what qPCR reads", log=True)


def whole(model):
    """All of it."""
    return model.a


def half(model):
    """Half of it."""
    return 0.5 * model.a


class Decay(AbstractModel):
    """One exponential."""

    a: Scalar = parameter(2000.0, unit="copies/ug", doc="level at first", source="test",
        prior=log_normal(2000.0, 0.6), omega=0.5, estimate=True)
    start: Callable[..., Any] = law(whole, half, doc="what is seen")

    State: ClassVar = Level
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    reference: ClassVar = "made up for a test"
    one_course: ClassVar = True

    def initial(self):
        return Level(self.start(self))

    def vector_field(self, t, y, inputs):
        return Level(-0.1 * y.level)

    def closed_form(self, time_d):
        return Level(self.start(self) * jnp.exp(-0.1 * time_d))

    def quantities(self, y):
        return {"copies_per_ug": y.level}
'''


@pytest.fixture(scope="module")
def foreseen(tmp_path_factory):
    path = tmp_path_factory.mktemp("foreseen") / "decay.py"
    path.write_text(MODEL)
    question = Question(str(path), "szcart01-cart1", seed=3)
    laws = (Alternative("as it is", {}), Alternative("half", {"start": "half"}))
    return foresee(question, laws, persons=1000).set_index(["law", "metric"])


def test_quantiles_are_those_of_the_log_normal_that_the_prior_and_omega_make(foreseen):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3, 200_000))
    # Of ω the prior has its logarithm by ±0.5 (`ckin.population`).
    spread = 0.6 * z[0] + 0.5 * np.exp(0.5 * z[1]) * z[2]
    row = foreseen.loc[("as it is", "CMAX")]
    # Read from day 1 on.
    expected = math.log(2000.0) - 0.1 + np.quantile(spread, [0.05, 0.5, 0.95])
    found = np.log(row[["q05", "q50", "q95"]].astype(float))
    # A 5% quantile of 1,000 persons is good to 0.08 SD: 2.5 of its standard errors.
    np.testing.assert_allclose(found, expected, atol=0.2 * spread.std())
    assert row["n"] == 1000
    assert row["failed"] == 0
    area = foreseen.loc[("as it is", "AUC028")]
    # ∫ exp(-0.1 t) from 0 to 28, over its value on day 1; read every day by trapezoid.
    share = 10.0 * (1.0 - math.exp(-2.8)) * math.exp(0.1)
    assert area["q50"] / row["q50"] == pytest.approx(share, rel=0.01)
    assert foreseen.loc[("as it is", "TMAX"), "q50"] == 1.0
    lost = foreseen.loc[("as it is", "TLST")]
    # When half of them are under 50 copies/µg.
    ends = 10.0 * (math.log(row["q50"]) + 0.1 - math.log(50.0))
    assert lost["q50"] == pytest.approx(ends, abs=1.0)


def test_laws_are_foreseen_in_the_same_people(foreseen):
    whole, half = (foreseen.loc[(law, "CMAX")] for law in ("as it is", "half"))
    for name in ("q05", "q50", "q95"):
        assert half[name] == pytest.approx(0.5 * whole[name], rel=1e-6)
