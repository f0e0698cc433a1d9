"""One comparison from end to end: a scenario in, a folder of tables and figures out."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ckin.assay import ASSAYS
from ckin.cohort import WEIGHT_MEDIAN_KG
from ckin.errors import InputError
from ckin.plot import save
from ckin.plot.figures import ASSAY_LABELS
from ckin.plot.optimum import against_cells
from ckin.plot.scenario import (
    MOST_BANDS,
    arms_over_time,
    forest,
    heat_map,
    influence,
    response,
)
from ckin.protocol.arms import FTC_LEVELS_CELLS_PER_KG
from ckin.scenario import Result, Scenario, compare, sensitivity, with_fit
from ckin.scenario.result import MOST_ROWS, PATIENTS, Row, courses_of, write_table
from ckin.scenario.scenario import Endpoint
from ckin.schedule import Apheresis, demand, starting_cells, typical_yields
from ckin.writing import titled, writing


Report = Callable[[str, int, int], None]

# Arms that take so many different numbers of cells make a figure of it.
FEWEST_COSTS = 3
# Arms of a figure over time: those with a name of their own, else those of a sweep, the
# reference and the first so many.
MOST_ARMS = 7
AXIS_LABELS = {
    "day": "protocol day",
    "cells_per_kg": "dose, 10⁶ cells/kg",
    "cells": "dose, 10⁶ cells",
    "cycles": "cycles",
    "every_d": "days from cycle to cycle",
}


def with_options(
    scenario: Scenario,
    *,
    fit: Path | None = None,
    seed: int | None = None,
    draws: int | None = None,
    patients: int | None = None,
) -> Scenario:
    """The scenario with what a command line changes of it.

    Raises:
        InputError: a fit that the scenario has no use for.
    """
    scenario = with_fit(scenario, fit)
    changed = {
        name: value
        for name, value in (("draws", draws), ("patients", patients))
        if value is not None
    }
    if "draws" in changed and scenario.people.source == "typical":
        raise InputError(
            f"--draws {draws}: scenario {scenario.name} has typical values, one set of "
            'parameters; write source = "prior" to draw, or leave --draws out'
        )
    people = dataclasses.replace(scenario.people, **changed)
    seed = scenario.seed if seed is None else seed
    return dataclasses.replace(scenario, people=people, seed=seed)


def compare_to_folder(
    scenario: Scenario, folder: Path, report: Report, moves: str | None = None
) -> Result:
    """Compare, and write tables, manifest and figures.

    Args:
        scenario: the question.
        folder: to write to.
        report: called with (stage, done, total).
        moves: the method of a sensitivity analysis to add; `None` for none.

    Raises:
        InputError: what cannot be answered or written.
    """
    # First, so that what cannot be analysed is said before the work.
    rows = None if moves is None else sensitivity(scenario, moves, report=report)
    result = compare(scenario, report=report, stream=_stream(scenario, folder))
    result.write(folder)
    if rows is not None:
        write_table(rows, folder / SENSITIVITY)
    report("figures", 0, 1)
    draw(result, folder / "figures")
    if rows is not None:
        draw_sensitivity(result, rows, folder / "figures")
    report("figures", 1, 1)
    return result


def _stream(scenario: Scenario, folder: Path) -> Path | None:
    """Where outcomes of everyone go while they come, where they are many."""
    people = scenario.people
    draws = 1 if people.source == "typical" else people.draws
    if isinstance(people.patients, str) or people.patient is not None:
        return None
    if courses_of(scenario, draws, people.patients) <= MOST_ROWS:
        return None
    return (folder / PATIENTS).with_suffix(".nc")


def draw(result: Result, folder: Path) -> list[Path]:
    """Write the figures of a comparison; returns the files.

    Raises:
        InputError: a folder that cannot be written.
    """
    figures = {
        **_over_time(result),
        **_forests(result),
        **_sweeps(result),
        **_against_cells(result),
    }
    with writing(folder):
        return [
            save(figure, folder / f"{name}.png") for name, figure in figures.items()
        ]


def draw_sensitivity(result: Result, rows: list[Row], folder: Path) -> Path:
    """Write the figure of a sensitivity analysis, of the first comparison.

    Raises:
        InputError: a folder that cannot be written.
    """
    scenario = result.outcomes.scenario
    arm, against = scenario.pairs[0] if scenario.pairs else (scenario.first, "")
    panels: dict[str, list[Row]] = {}
    for row in rows:
        if (row["arm"], row["against"]) == (arm, against):
            panels.setdefault(row["endpoint"], []).append(row)
    what = f"{arm} against {against}" if against else arm
    method = "tornado" if "reach" in rows[0] else "Sobol"
    figure = influence(
        panels,
        title=title_of(result, f": what moves {what} ({method}, typical patient)"),
        note=note_of(result),
    )
    with writing(folder):
        return save(figure, folder / "sensitivity.png")


def note_of(result: Result) -> str:
    """What a figure says of what it rests on."""
    ftc = [note for note in result.outcomes.notes if "FTC do rests" in note]
    return ". ".join([result.label, *(text[:1].upper() + text[1:] for text in ftc)])


def title_of(result: Result, what: str = "") -> str:
    """The title of a figure: of the scenario, and whether its fit converged."""
    people = result.outcomes.people
    return titled(f"{result.outcomes.scenario.title}{what}", people.converged)


def _over_time(result: Result) -> dict:
    """Levels and their ratios, for each quantity."""
    scenario, figures = result.outcomes.scenario, {}
    named = [arm.name for arm in scenario.arms if not arm.sweep]
    shown = named if len(named) > 1 else [arm.name for arm in scenario.arms]
    shown = [scenario.first, *(name for name in shown if name != scenario.first)]
    shown = shown[:MOST_ARMS]
    doses = _doses(result, shown)
    for quantity, bands in result.outcomes.bands.items():
        what = what_of(quantity, bands.unit)
        common = {"note": note_of(result), "doses_d": doses}
        figures[f"{quantity}"] = arms_over_time(
            bands.days,
            {name: bands.level[name] for name in shown},
            y_label=what,
            title=title_of(result, f": {_drawn(shown)}"),
            **common,
        )
        others = [name for name in shown if name != scenario.first]
        if others:
            figures[f"{quantity}_ratio"] = arms_over_time(
                bands.days,
                {name: bands.ratio[name] for name in others},
                y_label=f"ratio to {scenario.first}: {what}",
                title=title_of(result, f": ratio within persons, {_drawn(others)}"),
                ratio=True,
                skipped=1,
                **common,
            )
    return figures


def _drawn(shown: list[str]) -> str:
    return "median and 90% of persons" if len(shown) <= MOST_BANDS else "median person"


def what_of(quantity: str, unit: str) -> str:
    """A quantity as an axis names it: by its assay where it has one."""
    for name, make in ASSAYS.items():
        if make().quantity == quantity:
            label = ASSAY_LABELS.get(name, name)
            return label if "/" in label else f"{label}, {unit}"
    return f"{quantity.replace('_', ' ')}, {unit}"


def _doses(result: Result, shown: list[str]) -> dict[str, list[float]]:
    """Days of doses by product, of any of the arms shown."""
    days: dict[str, set[float]] = {}
    for name in shown:
        for dose in result.outcomes.scenario.arm(name).protocol.doses:
            days.setdefault(dose.product, set()).add(round(dose.time_d, 3))
    order = [product for product in ("CART", "FTC") if product in days]
    return {product: sorted(days[product]) for product in order}


def _forests(result: Result) -> dict:
    rows: dict[str, list[Row]] = {}
    for row in result.comparison_rows:
        if np.isfinite(row["value"]):
            rows.setdefault(row["endpoint"], []).append(row)
    rows = {name: each[:MOST_FOREST] for name, each in rows.items()}
    if not rows:
        return {}
    what = "line: 90% interval; broad: 90% of persons"
    if result.outcomes.people.shape[0] == 1:
        what = "point: ratio or difference of the arms; broad: 90% of persons"
    title = title_of(result, f" ({what})")
    return {"forest": forest(rows, title=title, note=note_of(result))}


SENSITIVITY = "sensitivity.csv"
# Comparisons of one panel of a forest.
MOST_FOREST = 20


def _against_cells(result: Result) -> dict:
    """What arms take of one apheresis and what they gain, where they take unlike."""
    scenario = result.outcomes.scenario
    yields = typical_yields(Apheresis())
    needed = [demand(arm.protocol, WEIGHT_MEDIAN_KG) for arm in scenario.arms]
    if {product for cells in needed for product in cells} - set(yields.per_cell):
        return {}
    cost = np.array([float(starting_cells(cells, yields)[0]) for cells in needed])
    # Sums of doses in floating point.
    if len({f"{each:.9g}" for each in cost}) < FEWEST_COSTS:
        return {}
    value = {(row["arm"], row["endpoint"]): row["value"] for row in result.arm_rows}
    names = [arm.name for arm in scenario.arms]
    panels = {}
    for endpoint in scenario.measures:
        outcome, unit = scenario.outcome(endpoint.outcome), result.unit(endpoint)
        label = result.summary(endpoint) + (f", {unit}" if unit != "1" else "")
        sign = -outcome.sign if endpoint.at_most is not None else outcome.sign
        values = np.array([value[name, endpoint.name] for name in names])
        panels[endpoint.name] = (values, label, sign)
    return {
        "cells": against_cells(
            cost / 1e9,
            panels,
            names=names,
            yields=float(yields.collected[0]) / 1e9,
            x_label="10⁹ CD3+ cells to start from",
            title=title_of(result, ": what one apheresis pays for"),
            note=f"{note_of(result)}. Cells for all cycles of {WEIGHT_MEDIAN_KG:g} kg "
            "by the typical yields of `ckin apheresis`, most of them assumed",
        )
    }


def _sweeps(result: Result) -> dict:
    """Dose-response of sweeps over one axis, heat maps of sweeps over two."""
    scenario, figures = result.outcomes.scenario, {}
    sweeps: dict[str, list[str]] = {}
    for arm in scenario.arms:
        if arm.sweep:
            sweeps.setdefault(arm.sweep, []).append(arm.name)
    by_cell = {(r["arm"], r["endpoint"]): r for r in result.arm_rows}
    for sweep, names in sweeps.items():
        points = {name: dict(scenario.arm(name).point) for name in names}
        # An axis of one value is none.
        axes = [
            axis
            for axis in points[names[0]]
            if len({point[axis] for point in points.values()}) > 1
        ]
        if len(axes) == 1 and len(names) > 1:
            figures[f"{sweep}_response"] = _response(result, axes[0], points, by_cell)
        if len(axes) == 2:
            for endpoint in scenario.measures:
                name = f"{sweep}_{endpoint.name}_map"
                figures[name] = _heat(result, endpoint, axes, points, by_cell)
    return figures


def _response(
    result: Result,
    axis: str,
    points: Mapping[str, Mapping[str, float]],
    by_cell: Mapping[tuple[str, str], Row],
):
    x = np.array([point[axis] for point in points.values()])
    shown = {}
    for endpoint in result.outcomes.scenario.measures:
        rows = [by_cell[name, endpoint.name] for name in points]
        edges = np.array([[row[k] for row in rows] for k in ("low", "value", "high")])
        unit = result.unit(endpoint)
        label = result.summary(endpoint) + (f", {unit}" if unit != "1" else "")
        logged = endpoint.summary == "geometric mean"
        shown[endpoint.name] = (edges, label, logged)
    product_is_ftc = axis == "cells_per_kg" and _sweeps_ftc(result, list(points))
    marks = FTC_LEVELS_CELLS_PER_KG if product_is_ftc else {}
    return response(
        x,
        shown,
        x_label=AXIS_LABELS.get(axis, axis),
        marks={name: v for name, v in marks.items() if x.min() <= v <= x.max()},
        cells=axis in ("cells", "cells_per_kg"),
        title=_swept_title(result, bool(marks)),
        note=note_of(result),
    )


def _swept_title(result: Result, marked: bool) -> str:
    if result.outcomes.people.shape[0] > 1:
        more = "; the registry's doses marked)" if marked else ")"
        return title_of(result, f" (value and 90% interval{more}")
    return title_of(result, " (the registry's doses marked)" if marked else "")


def _sweeps_ftc(result: Result, names: list[str]) -> bool:
    """Whether it is FTC whose dose differs between these arms."""
    amounts = {
        tuple(
            dose.cells_per_kg
            for dose in result.outcomes.scenario.arm(name).protocol.doses
            if dose.product == "FTC"
        )
        for name in names
    }
    return len(amounts) > 1


def _heat(
    result: Result,
    endpoint: Endpoint,
    axes: list[str],
    points: Mapping[str, Mapping[str, float]],
    by_cell: Mapping[tuple[str, str], Row],
):
    one, other = axes
    x, y = (sorted({point[axis] for point in points.values()}) for axis in (other, one))
    values = np.full((len(y), len(x)), np.nan)
    for name, point in points.items():
        cell = y.index(point[one]), x.index(point[other])
        values[cell] = by_cell[name, endpoint.name]["value"]
    unit = result.unit(endpoint)
    label = f"{endpoint.name}: {result.summary(endpoint)}"
    return heat_map(
        x,
        y,
        values,
        x_label=AXIS_LABELS.get(other, other),
        y_label=AXIS_LABELS.get(one, one),
        label=label + (f", {unit}" if unit != "1" else ""),
        title=title_of(result),
        note=note_of(result),
        logged=endpoint.summary == "geometric mean",
    )
