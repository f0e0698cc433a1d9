"""Commands about what can be named: models and protocols, shipped or of one's own.

Part of the command line: they parse, call and print.
"""

from pathlib import Path
from typing import Annotated

import typer

from ckin.errors import InputError
from ckin.terminal import explained, out


commands = typer.Typer()


@commands.command()
def models(
    name: Annotated[str | None, typer.Argument(help="Show this model's card.")] = None,
    out_file: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Write the card too, .md or .tex; or draw a course, .png or .svg.",
        ),
    ] = None,
) -> None:
    """List the models, or show the card of one."""
    from ckin.card import card, model_listing
    from ckin.card_forms import listing_on_terminal, on_terminal, write_card
    from ckin.plot import FIGURES
    from ckin.typical import draw_typical_course

    with explained():
        if name is None:
            if out_file is not None:
                raise InputError("--out writes the card of a model: name one")
            out.print(listing_on_terminal(model_listing()))
            return
        found = card(name)
        if out_file is not None and out_file.suffix.lower() in FIGURES:
            draw_typical_course(name, out_file)
        elif out_file is not None:
            write_card(found, out_file)
        out.print(on_terminal(found))
    if out_file is not None:
        out.print(f"written: {out_file}", markup=False)


@commands.command()
def protocols(
    name: Annotated[
        str | None,
        typer.Argument(help="Show this one: a name, a .toml file or FILE.toml:ARM."),
    ] = None,
    out_file: Annotated[
        Path | None,
        typer.Option("--out", help="Draw the calendar too: a .png or .svg file."),
    ] = None,
) -> None:
    """List the protocols, or show the dose calendar of one."""
    from ckin.calendar import draw_calendar, protocol_card, protocol_table

    with explained():
        if out_file is not None:
            draw_calendar(name, out_file)
        out.print(protocol_table() if name is None else protocol_card(name))
    if out_file is not None:
        out.print(f"written: {out_file}", markup=False)


@commands.command()
def new_protocol(
    file: Annotated[Path, typer.Argument(help="The .toml file to write.")],
) -> None:
    """Write a protocol file to start from, with comments; it runs as it is."""
    from ckin.starting import write_starting_file

    with explained():
        write_starting_file("protocol.toml", file)
    out.print(f"written: {file}; see it: ckin protocols {file}", markup=False)


@commands.command()
def new_model(
    file: Annotated[Path, typer.Argument(help="The .py file to write.")],
) -> None:
    """Write a model file to start from, with comments; it runs as it is."""
    from ckin.starting import write_starting_file

    with explained():
        write_starting_file("model.py", file)
    out.print(f"written: {file}; see it: ckin models {file}", markup=False)


@commands.command()
def import_sbml(
    file: Annotated[Path, typer.Argument(help="The SBML file.")],
    out_file: Annotated[Path, typer.Option("--out", help="The .py file to write.")],
    receives: Annotated[
        list[str],
        typer.Option(help="PRODUCT=SPECIES: what a product enters. Repeatable."),
    ] = [],
    time_unit: Annotated[
        str | None, typer.Option(help="Unit of time, where the file says none.")
    ] = None,
) -> None:
    """Write a model file of an SBML file, to read, run and go on with."""
    from ckin.sbml import import_sbml

    with explained():
        read = import_sbml(file, out_file, receives=receives, time_unit=time_unit)
    out.print(
        f"{len(read.species)} species, {len(read.reactions)} reactions, "
        f"{len(read.constants)} constants; time in units of a {read.time_unit}\n"
        f"written: {out_file}; see it: ckin models {out_file}",
        markup=False,
    )
