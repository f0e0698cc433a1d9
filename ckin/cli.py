"""The command line. A leaf: it parses, calls, prints and sets the exit code.

Exit codes: 0 done; 1 ran but did not converge (says what and why); 2 bad input (says
where, what was found and what was expected). A user's mistake never shows a traceback.
"""

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
    fit_command,
    laboratory,
    library_commands,
    optimum_commands,
    runtime,
    scenario_commands,
    schedule_commands,
)
from ckin.fit_table import print_fit
from ckin.options import (
    Data,
    Error,
    Horizon,
    Limit,
    Map,
    Model,
    Product,
    Protocol,
    Set,
    Sigma,
    Unit,
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
    end_by,
    err,
    explained,
    out,
    progress,
    say_notes,
    say_synthetic,
    say_unless_converged,
)
from ckin.writing import check_writable


app = typer.Typer(
    name="ckin",
    help="Expansion and persistence of CAR-T cells in patients.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.add_typer(fit_command.commands)
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
    end_by(found.converged)


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
    error: Error = [],
    sigma: Sigma = [],
) -> None:
    """Simulate virtual patients under a protocol, as a data file."""
    from ckin.simulation import simulate_to_file, simulate_to_netcdf

    with explained(), progress() as report:
        check_writable(out_file.parent)
        streamed = out_file.suffix == ".nc"
        simulated = (simulate_to_netcdf if streamed else simulate_to_file)(
            out_file,
            model=model,
            protocol=protocol,
            n=n,
            seed=seed,
            values=values_of(set),
            horizon_d=horizon,
            watch=watched(assay, limit, examined, error, sigma),
            report=report,
        )
    say_synthetic(True)
    for line in simulated.lines:
        out.print(line, markup=False)


@app.command()
def demo(
    out_dir: Annotated[Path, typer.Option("--out")] = Path("ckin-demo"),
) -> None:
    """All of it on the bundled synthetic cohort, in a few minutes."""
    from ckin.demo import run_demo

    with explained():
        check_writable(out_dir if out_dir.exists() else out_dir.parent)
        with progress() as report:
            results = run_demo(out_dir, report)
    converged = all(result.verdict.converged for result in results.fits.values())
    say_unless_converged(converged, what="A FIT", then="see below")
    for folder, result in results.fits.items():
        out.print()
        print_fit(result, folder)
    out.print()
    for line in results.lines:
        out.print(line, markup=False)
    end_by(converged)


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
