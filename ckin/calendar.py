"""Protocols for a reader: the list, the dose calendar of one, and a file to start from.

A calendar has a row for each thing that is given and a column for each cycle; cycles
that are alike share one.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ckin.errors import InputError
from ckin.library import load_protocols, protocols
from ckin.protocol import (
    TKI_INPUTS,
    Protocol,
    amount_text,
    cells_text,
    day_of_time,
    hours_of_time,
    runs,
    time_of_day,
)


def protocol_table(shown: Mapping[str, Protocol] | None = None) -> Table:
    """Protocols, one line each; the shipped ones when none are given."""
    table = Table(title="Protocols", title_justify="left")
    for column in ("name", "cycles", "products", "cells in all", "what it is"):
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for name, plan in (protocols() if shown is None else shown).items():
        table.add_row(
            escape(name),
            str(plan.cycles),
            ", ".join(plan.products),
            ", ".join(f"{p} {total(plan, p)}" for p in plan.products),
            escape(plan.title),
        )
    return table


def protocol_card(name_or_path: str) -> RenderableType:
    """Calendar, source and assumptions of a protocol; of several, the list of them.

    Raises:
        InputError: no such protocol, or a file with faults in it.
    """
    found = load_protocols(name_or_path)
    if len(found) > 1:
        name, first = next(iter(found.items()))
        own = name_or_path.endswith(".toml")
        one = f"{name_or_path}:{first.arm}" if own else name
        hint = f"One of them in full: ckin protocols {one}"
        return Group(protocol_table(found), Text(hint))
    return _card(next(iter(found.values())))


def draw_calendar(name_or_path: str | None, path: Path) -> None:
    """Draw the dose calendar: a row for each cycle, or for each arm of several.

    Args:
        name_or_path: what to draw; `None`: every shipped protocol.
        path: the figure.

    Raises:
        InputError: as `protocol_card`; or a file that is neither `.png` nor `.svg`.
    """
    from ckin.plot import FIGURES, dose_calendar, save

    if path.suffix.lower() not in FIGURES:
        raise InputError(f"--out {path}: a figure is a file in {' or '.join(FIGURES)}")
    shown = protocols() if name_or_path is None else load_protocols(name_or_path)
    save(dose_calendar(shown), path)


def total(plan: Protocol, product: str) -> str:
    """All cells of a product: per kg, whatever the weight, or both."""
    own = [dose for dose in plan.doses if dose.product == product]
    per_kg = sum(dose.cells_per_kg or 0.0 for dose in own)
    cells = sum(dose.cells or 0.0 for dose in own)
    told = [f"{cells_text(per_kg)}/kg"] if per_kg or not cells else []
    return " + ".join(told + ([f"{cells_text(cells)} cells"] if cells else []))


def _card(plan: Protocol) -> Group:
    parts: list[RenderableType] = [
        Text(plan.name, style="bold"),
        Text(plan.title),
        _calendar(plan),
        Text(f"TKI: {plan.tki or _other_tki(plan)}"),
        Text("In all: " + ", ".join(f"{p} {total(plan, p)}" for p in plan.products)),
    ]
    for heading, lines in (
        ("Changed from the file's own", plan.changes),
        ("Source", plan.source),
        ("Stated by the source", plan.stated),
        ("Given only on a condition", [c.text for c in plan.conditions]),
        ("Assumed, not stated", plan.assumptions),
    ):
        if lines:
            parts.append(Text(f"{heading}:", style="bold"))
            parts += [Text(f"  - {line}") for line in lines]
    return Group(*parts)


def _other_tki(plan: Protocol) -> str:
    windows = [w for w in plan.windows if w.name in TKI_INPUTS]
    told = [f"level {w.level:g}, time {w.start_d:g} to {w.stop_d:g} d" for w in windows]
    return "; ".join(told) or "none is taken in this protocol"


@dataclasses.dataclass(frozen=True, order=True)
class _Row:
    """What is given, and when in a cycle; in order of time."""

    time_d: float
    day: str
    what: str


def _calendar(plan: Protocol) -> Table:
    cycles = {cycle: _given(plan, cycle) for cycle in range(1, plan.cycles + 1)}
    alike: list[list[int]] = []
    for cycle, given in cycles.items():
        same = next((group for group in alike if cycles[group[0]] == given), None)
        if same is None:
            alike.append([cycle])
        else:
            same.append(cycle)
    table = Table(title="Dose calendar", title_justify="left")
    table.add_column("day of the cycle", no_wrap=True)
    table.add_column("what is given", overflow="fold")
    for group in alike:
        day1 = ", ".join(str(day_of_time(plan.day1_d[n - 1])) for n in group)
        word = "cycle" if len(group) == 1 else "cycles"
        table.add_column(f"{word} {runs(group)}\n(day 1 = day {day1})", justify="right")
    for row in sorted({row for given in cycles.values() for row in given}):
        cells = [cycles[group[0]].get(row, "") for group in alike]
        table.add_row(row.day, escape(row.what), *cells)
    return table


def _given(plan: Protocol, cycle: int) -> dict[_Row, str]:
    """What a cycle gives, by row."""
    day1 = plan.day1_d[cycle - 1]
    given: dict[_Row, str] = {}
    drugs = [round(t - day1, 6) for t in plan.depletion_drugs_d(cycle)]
    if drugs:
        days = runs(day_of_time(time_d) for time_d in drugs)
        given[_Row(min(drugs), days, "lymphodepletion")] = "given"
    for hold, resume in plan.tki.holds_d(plan.day1_d) if plan.tki else ():
        # Of this cycle: the hold that its own days make.
        own = plan.tki.held if plan.tki else None
        if own and abs(hold - day1 - time_of_day(own.stop_day)) < 1e-6:
            until = day_of_time(resume - day1)
            days = f"{own.stop_day} until {until}"
            given[_Row(hold - day1, days, "TKI")] = "held"
    for dose in plan.doses:
        if dose.cycle != cycle:
            continue
        time_d = round(dose.time_d - day1, 6)
        hours = hours_of_time(time_d)
        day = f"{day_of_time(time_d)}" + (f", hour {hours:g}" if hours else "")
        row = _Row(time_d, day, f"{dose.product}: {plan.name_of(dose.product)}")
        before = given.get(row)
        given[row] = (
            amount_text(dose) if before is None else f"{before} + {amount_text(dose)}"
        )
    return given
