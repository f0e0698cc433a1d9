"""Comparisons as the command line prints them."""

import math
from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ckin.library import scenario_files
from ckin.scenario import Result, read_scenario
from ckin.scenario.result import Row


# Arms of a table; the files have all of them.
MOST_SHOWN = 24


def scenario_table() -> Table:
    """The shipped scenarios, one line each."""
    table = Table(title="Scenarios", title_justify="left")
    for column in ("name", "arms", "the question"):
        table.add_column(column, no_wrap=column == "name", overflow="fold")
    for name, path in scenario_files().items():
        scenario = read_scenario(path)
        table.add_row(name, str(len(scenario.arms)), scenario.title)
    return table


def comparison(result: Result) -> RenderableType:
    """Label first, then arms, comparisons, chances of being best and notes."""
    outcomes = result.outcomes
    scenario = outcomes.scenario
    draws, patients = outcomes.people.shape
    head = f"{scenario.title}: {len(scenario.arms)} arms, {draws} draws of parameters, "
    head += f"{patients} patients in each, {scenario.follow_d:g} days"
    parts: list[RenderableType] = [Text(result.label, style="bold"), Text(head)]
    parts += [_arms(result), *_comparisons(result)]
    if scenario.worths:
        parts.append(_utility(result))
    parts += _information(result)
    parts += [Text(f"note: {note}") for note in [*_of_steps(result), *outcomes.notes]]
    parts += [Text(f"assumed: {text}") for text in result.manifest["assumed"]]
    return Group(*parts)


def _arms(result: Result) -> Table:
    interval = _interval(result)
    table = Table(title=f"Arms{interval}", title_justify="left")
    table.add_column("arm", overflow="fold")
    measures = result.outcomes.scenario.measures
    for endpoint in measures:
        unit = result.unit(endpoint)
        shown = "" if unit == "1" else f" ({unit})"
        table.add_column(
            f"{endpoint.name}\n{result.summary(endpoint)}{shown}", justify="right"
        )
    by_arm: dict[str, list[Row]] = {}
    for row in result.arm_rows:
        by_arm.setdefault(row["arm"], []).append(row)
    for name, rows in list(by_arm.items())[:MOST_SHOWN]:
        table.add_row(Text(name), *(_number_with_interval(row) for row in rows))
    return table


def _comparisons(result: Result) -> list[RenderableType]:
    """A table of each endpoint."""
    tables: list[RenderableType] = []
    interval = _interval(result)
    for endpoint in result.outcomes.scenario.measures:
        rows = [r for r in result.comparison_rows if r["endpoint"] == endpoint.name]
        if not rows:
            continue
        unit = "" if rows[0]["unit"] == "1" else f" in {rows[0]['unit']}"
        title = f"{endpoint.name}: {rows[0]['what']}; {rows[0]['measure']}{unit}"
        table = Table(title=title + interval, title_justify="left")
        table.add_column("arm", overflow="fold")
        table.add_column("against", overflow="fold")
        for column in (
            "value",
            "within patients",
            f"P({rows[0]['better']})\npatients",
            f"P({rows[0]['better']})\ndraws",
        ):
            table.add_column(column, justify="right", no_wrap=True)
        for row in rows[:MOST_SHOWN]:
            table.add_row(
                Text(row["arm"]),
                Text(row["against"]),
                _number_with_interval(row),
                f"{_number(row['patient_low'])} - {_number(row['patient_high'])}",
                f"{row['better_patients']:.2f}",
                f"{row['better_draws']:.2f}" if _has_draws(result) else "",
            )
        tables.append(table)
        if len(rows) > MOST_SHOWN:
            tables.append(Text(f"and {len(rows) - MOST_SHOWN} more in comparisons.csv"))
    return tables


def _utility(result: Result) -> Table:
    interval = _interval(result)
    table = Table(title=f"Expected utility{interval}", title_justify="left")
    table.add_column("arm", overflow="fold")
    for column in ("expected", "P(best)\npatients", "P(best)\ndraws"):
        table.add_column(column, justify="right")
    rows = [row for row in result.best_rows if row["endpoint"] == "utility"]
    ranked = sorted(rows, key=lambda row: -row["expected"])
    for row in ranked[:MOST_SHOWN]:
        table.add_row(
            Text(row["arm"]),
            _number_with_interval({**row, "value": row["expected"]}),
            f"{row['best_patients']:.2f}",
            f"{row['best_draws']:.2f}" if _has_draws(result) else "",
        )
    return table


def _information(result: Result) -> Iterable[RenderableType]:
    """What knowing the parameters would be worth."""
    rows = result.information_rows
    if not rows:
        return
    whole, *each = rows
    yield Text(
        f"value of perfect information on {whole['parameter']}: "
        f"{_number(whole['value'])} of utility"
    )
    ranked = sorted(each, key=lambda row: -row["value"])[:3]
    told = ", ".join(f"{row['parameter']} {_number(row['value'])}" for row in ranked)
    if told:
        yield Text(f"  on one alone, most: {told}")


def _of_steps(result: Result) -> Iterable[str]:
    """How the solutions can be trusted."""
    outcomes = result.outcomes
    failed = {name: n for name, n in outcomes.failed.items() if n}
    if failed:
        told = ", ".join(f"{name} {n}" for name, n in failed.items())
        yield f"could not be solved, and left out: persons in {told}"
    if outcomes.error_log10 > 0:
        more = f"; {outcomes.quick} of the persons took more steps than usual"
        yield (
            f"levels err by up to {outcomes.error_log10:.1g} log10 from the steps"
            f"{more if outcomes.quick else ''}"
        )
    if outcomes.unchecked:
        yield f"of {outcomes.unchecked} of them that error is not known"


def _has_draws(result: Result) -> bool:
    return result.outcomes.people.shape[0] > 1


def _interval(result: Result) -> str:
    if not _has_draws(result):
        return ""
    return f" (90% interval: {result.outcomes.people.uncertainty[0]})"


def _number_with_interval(row: Row) -> str:
    value = _number(row["value"])
    if not math.isfinite(row["low"]):
        return value
    return f"{value} ({_number(row['low'])} - {_number(row['high'])})"


def _number(value: float) -> str:
    """Three digits, thousands apart."""
    if not math.isfinite(value):
        return ""
    if abs(value) >= 1000:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"
