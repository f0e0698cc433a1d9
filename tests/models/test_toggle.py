"""Toggle: the transcription and scipy, what the switch does, steady shares by hand."""

import functools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from ckin.models.toggle import SETTINGS  # pyright: ignore[reportMissingImports]
from scipy.integrate import solve_ivp
from transcribed import TIGHT, by_roadrunner, slopes_of

from ckin.library import load_model
from ckin.protocol import Dose, event_table
from ckin.solve import Solver, solve


MODEL = load_model("toggle")
DAYS = np.linspace(0.0, 120.0, 121)
CART, FTC = 3e8, 1e9
NAMES = {
    "memory": "M",
    "effector": "E",
    "exhausted": "X",
    "exposure": "u",
    "leukaemia": "L",
    "b_cells": "B",
    "feeder": "F",
}
# A switch that is over (on) or not at all (off), whatever a patient has of antigen.
ON, OFF = {"antigen_half": 1e-30}, {"antigen_half": 1e30}
# Antigen that CAR-T do not touch, and cells that neither divide nor die.
UNTOUCHED = {"kill_rate": 0.0}
STILL = {
    "memory_division": 0.0,
    "division": 0.0,
    "effector_loss": 0.0,
    "exhausted_loss": 0.0,
    "memory_loss": 0.0,
}


@eqx.filter_jit
def solved(model, events):
    solver = Solver(rtol=TIGHT, atol=TIGHT)
    return solve(model, events, DAYS, after=DAYS == 0.0, solver=solver)


@functools.cache
def course(cart: float = CART, ftc: float = 0.0, lymphodepletion: bool = False, **new):
    """States at `DAYS`, after what is given on day 0."""
    doses = [Dose(0.0, "CART", cells=cart), Dose(0.0, "FTC", cells=ftc)]
    days = (0.0,) if lymphodepletion else ()
    events = event_table(doses, weight_kg=60.0, lymphodepletion_d=days)
    model = MODEL.with_values(**new)
    path = solved(model, events)
    assert path.ok
    return {name: np.asarray(value) for name, value in path.states._asdict().items()}


def state(**cells: float):
    given = {name: jnp.asarray(value) for name, value in cells.items()}
    return MODEL.initial()._replace(**given)


def value(name: str) -> float:
    return float(getattr(MODEL, name))


def sensed(y, **new: float) -> float:
    """How far antigen has switched: what exposure makes for, at τ of a day."""
    model = MODEL.with_values(exposure_time=1.0, **new)
    return slopes_of(model, y._replace(exposure=jnp.zeros(())))["exposure"]


def all_cart(path) -> np.ndarray:
    return path["memory"] + path["effector"] + path["exhausted"]


@pytest.mark.parametrize("ftc", [0.0, FTC], ids=["alone", "with FTC"])
@pytest.mark.parametrize("setting", [{}, SETTINGS["remission"]], ids=["full", "low"])
def test_the_course_is_that_of_the_transcription(ftc: float, setting):
    found = course(ftc=ftc, **setting)
    start = {"L": setting["leukaemia_0"], "B": setting["b_cells_0"]} if setting else {}
    expected = by_roadrunner("TOGGLE", DAYS, F=ftc, **start)
    for ours, theirs in NAMES.items():
        # CVODE accumulates some 1e-7; cells below one, and 1e-9 of u, are its error.
        floor = 1e-9 if ours == "exposure" else 1e-1
        np.testing.assert_allclose(
            found[ours], expected[theirs], rtol=1e-5, atol=floor, err_msg=ours
        )


def test_the_course_is_that_of_scipy_and_of_powers_instead_of_logarithms():
    def slopes(_, cells):
        m, e, x, u, ll, b, f = cells
        a = (ll + b + f) ** 2 / (3e8**2 + (ll + b + f) ** 2)
        kill = 1.5 * (e + 0.1 * x) / (e + 0.1 * x + 2e10)
        p = 0.5 * (1.0 - a)
        return [
            (2 * p - 1) * 0.2 * m + 0.00124 * (1 - a) * e - 0.0032 * m,
            0.4 * (1 - p) * m
            + (0.95 * a - 0.15876 - 0.00124 * (1 - a) - 0.12 * u) * e
            + 0.02 * (1 - u) * x,
            0.12 * u * e - (0.1 + 0.02 * (1 - u)) * x,
            (a - u) / 7.0,
            0.03 * ll * ll / (ll + 1.0) * (1.0 - ll / 1e12) - kill * ll,
            2e7 - (0.017 + kill) * b,
            -(0.2 + kill) * f,
        ]

    start = [0.2 * CART, 0.0, 0.0, 0.0, 1e10, 2e10, FTC]
    tight = {"rtol": 1e-11, "atol": 1e-6, "method": "LSODA", "t_eval": DAYS}
    expected = solve_ivp(slopes, (0.0, DAYS[-1]), start, **tight).y
    found = course(ftc=FTC)
    for row, name in enumerate(NAMES):
        floor = 1e-6 if name == "exposure" else 1e-1
        np.testing.assert_allclose(
            found[name], expected[row], rtol=1e-6, atol=floor, err_msg=name
        )


# No antigen


def test_memory_without_antigen_persists_but_for_its_loss():
    # Divisions leave one memory cell of two, and nobody else makes any.
    path = course(**OFF, memory_formed=0.0)
    expected = 6e7 * np.exp(-0.0032 * DAYS)
    np.testing.assert_allclose(path["memory"], expected, rtol=1e-7)
    assert float(MODEL.derived()["memory_half_life"]) == pytest.approx(216.6, rel=1e-3)


@pytest.mark.parametrize("kept", [0.3, 0.45])
def test_memory_that_renews_itself_less_is_lost_to_effectors_at_that_rate(kept: float):
    path = course(**OFF, memory_formed=0.0, self_renewal=kept)
    rate = 0.0032 + (1.0 - 2.0 * kept) * 0.2
    np.testing.assert_allclose(path["memory"], 6e7 * np.exp(-rate * DAYS), rtol=1e-6)
    half_life = MODEL.with_values(self_renewal=kept).derived()["memory_half_life"]
    assert float(half_life) == pytest.approx(np.log(2.0) / rate)


def test_effectors_without_antigen_contract_with_a_half_life_of_4_3_days():
    half_life = float(MODEL.derived()["contraction_half_life"])
    assert half_life == pytest.approx(np.log(2.0) / 0.16, rel=1e-3)
    y = state(effector=1e9)
    slopes = slopes_of(MODEL.with_values(**OFF), y)
    assert slopes["effector"] == pytest.approx(-0.16 * 1e9)
    # 0.0079 of them end as memory, once all have contracted: 0.00124 / 0.16.
    assert slopes["memory"] / -slopes["effector"] == pytest.approx(0.00775)


def test_a_patient_without_antigen_sees_no_expansion_and_no_exhaustion():
    path = course(**SETTINGS["aplasia"])
    assert np.max(all_cart(path)) < 5.0 * 6e7
    assert np.max(path["exhausted"]) < 1e-3 * np.max(path["effector"])


# Much antigen


def test_memory_among_antigen_makes_two_effectors_at_each_division():
    slopes = slopes_of(MODEL.with_values(**ON, memory_loss=0.0), state(memory=1e8))
    assert slopes["memory"] == pytest.approx(-0.2 * 1e8)
    assert slopes["effector"] == pytest.approx(2.0 * 0.2 * 1e8)


def test_no_memory_is_formed_among_antigen():
    y = state(effector=1e9)
    assert slopes_of(MODEL.with_values(**ON), y)["memory"] == pytest.approx(0.0)
    assert slopes_of(MODEL.with_values(**OFF), y)["memory"] > 1e6


def test_exposure_approaches_what_is_sensed_over_its_time():
    path = course(**ON, **UNTOUCHED)
    np.testing.assert_allclose(path["exposure"], -np.expm1(-DAYS / 7.0), atol=1e-9)


def test_the_exhausted_share_rises_under_antigen_to_that_of_the_algebra():
    path = course(**ON, **UNTOUCHED)
    share = path["exhausted"][1:] / (path["effector"] + path["exhausted"])[1:]
    assert np.all(np.diff(share) > -1e-12)
    # E grows at λ - d_E - x, X is fed by x E: x / (λ - d_E + d_X).
    steady = 0.12 / (0.95 - 0.15876 + 0.1)
    assert float(MODEL.derived()["exhausted_share"]) == pytest.approx(steady)
    # u is 3e-8 from 1 on day 120.
    assert share[-1] == pytest.approx(steady, rel=1e-6)


@pytest.mark.parametrize("sensed", [0.3, 0.6])
def test_the_steady_share_at_any_level_is_the_eigenvector_of_the_slopes(sensed: float):
    # Antigen that stays: B cells that are made as fast as they are lost.
    at = {
        "leukaemia_0": 1e-6,
        "b_cell_source": 0.017 * 1e9,
        "b_cells_0": 1e9,
        "antigen_half": 1e9 * np.sqrt((1.0 - sensed) / sensed),
    }
    path = course(**UNTOUCHED, **at)
    back = 0.02 * (1.0 - sensed)
    grows = 0.95 * sensed - 0.15876 - 0.00124 * (1.0 - sensed) - 0.12 * sensed
    memory = (2.0 * 0.5 * (1.0 - sensed) - 1.0) * 0.2 - 0.0032
    made = 2.0 * (1.0 - 0.5 * (1.0 - sensed)) * 0.2
    matrix = np.array(
        [
            [memory, 0.00124 * (1.0 - sensed), 0.0],
            [made, grows, back],
            [0.0, 0.12 * sensed, -0.1 - back],
        ]
    )
    rates, vectors = np.linalg.eig(matrix)
    _, effector, exhausted = np.real(vectors[:, np.argmax(np.real(rates))])
    # On day 120 the slower ways have faded to 1e-6 of the leading one, or 1e-4 of it
    # where effectors hardly grow.
    found = path["exhausted"][-1] / path["effector"][-1]
    assert found == pytest.approx(exhausted / effector, rel=1e-3)


def test_a_short_encounter_exhausts_few_and_a_long_one_as_if_it_had_always_been():
    def worn(**new: float) -> np.ndarray:
        path = course(**UNTOUCHED, **ON, **new)
        return path["exhausted"][1:] / (path["effector"] + path["exhausted"])[1:]

    felt, at_once = worn(), worn(exposure_time=0.1)
    # On day 2 exposure is a fourth of what it becomes, and was less before.
    assert felt[1] < 0.2 * at_once[1]
    assert felt[-1] == pytest.approx(at_once[-1], rel=1e-6)


def test_exhaustion_outlasts_antigen_and_then_recedes():
    path = course()
    peak = int(np.argmax(path["exposure"]))
    antigen = path["leukaemia"] + path["b_cells"]
    gone = int(np.argmax(antigen < 1e8))
    # A week after antigen was cleared exposure is still felt, and cells are worn by it.
    assert peak < gone + 7
    assert path["exposure"][gone + 5] > 0.3
    share = path["exhausted"][1:] / (path["effector"] + path["exhausted"])[1:]
    assert np.argmax(share) > gone
    assert share[-1] < 0.5 * np.max(share)


# Balances


@pytest.mark.parametrize("antigen", [{}, ON, OFF], ids=["switching", "on", "off"])
def test_car_t_that_neither_divide_nor_die_keep_their_number(antigen):
    path = course(**STILL, **antigen)
    np.testing.assert_allclose(all_cart(path), 6e7, rtol=1e-9)


def test_car_t_change_by_divisions_and_deaths_alone():
    y = state(memory=2e8, effector=3e9, exhausted=5e8, exposure=0.4, feeder=2e8)
    slopes = slopes_of(MODEL, y)
    moved = slopes["memory"] + slopes["effector"] + slopes["exhausted"]
    on = sensed(y)
    divided = 0.2 * 2e8 + 0.95 * on * 3e9
    died = 0.0032 * 2e8 + 0.15876 * 3e9 + 0.1 * 5e8
    assert moved == pytest.approx(divided - died)


def test_the_switch_is_half_over_at_k_and_counts_what_ftc_are_worth():
    antigen = {"leukaemia": 1.0, "b_cells": 1.0, "feeder": 1.5e8 - 1.0}
    y = state(**antigen)
    assert sensed(y, feeder_weight=2.0) == pytest.approx(0.5)
    # At n = 2, K/3 is 1/10.
    third = y._replace(feeder=jnp.asarray(1e8))
    assert sensed(third) == pytest.approx(0.1, rel=1e-6)


def test_killers_kill_at_half_the_rate_where_they_are_k_c():
    y = state(effector=value("kill_half"))
    slopes = slopes_of(MODEL, y)
    assert slopes["feeder"] == 0.0
    assert slopes["leukaemia"] == pytest.approx((0.03 * 0.99 - 0.75) * 1e10)
    assert slopes["b_cells"] == pytest.approx(2e7 - (0.017 + 0.75) * 2e10)
    # Ten exhausted cells kill as one effector does.
    worn = state(exhausted=10.0 * value("kill_half"))
    assert slopes_of(MODEL, worn)["leukaemia"] == pytest.approx(slopes["leukaemia"])


def test_fewer_than_one_leukaemic_cell_hardly_grow_back():
    path = course(0.0, leukaemia_0=1e-3)
    assert path["leukaemia"][-1] < 1.01e-3


# What a patient would show


def test_a_relapse_peaks_where_it_was_meant_to():
    quantities = [MODEL.quantities(MODEL.State(*row)) for row in _rows(course())]
    copies = np.array([float(row["copies_per_ug"]) for row in quantities])
    assert 10.0 <= DAYS[np.argmax(copies)] <= 14.0
    assert 5e3 < np.max(copies) < 5e4


def _rows(path) -> np.ndarray:
    return np.stack(list(path.values()), axis=1)


def test_feeding_cells_raise_the_peak_where_antigen_is_low_and_not_where_it_is_high():
    def peak(ftc: float, **antigen: float) -> float:
        return float(np.max(all_cart(course(ftc=ftc, lymphodepletion=True, **antigen))))

    aplasia = SETTINGS["aplasia"]
    assert peak(FTC, **aplasia) > 2.0 * peak(0.0, **aplasia)
    assert peak(FTC) == pytest.approx(peak(0.0), rel=0.1)


def test_lymphodepletion_takes_lymphocytes_and_leukaemia_and_not_what_was_felt():
    y = state(memory=1e8, effector=1e9, exhausted=1e8, exposure=0.4, feeder=1e8)
    after = MODEL.lymphodeplete(y)
    shares = {name: float(getattr(after, name) / getattr(y, name)) for name in NAMES}
    expected = dict.fromkeys(NAMES, 0.1) | {"leukaemia": 0.5, "exposure": 1.0}
    assert shares == pytest.approx(expected)
