"""Run a scenario: every person under every arm, and one number each of every outcome.

    result = compare(read_scenario("my_question.toml"))
    for row in result.comparison_rows():
        print(row["arm"], row["ratio"])

Levels are never held for everyone at once: they are reduced to outcomes batch by batch,
so that memory is that of a batch, of the outcomes, and of the curves that are drawn.
"""

import dataclasses
import itertools
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from ckin._types import Float
from ckin.assay import ASSAYS
from ckin.cohort import FOLLOW_UP_DAYS, SAMPLE_DAYS, normals, visits_of
from ckin.errors import InputError
from ckin.metrics.rows import level_on
from ckin.model import AbstractModel, name_of
from ckin.population import Population
from ckin.scenario.kept import Bands, Curves, InMemory, Streamed, Values
from ckin.scenario.lanes import QUICK, Laid, Solver, lay, parameters_set, runs_in
from ckin.scenario.outcomes import outcome_values
from ckin.scenario.people import FOR_READING, People, find_people, people_in_blocks
from ckin.scenario.scenario import Outcome, Scenario, Worth, faults, quantity_of


# Persons (patients × draws) that are solved at a time, where outcomes go to disk.
BLOCK = 16_384

Report = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Everything that was computed of a scenario.

    Attributes:
        scenario: the question.
        people: who was treated.
        values: of each outcome by name, (arms, draws, patients), in memory or on disk;
            NaN where a person could not be solved.
        units: of each outcome by name.
        bands: by quantity.
        failed: persons who could not be solved, by arm.
        error_log10: estimated largest error of a level from the steps.
        quick: persons who took more steps than usual.
        unchecked: persons of them of whom no error could be estimated.
        notes: what a reader must know besides.
        seconds: of solving, compilation included.
    """

    scenario: Scenario
    people: People
    values: Mapping[str, Values]
    units: Mapping[str, str]
    bands: Mapping[str, Bands]
    failed: Mapping[str, int]
    error_log10: float
    quick: int
    unchecked: int
    notes: tuple[str, ...]
    seconds: float

    def of(self, arm: str, outcome: str) -> Float[np.ndarray, "draws patients"]:
        """One outcome under one arm."""
        at = self.scenario.arms.index(self.scenario.arm(arm))
        return self.values[self.scenario.outcome(outcome).name][at]


def run(
    scenario: Scenario,
    *,
    people: People | None = None,
    report: Report = lambda *_: None,
    stream: Path | None = None,
    block: int = BLOCK,
) -> Outcomes:
    """Outcomes of every person under every arm.

    Args:
        scenario: the question.
        people: who is treated; by default those that the scenario describes.
        report: called with (stage, done, total).
        stream: netCDF file for the outcomes, written block by block: memory is that of
            a block however many patients there are. They stay there.
        block: persons of a block, about.

    Raises:
        InputError: what the model, the fit or the arms cannot answer, or a file that
            cannot be written.
    """
    began = time.perf_counter()
    parts = _parts(scenario, people, block if stream is not None else None)
    part = next(parts)
    model = part.whole.model
    wrong = [
        f"{'.'.join(map(str, path))}: {words}"
        for path, words in faults(scenario, model)
    ]
    if wrong:
        raise InputError("\n".join(wrong))
    cycles = max(arm.protocol.cycles for arm in scenario.arms)
    if part.whole.iov and cycles > part.whole.occasions:
        raise InputError(
            f"an arm has {cycles} cycles, and these people have parameters of "
            f"{part.whole.occasions}; draw them for this scenario (`find_people`)"
        )
    asked = _Asked.of(scenario, part.whole)
    shape = _shape(scenario, part, stream is not None)
    names = [arm.name for arm in scenario.arms]
    if stream is None:
        store = InMemory(list(asked.units), len(names), shape)
    else:
        told = f"MODEL-BASED: {part.basis}"
        store = Streamed(stream, asked.units, names, shape, part.shape[1], told)
    curves = Curves(scenario, asked.quantities, shape)
    counted = _Counted(dict.fromkeys(names, 0), shape[0] * shape[1] * len(names))
    weights, finished = [], False
    try:
        for each in itertools.chain([part], parts):
            found = _of_part(asked, each, curves, counted, report, stream is not None)
            store.put(each, found)
            weights.append(each.weight_kg)
        finished = True
    finally:
        if isinstance(store, Streamed):
            store.close(whole=finished)
    if stream is not None:
        # Who is who is on disk.
        part = dataclasses.replace(
            part, phi=part.phi[:, :0], weight_kg=np.concatenate(weights), ids=()
        )
    return Outcomes(
        scenario=scenario,
        people=part,
        values=store.values,
        units=asked.units,
        bands=curves.bands(model, names),
        failed=counted.failed,
        error_log10=counted.error,
        quick=counted.quick,
        unchecked=counted.unchecked,
        notes=tuple(_notes(scenario, part, model)),
        seconds=time.perf_counter() - began,
    )


def _parts(
    scenario: Scenario, people: People | None, block: int | None
) -> Iterator[People]:
    if people is not None or block is None:
        return iter([find_people(scenario) if people is None else people])
    return people_in_blocks(scenario, block)


def _shape(scenario: Scenario, part: People, streamed: bool) -> tuple[int, int]:
    """Draws, and patients of all parts."""
    draws, patients = part.shape
    n = scenario.people.patients
    if isinstance(n, str) or scenario.people.patient is not None or not streamed:
        return draws, patients
    return draws, n if "between-patient" in part.uncertainty else patients


@dataclasses.dataclass
class _Counted:
    """What is counted over all people.

    Attributes:
        failed: persons who could not be solved, by arm.
        courses: of everyone under every arm.
        done: of them.
        error: estimated largest error of a level, log10.
        quick: persons who took more steps than usual.
        unchecked: persons of them of whom no error could be estimated.
    """

    failed: dict[str, int]
    courses: int
    done: int = 0
    error: float = 0.0
    quick: int = 0
    unchecked: int = 0


@dataclasses.dataclass(frozen=True)
class _Asked:
    """What is read of everyone, and the arms on their grids."""

    scenario: Scenario
    quantity: Mapping[str, str]
    quantities: list[str]
    units: dict[str, str]
    laid: list[Laid]

    @staticmethod
    def of(scenario: Scenario, whole: Population) -> "_Asked":
        model, by_cycle = whole.model, bool(whole.iov)
        quantity = {o.name: quantity_of(model, o.of) for o in scenario.outcomes}
        units = {
            o.name: o.kind.unit.replace("level", model.units[quantity[o.name]])
            for o in scenario.outcomes
        }
        laid = [lay(arm, model, scenario.follow_d, by_cycle) for arm in scenario.arms]
        quantities = list(dict.fromkeys(quantity.values()))
        return _Asked(scenario, quantity, quantities, units, laid)


def _of_part(
    asked: _Asked,
    people: People,
    curves: Curves,
    counted: _Counted,
    report: Report,
    in_blocks: bool,
) -> dict[str, np.ndarray]:
    """Outcomes of some people under every arm, (arms, persons) each."""
    scenario, laid = asked.scenario, asked.laid
    solver = Solver(
        people,
        asked.quantities,
        parameters_set(scenario, people),
        runs=runs_in(scenario),
        in_blocks=in_blocks,
    )
    report("check the steps", 0, 2)
    first = next(each for each in laid if each.arm.name == scenario.first)
    pace, error = solver.quick(first, report)
    values = {
        o.name: np.full((len(laid), solver.n_people), np.nan) for o in scenario.outcomes
    }
    readings = _Readings(scenario, people)
    for at, rows, levels, solved in _all_solved(solver, laid, pace):
        for outcome in scenario.outcomes:
            column = asked.quantities.index(asked.quantity[outcome.name])
            values[outcome.name][at, rows] = readings.outcome(
                outcome, laid[at], rows, levels[:, column]
            )
        curves.keep(people, at, laid[at], rows, levels)
        counted.failed[laid[at].arm.name] += int((~solved).sum())
        counted.done += levels.shape[0]
        report("solve", counted.done, counted.courses)
    known = error[np.isfinite(error)]
    counted.error = max(counted.error, float(known.max(initial=0.0)))
    counted.quick += int((pace > 1).sum())
    counted.unchecked += int((~np.isfinite(error)).sum())
    return values


def _all_solved(
    solver: Solver, laid: list[Laid], pace: np.ndarray
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
    """Everyone under every arm: at the usual pace, or quicker where that fails."""
    quick = [dataclasses.replace(each, quick=QUICK) for each in laid]
    again: dict[int, list[np.ndarray]] = {}
    usual = np.flatnonzero(pace == 1.0)
    for at, rows, levels, solved in solver.solved(laid, usual) if usual.size else ():
        if not solved.all():
            again.setdefault(at, []).append(rows[~solved])
        if solved.any():
            yield at, rows[solved], levels[solved], solved[solved]
    fast = np.flatnonzero(pace > 1.0)
    if fast.size:
        yield from solver.solved(quick, fast)
    for at, lost in again.items():
        # Too quick under this arm alone: each arm by itself, so that none depends on
        # what becomes of the others.
        alone = solver.solved([quick[at]], np.concatenate(lost), quick)
        for _, rows, levels, solved in alone:
            yield at, rows, levels, solved


class _Readings:
    """Levels as outcomes see them: exact, or read at visits with an error."""

    def __init__(self, scenario: Scenario, people: People):
        self._scenario, self._people = scenario, people
        self._key = jax.random.fold_in(jax.random.key(scenario.seed), FOR_READING)
        self._known: dict[tuple, np.ndarray] = {}

    def outcome(
        self, outcome: Outcome, laid: Laid, rows: np.ndarray, level: np.ndarray
    ) -> np.ndarray:
        """The outcome of these people under one arm."""
        days, follow_d = laid.time_d, self._scenario.follow_d
        if self._people.residual and outcome.of in ASSAYS:
            days, level = self._at_visits(outcome.of, laid, rows, level)
        return outcome_values(outcome, laid.plan, days, level, follow_d)

    def _at_visits(
        self, assay: str, laid: Laid, rows: np.ndarray, level: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Readings at the visits of the cohort, and at the end of follow-up."""
        follow_d, plan = self._scenario.follow_d, laid.plan
        planned = visits_of(plan, SAMPLE_DAYS, FOLLOW_UP_DAYS)
        visits = {
            round(t, 6): (cycle, t - plan.day1_d[cycle - 1])
            for t, cycle in planned
            if laid.time_d[0] <= t < follow_d
        }
        visits[follow_d] = (0, follow_d)
        days = np.array(sorted(visits))
        each = [self._noise(assay, *visits[day])[rows] for day in days.tolist()]
        sigma = self._people.sigma[rows // self._people.shape[1]]
        error = sigma[:, None] * np.stack(each, axis=1)
        return days, level_on(laid.time_d, level, days) * np.exp(error)

    def _noise(self, assay: str, cycle: int, day: float) -> np.ndarray:
        """Errors of one visit, of everyone: the same under every arm that has it."""
        name = (assay, cycle, round(day, 3))
        if name not in self._known:
            words = f"{assay} {cycle} {day:.3f}"
            key = jax.random.fold_in(self._key, zlib.crc32(words.encode()))
            draws, patients = self._people.shape
            index = self._people.first + jnp.arange(patients)
            own = jax.vmap(lambda draw: jax.random.fold_in(key, draw))
            noise = jax.vmap(lambda key: normals(key, index, ()))
            self._known[name] = np.asarray(noise(own(jnp.arange(draws)))).reshape(-1)
        return self._known[name]


def worth(
    outcomes: Outcomes, worths: tuple[Worth, ...], part: slice = slice(None)
) -> Float[np.ndarray, "arms draws patients"]:
    """Utility of every person under every arm.

    Args:
        outcomes: of everyone.
        worths: the utility, a sum.
        part: which patients.
    """
    terms = []
    for term in worths:
        values = outcomes.values[term.outcome][:, :, part]
        known = np.isfinite(values)
        if term.scale == "linear":
            found = values / term.per
        elif term.scale == "log2":
            positive = known & (values > 0)
            found = np.where(positive, np.log2(np.where(positive, values, 1.0)), np.nan)
        else:
            assert term.level is not None  # the schema asks for it
            over = values >= term.level
            found = np.where(known, over if term.scale == "above" else ~over, np.nan)
        terms.append(term.weight * found)
    return np.sum(np.stack(terms), axis=0)


def _notes(scenario: Scenario, people: People, model: AbstractModel) -> list[str]:
    """What a reader must know: of the people, the arms and the model."""
    draws, n = people.shape
    notes = [*people.notes]
    if draws == 1:
        notes.append(
            "one set of parameters: no credible interval; what is not known of the "
            "parameters is not in these numbers"
        )
    plans = [arm.protocol for arm in scenario.arms]
    given = {product for plan in plans for product in plan.products}
    for product in sorted(given - set(model.receives)):
        notes.append(
            f"{name_of(model)} does not receive {product}: it changes nothing here"
        )
    inputs = {w.name for plan in plans for w in plan.windows} - set(model.inputs)
    for name in sorted(inputs):
        notes.append(
            f"{name_of(model)} has no input {name!r}: the {name.upper()} of the "
            "protocols changes nothing here"
        )
    if "FTC" in given & set(model.receives):
        notes.append(
            "what FTC do rests on priors until data of FTC come: no FTC data are public"
        )
    return notes


def assumed(scenario: Scenario) -> dict[str, list[str]]:
    """What is taken for granted, and by which arms; "" for the scenario itself."""
    found: dict[str, list[str]] = {text: [] for text in scenario.assumptions}
    for arm in scenario.arms:
        for text in arm.protocol.assumptions:
            found.setdefault(text, []).append(arm.name)
    return found


def with_fit(scenario: Scenario, fit: Path | None) -> Scenario:
    """The scenario with the fit folder that the command line names."""
    if fit is None:
        return scenario
    if scenario.people.source != "fit":
        raise InputError(
            f"--fit {fit}: scenario {scenario.name} is about "
            f'{scenario.people.source} values; write source = "fit" in [population], '
            "or leave --fit out"
        )
    people = dataclasses.replace(scenario.people, fit=fit)
    return dataclasses.replace(scenario, people=people)
