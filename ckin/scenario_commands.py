"""Commands about scenarios: list them, start one, run one.

Part of the command line: they parse, call and print.
"""

from pathlib import Path
from typing import Annotated

import typer

from ckin.errors import InputError
from ckin.terminal import end_by, explained, out, progress, say_unless_converged


commands = typer.Typer()


@commands.command()
def scenarios() -> None:
    """List the shipped scenarios: questions about schedules."""
    from ckin.scenario_listing import scenario_table

    with explained():
        out.print(scenario_table())


@commands.command()
def new_scenario(
    file: Annotated[Path, typer.Argument(help="The .toml file to write.")],
) -> None:
    """Write a scenario file to start from, with comments; it runs as it is."""
    from ckin.starting import write_starting_file

    with explained():
        write_starting_file("scenario.toml", file)
    out.print(
        f"written: {file}; run it: ckin compare {file} --out FOLDER", markup=False
    )


@commands.command()
def compare(
    scenario: Annotated[
        str, typer.Argument(help="Name (see `ckin scenarios`) or a .toml file.")
    ],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the comparison.")],
    fit: Annotated[
        Path | None,
        typer.Option(
            help="A fit folder, where the scenario asks for draws of a posterior."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Another seed than the scenario's.")
    ] = None,
    draws: Annotated[
        int | None, typer.Option(min=1, help="Another number of draws.")
    ] = None,
    patients: Annotated[
        int | None, typer.Option(min=1, help="Another number of virtual patients.")
    ] = None,
    sensitivity: Annotated[
        str | None,
        typer.Option(help="What moves the endpoints: tornado or sobol, over priors."),
    ] = None,
    force: Annotated[bool, typer.Option(help="Write over an earlier one.")] = False,
) -> None:
    """Compare schedules in the same virtual patients: tables, figures, intervals."""
    from ckin.library import scenario_path
    from ckin.scenario import read_scenario
    from ckin.scenario_listing import comparison
    from ckin.scenario_report import compare_to_folder, with_options

    with explained():
        check_out(out_dir, force)
        asked = with_options(
            read_scenario(scenario_path(scenario)),
            fit=fit,
            seed=seed,
            draws=draws,
            patients=patients,
        )
        with progress() as report:
            result = compare_to_folder(asked, out_dir, report, sensitivity)
    people = result.outcomes.people
    say_unless_converged(people.converged, people.reasons)
    out.print(comparison(result))
    out.print(f"written: {out_dir}", markup=False)
    end_by(people.converged)


def check_out(folder: Path, force: bool) -> None:
    """Refuse a folder for results that is a file, or holds others.

    Raises:
        InputError: for either.
    """
    if folder.is_file():
        raise InputError(f"--out {folder} is a file; give a folder")
    if (folder / "manifest.json").exists() and not force:
        raise InputError(
            f"{folder} holds earlier results; choose another --out, or add --force"
        )
