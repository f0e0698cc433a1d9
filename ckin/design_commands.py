"""The command about a trial that is yet to be run.

Part of the command line: it parses, calls and prints.
"""

from pathlib import Path
from typing import Annotated

import typer

from ckin.errors import InputError
from ckin.options import Estimate, Model, Protocol, values_of
from ckin.terminal import explained, out, progress


commands = typer.Typer()


@commands.command()
def identify(
    model: Model,
    protocol: Protocol,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the report.")],
    n: Annotated[int, typer.Option(min=1, help="Patients.")] = 34,
    seed: Annotated[int, typer.Option(help="Of virtual patients.")] = 0,
    assay: Annotated[
        list[str], typer.Option(help="Assay that is read, qpcr unless told.")
    ] = [],
    estimate: Estimate = [],
    set: Annotated[
        list[str], typer.Option(help="NAME=VALUE or LAW=FORM of the model as it is.")
    ] = [],
    law: Annotated[
        list[str],
        typer.Option(
            help="LAW=FORM[,NAME=VALUE...]: tell this from the model as it is; every "
            "form of every law unless told. Repeatable."
        ),
    ] = [],
    wanted: Annotated[
        list[str],
        typer.Option("--for", help="Parameter that sampling days are chosen for."),
    ] = [],
    samples: Annotated[
        int | None,
        typer.Option(min=1, help="Samples of a patient; as many as usual unless told."),
    ] = None,
) -> None:
    """What a trial can tell: parameters, laws told apart, sampling days."""
    from ckin.foreseen import foresee
    from ckin.identify import Alternative, Question, identify
    from ckin.identify_report import on_terminal, write_answer

    with explained():
        if (out_dir / "report.md").exists():
            raise InputError(f"{out_dir} holds an earlier report; choose another --out")
        alternatives = tuple(
            Alternative(text, values_of(text.split(","), "--law")) for text in law
        )
        question = Question(
            model=model,
            protocol=protocol,
            n=n,
            seed=seed,
            assays=tuple(assay) or ("qpcr",),
            estimate=tuple(estimate) or None,
            values=values_of(set),
            alternatives=alternatives or None,
            wanted=tuple(wanted),
            samples=samples,
        )
        with progress() as report:
            answer = identify(question, report)
            foreseen = foresee(question, answer.alternatives, report=report)
        written = write_answer(answer, out_dir, foreseen)
    out.print(on_terminal(answer, foreseen))
    out.print(
        f"written: {out_dir} ({', '.join(p.name for p in written)})", markup=False
    )
