"""Theophylline through a model file: against nlme and an exact integral."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats
from typed import typed


MODEL = Path(__file__).resolve().parents[2] / "examples" / "theoph_model.py"
# nlme 3.1 (ML, SSfol, random lKa and lCl): lKe, lKa, lCl, SD of lKa and lCl, residual.
NLME = np.array([-2.45470, 0.46573, -3.22722, 0.6436, 0.1669, 0.7093])
NLME_LOG_LIKELIHOOD = -177.0215
# Peak of the exact likelihood, by the quadrature below and Nelder-Mead (2 minutes).
EXACT = np.array([-2.45905, 0.48084, -3.22674, 0.65920, 0.16747, 0.70823])
EXACT_LOG_LIKELIHOOD = -177.7399
NODES = 15

# Two minutes on one core, of which compiling is nearly all.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table(request) -> Path:
    return request.getfixturevalue("external_data") / "theoph" / "theoph.csv"


def fit(table: Path, out: Path, **more: list[str]) -> Path:
    options = {
        "--model": [str(MODEL)],
        "--out": [str(out)],
        "--map": ["Subject=ID", "conc=DV", "Dose=DOSE_AT_0"],
        "--unit": ["TIME=hour", "conc=mg/L"],
        "--product": ["DRUG=mg/kg"],
    }
    options |= {f"--{name.replace('_', '-')}": values for name, values in more.items()}
    words = [w for name, values in options.items() for v in values for w in (name, v)]
    result = typed("fit", table, *words)
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory) -> Path:
    return fit(
        table,
        tmp_path_factory.mktemp("theoph") / "fit",
        method=["laplace"],
        grid_error=["1e-5"],
        draws=["100"],
        profile=["ka"],
    )


@pytest.fixture(scope="module")
def fitted(folder):
    summary = pd.read_csv(folder / "summary.csv").set_index("parameter")
    manifest = json.loads((folder / "manifest.json").read_text())
    return summary, manifest["likelihood"]


@pytest.fixture(scope="module")
def ka_profile(folder):
    """Interval of ka, 1/h, and the places of its profile."""
    interval = pd.read_csv(folder / "profile_intervals.csv").set_index("parameter")
    assert (folder / "figures" / "profiles.png").is_file()
    return interval.loc["ka"], pd.read_csv(folder / "profiles.csv")


class Independent:
    """The same model in closed form, in hours and per kg, by numpy and scipy."""

    def __init__(self, path: Path):
        self.people = [
            (rows["Dose"].iloc[0], rows["Time"].to_numpy(), rows["conc"].to_numpy())
            for _, rows in pd.read_csv(path).groupby("Subject")
        ]

    @staticmethod
    def reading(theta, eta, dose, t):
        ke, ka, cl = np.exp(theta[:3] + np.array([0.0, *(theta[3:5] * eta)]))
        both = np.exp(-ke * t) - np.exp(-ka * t)
        return dose * ke * ka / (cl * (ka - ke)) * both

    def cost(self, theta, eta, person):
        dose, t, y = person
        f = self.reading(theta, eta, dose, t)
        return -stats.norm.logpdf(y, f, theta[5]).sum() + 0.5 * eta @ eta

    def modes(self, theta):
        """Mode, its cost and its curvature, by person."""
        for person in self.people:
            f = lambda eta, person=person: self.cost(theta, eta, person)
            found = optimize.minimize(f, np.zeros(2), options={"gtol": 1e-7})
            steps = 1e-4 * np.eye(2)
            curvature = np.array(
                [
                    [
                        f(found.x + i + j) - f(found.x + i - j)
                        - f(found.x - i + j) + f(found.x - i - j)
                        for j in steps
                    ]
                    for i in steps
                ]
            ) / 4e-8  # fmt: skip
            yield person, found.x, found.fun, curvature

    def laplace(self, theta):
        each = self.modes(theta)
        return -sum(cost + 0.5 * np.log(np.linalg.det(h)) for _, _, cost, h in each)

    def exact(self, theta):
        """Adaptive Gauss-Hermite quadrature."""
        x, w = np.polynomial.hermite_e.hermegauss(NODES)
        total = 0.0
        for person, mode, cost, curvature in self.modes(theta):
            root = np.linalg.cholesky(np.linalg.inv(curvature))
            mass = sum(
                wa * wb * np.exp(
                    cost - self.cost(theta, mode + root @ (a, b), person)
                    + 0.5 * (a * a + b * b)
                )
                for a, wa in zip(x, w, strict=True)
                for b, wb in zip(x, w, strict=True)
            )  # fmt: skip
            root_det = np.log(np.linalg.det(root))
            total += np.log(mass) + root_det - np.log(2 * np.pi) - cost
        return total

    def linearised(self, theta):
        """FOCE as nlme: normal, of the model made linear in η at the mode."""
        total = 0.0
        for (dose, t, y), mode, _, _ in self.modes(theta):
            f = lambda eta, dose=dose, t=t: self.reading(theta, eta, dose, t)
            slope = np.stack(
                [(f(mode + d) - f(mode - d)) / 2e-5 for d in 1e-5 * np.eye(2)]
            )
            cov = slope.T @ slope + theta[5] ** 2 * np.eye(t.size)
            total += stats.multivariate_normal.logpdf(y, f(mode) - mode @ slope, cov)
        return total


@pytest.fixture(scope="module")
def independent(table) -> Independent:
    return Independent(table)


def theta_of(summary) -> np.ndarray:
    names = ["lke", "lka", "lcl", "omega_ka", "omega_cl", "sigma_conc"]
    return summary["estimate"][names].to_numpy()


def test_the_independent_model_is_nlmes(independent):
    """What nlme prints is its linearised likelihood, 0.72 above the exact one."""
    assert independent.linearised(NLME) == pytest.approx(NLME_LOG_LIKELIHOOD, abs=2e-3)
    assert independent.exact(NLME) == pytest.approx(-177.753, abs=2e-3)


def test_the_log_likelihood_is_laplaces_and_near_the_exact_one(fitted, independent):
    summary, told = fitted
    theta = theta_of(summary)
    # The grid errs by 1e-5 of a reading, which moves 132 readings by 1e-3 nats at most.
    laplace = independent.laplace(theta)
    assert told["log_likelihood"] == pytest.approx(laplace, abs=1e-3)
    exact = independent.exact(theta)
    assert told["log_likelihood_by_quadrature"] == pytest.approx(exact, abs=1e-3)
    assert told["log_likelihood"] == pytest.approx(EXACT_LOG_LIKELIHOOD, abs=0.5)
    assert exact == pytest.approx(EXACT_LOG_LIKELIHOOD, abs=5e-3)


def test_estimates_are_within_2_percent_of_the_exact_ones(fitted):
    summary, _ = fitted
    np.testing.assert_allclose(theta_of(summary), EXACT, rtol=0.02)


def test_estimates_and_standard_errors_are_those_of_nlme(fitted):
    """nlme's differ by its linearisation: lKa by 3%, which is 0.07 standard errors."""
    summary, _ = fitted
    np.testing.assert_allclose(theta_of(summary), NLME, rtol=0.03)
    se = summary["se"][["lke", "lka", "lcl"]]
    np.testing.assert_allclose(se, [0.0519, 0.196, 0.0593], rtol=0.02)


def test_the_profile_of_absorption_reaches_further_up_than_its_standard_error(
    fitted, ka_profile
):
    summary, _ = fitted
    interval, places = ka_profile
    ka, se = summary.loc["lka", ["estimate", "se"]]
    low, high = np.log([interval["lower"], interval["upper"]]) - ka
    np.testing.assert_allclose(
        np.log([interval["wald_lower"], interval["wald_upper"]]) - ka,
        1.959964 * se * np.array([-1.0, 1.0]),
        rtol=1e-3,
    )
    # Fast absorption is over before the second sample: less is known above than below.
    assert 1.0 < -low / (1.959964 * se) < high / (1.959964 * se) < 1.25
    assert places["delta_log_likelihood"].iloc[[0, -1]].to_numpy() == pytest.approx(
        -1.920729, abs=1e-4
    )
    assert places["delta_log_likelihood"].max() == 0.0


def test_the_profiles_limit_is_where_an_independent_search_falls_as_far(
    fitted, ka_profile, independent
):
    """scipy maximises over the five others with ka at its upper limit."""
    summary, told = fitted
    lka = np.log(ka_profile[0]["upper"])
    start = theta_of(summary)
    others = [0, 2, 3, 4, 5]

    def at(x):
        theta = np.insert(x, 1, lka)
        return -independent.laplace(theta)

    found = optimize.minimize(
        at,
        start[others],
        method="Nelder-Mead",
        options={"xatol": 1e-4, "fatol": 1e-4},
    )
    # The search's own tolerance, and the grid's error of 1e-3 nats.
    assert -found.fun == pytest.approx(told["log_likelihood"] - 1.920729, abs=3e-3)


def test_medians_of_nuts_are_where_the_likelihood_is_largest(table, tmp_path):
    """But for ω, whose posterior of 12 people is skewed upwards."""
    out = fit(table, tmp_path / "nuts", method=["nuts"], warmup=["300"])
    summary = pd.read_csv(out / "summary.csv").set_index("parameter")
    names = ["lke", "lka", "lcl", "omega_ka", "omega_cl", "sigma_conc"]
    low, middle, high = (
        summary.loc[names, q].to_numpy() for q in ("q05", "q50", "q95")
    )
    assert ((low < EXACT) & (EXACT < high)).all()
    # 90% of a normal are 3.29 SD wide; priors of a factor of 2.7 move medians little.
    plain = [0, 1, 2, 5]
    off = np.abs(middle - EXACT) / ((high - low) / 3.29)
    assert (off[plain] < 0.25).all(), off
