"""An answer as tables, a manifest and a protocol, in a folder.

A row is a dictionary by column; every table says what its numbers rest on.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ckin.inference.results import environment
from ckin.model import name_of
from ckin.optimum.answer import BEST, Answer, Tried
from ckin.protocol import Dose, cells_text
from ckin.scenario.result import MODEL_BASED, Row, write_table
from ckin.schedule.space import FTC_AFTER_CART_H
from ckin.units import HOURS_PER_DAY
from ckin.writing import rows_with_verdict, write_texts, writing


SCHEDULES, INFUSIONS, CONSTRAINTS = "schedules.csv", "infusions.csv", "constraints.csv"
STARTS, FRONT, GRID = "starts.csv", "pareto.csv", "grid.csv"


def label_of(answer: Answer) -> str:
    """What all of it is."""
    people = answer.whom.people
    differs = ", ".join(people.uncertainty)
    return f"{MODEL_BASED}: {people.basis}. In the numbers: {differs}"


def said(answer: Answer) -> Row:
    """What every row says of itself."""
    people = answer.whom.people
    return {
        "basis": f"{MODEL_BASED}: {people.basis}",
        "uncertainty": ", ".join(people.uncertainty),
    }


def infusions_text(answer: Answer, each: Tried) -> str:
    """What is open, as a schedule gives it: "FTC 2e6/kg on day 3 of cycle 2, ..."."""
    given = [
        f"{slot.product} {cells_text(cells)}/kg on day {day + 1:.0f} of cycle "
        f"{slot.cycle}"
        for slot, day, cells in zip(
            answer.space.slots, each.days, each.cells_per_kg, strict=True
        )
        if cells > 0
    ]
    return ", ".join(given) or "nothing"


def schedule_rows(answer: Answer) -> list[Row]:
    """A schedule a row: the best, and what it is compared with."""
    budget = answer.space.budget
    rows = []
    for each in answer.tried:
        row: Row = {
            "schedule": each.name,
            "infusions": infusions_text(answer, each),
            "utility": each.utility,
        }
        for name, value in each.means.items():
            row[name] = value
            row[f"{name}_unit"] = answer.units[name]
        row |= {
            "feasible": each.feasible,
            "faults": "; ".join(each.faults),
            "cost": each.cost,
            "left": np.nan if budget is None else budget.total - each.cost,
            "cost_unit": answer.inquiry.budget_unit,
            "apheresis_enough": np.nan if each.covered is None else each.covered,
            "courses_solved": each.solves or "",
            "schedules_solved": each.solves // answer.whom.n if each.solves else "",
            "seconds": round(each.seconds, 1) if each.seconds else "",
        }
        rows.append({**row, **said(answer)})
    return rows


def infusion_rows(answer: Answer) -> list[Row]:
    """Every open infusion of every schedule that was compared, a row."""
    return [
        {
            "schedule": each.name,
            "product": slot.product,
            "cycle": slot.cycle,
            "day": int(day) + 1,
            "cells_per_kg": float(cells),
            "cells": float(cells) * answer.whom.weight_kg,
            **said(answer),
        }
        for each in answer.tried
        for slot, day, cells in zip(
            answer.space.slots, each.days, each.cells_per_kg, strict=True
        )
    ]


def constraint_rows(answer: Answer) -> list[Row]:
    """Every rule of the best schedule: its limit, what was found, and the slack."""
    best = next(each for each in answer.tried if each.name == BEST)
    rows = [
        {**row, "kept": bool(row["slack"] >= -_rounding(row["limit"]))}
        for row in _slacks(answer, best)
    ]
    return [{**row, **said(answer)} for row in rows]


def _rounding(limit: float) -> float:
    return 1e-9 * max(1.0, abs(limit))


def _slacks(answer: Answer, best: Tried) -> Iterator[Row]:
    space = answer.space
    if space.budget is not None:
        total, unit = space.budget.total, answer.inquiry.budget_unit
        yield _row("budget", total, best.cost, total - best.cost, unit)
    at = 0
    for choice in space.choices:
        part = slice(at, at + choice.n)
        at += choice.n
        given = best.cells_per_kg[part] > 0
        days = best.days[part][given] + 1
        cells = best.cells_per_kg[part][given]
        for day, amount in zip(days.tolist(), cells.tolist(), strict=True):
            what = f"{choice}, day {day:.0f}"
            first, last = float(choice.from_day), float(choice.to_day)
            yield _row(f"{what}: first day", first, day, day - first, "day")
            yield _row(f"{what}: last day", last, day, last - day, "day")
            least, most = float(choice.least), float(choice.most)
            yield _row(f"{what}: least", least, amount, amount - least, "cells/kg")
            yield _row(f"{what}: most", most, amount, most - amount, "cells/kg")
        for gap in np.diff(days).tolist():
            apart = float(choice.apart_d)
            yield _row(f"{choice}: days apart", apart, gap, gap - apart, "day")
        if choice.product == "FTC":
            yield from _after_cart(best, choice.cycle)
    for check in best.caps:
        cap, unit = check.cap, "share of patients"
        slack = cap.share - check.share
        what = f"{cap.quantity} above {cap.level:g}"
        yield _row(what, cap.share, check.share, slack, unit)


def _after_cart(best: Tried, cycle: int) -> Iterator[Row]:
    own = [dose for dose in best.plan.doses if dose.cycle == cycle]
    times = {product: _first(own, product) for product in ("CART", "FTC")}
    if all(np.isfinite(list(times.values()))):
        hours = (times["FTC"] - times["CART"]) * HOURS_PER_DAY
        # A time of day in floating-point days.
        slack = round(hours - FTC_AFTER_CART_H, 6)
        what = f"FTC of cycle {cycle}: after its CAR-T"
        yield _row(what, FTC_AFTER_CART_H, hours, slack, "h")


def _first(doses: list[Dose], product: str) -> float:
    return min((d.time_d for d in doses if d.product == product), default=np.nan)


def _row(rule: str, limit: float, found: float, slack: float, unit: str) -> Row:
    return {
        "rule": rule,
        "limit": limit,
        "found": found,
        "slack": slack,
        "unit": unit,
    }


def start_rows(answer: Answer) -> list[Row]:
    """What each start of the climb reached, best first, before rounding."""
    return [
        {"start": place, "utility": value, **said(answer)}
        for place, value in enumerate(answer.best.reached, start=1)
    ]


def front_rows(answer: Answer) -> list[Row]:
    """The best schedule of each budget, a row."""
    front = answer.front
    if front is None:
        return []
    rows = []
    for place, (total, best) in enumerate(zip(front.totals, front.best, strict=True)):
        given = [
            f"{slot.product} {cells_text(cells)}/kg on day {day} of cycle {slot.cycle}"
            for slot, day, cells in zip(
                answer.space.slots, best.days, best.cells_per_kg, strict=True
            )
            if cells > 0
        ]
        row: Row = {
            "budget": total,
            "cost": float(front.cost[place]),
            "unit": answer.inquiry.budget_unit,
            "infusions": ", ".join(given) or "nothing",
            "utility": best.utility,
        }
        for name, values in front.means.items():
            row[name] = float(values[place])
            row[f"{name}_unit"] = answer.units[name]
        rows.append({**row, "courses_solved": best.solves, **said(answer)})
    return rows


def grid_rows(answer: Answer) -> list[Row]:
    """Every schedule of the grid, a row."""
    grid = answer.grid
    if grid is None:
        return []
    return [
        {
            "cost": float(grid.cost[place]),
            "utility": float(grid.utility[place]),
            **{name: float(values[place]) for name, values in grid.means.items()},
        }
        for place in range(len(grid.utility))
    ]


def manifest_of(answer: Answer) -> dict[str, Any]:
    """What was asked and how it was answered."""
    inquiry, whom = answer.inquiry, answer.whom
    best = answer.best
    assumed = [*inquiry.assumptions, *inquiry.plan.assumptions]
    return {
        **whom.people.verdict,
        "question": inquiry.name,
        "title": inquiry.title,
        "question_sha256": hashlib.sha256(inquiry.text.encode()).hexdigest(),
        "label": label_of(answer),
        "model": name_of(whom.people.whole.model),
        "basis": whom.people.basis,
        "uncertainty": list(whom.people.uncertainty),
        "synthetic_data": whom.people.synthetic,
        "seed": inquiry.seed,
        "people": whom.n,
        "patient": whom.patient,
        "readings": whom.readings,
        "worth_draws": whom.ess,
        "weight_kg": whom.weight_kg,
        "drawn": list(whom.people.drawn),
        "starts": inquiry.starts,
        "steps": inquiry.steps,
        "utility": best.utility,
        "before_rounding": best.before_rounding,
        "courses_solved": best.solves,
        "unsolved": best.unsolved,
        "notes": list(answer.notes),
        "assumed": assumed,
        **environment(),
    }


def write_answer(answer: Answer, folder: Path) -> list[Path]:
    """Write tables and manifest; returns the files.

    Raises:
        InputError: a folder that cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    tables = {
        SCHEDULES: schedule_rows(answer),
        INFUSIONS: infusion_rows(answer),
        CONSTRAINTS: constraint_rows(answer),
        STARTS: start_rows(answer),
        FRONT: front_rows(answer),
        GRID: grid_rows(answer),
    }
    written = [
        write_table(
            rows_with_verdict(rows, answer.whom.people.converged), folder / name
        )
        for name, rows in tables.items()
        if rows
    ]
    files = {
        "question.toml": answer.inquiry.text,
        "manifest.json": json.dumps(manifest_of(answer), indent=2, ensure_ascii=False),
    }
    return [*written, *write_texts(files, folder)]
