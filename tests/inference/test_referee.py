"""Laws of the referee: it weighs rightly, and tells a coarse grid from a fine one."""

import dataclasses
import importlib
import json
from typing import ClassVar

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pandas as pd
import pytest
from toys import QPCR, TOY, Level, dataset, made, patient, sample

from ckin._types import Scalar
from ckin.inference import GRID_ERROR, fit, referee
from ckin.inference.convergence import KHAT_LIMIT, referee_reasons
from ckin.inference.density import Density, make_density
from ckin.inference.referee import ADAPTIVE, CLOSED_FORM, Referee, weigh
from ckin.inference.results import summarise_refereed
from ckin.model import AbstractModel, log_normal, parameter
from ckin.population import pack, population


# The package's `fit` and `referee` are functions; their modules are found by name.
FINISHING_ROOM = importlib.import_module("ckin.inference.finish")
REFEREE_ROOM = importlib.import_module("ckin.inference.referee")


class Growth(AbstractModel):
    """Cells that double until there is no room: a curve that RK4 has to bend."""

    rate: Scalar = parameter(
        0.5, unit="1/day", doc="growth of few cells", source=TOY,
        prior=log_normal(0.5, 0.3), omega=0.3, estimate=True,
    )  # fmt: skip
    log_room: Scalar = parameter(
        6.0, unit="1", doc="log of the most there is room for", source=TOY,
        prior=dist.Normal(6.0, 0.5),
    )  # fmt: skip

    State: ClassVar = Level
    units: ClassVar = {"copies_per_ug": "copies/ug"}
    reference: ClassVar = TOY
    one_course: ClassVar = True

    def initial(self):
        return Level(jnp.ones(()))

    def vector_field(self, t, y, inputs):
        return Level(self.rate * y.level * (1.0 - y.level / jnp.exp(self.log_room)))

    def quantities(self, y):
        return {"copies_per_ug": y.level}


DAYS = (1.0, 6.0, 11.0, 16.0, 21.0)
LATE = dataset(
    [
        patient(f"G{row}", [sample(day, np.exp(min(6.0, 0.5 * day))) for day in DAYS])
        for row in range(3)
    ]
)
GROWTH = population(made(Growth), QPCR)
DRAWS = 60


def grown(monkeypatch, longest_step_d: float) -> tuple[Density, Referee]:
    """A cohort on a grid of such steps, and the referee's opinion."""
    monkeypatch.setattr("ckin.solve.grid.STEPS", ((np.inf, longest_step_d),))
    density = make_density(GROWTH, pack(LATE, GROWTH))
    keys = jax.random.split(jax.random.key(4))
    u = density.start + 0.2 * jax.random.normal(keys[0], (DRAWS, density.n_hyper))
    eta = jax.random.normal(keys[1], (DRAWS, *density.eta_shape))
    return density, referee(density, u, eta)


def opinion(delta, **other) -> Referee:
    """What the referee would say had it found these differences."""
    delta = np.asarray(delta, dtype=float)
    weights, khat = weigh(delta)
    rows = np.arange(delta.size)
    known = dict(by_patient={"P1": 0.1, "P2": 2.0}, unsolved={})
    return Referee(ADAPTIVE, rows, delta, weights, khat, **{**known, **other})


@pytest.fixture(scope="module")
def cohort() -> Density:
    return make_density(GROWTH, pack(LATE, GROWTH))


# Weights


def test_weights_sum_to_one_and_grow_with_the_ratio():
    delta = np.random.default_rng(0).normal(size=150)
    weights, khat = weigh(delta)
    assert weights.sum() == pytest.approx(1.0)
    # Smoothing puts quantiles in place of the largest; the order stays.
    assert (np.diff(weights[np.argsort(delta)]) >= 0).all()
    assert khat < KHAT_LIMIT


def test_weights_move_a_gaussian_to_where_it_should_be():
    drawn = np.random.default_rng(1).normal(size=2000)
    # From N(0, 1) to N(0.5, 1): the ratio of the densities.
    weights, khat = weigh(0.5 * drawn - 0.125)
    # 2000 exp(-1/4) draws' worth: the mean errs by 0.025, four times that is allowed.
    assert weights @ drawn == pytest.approx(0.5, abs=0.1)
    assert weights @ drawn**2 == pytest.approx(1.25, abs=0.3)
    assert khat < 0.5


def test_weights_without_a_variance_have_a_large_khat():
    drawn = np.random.default_rng(2).normal(size=2000)
    # To an SD of 3: the weights' tail has shape 1 - 1/9.
    assert weigh(drawn**2 / 2 * (1 - 1 / 9))[1] > KHAT_LIMIT


@pytest.mark.parametrize("level", [0.0, -3.0])
def test_equal_ratios_are_exact_whatever_their_level(level):
    noise = 1e-9 * np.random.default_rng(3).normal(size=100)
    weights, khat = weigh(level + noise)
    assert khat == 0.0
    np.testing.assert_allclose(weights, 0.01, rtol=1e-6)


def test_largest_ratios_that_are_equal_have_no_tail():
    assert weigh(np.append(np.linspace(-3.0, -1.0, 60), np.zeros(40)))[1] == 0.0


def test_one_draw_with_all_the_weight_has_an_infinite_khat():
    delta = np.linspace(-4000.0, -2000.0, 100)
    delta[7] = 0.0
    weights, khat = weigh(delta)
    assert khat == np.inf
    assert weights[7] == pytest.approx(1.0)


def test_a_draw_that_is_not_known_weighs_nothing():
    delta = np.append(np.random.default_rng(0).normal(size=60), np.nan)
    weights, khat = weigh(delta)
    assert weights[-1] == 0.0
    assert weights.sum() == pytest.approx(1.0)
    assert khat == weigh(delta[:-1])[1]


def test_few_draws_have_weights_and_no_khat():
    weights, khat = weigh(np.array([0.0, np.log(3.0)]))
    np.testing.assert_allclose(weights, [0.25, 0.75])
    assert np.isnan(khat)
    assert np.isnan(weigh(np.full(3, np.nan))[1])


# Grids


def test_a_fine_grid_is_confirmed(monkeypatch):
    _, judge = grown(monkeypatch, 0.1)
    # RK4 at a twentieth of the time scale: 1e-5, against an error SD of about 0.4.
    assert 0.0 < judge.max_abs_delta < 1e-2
    assert judge.ess == pytest.approx(DRAWS, rel=1e-3)
    assert judge.unsolved == {}
    assert referee_reasons(judge, 1e-3) == ()


def test_a_coarse_grid_is_not_and_the_verdict_says_what_to_do(monkeypatch):
    _, judge = grown(monkeypatch, 5.0)
    # Five days are more than two time scales of the growth.
    assert judge.max_abs_delta > 1.0
    assert judge.khat > KHAT_LIMIT
    (reason,) = referee_reasons(judge, 1e-3)
    assert "--grid-error 0.0001" in reason
    assert f"patient {judge.worst_patient}" in reason


def test_reweighted_numbers_are_those_of_the_weights(cohort):
    density, rng = cohort, np.random.default_rng(5)
    judge = opinion(rng.normal(size=DRAWS))
    u = rng.normal(size=(2, DRAWS // 2, density.n_hyper))
    found = summarise_refereed(density, u, judge)
    assert found is not None
    table = found.set_index("parameter").to_dict()
    assert set(density.names) < set(table["mean"])
    rate = np.exp(u[..., density.names.index("rate")]).ravel()
    assert table["mean"]["rate"] == pytest.approx(judge.weights @ rate)
    moved = (judge.weights @ rate - rate.mean()) / rate.std()
    assert table["shift_in_sd"]["rate"] == pytest.approx(moved)
    for name in density.names:
        assert table["q05"][name] < table["q50"][name] < table["q95"][name]
    assert table["unit"]["rate"] == "1/day"


def test_a_formula_needs_no_referee(line):
    draws = jnp.broadcast_to(line.start, (30, line.n_hyper))
    judge = referee(line, draws, jnp.zeros((30, *line.eta_shape)))
    assert judge.method == CLOSED_FORM
    assert judge.told() == {"method": CLOSED_FORM, "draws": 0}
    assert referee_reasons(judge, 1e-3) == ()
    assert summarise_refereed(line, np.asarray(draws)[None], judge) is None


def test_no_draw_is_refused(line):
    with pytest.raises(ValueError, match="at least 1"):
        referee(line, np.zeros((0, line.n_hyper)), np.zeros((0, *line.eta_shape)))


# Failures


def failing(monkeypatch, density, *, explicit, implicit) -> Referee:
    """The referee where these (draw, patient) pairs fail; no equation is solved."""
    pairs = {dfx.Tsit5: explicit, dfx.Kvaerno5: implicit, type(None): []}

    # A draw is known by its first number.
    def told(density, u, eta):
        method = density.solver.method
        solved = np.ones((37, density.data.n_patients), bool)
        for pair in pairs[type(method)]:
            solved[pair] = False
        solved = solved[np.asarray(u[:, 0]).astype(int)]
        each = np.full((*solved.shape, 2), 2.0 if method is None else 3.0)
        return np.where(solved[..., None], each, -np.inf), solved

    monkeypatch.setattr(REFEREE_ROOM, "sample_log_likelihoods", told)
    u = np.zeros((37, density.n_hyper))
    u[:, 0] = np.arange(37)
    return referee(density, u, np.zeros((37, *density.eta_shape)))


def test_what_the_implicit_solver_can_solve_counts(monkeypatch, cohort):
    judge = failing(monkeypatch, cohort, explicit=[(3, 1), (36, 2)], implicit=[])
    assert (judge.rescued, judge.unsolved) == (2, {})
    # Three patients with two samples, each changed by 1.
    np.testing.assert_allclose(judge.delta, 6.0)


def test_what_nobody_can_solve_is_told_with_its_patient(monkeypatch, cohort):
    pairs = [(3, 1), (4, 1), (36, 2)]
    judge = failing(monkeypatch, cohort, explicit=pairs, implicit=pairs[1:])
    assert judge.rescued == 1
    assert judge.unsolved == {"G1": 1, "G2": 1}
    assert np.flatnonzero(judge.weights == 0).tolist() == [4, 36]
    assert judge.weights.sum() == pytest.approx(1.0)
    (reason,) = referee_reasons(judge, 1e-3)
    assert "2 solves failed" in reason
    assert "patient G1: 1 of 37" in reason


def test_a_fit_with_its_own_solver_is_told_of_tolerances():
    judge = opinion(5.0 * np.random.default_rng(0).standard_t(2, size=100))
    assert judge.khat > KHAT_LIMIT
    (reason,) = referee_reasons(judge, None)
    assert "rtol" in reason
    assert "--grid-error" not in reason


def test_a_heavy_tail_of_tiny_differences_is_of_no_matter():
    judge = opinion(1e-5 * np.random.default_rng(0).standard_cauchy(size=100))
    assert judge.khat > KHAT_LIMIT
    assert referee_reasons(judge, 1e-3) == ()


def test_too_few_draws_to_tell_is_a_reason():
    (reason,) = referee_reasons(opinion(np.linspace(0.0, 1.0, 20)), 1e-3)
    assert "20 draws" in reason


# In a fit


def fit_of_growth(**choice):
    return fit(LATE, GROWTH, method="map", chains=2, draws=DRAWS // 2, **choice)


@pytest.fixture(scope="module")
def fitted():
    return fit_of_growth()


def test_a_fit_of_equations_is_refereed_and_says_so(fitted, tmp_path):
    fitted.write(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["grid_error"] == GRID_ERROR
    assert manifest["khat"] == fitted.referee.khat
    told = manifest["referee"]
    assert (told["method"], told["draws"]) == (ADAPTIVE, DRAWS)
    assert told["worst_patient"] in fitted.density.data.ids
    assert told["unsolved"] == 0
    assert manifest["seconds"]["referee"] > 0
    assert manifest["solver_failures_by_patient"] == {
        "warm-up": None,
        "sampling": {},
        "referee": {},
    }
    table = pd.read_csv(tmp_path / "referee.csv")
    assert list(table.columns) == [
        *("parameter", "unit", "mean", "q05", "q50", "q95", "shift_in_sd"),
        "converged",
    ]
    # What differs is the grid's error, a thousandth of a reading's.
    assert np.abs(table["shift_in_sd"].to_numpy()).max() < 0.05


def test_a_table_of_an_earlier_fit_does_not_stay(fitted, tmp_path):
    fitted.write(tmp_path)
    assert (tmp_path / "referee.csv").exists()
    dataclasses.replace(fitted, refereed=None).write(tmp_path)
    assert not (tmp_path / "referee.csv").exists()


def test_a_fit_that_the_referee_rejects_has_not_converged(monkeypatch, fitted):
    assert fitted.verdict.converged, fitted.verdict.reasons
    bad = opinion(5.0 * np.random.default_rng(0).standard_t(2, size=DRAWS))
    monkeypatch.setattr(FINISHING_ROOM, "referee", lambda *_, **__: bad)
    found = fit_of_growth(grid_error=0.02)
    assert not found.verdict.converged
    (reason,) = found.verdict.reasons
    assert "--grid-error 0.002" in reason
    assert found.manifest["converged"] is False
    assert found.manifest["grid_error"] == 0.02
