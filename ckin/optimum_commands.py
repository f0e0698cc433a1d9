"""Commands about the best schedule: start a question, answer one.

Part of the command line: they parse, call and print.
"""

from pathlib import Path
from typing import Annotated

import typer

from ckin.errors import InputError
from ckin.terminal import end_by, explained, out, progress, say_unless_converged


commands = typer.Typer()


@commands.command()
def new_question(
    file: Annotated[Path, typer.Argument(help="The .toml file to write.")],
) -> None:
    """Write a question about the best schedule, with comments; it runs as it is."""
    from ckin.starting import write_starting_file

    with explained():
        write_starting_file("question.toml", file)
    out.print(
        f"written: {file}; run it: ckin optimise {file} --out FOLDER", markup=False
    )


@commands.command()
def optimise(
    question: Annotated[
        Path, typer.Argument(help="A .toml file: `ckin new-question`.")
    ],
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the answer.")],
    fit: Annotated[
        Path | None,
        typer.Option(help="A fit folder, where the question is about a posterior."),
    ] = None,
    patient: Annotated[
        str | None,
        typer.Option(
            help="A data file with early samples of one patient: the best schedule "
            "for that patient. Samples after the first decision are passed over."
        ),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="Which patient of that file.")
    ] = None,
    pareto: Annotated[
        bool, typer.Option(help="Also the best schedule of smaller and larger budgets.")
    ] = False,
    grid: Annotated[
        bool, typer.Option(help="Also the best point of a grid, to compare with.")
    ] = True,
    people: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Another number of patients.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Another seed than the question's.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Write over an earlier one.")] = False,
) -> None:
    """The best days and doses under a budget, by gradient, beside a grid's best."""
    from ckin.dataset import read_dataset
    from ckin.library import dataset_path
    from ckin.optimum import read_inquiry
    from ckin.optimum_listing import optimum
    from ckin.optimum_report import optimise_to_folder, with_options
    from ckin.scenario_commands import check_out

    with explained():
        check_out(out_dir, force)
        asked = with_options(read_inquiry(question), fit=fit, seed=seed, people=people)
        if id is not None and patient is None:
            raise InputError(f"--id {id} is of a data file; name it: --patient FILE")
        data = None if patient is None else read_dataset(dataset_path(patient))
        with progress() as report:
            answer = optimise_to_folder(
                asked,
                out_dir,
                report,
                patient=data,
                wanted=id,
                grid=grid,
                # What the file asks for, it gets.
                front=pareto or bool(asked.shares),
            )
    whom = answer.whom.people
    say_unless_converged(whom.converged, whom.reasons)
    out.print(optimum(answer))
    out.print(f"written: {out_dir}", markup=False)
    end_by(whom.converged)
