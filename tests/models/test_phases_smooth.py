"""Gates instead of switches: what they change, how little, and what for."""

import diffrax as dfx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ckin.models.phases_ogasawara2021 import (  # pyright: ignore[reportMissingImports]
    PhasesOgasawara2021,
)
from ckin.models.phases_smooth import (  # pyright: ignore[reportMissingImports]
    LISO_CEL,
    PhasesSmooth,
)
from ckin.models.phases_stein2019 import (  # pyright: ignore[reportMissingImports]
    PhasesStein2019,
)
from scipy.special import expit
from transcribed import slopes_of, states_of

from ckin.protocol import event_table
from ckin.solve import Solver, solve


MODEL = PhasesSmooth()
STEIN = PhasesStein2019()
OGASAWARA = PhasesOgasawara2021()
LAGGED = MODEL.with_values(
    onset="lag",
    **LISO_CEL,
    cmax=OGASAWARA.cmax,
    memory_fraction=OGASAWARA.memory_fraction,
)
# Each form, the model with switches that it tends to, and where that one switches.
FORMS = [
    pytest.param(MODEL, STEIN, (9.3,), id="none"),
    pytest.param(LAGGED, OGASAWARA, (3.27, 9.29), id="lag"),
]
each_form = pytest.mark.parametrize(("smooth", "switched", "switches"), FORMS)
LN2 = np.log(2.0)


def log_level(model, time_d):
    """Logarithm of copies/µg at `time_d` by the closed form."""
    states = model.closed_form(jnp.atleast_1d(jnp.asarray(time_d, float)))
    return jnp.log(jax.vmap(model.quantities)(states)["copies_per_ug"])


def rates(model) -> tuple[float, float, float]:
    """ρ, α, and the mean loss rate at the peak."""
    derived = model.derived()
    rho = LN2 / float(derived["doubling_time_d"])
    alpha, beta = float(model.alpha), float(model.beta)
    share = float(model.memory_fraction)
    return rho, alpha, (1.0 - share) * alpha + share * beta


def gap(smooth, switched, steepness: float, time_d) -> np.ndarray:
    """Difference of ln C from the model with switches."""
    gated = smooth.with_values(steepness=steepness)
    return np.asarray(log_level(gated, time_d) - log_level(switched, time_d))


@each_form
def test_the_closed_form_solves_the_equations(smooth, switched, switches):
    del switched, switches
    time_d = np.linspace(0.0, 300.0, 301)
    events = event_table([], weight_kg=60.0)
    solver = Solver(method=dfx.Tsit5(), rtol=1e-10, atol=1e-10)
    path = solve(smooth, events, time_d, solver=solver)
    assert path.ok
    exact = smooth.closed_form(jnp.asarray(time_d))
    # Tolerance 1e-10 of the logarithm a step, over some hundred steps.
    for found, expected in zip(path.states, exact, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-7)


@each_form
def test_the_distance_to_the_switch_falls_as_one_over_the_steepness(
    smooth, switched, switches
):
    *_, tmax = switches
    rho, _, loss = rates(smooth)
    for steepness in (50.0, 100.0, 200.0):
        found = gap(smooth, switched, steepness, tmax)[0]
        # Of second order in 1/s: the spread of the loss rates, F_B (α-β)², times
        # (ln2/s)² is 1e-7; and half of the gate at the lag, which is shut by exp(-300).
        expected = -(rho + loss) * LN2 / steepness
        assert found == pytest.approx(expected, rel=1e-4), steepness
    if len(switches) == 2:
        for steepness in (50.0, 100.0, 200.0):
            found = gap(smooth, switched, steepness, switches[0])[0]
            assert found == pytest.approx(rho * LN2 / steepness, rel=1e-6), steepness


@each_form
def test_the_distance_to_the_switch_is_largest_at_a_switch(smooth, switched, switches):
    rho, _, loss = rates(smooth)
    time_d = np.sort(np.append(np.linspace(0.0, 300.0, 3001), switches))
    for steepness in (4.0, 40.0):
        distance = np.abs(gap(smooth, switched, steepness, time_d))
        bound = (rho + loss) * LN2 / steepness
        # The switch with the larger jump of the slope; 1e-3: second order in 1/s.
        assert np.max(distance) == pytest.approx(bound, rel=1e-3)
        away = np.min(np.abs(time_d[:, None] - np.asarray(switches)), axis=1)
        # softplus differs from max(x, 0) by ln(1+exp(-|x|)) < exp(-|x|); both gates.
        assert np.all(
            distance
            <= 2.0 * (rho + loss) / steepness * np.exp(-steepness * away) + 1e-12
        )


@each_form
def test_the_peak_is_lower_by_the_factor_and_later_by_the_days_of_the_docstring(
    smooth, switched, switches
):
    del switched, switches
    model = smooth.with_values(memory_fraction=1e-12)
    rho, alpha, _ = rates(model)
    for steepness in (2.0, 4.0, 16.0):
        gated = model.with_values(steepness=steepness)
        p = rho / (rho + alpha)
        entropy = -p * np.log(p) - (1.0 - p) * np.log(1.0 - p)
        day = float(gated.tmax) + np.log(rho / alpha) / steepness
        time_d = day + np.linspace(-1.0, 1.0, 20_001)
        level = np.asarray(log_level(gated, time_d))
        expected = np.log(float(gated.cmax)) - entropy * (rho + alpha) / steepness
        # The start is exp(-s (Tmax-Tlag)) away, 6e-6 of a day for s = 2 and a lag.
        assert np.max(level) == pytest.approx(expected, abs=1e-5)
        # Within a step of the grid.
        assert time_d[np.argmax(level)] == pytest.approx(day, abs=2e-4)
        derived = gated.derived()
        factor = float(derived["peak_over_cmax"])
        assert factor == pytest.approx(np.exp(-entropy * (rho + alpha) / steepness))
        late = float(derived["peak_after_tmax_d"])
        assert late == pytest.approx(day - float(gated.tmax))


def test_the_peak_at_the_defaults_is_a_tenth_below_cmax():
    time_d = np.linspace(8.0, 12.0, 40_001)
    level = np.exp(np.asarray(log_level(MODEL, time_d)))
    # The docstring's 0.89 and 0.43 days, to their digits; F_B adds less than 0.8%.
    assert np.max(level) / 24_000.0 == pytest.approx(0.89, abs=0.005)
    assert time_d[np.argmax(level)] - 9.3 == pytest.approx(0.43, abs=0.005)
    shift = np.max(level) / 24_000.0 / float(MODEL.derived()["peak_over_cmax"]) - 1.0
    assert 0.0 < shift < float(MODEL.memory_fraction)


@each_form
def test_the_curve_rises_to_one_peak_and_falls_from_there(smooth, switched, switches):
    del switched, switches
    # The smallest steepness for which that is promised, and an abrupt one.
    lowest = 1.01 * float(smooth.alpha - smooth.beta)
    # Up to here the curve moves by more than rounding from sample to sample.
    time_d = np.linspace(0.0, 200.0, 4001)
    for steepness in (lowest, 4.0, 100.0):
        level = np.asarray(log_level(smooth.with_values(steepness=steepness), time_d))
        # In the lag of an abrupt gate nothing moves: not a turn.
        moves = np.sign(np.diff(level)[np.abs(np.diff(level)) > 1e-12])
        assert moves[-1] == -1
        assert np.sum(np.diff(moves) != 0) <= 1, steepness


def slope_in_tmax(model, sample_d: float, tmax: float) -> float:
    """Derivative of ln C at `sample_d` with respect to Tmax."""

    def at(value):
        return log_level(model.with_values(tmax=value), sample_d)[0]

    return float(jax.grad(at)(jnp.asarray(tmax)))


@pytest.mark.parametrize("onset", ["none", "lag"])
def test_the_gradient_is_continuous_where_tmax_passes_a_sample(onset):
    sample, step = 10.0, 1e-6
    smooth = MODEL.with_values(onset=onset)
    before, after = (slope_in_tmax(smooth, sample, sample + by) for by in (-step, step))
    rho, _, loss = rates(smooth)
    # The gate moves by s/4 a day, over 2e-6 days, times the jump and 1 for the rest.
    assert abs(after - before) < 2.0 * step * (rho + loss + 1.0) * 4.0


def test_a_switch_makes_the_gradient_jump_there():
    # What the gate is for: the same derivative of the model with a switch.
    sample, step = 10.0, 1e-6
    before, after = (slope_in_tmax(STEIN, sample, sample + by) for by in (-step, step))
    rho = np.log1p(3900.0) / sample
    _, _, loss = rates(MODEL)
    # Rates move by 1e-7 over the step.
    assert before - after == pytest.approx(rho + loss, rel=1e-5)


def test_in_the_lag_growth_is_what_the_gate_lets_through():
    rho, *_ = rates(LAGGED)
    y = LAGGED.initial()
    for day in (0.5, 3.27, 5.0):
        slope = slopes_of(LAGGED, y, day)["contracting"] / float(y.contracting)
        # The other gate is open by exp(-4 × 4.3) on day 5.
        assert slope == pytest.approx(rho * expit(4.0 * (day - 3.27)), rel=1e-6)


@each_form
def test_the_course_starts_from_the_level_at_infusion(smooth, switched, switches):
    del switches
    found = states_of(smooth, np.zeros(1))
    total = found["contracting"][0] + found["persisting"][0]
    start = float(switched.quantities(switched.initial())["copies_per_ug"])
    # The gate at the lag is open by exp(-4 × 3.27) on day 0.
    assert total == pytest.approx(start, rel=1e-5)
