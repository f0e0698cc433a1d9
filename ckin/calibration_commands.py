"""The command about whether fits can be trusted: simulation-based calibration.

Part of the command line: it parses, calls and prints.
"""

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from ckin.errors import InputError
from ckin.options import (
    Correlate,
    Error,
    Estimate,
    Eta,
    Horizon,
    Iov,
    Model,
    Protocol,
    Set,
    Sigma,
    Vary,
    WatchedAssay,
    WatchedExamined,
    WatchedLimit,
    values_of,
    watched,
)
from ckin.terminal import INTERRUPTED, err, explained, out, progress


commands = typer.Typer()

NOT_CALIBRATED = 1


@commands.command()
def calibrate(
    model: Model,
    protocol: Protocol,
    out_dir: Annotated[
        Path,
        typer.Option("--out", help="Folder; the same command goes on with what is in."),
    ],
    replicates: Annotated[
        int, typer.Option(min=20, help="Cohorts in all; more go on.")
    ] = 200,
    patients: Annotated[int, typer.Option(min=1, help="Of each cohort.")] = 8,
    horizon: Horizon = None,
    assay: WatchedAssay = [],
    limit: WatchedLimit = [],
    examined: WatchedExamined = [],
    error: Error = [],
    sigma: Sigma = [],
    estimate: Estimate = [],
    vary: Vary = [],
    correlate: Correlate = [],
    eta: Eta = "normal",
    iov: Iov = [],
    set: Set = [],
    method: Annotated[str, typer.Option(help="Of the fits; see `ckin fit`.")] = "nuts",
    chains: Annotated[int, typer.Option(min=1)] = 4,
    warmup: Annotated[int, typer.Option(min=1)] = 300,
    draws: Annotated[int, typer.Option(min=25, help="Of each chain.")] = 250,
    seed: Annotated[int, typer.Option()] = 0,
    dask: Annotated[
        str | None,
        typer.Option(
            help="Run on a Dask cluster: the address of its scheduler, or `local` for "
            "a process on every core of this machine."
        ),
    ] = None,
    force: Annotated[bool, typer.Option(help="Forget what is in the folder.")] = False,
) -> None:
    """Are fits calibrated? Cohorts from the prior, fitted; exit code 1 if not."""
    from ckin.calibration import LABEL, Design, calibrate
    from ckin.calibration_report import write_report
    from ckin.inference import METHODS

    with explained():
        if method not in METHODS:
            raise InputError(f"--method {method}: choose {', '.join(METHODS)}")
        design = Design(
            model=model,
            protocol=protocol,
            patients=patients,
            watch=watched(assay, limit, examined, error, sigma),
            horizon_d=horizon,
            estimate=tuple(estimate),
            vary=tuple(vary),
            correlate=tuple(correlate),
            eta=eta,
            iov=tuple(iov),
            values=values_of(set),
            method=method,
            chains=chains,
            warmup=warmup,
            draws=draws,
            seed=seed,
        )
        try:
            with contextlib.ExitStack() as open_things:
                run = None
                if dask is not None:
                    from ckin.cluster import dask_runs

                    address = "" if dask == "local" else dask
                    run = open_things.enter_context(dask_runs(address))
                report = open_things.enter_context(progress())
                found = calibrate(
                    design,
                    out_dir,
                    replicates=replicates,
                    anew=force,
                    run=run,
                    report=report,
                )
        except KeyboardInterrupt:
            err.print(
                f"interrupted; finished replicates are kept in {out_dir}: the same "
                "command (without --force) goes on",
                markup=False,
            )
            raise typer.Exit(INTERRUPTED) from None
        lines = write_report(design, found, out_dir)
    out.print(LABEL, style="bold")
    out.print(_table(found.coverage))
    for line in lines:
        out.print(line, markup=False)
    if not found.calibrated:
        raise typer.Exit(NOT_CALIBRATED)


def _table(coverage) -> Table:
    """Share of intervals that hold the truth, and the ECDF of its ranks."""
    table = Table(
        title="Intervals that hold the truth, %, and its mean rank (error)",
        title_justify="left",
    )
    table.add_column("parameter", no_wrap=True)
    names = ("n", "50%", "80%", "90% (95% interval)", "95%", "mean rank", "ranks")
    for name in names:
        table.add_column(name, justify="right")
    for row in coverage.to_dict("records"):
        table.add_row(
            row["parameter"],
            str(row["replicates"]),
            f"{row['in_50_pct']:.0f}",
            f"{row['in_80_pct']:.0f}",
            f"{row['in_90_pct']:.0f} ({row['in_90_low']:.0f}-{row['in_90_high']:.0f})",
            f"{row['in_95_pct']:.0f}",
            _mean_rank(row),
            "inside" if row["inside_band"] else "OUTSIDE",
        )
    return table


def _mean_rank(row: Mapping[str, Any]) -> str:
    """Mean rank and its error, given where in the prior the truths lie if known."""
    kind = "given_prior" if math.isfinite(row["given_prior"]) else "mean_rank"
    return f"{row[kind]:.2f} ({row[f'{kind}_error']:.2f})"
