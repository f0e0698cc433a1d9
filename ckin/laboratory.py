"""Commands about the laboratory's side: units of a reading.

Part of the command line: they parse, call and print.
"""

from typing import Annotated

import typer
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
from ckin.terminal import explained, out


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
    for option in unused(needed, given):
        out.print(f"note: {option} is not used by this conversion", markup=False)


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
