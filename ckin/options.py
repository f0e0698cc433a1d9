"""Options that commands share: which file, and how its columns are to be read."""

from typing import Annotated

import typer


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
    typer.Option(help="ASSAY=UNIT: unit of an assay; DATE=DMY: the day comes first."),
]
Data = Annotated[
    str,
    typer.Argument(
        help="A .csv, .xlsx (FILE.xlsx#SHEET) or .parquet file, or a bundled set."
    ),
]


def read(
    data: str, map: list[str], where: list[str], limit: list[str], unit: list[str]
):
    """The data set of a command's arguments."""
    from ckin.dataset import ColumnMap, read_dataset
    from ckin.library import dataset_path

    columns = ColumnMap.from_options(map=map, where=where, limit=limit, unit=unit)
    return read_dataset(dataset_path(data), columns)
