"""Laws that hold for every model in models/; a new file there is found and tested."""

import dataclasses
import functools
import pickle

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import problems
import pytest
import reference
from problems import Case, default, draw, events_of, trajectory

from ckin.examine import faults, open_units
from ckin.model import CHECKED, AbstractModel, laws, parameters, states
from ckin.protocol import PRODUCTS, Dose, pad_events
from ckin.units import canonical_unit


pytestmark = pytest.mark.filterwarnings("error")

each_model = pytest.mark.parametrize("cls", problems.each_model())
each_case = pytest.mark.parametrize("case", problems.cases())
# For what compiles anew: all of them in the slow tier.
each_core_case = pytest.mark.parametrize("case", problems.cases(fast=False))

# Two runs that differ only in where the steps fall: solver tolerance 1e-10 a step,
# over some thousand steps, times the growth of an error along an expansion.
SAME = 1e-7
# Below this share of its peak a quantity is under every assay: nine decades.
UNSEEN = 1e-9


@pytest.fixture(autouse=True)
def shapes_are_never_guessed():
    # Not for the whole suite: BlackJAX' pathfinder relies on rank promotion.
    with jax.numpy_rank_promotion("raise"):
        yield


def agree(found, expected, rtol=SAME):
    """Every quantity within `rtol` of what is expected, down to what can be seen."""
    for name, values in expected.items():
        peak = np.max(np.abs(values))
        np.testing.assert_allclose(
            found[name], values, rtol=rtol, atol=UNSEEN * peak, err_msg=name
        )


def as_doses(change):
    return tuple(change(dose) for dose in problems.DOSES)


# What is written


@each_model
def test_every_field_is_a_parameter_or_a_static_choice(cls: type[AbstractModel]):
    for field in dataclasses.fields(cls):
        assert "parameter" in field.metadata or field.metadata.get("static"), field.name


@each_model
def test_every_parameter_says_unit_source_check_and_meaning(cls: type[AbstractModel]):
    assert parameters(cls)
    for name, info in parameters(cls).items():
        assert canonical_unit(info.unit) == info.unit, name
        assert info.source.strip(), name
        assert len(info.doc) > 3, f"{name}: doc {info.doc!r} says nothing"
        assert info.checked in CHECKED, name


@each_model
def test_every_prior_supports_its_default(cls: type[AbstractModel]):
    model = default(cls)
    for name, info in parameters(cls).items():
        if info.prior is not None:
            value = getattr(model, name)
            # A distribution without a support is not a prior.
            assert info.prior.support(value), name  # pyright: ignore[reportOptionalCall]
            assert jnp.isfinite(info.prior.log_prob(value)), name


@each_model
def test_what_is_estimated_has_a_prior_and_what_varies_a_spread(
    cls: type[AbstractModel],
):
    assert problems.estimated(cls)
    for name, info in parameters(cls).items():
        if info.estimate or info.omega is not None:
            assert info.prior is not None, name
        assert info.omega is None or 0 < info.omega < 5, name


@each_model
def test_the_card_has_a_reference_and_a_description(cls: type[AbstractModel]):
    assert len(cls.reference) > 10
    assert cls.__doc__


@each_model
def test_quantities_and_their_units_have_the_same_names(cls: type[AbstractModel]):
    model = default(cls)
    found = jax.eval_shape(model.quantities, model.initial())
    assert set(found) == set(cls.units)
    assert all(canonical_unit(unit) == unit for unit in cls.units.values())
    assert all(value.shape == () for value in found.values())


@each_model
def test_products_enter_states_that_exist(cls: type[AbstractModel]):
    assert set(cls.receives) <= set(PRODUCTS)
    assert set(cls.receives.values()) <= set(states(cls))
    # A log state is never empty, so a dose into it would be a jump from nothing.
    assert not any(states(cls)[name].log for name in cls.receives.values())


@each_model
def test_the_vector_field_reads_only_declared_inputs(cls: type[AbstractModel]):
    model = default(cls)
    levels = {name: jnp.asarray(level) for name, level in cls.inputs.items()}
    slopes = model.vector_field(jnp.asarray(1.0), model.initial(), levels)
    assert type(slopes) is cls.State
    assert all(np.isfinite(level) for level in cls.inputs.values())


@each_model
def test_parameters_are_strong_float64_scalars(cls: type[AbstractModel]):
    half = {name: 0.5 for name in parameters(cls)}
    for model in (default(cls), default(cls).with_values(**half)):
        for name in parameters(cls):
            value = getattr(model, name)
            assert value.dtype == jnp.float64, name
            assert value.shape == (), name
            assert not value.weak_type, name


@each_model
def test_a_misspelt_parameter_is_refused(cls: type[AbstractModel]):
    with pytest.raises(ValueError, match="has no parameter 'no_such_rate'"):
        default(cls).with_values(no_such_rate=1.0)


@each_model
def test_a_model_survives_pickling(cls: type[AbstractModel]):
    model = draw(cls, 0)
    assert eqx.tree_equal(pickle.loads(pickle.dumps(model)), model)


@each_model
@pytest.mark.parametrize("seed", range(10))
def test_the_initial_state_is_finite_and_not_negative(cls, seed: int):
    model = draw(cls, seed)
    for name, value in model.initial()._asdict().items():
        assert jnp.isfinite(value), name
        assert value > 0 if states(cls)[name].log else value >= 0, name


@each_model
@pytest.mark.parametrize("seed", range(3))
def test_lymphodepletion_leaves_no_more_than_there_was(cls, seed: int):
    model = draw(cls, seed)
    before = model.initial()
    for name, value in model.lymphodeplete(before)._asdict().items():
        assert 0 <= value <= getattr(before, name), name


@each_model
def test_units_close_and_nothing_falls_below_zero(cls: type[AbstractModel]):
    for model in (default(cls), draw(cls, 0)):
        assert faults(model) + open_units(model) == []


@each_model
def test_every_form_of_every_law_is_well_formed(cls: type[AbstractModel]):
    for name, info in laws(cls).items():
        for option in info.options:
            model = default(cls).with_values(**{name: option})
            assert faults(model) + open_units(model) == [], option


@each_model
def test_a_form_that_a_law_has_not_is_refused(cls: type[AbstractModel]):
    for name, info in laws(cls).items():
        with pytest.raises(ValueError, match=f"knows {next(iter(info.options))}"):
            default(cls).with_values(**{name: "no_such_form"})


# What is solved


def positive_and_finite(case: Case, seed: int):
    path, found = trajectory(case, draw(case.cls, seed))
    assert path.ok
    for name, values in found.items():
        assert np.all(np.isfinite(values)), name
        assert np.min(values) >= -UNSEEN * np.max(values), name


@each_case
@pytest.mark.parametrize("seed", range(10))
def test_quantities_at_prior_draws_are_finite_and_not_negative(case, seed):
    positive_and_finite(case, seed)


@pytest.mark.slow
@each_case
@pytest.mark.parametrize("seed", range(10, 50))
def test_quantities_at_many_prior_draws_are_finite_and_not_negative(case, seed):
    positive_and_finite(case, seed)


@functools.cache
def by_scipy(cls: type[AbstractModel], seed: int):
    model = draw(cls, seed)
    case = Case("", cls, problems.Solver())
    return reference.integrate(model, events_of(model), case.time_d)


def agrees_with_scipy(case: Case, seed: int):
    _, found = trajectory(case, draw(case.cls, seed))
    # Both solvers hold 1e-10 a step: 1e-6 after hundreds of days is the equations.
    agree(found, by_scipy(case.cls, seed), rtol=1e-6)


@each_case
@pytest.mark.parametrize("seed", range(10))
def test_trajectories_agree_with_scipy(case: Case, seed: int):
    agrees_with_scipy(case, seed)


@pytest.mark.slow
@each_case
@pytest.mark.parametrize("seed", range(10, 50))
def test_trajectories_agree_with_scipy_at_many_draws(case: Case, seed: int):
    agrees_with_scipy(case, seed)


@each_case
def test_a_dose_of_no_cells_is_no_dose(case: Case):
    model = case.model
    nothing = as_doses(lambda dose: Dose(dose.time_d, dose.product, cells=0.0))
    _, found = trajectory(case, events=events_of(model, nothing, others=False))
    _, expected = trajectory(case, events=events_of(model, (), others=False))
    agree(found, expected)


@each_case
def test_a_split_dose_is_the_whole_dose(case: Case):
    model = case.model
    halves = as_doses(lambda d: Dose(d.time_d, d.product, cells=d.total(60.0) / 2))
    whole = as_doses(lambda d: Dose(d.time_d, d.product, cells=d.total(60.0)))
    assert eqx.tree_equal(events_of(model, halves + halves), events_of(model, whole))
    together = problems.rows_at_day_0(model, [{"CART": 3e8, "FTC": 2e8}])
    apart = problems.rows_at_day_0(
        model, [{"CART": 1e8, "FTC": 1e8}, {"CART": 2e8, "FTC": 1e8}]
    )
    agree(trajectory(case, events=apart)[1], trajectory(case, events=together)[1])


@each_case
def test_products_given_together_may_be_given_in_either_order(case: Case):
    cart, ftc = {"CART": 3e8}, {"FTC": 3e8}
    one = problems.rows_at_day_0(case.model, [cart, ftc])
    other = problems.rows_at_day_0(case.model, [ftc, cart])
    agree(trajectory(case, events=one)[1], trajectory(case, events=other)[1])


@each_core_case
def test_padding_changes_nothing(case: Case):
    table = events_of(case.model)
    _, found = trajectory(case, events=pad_events(table, problems.N_EVENTS + 3))
    _, expected = trajectory(case, events=table)
    # The last piece starts at the same time and takes the same steps.
    agree(found, expected, rtol=1e-12)


@each_case
def test_a_dose_changes_nothing_before_it(case: Case):
    later = tuple(dose for dose in problems.DOSES if dose.time_d >= 56.0)
    # Other doses at the same times, so that both are solved in the same pieces.
    other = tuple(dataclasses.replace(dose, cells=1.0) for dose in later)
    first = problems.DOSES[: -len(later)]
    _, found = trajectory(case, events=events_of(case.model, first + other))
    _, expected = trajectory(case)
    until = case.time_d <= 56.0
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name][until], values[until], err_msg=name)


@each_case
def test_a_sample_at_a_dose_is_before_it_unless_marked_after(case: Case):
    before, _ = trajectory(case)
    after, _ = trajectory(case, after=np.ones(case.time_d.shape, bool))
    given = {
        name: np.zeros(len(problems.DOSE_SAMPLES)) for name in case.cls.State._fields
    }
    if not case.exact:
        for product, name in case.cls.receives.items():
            alive = case.cls.viable.get(product)
            share = float(getattr(case.model, alive)) if alive else 1.0
            share *= problems.share(case.cls)
            for row, sample in enumerate(problems.DOSE_SAMPLES):
                given[name][row] += share * sum(
                    dose.total(problems.WEIGHT_KG)
                    for dose in problems.DOSES
                    if dose.product == product
                    and dose.time_d == problems.SAMPLE_D[sample]
                )
    for name, jump in given.items():
        low, high = getattr(before.states, name), getattr(after.states, name)
        at = problems.DOSE_SAMPLES
        # Rounding only: nothing is integrated between the two samples.
        np.testing.assert_allclose(
            high[at] - low[at], jump, rtol=1e-12, atol=1e-12 * np.max(np.abs(high))
        )
        # Where a switch is, one ends a piece and the other begins one: rounding again.
        elsewhere = np.delete(np.arange(low.size), at)
        np.testing.assert_allclose(high[elsewhere], low[elsewhere], rtol=1e-14)


@each_case
def test_new_values_and_new_doses_do_not_compile_again(case: Case):
    models = [case.model, draw(case.cls, 0), draw(case.cls, 1)]
    first = problems.estimated(case.cls)[0]
    usual = float(getattr(case.model, first))
    for value in (
        1.1 * usual,
        np.float64(1.2 * usual),
        jnp.asarray(1.3 * usual, float),
    ):
        models.append(case.model.with_values(**{first: value}))
    for model in models:
        trajectory(case, model)
    trajectory(case, events=events_of(case.model, (), others=False))
    traced = problems.traced_as(case.model, events_of(case.model), case.solver)
    assert problems.TRACES[traced] == 1


@each_core_case
def test_a_cohort_in_one_call_is_its_patients_one_by_one(case: Case):
    models = [draw(case.cls, seed) for seed in range(3)]
    tables = [
        events_of(model, as_doses(lambda d: dataclasses.replace(d, cycle=1)))
        for model in models
    ]
    tables[1] = events_of(models[1], problems.DOSES[:2], others=False)
    solve_all = eqx.filter_jit(
        eqx.filter_vmap(
            problems.quantities_at, in_axes=(eqx.if_array(0),) * 2 + (None,) * 3
        )
    )
    after = np.zeros(case.time_d.shape, bool)
    _, cohort = solve_all(
        problems.stack(models), problems.stack(tables), case.time_d, after, case.solver
    )
    for row, (model, table) in enumerate(zip(models, tables, strict=True)):
        _, expected = trajectory(case, model, table)
        agree({name: values[row] for name, values in cohort.items()}, expected)


# Gradients

# Where the curve is too low to be measured its logarithm is the solver's error.
MEASURED = 1e-5


def weights_of(found, seed: int):
    """Random weights of each log quantity at each sample; 0 where it is not seen."""
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(size=values.shape)
        * (np.asarray(values) > MEASURED * np.max(values))
        for name, values in found.items()
    }


def weighted_log(found, weights):
    """Sum of weighted log quantities; what is not seen never reaches the logarithm."""
    return sum(
        jnp.sum(weights[name] * jnp.log(jnp.where(weights[name] != 0, values, 1.0)))
        for name, values in found.items()
    )


def shifted(model: AbstractModel, log_change):
    """The model with its estimated parameters times exp(log_change)."""
    return model.with_values(
        **{name: getattr(model, name) * jnp.exp(by) for name, by in log_change.items()}
    )


@eqx.filter_jit
def compiled_gradient(log_change, model, events, time_d, solver, weights):
    def objective(log_change):
        moved = shifted(model, log_change)
        after = jnp.zeros(time_d.shape, bool)
        _, found = problems.quantities_at(moved, events, time_d, after, solver)
        return weighted_log(found, weights)

    return jax.grad(objective)(log_change)


def gradient(case: Case, model: AbstractModel, weights):
    zero = {name: jnp.zeros(()) for name in problems.estimated(case.cls)}
    events = events_of(model)
    return compiled_gradient(zero, model, events, case.time_d, case.solver, weights)


def differences(case: Case, model: AbstractModel, weights, name: str) -> float:
    """Four-point difference: error h^4, solver noise 1e-10/h."""
    h = 1e-3

    def at(steps: int) -> float:
        _, found = trajectory(case, shifted(model, {name: steps * h}))
        return float(weighted_log(found, weights))

    return (8.0 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12.0 * h)


@each_core_case
@pytest.mark.parametrize("seed", range(3))
def test_gradients_agree_with_finite_differences(case: Case, seed: int):
    model = draw(case.cls, seed)
    weights = weights_of(trajectory(case, model)[1], seed)
    found = gradient(case, model, weights)
    expected = {name: differences(case, model, weights, name) for name in found}
    largest = max(abs(value) for value in expected.values())
    for name, value in expected.items():
        # NUTS wants about 1e-6 of the gradient; the differences give about 1e-5.
        np.testing.assert_allclose(
            found[name], value, rtol=1e-4, atol=1e-5 * largest, err_msg=name
        )


@pytest.mark.slow
@each_case
def test_gradients_at_many_prior_draws_are_finite(case: Case):
    for seed in range(200):
        model = draw(case.cls, seed)
        weights = weights_of(trajectory(case, model)[1], seed)
        for name, value in gradient(case, model, weights).items():
            assert jnp.isfinite(value), (seed, name)


def other_forms() -> list:
    """Every form of every law that is not the default, as model, law and form."""
    return [
        pytest.param(cls, {law: form}, id=f"{name}-{form}")
        for name, cls in problems.MODELS.items()
        for law, info in laws(cls).items()
        for form in info.options
        if form != getattr(default(cls), law).__name__
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "form"), other_forms())
def test_every_form_of_every_law_keeps_the_laws_at_many_prior_draws(cls, form):
    solver = problems.Solver(method=dfx.Tsit5(), rtol=problems.RTOL, atol=problems.ATOL)
    case = Case("", cls, solver)
    for seed in range(200):
        model = draw(cls, seed).with_values(**form)
        path, found = trajectory(case, model)
        assert path.ok, seed
        for name, values in found.items():
            assert np.all(np.isfinite(values)), (seed, name)
            assert np.min(values) >= -UNSEEN * np.max(values), (seed, name)
        for name, value in gradient(case, model, weights_of(found, seed)).items():
            assert jnp.isfinite(value), (seed, name)
        if seed < 10:
            # As curated CAR-T come from nothing: with lymphodepletion three days before
            # them they grow by e^26 (8.7 a day) from what no absolute tolerance sees.
            events = events_of(model, others=form.get("marrow") != "curated")
            expected = reference.integrate(model, events, case.time_d)
            agree(trajectory(case, model, events)[1], expected, rtol=1e-6)
