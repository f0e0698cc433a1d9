"""Laws of a fit from data to files, on synthetic patients whose truth is known."""

import json

import arviz
import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from toys import QPCR, Line, line_cohort, made

from ckin.cohort import simulate, virtual_patients
from ckin.inference import Fit, fit
from ckin.library import load_model, load_protocol
from ckin.population import population
from ckin.solve import Solver


PHASES = population(load_model("phases_stein2019"), QPCR)
DAYS = (1.0, 4.0, 7.0, 9.0, 11.0, 14.0, 21.0, 28.0, 56.0)
SIGMA = 0.4
CHAINS, DRAWS = 2, 50


def synthetic(n: int, limit: float, *, seed: int = 3):
    """Patients of the first cycle, each with one detection limit for all samples."""
    key = jax.random.key(seed)
    patients = virtual_patients(
        key,
        load_protocol("szcart01-cart1"),
        n,
        sample_days=DAYS,
        follow_up_days=(91.0, 182.0, 365.0),
        limit=limit,
        limit_sd_log=0.0,
        nadir_factor=1.0,
    )
    return simulate(jax.random.key(seed + 1), PHASES, patients, sigma=SIGMA)


@pytest.fixture(scope="module")
def stages() -> list:
    return []


@pytest.fixture(scope="module")
def simulated():
    return synthetic(5, 50.0)


@pytest.fixture(scope="module")
def fitted(simulated, stages) -> Fit:
    return fit(
        simulated.dataset,
        PHASES,
        method="map",
        chains=CHAINS,
        draws=DRAWS,
        report=lambda *said: stages.append(said),
    )


@pytest.fixture(scope="module")
def folder(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("fit") / "made" / "here"
    fitted.write(path)
    return path


def test_map_recovers_the_typical_patient_and_the_error(fitted):
    truth = {name: float(getattr(PHASES.model, name)) for name in PHASES.estimate}
    truth |= {f"omega_{n}": w for n, w in zip(PHASES.vary, PHASES.omega, strict=True)}
    truth["sigma_qpcr"] = SIGMA
    u = fitted.u.reshape(-1, fitted.u.shape[-1])
    truth_u = {
        name: np.log(value / (1 - value))
        if name == "memory_fraction"
        else np.log(value)
        for name, value in truth.items()
    }
    for index, name in enumerate(fitted.density.names):
        gap = (truth_u[name] - u[:, index].mean()) / u[:, index].std()
        # 13 parameters at one seed: 4 SDs is 1 in 1,000.
        assert abs(gap) < 4.0, (name, gap)


def test_map_recovers_the_peak_of_each_patient(fitted, simulated):
    table = fitted.individual[fitted.individual["parameter"] == "cmax"]
    truth = simulated.parameters["cmax"]
    # Two or three samples about a peak, each with error 0.4: about 0.3.
    np.testing.assert_allclose(np.log(table["map"] / truth), 0.0, atol=1.2)
    assert (table["q05"] < table["q50"]).all()
    assert (table["q50"] < table["q95"]).all()


def test_the_fit_says_that_it_settled(fitted):
    assert fitted.verdict.converged, fitted.verdict.reasons
    assert fitted.manifest["converged"] is True


def test_the_four_files_are_written_with_their_columns(folder, fitted):
    assert sorted(path.name for path in folder.iterdir()) == [
        "individual.csv",
        "manifest.json",
        "posterior.nc",
        "summary.csv",
    ]
    summary = pd.read_csv(folder / "summary.csv")
    assert list(summary.columns) == [
        *("parameter", "unit", "mean", "sd", "q05", "q50", "q95"),
        *("r_hat", "ess_bulk", "ess_tail", "rse_pct", "shrinkage_pct", "converged"),
    ]
    assert summary["converged"].to_numpy().all()
    assert set(fitted.density.names) < set(summary["parameter"])
    assert set(PHASES.model.derived_units) < set(summary["parameter"])
    assert all(isinstance(unit, str) for unit in summary["unit"])
    individual = pd.read_csv(folder / "individual.csv", dtype={"ID": str})
    assert list(individual.columns) == [
        *("ID", "parameter", "map", "mean", "sd", "q05", "q50", "q95", "converged")
    ]
    assert len(individual) == 5 * len(PHASES.estimate)
    assert set(individual["ID"]) == set(fitted.density.data.ids)


def test_the_manifest_says_what_was_run_on_what(folder, simulated):
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    samples = [s for p in simulated.dataset.patients for s in p.samples]
    expected = {
        "method": "map",
        "model": "phases_stein2019",
        "estimated": list(PHASES.estimate),
        "varying": list(PHASES.vary),
        "assays": {"qpcr": {"quantity": "copies_per_ug", "error": "normal"}},
        "synthetic_data": True,
        "seed": 0,
        "chains": CHAINS,
        "draws": DRAWS,
        "patients": 5,
        "samples": len(samples),
        "samples_below_limit": sum(s.below for s in samples),
        "divergences": 0,
        "solver_failures": 0,
        "grid_error": 1e-3,
        # Solved by a formula: there is nothing to compare.
        "khat": 0.0,
        "referee": {"method": "closed form", "draws": 0},
    }
    assert {key: manifest[key] for key in expected} == expected
    assert {"environment", "data", "model_sha256", "seconds"} <= set(manifest)
    spent = manifest["seconds"]
    assert set(spent) == {"starts", "sampling", "referee", "compiling"}
    assert 0.0 < spent["compiling"] < sum(spent.values()) - spent["compiling"]
    assert len(manifest["model_sha256"]) == 64
    assert manifest["environment"]["float64"] is True


def test_arviz_opens_the_posterior_with_all_its_groups(folder, fitted):
    opened = arviz.from_netcdf(str(folder / "posterior.nc"))
    for group in ("posterior", "sample_stats", "log_likelihood", "observed_data"):
        assert len(opened[group].data_vars) > 0, group
    posterior = opened["posterior"]
    assert posterior["cmax"].shape == (CHAINS, DRAWS)
    assert posterior["cmax_i"].dims == ("chain", "draw", "patient")
    assert posterior["patient"].values.tolist() == list(fitted.density.data.ids)
    n = int(fitted.density.data.present.sum())
    assert opened["log_likelihood"]["qpcr"].shape == (CHAINS, DRAWS, n)
    assert opened["observed_data"]["below"].shape == (n,)
    assert "SYNTHETIC" in opened["posterior"].attrs["data"]


def test_the_log_likelihood_sums_to_that_of_the_density(fitted):
    density = fitted.density

    @eqx.filter_jit
    def of_readings(density, u, eta):
        prior_of_eta = -0.5 * jnp.sum(eta**2 + jnp.log(2.0 * jnp.pi))
        at_zero = -0.5 * eta.size * jnp.log(2.0 * jnp.pi)
        # log_prior is taken at η = 0, with the constant of its density.
        prior = density.log_prior(u) - at_zero + prior_of_eta
        return density.log_density(u, eta) - prior

    each = fitted.posterior["log_likelihood"]["qpcr"].values
    for chain, draw in ((0, 0), (1, DRAWS - 1)):
        u, eta = fitted.u[chain, draw], fitted.eta[chain, draw]
        expected = of_readings(density, jnp.asarray(u), jnp.asarray(eta))
        found = each[chain, draw].sum()
        assert found == pytest.approx(float(expected), rel=1e-10)


def test_what_was_observed_is_in_the_order_of_the_likelihood(fitted, simulated):
    observed = fitted.posterior["observed_data"]
    samples = [s for p in simulated.dataset.patients for s in p.samples]
    np.testing.assert_allclose(observed["log_qpcr"], np.log([s.value for s in samples]))
    np.testing.assert_array_equal(observed["below"], [s.below for s in samples])
    np.testing.assert_array_equal(observed["time_d"], [s.time_d for s in samples])


def test_numbers_of_the_summary_are_those_of_the_draws(fitted):
    table = fitted.summary.set_index("parameter")
    posterior = fitted.posterior["posterior"]
    omega = posterior["omega_cmax"].values
    cv = 100.0 * np.sqrt(np.exp(omega**2) - 1.0)
    assert table["mean"]["cv_pct_cmax"] == pytest.approx(cv.mean())
    assert table["q95"]["cv_pct_cmax"] == pytest.approx(np.quantile(cv, 0.95))
    assert table["unit"]["cv_pct_cmax"] == "%"
    half_life = np.log(2.0) / posterior["beta"].values
    assert table["q50"]["terminal_half_life_d"] == pytest.approx(np.median(half_life))
    assert table["sd"]["cmax"] == pytest.approx(posterior["cmax"].values.std(ddof=1))


def test_individual_draws_are_typical_value_and_eta(fitted):
    posterior = fitted.posterior["posterior"]
    expected = posterior["tmax"] * np.exp(
        posterior["omega_tmax"] * posterior["eta"].sel(varying="tmax", drop=True)
    )
    np.testing.assert_allclose(posterior["tmax_i"], expected, rtol=1e-10)


def test_thinned_draws_are_pairs_of_the_same_draw(fitted):
    u, eta = fitted.thinned(7)
    assert (u.shape[0], eta.shape[0]) == (7, 7)
    np.testing.assert_array_equal(u[-1], fitted.u[-1, -1])
    np.testing.assert_array_equal(eta[-1], fitted.eta[-1, -1])
    assert fitted.thinned(10**6)[0].shape[0] == CHAINS * DRAWS


def test_every_stage_is_reported_from_nothing_to_all(stages, fitted):
    assert fitted.manifest["method"] == "map"
    assert {stage for stage, *_ in stages} == {"starts", "summaries"}
    assert all(0 <= done <= total for _, done, total in stages)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"method": "vi"}, "method='vi' is not one of auto, nuts, map"),
        ({"chains": 0}, "chains=0: it must be at least 1"),
        ({"draws": 0}, "draws=0"),
        ({"grid_error": 0.0}, "grid_error=0.0: it must be a number above 0"),
        ({"grid_error": np.nan}, "grid_error=nan"),
    ],
)
def test_a_choice_that_makes_no_fit_is_refused(simulated, choice, words):
    with pytest.raises(ValueError, match=words):
        fit(simulated.dataset, PHASES, **choice)


def test_patients_who_do_not_differ_are_fitted_too():
    pop = population(made(Line), QPCR, vary=())
    found = fit(line_cohort(4, (8, 3)), pop, method="map", chains=2, draws=20)
    assert found.density.names == ("a", "b", "sigma_qpcr")
    assert found.eta.shape == (2, 20, 4, 0)
    assert found.thinned(5)[1].shape == (5, 4, 0)
    # Everyone is the typical patient.
    table = found.individual[found.individual["parameter"] == "a"]
    assert len(set(table["q50"])) == 1


# NUTS from the front door, and what only many patients show


@pytest.fixture(scope="module")
def sampled():
    """A cohort of lines by NUTS, twice with one seed, once with another."""
    pop, cohort = population(made(Line), QPCR), line_cohort(4, (8, 3))
    return [
        fit(cohort, pop, method="nuts", warmup=100, draws=100, seed=seed)
        for seed in (0, 0, 1)
    ]


@pytest.mark.slow
def test_a_seed_fixes_every_draw(sampled):
    first, again, other = sampled
    np.testing.assert_array_equal(first.u, again.u)
    np.testing.assert_array_equal(first.eta, again.eta)
    pd.testing.assert_frame_equal(first.summary, again.summary)
    assert not np.array_equal(first.u[:, :100], other.u[:, :100])


@pytest.mark.slow
def test_nuts_goes_on_until_it_has_converged(sampled):
    found = sampled[0]
    assert found.manifest["method"] == "nuts"
    assert found.manifest["draws"] in (100, 200, 300, 400)
    assert found.verdict.converged, found.verdict.reasons
    assert {"acceptance_rate", "diverging", "n_steps", "energy", "lp"} <= set(
        found.posterior["sample_stats"]
    )


@pytest.mark.slow
def test_map_and_nuts_agree_on_lines(sampled):
    pop = population(made(Line), QPCR)
    quick = fit(line_cohort(4, (8, 3)), pop, method="map", draws=500)
    for index, name in enumerate(quick.density.names):
        mine, theirs = quick.u[..., index], sampled[0].u[..., index]
        gap = (mine.mean() - theirs.mean()) / theirs.std()
        # Four patients: a mode is up to half an SD from the mean of a skewed marginal.
        assert abs(gap) < 0.6, (name, gap)


@pytest.mark.slow
def test_one_chain_is_sampled_and_not_called_converged():
    pop = population(made(Line), QPCR)
    short = {"method": "nuts", "chains": 1, "warmup": 50, "draws": 25}
    found = fit(line_cohort(4, (8, 3)), pop, **short)
    assert not found.verdict.converged


@pytest.mark.slow
@pytest.mark.parametrize("method", ["map", "nuts"])
def test_censoring_biases_neither_the_error_nor_the_peak(method):
    simulated = synthetic(20, 2000.0)
    samples = [s for p in simulated.dataset.patients for s in p.samples]
    assert 0.5 < np.mean([s.below for s in samples]) < 0.7
    found = fit(simulated.dataset, PHASES, method=method, warmup=300, draws=250)
    index = found.density.names.index("sigma_qpcr")
    log_sigma = found.u[..., index]
    assert abs(log_sigma.mean() - np.log(SIGMA)) < 3.0 * log_sigma.std()
    log_cmax = found.u[..., found.density.names.index("cmax")]
    assert abs(log_cmax.mean() - np.log(24_000.0)) < 3.0 * log_cmax.std()


@pytest.mark.slow
def test_the_equations_and_the_closed_form_have_one_fit(simulated, fitted):
    solver = Solver(method=dfx.Tsit5())
    found = fit(
        simulated.dataset, PHASES, method="map", chains=2, draws=DRAWS, solver=solver
    )
    spread = fitted.u.std((0, 1))
    gap = (found.u.mean((0, 1)) - fitted.u.mean((0, 1))) / spread
    # The same draws of an approximation found by the same rounds.
    np.testing.assert_allclose(gap, 0.0, atol=0.05)
