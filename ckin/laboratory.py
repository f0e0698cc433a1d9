"""Commands about the laboratory's side: units of a reading, wells of a qPCR plate.

Part of the command line: they parse, call and print.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ckin.conversion import (
    Assumption,
    Assumptions,
    assumptions_between,
    convert,
    rung,
    unused,
)
from ckin.errors import InputError
from ckin.terminal import explained, out, say_notes, say_synthetic


commands = typer.Typer()
DEFAULTS = Assumptions()


@commands.command(name="convert")
def convert_command(
    values: Annotated[list[float], typer.Argument(help="Numbers to convert.")],
    source: Annotated[
        str, typer.Option("--from", help="copies/ug, cells/uL, cells, cells-in-body.")
    ],
    target: Annotated[str, typer.Option("--to", help="One of the same.")],
    vcn: Annotated[
        float | None, typer.Option(help="Vector copies per CAR-T cell.")
    ] = None,
    wbc: Annotated[
        float | None, typer.Option(help="Nucleated cells per uL, CAR-T included.")
    ] = None,
    weight: Annotated[float | None, typer.Option(help="Body weight, kg.")] = None,
    blood_share: Annotated[
        float | None,
        typer.Option(help="Share of the body's CAR-T that are in the blood."),
    ] = None,
    cells_per_ug: Annotated[
        float, typer.Option(help="Nucleated cells per ug of DNA.")
    ] = DEFAULTS.cells_per_ug or 0.0,
    blood_ml_per_kg: Annotated[
        float, typer.Option(help="Blood volume, mL per kg.")
    ] = DEFAULTS.blood_ml_per_kg or 0.0,
) -> None:
    """Convert copies/ug DNA, cells/uL and cells; every assumption is printed."""
    given = Assumptions(vcn, wbc, weight, blood_share, cells_per_ug, blood_ml_per_kg)
    with explained():
        source, target = rung(source), rung(target)
        if source == target:
            raise InputError(f"--from and --to are both {source}: nothing to convert")
        converted = [convert(value, source, target, given) for value in values]
    for value, number in zip(values, converted, strict=True):
        out.print(f"{value:.6g} {source} = {number:.6g} {target}", markup=False)
    needed = assumptions_between(source, target)
    out.print(_assumed(needed, given))
    say_notes(
        f"{option} is not used by this conversion" for option in unused(needed, given)
    )


def _assumed(needed: tuple[Assumption, ...], given: Assumptions) -> Table:
    table = Table(title="Assumptions", title_justify="left")
    table.add_column("option", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    for column in ("unit", "stated", "what, and where from"):
        table.add_column(column)
    for entry in needed:
        value = entry.of(given)
        stated = "default" if value == entry.default else "given"
        table.add_row(entry.option, f"{value:,g}", entry.unit, stated, entry.source)
    return table


@commands.command()
def ct(
    wells: Annotated[Path, typer.Argument(help="CSV file of wells, see docs/ct.md.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="CSV to write: readings as data rows.")
    ] = None,
    map: Annotated[
        list[str],
        typer.Option(help="COL=NAME: read column COL as NAME, or IGNORE. Repeatable."),
    ] = [],
) -> None:
    """Standard curves, quality and readings of raw Ct from qPCR plates."""
    from ckin.ct import quality, read_samples, read_wells, write_observations

    with explained():
        data = read_wells(wells, map)
        readings = read_samples(data)
        checks = quality(data)
        repeated = 0
        if out_file is not None:
            repeated = write_observations(data, readings, out_file)
    say_synthetic(data.synthetic)
    out.print(_verdict(checks), style="bold")
    out.print(_curves(data))
    out.print(_checks(checks))
    out.print(_read(readings), markup=False)
    say_notes(data.notes)
    if repeated:
        out.print(f"note: rows the same as another, written once: {repeated}")
    if out_file is not None:
        out.print(f"written: {out_file}", markup=False)


def _verdict(checks: tuple) -> str:
    failed = sum(check.passed is False for check in checks)
    if failed:
        return f"QUALITY: {failed} of {len(checks)} checks failed"
    return f"quality: {len(checks)} checks, none failed"


def _curves(data) -> Table:
    from ckin.ct import standard_curve

    table = Table(
        title="Standard curves: Ct = intercept + slope log10(copies)",
        title_justify="left",
    )
    table.add_column("plate", overflow="fold")
    for column in (
        "slope (SE)",
        "intercept (SE)",
        "efficiency (SE)",
        "R2",
        "resid. SD",
    ):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("wells", justify="right")
    table.add_column("copies", justify="right")
    for plate in data.plates:
        if not plate.standards:
            continue
        curve = standard_curve(plate)
        silent = f" (+{curve.undetermined} no Ct)" if curve.undetermined else ""
        table.add_row(
            plate.name,
            f"{curve.slope:.3f} ({curve.slope_se:.3f})",
            f"{curve.intercept:.2f} ({curve.intercept_se:.2f})",
            f"{curve.efficiency:.1%} ({curve.efficiency_se:.1%})",
            f"{curve.r2:.4f}",
            f"{curve.residual_sd:.3f}",
            f"{curve.wells}{silent}",
            f"{curve.lowest:g} to {curve.highest:g}",
        )
    return table


def _checks(checks: tuple) -> Table:
    table = Table(title="Quality", title_justify="left")
    table.add_column("plate", overflow="fold")
    table.add_column("check", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("found", overflow="fold")
    table.add_column("expected", overflow="fold")
    words = {True: "pass", False: "[bold red]FAIL[/bold red]", None: "-"}
    for check in checks:
        shown = (escape(text) for text in (check.plate, check.what))
        found = (escape(text) for text in (check.value, check.expected))
        table.add_row(*shown, words[check.passed], *found)
    return table


def _read(readings: tuple) -> str:
    from ckin.dataset.records import counted

    below = sum(reading.below for reading in readings)
    mixed = sum(
        0 < len(reading.sample.amplified) < len(reading.sample.cts)
        for reading in readings
    )
    patients = {reading.sample.patient for reading in readings}
    return (
        f"{counted(len(readings), 'sample')} of {counted(len(patients), 'patient')}: "
        f"{below} below their detection limit (CENS 1), {mixed} with some wells that "
        "did not amplify (counted as 0 copies)"
    )
