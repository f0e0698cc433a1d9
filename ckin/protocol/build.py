"""Tables of a protocol file -> the protocol, and its arms by the verbs of one."""

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager

from ckin.errors import InputError
from ckin.protocol.arms import Protocol
from ckin.protocol.changing import Condition
from ckin.protocol.days import runs, time_of_day
from ckin.protocol.doses import PRODUCTS, Dose
from ckin.protocol.places import Path
from ckin.protocol.schema import (
    ArmTable,
    ChangesTable,
    DoseTable,
    LymphodepletionTable,
    ProtocolTable,
    TkiTable,
)
from ckin.protocol.tki import Hold, Tki
from ckin.units import HOURS_PER_DAY


# Says of an `InputError` inside it at which key of the file it arose.
Located = Callable[[Path], AbstractContextManager[None]]


def base(table: ProtocolTable, located: Located) -> Protocol:
    """The protocol of a file, before any arm changes it."""
    count = table.cycles.count
    day1_d = tuple((table.cycles.every_d or 0.0) * cycle for cycle in range(count))
    doses = [
        _dose(entry, day, cycle, day1_d[cycle - 1])
        for entry in table.doses
        for cycle in _cycles(entry, count)
        for day in entry.day
    ]
    order = list(PRODUCTS)
    depletion = table.lymphodepletion
    acts_d, days = (), ()
    if depletion is not None:
        days = tuple(sorted(depletion.days))
        acts_d = tuple(
            day1_d[cycle - 1] + time_of_day(days[-1])
            for cycle in _cycles(depletion, count)
        )
    conditions = _conditions(table, count)
    plan = Protocol(
        name=table.name,
        doses=tuple(sorted(doses, key=lambda d: (d.time_d, order.index(d.product)))),
        lymphodepletion_d=acts_d,
        assumptions=(
            *table.assumptions,
            *_depletion_assumption(depletion),
            *(condition.assumption for condition in conditions),
        ),
        title=table.title,
        source=tuple(table.source),
        stated=tuple(table.stated),
        conditions=conditions,
        called=tuple(table.products.items()),
        lymphodepletion_days=days,
        day1_d=day1_d,
    )
    if table.tki is None:
        return plan
    with located(("tki",)):
        return dataclasses.replace(plan.with_tki(_tki(table.tki)), changes=())


def changed(whole: Protocol, arm: str, own: ArmTable, located: Located) -> Protocol:
    """An arm: the protocol of the file, changed by verbs."""
    here = ("arms", arm)
    plan = whole.named(f"{whole.name}-{arm}", own.title)
    plan = with_changes(plan, own, here, located)
    return dataclasses.replace(
        plan,
        arm=arm,
        stated=(*plan.stated, *own.stated),
        assumptions=(*plan.assumptions, *own.assumptions),
    )


def with_changes(
    plan: Protocol,
    own: ChangesTable,
    here: Path,
    located: Located,
    check: Callable[[Protocol], None] = lambda _: None,
) -> Protocol:
    """A protocol changed by verbs in a fixed order.

    Cycles first, then what is left out, moved, split and given in another amount; the
    TKI last.

    Args:
        plan: what is changed.
        own: the changes.
        here: their place in the file.
        located: says of an error at which key of the file it arose.
        check: raises an `InputError` where a change makes what must not be.

    Raises:
        InputError: a change of what there is not, or one that leaves no dose.
    """
    if own.repeated is not None:
        with located((*here, "repeated")):
            plan = plan.repeated(own.repeated.cycles, own.repeated.every_d)
    if own.no_lymphodepletion is not None:
        with located((*here, "no_lymphodepletion")):
            plan = plan.without_lymphodepletion(own.no_lymphodepletion)
    for verb in ("without", "delayed", "moved", "split", "with_dose"):
        for place, entry in enumerate(getattr(own, verb)):
            with located((*here, verb, place)):
                plan = getattr(plan, verb)(**dict(entry))
                check(plan)
    if own.tki is not None:
        with located((*here, "tki")):
            plan = plan.with_tki(_tki(own.tki))
    with located(here):
        if not plan.doses:
            raise InputError("found an arm without any dose, expected at least one")
    return plan


def _dose(entry: DoseTable, day: int, cycle: int, day1_d: float) -> Dose:
    return Dose(
        day1_d + time_of_day(day) + entry.hours / HOURS_PER_DAY,
        entry.product,
        cells=entry.cells,
        cells_per_kg=entry.cells_per_kg,
        cycle=cycle,
        duration_d=entry.over_h / HOURS_PER_DAY,
    )


def _cycles(entry: DoseTable | LymphodepletionTable, count: int) -> list[int]:
    if entry.cycles is not None:
        return sorted(set(entry.cycles))
    return list(range(entry.from_cycle or 1, count + 1))


def _tki(table: TkiTable) -> Tki:
    held = None
    if table.held is not None:
        chosen = table.held.cycles
        cycles = None if chosen is None else tuple(chosen)
        held = Hold(table.held.stop_day, table.held.resume_day, cycles)
    return Tki(
        drug=table.drug,
        start_day=table.start_day,
        stop_day=table.stop_day,
        level=table.level,
        held=held,
    )


def _depletion_assumption(table: LymphodepletionTable | None) -> list[str]:
    """A model has one moment of lymphodepletion a cycle, whatever the days."""
    if table is None:
        return []
    drugs = f" ({table.drugs})" if table.drugs else ""
    days = "day" if len(table.days) == 1 else "days"
    return [
        f"lymphodepletion on {days} {runs(table.days)}{drugs} acts at one time, at the "
        f"start of day {max(table.days)}"
    ]


def _conditions(table: ProtocolTable, count: int) -> tuple[Condition, ...]:
    found = []
    if table.cycles.only_if is not None:
        found.append(
            Condition(f"each cycle after the first only if {table.cycles.only_if}")
        )
    for entry in table.doses:
        if entry.only_if is not None:
            days = f"day{'s' if len(entry.day) > 1 else ''} {runs(entry.day)}"
            cycles = f" of cycle {runs(_cycles(entry, count))}" if count > 1 else ""
            text = f"{entry.product} on {days}{cycles} only if {entry.only_if}"
            found.append(Condition(text, entry.product))
    return tuple(found)
