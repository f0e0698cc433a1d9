"""An optimum as the command line prints it."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ckin.optimum import Answer
from ckin.optimum.answer import BEST, GRID
from ckin.optimum.tables import (
    constraint_rows,
    front_rows,
    infusions_text,
    label_of,
    manifest_of,
)
from ckin.optimum_report import NAMES, utility_text
from ckin.protocol import cells_text


def optimum(answer: Answer) -> RenderableType:
    """Label first, then schedules, limits, the front, how it was found, and notes."""
    inquiry = answer.inquiry
    whom = f"{answer.whom.n} patients"
    if answer.whom.patient:
        whom = f"{answer.whom.n} draws of who {answer.whom.patient} may be"
    head = f"{inquiry.title}: {whom}, {inquiry.follow_d:g} days"
    parts: list[RenderableType] = [
        Text(label_of(answer), style="bold"),
        Text(head),
        Text(f"utility: {utility_text(inquiry)}"),
        _schedules(answer),
        _limits(answer),
    ]
    if answer.front is not None:
        parts.append(_front(answer))
    parts += [Text(line) for line in _how(answer)]
    parts += [Text(f"note: {note}") for note in answer.notes]
    parts += [Text(f"assumed: {text}") for text in manifest_of(answer)["assumed"]]
    return Group(*parts)


def _schedules(answer: Answer) -> Table:
    table = Table(title="Schedules", title_justify="left")
    table.add_column("")
    table.add_column("what is open", overflow="fold")
    table.add_column("utility", justify="right")
    for name, unit in answer.units.items():
        shown = "" if unit == "1" else f"\n{unit}"
        table.add_column(f"{name}{shown}", justify="right")
    table.add_column("one apheresis\nis enough", justify="right")
    for each in answer.tried:
        broken = [f"NOT FEASIBLE: {fault}" for fault in each.faults]
        broken += [
            f"NOT FEASIBLE: {100 * check.share:.3g}% of patients above "
            f"{check.cap.level:g} of {check.cap.quantity}"
            for check in each.caps
            if not check.kept
        ]
        table.add_row(
            NAMES[each.name],
            Text("\n".join([infusions_text(answer, each), *broken])),
            f"{each.utility:.4g}",
            *(f"{each.means[name]:.4g}" for name in answer.units),
            "" if each.covered is None else f"{100 * each.covered:.0f}%",
        )
    return table


def _limits(answer: Answer) -> Table:
    table = Table(title="Limits of the best schedule", title_justify="left")
    table.add_column("")
    for column in ("limit", "found", "slack"):
        table.add_column(column, justify="right")
    table.add_column("")
    for row in constraint_rows(answer):
        shown = cells_text if "cells" in row["unit"] else "{:.4g}".format
        numbers = (shown(row[name]) for name in ("limit", "found", "slack"))
        table.add_row(
            Text(row["rule"]),
            *numbers,
            row["unit"] + ("" if row["kept"] else " BROKEN"),
        )
    return table


def _front(answer: Answer) -> Table:
    table = Table(title="Best schedule of each budget", title_justify="left")
    table.add_column("budget", justify="right")
    table.add_column("takes", justify="right")
    table.add_column("what is open", overflow="fold")
    table.add_column("utility", justify="right")
    for name, unit in answer.units.items():
        shown = "" if unit == "1" else f"\n{unit}"
        table.add_column(f"{name}{shown}", justify="right")
    for row in front_rows(answer):
        table.add_row(
            cells_text(row["budget"]),
            cells_text(row["cost"]),
            Text(row["infusions"]),
            f"{row['utility']:.4g}",
            *(f"{row[name]:.4g}" for name in answer.units),
        )
    return table


def _how(answer: Answer) -> list[str]:
    """How the schedules were found, and what that took."""
    best, n = answer.best, answer.whom.n
    reached = ", ".join(f"{value:.4g}" for value in best.reached)
    lines = [
        f"starts reached {reached}; whole days and doses cost {best.lost:.2g} "
        "(negative: a neighbour a day away was better)"
    ]
    by_name = {each.name: each for each in answer.tried}
    for name, how in ((BEST, "by gradient"), (GRID, "by the grid")):
        if name in by_name:
            each = by_name[name]
            lines.append(
                f"{how}: {each.solves // n} schedules' worth of solves, "
                f"{each.seconds:.0f} s with compiling"
            )
    return lines
