"""A new patient foreseen: what the samples say, exactly where that is known."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from replicated import short_fit
from scipy.integrate import solve_ivp
from toys import QPCR, Hunt, dataset, made, patient, sample
from typed import typed

from ckin.analysis import Analysis
from ckin.dataset import write_dataset
from ckin.errors import InputError
from ckin.forecast import Forecaster, forecast
from ckin.inference.density import make_density
from ckin.population import pack, population
from ckin.protocol import Dose
from ckin.reopen import OpenedFit


def known_fit(folder, data, density, draws=50):
    """A fit whose population is known exactly: every draw is the same."""
    u = np.tile(np.asarray(density.start), (draws, 1))
    return OpenedFit(
        folder,
        Analysis("line", from_day=0.0),
        data,
        density,
        u,
        np.zeros((draws, *density.eta_shape)),
        {"converged": True, "synthetic_data": True, "model": "line"},
    )


@pytest.fixture(scope="module")
def opened(fitted_line, tmp_path_factory):
    return known_fit(tmp_path_factory.mktemp("none"), *fitted_line)


def new(name="N1", times=(2.0, 6.0), log_values=(7.0, 6.2)):
    rows = [sample(t, float(np.exp(v))) for t, v in zip(times, log_values, strict=True)]
    return patient(name, rows)


def line_given(density, times, log_values, days):
    """Mean and SD of the line on these days given two readings, on paper."""
    v = {k: float(x) for k, x in density.constrain(jnp.asarray(density.start)).items()}
    prior = np.diag([v["omega_a"] ** 2, v["omega_b"] ** 2])
    middle = np.array([v["a"], v["b"]])
    x = np.stack([np.ones(len(times)), times], axis=1)
    noise = v["sigma_qpcr"] ** 2
    precision = np.linalg.inv(prior) + x.T @ x / noise
    covariance = np.linalg.inv(precision)
    pull = np.linalg.solve(prior, middle) + x.T @ np.asarray(log_values) / noise
    at = np.stack([np.ones(len(days)), days], axis=1)
    spread = np.einsum("di,ij,dj->d", at, covariance, at)
    return at @ covariance @ pull, np.sqrt(spread), np.sqrt(spread + noise)


@pytest.fixture(scope="module")
def foreseen(opened):
    foreseer = Forecaster(opened, 30.0)
    one = new()
    return foreseer, foreseer(one, dataset([one]))


def test_a_line_is_foreseen_as_a_regression_would(opened, foreseen):
    _, found = foreseen
    days = found.table["TIME"].to_numpy()
    mean, sd, again = line_given(opened.density, (2.0, 6.0), (7.0, 6.2), days)
    assert found.known == 2
    # 400 draws resampled from 1600: a median is good to 0.08 SD, an edge to 0.15.
    off = (np.log(found.table["q50"].to_numpy()) - mean) / sd
    assert np.abs(off).max() < 0.3
    for edge, z, width in (("q95", 1.645, sd), ("again_q95", 1.645, again)):
        own = (np.log(found.table[edge].to_numpy()) - mean) / width
        assert np.abs(own - z).max() < 0.5, edge
    assert days[-1] == pytest.approx(30.0)
    assert (np.diff(days) > 0).all()


def compiled(caplog):
    told = [each.getMessage() for each in caplog.records]
    return [text for text in told if text.startswith("Compiling")]


def test_a_second_patient_of_other_samples_compiles_nothing(foreseen, caplog):
    foreseer, _ = foreseen
    other = new("N2", (1.0, 3.0, 9.0), (6.0, 6.5, 5.0))
    with jax.log_compiles():
        again = foreseer(other, dataset([other]))
    assert compiled(caplog) == []
    assert again.known == 3


CART, FTC = Dose(0.0, "CART", cells=5.0), Dose(7.0, "FTC", cells=80.0)
FTC_AGAIN = Dose(9.0, "FTC", cells=40.0)
READ_D, READ = (1.0, 3.0, 5.0), (90.0, 900.0, 2500.0)


def hunter(name, days=READ_D, values=READ, doses=(CART, FTC)):
    rows = [sample(t, v) for t, v in zip(days, values, strict=True)]
    return patient(name, rows, doses=doses, WT=75.0)


ONE, OTHER = hunter("N1"), hunter("N2", (2.0,), (200.0,), (CART, FTC, FTC_AGAIN))


@pytest.fixture(scope="module")
def grid_fit(tmp_path_factory):
    """Of a model that is solved on a grid, its population known exactly."""
    cohort = dataset([hunter("a"), hunter("b", (2.0, 9.0), (300.0, 700.0), (CART,))])
    whole = population(made(Hunt), QPCR)
    density = make_density(whole, pack(cohort, whole))
    return known_fit(tmp_path_factory.mktemp("none"), cohort, density)


def foreseer_of(fit, **options):
    foreseer = Forecaster(fit, 20.0, **options)
    foreseer.make_room(dataset([ONE, OTHER]))
    return foreseer


@pytest.fixture(scope="module")
def solved(grid_fit):
    foreseer = foreseer_of(grid_fit)
    return foreseer, foreseer(ONE, dataset([ONE]))


def test_patients_of_other_doses_and_steps_have_arrays_of_one_shape(grid_fit):
    foreseer = foreseer_of(grid_fit)
    one, other = (foreseer._packed(p, dataset([p]))[0] for p in (ONE, OTHER))
    shapes = [jax.tree.map(lambda x: (x.shape, x.dtype), p) for p in (one, other)]
    assert shapes[0] == shapes[1]
    assert not np.array_equal(one.grid.start_d, other.grid.start_d)


def hunted(growth, days):
    """Log readings of `Hunt` by scipy, started again at the dose of day 7."""

    def slope(t, y):
        met = y[1] / (10.0 + y[1])
        return [growth * met - 0.2, -0.02 * np.exp(y[0]) * y[1]]

    how: dict[str, Any] = dict(rtol=1e-9, atol=1e-9, dense_output=True)
    first = solve_ivp(slope, (0.0, 7.0), [np.log(5.0 + 1e-3), 100.0], **how)
    there = first.y[:, -1] + np.array([0.0, 80.0])
    then = solve_ivp(slope, (7.0, 20.0), there, **how)
    days = np.asarray(days)
    state = np.where(days <= 7.0, first.sol(days)[0], then.sol(np.maximum(days, 7))[0])
    return state + np.log(600.0 / 75.0)


@pytest.mark.slow
def test_what_is_solved_on_a_grid_is_foreseen_as_by_integration(solved, grid_fit):
    _, found = solved
    density = grid_fit.density
    v = {k: float(x) for k, x in density.constrain(density.start).items()}
    eta = np.linspace(-4.0, 4.0, 81)
    days = found.table["TIME"].to_numpy()
    each = np.array(
        [
            hunted(v["growth"] * np.exp(v["omega_growth"] * own), [*READ_D, *days])
            for own in eta
        ]
    )
    missed = (each[:, :3] - np.log(READ)) / v["sigma_qpcr"]
    log_weight = -0.5 * (eta**2 + np.sum(missed**2, axis=1))
    weight = np.exp(log_weight - log_weight.max())
    weight /= weight.sum()
    mean = weight @ each[:, 3:]
    sd = np.sqrt(weight @ (each[:, 3:] - mean) ** 2)
    # Readings are in the tail of the population and of a bent curve. 400 draws: a
    # quantile is good to 0.15 SD, and the grid to far less than the sum of both.
    for name, share in (("q05", 0.05), ("q50", 0.5), ("q95", 0.95)):
        for day, own in enumerate(each[:, 3:].T):
            order = np.argsort(own)
            exact = np.interp(share, np.cumsum(weight[order]), own[order])
            off = np.log(found.table[name].to_numpy()[day]) - exact
            assert abs(off) < 0.4 * sd[day] + 0.005, (name, days[day])


@pytest.mark.slow
def test_patients_of_other_doses_and_steps_share_what_is_compiled(solved, caplog):
    foreseer, _ = solved
    with jax.log_compiles():
        found = foreseer(OTHER, dataset([OTHER]))
    assert compiled(caplog) == []
    assert found.known == 1


@pytest.mark.slow
def test_a_reading_after_the_last_day_is_as_if_it_were_not_there(solved, grid_fit):
    _, found = solved
    late = hunter("N1", (*READ_D, 30.0), (*READ, 1.0))
    early = foreseer_of(grid_fit, day_d=10.0)(late, dataset([late]))
    assert early.known == found.known
    # The same random numbers and the same densities, but for rounding.
    for name in ("q05", "q50", "again_q95"):
        np.testing.assert_allclose(early.table[name], found.table[name], rtol=1e-6)


def test_a_patient_without_readings_until_the_day_is_foreseen_as_the_population(opened):
    one = new(times=(20.0, 25.0), log_values=(9.0, 9.0))
    found = Forecaster(opened, 30.0, day_d=10.0)(one, dataset([one]))
    assert found.known == 0
    days = found.table["TIME"].to_numpy()
    mean, sd, _ = line_given(opened.density, (), (), days)
    off = (np.log(found.table["q50"].to_numpy()) - mean) / sd
    assert np.abs(off).max() < 0.3


def test_a_forecast_is_written_with_every_patient(opened, tmp_path):
    people = [new("N1"), new("N2", (1.0, 3.0, 9.0), (6.0, 6.5, 5.0))]
    found = forecast(opened, dataset(people), tmp_path, until_d=30.0)
    assert [own.id for own in found] == ["N1", "N2"]
    assert (tmp_path / "forecast_qpcr_1.png").stat().st_size > 10_000
    text = (tmp_path / "forecast.csv").read_text()
    assert text.startswith("ID,DVID,TIME,q05,q50,q95,again_q05,again_q95")
    assert "N2" in text


def test_an_end_before_the_start_is_refused(opened):
    with pytest.raises(InputError, match="--until -1"):
        Forecaster(opened, -1.0)


@pytest.mark.slow
def test_forecast_runs_from_the_command_line(fitted_line, tmp_path):
    data, _ = fitted_line
    folder = short_fit(tmp_path, data)
    write_dataset(
        dataclasses.replace(dataset([new()]), path="new"), tmp_path / "new.csv"
    )
    words = ["forecast", folder, tmp_path / "new.csv", "--out", tmp_path / "out"]
    result = typed(*words, "--until", "30")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("SYNTHETIC DATA")
    assert "1 patients foreseen until day 30" in result.stdout
