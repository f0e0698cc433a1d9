"""Leaving patients out: against fits of everyone else, and what cannot be left out."""

import jax
import numpy as np
import pytest
from toys import QPCR, Line, dataset, line_cohort, made

from ckin.inference.by_patient import LeftOut, compare, leave_patients_out
from ckin.inference.density import make_density
from ckin.inference.laplace import conditional, fit_laplace
from ckin.population import pack, population


def density_of(patients):
    pop = population(made(Line), QPCR)
    return make_density(pop, pack(dataset(patients), pop))


@pytest.fixture(scope="module")
def everyone():
    return line_cohort(12, (6,)).patients


@pytest.fixture(scope="module")
def scored(everyone):
    density = density_of(everyone)
    laplace = fit_laplace(density, jax.random.key(0))
    assert laplace.converged
    return leave_patients_out(density, laplace, jax.random.key(1))


def test_a_patient_left_out_scores_as_in_a_fit_without_it(everyone, scored):
    whole = density_of(everyone)
    quads = fit_laplace(whole, jax.random.key(0)).quadratics
    for row in (0, 5):
        rest = density_of([p for i, p in enumerate(everyone) if i != row])
        fitted = fit_laplace(rest, jax.random.key(0))
        z = jax.random.normal(jax.random.key(2), (4000, rest.n_hyper))

        def own(u, row=row):
            hyper = whole.hyper(u)
            index = whole.population.vary_index
            return conditional(hyper, quads, index).log_marginal[row]

        each = jax.lax.map(own, fitted.u + z @ fitted.factor.T)
        expected = float(jax.scipy.special.logsumexp(each) - np.log(4000))
        # Two Laplace approximations and a chain: a tenth of a nat.
        assert float(scored.elpd_i[row]) == pytest.approx(expected, abs=0.15)


def test_scores_add_up_and_name_their_patients(everyone, scored):
    assert scored.elpd == pytest.approx(float(scored.elpd_i.sum()))
    assert list(scored.ids) == [p.id for p in everyone]
    # One patient is an outlier to the others, and only some draws foresee it.
    assert np.median(scored.mc_error) < 0.03
    assert scored.mc_error.max() < 0.3


def test_the_order_of_patients_changes_no_score(everyone, scored):
    turned = density_of(everyone[::-1])
    laplace = fit_laplace(turned, jax.random.key(0))
    again = leave_patients_out(turned, laplace, jax.random.key(1))
    # Other draws for every patient: within their Monte Carlo error, which a chain's
    # autocorrelation makes about twice as large as that of independent draws.
    allowed = 8 * (scored.mc_error + again.mc_error[::-1])
    assert (np.abs(again.elpd_i[::-1] - scored.elpd_i) < allowed).all()


def named(*scores):
    ids = tuple("ABCDEFGHIJ")
    return [LeftOut(ids, np.asarray(s), np.zeros(10)) for s in scores]


def test_a_model_that_is_better_by_a_constant_is_ahead_without_error():
    good, bad = named(np.arange(10.0), np.arange(10.0) - 0.5)
    table = compare({"bad": bad, "good": good})
    assert list(table.index) == ["good", "bad"]
    assert table.loc["bad", "behind"] == pytest.approx(5.0)
    assert table.loc["bad", "error"] == pytest.approx(0.0, abs=1e-12)
    assert table.loc["good", "weight"] == pytest.approx(1.0, abs=1e-6)


def test_models_that_are_right_about_half_of_the_patients_each_share_the_weight():
    half = np.where(np.arange(10) < 5, 0.0, -20.0)
    one, other = named(half, half[::-1])
    table = compare({"one": one, "other": other})
    np.testing.assert_allclose(table["weight"], 0.5, atol=1e-6)


def test_models_scored_on_other_patients_are_not_compared():
    (one,) = named(np.zeros(10))
    other = LeftOut(one.ids[::-1], np.zeros(10), np.zeros(10))
    with pytest.raises(ValueError, match="different patients"):
        compare({"one": one, "other": other})
