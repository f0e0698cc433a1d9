"""The command that fits a population.

Part of the command line: it parses, calls and prints.
"""

from pathlib import Path
from typing import Annotated

import typer

from ckin.errors import InputError
from ckin.fit_table import print_fit, told_how_to_resume
from ckin.options import (
    Chains,
    Correlate,
    Data,
    Draws,
    Error,
    Estimate,
    Eta,
    Iov,
    Limit,
    Map,
    Model,
    Product,
    Set,
    Sigma,
    Unit,
    Vary,
    Warmup,
    Where,
    read,
    values_of,
)
from ckin.terminal import end_by, explained, progress
from ckin.writing import check_writable


commands = typer.Typer()


@commands.command()
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
    error: Error = [],
    sigma: Sigma = [],
    estimate: Estimate = [],
    vary: Vary = [],
    covariate: Annotated[
        list[str],
        typer.Option(
            help="PARAMETER~COLUMN (power), ~COLUMN@CENTER, ~exp(COLUMN), "
            "~linear(COLUMN) or ~COLUMN=LEVEL; centred at the median. Repeatable."
        ),
    ] = [],
    carry: Annotated[
        str,
        typer.Option(
            help="A covariate that changes has its value since its row (forward), or "
            "since the row before (backward, as NONMEM has it)."
        ),
    ] = "forward",
    screen: Annotated[
        bool, typer.Option(help="Horseshoe prior: few of the covariates act.")
    ] = False,
    correlate: Correlate = [],
    eta: Eta = "normal",
    iov: Iov = [],
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
            carry=carry,
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
    print_fit(result, out_dir, resumed=resume)
    end_by(result.verdict.converged)


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
    check_writable(folder if folder.exists() else folder.parent)
