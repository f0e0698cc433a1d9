"""Metrics as the command line prints them: tables of groups, and what is missing."""

import math

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ckin.courses import GroupTable, Tabulation
from ckin.metrics import GroupRow
from ckin.terminal import SYNTHETIC


# An end that was not reached.
NOT_REACHED = "n.r."


def listing(tabulation: Tabulation) -> Group:
    """Warnings, then a table for each material and cycle, then how it was made."""
    parts: list[Text | Table] = []
    if tabulation.warning:
        parts.append(Text(tabulation.warning, style="bold red"))
    if tabulation.synthetic:
        parts.append(Text(SYNTHETIC, style="bold"))
    for table in tabulation.tables:
        parts += [_table(table, tabulation.source), *_legend(table), *_missing(table)]
        parts.append(Text())
    parts += [Text(f"note: {note}") for note in tabulation.notes]
    return Group(*parts)


def _table(table: GroupTable, source: str) -> Table:
    units = f"levels in {table.unit}, times in days"
    title = f"{table.title}: metrics of {source} ({units})"
    shown = Table(title=title, title_justify="left")
    compared = bool(table.reference)
    shown.add_column("metric", no_wrap=True)
    if compared:
        shown.add_column("group", overflow="fold")
    columns = ("n", "geo. mean (CV%)", "median", "range")
    for column in (*columns, *(["ratio (90% CI)"] if compared else [])):
        shown.add_column(column, justify="right", no_wrap=True)
    before = ""
    for row in table.rows:
        shown.add_row(
            row.code if row.code != before else "",
            *([row.group] if compared else []),
            f"{row.n}/{row.total}",
            _mean(row),
            _median(row),
            _between(row.lowest, row.highest),
            *([_ratio(row, table.reference)] if compared else []),
        )
        before = row.code
    return shown


def _legend(table: GroupTable) -> list[Text]:
    lines = [
        "n: patients with a value (PERSIST: whose end is known), of all",
        "geo. mean and range: of values alone; median: intervals and levels below the "
        "limit take part; n.r.: not reached",
    ]
    if table.reference:
        paired = ", within patients" if table.reference.startswith("cycle") else ""
        lines.append(f"ratio: of geometric means, to {table.reference}{paired}")
    return [Text(line, style="dim") for line in lines]


def _missing(table: GroupTable) -> list[Text]:
    """Why patients have no value, metric by metric; the same reasons told once."""
    told: dict[tuple[str, str], list[str]] = {}
    for row in table.rows:
        if not row.reasons:
            continue
        reasons = sorted(row.reasons.items(), key=lambda entry: -entry[1])
        text = "; ".join(f"{count} {reason}" for reason, count in reasons)
        group = f" ({row.group})" if table.reference else ""
        verb = "end of" if row.code == "PERSIST" else "no value of"
        told.setdefault((verb, f"{text}{group}"), []).append(row.code)
    return [
        Text(f"{verb} {', '.join(codes)}: {text}")
        for (verb, text), codes in told.items()
    ]


def _mean(row: GroupRow) -> str:
    if row.mean is None:
        return ""
    return _number(row.mean) + ("" if row.cv_pct is None else f" ({row.cv_pct:.0f})")


def _median(row: GroupRow) -> str:
    if row.median is None:
        return ""
    low, high = row.median
    if low == 0.0 < high < math.inf:
        return f"<{_number(high)}"
    return _number(low) if _number(low) == _number(high) else _between(low, high)


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None else f"{_number(low)} - {_number(high)}"


def _ratio(row: GroupRow, reference: str) -> str:
    if row.ratio is None:
        is_first = row.group == reference and row.mean is not None
        return "reference" if is_first else ""
    if row.ratio_interval is None:
        return f"{row.ratio:.2f}"
    low, high = row.ratio_interval
    return f"{row.ratio:.2f} ({low:.2f} - {high:.2f})"


def _number(value: float | None) -> str:
    """Three digits, thousands apart; as one reads a level in a paper."""
    if value is None:
        return ""
    if math.isinf(value):
        return NOT_REACHED
    if abs(value) >= 1000:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"
