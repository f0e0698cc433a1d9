"""Commands about files: a data set in the form that another program reads.

Part of the command line: they parse, call and print.
"""

from pathlib import Path
from typing import Annotated

import typer

from ckin.errors import InputError
from ckin.options import Data, Limit, Map, Product, Unit, Where, read
from ckin.terminal import explained, out, say_notes, say_synthetic


commands = typer.Typer()


@commands.command()
def export(
    data: Data,
    convention: Annotated[
        str, typer.Option("--as", help="nonmem, monolix, or ckin (also .parquet).")
    ],
    out_file: Annotated[Path, typer.Option("--out", help="File to write.")],
    map: Map = [],
    where: Where = [],
    limit: Limit = [],
    unit: Unit = [],
    product: Product = [],
) -> None:
    """Write a data file for NONMEM or Monolix; `ckin check` reads it back the same."""
    from ckin.dataset import check_format, write_dataset
    from ckin.dataset.workbook import file_of
    from ckin.library import dataset_path

    with explained():
        check_format(out_file, convention)
        if not out_file.parent.is_dir():
            raise InputError(f"--out {out_file}: there is no folder {out_file.parent}")
        if out_file.exists() and out_file.samefile(file_of(dataset_path(data))):
            raise InputError(f"--out {out_file} is the data; write another file")
        dataset = read(data, map, where, limit, unit, product)
        files = write_dataset(dataset, out_file, convention=convention)
    say_synthetic(dataset.synthetic)
    say_notes(dataset.notes)
    for file in files:
        out.print(f"written: {file}", markup=False)
