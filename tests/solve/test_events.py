"""Laws of events: whatever a patient is given, however it is written down.

Each law is tried on a few courses here and on 1,000 in the slow tier. Every course is
padded to one shape and carries every kind of event, so that all share two compiled
functions.
"""

import dataclasses
import functools
from typing import Any, ClassVar, NamedTuple

import diffrax as dfx
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import integrate
from toys import TOY, made

from ckin._types import Scalar
from ckin.model import AbstractModel, parameter, state
from ckin.protocol import Dose, EventTable, InputWindow, event_table, stack_events
from ckin.solve import Solver, lagged, make_grid, make_grids, pad_grid, scaled, solve
from ckin.solve.grid import usual_pace


class Cells(NamedTuple):
    cart: Scalar = state("cells", "given, dividing on feeders", scale=1e6)
    feeder: Scalar = state("cells", "given, killed", scale=1e6)
    target: Scalar = state("cells", "grows, and is killed", log=True)


class Ward(AbstractModel):
    """Two products, an input that holds one of them down, and a target."""

    division: Scalar = parameter(0.8, unit="1/day", doc="of fed cells", source=TOY)
    death: Scalar = parameter(0.15, unit="1/day", doc="of cells", source=TOY)
    kill: Scalar = parameter(0.6, unit="1/day", doc="killing", source=TOY)
    half: Scalar = parameter(1e8, unit="cells", doc="half of it", source=TOY)
    alive: Scalar = parameter(0.8, unit="1", doc="of FTC given", source=TOY)
    lag: Scalar = parameter(0.0, unit="day", doc="until FTC arrive", source=TOY)

    State: ClassVar = Cells
    units: ClassVar = {"cart": "cells", "feeder": "cells", "target": "cells"}
    receives: ClassVar = {"CART": "cart", "FTC": "feeder"}
    viable: ClassVar = {"FTC": "alive"}
    inputs: ClassVar = {"tki": 0.0}
    reference: ClassVar = TOY

    def initial(self):
        return Cells(jnp.zeros(()), jnp.zeros(()), jnp.array(1e9))

    def lymphodeplete(self, y):
        return y._replace(cart=0.2 * y.cart, feeder=0.2 * y.feeder)

    def vector_field(self, t, y, inputs):
        free = 1.0 - inputs["tki"]
        fed = y.feeder / (y.feeder + self.half)
        hit = self.kill * free * y.cart / (y.cart + self.half)
        return Cells(
            (self.division * free * fed - self.death) * y.cart,
            -(self.death + hit) * y.feeder,
            (0.05 - hit) * y.target,
        )

    def quantities(self, y):
        return y._asdict()


class LateWard(Ward):
    """The same, and FTC arrive late."""

    lags: ClassVar = {"FTC": "lag"}


# Steps err by 1e-10, some hundreds of them.
TIGHT = Solver(dfx.Tsit5(), rtol=1e-10, atol=1e-10)
SAME = 1e-6
N_EVENTS, N_STEPS = 40, 4096
SAMPLES = np.array([-1.0, 0.0, 0.02, 1.0, 5.0, 7.0, 8.5, 14.0, 30.0, 57.0, 63.0, 120.0])
BEFORE, AFTER = np.zeros(SAMPLES.size, bool), np.ones(SAMPLES.size, bool)
# What makes every table hold every kind of event.
EVERYTHING = event_table(
    [Dose(0.0, "CART", cells=1.0, duration_d=1.0)]
    + [Dose(float(day), "FTC", cells=1.0) for day in range(N_EVENTS - 2)],
    weight_kg=60.0,
    windows=[InputWindow("tki", 0.0, 0.0, 1.0, end_level=1.0)],
    inputs=Ward.inputs,
    resets_d=[0.0],
)


class Course(NamedTuple):
    """What one patient is given."""

    doses: tuple[Dose, ...]
    windows: tuple[InputWindow, ...] = ()
    lymphodepletion_d: tuple[float, ...] = ()
    resets_d: tuple[float, ...] = ()


def table(course: Course) -> EventTable:
    own = event_table(
        course.doses,
        weight_kg=60.0,
        lymphodepletion_d=course.lymphodepletion_d,
        windows=course.windows,
        inputs=Ward.inputs,
        resets_d=course.resets_d,
    )
    return jax.tree.map(lambda rows: rows[0], stack_events([own, EVERYTHING]))


@eqx.filter_jit
def _solved(model, events, time_d, after):
    return solve(model, events, time_d, after=after, solver=TIGHT)


def run(course: Course | EventTable, model=None, time_d=SAMPLES, after=BEFORE):
    """States at the samples by name, arrays (times,)."""
    events = table(course) if isinstance(course, Course) else course
    model = made(Ward) if model is None else model
    path = _solved(model, jax.tree.map(jnp.asarray, events), time_d, after)
    assert path.ok
    return {name: np.asarray(v) for name, v in path.states._asdict().items()}


def alike(one: dict, other: dict, rtol: float = SAME, at: Any = slice(None)) -> None:
    """The same states, at all samples or those of `at`."""
    for name, values in one.items():
        # Cells under one are none: a hundred-millionth of a dose.
        np.testing.assert_allclose(values[at], other[name][at], rtol=rtol, atol=1.0)


BEGINS_D = -2.0
# Few distinct days, so that things often happen together; and any day.
# Not any nearer to each other than a tenth of a second, which scipy refuses to walk.
days = st.sampled_from([0.0, 1.0, 2.0 / 24.0, 7.0, 56.0, 63.0]) | st.integers(
    0, 10**8
).map(lambda micro: micro / 1e6)
doses = st.builds(
    Dose,
    time_d=days,
    product=st.sampled_from(["CART", "FTC"]),
    cells=st.floats(0.0, 1e9),
    duration_d=st.sampled_from([0.0, 0.02, 0.5, 3.0]),
)
some_doses = st.lists(doses, max_size=6).map(tuple)
windows = st.builds(
    lambda start, length, level: InputWindow("tki", level, start, start + length),
    days,
    st.floats(0.01, 50.0),
    st.floats(0.0, 1.0),
)
courses = st.builds(
    Course,
    doses=some_doses,
    windows=st.lists(windows, max_size=3).map(tuple),
    # A course begins with its first event, and nothing moves before: all begin on one
    # day, or a dose moved or left out would move its beginning.
    lymphodepletion_d=st.lists(days, max_size=2, unique=True).map(
        lambda later: (BEGINS_D, *later)
    ),
    resets_d=st.lists(days, max_size=1).map(tuple),
)
LAWS = []


def law(*strategies):
    """A law tried on a few courses on the way, and on a thousand in the slow tier."""

    def of(test):
        LAWS.append(settings(max_examples=1000)(given(*strategies)(test)))
        return settings(max_examples=20)(given(*strategies)(test))

    return of


def split(dose: Dose, share: float) -> tuple[Dose, Dose]:
    cells = dose.cells or 0.0
    return (
        dataclasses.replace(dose, cells=share * cells),
        dataclasses.replace(dose, cells=(1.0 - share) * cells),
    )


@law(courses, st.floats(0.0, 1.0))
def test_a_split_dose_is_the_whole_dose(course, share):
    parts = tuple(part for dose in course.doses for part in split(dose, share))
    alike(run(course), run(course._replace(doses=parts)))


@law(courses, st.floats(0.1, 0.9))
def test_an_infusion_in_two_bags_is_one_infusion(course, share):
    parts = []
    for dose in course.doses:
        first, second = split(dose, share)
        lasts = dose.duration_d
        parts += [
            dataclasses.replace(first, duration_d=share * lasts),
            dataclasses.replace(
                second,
                time_d=dose.time_d + share * lasts,
                duration_d=(1.0 - share) * lasts,
            ),
        ]
    # A reset stops the bag that hangs, and not one that is hung later.
    course = course._replace(resets_d=())
    alike(run(course), run(course._replace(doses=tuple(parts))))


@law(courses, st.floats(1e-7, 1e-5))
def test_a_bolus_is_the_limit_of_a_short_infusion(course, duration_d):
    at_once = course._replace(
        doses=tuple(dataclasses.replace(d, duration_d=0.0) for d in course.doses)
    )
    short = course._replace(
        doses=tuple(dataclasses.replace(d, duration_d=duration_d) for d in course.doses)
    )
    # A sample at a dose is after the bolus and before the infusion; a reset a moment
    # after a dose would stop it.
    apart = np.array([t not in {d.time_d for d in course.doses} for t in SAMPLES])
    apart &= np.array(
        [all(not t < s <= t + 1e-4 for t in _starts(course)) for s in SAMPLES]
    )
    if any(0 < r - t < 1e-4 for r in course.resets_d for t in _starts(course)):
        return
    one, other = run(at_once), run(short)
    # Rates are below 1 a day, so cells of a dose differ by 1e-5 at most.
    alike(one, other, rtol=3e-5, at=apart)


def _starts(course: Course) -> set[float]:
    return {dose.time_d for dose in course.doses}


@law(courses, doses)
def test_a_dose_of_no_cells_is_no_dose(course, dose):
    nothing = dataclasses.replace(dose, cells=0.0)
    alike(run(course), run(course._replace(doses=(*course.doses, nothing))))


@law(courses, st.floats(-50.0, 50.0))
def test_a_later_course_is_the_same_course_later(course, by_d):
    moved = Course(
        tuple(dataclasses.replace(d, time_d=d.time_d + by_d) for d in course.doses),
        tuple(
            dataclasses.replace(w, start_d=w.start_d + by_d, stop_d=w.stop_d + by_d)
            for w in course.windows
        ),
        tuple(t + by_d for t in course.lymphodepletion_d),
        tuple(t + by_d for t in course.resets_d),
    )
    # Sums of floats differ in the last digit: samples keep away from what happens.
    moments = {t for part in (course, moved) for t in _moments(part)}
    clear = np.array([min((abs(s - t) for t in moments), default=1.0) for s in SAMPLES])
    clear = clear > 1e-9
    shifted = np.array(
        [min((abs(s + by_d - t) for t in moments), default=1.0) for s in SAMPLES]
    )
    clear &= shifted > 1e-9
    one, other = run(course), run(moved, time_d=SAMPLES + by_d)
    alike(one, other, at=clear)


def _moments(course: Course) -> set[float]:
    return set(table(course).time_d.tolist())


@law(courses, st.randoms(use_true_random=False))
def test_the_order_in_which_things_are_written_does_not_matter(course, shuffler):
    mixed = [list(part) for part in course]
    for part in mixed:
        shuffler.shuffle(part)
    alike(run(course), run(Course(*(tuple(part) for part in mixed))))


@law(courses, doses)
def test_a_sample_at_a_dose_is_before_it_unless_it_says_after(course, dose):
    at = np.full(SAMPLES.size, dose.time_d)
    bolus = dataclasses.replace(dose, duration_d=0.0)
    given_ = course._replace(doses=(*course.doses, bolus))
    alike(run(course, time_d=at), run(given_, time_d=at))
    gained = (
        run(given_, time_d=at, after=AFTER)["cart"]
        - run(course, time_d=at, after=AFTER)["cart"]
    )
    # As long as nothing else happens then, the sample is that many cells richer.
    expected = dose.cells if dose.product == "CART" else 0.0
    assert gained == pytest.approx(expected, rel=1e-9, abs=10.0)


@law(courses, doses, st.integers(-3, 3))
def test_events_next_to_each_other_are_as_good_as_simultaneous(course, dose, ulps):
    near = dose.time_d
    for _ in range(abs(ulps)):
        near = float(np.nextafter(near, np.inf if ulps > 0 else -np.inf))
    moved = dataclasses.replace(dose, time_d=near)
    # A sample at the dose itself sees it or not.
    clear = np.array([abs(s - dose.time_d) > 1e-9 for s in SAMPLES])
    # Beside a reset or lymphodepletion one ulp decides, and rightly.
    if any(
        abs(t - dose.time_d) < 1e-9
        for t in (*course.resets_d, *course.lymphodepletion_d)
    ):
        return
    one = run(course._replace(doses=(*course.doses, dose)))
    other = run(course._replace(doses=(*course.doses, moved)))
    alike(one, other, at=clear)


@law(st.lists(courses, min_size=3, max_size=3))
def test_patients_side_by_side_are_patients_one_by_one(some):
    stacked = jax.tree.map(
        lambda *rows: jnp.stack([jnp.asarray(row) for row in rows]),
        *(table(course) for course in some),
    )
    together = _side_by_side(made(Ward), stacked)
    backwards = _side_by_side(made(Ward), jax.tree.map(lambda r: r[::-1], stacked))
    for index, course in enumerate(some):
        alone = run(course)
        for states, row in ((together, index), (backwards, len(some) - 1 - index)):
            alike({n: np.asarray(v)[row] for n, v in states._asdict().items()}, alone)


@eqx.filter_jit
def _side_by_side(model, events):
    return jax.vmap(
        lambda own: solve(model, own, jnp.asarray(SAMPLES), solver=TIGHT).states
    )(events)


@law(courses, days)
def test_after_a_reset_the_patient_is_new(course, reset_d):
    """A reset forgets: what came before it makes no difference after it."""
    kept = Course(
        tuple(d for d in course.doses if d.time_d >= reset_d),
        course.windows,
        tuple(t for t in course.lymphodepletion_d if t >= reset_d),
        (reset_d,),
    )
    after = SAMPLES > reset_d
    one, other = run(course._replace(resets_d=(reset_d,))), run(kept)
    alike(one, other, at=after)


@law(courses, st.floats(0.0, 5.0))
def test_a_lag_is_a_later_dose(course, lag_d):
    # What a lag makes of a reset is not what a later dose makes of it.
    course = course._replace(resets_d=())
    late = course._replace(
        doses=tuple(
            dataclasses.replace(d, time_d=d.time_d + lag_d) if d.product == "FTC" else d
            for d in course.doses
        )
    )
    clear = np.array(
        [min(abs(s - t) for t in {*_moments(late), -9.0}) > 1e-9 for s in SAMPLES]
    )
    one, other = run(course, made(LateWard, lag=lag_d)), run(late)
    alike(one, other, at=clear)


@law(courses, st.floats(0.0, 1.0))
def test_dead_cells_are_cells_not_given(course, alive):
    fewer = course._replace(
        doses=tuple(
            dataclasses.replace(d, cells=alive * (d.cells or 0.0))
            if d.product == "FTC"
            else d
            for d in course.doses
        )
    )
    alike(run(course, made(Ward, alive=alive)), run(fewer, made(Ward, alive=1.0)))


@law(courses)
def test_scipy_restarted_at_every_event_agrees(course):
    # An event table starts at its first event; a sample at an event is before it.
    found, expected = run(course), integrate(made(Ward), table(course), SAMPLES)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=SAME, atol=10.0)


@law(courses)
def test_the_grid_agrees_with_the_adaptive_walk(course):
    events = table(course)
    grid = make_grid(events, SAMPLES, BEFORE, fine_pace(events))
    path = _on_grid(made(Ward), jax.tree.map(jnp.asarray, pad_grid(grid, N_STEPS)))
    assert path.ok
    expected = run(course)
    for name, values in path.states._asdict().items():
        # Half an hour of infusion is one step of this pace, in which Simpson's rule
        # errs by 2% of the 1% that can happen then: 1.0e-3 was met in 1,000 courses.
        np.testing.assert_allclose(values, expected[name], rtol=2e-3, atol=100.0)


def fine_pace(events: EventTable):
    """Four times the usual: fits refine the usual one, and here nothing does."""
    return scaled(usual_pace(np.asarray(events.time_d)), 4.0)


@eqx.filter_jit
def _on_grid(model, grid):
    return solve(model, EVERYTHING, SAMPLES, grid=grid)


def test_a_grid_holds_a_lag_that_is_known():
    course = Course(
        (Dose(0.0, "CART", cells=1e8), Dose(7.0, "FTC", cells=1e8, duration_d=0.5)),
        (InputWindow("tki", 0.5, 6.0, 9.0),),
    )
    model = made(LateWard, lag=1.5)
    batch = jax.tree.map(lambda rows: rows[None], table(course))
    paces = [fine_pace(lagged(model, table(course)))]
    grids = make_grids(model, batch, SAMPLES[None], BEFORE[None], paces)
    path = solve(
        model, EVERYTHING, SAMPLES, grid=jax.tree.map(lambda rows: rows[0], grids)
    )
    assert path.ok
    found = {name: np.asarray(v) for name, v in path.states._asdict().items()}
    # As for random courses on a grid, above.
    alike(found, run(course, model), rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("test", LAWS, ids=lambda test: test.__name__)
def test_a_thousand_courses(test):
    test()


# Examples that other tools got wrong


def doses_at(*times: float, **other) -> tuple[Dose, ...]:
    return tuple(Dose(t, "CART", cells=1e8, **other) for t in times)


def total(course: Course, time_d: float, **other) -> float:
    still = made(Ward, death=0.0, division=0.0, kill=0.0, alive=1.0, **other)
    at = np.full(SAMPLES.size, time_d)
    return float(run(course, still, at)["cart"][0])


def test_a_window_that_ends_a_hair_from_a_dose_does_not_give_it_twice():
    for gap in (0.0, 1e-12, -1e-12, 1e-10, -1e-10):
        window = InputWindow("tki", 1.0, 3.0, 7.0 + gap)
        assert total(Course(doses_at(7.0), (window,)), 8.0) == pytest.approx(1e8)


def test_an_infusion_after_a_bolus_is_given():
    course = Course((*doses_at(0.0), *doses_at(7.0, duration_d=0.5)))
    assert total(course, 20.0) == pytest.approx(2e8, rel=1e-9)


def test_simultaneous_doses_are_all_given():
    course = Course((*doses_at(7.0, 7.0), *doses_at(7.0, duration_d=1.0)))
    assert total(course, 20.0) == pytest.approx(3e8, rel=1e-9)


def test_half_an_infusion_is_half_the_cells():
    course = Course(doses_at(2.0, duration_d=1.0))
    assert total(course, 2.25) == pytest.approx(0.25e8, rel=1e-9)


def test_viability_scales_what_runs_in_and_not_what_flows():
    still = functools.partial(made, Ward, death=0.0, division=0.0, kill=0.0)
    course = Course((Dose(0.0, "FTC", cells=1e8, duration_d=1.0),))
    half, whole = (run(course, still(alive=share))["feeder"] for share in (0.5, 1.0))
    np.testing.assert_allclose(half, 0.5 * whole, rtol=1e-9)
    assert whole[-1] == pytest.approx(1e8, rel=1e-9)


def test_an_infusion_too_short_for_a_float_is_a_bolus():
    course = Course(doses_at(50.0, duration_d=1e-18))
    assert total(course, 60.0) == pytest.approx(1e8, rel=1e-12)


def test_a_reset_stops_what_runs_in():
    course = Course(doses_at(2.0, duration_d=10.0), resets_d=(4.0,))
    assert total(course, 4.0) == pytest.approx(2e7, rel=1e-9)
    assert total(course, 20.0) == 0.0


def test_a_straight_line_is_the_limit_of_a_staircase():
    ramp = InputWindow("tki", 0.0, 10.0, 20.0, end_level=1.0)
    edges = np.linspace(10.0, 20.0, 21)
    stairs = tuple(
        InputWindow("tki", float(np.mean(pair)) / 10.0 - 1.0, *pair)
        for pair in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    )
    smooth = run(Course(doses_at(0.0), (ramp,)))
    stepped = run(Course(doses_at(0.0), stairs))
    # Steps of half a day: the middle rule errs by h²/24 of what bends.
    alike(smooth, stepped, rtol=2e-2)
    held = run(Course(doses_at(0.0), (dataclasses.replace(ramp, end_level=None),)))
    assert abs(smooth["target"][-1] / held["target"][-1] - 1.0) > 0.1


def test_a_dose_of_no_cells_does_not_begin_a_course():
    nothing = Course((Dose(5.0, "CART", cells=0.0),))
    alike(run(nothing), run(Course(())))


def test_two_courses_of_one_input_at_once_are_refused_where_one_is_a_line():
    ramp = InputWindow("tki", 0.0, 10.0, 20.0, end_level=1.0)
    with pytest.raises(ValueError, match="which of them holds"):
        table(Course((), (ramp, InputWindow("tki", 1.0, 15.0, 25.0))))


@pytest.mark.slow
def test_a_lag_moves_what_a_fit_differentiates():
    """The gradient by a lag is that of the later dose, against finite differences."""
    course = jax.tree.map(jnp.asarray, table(Course((Dose(0.0, "FTC", cells=1e8),))))

    def fed(lag):
        model = made(LateWard, lag=0.0).with_values(lag=lag)
        path = solve(model, course, jnp.array([5.0]), solver=TIGHT)
        return path.states.feeder[0]

    slope = jax.jit(jax.grad(fed))(1.0)
    step = 1e-4
    across = (jax.jit(fed)(1.0 + step) - jax.jit(fed)(1.0 - step)) / (2 * step)
    assert float(slope) == pytest.approx(float(across), rel=1e-6)
    assert abs(float(slope)) > 1e6
