"""Commands that look at fits: checks, scores, forecasts.

Part of the command line: they parse, call and print. The first line of each says so
where a fit did not converge, and the exit code is then 1.
"""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from ckin.options import Data, Limit, Map, Product, Unit, Where, read
from ckin.terminal import (
    end_by,
    explained,
    out,
    progress,
    say_synthetic,
    say_unless_converged,
)


commands = typer.Typer()

Folder = Annotated[Path, typer.Argument(help="A folder that `ckin fit` wrote.")]
Seed = Annotated[int, typer.Option(help="Of every random number.")]
Draws = Annotated[
    int, typer.Option(min=50, help="Draws of the posterior to look at, at most.")
]


def say_verdict(fits) -> None:
    """First of all, which of the fits did not converge."""
    for fit in fits:
        say_unless_converged(
            fit.converged,
            fit.reasons,
            what=str(fit.folder),
            then="do not use what follows",
        )
    say_synthetic(any(fit.manifest["synthetic_data"] for fit in fits))


def end(fits) -> None:
    """Exit code 1 where a fit did not converge."""
    end_by(all(fit.converged for fit in fits))


@commands.command()
def diagnose(
    folder: Folder,
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the checks; FOLDER/checks unless told."),
    ] = None,
    seed: Seed = 0,
    draws: Draws = 500,
    replicates: Annotated[
        int, typer.Option(min=100, help="Cohorts to simulate.")
    ] = 1000,
    bins: Annotated[
        int | None,
        typer.Option(min=1, help="Bins of the VPC; by the number of samples."),
    ] = None,
) -> None:
    """Check a fit: residuals, NPDE, VPC, η, priors; exit code 1 if not converged."""
    from ckin.diagnosis import diagnose as check
    from ckin.reopen import open_fit

    with explained():
        fit = open_fit(folder, draws)
        where = folder / "checks" if out_dir is None else out_dir
        with progress() as report:
            found = check(
                fit, where, seed=seed, replicates=replicates, bins=bins, report=report
            )
    say_verdict([fit])
    out.print(f"checks of {folder}: {fit.manifest['model']}", markup=False)
    for line in found.lines if fit.converged else found.lines[1 + len(fit.reasons) :]:
        out.print(f"  {line}", markup=False)
    out.print(f"written: {where}", markup=False)
    end([fit])


@commands.command()
def loo(
    folders: Annotated[
        list[Path], typer.Argument(help="Fit folders; several are compared.")
    ],
    by: Annotated[
        str,
        typer.Option(
            help="patient: each left out whole; reading: each given its patient's "
            "others; future: what comes after --day given what came before."
        ),
    ] = "patient",
    day: Annotated[
        float, typer.Option(help="With --by future: the last day that is known.")
    ] = 14.0,
    until: Annotated[
        float, typer.Option(help="With --by future: the last day to foresee.")
    ] = 90.0,
    seed: Seed = 0,
    draws: Draws = 1000,
    out_file: Annotated[
        Path | None, typer.Option("--out", help="CSV of every score to write.")
    ] = None,
) -> None:
    """Log scores of what is left out, and the weights of several models."""
    from ckin.reopen import open_fit
    from ckin.scoring import score

    with explained():
        fits = [open_fit(folder, draws) for folder in folders]
        with progress() as report:
            found = score(fits, by, day_d=day, until_d=until, seed=seed, report=report)
        if out_file is not None:
            found.write(out_file)
    say_verdict(fits)
    out.print(_comparison(found))
    for line in found.lines:
        out.print(line, markup=False)
    if out_file is not None:
        out.print(f"written: {out_file}", markup=False)
    end(fits)


def _comparison(found) -> Table:
    table = Table(title=found.title, title_justify="left")
    table.add_column("fit", no_wrap=True)
    for column in found.comparison.columns:
        table.add_column(str(column), justify="right")
    for name, row in found.comparison.iterrows():
        cells = [_cell(str(key), value) for key, value in row.items()]
        table.add_row(escape(str(name)), *cells)
    return table


def _cell(column: str, value: float | bool) -> str:
    if column == "converged":
        return "yes" if value else "NO"
    if column in ("k-hat > 0.7", "left out", "anew"):
        return f"{value:.0f}"
    return f"{value:.2f}" if column != "inside 90%" else f"{value:.0%}"


@commands.command("hold-out")
def hold_out(
    folder: Folder,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder of what is found.")],
    share: Annotated[
        float, typer.Option(help="Of each patient's samples, the last ones, to hide.")
    ] = 0.2,
    against: Annotated[
        list[str],
        typer.Option(
            help="pooled: everyone the same patient; alone: each by the priors alone. "
            "Repeatable; both unless told."
        ),
    ] = [],
    seed: Seed = 0,
    draws: Draws = 1000,
) -> None:
    """Hide each patient's last samples, fit again, foresee them; beside naive fits."""
    from ckin.holdout import RIVALS
    from ckin.holdout import hold_out as hide
    from ckin.reopen import open_fit

    with explained():
        fit = open_fit(folder, draws)
        with progress() as report:
            found = hide(
                fit,
                out_dir,
                share=share,
                against=against or tuple(RIVALS),
                draws=draws,
                seed=seed,
                report=report,
            )
    say_unless_converged(found.converged, what="A FIT", then="see below")
    say_synthetic(fit.manifest["synthetic_data"])
    out.print(_comparison(found))
    for line in found.lines:
        out.print(line, markup=False)
    out.print(f"written: {out_dir}", markup=False)
    end_by(found.converged)


@commands.command()
def forecast(
    folder: Folder,
    data: Data,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder of the forecast.")],
    until: Annotated[float, typer.Option(help="The last day to foresee.")] = 90.0,
    day: Annotated[
        float | None,
        typer.Option(help="Use readings until this day alone; all unless told."),
    ] = None,
    seed: Seed = 0,
    draws: Draws = 100,
    map: Map = [],
    where: Where = [],
    limit: Limit = [],
    unit: Unit = [],
    product: Product = [],
) -> None:
    """What new patients with few early samples will read, from a fit."""
    from ckin.forecast import LEAST_ESS
    from ckin.forecast import forecast as foresee
    from ckin.reopen import open_fit

    with explained():
        fit = open_fit(folder, draws)
        dataset = read(data, map, where, limit, unit, product)
        with progress() as report:
            found = foresee(
                fit,
                dataset,
                out_dir,
                until_d=until,
                day_d=float("inf") if day is None else day,
                seed=seed,
                report=report,
            )
    say_verdict([fit])
    say_synthetic(dataset.synthetic and not fit.manifest["synthetic_data"])
    table = Table(
        title=f"{fit.manifest['model']}: {len(found)} patients foreseen until day "
        f"{until:g}",
        title_justify="left",
    )
    for column in ("patient", "readings used", "draws worth", "seconds"):
        table.add_column(column, justify="left" if column == "patient" else "right")
    for own in found:
        few = "  too few" if own.ess < LEAST_ESS else ""
        cells = (f"{own.known}", f"{own.ess:.0f}{few}", f"{own.seconds:.2f}")
        table.add_row(escape(own.id), *cells)
    out.print(table)
    out.print("seconds of the first patient are those of compiling", markup=False)
    out.print(f"written: {out_dir}", markup=False)
    end([fit])
