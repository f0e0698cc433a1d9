"""Options that commands share, and what they say: data, models, what is read."""

from typing import Annotated

import typer

from ckin.errors import InputError


Map = Annotated[
    list[str],
    typer.Option(
        "--map",
        help="COL=NAME: read the file's column COL as NAME (ID, TIME, DV, ...), "
        "IGNORE or COVARIATE; or a .toml file with such entries. Repeatable.",
    ),
]
Where = Annotated[
    list[str], typer.Option(help="COL=VALUE: keep only rows with this value.")
]
Limit = Annotated[
    list[str], typer.Option(help="ASSAY=VALUE: detection limit of a whole file.")
]
Unit = Annotated[
    list[str],
    typer.Option(
        help="ASSAY=UNIT: unit of an assay, which may be one of your own (conc=mg/L); "
        "TIME=hour; DATE=DMY: the day comes first."
    ),
]
Product = Annotated[
    list[str],
    typer.Option(
        help="NAME=UNIT: a product of your own and the unit of its doses (DRUG=mg, "
        "DRUG=mg/kg). Repeatable."
    ),
]
Model = Annotated[str, typer.Option(help="Name (see `ckin models`) or a .py file.")]
Protocol = Annotated[
    str, typer.Option(help="Name (see `ckin protocols`), a .toml file or FILE:ARM.")
]
Set = Annotated[
    list[str],
    typer.Option(
        "--set",
        help="NAME=VALUE: another value of a parameter, or form of a law.",
    ),
]
Estimate = Annotated[
    list[str], typer.Option(help="Parameters to estimate. Repeatable.")
]
Vary = Annotated[
    list[str], typer.Option(help="Parameters that differ between patients.")
]
Correlate = Annotated[
    list[str],
    typer.Option(help="A,B[,C]: parameters correlated between patients. Repeatable."),
]
Eta = Annotated[
    str, typer.Option(help="How patients differ: normal, or student_t (4 df).")
]
Iov = Annotated[
    list[str],
    typer.Option(help="Parameter that differs between cycles too. Repeatable."),
]
Horizon = Annotated[
    float | None, typer.Option(help="Days from the first infusion to follow.")
]
# What a virtual sample is read by: see `watched`.
WatchedAssay = Annotated[
    list[str], typer.Option(help="Assay to read, qpcr unless told. Repeatable.")
]
WatchedLimit = Annotated[
    list[str], typer.Option(help="ASSAY=VALUE: detection limit of every sample.")
]
WatchedExamined = Annotated[
    list[str],
    typer.Option(
        help="ASSAY=AMOUNT: examined of every sample (ug DNA, uL, ABL1 copies); "
        "readings are then counts."
    ),
]
Error = Annotated[
    list[str],
    typer.Option(
        help="LAW or ASSAY=LAW: normal or student_t, of the log; additive, "
        "proportional or combined, of the reading; counts or partitions, of what was "
        "EXAMINED. Repeatable."
    ),
]
Sigma = Annotated[
    list[str],
    typer.Option(
        help="ASSAY=MEDIAN[:SD_LOG]: size of an error, in a fit its prior; "
        "add_ASSAY=... of the additive part of a combined one. Repeatable."
    ),
]
Chains = Annotated[int | None, typer.Option(min=1, help="4 unless told, 32 of many.")]
Warmup = Annotated[
    int | None, typer.Option(min=1, help="500 unless told, 100 of many.")
]
Draws = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Of each chain, 500 unless told, 50 of many; 4 times as many at most.",
    ),
]
Data = Annotated[
    str,
    typer.Argument(
        help="A .csv, .xlsx (FILE.xlsx#SHEET) or .parquet file, or a bundled set."
    ),
]


def read(
    data: str,
    map: list[str],
    where: list[str],
    limit: list[str],
    unit: list[str],
    product: list[str] | None = None,
):
    """The data set of a command's arguments."""
    from ckin.dataset import ColumnMap, read_dataset
    from ckin.library import dataset_path

    columns = ColumnMap.from_options(
        map=map, where=where, limit=limit, unit=unit, product=product or ()
    )
    return read_dataset(dataset_path(data), columns)


def watched(
    assay: list[str],
    limit: list[str],
    examined: list[str],
    error: list[str],
    sigma: list[str],
):
    """What virtual samples are read by, of a command's options."""
    from ckin.simulation import Watch

    return Watch(
        tuple(assay) or ("qpcr",),
        numbers_of(limit, "--limit"),
        numbers_of(examined, "--examined"),
        tuple(error),
        tuple(sigma),
    )


def values_of(pairs: list[str], option: str = "--set") -> dict[str, float | str]:
    """NAME=VALUE by name: numbers where they are numbers, else names of laws."""
    values: dict[str, float | str] = {}
    for pair in pairs:
        name, equals, text = (part.strip() for part in pair.partition("="))
        if not (equals and name and text):
            raise InputError(f"{option} {pair}: expected NAME=VALUE")
        try:
            values[name] = float(text)
        except ValueError:
            values[name] = text
    return values


def numbers_of(pairs: list[str], option: str) -> dict[str, float]:
    """NAME=VALUE options as numbers by name."""
    values = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        try:
            values[name.strip()] = float(text)
        except ValueError:
            equals = ""
        if not equals:
            raise InputError(f"{option} {pair}: expected NAME=VALUE with a number")
    return values
