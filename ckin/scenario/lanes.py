"""Levels of every person under every arm: one compiled program, arms × people as lanes.

An arm has a grid of its own, of its events and the usual pace, padded to the longest.
Everyone is tried on the reference arm at twice that pace, and whoever is too fast for
the usual one (a tail of the patients that a prior draws) takes more steps in every arm.
The number of lanes is fixed by the number of people, so that a person under an arm goes
through the same program whatever other arms there are.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Array, Float
from ckin.dosing import Dosing, dosing, held, padded, weighed, with_rates
from ckin.model import AbstractModel
from ckin.population import GRID_ERROR, Population, chunks_of
from ckin.protocol import InputWindow, Protocol
from ckin.scenario.people import People
from ckin.scenario.scenario import Arm, Scenario
from ckin.solve import (
    Grid,
    make_grid,
    occasions_at,
    quantities_of,
    scaled,
    solve,
)
from ckin.solve.grid import usual_pace
from ckin.solve.moments import arriving


# Lanes of one call: on a CPU the states of all steps should stay near the cores, a GPU
# wants to be full.
LANES, LANES_GPU = 1024, 32_768
# Arms of one call: places of further ones would stand empty where there are few.
MOST_ARMS = 8
# Pace of people who are too fast for the usual one, in units of that.
QUICK = 4.0
# People of a call of few, where they are solved in blocks: one shape for all blocks.
FEW = 256
# Steps and events are padded to a multiple of these.
STEP_BUCKET, EVENT_BUCKET = 32, 8
# Levels of so small a share of a person's highest weigh nothing, and may err.
UNSEEN_SHARE = 1e-6
# A level this share of a person's highest below nothing is a rounding error.
NEGATIVE_SHARE = 1e-6
# No level of anybody is as high, in any unit.
MOST = 1e20
# Cells given are in blood at once and spread within a day; nobody samples them then
# (`ckin.metrics.draws` reads from day 1 on too).
UNREAD_D = 1.0
# Body weight at which grids are laid; any will do.
LAID_KG = 60.0

Report = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Laid:
    """An arm on a grid.

    Attributes:
        arm: which.
        plan: its protocol, without what lies beyond the follow-up.
        time_d: days on which it is read, from the first infusion on.
        grid: steps at the usual pace, with these readings.
        quick: pace of its grid in units of the usual one.
        by_cycle: its events tell the cycle, for parameters that differ.
    """

    arm: Arm
    plan: Protocol
    time_d: Float[np.ndarray, " times"]
    grid: Grid
    quick: float = 1.0
    by_cycle: bool = False

    def dosing(self, model: AbstractModel) -> Dosing:
        """What it gives, on a grid of this pace that holds the reading days."""
        grid = self.grid
        if self.quick != 1.0:
            events = arriving_of(model, self.plan, self.by_cycle)
            pace = scaled(usual_pace(np.asarray(events.time_d)), self.quick)
            before = np.zeros(self.time_d.shape, bool)
            grid = make_grid(events, self.time_d, before, pace)
        return dosing(model, self.plan, grid, LAID_KG, by_cycle=self.by_cycle)


def arriving_of(model: AbstractModel, plan: Protocol, by_cycle: bool = False):
    """Events of a patient as a model sees them arrive, on the host."""
    table = plan.events(LAID_KG, model.inputs, by_cycle=by_cycle)
    one = jax.tree.map(lambda rows: np.asarray(rows)[None], table)
    return jax.tree.map(lambda rows: np.asarray(rows)[0], arriving(model, one))


def lay(
    arm: Arm, model: AbstractModel, follow_d: float, by_cycle: bool = False
) -> Laid:
    """An arm at the usual pace, read at every step of it and every day."""
    plan = until(arm.protocol, follow_d)
    first = plan.day1_d[0]
    events = arriving_of(model, plan, by_cycle)
    days = [day1 + np.arange(0.0, follow_d - day1) for day1 in plan.day1_d]
    asked = np.unique(np.concatenate([*days, [follow_d]]))
    grid = make_grid(events, asked, np.zeros(asked.shape, bool))
    nodes = np.unique(np.concatenate([grid.start_d, asked]))
    given = [dose.time_d for dose in plan.doses if dose.product == "CART"]
    # A reading at the time of a dose is before it.
    unread = [(nodes > t) & (nodes < t + UNREAD_D) for t in given]
    kept = (nodes >= first) & ~np.any(unread, axis=0) if unread else nodes >= first
    time_d = nodes[kept]
    # Readings are at nodes; steps at a time are the events there, and come after it.
    read_at = np.searchsorted(grid.start_d, time_d, side="left")
    grid = dataclasses.replace(grid, read_at=read_at)
    return Laid(arm, plan, time_d, grid, by_cycle=by_cycle)


def until(plan: Protocol, follow_d: float) -> Protocol:
    """The protocol without windows beyond the last day that is followed."""
    windows = tuple(
        _cut(window, min(window.stop_d, follow_d))
        for window in plan.windows
        if window.start_d < follow_d
    )
    return dataclasses.replace(plan, windows=windows)


def _cut(window: InputWindow, stop_d: float) -> InputWindow:
    end = None if window.end_level is None else window.level_at(stop_d)
    return dataclasses.replace(window, stop_d=stop_d, end_level=end)


@dataclasses.dataclass(frozen=True)
class Lanes:
    """The shape of one call.

    Attributes:
        arms: arms at a time.
        people: people at a time.
        devices: that share the people.
    """

    arms: int
    people: int
    devices: int

    @staticmethod
    def of(n_people: int) -> "Lanes":
        """By the number of people alone."""
        most = LANES if jax.default_backend() == "cpu" else LANES_GPU
        devices = len(jax.devices())
        people = devices * 8
        while people < min(n_people, most):
            people *= 2
        return Lanes(min(MOST_ARMS, most // people), people, devices)


class _Batch(eqx.Module):
    """Arms of one call, stacked: a leading axis of each array."""

    dosing: Dosing
    values: dict[str, Array | np.ndarray]
    time_d: Array | np.ndarray


@eqx.filter_jit
def _levels(
    whole: Population,
    batch: _Batch,
    phi: Array,
    weight_kg: Array,
    quantities: tuple[str, ...],
    devices: int,
):
    """Levels (arms, people, quantities, times), and who was solved (arms, people)."""
    arrays, rest = eqx.partition((whole, batch), eqx.is_array)

    def shared(arrays, phi, weight_kg):
        whole, batch = eqx.combine(arrays, rest)

        def one(batch, phi, weight_kg):
            return _of_person(whole, batch, phi, weight_kg, quantities)

        return jax.vmap(jax.vmap(one, (None, 0, 0)))(batch, phi, weight_kg)

    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("people",))
    each = jax.P(None, "people")
    return jax.shard_map(
        shared,
        mesh=mesh,
        in_specs=(jax.P(), each, each),
        out_specs=each,
        check_vma=False,
    )(arrays, phi, weight_kg)


def _of_person(whole: Population, batch: _Batch, phi, weight_kg, quantities):
    """One person under one arm."""
    known = {name: weight_kg for name in weighed(whole.model)}
    set_by_arm = {name: jnp.asarray(value) for name, value in batch.values.items()}
    model = whole.patient_model(phi, {**known, **set_by_arm})
    events, grid = batch.dosing.at(weight_kg)
    grid = grid if whole.on_grid else None
    time_d = jnp.asarray(batch.time_d)
    trajectory = solve(model, events, time_d, grid=grid)
    occasion = occasions_at(events, time_d, None) if whole.iov else None
    found = quantities_of(model, trajectory.states, occasion)
    levels = jnp.stack([found[name] for name in quantities])
    # Steps too long for somebody show as cells below nothing, or beyond reason.
    least = -NEGATIVE_SHARE * jnp.max(levels, axis=1, keepdims=True)
    sound = jnp.isfinite(levels) & (levels >= least) & (levels < MOST)
    solved = trajectory.ok & jnp.all(sound)
    levels = jnp.maximum(levels, 0.0)
    return jnp.where(solved, levels, jnp.nan), solved


class Solver:
    """Solves arms for people, a batch at a time."""

    def __init__(
        self,
        people: People,
        quantities: Sequence[str],
        names: Sequence[str] = (),
        *,
        runs: bool = False,
        in_blocks: bool = False,
    ):
        self._people, self._whole = people, people.whole
        self._quantities = tuple(quantities)
        # Parameters that any arm sets: all arms have values of them, for one program.
        self._names = tuple(names)
        # Whether any arm has cells that run in: all have rates then.
        self._runs = runs
        # Blocks of people share their programs, however many of each are quick.
        self._in_blocks = in_blocks
        self._laid: dict[tuple[str, float], Dosing] = {}
        draws, patients = people.shape
        self._weight_kg = np.tile(people.weight_kg, draws)
        self.n_people = draws * patients

    def quick(self, laid: Laid, report: Report) -> tuple[np.ndarray, np.ndarray]:
        """Pace that each person needs, found under one arm.

        Who is fast enough to be wrong at the usual pace, by step doubling, is given
        `QUICK` times as many steps.

        Returns:
            Pace of each person, and the estimated largest error of its levels, log10;
            infinity where even half the pace that it was given did not solve it.
        """
        pace = np.ones(self.n_people)
        if not self._whole.on_grid:
            return pace, np.zeros(self.n_people)
        # RK4 leaves 16/15 of the difference at a pace, and 1/15 at twice the pace.
        error = 16.0 / 15.0 * self._differ(laid, np.arange(self.n_people), 1.0, 2.0)
        report("check the steps", 1, 2)
        fast = np.flatnonzero(error > GRID_ERROR)
        if fast.size:
            pace[fast] = QUICK
            error[fast] = self._differ(laid, fast, 0.5 * QUICK, QUICK) / 15.0
        report("check the steps", 2, 2)
        return pace, error

    def _differ(self, laid: Laid, rows: np.ndarray, slow: float, fast: float):
        """How far levels of each person at one pace are from those at another."""
        lanes = self._lanes(rows.size)
        size = lanes.arms * lanes.people
        phi = self._phi(laid.arm)
        found = np.zeros(rows.size)
        pair = [dataclasses.replace(laid, quick=quick) for quick in (slow, fast)]
        # Of a quick pace both share the shape of the finer: one program.
        steps = [self._steps(pair[n if slow == 1.0 else 1 :][:1]) for n in (0, 1)]
        starts = range(0, rows.size, size)
        for start, own in zip(starts, chunks_of(rows, size), strict=True):
            square = own.reshape(lanes.arms, lanes.people)
            levels = []
            for each, n_steps in zip(pair, steps, strict=True):
                stacked = self._stacked([each], lanes, n_steps, self._times([each]))
                made, _ = self._call(stacked, phi[square], square, lanes)
                levels.append(np.asarray(made)[..., : each.time_d.size])
            gaps = _gaps(*levels).reshape(-1)
            found[start : start + size] = gaps[: rows.size - start]
        return found

    def solved(
        self, laid: Sequence[Laid], rows: np.ndarray, like: Sequence[Laid] = ()
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Levels of these people, arm by arm and batch by batch.

        Args:
            laid: arms.
            rows: people.
            like: arms of whose longest the program is; these by default.

        Yields:
            Place of the arm, which people, levels (people, quantities, times) on the
            arm's own days, and who was solved.
        """
        lanes = self._lanes(rows.size)
        steps, times = self._steps(like or laid), self._times(like or laid)
        waiting = None
        for start in range(0, len(laid), lanes.arms):
            chunk = list(laid[start : start + lanes.arms])
            stacked = self._stacked(chunk, lanes, steps, times)
            phis = [self._phi(each.arm) for each in chunk]
            phis += phis[-1:] * (lanes.arms - len(phis))
            for number, filled in enumerate(chunks_of(rows, lanes.people)):
                own = rows[number * lanes.people :][: lanes.people]
                # The next call is under way while the numbers of this one are read.
                phi = np.stack([each[filled] for each in phis])
                square = np.tile(filled, (lanes.arms, 1))
                made = self._call(stacked, phi, square, lanes)
                if waiting is not None:
                    yield from _read(*waiting)
                waiting = (start, chunk, own, made)
        if waiting is not None:
            yield from _read(*waiting)

    def _lanes(self, n_people: int) -> Lanes:
        if not self._in_blocks:
            return Lanes.of(n_people)
        return Lanes.of(FEW if n_people <= FEW else LANES_GPU)

    def _phi(self, arm: Arm) -> np.ndarray:
        """φ of everyone under an arm, (people, estimated)."""
        phi = self._people.phi_with(arm.values)
        return phi.reshape(self.n_people, phi.shape[-1])

    def _call(self, stacked: _Batch, phi: np.ndarray, rows: np.ndarray, lanes: Lanes):
        return _levels(
            self._whole,
            stacked,
            jnp.asarray(phi),
            jnp.asarray(self._weight_kg[rows]),
            self._quantities,
            lanes.devices,
        )

    def _dosing(self, laid: Laid) -> Dosing:
        """What an arm gives, laid once."""
        name = (laid.arm.name, laid.quick)
        if name not in self._laid:
            own = laid.dosing(self._whole.model)
            self._laid[name] = with_rates(own) if self._runs else own
        return self._laid[name]

    def _steps(self, laid: Sequence[Laid]) -> int:
        """Steps of the longest grid."""
        most = max(self._dosing(each).grid.start_d.shape[0] for each in laid)
        return -(-most // STEP_BUCKET) * STEP_BUCKET

    def _times(self, laid: Sequence[Laid]) -> int:
        most = max(each.time_d.size for each in laid)
        return -(-most // STEP_BUCKET) * STEP_BUCKET

    def _stacked(
        self, chunk: Sequence[Laid], lanes: Lanes, steps: int, times: int
    ) -> _Batch:
        made = [self._dosing(each) for each in chunk]
        events = max(each.events.time_d.shape[0] for each in made)
        events = -(-events // EVENT_BUCKET) * EVENT_BUCKET
        each = [
            _Batch(
                dosing=padded(one, steps, events, times),
                values={n: np.asarray(v) for n, v in self._values(laid).items()},
                time_d=held(laid.time_d, times),
            )
            for one, laid in zip(made, chunk, strict=True)
        ]
        each += each[-1:] * (lanes.arms - len(each))
        return jax.tree.map(lambda *rows: jnp.asarray(np.stack(rows)), *each)

    def _values(self, laid: Laid) -> dict[str, float]:
        model, own = self._whole.model, self._people.fixed(laid.arm.values)
        return {
            name: own.get(name, float(getattr(model, name))) for name in self._names
        }


def runs_in(scenario: Scenario) -> bool:
    """Whether any arm gives cells over hours."""
    return any(d.duration_d > 0 for arm in scenario.arms for d in arm.protocol.doses)


def parameters_set(scenario: Scenario, people: People) -> list[str]:
    """Parameters that any arm sets and that are the same for everyone."""
    found = {name for arm in scenario.arms for name in people.fixed(arm.values)}
    return sorted(found)


def _gaps(coarse: np.ndarray, fine: np.ndarray) -> np.ndarray:
    """Largest difference of a level that weighs something, log10, by person.

    Levels are (..., quantities, times); infinity where the coarser was not solved.
    """
    known = np.isfinite(coarse) & np.isfinite(fine)
    a, b = (np.where(known, x, 1.0) for x in (coarse, fine))
    floor = np.maximum(UNSEEN_SHARE * b.max(axis=-1, keepdims=True), 1e-300)
    gap = np.abs(np.log10(np.maximum(a, floor)) - np.log10(np.maximum(b, floor)))
    solved = np.isfinite(coarse).all(axis=(-1, -2))
    return np.where(solved, gap.max(axis=(-1, -2)), np.inf)


def _read(start: int, chunk: Sequence[Laid], own: np.ndarray, made):
    levels, solved = map(np.asarray, made)
    for at, each in enumerate(chunk):
        yield (
            start + at,
            own,
            levels[at, : own.size, :, : each.time_d.size],
            solved[at, : own.size],
        )
