"""Fits that start from the wells of qPCR plates: the curve is one more unknown."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from numpyro.distributions import biject_to
from toys import QPCR, Line, dataset, made, patient

from ckin.assay import RawCt
from ckin.ct import (
    CtData,
    CtSample,
    Plate,
    Standard,
    apart,
    draw_wells,
    priors,
    standard_curve,
    with_wells,
)
from ckin.ct import pack as pack_wells
from ckin.errors import InputError
from ckin.inference import fit
from ckin.inference.density import make_density
from ckin.inference.individual import patient_log_likelihoods, quadratics
from ckin.inference.laplace import fit_laplace
from ckin.inference.predict import sample_log_likelihoods
from ckin.population import pack, population


INTERCEPT, SLOPE = np.array([37.2, 38.0]), np.array([-3.30, -3.45])
PATIENTS, DAYS = 10, (1.0, 4.0, 8.0, 12.0, 18.0)
SIGMA, TAU = 0.4, 0.2
LOG_LEVEL = 9.0


def plated(levels, replicates, seed=1):
    """Two plates with five patients each, drawn from `Line` with a = 9, b = -0.1."""
    standards = tuple(Standard(c, None, 0) for c in levels for _ in range(replicates))
    plates = tuple(Plate(name, standards, (None,)) for name in ("run 1", "run 2"))
    rng = np.random.default_rng(seed)
    samples, log_level = [], []
    for row in range(PATIENTS):
        a, b = rng.normal(LOG_LEVEL, 0.8), rng.normal(-0.1, 0.1)
        for day in DAYS:
            name, plate = f"P{row}d{day:g}", plates[row % 2].name
            wells = (None, None)
            samples.append(
                CtSample(name, plate, f"P{row}", day, None, 200.0, wells, row + 2)
            )
            log_level.append(a + b * day)
    empty = CtData("wells.csv", plates, tuple(samples))
    key = jax.random.key(seed)
    return draw_wells(
        key, empty, np.array(log_level), INTERCEPT, SLOPE, tau=TAU, sigma=SIGMA
    )


NOBODY = dataset([patient(f"P{row}", []) for row in range(PATIENTS)])
# Few and low standards: the samples lie a decade above, and inherit their doubt.
DOUBTFUL = plated((10.0, 100.0, 1000.0), 1)
WELL_KNOWN = plated(tuple(10.0**decade for decade in range(1, 7)), 40)


def posed(wells):
    """Density of a fit from wells, and of one from the readings that they give."""
    joined = with_wells(NOBODY, wells)
    model = dataclasses.replace(QPCR, error=RawCt())
    each = []
    for assay in (model, QPCR):
        pop = population(made(Line), assay, priors={"a": dist.Normal(8.0, 3.0)})
        each.append(make_density(pop, pack(joined, pop)))
    return each


@pytest.fixture(scope="module")
def doubtful():
    return posed(DOUBTFUL)


@pytest.fixture(scope="module")
def approximated(doubtful):
    return [fit_laplace(density, jax.random.key(0)) for density in doubtful]


def test_every_plate_has_its_curve_among_the_parameters(doubtful):
    density, of_readings = doubtful
    more = density.names[len(of_readings.names) :]
    assert more == (
        "ct_intercept_run_1",
        "ct_intercept_run_2",
        "ct_slope_run_1",
        "ct_slope_run_2",
        "ct_tau",
    )
    start = density.constrain(density.start)
    for plate, number in zip(DOUBTFUL.plates, (1, 2), strict=True):
        curve = standard_curve(plate)
        assert float(start[f"ct_slope_run_{number}"]) == pytest.approx(curve.slope)


def test_the_density_is_that_of_wells_standards_and_priors(doubtful):
    """Put together here by hand, from the pieces of `ckin.ct`."""
    density, _ = doubtful
    wells, log_density = pack_wells(DOUBTFUL), eqx.filter_jit(density.log_density)
    rng = np.random.default_rng(3)
    found, expected = [], []
    for _ in range(2):
        u = density.start + 0.1 * jnp.asarray(rng.normal(size=density.n_hyper))
        eta = jnp.asarray(rng.normal(size=density.eta_shape))
        values = density.constrain(u)
        a, b = (
            values[name] + values[f"omega_{name}"] * eta[:, index]
            for index, name in enumerate(("a", "b"))
        )
        level = (a[:, None] + b[:, None] * jnp.array(DAYS)).ravel()
        intercept, slope = (
            jnp.stack([values[f"ct_{which}_run_{number}"] for number in (1, 2)])
            for which in ("intercept", "slope")
        )
        tau = values["ct_tau"]
        total = wells.standards_log_likelihood(intercept, slope, tau).sum()
        total += wells.samples_log_likelihood(
            level, intercept, slope, tau, values["sigma_qpcr"]
        ).sum()
        for name, curve in (("intercept", intercept), ("slope", slope)):
            total += jnp.sum(jnp.asarray(priors()[name].log_prob(curve)))
        # Log-normal priors in the logarithm that is sampled.
        total += priors()["tau"].log_prob(tau) + jnp.log(tau)
        rest = make_density(
            dataclasses.replace(density.population, assays=(QPCR,)),
            dataclasses.replace(density.data, standards=None),
        )
        shared = jnp.stack([u[density.names.index(name)] for name in rest.names])
        total += rest.log_prior(shared) - 0.5 * jnp.sum(eta**2)
        found.append(float(log_density(u, eta)))
        expected.append(float(total))
    assert found[0] - found[1] == pytest.approx(expected[0] - expected[1], abs=1e-8)


def test_samples_are_told_one_by_one_as_in_the_density(doubtful):
    density, _ = doubtful
    eta = 0.3 * jnp.ones((1, *density.eta_shape))
    each, solved = sample_log_likelihoods(density, density.start[None], eta)
    assert solved.all()
    none = density.log_prior(density.start) - density.log_density(density.start, eta[0])
    # The prior of η apart.
    assert float(each.sum()) == pytest.approx(
        float(0.5 * jnp.sum(eta**2) - none), abs=1e-8
    )


@pytest.mark.slow
def test_quadratics_pull_at_curves_as_the_likelihood_does(doubtful):
    density, _ = doubtful
    hyper = density.hyper(density.start)
    phi, log_sigma = hyper.centre, jnp.tile(jnp.log(hyper.sigma), (PATIENTS, 1))
    size = phi.shape[1]
    widths = jnp.tile(0.01 * jnp.eye(size), (PATIENTS, 1, 1))
    found = quadratics(density, phi, log_sigma, widths)
    total = lambda phi, log_sigma: patient_log_likelihoods(
        density, phi, jnp.exp(log_sigma)
    ).sum()
    of_phi, of_sigma = jax.jit(jax.grad(total, argnums=(0, 1)))(phi, log_sigma)
    scale = np.abs(np.asarray(of_phi)).max(axis=0)
    gap = np.abs(np.asarray(found.gradient.sum(axis=1) - of_phi)) / scale
    assert gap.max() < 1e-6
    np.testing.assert_allclose(found.gradient_sigma, of_sigma, rtol=1e-6, atol=1e-6)


def test_the_doubt_about_a_curve_reaches_the_parameters(doubtful, approximated):
    """Var(level) from wells is that from readings, and the curve's own on top of it."""
    (density, of_readings), (wells, readings) = doubtful, approximated
    assert wells.converged
    assert readings.converged
    at = density.names.index("a")
    assert of_readings.names.index("a") == at
    of_wells = float((wells.factor @ wells.factor.T)[at, at])
    alone = float((readings.factor @ readings.factor.T)[at, at])
    doubt = []
    for plate in DOUBTFUL.plates:
        curve = standard_curve(plate)
        # Where the samples lie: Ct of about e^8 copies/µg in 0.2 µg.
        x = (LOG_LEVEL - 0.9 + np.log(0.2)) / np.log(10.0)
        per_well = TAU * curve.slope_se / (curve.residual_sd or 1.0)
        middle = np.log10([w.copies for w in plate.standards]).mean()
        variance = TAU**2 / 3 + (per_well * (x - middle)) ** 2
        doubt.append(variance * (np.log(10.0) / curve.slope) ** 2)
    # Each plate moves its half of the patients. The prior of slopes (SD 0.15) holds
    # the doubt down, so this is the most that it may be.
    most = np.mean(doubt) / 2.0
    assert alone + 0.3 * most < of_wells < alone + 1.2 * most


@pytest.mark.slow
def test_curves_that_are_known_leave_what_readings_say():
    density, of_readings = posed(WELL_KNOWN)
    wells, readings = (
        fit_laplace(each, jax.random.key(0)) for each in (density, of_readings)
    )
    assert wells.converged
    for name in of_readings.names:
        one, other = density.names.index(name), of_readings.names.index(name)
        spread = float(jnp.sqrt((readings.factor @ readings.factor.T)[other, other]))
        assert abs(float(wells.u[one] - readings.u[other])) < 0.3 * spread
        found = float(jnp.sqrt((wells.factor @ wells.factor.T)[one, one]))
        assert found == pytest.approx(spread, rel=0.15)
    true = np.concatenate([INTERCEPT, SLOPE])
    line = np.asarray(wells.u[-5:-1])
    # 240 wells of SD 0.2 a plate: standard errors of 0.03 and 0.008.
    assert np.abs(line - true).max() < 0.12
    tau = biject_to(priors()["tau"].support)(wells.u[-1])
    assert float(tau) == pytest.approx(TAU, rel=0.1)


@pytest.mark.slow
def test_a_fit_from_wells_names_and_reports_its_curves():
    joined = with_wells(NOBODY, DOUBTFUL)
    pop = population(made(Line), dataclasses.replace(QPCR, error=RawCt()))
    result = fit(joined, pop, method="map", draws=50, chains=2)
    summary = result.summary.set_index("parameter")
    assert summary.loc["ct_slope_run_1", "unit"] == "cycles/decade"
    assert summary.loc["ct_tau", "unit"] == "cycles"
    assert result.manifest["assays"]["qpcr"]["error"] == "wells"
    assert any("from the wells of" in n for n in result.manifest["data"]["notes"])


@pytest.mark.slow
def test_sampling_agrees_with_the_approximation(doubtful, approximated):
    pop = doubtful[0].population
    result = fit(with_wells(NOBODY, DOUBTFUL), pop, method="nuts", draws=500)
    assert result.verdict.converged
    laplace = approximated[0]
    spread = np.sqrt(np.diag(np.asarray(laplace.factor @ laplace.factor.T)))
    u = np.asarray(result.u).reshape(-1, spread.size)
    # The mode of a skewed posterior is not its mean.
    assert np.abs(u.mean(axis=0) - np.asarray(laplace.u)).max() < 0.5 * spread.max()
    np.testing.assert_allclose(u.std(axis=0), spread, rtol=0.35)


def test_wells_join_and_leave_a_data_set():
    joined = with_wells(NOBODY, DOUBTFUL)
    rest, wells = apart(joined)
    assert not rest.assays
    assert [s.cts for s in wells.samples] == [s.cts for s in DOUBTFUL.samples]
    again = with_wells(rest, wells)
    assert again.patients == joined.patients
    assert again.synthetic


def test_wells_of_a_stranger_or_readings_besides_are_refused():
    alone = dataclasses.replace(NOBODY, patients=NOBODY.patients[:3])
    with pytest.raises(InputError, match=r"row 5: patient 'P3' is not in .* 'P0'"):
        with_wells(alone, DOUBTFUL)
    with pytest.raises(InputError, match="counted twice"):
        with_wells(with_wells(NOBODY, DOUBTFUL), DOUBTFUL)
    with pytest.raises(InputError, match="no wells of type sample"):
        with_wells(NOBODY, dataclasses.replace(DOUBTFUL, samples=()))
