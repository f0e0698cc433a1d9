"""Behaviour of the feeding model at its defaults, against published kinetics.

Every course is simulated once, in one batch: the scenarios are data, the tests read
the same result. Stein: CPT-PSP 2019;8:285. Ogasawara: doi:10.1007/s40262-021-01039-5.
"""

import dataclasses
import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ckin.models.feeding_szcart01 import (  # pyright: ignore[reportMissingImports]
    LEUKAEMIA_FLOOR,
    SETTINGS,
    Body,
    FeedingSzcart01,
    mass_action,
    michaelis,
    programmed,
    programmed_to_driven,
    ratio,
    relapse_with,
)

from ckin.model import parameters
from ckin.protocol import (
    FTC_LEVELS_CELLS_PER_KG,
    Dose,
    EventTable,
    InputWindow,
    event_table,
    pad_events,
)
from ckin.solve import solve


WEIGHT_KG = 60.0
TIME_D = np.concatenate([np.arange(-4.0, 75.0, 0.125), np.arange(75.0, 731.0)])
FTC_TIMES_D = (2.0 / 24.0, 7.0)
N_EVENTS = 8
MODEL = FeedingSzcart01()
UNTREATED = {name: jnp.zeros(()) for name in MODEL.inputs}


class Scenario(NamedTuple):
    values: dict[str, float]
    events: EventTable


def course(
    cart_per_kg: float = 5e6,
    cart_times_d: tuple[float, ...] = (0.0,),
    ftc_per_kg: float = 0.0,
    ftc_times_d: tuple[float, ...] = FTC_TIMES_D,
    depleted_d: tuple[float, ...] = (-3.0,),
    tki: float = 0.0,
) -> EventTable:
    """One course, padded: lymphodepletion, CAR-T, then FTC."""
    doses = [Dose(t, "CART", cells_per_kg=cart_per_kg) for t in cart_times_d]
    doses += [Dose(t, "FTC", cells_per_kg=ftc_per_kg) for t in ftc_times_d]
    windows = (InputWindow("tki", tki, -4.0, 800.0),) if tki else ()
    table = event_table(
        doses,
        weight_kg=WEIGHT_KG,
        lymphodepletion_d=depleted_d,
        windows=windows,
        inputs=MODEL.inputs,
    )
    return pad_events(table, N_EVENTS)


def scenarios() -> dict[str, Scenario]:
    high = FTC_LEVELS_CELLS_PER_KG["high"]
    aplasia, remission = SETTINGS["aplasia"], SETTINGS["remission"]
    no_b_cells = {"b_cell_source": aplasia["b_cell_source"]}
    blocked = aplasia | {"tki_imax": 1.0}
    twice = functools.partial(course, cart_times_d=(0.0, 56.0), depleted_d=(-3.0, 53.0))
    found = {
        "relapse, 70% blasts": Scenario(relapse_with(0.7), course()),
        "relapse, 20% blasts": Scenario(relapse_with(0.2), course()),
        "relapse, 1e6/kg": Scenario(SETTINGS["relapse"], course(1e6)),
        "relapse, no B cells": Scenario(SETTINGS["relapse"] | no_b_cells, course()),
        "remission, depleted": Scenario(
            SETTINGS["remission_lymphodepleted"], course(depleted_d=())
        ),
        "second, no antigen": Scenario(remission | no_b_cells, twice()),
        "second, B cells": Scenario(remission, twice()),
        "aplasia, day 1 only": Scenario(
            aplasia, course(ftc_per_kg=high, ftc_times_d=FTC_TIMES_D[:1])
        ),
        "TKI": Scenario(blocked, course(tki=1.0)),
        "TKI + high": Scenario(blocked, course(ftc_per_kg=high, tki=1.0)),
        "no CAR-T": Scenario(remission, course(0.0)),
        "no CAR-T + high": Scenario(remission, course(0.0, ftc_per_kg=high)),
    }
    for setting in ("relapse", "remission", "aplasia"):
        found[setting] = Scenario(SETTINGS[setting], course())
        for level, dose in FTC_LEVELS_CELLS_PER_KG.items():
            table = course(ftc_per_kg=dose)
            found[f"{setting} + {level}"] = Scenario(SETTINGS[setting], table)
    for need in (0.0, 1.0):
        values = aplasia | {"antigen_need": need}
        found[f"γ={need:g}"] = Scenario(values, course())
        found[f"γ={need:g} + high"] = Scenario(values, course(ftc_per_kg=high))
    return found


class Curves:
    """What every scenario came to: quantities and states by scenario."""

    def __init__(self):
        cases = scenarios()
        models = [MODEL.with_values(**case.values) for case in cases.values()]
        tables = [case.events for case in cases.values()]
        stack = lambda *rows: jnp.stack([jnp.asarray(row) for row in rows])

        @eqx.filter_jit
        @eqx.filter_vmap
        def simulate(model, events):
            trajectory = solve(model, events, TIME_D)
            quantities = jax.vmap(model.quantities)(trajectory.states)
            return trajectory.ok, quantities, trajectory.states

        ok, quantities, states = simulate(
            jax.tree.map(stack, *models), jax.tree.map(stack, *tables)
        )
        self.ok = np.asarray(ok)
        self.rows = {name: row for row, name in enumerate(cases)}
        found = quantities | states._asdict()
        self.values = {name: np.asarray(value) for name, value in found.items()}

    def of(self, scenario: str, quantity: str = "copies_per_ug") -> np.ndarray:
        return self.values[quantity][self.rows[scenario]]

    def at(self, day: float, scenario: str, quantity: str = "copies_per_ug") -> float:
        return float(np.interp(day, TIME_D, self.of(scenario, quantity)))

    def peak(self, scenario: str) -> tuple[float, float]:
        """Height (copies/µg) and day of the expansion: after the dip, to day 40."""
        curve = np.where(between(3.0, 40.0), self.of(scenario), 0.0)
        return float(curve.max()), float(TIME_D[curve.argmax()])

    def exposure(self, scenario: str) -> float:
        """AUC of CAR-T/µL over days 0 to 28, which FTC in the tube do not dilute."""
        days = between(0.0, 28.0)
        cells = self.of(scenario, "car_cells_per_ul")[days]
        return float(np.trapezoid(cells, TIME_D[days]))

    def effect(self, setting: str, level: str) -> float:
        """How many times FTC raise the exposure."""
        return self.exposure(f"{setting} + {level}") / self.exposure(setting)

    def halving_d(self, scenario: str, first: float, last: float, **which) -> float:
        """Half-life over some days, by regression of the logarithm."""
        days = between(first, last)
        logs = np.log(self.of(scenario, **which)[days])
        return float(-np.log(2.0) / np.polyfit(TIME_D[days], logs, 1)[0])


def between(first: float, last: float) -> np.ndarray:
    return (TIME_D >= first) & (TIME_D <= last)


@pytest.fixture(scope="module")
def curves() -> Curves:
    return Curves()


def test_every_scenario_is_solved(curves):
    assert curves.ok.all()


def test_no_state_is_negative_or_below_the_floor_of_leukaemia(curves):
    # The absolute tolerance of the solver is 0.01 cell.
    for name in Body._fields:
        assert curves.values[name].min() > -1.0, name
    assert curves.values["leukaemia"].min() > 0.5 * LEUKAEMIA_FLOOR
    # Antigen is a sum that never vanishes where the marrow makes B cells.
    assert (curves.values["leukaemia"] + curves.values["b_cells"]).min() > 0.0


# Relapse: the published curves of single infusions.


def test_blood_dips_while_infused_cells_distribute(curves):
    # Decline of the first days, then growth: Sci Rep 2020, PMC7578827; lag of 3.3 d
    # in Ogasawara.
    early = np.where(between(0.25, 5.0), curves.of("relapse"), np.inf)
    assert 0.5 < TIME_D[early.argmin()] <= 3.0
    assert early.min() < 0.5 * curves.at(0.25, "relapse")


def test_car_t_double_in_less_than_a_day_at_relapse(curves):
    # Stein 0.78 d, Ogasawara 0.755 d. On cells: N recovers meanwhile.
    _, day = curves.peak("relapse")
    doubling = -curves.halving_d("relapse", 3.0, day - 1.5, quantity="car_cells_per_ul")
    assert 0.7 < doubling < 1.0


def test_the_peak_at_relapse_is_that_of_tisagenlecleucel(curves):
    # Stein 24,000 copies/µg at day 9.3; SmPC 32,700 at day 9.8.
    height, day = curves.peak("relapse")
    assert 10_000 < height < 60_000
    assert 8.0 <= day <= 13.0


def test_contraction_at_relapse_halves_in_four_to_five_days(curves):
    # Stein 4.3 d, Ogasawara 5.0 d (4.15-5.90).
    _, day = curves.peak("relapse")
    assert 3.5 < curves.halving_d("relapse", day + 2.0, day + 12.0) < 6.0


def test_memory_outlasts_the_aplasia(curves):
    # Stein 217 d, Ogasawara 352 d, in patients whose B cells are absent.
    assert curves.halving_d("relapse, no B cells", 90.0, 365.0) > 100.0
    assert curves.halving_d("relapse", 60.0, 180.0) > 100.0


def test_burden_moves_the_peak_by_about_two(curves):
    # FELIX (obe-cel): 70% against 20% marrow blasts, 1.9 times (1.4-2.6).
    high, _ = curves.peak("relapse, 70% blasts")
    low, _ = curves.peak("relapse, 20% blasts")
    assert 1.3 < high / low < 3.0


def test_dose_hardly_moves_the_peak(curves):
    # Stein: exponent of dose 0.093, so 1.16 times for five times the dose.
    high, _ = curves.peak("relapse")
    low, _ = curves.peak("relapse, 1e6/kg")
    assert 1.0 < high / low < 1.6


# Remission: the trial's population.


def test_the_defaults_are_the_remission_setting():
    for name, value in SETTINGS["remission"].items():
        assert float(getattr(MODEL, name)) == value


def test_the_peak_in_remission_is_lower_and_earlier(curves):
    # Antigen, and not dose, sets the peak; extrapolated from FELIX.
    relapse, relapse_day = curves.peak("relapse")
    height, day = curves.peak("remission")
    assert 3.0 < relapse / height < 20.0
    assert 6.0 <= day <= 11.0
    assert day < relapse_day


def test_remission_after_lymphodepletion_is_a_setting_of_its_own(curves):
    there, _ = curves.peak("remission, depleted")
    here, _ = curves.peak("remission")
    assert there == pytest.approx(here, rel=0.05)


def test_b_cells_vanish_and_return_when_car_t_have_fallen(curves):
    # B-cell aplasia is the marker of function; recovery goes with loss of the
    # transgene (Mueller 2018, Pulsipher 2022).
    before = SETTINGS["remission"]["b_cells_0"]
    normal = float(MODEL.b_cell_source / MODEL.b_cell_loss)
    assert curves.at(28.0, "remission", "b_cells") < 0.02 * before
    assert curves.at(180.0, "remission", "b_cells") < 0.1 * normal
    assert curves.at(730.0, "remission", "b_cells") > 0.5 * normal
    assert curves.at(730.0, "remission") < 0.01 * curves.at(28.0, "remission")


# A second infusion into aplasia.


def test_a_second_infusion_without_antigen_jumps_and_decays(curves):
    # Seen in courses of re-infusion: Blood Adv 2024;8:2182.
    cells = curves.of("second, no antigen", "car_cells_per_ul")
    after = cells[between(56.25, 100.0)]
    assert after[0] > 10.0 * cells[between(50.0, 55.9)].max()
    # Nothing grows from its lowest level by more than a fifth, and most is lost.
    assert (after / np.minimum.accumulate(after)).max() < 1.2
    assert after[-1] < 0.05 * after[0]


def test_a_second_infusion_with_antigen_expands_again(curves):
    cells = curves.of("second, B cells", "car_cells_per_ul")
    trough = cells[between(57.0, 60.0)].min()
    again = cells[between(60.0, 75.0)].max()
    assert again > 1.5 * trough


# Feeding T cells. No data: what follows is what the structure must mean.


@pytest.mark.parametrize("level", FTC_LEVELS_CELLS_PER_KG)
def test_ftc_matter_most_where_there_is_no_other_antigen(curves, level):
    relapse, remission, aplasia = (
        curves.effect(setting, level) for setting in ("relapse", "remission", "aplasia")
    )
    assert 1.0 < relapse < 1.1
    assert relapse < remission < aplasia
    assert aplasia > 1.3


@pytest.mark.parametrize("setting", ["relapse", "remission", "aplasia"])
def test_more_ftc_do_more_with_diminishing_return(curves, setting):
    level = FTC_LEVELS_CELLS_PER_KG
    high, medium, low = (curves.effect(setting, name) for name in level)
    assert high >= medium >= low >= 1.0
    first = (low - 1.0) / level["low"]
    second = (medium - low) / (level["medium"] - level["low"])
    third = (high - medium) / (level["high"] - level["medium"])
    # Where FTC add a hundredth of the antigen the return is still proportional.
    assert first >= 0.98 * second
    assert second >= 0.98 * third


@pytest.mark.parametrize("setting", ["relapse", "remission", "aplasia"])
def test_ftc_are_gone_within_days(curves, setting):
    given = FTC_LEVELS_CELLS_PER_KG["high"] * WEIGHT_KG
    assert curves.at(14.0, f"{setting} + high", "ftc_cells") < 1e-3 * given


def test_the_day_8_dose_acts_after_day_8_only(curves):
    both, first = curves.of("aplasia + high"), curves.of("aplasia, day 1 only")
    before = between(-4.0, 7.0)
    np.testing.assert_allclose(both[before], first[before], rtol=1e-6)
    assert curves.at(14.0, "aplasia + high") > 1.2 * curves.at(
        14.0, "aplasia, day 1 only"
    )


def test_under_a_fully_effective_tki_ftc_do_nothing(curves):
    # Dasatinib stops lysis and proliferation by CAR-T: Mestermann 2019.
    quantity = "car_cells_per_ul"
    fed, alone = curves.of("TKI + high", quantity), curves.of("TKI", quantity)
    days = between(0.0, 100.0)
    np.testing.assert_allclose(fed[days], alone[days], rtol=1e-6)


def test_without_car_t_ftc_only_decay(curves):
    dose = FTC_LEVELS_CELLS_PER_KG["high"] * WEIGHT_KG
    since_d = TIME_D - np.array(FTC_TIMES_D)[:, None]
    left = np.sum(dose * np.exp(-0.2 * since_d) * (since_d > 0), axis=0)
    days = between(0.0, 40.0)
    found = curves.of("no CAR-T + high", "ftc_cells")
    np.testing.assert_allclose(found[days], left[days], rtol=1e-5, atol=1.0)
    for name in ("leukaemia", "b_cells", "other_cells", "car_cells_per_ul"):
        np.testing.assert_allclose(
            curves.of("no CAR-T + high", name), curves.of("no CAR-T", name), rtol=1e-6
        )


def test_an_assay_of_the_backbone_counts_ftc_and_one_of_the_car_is_diluted(curves):
    # 5e6 FTC/kg all in blood would be 71/µL; 15% of them are.
    day = 0.125
    fed, alone = "remission + high", "remission"
    assert curves.at(day, fed) < curves.at(day, alone)
    assert curves.at(day, fed, "copies_per_ug_backbone") > 1.5 * curves.at(day, alone)


def test_what_ftc_promise_hangs_on_gamma(curves):
    effect = {need: curves.effect(f"γ={need}", "high") for need in (0, 1)}
    assert effect[0] > 5.0 * effect[1] > 5.0


# The laws.


@pytest.mark.parametrize("law", [ratio, michaelis, mass_action])
def test_stimulation_grows_with_antigen_from_0_to_1(law):
    antigen = jnp.concatenate([jnp.zeros(1), jnp.logspace(-6, 14, 200)])
    for cart in (0.0, 1e8, 1e12):
        s = jax.vmap(lambda a, t: law(MODEL, a, t), (0, None))(antigen, cart)
        assert s[0] == 0.0
        assert s[-1] > 0.9
        assert ((s >= 0.0) & (s <= 1.0)).all()
        assert (jnp.diff(s) >= 0.0).all()


def test_only_the_ratio_law_shares_antigen_among_car_t():
    few, many = 1e8, 1e10
    assert ratio(MODEL, 3e8, many) < 0.2 * ratio(MODEL, 3e8, few)
    for law in (michaelis, mass_action):
        assert law(MODEL, 3e8, many) == law(MODEL, 3e8, few)


def test_mass_action_at_the_scale_of_leukaemia_cannot_show_ftc():
    # León-Triana: ρ_C = 0.25 × 4.5e-11 per cell and day. 3e8 FTC recruit 0.3% of
    # CAR-T a day; the ratio law recruits a hundred times more.
    ftc, cart = 3e8, 1.5e8
    recruited = MODEL.recruitment_rate * mass_action(MODEL, ftc, cart)
    assert recruited == pytest.approx(0.25 * 4.5e-11 * ftc, rel=0.1)
    assert recruited < 0.02 * MODEL.recruitment_rate * ratio(MODEL, ftc, cart)


def test_gamma_0_is_programmed_division():
    model = MODEL.with_values(antigen_need=0.0)
    for s in (0.0, 1e-9, 0.3, 1.0):
        s = jnp.asarray(s)
        assert programmed_to_driven(model, s) == programmed(model, s) == 1.0


def test_gamma_1_divides_in_proportion_to_stimulation():
    model = MODEL.with_values(antigen_need=1.0)
    for s in (0.0, 1e-9, 0.3, 1.0):
        found = programmed_to_driven(model, jnp.asarray(s))
        assert found == pytest.approx(s, abs=1e-15)


@pytest.mark.parametrize("need", [0.0, 0.1, 1.0])
def test_gradients_are_finite_where_nothing_stimulates(need):
    model = MODEL.with_values(antigen_need=need)
    nothing = Body(*(jnp.zeros(()) for _ in Body._fields))
    nothing = nothing._replace(leukaemia=jnp.asarray(1e-6), other_cells=jnp.ones(()))

    @eqx.filter_grad
    def slope_of(both):
        model, y = both
        slopes = model.vector_field(jnp.zeros(()), y, UNTREATED)
        law = programmed_to_driven(model, jnp.zeros(()))
        return law + sum(jnp.sum(slope) for slope in slopes)

    gradients = jax.tree.leaves(slope_of((model, nothing)))
    assert all(jnp.isfinite(gradient).all() for gradient in gradients)


def test_a_law_is_swapped_by_replace():
    other = dataclasses.replace(MODEL, stimulation=michaelis, division=programmed)
    y = MODEL.initial()._replace(engaged=jnp.asarray(1e8))
    slope = other.vector_field(jnp.zeros(()), y, UNTREATED)
    recruited = other.recruitment_rate * michaelis(other, y.leukaemia + y.b_cells, 0.0)
    assert slope.dividing_1 == pytest.approx(float(recruited * 1e8), rel=1e-12)


def test_a_fit_estimates_few_parameters_and_they_vary_between_patients():
    infos = parameters(MODEL)
    estimated = {name for name, info in infos.items() if info.estimate}
    varying = {name for name, info in infos.items() if info.omega is not None}
    assert estimated - varying == {"feeder_weight"}
    assert varying - estimated == {"vcn"}
    assert len(estimated) == 6
    assert infos["weight_kg"].column == "WT"


def test_every_default_is_inside_its_prior():
    for name, info in parameters(MODEL).items():
        if info.prior is not None:
            value = getattr(MODEL, name)
            assert np.isfinite(np.asarray(info.prior.log_prob(value))), name
