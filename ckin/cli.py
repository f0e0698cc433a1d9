"""The command line. A leaf: it parses, calls, prints and sets the exit code.

Exit codes: 0 done; 1 ran but did not converge (says what and why); 2 bad input (says
where, what was found and what was expected). A user's mistake never shows a traceback.
"""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ckin import (
    calibration_commands,
    check_commands,
    design_commands,
    filing,
    laboratory,
    library_commands,
    optimum_commands,
    runtime,
    scenario_commands,
    schedule_commands,
)
from ckin.errors import InputError
from ckin.fit_table import print_fit, say_resumed, told_how_to_resume
from ckin.options import (
    Chains,
    Data,
    Draws,
    Estimate,
    Horizon,
    Limit,
    Map,
    Model,
    Product,
    Protocol,
    Set,
    Unit,
    Vary,
    Warmup,
    WatchedAssay,
    WatchedExamined,
    WatchedLimit,
    Where,
    read,
    values_of,
    watched,
)
from ckin.terminal import (
    INTERRUPTED,
    NOT_CONVERGED,
    err,
    explained,
    out,
    progress,
    say_notes,
    say_synthetic,
)


app = typer.Typer(
    name="ckin",
    help="Expansion and persistence of CAR-T cells in patients.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(library_commands.commands)
app.add_typer(laboratory.commands)
app.add_typer(filing.commands)
app.add_typer(design_commands.commands)
app.add_typer(check_commands.commands)
app.add_typer(calibration_commands.commands)
app.add_typer(scenario_commands.commands)
app.add_typer(schedule_commands.commands)
app.add_typer(optimum_commands.commands)


@app.command()
def check(
    data: Data,
    map: Map = [],
    where: Where = [],
    limit: Limit = [],
    unit: Unit = [],
    product: Product = [],
    save_map: Annotated[
        bool,
        typer.Option(
            "--save-map", help="Keep the options beside the data, in FILE.toml."
        ),
    ] = False,
) -> None:
    """Read a data file and say what is in it; every fault with its row."""
    from ckin.dataset import ColumnMap, save_column_map

    with explained():
        dataset = read(data, map, where, limit, unit, product)
        if save_map:
            given = ColumnMap.from_options(
                map=map, where=where, limit=limit, unit=unit, product=product
            )
            saved = save_column_map(Path(dataset.path), given)
    _print_disposition(dataset)
    if save_map:
        out.print(f"written: {saved}; it is read with the data", markup=False)


def _print_disposition(dataset) -> None:
    from ckin.dataset import disposition

    say_synthetic(dataset.synthetic)
    groups = disposition(dataset)
    table = Table(title=f"Disposition of {dataset.path}", title_justify="left")
    table.add_column("")
    for group in groups:
        table.add_column(str(group["group"]), justify="right")
    for key in groups[0]:
        if key != "group":
            table.add_row(key, *(_cell(group.get(key, "")) for group in groups))
    out.print(table)
    say_notes(dataset.notes)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@app.command()
def metrics(
    data: Annotated[str, typer.Argument(help="Data file, bundled set, or fit folder.")],
    out_file: Annotated[
        Path | None, typer.Option("--out", help="CSV to write.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Covariate to compare, or cycle.")
    ] = None,
    blq: Annotated[str, typer.Option(help="pknca, M1, M5, M6 or M7.")] = "pknca",
    assay: Annotated[str | None, typer.Option(help="qpcr unless told.")] = None,
    map: Map = [],
    where: Where = [],
    limit: Limit = [],
    unit: Unit = [],
    product: Product = [],
) -> None:
    """Cmax, AUC, half-lives, persistence: of a data file or of a fit's posterior."""
    from ckin.courses import tabulate
    from ckin.dataset import ColumnMap
    from ckin.listing import listing

    with explained():
        columns = ColumnMap.from_options(
            map=map, where=where, limit=limit, unit=unit, product=product
        )
        found = tabulate(data, columns, assay=assay, by=by, blq=blq)
        out.print(listing(found))
        if out_file is not None:
            found.write(out_file)
            out.print(f"written: {out_file}", markup=False)


@app.command()
def simulate(
    model: Model,
    protocol: Protocol,
    out_file: Annotated[
        Path,
        typer.Option(
            "--out",
            help=".csv or .parquet: a data file with limits and error; or .nc: "
            "error-free readings of any number of patients, streamed to disk.",
        ),
    ],
    n: Annotated[int, typer.Option(min=1, help="Virtual patients.")] = 100,
    seed: Annotated[int, typer.Option(help="Of every random number.")] = 0,
    set: Set = [],
    horizon: Horizon = None,
    assay: WatchedAssay = [],
    limit: WatchedLimit = [],
    examined: WatchedExamined = [],
) -> None:
    """Simulate virtual patients under a protocol, as a data file."""
    from ckin.simulation import simulate_to_file, simulate_to_netcdf

    with explained(), progress() as report:
        _check_writable(out_file.parent)
        streamed = out_file.suffix == ".nc"
        simulated = (simulate_to_netcdf if streamed else simulate_to_file)(
            out_file,
            model=model,
            protocol=protocol,
            n=n,
            seed=seed,
            values=values_of(set),
            horizon_d=horizon,
            watch=watched(assay, limit, examined),
            report=report,
        )
    say_synthetic(True)
    for line in simulated.lines:
        out.print(line, markup=False)


def _check_writable(folder: Path) -> None:
    if folder.exists() and not os.access(folder, os.W_OK):
        raise InputError(f"{folder} is not writable; choose another --out")


@app.command()
def fit(
    data: Data,
    model: Model,
    out_dir: Annotated[Path, typer.Option("--out", help="Folder for the fit.")],
    method: Annotated[
        str,
        typer.Option(
            help="auto (map, weighted, where that serves, or nuts), nuts, many (many "
            "short chains), map (quick, approximate), or laplace (ml): maximum "
            "likelihood with SE, OFV, AIC, BIC."
        ),
    ] = "auto",
    chains: Chains = None,
    warmup: Warmup = None,
    draws: Draws = None,
    seed: Annotated[int, typer.Option()] = 0,
    map: Map = [],
    where: Where = [],
    limit: Limit = [],
    unit: Unit = [],
    product: Product = [],
    cycles: Annotated[
        int | None, typer.Option(min=1, help="Fit only the first so many cycles.")
    ] = None,
    assay: Annotated[
        list[str],
        typer.Option(
            help="Assay to fit, qpcr or the model's own unless told; NAME=QUANTITY for "
            "one of yours. Repeatable: all at once."
        ),
    ] = [],
    target: Annotated[
        str, typer.Option(help="What the qPCR amplifies: car, or backbone (FTC too).")
    ] = "car",
    error: Annotated[
        list[str],
        typer.Option(
            help="LAW or ASSAY=LAW: normal or student_t, of the log; additive, "
            "proportional or combined, of the reading; counts or partitions, of what "
            "was EXAMINED. Repeatable."
        ),
    ] = [],
    sigma: Annotated[
        list[str],
        typer.Option(
            help="ASSAY=MEDIAN[:SD_LOG]: prior of an error's size; add_ASSAY=... of "
            "the additive part of a combined one. Repeatable."
        ),
    ] = [],
    estimate: Estimate = [],
    vary: Vary = [],
    covariate: Annotated[
        list[str],
        typer.Option(
            help="PARAMETER~COLUMN (power), ~COLUMN@CENTER, ~exp(COLUMN), "
            "~linear(COLUMN) or ~COLUMN=LEVEL; centred at the median. Repeatable."
        ),
    ] = [],
    screen: Annotated[
        bool, typer.Option(help="Horseshoe prior: few of the covariates act.")
    ] = False,
    correlate: Annotated[
        list[str],
        typer.Option(
            help="A,B[,C]: parameters correlated between patients. Repeatable."
        ),
    ] = [],
    eta: Annotated[
        str, typer.Option(help="How patients differ: normal, or student_t (4 df).")
    ] = "normal",
    iov: Annotated[
        list[str],
        typer.Option(help="Parameter that differs between cycles too. Repeatable."),
    ] = [],
    omega_reading: Annotated[
        str | None,
        typer.Option(help="Reading of the source's spreads, where it is open."),
    ] = None,
    from_day: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Leave out samples before this day after the first infusion. "
            "Default: what the model describes.",
        ),
    ] = None,
    grid_error: Annotated[
        float,
        typer.Option(
            help="Error that the fixed steps may make, log10 units of a reading. "
            "Make it smaller when the fit says so."
        ),
    ] = 1e-3,
    wells: Annotated[
        Path | None,
        typer.Option(
            help="Raw Ct of qPCR plates (docs/ct.md): the qPCR is fitted from its "
            "wells and standards, and DATA has the rest."
        ),
    ] = None,
    profile: Annotated[
        list[str],
        typer.Option(
            help="Parameter whose profile likelihood is wanted, or all; with --method "
            "laplace. Repeatable."
        ),
    ] = [],
    set: Set = [],
    force: Annotated[bool, typer.Option(help="Write over an earlier fit.")] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with a fit that was interrupted: the same draws, bit for bit. "
            "Of a finished one, more --draws.",
        ),
    ] = False,
) -> None:
    """Fit a population to curves of assays; exit code 1 if it did not converge."""
    from ckin.analysis import Analysis, run_fit
    from ckin.ct import read_wells, with_wells

    with explained():
        _check_out_dir(out_dir, force, resume)
        dataset = read(data, map, where, limit, unit, product)
        if wells is not None:
            dataset = with_wells(dataset, read_wells(wells))
        if cycles is not None:
            dataset = dataset.first_cycles(cycles)
        analysis = Analysis(
            model=model,
            method=method,
            chains=chains,
            warmup=warmup,
            draws=draws,
            seed=seed,
            assays=tuple(assay),
            target=target,
            errors=tuple(error),
            sigmas=tuple(sigma),
            estimate=tuple(estimate),
            vary=tuple(vary),
            covariates=tuple(covariate),
            screen=screen,
            correlate=tuple(correlate),
            eta=eta,
            iov=tuple(iov),
            omega_reading=omega_reading,
            from_day=from_day,
            values=values_of(set),
            grid_error=grid_error,
            profiles=tuple(profile),
        )
        with told_how_to_resume(out_dir), progress() as report:
            result = run_fit(dataset, analysis, out_dir, report, resume=resume)
    if resume:
        say_resumed(result.manifest["checkpoint"])
    print_fit(result, out_dir)
    if not result.verdict.converged:
        raise typer.Exit(NOT_CONVERGED)


def _check_out_dir(folder: Path, force: bool, resume: bool) -> None:
    from ckin.analysis import CHECKPOINT
    from ckin.inference import is_begun

    if folder.is_file():
        raise InputError(f"--out {folder} is a file; give a folder")
    if force and resume:
        raise InputError("--force starts anew and --resume goes on: give one of them")
    if (folder / "manifest.json").exists() and not (force or resume):
        raise InputError(
            f"{folder} holds an earlier fit; choose another --out, or add --force"
        )
    if is_begun(folder / CHECKPOINT) and not (force or resume):
        raise InputError(
            f"{folder} holds a fit that was interrupted: go on with --resume, or start "
            "anew with --force"
        )
    _check_writable(folder if folder.exists() else folder.parent)


@app.command()
def demo(
    out_dir: Annotated[Path, typer.Option("--out")] = Path("ckin-demo"),
) -> None:
    """All of it on the bundled synthetic cohort, in a few minutes."""
    from ckin.demo import run_demo

    with explained():
        _check_writable(out_dir if out_dir.exists() else out_dir.parent)
        with progress() as report:
            results = run_demo(out_dir, report)
    for folder, result in results.fits.items():
        out.print()
        print_fit(result, folder)
    out.print()
    for line in results.lines:
        out.print(line, markup=False)
    if not all(result.verdict.converged for result in results.fits.values()):
        raise typer.Exit(NOT_CONVERGED)


def main() -> None:
    """Entry point of the `ckin` command."""
    runtime.prepare()
    try:
        app()
    except KeyboardInterrupt:
        err.print("interrupted; nothing was written")
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
