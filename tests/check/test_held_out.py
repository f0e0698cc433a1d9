"""Hidden samples: which they are, and what fits that have not seen them foresee."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from toys import QPCR, Line, Share, dataset, line_cohort, made, patient, sample
from typed import typed

from ckin.check import (
    alone,
    hidden_foreseen,
    hidden_samples,
    observed,
    pooled,
    without_last,
)
from ckin.check.held_out import hidden_of
from ckin.inference.density import make_density
from ckin.inference.laplace import fit_laplace
from ckin.population import effect, pack, population


POP = population(made(Line), QPCR)
WHOLE = line_cohort(12, (6, 3, 1))
DENSITY = make_density(POP, pack(WHOLE, POP))
DRAWS = 600
AGED = dataset([patient("a", [sample(1.0, 5.0)], AGE=50.0)])


def run(*words):
    result = typed(*words)
    assert isinstance(result.exception, SystemExit | None), result.exception
    return result


@given(st.integers(0, 60), st.floats(0.01, 0.99))
def test_some_are_hidden_and_one_is_always_seen(n, share):
    hidden = hidden_of(n, share)
    assert 0 <= hidden <= max(n - 1, 0)
    if n > 2:
        assert abs(hidden - share * n) <= 1.0


def test_the_samples_that_are_foreseen_are_those_that_were_left_out():
    seen = observed(DENSITY, WHOLE)
    hidden = hidden_samples(seen, 0.34)
    early = without_last(WHOLE, 0.34, ("qpcr",))
    assert early.notes[-1] == "12 samples hidden: the last 34% of each patient's"
    for row, (own, all_of) in enumerate(
        zip(early.patients, WHOLE.patients, strict=True)
    ):
        days = np.asarray(DENSITY.data.time_d)[row]
        np.testing.assert_array_equal(
            days[hidden[row]], [s.time_d for s in all_of.samples[len(own.samples) :]]
        )
        assert own.samples == all_of.samples[: len(own.samples)]
        assert own.doses == all_of.doses
    assert without_last(WHOLE, 0.5, ("flow",)).patients == WHOLE.patients


def normal_parts(density, u):
    """Design and mean of the log readings, and the error's variance, on paper."""
    v = {k: float(x) for k, x in density.constrain(jnp.asarray(u)).items()}
    time_d = np.asarray(density.data.time_d)
    design = np.stack([np.ones_like(time_d), time_d], axis=2)
    scaled = design * np.array([v["omega_a"], v["omega_b"]])
    return scaled, v["a"] + v["b"] * time_d, v["sigma_qpcr"] ** 2


def test_what_is_foreseen_is_the_conditional_normal_of_lines():
    early = without_last(WHOLE, 0.34, ("qpcr",))
    known = make_density(POP, pack(early, POP))
    laplace = fit_laplace(known, jax.random.key(0))
    z = np.asarray(jax.random.normal(jax.random.key(1), (DRAWS, known.n_hyper)))
    u = np.asarray(laplace.u) + z @ np.asarray(laplace.factor).T
    seen = observed(DENSITY, WHOLE)
    hidden = hidden_samples(seen, 0.34)
    rng = np.random.default_rng(2)
    eta = np.zeros((DRAWS, *DENSITY.eta_shape))
    right = np.zeros((DRAWS, len(seen.ids)))
    for draw, own in enumerate(u):
        scaled, mean, noise = normal_parts(DENSITY, own)
        for row in range(len(seen.ids)):
            there, later = seen.present[row] & ~hidden[row], hidden[row]
            x, gap = scaled[row, there], seen.log_value[row] - mean[row]
            covariance = np.linalg.inv(np.eye(2) + x.T @ x / noise)
            middle = covariance @ x.T @ gap[there] / noise
            eta[draw, row] = rng.multivariate_normal(middle, covariance)
            if not later.any():
                continue
            x = scaled[row, later]
            right[draw, row] = stats.multivariate_normal.logpdf(
                gap[later], x @ middle, x @ covariance @ x.T + noise * np.eye(len(x))
            )
    found = hidden_foreseen(DENSITY, seen, hidden, u, eta, jax.random.key(3))
    expected = np.log(np.mean(np.exp(right), axis=0))[hidden.any(axis=1)]
    gap = found.patients["elpd"].to_numpy() - expected
    error = found.patients["mc_error"].to_numpy()
    # One draw of η for each of u: a few of its own errors off.
    assert (np.abs(gap) < 4.5 * error).all()
    assert found.patients["late"].to_numpy().sum() == hidden.sum()
    assert len(found.readings) == hidden.sum()


def test_everyone_is_one_patient_when_pooled():
    whole = population(
        made(Share), QPCR, correlate=[("level", "share")], eta="student_t",
        covariates=[effect("level~AGE@40", AGED.patients)],
    )  # fmt: skip
    one = pooled(whole)
    assert one.eta_names == ()
    assert one.estimate == whole.estimate
    assert one.covariates == whole.covariates


def test_alone_a_patient_has_the_doubt_of_typical_value_and_of_patient():
    whole = alone(population(made(Share), QPCR, vary=("level", "slope")))
    assert whole.vary == ("level", "share", "slope")
    # √(SD of the prior² + ω²) of the model file; `share` does not vary.
    expected = [np.hypot(0.7, 0.5), 0.8, np.hypot(0.1, 0.03)]
    # 4000 draws: quantiles good to 3%.
    np.testing.assert_allclose(whole.omega, expected, rtol=0.03)
    middle = [float(whole.priors[name].icdf(0.5)) for name in ("level", "slope")]
    np.testing.assert_allclose(middle, [400.0, -0.02], rtol=0.05, atol=0.004)


def test_alone_nobody_says_anything_of_another():
    early = without_last(WHOLE, 0.34, ("qpcr",))
    whole = alone(POP)
    density = make_density(whole, pack(early, whole))

    @eqx.filter_jit
    def curvature(density, u):
        eta = jnp.zeros(density.eta_shape)
        return jax.hessian(lambda u: density.log_density(u, eta))(u)

    # What holds a typical value is nearly all prior, and no patient.
    held = np.diag(curvature(density, density.start))
    place = [density.names.index(name) for name in ("a", "b")]
    expected = -((0.01 * np.array(whole.omega)) ** -2.0)
    np.testing.assert_allclose(held[place], expected, rtol=0.1)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--share", 1.5), "--share 1.5: a number between 0 and 1"),
        (("--against", "pool"), "did you mean pooled"),
        (("--share", 0.01), "--share 0.01 hides no sample"),
    ],
)
def test_what_cannot_be_hidden_is_refused(fit_folder, tmp_path, words, told):
    result = run("hold-out", fit_folder, "--out", tmp_path / "held", *words)
    assert result.exit_code == 2
    assert told in " ".join(result.output.split())
    assert not (tmp_path / "held").exists()


# Three fits and their figures.
@pytest.mark.slow
def test_a_fit_is_asked_again_without_what_came_last(fit_folder, tmp_path):
    out = tmp_path / "held"
    result = run("hold-out", fit_folder, "--share", 0.34, "--out", out)
    told = json.loads((out / "held_out.json").read_text())
    assert result.stdout.startswith("SYNTHETIC DATA") == told["converged"]
    assert result.exit_code == int(not told["converged"])
    assert set(told["fits"]) == {"population", "pooled", "alone"}
    readings = pd.read_csv(out / "hidden_readings.csv")
    patients = pd.read_csv(out / "hidden_patients.csv")
    assert readings["fit"].value_counts().to_dict() == dict.fromkeys(told["fits"], 32)
    fits = told["fits"]
    for name, own in patients.groupby("fit"):
        np.testing.assert_allclose(own["elpd"].sum(), fits[name]["elpd"])
    # Patients of these lines differ by far more than their readings err.
    assert fits["pooled"]["behind"] > 2.0 * fits["pooled"]["error"]
    assert (out / "population" / "posterior.nc").is_file()
