"""Run a scenario: every person under every arm, and one number each of every outcome.

    result = compare(read_scenario("my_question.toml"))
    for row in result.comparison_rows():
        print(row["arm"], row["ratio"])

Levels are never held for everyone at once: they are reduced to outcomes batch by batch,
so that memory is that of a batch, of the outcomes, and of the curves that are drawn.
"""

import dataclasses
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
from ckin.scenario.lanes import QUICK, Laid, Solver, lay, parameters_set, runs_in
from ckin.scenario.outcomes import outcome_values
from ckin.scenario.people import FOR_READING, People, find_people
from ckin.scenario.scenario import Outcome, Scenario, Worth, faults, quantity_of
from ckin.scenario.statistics import QUANTILES


# People whose curves are kept for bands: edges are good to a few percent of a band.
BAND_PEOPLE = 500
# Days of a band at most.
BAND_DAYS = 400

Report = Callable[[str, int, int], None]


@dataclasses.dataclass(frozen=True)
class Bands:
    """Levels of one quantity over time: 5%, 50% and 95% over persons.

    Attributes:
        quantity: of the model.
        unit: of the levels.
        days: from the first infusion.
        level: by arm, (3, days).
        ratio: by arm, the level over that of the reference within persons.
    """

    quantity: str
    unit: str
    days: Float[np.ndarray, " days"]
    level: Mapping[str, np.ndarray]
    ratio: Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Everything that was computed of a scenario.

    Attributes:
        scenario: the question.
        people: who was treated.
        values: of each outcome by name, (arms, draws, patients); NaN where a person
            could not be solved.
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
    values: Mapping[str, Float[np.ndarray, "arms draws patients"]]
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
) -> Outcomes:
    """Outcomes of every person under every arm.

    Args:
        scenario: the question.
        people: who is treated; by default those that the scenario describes.
        report: called with (stage, done, total).

    Raises:
        InputError: what the model, the fit or the arms cannot answer.
    """
    people = find_people(scenario) if people is None else people
    model = people.whole.model
    wrong = [
        f"{'.'.join(map(str, path))}: {words}"
        for path, words in faults(scenario, model)
    ]
    if wrong:
        raise InputError("\n".join(wrong))
    quantity = {o.name: quantity_of(model, o.of) for o in scenario.outcomes}
    quantities = list(dict.fromkeys(quantity.values()))
    solver = Solver(
        people,
        quantities,
        parameters_set(scenario, people),
        runs=runs_in(scenario),
    )
    laid = [lay(arm, model, scenario.follow_d) for arm in scenario.arms]
    began = time.perf_counter()
    report("check the steps", 0, 2)
    first = next(each for each in laid if each.arm.name == scenario.first)
    pace, error = solver.quick(first, report)
    shape, n_people = people.shape, solver.n_people
    values = {o.name: np.full((len(laid), n_people), np.nan) for o in scenario.outcomes}
    failed = dict.fromkeys([arm.name for arm in scenario.arms], 0)
    curves = _Curves(scenario, quantities, n_people)
    readings = _Readings(scenario, people)
    done = 0
    for at, rows, levels, solved in _all_solved(solver, laid, pace):
        for outcome in scenario.outcomes:
            level = levels[:, quantities.index(quantity[outcome.name])]
            values[outcome.name][at, rows] = readings.outcome(
                outcome, laid[at], rows, level
            )
        curves.keep(at, laid[at], rows, levels)
        failed[laid[at].arm.name] += int((~solved).sum())
        done += levels.shape[0]
        report("solve", done, n_people * len(laid))
    seconds = time.perf_counter() - began
    names = [arm.name for arm in scenario.arms]
    return Outcomes(
        scenario=scenario,
        people=people,
        values={n: v.reshape(len(laid), *shape) for n, v in values.items()},
        units={
            o.name: o.kind.unit.replace("level", model.units[quantity[o.name]])
            for o in scenario.outcomes
        },
        bands=curves.bands(model, names),
        failed=failed,
        error_log10=float(error.max(initial=0.0, where=np.isfinite(error))),
        quick=int((pace > 1).sum()),
        unchecked=int((~np.isfinite(error)).sum()),
        notes=tuple(_notes(scenario, people, model)),
        seconds=seconds,
    )


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
            index = jnp.arange(draws * patients)
            self._known[name] = np.asarray(normals(key, index, ()))
        return self._known[name]


class _Curves:
    """Curves of some people under every arm, on common days."""

    def __init__(self, scenario: Scenario, quantities: list[str], n_people: int):
        self._scenario, self._quantities = scenario, quantities
        kept = min(BAND_PEOPLE, n_people)
        self._rows = np.unique(np.linspace(0, n_people - 1, kept).astype(int))
        step = max(1.0, np.ceil(scenario.follow_d / BAND_DAYS))
        self._days = np.append(
            np.arange(0.0, scenario.follow_d, step), scenario.follow_d
        )
        shape = (len(scenario.arms), self._rows.size, len(quantities), self._days.size)
        self._level = np.full(shape, np.nan, dtype=np.float32)

    def keep(self, at: int, laid: Laid, rows: np.ndarray, levels: np.ndarray) -> None:
        """Keep what of a batch is to be drawn."""
        _, mine, theirs = np.intersect1d(self._rows, rows, return_indices=True)
        for column in range(len(self._quantities)):
            chosen = levels[theirs, column]
            self._level[at, mine, column] = level_on(laid.time_d, chosen, self._days)

    def bands(self, model: AbstractModel, names: list[str]) -> dict[str, Bands]:
        """Quantiles over persons."""
        reference = names.index(self._scenario.first)
        found = {}
        for column, quantity in enumerate(self._quantities):
            level = self._level[:, :, column].astype(float)
            base = level[reference]
            with np.errstate(divide="ignore", invalid="ignore"):
                ratio = np.where(base > 0, level / base, np.nan)
            found[quantity] = Bands(
                quantity=quantity,
                unit=model.units[quantity],
                days=self._days,
                level={n: _quantiles(level[i]) for i, n in enumerate(names)},
                ratio={n: _quantiles(ratio[i]) for i, n in enumerate(names)},
            )
        return found


def _quantiles(curves: np.ndarray) -> np.ndarray:
    """5%, 50% and 95% over rows, day by day; NaN where nobody is known."""
    found = np.full((len(QUANTILES), curves.shape[1]), np.nan)
    some = np.isfinite(curves).any(axis=0)
    found[:, some] = np.nanquantile(curves[:, some], QUANTILES, axis=0)
    return found


def worth(
    outcomes: Outcomes, worths: tuple[Worth, ...]
) -> Float[np.ndarray, "arms draws patients"]:
    """Utility of every person under every arm."""
    terms = []
    for term in worths:
        values = outcomes.values[term.outcome]
        known = np.isfinite(values)
        if term.scale == "linear":
            part = values / term.per
        elif term.scale == "log2":
            positive = known & (values > 0)
            part = np.where(positive, np.log2(np.where(positive, values, 1.0)), np.nan)
        else:
            assert term.level is not None  # the schema asks for it
            over = values >= term.level
            part = np.where(known, over if term.scale == "above" else ~over, np.nan)
        terms.append(term.weight * part)
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
