"""How patients differ: tails, correlations, covariate forms, a horseshoe."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from toys import QPCR, Line, Share, dataset, made, patient, sample

from ckin.errors import InputError
from ckin.inference.density import make_density
from ckin.population import CovariateEffect, effect, pack, population
from ckin.population.effects import contributions
from ckin.population.hyper import patient_phi
from ckin.population.screening import TAU, local_name, z_name
from ckin.population.variation import Spread, normal_score, student_t


def test_a_normal_number_becomes_a_t_of_the_same_probability():
    z = np.linspace(-8.0, 8.0, 33)
    # scipy's own tails: the upper one by symmetry, for 1 - p has no digits there.
    far = stats.t.ppf(stats.norm.cdf(-np.abs(z)), 4)
    np.testing.assert_allclose(student_t(jnp.asarray(z)), -np.sign(z) * far, rtol=1e-12)
    near = np.linspace(-5.0, 5.0, 11)
    np.testing.assert_allclose(
        normal_score(student_t(jnp.asarray(near))), near, atol=1e-7
    )


def test_draws_of_heavy_tailed_patients_are_t():
    z = jax.random.normal(jax.random.key(3), (4000,))
    assert stats.kstest(np.asarray(student_t(z)), stats.t(4).cdf).pvalue > 0.01


def test_the_density_of_a_heavy_tailed_deviation_is_that_of_a_t():
    z = jnp.linspace(-8.0, 8.0, 17)
    t, slope = student_t(z), jax.vmap(jax.grad(student_t))(z)
    assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(
        stats.norm.logpdf(z) - np.log(slope), stats.t.logpdf(t, 4), rtol=1e-10
    )
    # The marginal likelihood takes three derivatives.
    third = jax.vmap(jax.grad(jax.grad(jax.grad(student_t))))(z)
    assert np.all(np.isfinite(third))


MIXING = jnp.linalg.cholesky(
    jnp.array([[1.0, 0.6, -0.3], [0.6, 1.0, 0.1], [-0.3, 0.1, 1.0]])
)


@pytest.mark.parametrize("mixing", [None, MIXING])
@pytest.mark.parametrize("n_heavy", [0, 2, 3])
def test_deviations_invert_and_their_slopes_are_their_derivative(mixing, n_heavy):
    spread = Spread(jnp.array([0.5, 1.2, 0.1]), mixing, n_heavy)
    eta = jax.random.normal(jax.random.key(1), (5, 3))
    back = spread.etas(spread.deviations(eta))
    np.testing.assert_allclose(back, eta, atol=1e-7)
    each = jax.vmap(jax.jacfwd(spread.deviations))(eta)
    np.testing.assert_allclose(spread.slopes(eta), each, rtol=1e-9, atol=1e-12)


def test_correlated_deviations_have_their_sds_and_correlations():
    omega = np.array([0.5, 1.2, 0.1])
    draws = Spread(jnp.asarray(omega), MIXING).deviations(
        jax.random.normal(jax.random.key(0), (40000, 3))
    )
    # Monte Carlo error of a correlation of 40,000 draws: 0.005.
    np.testing.assert_allclose(np.corrcoef(draws.T), MIXING @ MIXING.T, atol=0.02)
    np.testing.assert_allclose(np.std(draws, axis=0), omega, rtol=0.02)


def people(ages=(20.0, 40.0, 60.0), arms=("A", "B", "B")):
    return dataset(
        [
            patient(f"P{i}", [sample(3.0, 200.0), sample(9.0, 50.0)], AGE=age, ARM=arm)
            for i, (age, arm) in enumerate(zip(ages, arms, strict=True))
        ]
    )


def test_a_block_is_flat_coordinates_and_is_told_as_correlations():
    whole = population(
        made(Share), QPCR, vary=("level", "share", "slope"),
        correlate=[("slope", "level"), ],
    )  # fmt: skip
    density = make_density(whole, pack(people(), whole))
    assert "corr_level_slope" in density.names
    assert len(density.names) == len(density.start) == density.n_hyper
    at = density.names.index("corr_level_slope")
    assert float(density.constrain(density.start)["corr_level_slope"]) == 0.0
    for value in (-0.8, 0.3):
        u = density.start.at[at].set(np.arctanh(value))
        assert float(density.constrain(u)["corr_level_slope"]) == pytest.approx(value)
        # φ of patients has it: columns of η are level, share, slope.
        mixing = density.hyper(u).mixing
        assert mixing is not None
        wanted = np.eye(3)
        wanted[0, 2] = wanted[2, 0] = value
        np.testing.assert_allclose(mixing @ mixing.T, wanted, atol=1e-12)


def test_three_correlated_parameters_stay_correlations_wherever_the_sampler_goes():
    names = ("level", "share", "slope")
    whole = population(made(Share), QPCR, vary=names, correlate=[names])
    density = make_density(whole, pack(people(), whole))
    at = [density.names.index(f"corr_{a}_{b}") for a, b in
          (("level", "share"), ("level", "slope"), ("share", "slope"))]  # fmt: skip
    for key in range(5):
        u = density.start + 2.0 * jax.random.normal(
            jax.random.key(key), (density.n_hyper,)
        )
        told = density.constrain(u)
        r = [float(told[density.names[index]]) for index in at]
        mixing = density.hyper(u).mixing
        assert mixing is not None
        matrix = mixing @ mixing.T
        np.testing.assert_allclose(
            [matrix[0, 1], matrix[0, 2], matrix[1, 2]], r, atol=1e-12
        )
        np.testing.assert_allclose(np.diag(matrix), 1.0, atol=1e-12)


def test_a_population_without_correlations_is_that_with_none():
    plain = population(made(Line), QPCR)
    mixed = population(made(Line), QPCR, correlate=[("a", "b")])
    one, other = (make_density(p, pack(people(), p)) for p in (plain, mixed))
    eta = jax.random.normal(jax.random.key(2), one.eta_shape)
    at = other.names.index("corr_a_b")
    u = jnp.insert(one.start, at, 0.0)
    np.testing.assert_array_equal(
        one.patient_phi(one.start, eta), other.patient_phi(u, eta)
    )
    moved = one.log_density(one.start + 0.1, eta) - one.log_density(one.start, eta)
    further = jnp.insert(one.start + 0.1, at, 0.0)
    assert float(
        other.log_density(further, eta) - other.log_density(u, eta)
    ) == pytest.approx(float(moved), rel=1e-9)


@pytest.mark.parametrize(
    ("group", "words"),
    [
        (["a", "c"], "c does not vary between patients"),
        (["a"], "at least two"),
        (["a", "b", "a"], "a is named twice"),
    ],
)
def test_a_group_that_is_none_is_refused(group, words):
    with pytest.raises(InputError, match=words):
        population(made(Line), QPCR, correlate=[group])


def test_heavy_tails_are_of_all_that_varies_or_refused_by_name():
    whole = population(made(Line), QPCR, eta="student_t")
    phi = patient_phi(
        whole, jnp.zeros((1, 2)), jnp.array([2.0, 3.0]), jnp.array([[1.0, -2.0]])
    )
    expected = [2.0 * student_t(jnp.array(1.0)), 3.0 * student_t(jnp.array(-2.0))]
    np.testing.assert_allclose(phi[0], expected)
    with pytest.raises(InputError, match="did you mean student_t"):
        population(made(Line), QPCR, eta="studen_t")


@pytest.mark.parametrize(
    ("text", "center", "factor"),
    [
        ("level~AGE", 40.0, lambda x, b: (x / 40.0) ** b),
        ("level~AGE@70", 70.0, lambda x, b: (x / 70.0) ** b),
        ("level~power(AGE@median)", 40.0, lambda x, b: (x / 40.0) ** b),
        ("level~exp(AGE)", 40.0, lambda x, b: np.exp(b * (x - 40.0))),
        ("level~linear( AGE @ 50 )", 50.0, lambda x, b: 1.0 + b * (x - 50.0)),
    ],
)
def test_a_positive_parameter_follows_its_covariate_as_the_form_says(
    text, center, factor
):
    data = people()
    one = effect(text, data.patients)
    assert one.center == center
    assert effect(one.told, data.patients) == one
    whole = population(made(Share), QPCR, covariates=[one])
    density = make_density(whole, pack(data, whole))
    at, b = density.names.index("beta_level_AGE"), 0.01
    u = density.start.at[at].set(0.0 if not one.is_linear else density.start[at])
    values = density.sites(u) | {"beta_level_AGE": jnp.array(b)}
    told = contributions(whole.covariates, density.data.covariates, jnp.array([b]))
    assert set(values) == set(density.names)
    expected = [np.log(factor(age, b)) for age in (20.0, 40.0, 60.0)]
    np.testing.assert_allclose(told[:, 0], expected, rtol=1e-12)


def test_a_linear_effect_can_never_make_a_parameter_negative():
    data = people()
    whole = population(
        made(Share), QPCR, covariates=[effect("level~linear(AGE@30)", data.patients)]
    )
    density = make_density(whole, pack(data, whole))
    at = density.names.index("beta_level_AGE")
    for far in (-30.0, 30.0):
        u = density.start.at[at].set(far)
        beta = float(density.constrain(u)["beta_level_AGE"])
        least = min(1.0 + beta * off for off in (-10.0, 30.0))
        assert least == pytest.approx(0.01, abs=1e-9)
        assert np.all(np.isfinite(density.hyper(u).centre))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("level-AGE", "expected PARAMETER~COLUMN"),
        ("level~cube(AGE)", "choose power, exp, linear"),
        ("level~expp(AGE)", "did you mean exp"),
        ("level~AGE@old", "expected a number above 0 after @"),
        ("level~AGE@-3", "expected a number above 0 after @"),
        ("level~exp(AGE@x)", "expected a number after @"),
        ("level~ARM", "has words in it.*level~ARM=LEVEL"),
        ("level~HEIGHT", "is not in the data"),
        ("level~linear(AGE@90)", "patients on both sides of its centre 90"),
    ],
)
def test_a_text_that_is_no_effect_is_refused(text, words):
    with pytest.raises(InputError, match=words):
        effect(text, people().patients)


def test_an_effect_that_a_parameter_cannot_have_is_refused():
    data = people()
    linear = effect("slope~linear(AGE)", data.patients)
    with pytest.raises(InputError, match=r"write slope~exp\(AGE\)"):
        population(made(Share), QPCR, covariates=[linear])
    twice = [effect(t, data.patients) for t in ("level~AGE", "level~exp(AGE)")]
    with pytest.raises(InputError, match="another effect of AGE"):
        population(made(Share), QPCR, covariates=twice)
    bounded = [effect("level~linear(AGE)", data.patients)]
    with pytest.raises(InputError, match="--screen"):
        population(made(Share), QPCR, covariates=bounded, screen=True)
    with pytest.raises(InputError, match="--covariate"):
        population(made(Share), QPCR, screen=True)
    below = people(ages=(-1.0, 40.0, 60.0))
    power = population(made(Share), QPCR, covariates=[CovariateEffect("level", "AGE")])
    with pytest.raises(InputError, match=r"P0.*write level~exp\(AGE\)"):
        pack(below, power)


def test_a_horseshoe_shrinks_by_tau_and_leaves_what_stands_out_to_the_slab():
    data = people()
    texts = ("level~AGE", "level~ARM=B", "share~exp(AGE)")
    effects = [effect(text, data.patients) for text in texts]
    whole = population(made(Share), QPCR, covariates=effects, screen=True)
    density = make_density(whole, pack(data, whole))
    names = [one.name for one in effects]
    assert [name for name in density.names if name.startswith("beta_")] == names
    sites = [name for name, _ in density.layout]
    assert {TAU, *map(local_name, names), *map(z_name, names)} < set(sites)
    u = jnp.asarray(density.start)

    def told(tau, local, z):
        at = {TAU: tau, **{local_name(n): local for n in names}}
        moved = u
        for name, value in at.items():
            moved = moved.at[sites.index(name)].set(np.log(value))
        for name in names:
            moved = moved.at[sites.index(z_name(name))].set(z)
        return density.constrain(moved)

    # Far inside the slab a coefficient is z τ λ ω / s; far outside it is z c ω / s.
    units = [
        0.5 / np.std(np.log([20.0 / 40.0, 1.0, 60.0 / 40.0])),
        0.5 / np.std([0.0, 1.0, 1.0]),
        0.4 / np.std([-20.0, 0.0, 20.0]),
    ]
    small, large = told(1e-3, 0.1, 1.5), told(1e3, 10.0, 1.5)
    for name, unit in zip(names, units, strict=True):
        assert float(small[name]) == pytest.approx(1.5e-4 * unit, rel=1e-6)
        assert float(large[name]) == pytest.approx(3.0 * unit, rel=1e-6)


def test_coordinates_come_back_from_the_numbers_that_people_read():
    data = people()
    names = ("level", "share", "slope")
    effects = [effect(text, data.patients) for text in ("level~AGE", "share~exp(AGE)")]
    whole = population(
        made(Share), QPCR, vary=names, correlate=[names], covariates=effects,
        screen=True,
    )  # fmt: skip
    density = make_density(whole, pack(data, whole))
    u = density.start + 0.5 * jax.random.normal(jax.random.key(6), (density.n_hyper,))
    np.testing.assert_allclose(density.unconstrain(density.constrain(u)), u, atol=1e-9)
