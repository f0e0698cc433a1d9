"""The likelihood of wells: closed forms against scipy, laws, and recovery of truth."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plates import INTERCEPT, SLOPE, drawn, layout, sample
from scipy import integrate, optimize, stats

from ckin.ct import CtData, CtSample, CtWells, pack, priors, standard_curve
from ckin.ct.poisson import interpolated_log_moments, positive_log_moments


A, B = jnp.array([INTERCEPT]), jnp.array([SLOPE])
C = SLOPE / math.log(10.0)
# Two ways to the same sums of a few doubles.
SAME = 1e-9
# Of the sum over nodes that stands for the integral over a sample's error.
QUADRATURE = 2e-3

# Each number of wells is compiled anew.
few = settings(max_examples=25)

EMPTY = drawn(0, layout())


def packed(*samples) -> CtWells:
    return pack(dataclasses.replace(EMPTY, samples=tuple(samples)))


def ct_of(copies: float) -> float:
    return INTERCEPT + SLOPE * math.log10(copies)


def likelihood(wells: CtWells, log_prediction, tau=0.2, sigma=0.4):
    at = jnp.broadcast_to(
        jnp.asarray(log_prediction, float), wells.samples.log_ug.shape
    )
    return _of_samples(wells, at, jnp.asarray(tau), jnp.asarray(sigma))


@eqx.filter_jit
def _of_samples(wells: CtWells, at, tau, sigma):
    return wells.samples_log_likelihood(at, A, B, tau, sigma)


shifts = st.floats(-3.0, 3.0)
taus, sigmas = st.floats(0.02, 1.0), st.floats(0.05, 1.5)
gaps = st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=4)


@few
@given(st.lists(st.floats(14.0, 18.0), min_size=1, max_size=4), shifts, taus, sigmas)
def test_wells_of_a_sample_are_normal_with_a_shared_error(cts, shift, tau, sigma):
    wells = packed(sample(cts))
    prediction = 15.5 + shift
    mean = INTERCEPT + C * (prediction + math.log(0.2))
    scatter = float(wells.samples.scatter[0])
    covariance = (C * sigma) ** 2 + np.eye(len(cts)) * (tau**2 + C**2 * scatter)
    expected = stats.multivariate_normal([mean] * len(cts), covariance).logpdf(cts)
    found = likelihood(wells, prediction, tau, sigma)
    # More than 6e5 copies scatter by 2e-6 at most, 3e-6 in cycles squared: 1e-2 of the
    # smallest τ², and that is not known to better than a tenth.
    assert float(found[0]) == pytest.approx(expected, rel=1e-3, abs=1e-3)


@few
@given(st.floats(14.0, 18.0), gaps, shifts, taus, sigmas)
def test_only_the_mean_of_the_wells_tells_of_the_prediction(
    middle, gaps, shift, tau, sigma
):
    """What the prediction changes is the ordinary log-normal likelihood of the reading,
    with the error of the wells beside that of the sample."""
    # Wells that differ by a hundred τ would tell of the Poisson scatter, and so of the
    # prediction; those of a plate differ by a few.
    cts = [middle + tau * gap for gap in gaps]
    wells = packed(sample(cts))
    reading = (np.mean(cts) - INTERCEPT) / C - math.log(0.2)
    error = ((tau / C) ** 2 + float(wells.samples.scatter[0])) / len(cts)
    ordinary = lambda at: stats.norm.logpdf(at, reading, math.sqrt(sigma**2 + error))
    here, there = reading + shift, reading - 1.0
    found = likelihood(wells, here, tau, sigma) - likelihood(wells, there, tau, sigma)
    expected = ordinary(here) - ordinary(there)
    # As above, of each of the two: they may be hundreds, and their difference nothing.
    largest = max(abs(float(ordinary(at))) for at in (here, there))
    close = QUADRATURE * (2.0 + largest)
    assert float(found[0]) == pytest.approx(float(expected), abs=close)


def test_a_well_known_curve_gives_the_likelihood_of_readings():
    """Tiny τ and many copies: the assay's likelihood of log copies/µg, σ alone."""
    copies = np.geomspace(1e6, 1e9, 5)
    wells = packed(*(sample([ct_of(c), ct_of(c)], name=f"{c}") for c in copies))
    prediction = np.log(copies / 0.2) + np.linspace(-1.0, 1.0, 5)
    found = likelihood(wells, prediction, 1e-3, 0.5)
    own = likelihood(wells, np.log(copies / 0.2), 1e-3, 0.5)
    expected = stats.norm.logpdf(np.log(copies / 0.2) - prediction, 0.0, 0.5)
    # 1e6 copies scatter by 0.1%, and 1e-3 cycles are 0.07%: next to 50%, 4e-6.
    np.testing.assert_allclose(found - own, expected - expected.max() + 0.0, atol=1e-4)


# ln λ, and exact moments of ln N there.
GRID = np.arange(-25.0, 9.0, 0.01)
MOMENTS = positive_log_moments(np.exp(GRID))


def direct(one: CtSample, prediction: float, tau: float, sigma: float) -> float:
    """The likelihood by the trapezium rule over ln λ of the sample."""
    silent = len(one.cts) - len(one.amplified)
    mean, sd = INTERCEPT + C * MOMENTS[0], np.sqrt(tau**2 + C**2 * MOMENTS[1])
    total = stats.norm.logpdf(GRID, prediction + math.log(one.dna_ug), sigma)
    total -= silent * np.exp(GRID)
    for ct in one.amplified:
        total += np.log(-np.expm1(-np.exp(GRID))) + stats.norm.logpdf(ct, mean, sd)
    top = total.max()
    return top + math.log(integrate.trapezoid(np.exp(total - top), GRID))


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.0])
@pytest.mark.parametrize("off", [-8.0, -3.0, 0.0, 3.0, 8.0])
@pytest.mark.parametrize(
    "cts",
    [
        (None,),
        (None, None, None),
        (36.5, None, None),
        (36.0, 37.4, None),
        (35.9, 36.9, 37.8),
        (33.0, 33.2),
        (29.0, 29.3, 29.1),
    ],
)
def test_few_copies_and_silent_wells_are_integrated_over(cts, off, sigma):
    """Predictions up to 8 σ from the reading."""
    one, known = sample(cts), sample([ct or 36.8 for ct in cts])
    copies = standard_copies(known)
    prediction = math.log(copies / one.dna_ug) + off * sigma
    found = float(likelihood(packed(one), prediction, 0.2, sigma)[0])
    expected = direct(one, prediction, 0.2, sigma)
    assert found == pytest.approx(expected, abs=QUADRATURE, rel=QUADRATURE)


def standard_copies(one: CtSample) -> float:
    return 10 ** float((np.mean(one.amplified) - INTERCEPT) / SLOPE)


@pytest.mark.parametrize("sigma", [0.1, 0.4, 1.0])
@pytest.mark.parametrize("cts", [(36.0, None), (33.0, 33.2), (29.0, 29.3, 29.1)])
def test_a_prediction_further_off_is_never_likelier(cts, sigma):
    """However far: there the nodes no longer reach what the integral is made of, and
    a fit must still be led to the data."""
    wells = packed(sample(cts))
    reading = math.log(standard_copies(sample(cts)) / 0.2)
    levels = reading + np.concatenate([np.linspace(-16.0, -1.0, 16), [1.0, 4.0, 9.0]])
    found = np.array([float(likelihood(wells, at, sigma=sigma)[0]) for at in levels])
    assert (np.diff(found[:16]) > 0).all()
    assert (np.diff(found[16:]) < 0).all()


def test_silent_wells_bound_the_level_from_above_alone():
    wells = packed(sample([None, None, None]))
    levels = np.linspace(-12.0, 12.0, 49)
    found = np.array([float(likelihood(wells, level)[0]) for level in levels])
    assert (np.diff(found) < 1e-12).all()
    assert found[0] == pytest.approx(0.0, abs=1e-4)
    assert np.isfinite(found).all()
    # 0.2 µg hold 3 copies at 15 copies/µg: without error e^-3 of one well.
    one = likelihood(packed(sample([None])), math.log(15.0), sigma=1e-4)
    assert float(one[0]) == pytest.approx(-3.0, abs=1e-3)


def test_a_prediction_of_nothing_does_not_explain_a_ct():
    wells = packed(sample([30.0, 30.1]))
    near, far = likelihood(wells, math.log(500.0)), likelihood(wells, math.log(1e-6))
    assert float(far[0]) < float(near[0]) - 100.0


def test_more_dna_without_amplification_means_less():
    few, many = packed(sample([None], 20.0)), packed(sample([None], 200.0))
    level = math.log(30.0)
    assert float(likelihood(many, level)[0]) < float(likelihood(few, level)[0])


def test_padding_changes_nothing():
    one, two = sample([30.0]), sample([25.0, 25.2, None, 25.1], name="t")
    both = likelihood(packed(one, two), 8.0)
    alone = [float(likelihood(packed(each), 8.0)[0]) for each in (one, two)]
    np.testing.assert_allclose(both, alone, rtol=SAME)


def test_order_of_wells_does_not_matter():
    first, last = sample([36.0, None, 37.0]), sample([None, 37.0, 36.0])
    np.testing.assert_allclose(
        likelihood(packed(first), 2.0), likelihood(packed(last), 2.0), rtol=SAME
    )


SAMPLES = (
    sample([30.0, 30.2]),
    sample([36.0, None], name="t"),
    sample([None, None], name="u"),
)


def test_gradients_are_those_of_finite_differences():
    data = drawn(3, layout(levels=(1.0, 3.0, 10.0, 1e3, 1e5)))
    wells = pack(dataclasses.replace(data, samples=SAMPLES))

    def total(values):
        a, b, log_tau, log_sigma, *levels = values
        curve = (a[None], b[None], jnp.exp(log_tau))
        of_standards = wells.standards_log_likelihood(*curve)
        of_samples = wells.samples_log_likelihood(
            jnp.array(levels), *curve, jnp.exp(log_sigma)
        )
        return of_standards.sum() + of_samples.sum()

    at = jnp.array([INTERCEPT, SLOPE, -1.5, -1.0, 6.0, 2.0, 1.0])
    found = jax.jit(jax.grad(total))(at)
    step = 1e-5
    run = jax.jit(total)
    for index in range(at.size):
        up, down = (run(at.at[index].add(sign * step)) for sign in (1, -1))
        # Central differences: error step² and rounding / step.
        expected = float((up - down) / (2 * step))
        assert float(found[index]) == pytest.approx(expected, rel=1e-5, abs=1e-5)


def test_nothing_overflows_far_from_the_data():
    wells = packed(*SAMPLES)
    gradient = jax.jit(
        jax.grad(
            lambda level, sigma: likelihood(wells, level, sigma=sigma).sum(), (0, 1)
        )
    )
    for level in (-60.0, -14.0, 25.0, 80.0):
        for sigma in (1e-3, 0.5, 3.0):
            at = jnp.asarray(level), jnp.asarray(sigma)
            assert jnp.isfinite(likelihood(wells, level, sigma=sigma)).all()
            assert all(jnp.isfinite(one) for one in gradient(*at))


# Standards.


def test_a_standard_well_is_normal_about_the_line():
    wells = pack(EMPTY)
    found = wells.standards_log_likelihood(A, B, 0.3)
    copies = np.array([well.copies for well in EMPTY.plates[0].standards])
    ct = np.array([well.ct for well in EMPTY.plates[0].standards], dtype=float)
    mean = INTERCEPT + SLOPE * np.log10(copies)
    expected = stats.norm.logpdf(ct, mean, np.sqrt(0.3**2 + C**2 / copies))
    expected += np.log1p(-np.exp(-copies))
    # Mean and variance of ln N are ln λ and 1/λ to first order; at 10 copies they are
    # off by 0.06 and 0.02, at 1000 by a hundredth of that.
    np.testing.assert_allclose(found[6:], expected[6:], atol=0.02)
    np.testing.assert_allclose(found, expected, atol=0.5)


@pytest.mark.parametrize("copies", [0.3, 1.0, 3.0, 30.0])
def test_chances_of_a_standard_well_add_up_to_one(copies):
    data = drawn(0, layout(levels=(copies, 1e3, 1e4, 1e5), replicates=1))

    def chance(ct) -> float:
        first = dataclasses.replace(data.plates[0].standards[0], ct=ct)
        plate = dataclasses.replace(
            data.plates[0], standards=(first, *data.plates[0].standards[1:])
        )
        wells = pack(CtData("", (plate,), ()))
        return float(jnp.exp(wells.standards_log_likelihood(A, B, 0.2)[0]))

    grid = np.linspace(25.0, 45.0, 201)
    area = integrate.trapezoid([chance(float(ct)) for ct in grid], grid)
    # The trapezium rule is exact to rounding for a normal density that it resolves.
    assert area + chance(None) == pytest.approx(1.0, abs=1e-6)


@given(st.floats(0.01, 2e4))
def test_moments_of_the_log_of_a_positive_poisson_number(mean):
    number = np.arange(1, int(mean + 15 * math.sqrt(mean) + 30))
    chance = stats.poisson.pmf(number, mean) / -math.expm1(-mean)
    first = chance @ np.log(number)
    second = chance @ (np.log(number) - first) ** 2
    found = np.concatenate(positive_log_moments(np.array([mean])))
    np.testing.assert_allclose(found, [first, second], rtol=1e-7)
    table = interpolated_log_moments(jnp.log(jnp.array(mean)))
    np.testing.assert_allclose(table, [first, second], rtol=2e-4, atol=2e-4)


def fitted(data: CtData) -> np.ndarray:
    """Intercept, slope and log τ of greatest likelihood of the standards."""
    wells = pack(data)

    @jax.jit
    def loss(values):
        a, b, log_tau = values
        return -wells.standards_log_likelihood(a[None], b[None], jnp.exp(log_tau)).sum()

    start = jnp.array([standard_curve(data.plates[0]).intercept, -3.32, -1.5])
    found = optimize.minimize(
        loss, start, jac=jax.jit(jax.grad(loss)), method="BFGS", options={"gtol": 1e-6}
    )
    return found.x


def test_many_copies_are_fitted_as_by_least_squares():
    data = drawn(4, layout(levels=(1e5, 1e6, 1e7, 1e8)))
    a, b, log_tau = fitted(data)
    curve = standard_curve(data.plates[0])
    # 1e5 copies scatter by 0.005 cycles, next to τ = 0.2.
    assert a == pytest.approx(curve.intercept, abs=2e-3)
    assert b == pytest.approx(curve.slope, abs=2e-3)
    n = curve.wells
    assert math.exp(log_tau) == pytest.approx(
        curve.residual_sd * math.sqrt((n - 2) / n), rel=1e-2
    )


def test_few_copies_bend_least_squares_and_not_the_likelihood():
    """Standards down to 1 copy: over 12 plates the likelihood finds the truth, and
    least squares, which takes wells without copies for absent, does not."""
    bent, found = [], []
    for seed in range(12):
        data = drawn(seed, layout(levels=(1.0, 10.0, 100.0, 1e3), replicates=8))
        curve = standard_curve(data.plates[0])
        bent.append(curve.slope)
        found.append(fitted(data)[1])
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - SLOPE) < 3 * error
    # One well of 1 copy in three is empty; the others have 1.6 copies on average.
    assert np.mean(bent) - SLOPE > 3 * np.std(bent) / math.sqrt(len(bent))


# Samples and standards together.


@pytest.mark.parametrize("level", [8.0, 30.0, 3000.0])
def test_the_likelihood_finds_the_level_and_the_spread_of_drawn_samples(level):
    """Samples of one level, from 1.6 copies a well (some silent) to 600."""
    empty = layout([sample([None] * 3, name=f"s{n}", day=n) for n in range(400)])
    wells = pack(drawn(11, empty, [level] * 400, sigma=0.5))

    @jax.jit
    def loss(values):
        at = jnp.broadcast_to(values[0], (400,))
        return -wells.samples_log_likelihood(at, A, B, 0.2, jnp.exp(values[1])).mean()

    start = jnp.array([math.log(level) + 1.0, -1.5])
    found = optimize.minimize(loss, start, jac=jax.jit(jax.grad(loss)), method="BFGS")
    # SE of the mean of 400 samples with SD 0.5 and 2 copies: 0.04; of σ: 8%.
    assert found.x[0] == pytest.approx(math.log(level), abs=0.1)
    assert math.exp(found.x[1]) == pytest.approx(0.5, rel=0.2)


def test_samples_of_a_plate_share_the_doubt_about_its_curve():
    """The covariance that a joint fit gives two samples is that of the curve read at
    their copies, by least squares; one plate's curve known, there would be none."""
    one, two = sample([20.0, 20.1]), sample([26.0, 26.1], name="t")
    made = drawn(8, layout(levels=(1e5, 1e6, 1e7, 1e8), replicates=3))
    curve = standard_curve(made.plates[0])
    wells = pack(dataclasses.replace(made, samples=(one, two)))
    tau, sigma = curve.residual_sd, 0.3

    def loss(values):
        a, b = values[0][None], values[1][None]
        of_samples = wells.samples_log_likelihood(values[2:], a, b, tau, sigma)
        return -wells.standards_log_likelihood(a, b, tau).sum() - of_samples.sum()

    x = [
        (20.05 - curve.intercept) / curve.slope,
        (26.05 - curve.intercept) / curve.slope,
    ]
    levels = [math.log(10.0**at / 0.2) for at in x]
    at = jnp.array([curve.intercept, curve.slope, *levels])
    covariance = np.linalg.inv(np.asarray(jax.jit(jax.hessian(loss))(at)))
    of_curve = np.array(
        [
            [curve.intercept_se**2, curve.covariance],
            [curve.covariance, curve.slope_se**2],
        ]
    )
    shared = [1.0, x[0]] @ of_curve @ [1.0, x[1]] / (curve.slope / math.log(10.0)) ** 2
    # Copies of 1e5 and fewer scatter by 0.005 cycles and more, next to τ = 0.2.
    assert covariance[2, 3] == pytest.approx(shared, rel=0.02)
    assert covariance[2, 2] > sigma**2


def test_a_file_without_samples_still_has_curves():
    wells = pack(EMPTY)
    assert wells.samples_log_likelihood(jnp.zeros(0), A, B, 0.2, 0.4).shape == (0,)
    assert wells.plates == ("p",)


def test_each_plate_has_its_own_curve():
    first, second = drawn(1, layout([sample([None] * 2)]), [1e5]), drawn(2, layout())
    other = dataclasses.replace(second.plates[0], name="q")
    alone, both = (
        pack(first),
        pack(dataclasses.replace(first, plates=(other, first.plates[0]))),
    )
    at, level = (
        (jnp.array([36.0, INTERCEPT]), jnp.array([-3.5, SLOPE])),
        jnp.array([11.0]),
    )
    np.testing.assert_allclose(
        both.samples_log_likelihood(level, *at, 0.2, 0.4),
        alone.samples_log_likelihood(level, A, B, 0.2, 0.4),
        rtol=SAME,
    )
    np.testing.assert_allclose(
        both.standards_log_likelihood(*at, 0.2)[18:],
        alone.standards_log_likelihood(A, B, 0.2),
        rtol=SAME,
    )


def test_priors_are_of_positive_tau_and_falling_curves():
    found = priors()
    assert set(found) == {"intercept", "slope", "tau"}
    # 90% to 110% efficiency hold most of the prior of the slope.
    low, high = (float(found["slope"].cdf(jnp.array(s))) for s in (-3.6, -3.1))
    assert 0.85 < high - low < 0.99
    assert float(jnp.exp(found["tau"].log_prob(jnp.array(0.2)))) > 0.0
