"""Laws of the scales on which patients vary, and of covariate effects."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import QPCR, Share, made

from ckin.errors import InputError
from ckin.population import CovariateEffect, population
from ckin.population.specification import PHI_REACH


POP = population(made(Share), QPCR)
SCALES = {"level": "log", "share": "logit", "slope": "identity"}


def test_each_parameter_varies_on_the_scale_of_its_prior():
    assert {name: info.scale for name, info in POP.info.items()} == SCALES


@given(
    level=st.floats(1e-2, 1e7),
    share=st.floats(1e-4, 1.0 - 1e-4),
    # Wider than a logarithm may reach: nothing stops a plain number.
    slope=st.floats(-1e3, 1e3),
)
def test_values_survive_the_way_to_phi_and_back(level, share, slope):
    values = jnp.array([level, share, slope])
    # Rounding of a logarithm or logit of size 12, and back; denormals are flushed.
    found = POP.from_phi(POP.to_phi(values))
    np.testing.assert_allclose(found, values, rtol=1e-13, atol=1e-300)


def test_phi_is_the_logarithm_the_logit_and_the_number_itself():
    found = POP.to_phi(jnp.array([500.0, 0.3, -0.05]))
    np.testing.assert_allclose(found, [math.log(500), math.log(3 / 7), -0.05])
    np.testing.assert_allclose(POP.typical_phi(), found)


def test_a_wild_phi_of_a_logarithm_stays_finite():
    values = POP.from_phi(jnp.array([1e6, -1e6, 0.0]))
    assert values[0] == pytest.approx(500.0 * math.exp(PHI_REACH))
    assert 0 < values[1] < 1e-5


@given(weight=st.floats(1.0, 300.0), beta=st.floats(-3.0, 3.0))
def test_a_power_effect_is_the_power_of_the_ratio_to_its_centre(weight, beta):
    effect = CovariateEffect("level", "WT", center=70.0)
    assert effect.name == "beta_level_WT"
    factor = math.exp(beta * effect.value(weight))
    assert factor == pytest.approx((weight / 70.0) ** beta, rel=1e-12)


def test_a_category_gives_one_to_its_patients_and_zero_to_others():
    effect = CovariateEffect("level", "ARM", level="high")
    assert effect.name == "beta_level_ARM_high"
    assert (effect.value("high"), effect.value("low")) == (1.0, 0.0)


@pytest.mark.parametrize("raw", [0.0, -3.0, math.nan, "high"])
def test_a_power_of_what_is_not_a_positive_number_is_refused(raw):
    with pytest.raises(ValueError, match="level~WT=LEVEL"):
        CovariateEffect("level", "WT").value(raw)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"estimate": ["lvl"]}, "has no parameter 'lvl'; it has level, share"),
        ({"vary": ["weight"]}, "weight of toys has no prior"),
        (
            {"estimate": ["level"], "covariates": [CovariateEffect("share", "WT")]},
            "acts on share, which is not estimated; estimated are level",
        ),
    ],
)
def test_a_choice_the_model_cannot_serve_says_why(choice, words):
    with pytest.raises(InputError, match=words):
        population(made(Share), QPCR, **choice)


def test_what_varies_is_estimated_too_and_omegas_keep_their_order():
    pop = population(made(Share), QPCR, estimate=["level"], vary=["slope", "level"])
    assert pop.estimate == ("level", "slope")
    assert pop.vary_index == (1, 0)
    assert pop.omega == (0.03, 0.5)
    wider = population(made(Share), QPCR, omega={"share": 1.5})
    assert wider.omega == (0.5, 1.5, 0.03)
