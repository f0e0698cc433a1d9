"""A scenario: who is treated, with what, what is asked of it. No file, no model yet.

    scenario = Scenario(
        name="day-8",
        title="A second FTC on day 8, or none",
        model="feeding_szcart01",
        people=PeopleSpec(source="typical", patients=200),
        arms=(Arm("both", high), Arm("first", high.without("FTC", day=8))),
        outcomes=(Outcome("peak", "CMAX", cycle=2),),
        follow_d=150.0,
    )
    result = compare(scenario)

`read_scenario` makes the same object of a TOML file.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import TypeVar

from ckin.assay import ASSAYS
from ckin.errors import InputError, did_you_mean
from ckin.model import AbstractModel, name_of
from ckin.protocol import Protocol
from ckin.protocol.places import Path
from ckin.units import canonical_unit


# What may differ between the numbers of a comparison.
SPREADS = ("parameters", "between-patient", "residual")


@dataclasses.dataclass(frozen=True)
class MetricKind:
    """What a metric of an outcome is.

    Attributes:
        name: in words.
        unit: "level", "day", "level*day" or "1" (a share).
        summary: how an arm is told: by "geometric mean", "mean" or "share".
        needs_level: whether it is of a level that the scenario names.
        code: the metric of `ckin.metrics` that it is; "" if it is none.
    """

    name: str
    unit: str
    summary: str
    needs_level: bool = False
    code: str = ""


METRICS = {
    "CMAX": MetricKind("highest level", "level", "geometric mean", code="CMAX"),
    "TMAX": MetricKind("time of highest level", "day", "mean", code="TMAX"),
    "AUC028": MetricKind(
        "AUC, day 0 to 28", "level*day", "geometric mean", code="AUC028"
    ),
    "AUC084": MetricKind(
        "AUC, day 0 to 84", "level*day", "geometric mean", code="AUC084"
    ),
    "AUC": MetricKind("AUC, to the end", "level*day", "geometric mean"),
    "CEND": MetricKind("level at the end", "level", "geometric mean"),
    "CMIN": MetricKind("lowest level", "level", "geometric mean"),
    "TLST": MetricKind("last day at or above a level", "day", "mean", True, "TLST"),
    "DABOVE": MetricKind("days at or above a level", "day", "mean", True),
    "DBELOW": MetricKind("days below a level", "day", "mean", True),
    "ABOVE": MetricKind("at or above a level at the end", "1", "share", True),
    "BELOW": MetricKind("below a level at the end", "1", "share", True),
}
# What looks at levels one by one.
PEAKS = ("CMAX", "TMAX", "CMIN")
# Areas of a fixed length, days.
AREA_DAYS = {"AUC028": 28.0, "AUC084": 84.0}


@dataclasses.dataclass(frozen=True)
class Arm:
    """One way to treat everyone.

    Attributes:
        name: of the arm.
        protocol: what is given.
        title: the arm in a line.
        values: typical values of parameters that this arm has otherwise.
        point: where it lies in a sweep: axis and value, in order; none outside of one.
        sweep: name of that sweep.
    """

    name: str
    protocol: Protocol
    title: str = ""
    values: Mapping[str, float] = dataclasses.field(default_factory=dict)
    point: tuple[tuple[str, float], ...] = ()
    sweep: str = ""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One number of each patient.

    Attributes:
        name: of the outcome.
        metric: a key of `METRICS`.
        of: an assay, or a quantity of the model.
        cycle: in which cycle, from its day 1 to day 1 of the next; "last"; `None` for
            the whole course.
        level: what metrics with `needs_level` are about, in the unit of the quantity.
            As a floor of CEND and CMIN: less counts as so much.
        better: whether "higher" or "lower" numbers are better.
        title: in a line.
        unit: of the level; "" where it is known to be that of the quantity.
        after_d: of peaks and lowest levels: only so many days after the window begins;
            cells just infused are no expansion.
    """

    name: str
    metric: str
    of: str = "qpcr"
    cycle: int | str | None = None
    level: float | None = None
    better: str = "higher"
    title: str = ""
    unit: str = ""
    after_d: float = 0.0

    def __post_init__(self):
        if self.metric not in METRICS:
            raise InputError(
                f"outcome {self.name}: no metric {self.metric!r}; "
                f"{did_you_mean(self.metric, METRICS)}there are {', '.join(METRICS)}"
            )
        if self.kind.needs_level and self.level is None:
            raise InputError(
                f"outcome {self.name}: {self.metric} is of a level; give level and unit"
            )

        if self.after_d and self.metric not in PEAKS:
            raise InputError(
                f"outcome {self.name}: after_d is of {', '.join(PEAKS)}, not of "
                f"{self.metric}; leave it out"
            )

    @property
    def kind(self) -> MetricKind:
        """What its metric is."""
        return METRICS[self.metric]

    @property
    def sign(self) -> float:
        """1 where higher is better, else -1."""
        return 1.0 if self.better == "higher" else -1.0


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """One number of an arm.

    Attributes:
        name: of the endpoint.
        outcome: of which outcome.
        summary: "geometric mean", "mean", "median" or "share".
        at_least: of a share: of patients whose outcome is so much or more,
        at_most: or so much or less.
        title: in a line.
    """

    name: str
    outcome: str
    summary: str
    at_least: float | None = None
    at_most: float | None = None
    title: str = ""


@dataclasses.dataclass(frozen=True)
class Worth:
    """What an outcome is worth: a term of the utility of a patient.

    Attributes:
        outcome: of which outcome.
        weight: worth of `per` of it ("linear"), of every doubling ("log2"), or of its
            being above or below `level`. Negative: it does harm.
        scale: "linear", "log2", "above" or "below".
        per: how much of the outcome is worth the weight, of "linear".
        level: of "above" and "below".
    """

    outcome: str
    weight: float
    scale: str = "linear"
    per: float = 1.0
    level: float | None = None


@dataclasses.dataclass(frozen=True)
class PeopleSpec:
    """Who is treated.

    Attributes:
        source: "typical" (the model's values), "prior" or "fit".
        draws: sets of typical values and spreads that are drawn.
        patients: virtual patients, the same in every draw; "fitted": those of the fit.
        patient: the one of this ID in the fit.
        fit: a fit folder.
        draw: parameters that a prior draws; `None`: those the model marks for a fit.
        values: other values of parameters and names of laws.
        omega: SD of the logarithm between patients of parameters for which the model
            gives none, or another.
        weight_kg: of everyone; `None`: as patients differ (`ckin.cohort`).
    """

    source: str = "typical"
    draws: int = 100
    patients: int | str = 50
    patient: str | None = None
    fit: FilePath | None = None
    draw: tuple[str, ...] | None = None
    values: Mapping[str, float | str] = dataclasses.field(default_factory=dict)
    omega: Mapping[str, float] = dataclasses.field(default_factory=dict)
    weight_kg: float | None = None


# Either of what a scenario calls by name.
Named = TypeVar("Named", Arm, Outcome)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """A question: arms, the people they are compared in, and what is asked.

    Attributes:
        name: of the scenario.
        title: the question in a line.
        model: name or path of a model; `None`: that of the fit.
        people: who is treated.
        arms: at least one.
        outcomes: of each patient.
        follow_d: days from the first infusion.
        endpoints: of each arm; one for each outcome when there are none.
        worths: the utility, a sum; none: no utility.
        reference: name of the arm that others are compared with; "": the first.
        comparisons: pairs of names; none: every arm against the reference.
        uncertainty: which of `SPREADS`; `None`: those that the people have.
        seed: of every random number.
        assumptions: what it takes for granted.
        source: where the question is from.
        text: the file it was read from.
    """

    name: str
    title: str
    model: str | None
    people: PeopleSpec
    arms: tuple[Arm, ...]
    outcomes: tuple[Outcome, ...]
    follow_d: float
    endpoints: tuple[Endpoint, ...] = ()
    worths: tuple[Worth, ...] = ()
    reference: str = ""
    comparisons: tuple[tuple[str, str], ...] = ()
    uncertainty: tuple[str, ...] | None = None
    seed: int = 0
    assumptions: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    text: str = ""

    def __post_init__(self):
        for what, names in (
            ("arm", [arm.name for arm in self.arms]),
            ("outcome", [outcome.name for outcome in self.outcomes]),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if not names or twice:
                found = f"two of {what} {twice[0]}" if twice else f"no {what}"
                raise InputError(f"scenario {self.name}: {found}")
        for name in (self.reference or self.arms[0].name, *sum(self.comparisons, ())):
            self.arm(name)
        for name in [each.outcome for each in (*self.endpoints, *self.worths)]:
            self.outcome(name)

    def arm(self, name: str) -> Arm:
        """The arm of a name.

        Raises:
            InputError: there is none.
        """
        return _called("arm", name, self.arms)

    def outcome(self, name: str) -> Outcome:
        """The outcome of a name.

        Raises:
            InputError: there is none.
        """
        return _called("outcome", name, self.outcomes)

    @property
    def first(self) -> str:
        """The name of the reference arm."""
        return self.reference or self.arms[0].name

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Which arm is compared with which."""
        if self.comparisons:
            return self.comparisons
        others = (arm.name for arm in self.arms if arm.name != self.first)
        return tuple((name, self.first) for name in others)

    @property
    def measures(self) -> tuple[Endpoint, ...]:
        """The endpoints: those given, or one for each outcome."""
        if self.endpoints:
            return self.endpoints
        return tuple(
            Endpoint(o.name, o.name, o.kind.summary, title=o.title)
            for o in self.outcomes
        )


def _called(kind: str, name: str, all_of_them: tuple[Named, ...]) -> Named:
    """The one of a name.

    Raises:
        InputError: there is none.
    """
    known = {each.name: each for each in all_of_them}
    if name not in known:
        raise InputError(
            f"no {kind} {name!r}; {did_you_mean(name, known)}there are "
            f"{', '.join(known)}"
        )
    return known[name]


def quantity_of(model: AbstractModel, of: str) -> str:
    """The quantity of a model that an assay reads, or that has this name itself.

    Raises:
        InputError: the model describes no such thing.
    """
    name = ASSAYS[of]().quantity if of in ASSAYS else of
    if name in model.units:
        return name
    able = [each for each, make in ASSAYS.items() if make().quantity in model.units]
    raise InputError(
        f"found {of!r}, expected an assay or a quantity of {name_of(model)}: "
        f"{', '.join([*able, *model.units])}; "
        f"{did_you_mean(of, [*able, *model.units])}mend it there"
    )


def faults(scenario: Scenario, model: AbstractModel) -> Iterator[tuple[Path, str]]:
    """What is wrong with a scenario, as key path and words.

    Args:
        scenario: arms and outcomes.
        model: that is to answer it.
    """
    if not model.receives and len(scenario.arms) > 1:
        yield (
            ("model",),
            f"{name_of(model)} is a course from the first infusion and answers to no "
            "dose, so schedules cannot be compared by it; choose another "
            "(`ckin models` lists what each receives)",
        )
    for outcome in scenario.outcomes:
        yield from _outcome_faults(outcome, scenario, model)
    for arm in scenario.arms:
        plan, here = arm.protocol, ("sweeps" if arm.sweep else "arms", arm.sweep)
        here = here if arm.sweep else ("arms", arm.name)
        last_d = max(dose.stop_d for dose in plan.doses)
        if last_d >= scenario.follow_d:
            yield (
                ("follow_d",),
                f"found {scenario.follow_d:g} days, expected more than {last_d:g}: "
                f"{arm.name} gives its last cells then",
            )
        if model.one_course and plan.cycles > 1:
            yield (
                here,
                f"found {plan.cycles} cycles, and {name_of(model)} describes one "
                "course; add repeated = { cycles = 1 }",
            )


def _outcome_faults(
    outcome: Outcome, scenario: Scenario, model: AbstractModel
) -> Iterator[tuple[Path, str]]:
    here = ("outcomes", outcome.name)
    try:
        quantity = quantity_of(model, outcome.of)
    except InputError as error:
        yield ((*here, "of"), str(error))
        return
    wanted = model.units[quantity]
    if outcome.unit and canonical_unit(outcome.unit) != wanted:
        yield (
            (*here, "unit"),
            f"found {outcome.unit!r}, expected {wanted!r}, the unit of {quantity}",
        )
    for arm in scenario.arms:
        cycles = arm.protocol.cycles
        cycle = cycles if outcome.cycle == "last" else outcome.cycle
        if isinstance(cycle, int) and cycle > cycles:
            yield (
                (*here, "cycle"),
                f"found cycle {cycle}, expected 1 to {cycles}: {arm.name} has no more",
            )
            return
        start_d, end_d = window(arm.protocol, cycle, scenario.follow_d)
        length_d = max(AREA_DAYS.get(outcome.metric, 0.0), outcome.after_d)
        if end_d - start_d < length_d:
            yield (
                (*here, "metric"),
                f"found {outcome.metric}, expected {length_d:g} days to follow: "
                f"{arm.name} has {end_d - start_d:g} there",
            )
            return


def window(
    plan: Protocol, cycle: int | str | None, follow_d: float
) -> tuple[float, float]:
    """First and last day of a cycle of a protocol, or of the whole course.

    A cycle ends where the next begins; the last one and the course end with follow-up.
    """
    if cycle is None:
        return plan.day1_d[0], follow_d
    at = plan.cycles - 1 if cycle == "last" else int(cycle) - 1
    return plan.day1_d[at], (*plan.day1_d[1:], follow_d)[at]
