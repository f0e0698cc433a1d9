"""A new patient foreseen: what the samples say, exactly where that is known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from replicated import short_fit
from toys import dataset, patient, sample
from typer.testing import CliRunner

from ckin.analysis import Analysis
from ckin.cli import app
from ckin.dataset import write_dataset
from ckin.errors import InputError
from ckin.forecast import Forecaster, forecast
from ckin.reopen import OpenedFit


@pytest.fixture(scope="module")
def opened(fitted_line, tmp_path_factory):
    """A fit whose population is known exactly: every draw is the same."""
    data, density = fitted_line
    u = np.tile(np.asarray(density.start), (50, 1))
    return OpenedFit(
        tmp_path_factory.mktemp("none"),
        Analysis("line", from_day=0.0),
        data,
        density,
        u,
        np.zeros((50, *density.eta_shape)),
        {"converged": True, "synthetic_data": True, "model": "line"},
    )


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


def test_a_second_patient_of_other_samples_compiles_nothing(foreseen, caplog):
    foreseer, _ = foreseen
    other = new("N2", (1.0, 3.0, 9.0), (6.0, 6.5, 5.0))
    with jax.log_compiles():
        again = foreseer(other, dataset([other]))
    compiled = [each.getMessage() for each in caplog.records]
    assert [text for text in compiled if text.startswith("Compiling")] == []
    assert again.known == 3


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
    result = CliRunner().invoke(app, [str(w) for w in [*words, "--until", "30"]])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("SYNTHETIC DATA")
    assert "1 patients foreseen until day 30" in result.stdout
